"""Making room: what a compaction keeps and sums up, what may happen meanwhile, and that nothing is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import godwit
from godwit.contracts import HookCall, ModelRequest
from godwit.core.errors import (
    BlockedByHook,
    BudgetExhausted,
    Conflict,
    InvalidArgument,
    ModelError,
    ModelRefused,
    SessionArchived,
    SessionClosed,
)
from godwit.core.events import HookBlocked, SessionCompacted, UsageRecorded
from godwit.core.hooks import HookPoint, HookResult, HookSpec
from godwit.core.messages import Message, User, text_of
from godwit.core.transcript import problems
from godwit.engine import summary
from godwit.engine.session import Session
from godwit.models.script import Reply, ScriptedModel, call, hold, say

from .conftest import MODEL, Bench, data, within

SUMMARY = "## Goal\nTo make it work."
FIRST: list[Any] = ["Answer one.", "Answer two.", "Answer three."]


class Conversation:
    """A session whose model answers its turns by `turns`, and what it is asked beside them by `asides`, in order."""

    def __init__(self, turns: list[Any], asides: list[Any]) -> None:
        self.asides = list(asides)
        self.model = ScriptedModel([self._aside, *turns], MODEL, select=lambda request: request.turn)
        self.session: Session

    def _aside(self, request: ModelRequest) -> Any:
        answer = self.asides.pop(0)
        return answer(request) if callable(answer) else answer

    @property
    def asked(self) -> list[str]:
        """What the model was asked beside the conversation."""
        return [text_of(_content(r.entries[0].message)) for r in self.model.requests if r.turn == 0]

    @property
    def last(self) -> tuple[Message, ...]:
        """The messages of the last turn's request."""
        return tuple(e.message for e in [r for r in self.model.requests if r.turn][-1].entries)


def _content(message: Message) -> tuple[Any, ...]:
    return message.content


async def talked(
    bench: Bench, turns: list[Any], asides: list[Any], *prompts: str, tools: list[Any] | None = None, **agent: Any
) -> Conversation:
    made = Conversation(turns, asides)
    runtime = await bench.runtime(models={MODEL: made.model})
    spec = godwit.Agent("tester", model=MODEL, tools=tools or [], **agent)
    made.session = await runtime.start_session(spec, workspace=bench.workspace)
    for prompt in prompts:
        assert (await within(made.session.send(prompt))).outcome == "done"
    return made


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [text_of(m.content) for m in messages]


PROMPTS = ("Ask one.", "Ask two.", "Ask three.")


# --- what becomes of the messages -----------------------------------------------------------------------------------


async def test_a_summary_stands_for_what_was_said(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST, "Answer four."], [SUMMARY], *PROMPTS)
    before = await talk.session.history()
    done = await talk.session.compact("the work", keep_tokens=0)
    history = await talk.session.history()
    assert (done.messages_before, done.messages_after, done.summary, done.model) == (6, 1, SUMMARY, MODEL)
    assert [e.seq for e in await talk.session.events() if e.type == "session.compacted"] == [done.seq]
    assert len(history) == 1
    assert isinstance(history[0], User)
    assert SUMMARY in text_of(history[0].content)
    [asked] = talk.asked
    assert "[person]\nAsk one." in asked
    assert "[agent]\nAnswer three." in asked
    assert "keep what concerns this: the work" in asked
    [used] = await data(talk.session, UsageRecorded)
    assert (used.purpose, used.model) == ("compaction", MODEL)
    assert (await within(talk.session.send("Ask four."))).text == "Answer four."
    assert talk.last == (*history, User((godwit.Text("Ask four."),)))
    await talk.session.rewind(done.seq - 1)
    assert await talk.session.history() == before


async def test_the_request_is_the_same_after_a_restart(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST, "Answer four.", "Answer five."], [SUMMARY], *PROMPTS)
    await talk.session.compact(keep_tokens=6)
    await talk.session.send("Ask four.")
    prefix = talk.last
    assert texts(prefix)[1:] == ["Ask three.", "Answer three.", "Ask four."]
    identity = talk.session.id
    await bench.close()
    runtime = await bench.runtime(models={MODEL: talk.model})
    session = await runtime.open_session(identity)
    await within(session.send("Ask five."))
    assert talk.last[: len(prefix)] == prefix


