"""What the model sees: when messages enter, what a cut answer leaves, where a rewind leads."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from tests.core.walk import CREATED, HISTORIES, Walk, event

from godwit.core.errors import Fault
from godwit.core.events import (
    AgentMessage,
    EventData,
    InputDelivered,
    InputWithdrawn,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserMessage,
)
from godwit.core.ids import CallId, InputId, MessageId, RunId
from godwit.core.messages import Assistant, Message, Text, Thinking, ToolCall, ToolResult, ToolStatus, User
from godwit.core.transcript import Transcript, problems, transcript_of

RUN = RunId("r")


def user(text: str) -> User:
    return User((Text(text),))


def prompted(text: str = "go", *, history: tuple[Message, ...] | None = None) -> Walk:
    """A session whose prompt is delivered to a running run."""
    walk = Walk()
    for data in (
        CREATED,
        UserMessage(InputId("i"), (Text(text),)),
        RunStarted(RUN, InputId("i"), history=history),
        RunClaimed(RUN, 1),
        InputDelivered(InputId("i")),
    ):
        walk.take(data)
    return walk


def answered(walk: Walk, answer: Assistant) -> Walk:
    for data in (TurnStarted(walk.state.turns + 1), ModelStarted(answer.id, answer.model), AgentMessage(answer)):
        walk.take(data)
    return walk


def seen(walk: Walk) -> list[Message]:
    return list(walk.transcript.messages)


def finished(call: ToolCall, status: ToolStatus = "ok", text: str = "out") -> ToolFinished:
    return ToolFinished(call.id, call.name, status, (Text(text),))


A, B, C = (ToolCall(CallId(c), "bash", {"command": c}) for c in "abc")


def test_an_input_enters_when_it_is_delivered_and_not_before() -> None:
    walk = Walk()
    walk.take(CREATED)
    walk.take(UserMessage(InputId("i"), (Text("go"),)))
    walk.take(UserMessage(InputId("j"), (Text("never mind"),), "follow_up"))
    walk.take(InputWithdrawn(InputId("j")))
    assert seen(walk) == []
    walk.take(RunStarted(RUN, InputId("i")))
    walk.take(RunClaimed(RUN, 1))
    walk.take(InputDelivered(InputId("i")))
    assert seen(walk) == [user("go")]


def test_a_turn_enters_as_a_whole_in_call_order() -> None:
    answer = Assistant(MessageId("m"), (Text("look"), A, B, C))
    walk = answered(prompted(), answer)
    for call in (A, B, C):
        walk.take(ToolStarted(call.id, call.name, call.arguments, "k"))
    for call in (C, A, B):
        assert seen(walk) == [user("go")]
        walk.take(finished(call, text=f"out {call.id}"))
    walk.take(TurnFinished(1))
    assert walk.transcript.messages == (
        user("go"),
        answer,
        *(ToolResult(c.id, c.name, (Text(f"out {c.id}"),)) for c in (A, B, C)),
    )
    assert {e.seq for e in walk.transcript.entries[1:]} == {walk.state.seq}


def test_a_cut_answer_leaves_its_text_alone() -> None:
    answer = Assistant(MessageId("m"), (Thinking("hm"), Text("half"), A), stop="interrupted", complete=False)
    walk = answered(prompted(), answer)
    walk.take(finished(A, "skipped"))
    walk.take(TurnFinished(1))
    [_, kept] = walk.transcript.messages
    assert isinstance(kept, Assistant)
    assert kept.content == (Text("half"),)


def test_an_answer_of_which_nothing_can_be_sent_leaves_nothing() -> None:
    for answer in (
        Assistant(MessageId("m"), ()),
        Assistant(MessageId("m"), (Thinking("hm"), Text("")), complete=False),
    ):
        walk = answered(prompted(), answer)
        walk.take(TurnFinished(1))
        assert seen(walk) == [user("go")]


def test_a_turn_without_an_answer_leaves_nothing_and_takes_nothing_from_the_next() -> None:
    walk = prompted()
    walk.take(TurnStarted(1))
    walk.take(ModelStarted(MessageId("lost"), "m"))
    walk.take(TurnFinished(1))
    assert seen(walk) == [user("go")]
    answer = Assistant(MessageId("m"), (Text("done"),))
    answered(walk, answer).take(TurnFinished(2))
    assert seen(walk) == [user("go"), answer]


def test_a_malformed_call_stands_with_its_result() -> None:
    broken = ToolCall(CallId("x"), "bash", {}, malformed='{"command": ')
    answer = Assistant(MessageId("m"), (broken,))
    walk = answered(prompted(), answer)
    walk.take(finished(broken, "invalid", "no JSON"))
    walk.take(TurnFinished(1))
    assert walk.transcript.messages[1:] == (answer, ToolResult(broken.id, "bash", (Text("no JSON"),), "invalid"))


def test_a_detached_run_works_on_its_own_history_and_leaves_none() -> None:
    walk = prompted("first")
    walk.take(RunFinished(RUN, "done"))
    other = RunId("detached")
    walk.take(UserMessage(InputId("j"), (Text("second"),)))
    walk.take(RunStarted(other, InputId("j"), history=HISTORIES[2]))
    assert walk.transcript.messages == HISTORIES[2]
    walk.take(RunClaimed(other, 1))
    walk.take(InputDelivered(InputId("j")))
    answer = Assistant(MessageId("m"), (Text("done"),))
    answered(walk, answer).take(TurnFinished(1))
    assert walk.transcript.messages == (*HISTORIES[2], user("second"), answer)
    assert walk.transcript.own_messages == (user("first"),)
    walk.take(RunFinished(other, "failed", Fault("model", "broken")))
    assert seen(walk) == [user("first")]


def test_entries_and_their_drawers_stay_while_the_transcript_grows_and_goes_back() -> None:
    walk = prompted("one")
    first = walk.transcript.entries[0]
    first.encoded["wire"] = b"kept"
    walk.take(UserMessage(InputId("j"), (Text("two"),), "steer"))
    walk.take(InputDelivered(InputId("j")))
    walk.take(RunFinished(RUN, "done"))
    walk.take(SessionRewound(5))
    assert walk.transcript.entries[0] is first
    walk.take(SessionRewound(walk.state.seq - 1))
    assert len(walk.transcript) == 2
    assert walk.transcript.entries[0].encoded == {"wire": b"kept"}


@given(st.lists(st.none() | st.integers(1, 40), max_size=14))
@settings(max_examples=150)
def test_a_rewind_leads_to_any_place_on_any_branch(plan: list[int | None]) -> None:
    """None says something, a number rewinds to it (if it is there); from where that ends, every place is tried."""
    log: list[EventData] = [CREATED]
    for number, step in enumerate(plan):
        if step is None:
            log += [UserMessage(InputId(f"i{number}"), (Text(str(number)),)), InputDelivered(InputId(f"i{number}"))]
        else:
            log.append(SessionRewound(min(step, len(log))))
    events = [event(seq, data) for seq, data in enumerate(log, 1)]
    stood, transcript = [()], Transcript()
    for e in events:
        transcript.apply(e)
        stood.append(transcript.messages)  # type: ignore[arg-type]
    for to in range(1, len(stood)):
        again = transcript_of([*events, event(len(events) + 1, SessionRewound(to))])
        assert again.messages == stood[to]


def test_problems_name_what_a_provider_would_reject() -> None:
    asking = Assistant(MessageId("m"), (A, B))
    result_a, result_b = (ToolResult(c.id, c.name, ()) for c in (A, B))
    assert list(problems((user("go"), asking, result_a, result_b))) == []
    assert list(problems((result_a,))) == ["message 0: result for 'a', expected []"]
    assert list(problems((asking, result_b, result_a))) == [
        "message 1: result for 'b', expected ['a']",
        "end: calls ['b'] have no result",
    ]
    assert list(problems((asking, result_a, user("so?")))) == ["message 2: calls ['b'] have no result"]
    assert list(problems((asking,))) == ["end: calls ['a', 'b'] have no result"]
    assert list(problems((Assistant(MessageId("m"), ()),))) == ["message 0: an assistant message without content"]
