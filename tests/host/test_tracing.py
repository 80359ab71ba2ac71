"""OpenTelemetry from the log: the real SDK, real runs, restarts, and a collector on loopback."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from tests.host.telemetry import Telemetry
from tests.patience import PATIENCE_S

import godwit
from godwit.core.facts import TraceEvent
from godwit.host.runtime import Runtime
from godwit.host.tracing import TracingSettings
from godwit.models.script import Script, ScriptedModel, call

MODEL = "scripted:test"
SECRET = "hunter2"


@godwit.tool
def write(text: str) -> str:
    """Write."""
    if text == "fail":
        raise ValueError(f"cannot write {SECRET}")
    return f"wrote {text}"


def agent(**options: Any) -> godwit.Agent:
    return godwit.Agent("tracer", model=MODEL, tools=[write], **options)


async def opened(path: Path, script: Script, settings: TracingSettings, **options: Any) -> Runtime:
    models = {MODEL: ScriptedModel(script, MODEL)}
    return await Runtime.open(path, models=models, tracing=settings, durability="process", **options)


async def test_a_run_is_a_span_with_its_steps_below(tmp_path: Path) -> None:
    told = Telemetry()
    script: Script = [call("write", text="a") + call("write", text="fail"), "Done."]
    async with await opened(tmp_path / "g.db", script, told.settings) as runtime:
        session = await runtime.start_session(agent(), labels=godwit.Labels(tenant="acme"))
        await session.send("Go.")
        events = await session.events()
    [root] = told.named("invoke_agent")
    chats, tools = told.named("chat"), told.named("execute_tool")
    assert (len(chats), len(tools)) == (2, 2)
    for span in (*chats, *tools):
        assert span.parent is not None
        assert root.context is not None
        assert span.parent.span_id == root.context.span_id
    at = {e.type: e.at_ms * 1_000_000 for e in events}
    assert (root.start_time, root.end_time) == (at["run.claimed"], at["run.finished"])
    assert root.attributes is not None
    attributes = dict(root.attributes)
    assert attributes["gen_ai.operation.name"] == "invoke_agent"
    assert attributes["gen_ai.conversation.id"] == session.id
    assert attributes["gen_ai.agent.name"] == "tracer"
    assert attributes["godwit.tenant"] == "acme"
    assert attributes["godwit.run.outcome"] == "done"
    assert chats[0].kind == SpanKind.CLIENT
    assert chats[0].attributes is not None
    assert chats[0].attributes["gen_ai.request.model"] == "test"
    assert chats[0].attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    failed = next(s for s in tools if s.status.status_code == StatusCode.ERROR)
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "error"
    kinds = {p.attributes["gen_ai.token.type"] for p in told.points("gen_ai.client.token.usage")}
    assert kinds == {"input", "output"}
    operations = {p.attributes["gen_ai.operation.name"] for p in told.points("gen_ai.client.operation.duration")}
    assert operations == {"chat", "execute_tool"}
    assert [p.value for p in told.points("godwit.runs")] == [1]


@pytest.mark.parametrize("contents", [False, True])
async def test_contents_are_told_only_when_asked_for(tmp_path: Path, contents: bool) -> None:
    told = Telemetry(contents=contents)
    script: Script = [call("write", text=SECRET) + call("write", text="fail"), f"The word is {SECRET}."]
    async with await opened(tmp_path / "g.db", script, told.settings) as runtime:
        session = await runtime.start_session(agent())
        await session.send(f"Keep {SECRET} to yourself.")
        trace = await session.trace_events()
    said = "".join(span.to_json() for span in told.spans)
    assert (SECRET in said) is contents
    assert SECRET not in repr(trace)


async def test_each_process_tells_what_it_did_itself_and_nothing_twice(tmp_path: Path) -> None:
    first, second = Telemetry(), Telemetry()
    script: Script = [call("write", text="a"), "Done."]
    runtime = await opened(tmp_path / "g.db", script, first.settings)
    session = await runtime.start_session(agent(permissions={"write": "ask"}), session="ses_trace")
    await session.prompt("Go.")
    async for event in session.follow():
        if event.type == "run.parked":
            break
    watching = await opened(tmp_path / "g.db", script, second.settings)  # a second process' runtime on the same file
    other = await watching.open_session("ses_trace", agent=agent(permissions={"write": "ask"}))
    await runtime.close()
    [parked] = first.named("invoke_agent")
    assert parked.attributes is not None
    assert parked.attributes["godwit.run.outcome"] == "parked"
    assert len(first.named("chat")) == 1
    await other.approve((await other.approvals.pending())[0].id)
    await other.wait()
    await watching.close()
    [continued] = second.named("invoke_agent")
    assert continued.attributes is not None
    assert continued.attributes["godwit.run.id"] == parked.attributes["godwit.run.id"]
    assert continued.attributes["godwit.run.outcome"] == "done"
    assert (len(second.named("chat")), len(second.named("execute_tool"))) == (1, 1)


async def test_an_exporter_that_fails_or_hangs_slows_nobody(tmp_path: Path) -> None:
    class Broken(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise RuntimeError("no collector")

    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(Broken()))
    settings = TracingSettings(tracers=tracers)
    async with await opened(tmp_path / "g.db", ["Done."], settings) as runtime:
        session = await runtime.start_session(agent())
        assert (await asyncio.wait_for(session.send("Go."), PATIENCE_S)).text == "Done."


async def test_direct_calls_are_spans_of_their_own(tmp_path: Path) -> None:
    told = Telemetry()
    async with await opened(tmp_path / "g.db", [], told.settings) as runtime:
        session = await runtime.start_session(agent())
        assert (await session.tool("write", {"text": "x"})).ok
        await session.close()
    [span] = told.named("execute_tool")
    assert span.parent is None
    assert span.attributes is not None
    assert span.attributes["godwit.tool.origin"] == "direct"


async def test_a_collector_gets_it_over_the_wire(tmp_path: Path) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        tracers = TracerProvider()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        async with await opened(tmp_path / "g.db", ["Done."], TracingSettings(tracers=tracers)) as runtime:
            await (await runtime.start_session(agent())).send("Go.")
        tracers.shutdown()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert b"invoke_agent tracer" in b"".join(got)


# --- the compact trace ----------------------------------------------------------------------------------------------


async def test_the_trace_tells_steps_with_sizes_and_names(tmp_path: Path) -> None:
    async with await Runtime.open(
        tmp_path / "g.db",
        models={
            MODEL: ScriptedModel(
                [call("write", text="abc") + call("write", text="fail") + call("nope", b=1, a=2), "Done."], MODEL
            )
        },
    ) as runtime:
        session = await runtime.start_session(agent(), workspace=tmp_path)
        await session.send("Go.")
        await session.tool("bash", {"command": "printf 12345; exit 3"})
        trace = await session.trace_events()
        assert await session.trace_events(limit=2) == trace[-2:]
        assert await session.trace_events(limit=0) == []
        with pytest.raises(godwit.errors.InvalidArgument):
            await session.trace_events(limit=-1)
    steps = [(t.kind, t.name, t.success, t.argument_keys) for t in trace]
    assert [s[:2] for s in steps] == [
        ("model_step", MODEL),
        *[("tool_execution", s[1]) for s in steps[1:4]],
        ("model_step", MODEL),
        ("tool_execution", "bash"),
    ]
    # Calls that ran side by side stand in the order in which they ended.
    assert sorted(steps[1:4]) == [
        ("tool_execution", "nope", False, ("a", "b")),
        ("tool_execution", "write", False, ("text",)),
        ("tool_execution", "write", True, ("text",)),
    ]
    wrote = next(t for t in trace if t.name == "write" and t.success)
    assert (wrote.output_bytes, wrote.run is not None, wrote.schema) == (9, True, "godwit.trace/1")
    bash = trace[-1]
    assert (bash.exit_code, bash.origin, bash.status) == (3, "direct", "error")


async def test_the_trace_names_the_artifacts_of_a_result(tmp_path: Path) -> None:
    async with await Runtime.open(tmp_path / "g.db", models={}, check_models=False) as runtime:
        session = await runtime.start_session(agent(), workspace=tmp_path)
        result = await session.tool("bash", {"command": "seq 60000"})
        [step] = await session.trace_events()
    assert isinstance(step, TraceEvent)
    assert step.artifacts == (result.artifact,)