async def test_calls_stay_with_their_results_and_files_are_told(bench: Bench) -> None:
    (bench.workspace / "a.txt").write_text("long " * 2000)
    turns = [
        call("read", id="c1", file_path="a.txt") + call("read", id="c2", file_path="gone.txt"),
        call("write", id="c3", file_path="b.txt", content="b"),
        "Written.",
        call("read", id="c4", file_path="b.txt"),
        "Read.",
    ]
    talk = await talked(
        bench, turns, [SUMMARY, "Later."], "Write it.", "Read it.", tools=["read", "write"], permissions={"write": "allow"}
    )
    done = await talk.session.compact(keep_tokens=8)
    assert list(problems(await talk.session.history())) == []
    [event] = await data(talk.session, SessionCompacted)
    # What could not be read was not read, and what was changed is told once.
    assert (event.files_read, event.files_changed) == (("a.txt",), ("b.txt",))
    [asked] = talk.asked
    assert '[calls read {"file_path":"a.txt"}]' in asked
    assert "[result of read: ok]" in asked
    assert "[result of read: error]" in asked
    assert "characters left out …]" in asked
    assert len(asked) < 8_000
    assert done.tokens_before > done.tokens_after
    await talk.session.compact(keep_tokens=0)
    assert f"<earlier-summary>\n{SUMMARY}\n</earlier-summary>" in talk.asked[1]
    assert "Write it." not in talk.asked[1]
    later = (await data(talk.session, SessionCompacted))[1]
    assert (later.files_read, later.files_changed) == (("a.txt",), ("b.txt",))
    assert "<files-changed>\nb.txt\n</files-changed>" in texts(await talk.session.history())[0]


async def test_a_long_conversation_is_summed_up_in_parts(bench: Bench) -> None:
    parts = ["First part.", "Second part.", "Third part."]
    prompts = [f"Ask {n}. " + "x" * 15_000 for n in range(34)]
    talk = await talked(bench, ["Answer."] * len(prompts), [*parts, "never"], *prompts)
    await talk.session.compact(keep_tokens=0)
    assert len(talk.asked) == 3
    assert [len(asked) < summary.PART_CHARACTERS + 2_000 for asked in talk.asked] == [True] * 3
    assert "<earlier-summary>" not in talk.asked[0]
    assert f"<earlier-summary>\n{parts[0]}\n" in talk.asked[1]
    assert f"<earlier-summary>\n{parts[1]}\n" in talk.asked[2]
    # Each message is in one of them, in order.
    found = [next(n for n, asked in enumerate(talk.asked) if prompt in asked) for prompt in prompts]
    assert found == sorted(found)
    assert sum(asked.count("[person]") for asked in talk.asked) == len(prompts)
    assert "Third part." in texts(await talk.session.history())[0]


async def test_places_to_go_back_to_are_those_before_a_summary_too(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST, "Otherwise."], [SUMMARY], *PROMPTS)
    places = await talk.session.turnings()
    await talk.session.compact(keep_tokens=6)
    assert await talk.session.turnings() == places
    back = await talk.session.rewind(places[1].seq)
    assert back.text == "Ask two."
    assert texts(await talk.session.history()) == ["Ask one.", "Answer one."]
    await talk.session.redo()
    assert texts(await talk.session.history())[1:] == ["Ask three.", "Answer three."]


# --- meanwhile ------------------------------------------------------------------------------------------------------


def held(text: str = SUMMARY) -> tuple[Reply, asyncio.Event, asyncio.Event]:
    """An answer that stands still once it is asked for, until it is let go."""
    asked, go = asyncio.Event(), asyncio.Event()
    return hold(go, reached=asked) + say(text), asked, go


