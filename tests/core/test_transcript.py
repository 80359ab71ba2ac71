"""What the model sees: when messages enter, what a cut answer leaves, where a rewind leads."""

from __future__ import annotations

import msgspec
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
    SessionCompacted,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserMessage,
)
from godwit.core.ids import CallId, InputId, MessageId, RunId
from godwit.core.messages import (
    Assistant,
    Message,
    Opaque,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolStatus,
    Usage,
    User,
    text_of,
)
from godwit.core.transcript import Transcript, problems, summary_message, transcript_of

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


def test_a_message_of_any_role_tells_its_text() -> None:
    said = (Text("one "), Text("two"))
    assert [User(said).text, Assistant(MessageId("m"), said).text] == ["one two", "one two"]


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


@given(st.lists(st.none() | st.integers(-40, 40), max_size=14))
@settings(max_examples=200)
def test_a_rewind_leads_to_any_place_on_any_branch(plan: list[int | None]) -> None:
    """None says something, a number rewinds to it (if it is there), one below 1 keeps what came since and sums up the rest;
    from where that ends, every place is tried."""
    log: list[EventData] = [CREATED]
    for number, step in enumerate(plan):
        if step is None:
            log += [UserMessage(InputId(f"i{number}"), (Text(str(number)),)), InputDelivered(InputId(f"i{number}"))]
        elif step > 0:
            log.append(SessionRewound(min(step, len(log))))
        else:
            log.append(SessionCompacted(f"up to {-step}", min(1 - step, len(log) + 1)))
    events = [event(seq, data) for seq, data in enumerate(log, 1)]
    stood, transcript = [()], Transcript()
    for e in events:
        transcript.apply(e)
        stood.append(transcript.messages)  # type: ignore[arg-type]
    for to in range(1, len(stood)):
        again = transcript_of([*events, event(len(events) + 1, SessionRewound(to))])
        assert again.messages == stood[to]


def spoken(walk: Walk, *answers: Assistant) -> Walk:
    """One run for each answer, each with a prompt of its own."""
    for answer in answers:
        number, run = walk.state.seq, RunId(f"r{walk.state.seq}")
        walk.take(UserMessage(InputId(f"i{number}"), (Text(f"ask {answer.id}"),)))
        walk.take(RunStarted(run, InputId(f"i{number}")))
        walk.take(RunClaimed(run, 1))
        walk.take(InputDelivered(InputId(f"i{number}")))
        answered(walk, answer)
        for call in answer.calls:
            walk.take(ToolStarted(call.id, call.name, call.arguments, call.id))
            walk.take(finished(call))
        walk.take(TurnFinished(walk.state.turns))
        walk.take(RunFinished(run, "done"))
    return walk


def said(number: int, *blocks: Text | Thinking | ToolCall) -> Assistant:
    return Assistant(MessageId(f"m{number}"), blocks or (Text(f"answer {number}"),), usage=Usage(1000, 10))


def created() -> Walk:
    walk = Walk()
    walk.take(CREATED)
    return walk


def test_a_summary_stands_for_the_older_messages_and_a_rewind_brings_them_back() -> None:
    walk = spoken(created(), said(1), said(2), said(3))
    before = walk.transcript.messages
    compaction = SessionCompacted("so far", walk.transcript.entries[4].seq)
    walk.take(compaction)
    assert walk.transcript.messages == (summary_message(compaction), *before[4:])
    assert [e.message for e in walk.transcript.behind] == list(before[:4])
    assert walk.transcript.older == 3
    walk.take(SessionRewound(walk.state.seq - 1))
    assert walk.transcript.messages == before
    assert (walk.transcript.summary, walk.transcript.older, list(walk.transcript.behind)) == (None, 0, [])
    walk.take(SessionRewound(walk.state.seq - 1))
    assert walk.transcript.messages == (summary_message(compaction), *before[4:])
    assert walk.transcript.summary == compaction


def test_a_later_summary_takes_the_place_of_the_earlier_one() -> None:
    walk = spoken(created(), said(1), said(2))
    walk.take(SessionCompacted("first", walk.transcript.entries[2].seq))
    spoken(walk, said(3))
    kept = walk.transcript.entries[-2:]
    # The earlier summary is younger than what is kept from here on, and goes all the same.
    second = SessionCompacted("second", walk.transcript.entries[1].seq, files_changed=("a.py", "b.py"))
    walk.take(second)
    assert walk.transcript.messages[0] == summary_message(second)
    assert "<files-changed>\na.py\nb.py\n</files-changed>" in text_of(summary_message(second).content)
    assert len(walk.transcript) == 5
    third = SessionCompacted("third", kept[0].seq)
    walk.take(third)
    assert walk.transcript.messages == (summary_message(third), *(e.message for e in kept))
    assert [text_of(e.message.content) for e in walk.transcript.behind] == ["ask m1", "answer 1", "ask m2", "answer 2"]


def test_calls_and_results_stay_together_whatever_a_compaction_keeps() -> None:
    walk = spoken(created(), said(1, Text("I look"), A, B), said(2, C), said(3))
    for kept_from in range(1, walk.state.seq + 2):
        log = [*walk.events, event(walk.state.seq + 1, SessionCompacted("s", kept_from))]
        assert list(problems(transcript_of(log).messages)) == []


def test_what_is_kept_leaves_its_thinking_and_its_numbers_behind() -> None:
    """A provider takes thinking back only after exactly what it was thought after, and its numbered items only with it."""
    numbered = Opaque("openai", "fc_1", {"part": {"x": 1}})
    thought = said(1, Thinking("hm", "sig"), msgspec.structs.replace(A, opaque=numbered))
    only = said(2, Thinking("and nothing more", "sig"))
    plain = said(3, Text("done", Opaque("openai", "msg_1")))
    walk = spoken(created(), said(0), thought, only, plain)
    walk.take(SessionCompacted("s", walk.transcript.entries[2].seq))
    _, _, kept, result, _, _, last = walk.transcript.messages
    assert kept == msgspec.structs.replace(
        thought, content=(msgspec.structs.replace(A, opaque=Opaque("openai", None, numbered.details)),)
    )
    assert isinstance(result, ToolResult)
    assert last == plain
    assert list(problems(walk.transcript.messages)) == []


def test_a_compaction_waits_for_the_end_of_the_open_run() -> None:
    walk = spoken(created(), said(1), said(2))
    run, before = RunId("open"), walk.transcript.messages
    walk.take(UserMessage(InputId("j"), (Text("go on"),)))
    walk.take(RunStarted(run, InputId("j"), history=HISTORIES[2]))
    walk.take(RunClaimed(run, 1))
    walk.take(InputDelivered(InputId("j")))
    walk.take(SessionCompacted("early", walk.transcript.own_entries[2].seq))
    assert walk.transcript.messages == (*HISTORIES[2], user("go on"))
    assert walk.transcript.own_messages == before
    assert walk.transcript.due is not None
    assert walk.transcript.older == 0
    answered(walk, said(3)).take(TurnFinished(walk.state.turns))
    walk.take(RunFinished(run, "done"))
    assert walk.transcript.messages[1:] == before[2:]
    assert walk.transcript.due is None
    walk.take(SessionRewound(walk.state.seq - 1))
    assert walk.transcript.messages == before


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
