"""A run, what continues it and all that works for it are one trace: whatever process drives which of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.host.telemetry import Telemetry
from tests.patience import PATIENCE_S

import godwit
from godwit.core.errors import RateLimited
from godwit.core.events import RunClaimed
from godwit.core.tasks import TaskRecord
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.host.subagent_session import SubagentSession
from godwit.host.tracing import TracingSettings
from godwit.models.script import Script, ScriptedModel, call, tries

LEAF = godwit.Agent("leaf", model="scripted:leaf")
MID = godwit.Agent("mid", model="scripted:mid", subagents=[LEAF])


def boss(**options: Any) -> godwit.Agent:
    return godwit.Agent("boss", model="scripted:boss", subagents=[MID, LEAF], **options)


async def opened(path: Path, script: Script, settings: TracingSettings) -> Runtime:
    scripts: dict[str, Script] = {
        "boss": script,
        "mid": [call("task", agent="leaf", prompt="l"), "Mid is done."],
        "leaf": ["Leaf is done.", "Again.", "And again."],
    }
    models = {f"scripted:{name}": ScriptedModel(turns, f"scripted:{name}") for name, turns in scripts.items()}
    return await Runtime.open(path / "g.db", models=models, tracing=settings, durability="process")


async def all_ended(session: Session) -> list[TaskRecord]:
    return await asyncio.wait_for(session.tasks.wait([task.id for task in await session.tasks.all()]), PATIENCE_S)


def of(span: ReadableSpan) -> int:
    assert span.context is not None
    trace: int = span.context.trace_id
    return trace


def lines(spans: list[ReadableSpan]) -> list[str]:
    """Each run's stretch with the agents above it, as they stand below each other."""
    by_id = {span.context.span_id: span for span in spans if span.context is not None}

    def line(span: ReadableSpan) -> str:
        name = span.name.removeprefix("invoke_agent ")
        return name if span.parent is None else f"{line(by_id[span.parent.span_id])}/{name}"

    return sorted(line(span) for span in spans if span.name.startswith("invoke_agent"))


async def test_children_side_by_side_below_and_behind_are_in_the_trace_of_who_asks(tmp_path: Path) -> None:
    told = Telemetry()
    several = call("task", tasks=[{"agent": "mid", "prompt": "a"}, {"agent": "leaf", "prompt": "b"}])
    behind, runs = call("task", agent="leaf", prompt="c", background=True), 0
    async with await opened(tmp_path, [several, behind, "Done.", "Heard."], told.settings) as runtime:
        session = await runtime.start_session(boss())
        await session.send("Go.")
        assert [task.status for task in await all_ended(session)] == ["completed"] * 3
        async for event in session.follow():  # the end of the last one wakes it
            runs += event.type == "run.finished"
            if runs == 2:
                break
    assert lines(told.spans) == [
        "boss",
        "boss",
        "boss/boss",
        "boss/boss/leaf",
        "boss/leaf",
        "boss/mid",
        "boss/mid/leaf",
        "boss/mid/mid",
    ]
    below = {
        of(span) for span in told.spans if span.name in ("invoke_agent mid", "invoke_agent leaf", "chat mid", "chat leaf")
    }
    assert len(below) == 1


async def test_it_goes_on_in_another_process(tmp_path: Path) -> None:
    first, second = Telemetry(), Telemetry()
    ask = call("task", agent="mid", prompt="a")
    script: Script = [ask, call("bash", command="true"), ask, "Done."]
    agent = boss(tools=["bash"], permissions={"bash": "ask"})
    runtime = await opened(tmp_path, script, first.settings)
    session = await runtime.start_session(agent, workspace=tmp_path)
    await session.prompt("Go.")
    async for event in session.follow():
        if event.type == "run.parked" and not event.data.children:  # type: ignore[union-attr]  # of that type alone
            break
    await runtime.close()
    async with await opened(tmp_path, script, second.settings) as other:
        again = await other.open_session(session.id)
        await again.approve((await again.approvals.pending())[0].id)
        assert (await again.wait()).outcome == "done"
    assert first.spans
    assert second.spans
    assert len({of(span) for span in (*first.spans, *second.spans)}) == 1
    found = lines([*first.spans, *second.spans])
    assert found == ["boss", *["boss/boss"] * 3, "boss/boss/mid", "boss/boss/mid/leaf", "boss/boss/mid/mid",
                     "boss/mid", "boss/mid/leaf", "boss/mid/mid"]  # fmt: skip


async def test_a_subagent_that_a_tool_asks_again_is_in_the_trace_of_each_run_that_asks(tmp_path: Path) -> None:
    told = Telemetry()

    @godwit.tool
    async def consult(context: godwit.ToolContext) -> str:
        """Consult."""
        answer: godwit.RunResult = await context.context.send("Well?")
        return answer.text

    async with await opened(tmp_path, [call("consult"), "One.", call("consult"), "Two."], told.settings) as runtime:
        session = await runtime.start_session(boss(tools=[consult]))
        child = SubagentSession(runtime, LEAF, parent=session)
        await session.send("Go.", context=child)
        await session.send("Again.", context=child)
        await (await child.session()).send("And for me?")
    assert lines(told.spans) == ["boss", "boss", "boss/leaf", "boss/leaf", "leaf"]
    assert len({of(span) for span in told.spans}) == 3


async def test_a_model_that_is_asked_again_is_in_one_stretch(tmp_path: Path) -> None:
    told = Telemetry()
    async with await opened(tmp_path, [tries(RateLimited(retry_after_s=0.0), "Done.")], told.settings) as runtime:
        session = await runtime.start_session(boss())
        await session.send("Go.")
        claims = [event.data for event in await session.events() if isinstance(event.data, RunClaimed)]
    assert len(claims) == 2
    assert claims[0].trace == claims[1].trace is not None
    [stretch] = told.named("invoke_agent")
    assert stretch.attributes is not None
    assert stretch.attributes["godwit.run.outcome"] == "done"
    assert len(told.named("chat")) == 2


async def test_what_is_not_sampled_is_not_sampled_below_either(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(sampler=ALWAYS_OFF)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    script: Script = [call("task", agent="mid", prompt="a"), "Done."]
    async with await opened(tmp_path, script, TracingSettings(tracers=tracers)) as runtime:
        session = await runtime.start_session(boss())
        assert (await session.send("Go.")).outcome == "done"
        (task,) = await session.tasks.all()
        logs = [await session.events(), await runtime.store.read(task.session)]
        above, below = (next(e.data for e in log if isinstance(e.data, RunClaimed)) for log in logs)
    assert not exporter.get_finished_spans()
    assert above.trace is not None
    assert below.trace is not None
    assert above.trace.split("-")[1] == below.trace.split("-")[1]
    assert not any(int(trace[-2:], 16) & 1 for trace in (above.trace, below.trace)), "neither is sampled"