async def test_what_is_said_meanwhile_is_kept(bench: Bench) -> None:
    answer, asked, go = held()
    talk = await talked(bench, [*FIRST, "Answer four."], [answer], *PROMPTS)
    work = asyncio.ensure_future(talk.session.compact(keep_tokens=0))
    await within(asked.wait())
    assert (await within(talk.session.send("Ask four."))).text == "Answer four."
    go.set()
    done = await within(work)
    assert not done.waits
    assert texts(await talk.session.history())[1:] == ["Ask four.", "Answer four."]


async def test_while_a_run_is_open_it_waits_for_its_end(bench: Bench) -> None:
    answer, asked, go = held("Answer four.")
    talk = await talked(bench, [*FIRST, answer, "Answer five."], [SUMMARY, "never"], *PROMPTS)
    run = asyncio.ensure_future(talk.session.send("Ask four."))
    await within(asked.wait())
    done = await within(talk.session.compact(keep_tokens=0))
    assert done.waits
    with pytest.raises(Conflict, match="as soon as the open run ends"):
        await talk.session.compact(keep_tokens=0)
    go.set()
    await within(run)
    # The prompt of the open run stood there already when the summary was written.
    assert texts(await talk.session.history())[1:] == ["Answer four."]
    await within(talk.session.send("Ask five."))
    assert texts(talk.last)[1:] == ["Answer four.", "Ask five."]


async def test_a_conversation_that_moved_meanwhile_keeps_its_messages(bench: Bench) -> None:
    first, asked, go = held()
    talk = await talked(bench, [*FIRST], [first, "Second."], *PROMPTS)
    places = await talk.session.turnings()
    work = asyncio.ensure_future(talk.session.compact(keep_tokens=0))
    await within(asked.wait())
    await talk.session.rewind(places[2].seq)
    go.set()
    with pytest.raises(Conflict, match=r"session\.rewound"):
        await within(work)
    assert texts(await talk.session.history()) == ["Ask one.", "Answer one.", "Ask two.", "Answer two."]
    # What it cost is counted all the same.
    assert len(await data(talk.session, UsageRecorded)) == 1


async def test_of_two_at_once_one_counts(bench: Bench) -> None:
    first, asked, go = held()
    talk = await talked(bench, [*FIRST], [first, "Second."], *PROMPTS)
    slow = asyncio.ensure_future(talk.session.compact(keep_tokens=0))
    await within(asked.wait())
    other = await bench.runtimes[0].open_session(talk.session.id)
    quick = await within(other.compact(keep_tokens=0))
    go.set()
    with pytest.raises(Conflict, match=r"session\.compacted"):
        await within(slow)
    assert [e.summary for e in await data(talk.session, SessionCompacted)] == [quick.summary] == ["Second."]


async def test_closing_the_handle_ends_it_and_changes_nothing(bench: Bench) -> None:
    answer, asked, _ = held()
    talk = await talked(bench, [*FIRST], [answer], *PROMPTS)
    watching = await bench.runtimes[0].open_session(talk.session.id, drive=False)
    before = await watching.history()
    work = asyncio.ensure_future(talk.session.compact(keep_tokens=0))
    await within(asked.wait())
    await within(talk.session.close())
    with pytest.raises(SessionClosed):
        await within(work)
    assert await watching.history() == before
    with pytest.raises(SessionClosed):
        await talk.session.compact()


# --- what cannot be ---------------------------------------------------------------------------------------------------


async def test_a_short_conversation_is_left_alone(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST], ["never"], *PROMPTS)
    with pytest.raises(Conflict, match=r"nothing to compact.*of 6 messages") as refused:
        await talk.session.compact()
    assert refused.value.details["reason"] == "nothing_to_compact"
    made = await talked(bench, [], [])
    with pytest.raises(Conflict, match=r"nothing to compact.*of 0 messages"):
        await made.session.compact(keep_tokens=0)
    with pytest.raises(InvalidArgument, match="keep_tokens"):
        await talk.session.compact(keep_tokens=-1)
    assert talk.asked == []
    await bench.runtimes[0].archive(talk.session.id)
    with pytest.raises(SessionArchived):
        await talk.session.compact(keep_tokens=0)


