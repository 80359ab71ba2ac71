"""A conversation stays within what its model reads: old results are left out, older messages summed up, an overflow
mended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import ConfigurationError, ContextTooLong, ModelError, RunFailed
from godwit.core.events import CompactionFailed, SessionCompacted, SessionPruned, UsageRecorded
from godwit.core.messages import Message, Thinking, ToolResult, Usage, User, text_of
from godwit.core.model_info import ModelInfo
from godwit.core.transcript import problems
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, end, fail, hold, say, think

from .conftest import MODEL, Bench, data, types, until_type, within

WINDOW = 4000
SUMMARY = "## Goal\nCount the lines."


@godwit.tool
def read(number: int) -> str:
    """Read a piece."""
    return f"piece {number} " + "x" * 2000


@godwit.tool
def short() -> str:
    """Say little."""
    return "little"


def tokens(request: ModelRequest) -> int:
    return sum(len(text_of(e.message.content)) for e in request.entries) // 4


def counted(request: ModelRequest) -> Any:
    """What a provider would have counted."""
    return end(usage=Usage(tokens(request), 20, requests=1))


class Worker:
    """A model with a window: it reads pieces until it has read `pieces`, answers, and refuses what is too long for it."""

    def __init__(self, pieces: int, *, window: int | None = None, aside: Any = SUMMARY, tool: str = "read") -> None:
        self.pieces, self.window, self.aside, self.tool = pieces, window, aside, tool
        self.model = ScriptedModel([self._answer], MODEL, select=lambda _: 0)
        self.sizes: list[int] = []

    def _answer(self, request: ModelRequest) -> Any:
        if not request.turn:
            return self.aside(request) if callable(self.aside) else self.aside
        if self.window is not None and tokens(request) > self.window:
            return fail(ContextTooLong("too long"))
        self.sizes.append(tokens(request))
        if request.turn <= self.pieces:
            called = call("read", number=request.turn) if self.tool == "read" else call(self.tool)
            return think(f"Thought {request.turn}.", signature="s") + called + counted(request)
        return say("Done.") + counted(request)

    @property
    def asked_beside(self) -> list[str]:
        return [text_of(r.entries[0].message.content) for r in self.model.requests if not r.turn]


async def working(bench: Bench, worker: Worker, *tools: Any, **context: Any) -> Session:
    runtime = await bench.runtime(models={MODEL: worker.model})
    context.setdefault("window", WINDOW)
    agent = godwit.Agent(
        "tester",
        model=MODEL,
        tools=list(tools or (read,)),
        context=godwit.ContextPolicy(**context),
        limits=godwit.Limits(max_turns=100, max_repeated_calls=1000),
    )
    return await runtime.start_session(agent, workspace=bench.workspace)


async def test_a_long_piece_of_work_stays_within_the_window(bench: Bench) -> None:
    worker = Worker(30)
    session = await working(bench, worker, prune=False)
    result = await within(session.send("Count the lines of all pieces."))
    assert (result.outcome, result.text) == ("done", "Done.")
    assert max(worker.sizes) < WINDOW
    compactions = await data(session, SessionCompacted)
    assert len(compactions) >= 3
    assert {(c.trigger, c.at_once, c.model) for c in compactions} == {("threshold", True, MODEL)}
    assert all(c.tokens_after < c.tokens_before for c in compactions)
    # Each builds on the one before, and what has made room is to be seen in the transcript.
    assert all("<earlier-summary>" in asked for asked in worker.asked_beside[1:])
    history = await session.history()
    assert list(problems(history)) == []
    assert SUMMARY in text_of(history[0].content)
    for request in worker.model.requests:
        assert list(problems([e.message for e in request.entries])) == []
    used = [u.purpose for u in await data(session, UsageRecorded)]
    assert set(used) == {"compaction"}
    assert len(used) >= len(compactions)
    # Nothing is lost: going back to before them brings all messages back.
    first = next(e.seq for e in await session.events() if e.type == "session.compacted")
    await session.rewind(first - 1)
    assert len([m for m in await session.history() if isinstance(m, ToolResult)]) >= 5


async def test_what_is_kept_has_no_thinking_and_the_work_goes_on(bench: Bench) -> None:
    worker = Worker(12)
    session = await working(bench, worker, prune=False)
    await within(session.send("Count."))
    summed_up = [r for r in worker.model.requests if r.turn and SUMMARY in text_of(r.entries[0].message.content)]
    assert summed_up
    first = summed_up[0]
    kept = [e.message for e in first.entries[1:]]
    assert kept
    assert not any(isinstance(b, Thinking) for m in kept for b in m.content)
    # What is thought after it stays.
    assert any(isinstance(b, Thinking) for r in summed_up for e in r.entries for b in e.message.content)


async def test_old_results_are_left_out_first(bench: Bench) -> None:
    worker = Worker(8)
    session = await working(bench, worker, prune_keep_turns=2)
    assert (await within(session.send("Count."))).outcome == "done"
    pruned = await data(session, SessionPruned)
    assert pruned
    assert await data(session, SessionCompacted) == []
    assert max(worker.sizes) < WINDOW
    results = [text_of(m.content) for m in await session.history() if isinstance(m, ToolResult)]
    assert len(results) == 8
    assert "call read again" in results[0]
    assert results[-1].startswith("piece 8 ")
    assert results[-2].startswith("piece 7 ")
    # Byte for byte the same beginning from one turn to the next, but where something was cut.
    at = next(e.seq for e in await session.events() if e.type == "session.pruned")
    await session.rewind(at - 1)
    before = [text_of(m.content) for m in await session.history() if isinstance(m, ToolResult)]
    assert all(text.startswith("piece ") for text in before)


async def test_short_results_and_little_gain_are_let_be(bench: Bench) -> None:
    worker = Worker(30, tool="short")
    session = await working(bench, worker, short, prune_keep_turns=1, compact=False)
    assert (await within(session.send("y" * WINDOW * 3))).outcome == "done"
    assert await data(session, SessionPruned) == []


async def test_a_provider_that_refuses_is_asked_once_more(bench: Bench) -> None:
    worker = Worker(6, window=2500)
    session = await working(bench, worker, prune=False, window=None)
    result = await within(session.send("Count."))
    assert (result.outcome, result.text) == ("done", "Done.")
    compactions = await data(session, SessionCompacted)
    assert {c.trigger for c in compactions} == {"overflow"}
    assert max(worker.sizes) <= 2500
    # The question that was refused is asked again within the same turn.
    assert [e.type for e in await session.events()].count("turn.started") == 7


async def test_an_overflow_that_nothing_mends_ends_the_run(bench: Bench) -> None:
    worker = Worker(6, window=100)
    session = await working(bench, worker, prune=False, window=None)
    with pytest.raises(RunFailed) as failed:
        await within(session.send("z" * 2000))
    assert "too long" in str(failed.value)
    assert worker.asked_beside == []
    assert (await session.status()) == "idle"


async def test_what_arrives_meanwhile_is_delivered_behind_the_summary(bench: Bench) -> None:
    release = asyncio.Event()
    reached = asyncio.Event()
    worker = Worker(9, aside=lambda _: hold(release, reached=reached) + SUMMARY)
    session = await working(bench, worker, prune=False)
    await session.prompt("Count.")
    await within(reached.wait())
    await session.steer("Only the first half.")
    await session.follow_up("And then stop.")
    release.set()
    await within(session.wait())
    while await session.is_running():
        await within(session.wait())
    said = [text_of(m.content) for m in await session.history() if isinstance(m, User)]
    assert "Only the first half." in said
    assert "And then stop." in said
    events = await session.events()
    compacted = next(e.seq for e in events if e.type == "session.compacted")
    delivered = [e.seq for e in events if e.type == "input.delivered"]
    assert delivered[1] > compacted


async def test_an_interrupt_ends_the_summary_and_changes_nothing(bench: Bench) -> None:
    reached = asyncio.Event()
    worker = Worker(9, aside=lambda _: hold(asyncio.Event(), reached=reached) + SUMMARY)
    session = await working(bench, worker, prune=False)
    await session.prompt("Count.")
    await within(reached.wait())
    await within(session.interrupt())
    assert (await within(session.wait())).outcome == "interrupted"
    assert "session.compacted" not in await types(session)
    assert "compaction.failed" not in await types(session)
    worker.aside = SUMMARY
    assert (await within(session.send("Go on."))).outcome == "done"


async def test_a_summary_that_fails_is_told_and_the_run_goes_on(bench: Bench) -> None:
    worker = Worker(8, aside=lambda _: fail(ModelError("no summary today")))
    session = await working(bench, worker, prune=False, window=WINDOW)
    assert (await within(session.send("Count."))).outcome == "done"
    failed = await data(session, CompactionFailed)
    assert failed
    assert failed[0].trigger == "threshold"
    assert "no summary today" in failed[0].error.message
    # Not with every turn: only when the conversation has grown by some more.
    assert len(failed) < len([t for t in await types(session) if t == "turn.started"]) // 2 + 1


async def test_a_compaction_that_waits_takes_effect_when_it_is_needed(bench: Bench) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def wait() -> str:
        """Wait."""
        reached.set()
        await gate.wait()
        return "waited"

    worker = Worker(9)
    plain = worker._answer

    def answer(request: ModelRequest) -> Any:
        return call("wait") + counted(request) if request.turn == 2 else plain(request)

    worker.model._turns[:] = [answer]
    session = await working(bench, worker, read, wait, prune=False)
    await session.prompt("Count.")
    await within(reached.wait())
    asked = await within(session.compact(keep_tokens=0))
    assert asked.waits
    gate.set()
    assert (await within(session.wait())).outcome == "done"
    manual, automatic, *_ = await data(session, SessionCompacted)
    assert (manual.at_once, automatic.at_once) == (False, True)
    assert automatic.summary == manual.summary


async def test_the_window_is_what_is_known_of_the_model(bench: Bench) -> None:
    worker = Worker(9)
    setattr(worker.model, "info", ModelInfo(MODEL, "scripted", context_window=WINDOW))  # noqa: B010 - a model of its own kind
    session = await working(bench, worker, prune=False, window=None)
    assert (await within(session.send("Count."))).outcome == "done"
    assert await data(session, SessionCompacted) != []


async def test_without_a_window_nothing_is_done(bench: Bench) -> None:
    worker = Worker(20)
    session = await working(bench, worker, window=None)
    assert (await within(session.send("Count."))).outcome == "done"
    assert worker.asked_beside == []


async def test_a_run_with_a_given_history_is_left_alone(bench: Bench) -> None:
    worker = Worker(8)
    session = await working(bench, worker, prune=False)
    given: list[Message] = [User((godwit.Text("Before. " * 100),))]
    result = await within(session.send("Count.", history=given))
    assert result.outcome == "done"
    assert await data(session, SessionCompacted) == []


async def test_a_restart_in_the_middle_goes_on_with_the_same_messages(bench: Bench) -> None:
    worker = Worker(10)
    session = await working(bench, worker, prune=False)
    await session.prompt("Count.")
    await until_type(session, "session.compacted")
    await bench.close()
    again = Worker(10)
    runtime = await bench.runtime(models={MODEL: again.model})
    agent = godwit.Agent("tester", model=MODEL, tools=[read])
    opened = await runtime.open_session(session.id, agent=agent)
    assert (await within(opened.wait())).outcome == "done"
    assert SUMMARY in text_of((await opened.history())[0].content)
    for before, after in zip(again.model.requests, again.model.requests[1:], strict=False):
        if before.turn and after.turn == before.turn + 1 and len(after.entries) > len(before.entries):
            assert [e.message for e in after.entries[: len(before.entries)]] == [e.message for e in before.entries]


@pytest.mark.parametrize(
    "wrong", [{"compact_at": 0}, {"compact_at": 1.5}, {"prune_at": -1}, {"keep_tokens": -1}, {"window": 10}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        godwit.ContextPolicy(**wrong)