@pytest.mark.parametrize("answer", [say(" \n"), ModelRefused("no")])
async def test_without_a_summary_nothing_is_changed(bench: Bench, answer: Any) -> None:
    talk = await talked(bench, [*FIRST], [answer], *PROMPTS)
    before = await talk.session.history()
    with pytest.raises(ModelError):
        await talk.session.compact(keep_tokens=0)
    assert await talk.session.history() == before
    assert await data(talk.session, SessionCompacted) == []


async def test_a_summary_is_paid_for(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST], ["never"], *PROMPTS, budget={"tokens": 200})
    with pytest.raises(BudgetExhausted):
        await talk.session.compact(keep_tokens=0)
    assert talk.asked == []
    assert len(await talk.session.history()) == 6


# --- hooks ------------------------------------------------------------------------------------------------------------


def hooked(session: Session, point: HookPoint, answer: Callable[[HookCall], HookResult | None]) -> list[HookCall]:
    told: list[HookCall] = []

    async def handler(call: HookCall) -> HookResult | None:
        told.append(call)
        return answer(call)

    session.register_hook(HookSpec(f"at {point}", point), handler)
    return told


async def test_hooks_are_asked_before_and_told_after(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST], [SUMMARY], *PROMPTS)
    asked = hooked(talk.session, "before_compaction", lambda _: HookResult(modified={"focus": "names"}))
    told = hooked(talk.session, "after_compaction", lambda _: None)
    done = await talk.session.compact("paths", keep_tokens=0)
    assert asked[0].payload["focus"] == "paths"
    assert (asked[0].payload["trigger"], asked[0].payload["messages"]) == ("manual", 6)
    assert "keep what concerns this: names" in talk.asked[0]
    assert done.focus == "names"
    assert (told[0].payload["summary"], told[0].payload["seq"]) == (SUMMARY, done.seq)


async def test_a_hook_may_write_the_summary_itself(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST], ["never"], *PROMPTS)
    hooked(talk.session, "before_compaction", lambda _: HookResult(modified={"summary": "By hand."}))
    done = await talk.session.compact(keep_tokens=0)
    assert (done.summary, done.model, talk.asked) == ("By hand.", "", [])


async def test_a_hook_that_blocks_or_fails_leaves_all_as_it_is(bench: Bench) -> None:
    talk = await talked(bench, [*FIRST], ["never"], *PROMPTS)
    answers: list[HookResult] = [HookResult("block", reason="not now"), HookResult(modified={"summary": " "})]
    hooked(talk.session, "before_compaction", lambda _: answers.pop(0))
    with pytest.raises(BlockedByHook, match="not now"):
        await talk.session.compact(keep_tokens=0)
    with pytest.raises(BlockedByHook, match="empty one"):
        await talk.session.compact(keep_tokens=0)
    assert [(b.point, b.failed) for b in await data(talk.session, HookBlocked)] == [
        ("before_compaction", False),
        ("before_compaction", True),
    ]
    assert (len(await talk.session.history()), talk.asked) == (6, [])


# --- typed --------------------------------------------------------------------------------------------------------


async def test_compact_is_a_command(bench: Bench) -> None:
    long = "word " * 25_000
    talk = await talked(bench, [*FIRST], [SUMMARY], long, "Ask two.", "Ask three.")
    answered = await within(talk.session.send("/compact the names"))
    assert answered.text.startswith("6 messages of about 31,2")
    assert "/rewind" in answered.text
    assert "keep what concerns this: the names" in talk.asked[0]
    assert texts(await talk.session.history())[1:] == [
        "Answer one.",
        "Ask two.",
        "Answer two.",
        "Ask three.",
        "Answer three.",
    ]
    refused = await within(talk.session.command("/compact"))
    assert refused is not None
    assert refused.error == "conflict"
    assert "nothing to compact" in refused.text
