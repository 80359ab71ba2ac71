"""The joint rules of the two machines, one by one: what is refused, by which error, and what follows from what."""

from __future__ import annotations

import pytest
from tests.core.walk import CREATED, HISTORIES, Walk, event

from godwit.core.agent import AgentRef
from godwit.core.errors import (
    ActionNotFound,
    AlreadyAnswered,
    Fault,
    GodwitError,
    IllegalEvent,
    InboxFull,
    InputNotFound,
    NoOpenRun,
    SessionArchived as SessionArchivedError,
    SessionBusy,
    SessionPaused as SessionPausedError,
)
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    EventData,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    SessionArchived,
    SessionConfigured,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from godwit.core.gate import INBOX_LIMIT, Gate, admit, consequence
from godwit.core.ids import ActionId, AgentName, CallId, InputId, MessageId, RunId
from godwit.core.messages import Assistant, Text, ToolCall, ToolStatus, Usage
from godwit.core.state import Run, State, Turn, fold

R = RunId("r")
FAULT = Fault("rate_limited", "slow down")


def message(id: str, delivery: str = "prompt", mode: str = "skip") -> UserMessage:  # noqa: A002
    return UserMessage(InputId(id), (Text(id),), delivery, mode)  # type: ignore[arg-type]


def after(*data: EventData) -> Walk:
    walk = Walk()
    for d in (CREATED, *data):
        walk.take(d)
    return walk


def refused(walk: Walk, data: EventData, kind: type[GodwitError], match: str | None = None) -> None:
    with pytest.raises(kind, match=match) as found:
        fold(walk.state, event(walk.state.seq + 1, data))
    assert type(found.value) is kind


STARTED: tuple[EventData, ...] = (message("i"), RunStarted(R, InputId("i")))
RUNNING = (*STARTED, RunClaimed(R, 1), InputDelivered(InputId("i")))


def call(id: str = "c", **arguments: object) -> ToolCall:  # noqa: A002
    return ToolCall(CallId(id), "bash", arguments)


def asked(*calls: ToolCall, turn: int = 1, stop: str = "tool_use") -> tuple[EventData, ...]:
    """A turn up to the model's answer."""
    answer = Assistant(MessageId(f"m{turn}"), (Text("so"), *calls), "p:m", stop, usage=Usage(10, 5, requests=1))  # type: ignore[arg-type]
    return (TurnStarted(turn), ModelStarted(answer.id, "p:m"), AgentMessage(answer))


def done(id: str = "c", status: ToolStatus = "denied") -> ToolFinished:  # noqa: A002
    return ToolFinished(CallId(id), "bash", status)


WAITING = (
    *RUNNING,
    *asked(call()),
    ActionOpened(ActionId("a"), "approval", CallId("c"), "bash"),
    RunParked(R, (ActionId("a"),)),
)


def run_of(walk: Walk) -> Run:
    assert walk.state.run is not None
    return walk.state.run


def turn_of(walk: Walk) -> Turn:
    assert walk.state.turn is not None
    return walk.state.turn


# --- beginning and end ----------------------------------------------------------------------------------------------


def test_a_log_begins_with_its_creation_once_and_has_no_gaps() -> None:
    for data in (SessionOpened(), message("i"), RunStarted(R)):
        with pytest.raises(IllegalEvent, match=r"a log begins with session\.created, once"):
            fold(State(), event(1, data))
        with pytest.raises(IllegalEvent):
            admit(Gate(), data)
    refused(after(), CREATED, IllegalEvent, "once")
    for seq in (1, 3):
        with pytest.raises(IllegalEvent, match=f"event {seq} does not follow 1"):
            fold(after().state, event(seq, SessionOpened()))


def test_what_is_created_and_configured_is_told() -> None:
    walk = after()
    assert (walk.state.agent, walk.state.workspace, walk.state.environment) == (CREATED.agent, "/w", {"A": "1"})
    assert (walk.state.created_ms, walk.state.updated_ms) == (10, 10)
    other = AgentRef(AgentName("other"), 3)
    walk.take(SessionConfigured(model="p:x", thinking="high", steer_mode="batch", name="n", agent=other))
    walk.take(SessionConfigured(name="m"))
    s = walk.state
    assert (s.model, s.thinking, s.steer_mode, s.name, s.agent) == ("p:x", "high", "batch", "m", other)
    walk.take(SessionConfigured(thinking="default"))
    assert (walk.state.thinking, walk.state.model) == (None, "p:x")


def test_settings_are_for_runs_that_start_after_them() -> None:
    walk = after(SessionConfigured(model="p:one"), *STARTED, SessionConfigured(model="p:two"))
    assert run_of(walk).model == "p:one"
    assert walk.state.model == "p:two"


def test_a_new_session_reads_as_queued_until_a_host_opens_it() -> None:
    assert after().state.status == "queued"
    assert after(SessionOpened("h")).state.status == "idle"
    assert after(*STARTED).state.status == "queued"
    finished = after(*RUNNING, RunFinished(R, "done"))
    assert finished.state.status == "idle"  # the claim has opened it


def test_only_archived_is_final() -> None:
    walk = after(SessionArchived())
    assert walk.state.status == "archived"
    for data in (message("i"), RunStarted(R), SessionResumed(), SessionArchived(), SessionOpened()):
        refused(walk, data, SessionArchivedError)
    failed = after(*RUNNING, RunFinished(R, "failed", FAULT))
    failed.take(message("again"))
    failed.take(RunStarted(RunId("r2"), InputId("again")))
    assert (failed.state.status, failed.state.last_outcome, failed.state.runs) == ("queued", "failed", 2)


def test_an_open_run_keeps_a_session_from_being_archived_or_rewound() -> None:
    for data in (SessionArchived(), SessionRewound(1)):
        refused(after(*STARTED), data, SessionBusy)
    for to in (0, -1):
        refused(after(), SessionRewound(to), IllegalEvent, f"no event {to}")


# --- busy, the queue ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_run", [STARTED, RUNNING, WAITING], ids=["queued", "running", "waiting"])
def test_a_prompt_to_an_open_run_is_busy(open_run: tuple[EventData, ...]) -> None:
    walk = after(*open_run)
    refused(walk, message("j"), SessionBusy)
    refused(walk, RunStarted(RunId("r2")), SessionBusy)
    walk.take(message("k", "follow_up"))
    walk.take(message("l", "steer", "batch"))


def test_a_steer_needs_a_run() -> None:
    refused(after(), message("s", "steer"), NoOpenRun)
    refused(after(*RUNNING, RunFinished(R, "done")), message("s", "steer"), NoOpenRun)


def test_a_follow_up_waits_without_a_run_and_outlives_one() -> None:
    walk = after(message("f", "follow_up"), *STARTED, RunClaimed(R, 1), InputDelivered(InputId("i")))
    walk.take(RunFinished(R, "interrupted"))
    assert [q.id for q in walk.gate.queue] == ["f"]


def test_a_full_inbox_refuses_and_an_old_log_stays_readable() -> None:
    walk = after(*(message(f"f{n}", "follow_up") for n in range(INBOX_LIMIT)))
    with pytest.raises(InboxFull) as found:
        admit(walk.gate, message("more", "follow_up"))
    assert found.value.details == {"limit": INBOX_LIMIT}
    walk.take(InputWithdrawn(InputId("f0")))
    admit(walk.gate, message("more", "follow_up"))
    with pytest.raises(InboxFull):
        admit(walk.gate, message("more", "follow_up"), inbox_limit=3)
    fold(after(*(message(f"f{n}", "follow_up") for n in range(INBOX_LIMIT))).state, event(258, message("x", "follow_up")))


def test_one_id_is_queued_once() -> None:
    refused(after(message("i", "follow_up")), message("i", "follow_up"), IllegalEvent, "queued already")


def test_inputs_are_withdrawn_and_reordered_while_they_wait() -> None:
    walk = after(*RUNNING, *(message(i, "follow_up") for i in "abc"), message("s", "steer"))
    ids = [InputId(i) for i in "cab"]
    for order in (ids[:2], [*ids, InputId("s")], [*ids, ids[0]], []):
        refused(walk, InputReordered(tuple(order)), InputNotFound)
    walk.take(InputReordered(tuple(ids)))
    assert [q.id for q in walk.gate.queue] == ["s", "c", "a", "b"]
    walk.take(InputWithdrawn(InputId("a")))
    assert [q.id for q in walk.gate.queue] == ["s", "c", "b"]
    for gone in ("a", "i", "never"):
        refused(walk, InputWithdrawn(InputId(gone)), InputNotFound)
        refused(walk, InputDelivered(InputId(gone)), InputNotFound)


def test_inputs_are_delivered_between_the_turns_of_a_running_run() -> None:
    refused(after(*STARTED), InputDelivered(InputId("i")), IllegalEvent, "while the run is queued")
    walk = after(*RUNNING, message("s", "steer"), *asked(call()))
    refused(walk, InputDelivered(InputId("s")), IllegalEvent, "only between turns")
    walk.take(done())
    walk.take(TurnFinished(1))
    walk.take(InputDelivered(InputId("s")))
    assert run_of(walk).checkpoint == walk.state.seq


def test_a_run_ends_after_its_steers_and_the_turn() -> None:
    walk = after(*RUNNING, message("s", "steer"))
    refused(walk, RunFinished(R, "done"), IllegalEvent, "steers")
    walk.take(InputWithdrawn(InputId("s"), "run_finished"))
    walk.take(TurnStarted(1))
    refused(walk, RunFinished(R, "done"), IllegalEvent, "between turns")
    refused(walk, RunFinished(RunId("other"), "done"), IllegalEvent, "not the open run")
    walk.take(TurnFinished(1))
    walk.take(RunFinished(R, "done"))
    assert (walk.state.run, walk.state.last_run, walk.state.last_outcome) == (None, R, "done")


# --- pause and claim ------------------------------------------------------------------------------------------------


def test_a_paused_session_takes_inputs_and_claims_nothing() -> None:
    walk = after(*STARTED, SessionPaused("lunch"))
    assert (walk.state.status, walk.gate.drivable) == ("paused", False)
    refused(walk, RunClaimed(R, 1), SessionPausedError)
    refused(walk, SessionPaused(), SessionPausedError)
    walk.take(message("f", "follow_up"))
    walk.take(SessionResumed())
    refused(walk, SessionResumed(), IllegalEvent)
    assert (walk.state.status, walk.gate.drivable) == ("queued", True)
    walk.take(RunClaimed(R, 1))


def test_a_paused_session_can_be_interrupted() -> None:
    walk = after(*STARTED, SessionPaused(), UserInterrupt(R))
    assert walk.gate.drivable
    walk.take(RunClaimed(R, 1))


def test_an_interrupt_is_for_the_open_run() -> None:
    refused(after(), UserInterrupt(R), NoOpenRun)
    refused(after(*RUNNING), UserInterrupt(RunId("other")), NoOpenRun)
    walk = after(*RUNNING, UserInterrupt(R, force=True))
    assert run_of(walk).interrupt == UserInterrupt(R, force=True)
    walk.take(RunFinished(R, "interrupted"))
    assert not walk.gate.interrupted


def test_an_attempt_grows_only_when_a_claim_follows_a_claim() -> None:
    walk = after(RunStarted(R))
    refused(walk, RunClaimed(R, 2), IllegalEvent, "attempt 2 should be 1")
    walk.take(RunClaimed(R, 1))
    refused(walk, RunClaimed(R, 1), IllegalEvent, "attempt 1 should be 2")
    walk.take(RunClaimed(R, 2))
    walk.take(RunYielded(R, "shutdown"))
    walk.take(RunClaimed(R, 2))
    walk.take(RunClaimed(R, 3))
    assert (run_of(walk).takeovers, walk.gate.attempt) == (2, 3)
    walk.take(TurnStarted(1))
    walk.take(RunRetrying(R, FAULT, 1, 100, "p:m"))
    walk.take(RunClaimed(R, 3))
    walk.take(TurnFinished(1))
    walk.take(RunFinished(R, "done"))
    walk.take(RunStarted(RunId("r2")))
    walk.take(RunClaimed(RunId("r2"), 1))


def test_a_finished_step_forgives_the_takeovers_before_it() -> None:
    walk = after(*RUNNING, RunClaimed(R, 2))
    for data in asked(call()):
        assert run_of(walk).takeovers == 1
        walk.take(data)
    assert run_of(walk).takeovers == 0
    walk.take(RunClaimed(R, 3))
    walk.take(ToolStarted(CallId("c"), "bash", {}, "k"))
    assert run_of(walk).takeovers == 1
    walk.take(done(status="ok"))
    assert run_of(walk).takeovers == 0


# --- turns and calls ------------------------------------------------------------------------------------------------


def test_turns_are_counted_over_the_session_and_run() -> None:
    walk = after(*RUNNING)
    refused(walk, TurnStarted(2), IllegalEvent, "turn 2 should be 1")
    refused(walk, TurnFinished(1), IllegalEvent, "needs an open turn")
    walk.take(TurnStarted(1))
    refused(walk, TurnStarted(2), IllegalEvent, "after the one before it ended")
    refused(walk, TurnFinished(2), IllegalEvent)
    walk.take(TurnFinished(1))
    walk.take(RunFinished(R, "done"))
    walk.take(RunStarted(RunId("r2"), resumes=R, usage=Usage(7), turns=1, tool_calls=2))
    walk.take(RunClaimed(RunId("r2"), 1))
    walk.take(TurnStarted(2))
    assert (walk.state.turns, run_of(walk).turns, run_of(walk).turns_before, run_of(walk).tool_calls) == (2, 2, 1, 2)


def test_the_answer_is_the_one_that_was_asked_for() -> None:
    walk = after(*RUNNING, TurnStarted(1))
    refused(walk, AgentMessage(Assistant(MessageId("m1"), ())), IllegalEvent, "not the one asked for")
    walk.take(ModelStarted(MessageId("m1"), "p:m"))
    refused(walk, ModelStarted(MessageId("m1"), "p:m"), IllegalEvent, "another id")
    walk.take(ModelStarted(MessageId("m2"), "p:m"))
    refused(walk, AgentMessage(Assistant(MessageId("m1"), ())), IllegalEvent)
    walk.take(AgentMessage(Assistant(MessageId("m2"), (Text("x"),))))
    refused(walk, AgentMessage(Assistant(MessageId("m2"), ())), IllegalEvent)
    refused(walk, ModelStarted(MessageId("m3"), "p:m"), IllegalEvent)


def test_usage_and_calls_are_counted_for_run_and_session() -> None:
    walk = after(*RUNNING, *asked(call("a"), call("b")), done("a"), done("b"), TurnFinished(1), *asked(turn=2))
    assert (run_of(walk).usage, walk.state.usage) == (Usage(20, 10, requests=2), Usage(20, 10, requests=2))
    assert (run_of(walk).tool_calls, walk.state.tool_calls) == (2, 2)


def test_two_calls_of_one_answer_do_not_share_an_id() -> None:
    walk = after(*RUNNING, TurnStarted(1), ModelStarted(MessageId("m"), "p:m"))
    refused(walk, AgentMessage(Assistant(MessageId("m"), (call("c"), call("c")))), IllegalEvent, "share an id")


def test_a_call_gets_one_result_and_the_turn_waits_for_all() -> None:
    walk = after(*RUNNING, *asked(call("a"), call("b")))
    refused(walk, done("none"), IllegalEvent, "no call 'none'")
    walk.take(done("a", "skipped"))
    refused(walk, done("a", "skipped"), IllegalEvent)
    refused(walk, ToolStarted(CallId("a"), "bash", {}, "k"), IllegalEvent, "finished")
    refused(walk, TurnFinished(1), IllegalEvent)
    walk.take(ToolStarted(CallId("b"), "bash", {}, "k"))
    walk.take(ToolStarted(CallId("b"), "bash", {}, "k"))  # run again after a crash
    walk.take(done("b", "ok"))
    walk.take(TurnFinished(1))


@pytest.mark.parametrize("status", ["ok", "unknown"])
def test_what_never_started_did_not_end_well_or_unknown(status: ToolStatus) -> None:
    walk = after(*RUNNING, *asked(call()))
    refused(walk, done(status=status), IllegalEvent, f"cannot end as {status}")
    walk.take(ActionOpened(ActionId("a"), "external", CallId("c"), "bash"))
    walk.take(UserAnswer(ActionId("a"), "result", content=(Text("42"),)))
    walk.take(done(status=status))  # the answer is its result


@pytest.mark.parametrize("status", ["error", "denied", "skipped", "invalid"])
def test_what_never_started_may_be_refused(status: ToolStatus) -> None:
    after(*RUNNING, *asked(call()), done(status=status), TurnFinished(1))


def test_a_call_starts_only_while_the_run_is_running() -> None:
    start = ToolStarted(CallId("c"), "bash", {}, "k")
    for walk in (after(*WAITING), after(*RUNNING, *asked(call()), RunYielded(R))):
        refused(walk, start, IllegalEvent, "only in a running run")


def test_equal_calls_in_a_row_are_counted() -> None:
    walk = after(*RUNNING, *asked(call("a", x=1), call("b", x=1), call("c", x=2)))
    assert [c.repeat for c in turn_of(walk).calls] == [1, 2, 1]
    for c in "abc":
        walk.take(done(c))
    walk.take(TurnFinished(1))
    for data in asked(call("d", x=2), turn=2):
        walk.take(data)
    assert [c.repeat for c in turn_of(walk).calls] == [2]
    walk.take(done("d"))
    walk.take(TurnFinished(2))
    for data in (*asked(turn=3, stop="end_turn"), TurnFinished(3), *asked(call("e", x=2), turn=4)):
        walk.take(data)
    assert [c.repeat for c in turn_of(walk).calls] == [1]  # an answer without calls lies between


def test_malformed_calls_differ_by_their_text_and_their_turns_are_counted() -> None:
    broken = [ToolCall(CallId(i), "bash", {}, malformed=text) for i, text in (("a", "{"), ("b", "{{"), ("c", "{{"))]
    walk = after(*RUNNING, *asked(*broken))
    assert [c.repeat for c in turn_of(walk).calls] == [1, 1, 2]
    for c in "abc":
        walk.take(done(c, "invalid"))
    walk.take(TurnFinished(1))
    assert run_of(walk).invalid_turns == 1
    for data in (*asked(broken[0], turn=2), done("a", "invalid"), TurnFinished(2)):
        walk.take(data)
    assert run_of(walk).invalid_turns == 2
    for data in (*asked(call("d"), turn=3), done("d"), TurnFinished(3)):
        walk.take(data)
    assert run_of(walk).invalid_turns == 0


def test_whether_the_model_owes_an_answer() -> None:
    walk = after(*STARTED, RunClaimed(R, 1))
    assert not run_of(walk).owes_answer
    walk.take(InputDelivered(InputId("i")))
    assert run_of(walk).owes_answer

    def ended(*data: EventData) -> bool:
        return run_of(after(*RUNNING, *data)).owes_answer

    assert not ended(*asked(stop="end_turn"), TurnFinished(1))
    assert ended(*asked(stop="pause"), TurnFinished(1))
    assert ended(*asked(call()), done(), TurnFinished(1))
    assert ended(TurnStarted(1), ModelStarted(MessageId("m"), "p:m"), TurnFinished(1))  # it was never answered
    assert run_of(after(RunStarted(R, resumes=RunId("old")))).owes_answer


def test_a_retry_names_its_time_and_model_and_is_over_with_the_answer() -> None:
    walk = after(*RUNNING, TurnStarted(1), ModelStarted(MessageId("m"), "p:m"))
    walk.take(RunRetrying(R, FAULT, 2, 500, "p:other"))
    run = run_of(walk)
    assert (walk.state.status, run.retries, run.retry_model, run.retry_at_ms) == (
        "retrying",
        2,
        "p:other",
        walk.state.updated_ms + 500,
    )
    assert walk.gate.drivable
    walk.take(RunClaimed(R, 1))
    assert (run_of(walk).retry_at_ms, run_of(walk).retries) == (None, 2)
    walk.take(ModelStarted(MessageId("m2"), "p:other"))
    walk.take(AgentMessage(Assistant(MessageId("m2"), (Text("x"),))))
    assert run_of(walk).retries == 0


def test_a_retry_belongs_to_a_turn() -> None:
    refused(after(*RUNNING), RunRetrying(R, FAULT, 1, 0, "p:m"), IllegalEvent, "open turn")


# --- actions --------------------------------------------------------------------------------------------------------


def test_an_action_is_for_an_unfinished_call_of_a_running_run() -> None:
    opened = ActionOpened(ActionId("a"), "approval", CallId("c"), "bash")
    refused(after(*RUNNING), opened, IllegalEvent, "open turn")
    walk = after(*RUNNING, *asked(call("c"), call("d")))
    walk.take(opened)
    refused(walk, opened, IllegalEvent, "open already")
    refused(walk, ActionOpened(ActionId("b"), "question", CallId("c"), "bash"), IllegalEvent, "open action already")
    refused(walk, ActionOpened(ActionId("a"), "question", CallId("d"), "bash"), IllegalEvent, "open already")
    walk.take(ActionClosed(ActionId("a"), "cancelled"))
    walk.take(ActionOpened(ActionId("b"), "question", CallId("c"), "bash"))
    walk.take(ActionClosed(ActionId("b")))
    walk.take(done("c"))
    refused(walk, opened, IllegalEvent, "without a result")


def test_a_run_is_parked_while_an_action_waits_and_no_call_is_under_way() -> None:
    walk = after(*RUNNING, *asked(call("c"), call("d")))
    park = RunParked(R, (ActionId("a"),))
    refused(walk, park, IllegalEvent, "waits for its answer")
    walk.take(ActionOpened(ActionId("a"), "approval", CallId("c"), "bash"))
    walk.take(ToolStarted(CallId("d"), "bash", {}, "k"))
    refused(walk, park, IllegalEvent, "no call under way")
    walk.take(done("d", "ok"))
    walk.take(UserAnswer(ActionId("a"), "approve"))
    refused(walk, park, IllegalEvent, "waits for its answer")


def test_an_action_is_answered_once_and_in_its_kind() -> None:
    walk = after(*WAITING)
    refused(walk, UserAnswer(ActionId("none"), "approve"), ActionNotFound)
    refused(walk, UserAnswer(ActionId("a"), "result"), IllegalEvent, "approve or deny")
    answer = UserAnswer(ActionId("a"), "approve", arguments={"command": "ls"})
    walk.take(answer)
    refused(walk, answer, AlreadyAnswered)
    assert turn_of(walk).calls[0].answer == answer
    walk.take(RunUnparked(R))
    walk.take(ActionClosed(ActionId("a")))
    refused(walk, answer, ActionNotFound)
    for kind in ("question", "external"):
        walk = after(*RUNNING, *asked(call()), ActionOpened(ActionId("q"), kind, CallId("c"), "bash"))
        refused(walk, UserAnswer(ActionId("q"), "approve"), IllegalEvent, "with a result")
        walk.take(UserAnswer(ActionId("q"), "deny"))


def test_of_several_actions_some_may_be_answered_while_others_wait() -> None:
    opened = [ActionOpened(ActionId(f"a-{c}"), "approval", CallId(c), "bash") for c in "cd"]
    walk = after(*RUNNING, *asked(call("c"), call("d")), *opened, RunParked(R, (ActionId("a-c"), ActionId("a-d"))))
    walk.take(UserAnswer(ActionId("a-c"), "approve"))
    walk.take(RunUnparked(R))
    walk.take(RunClaimed(R, 1))
    walk.take(ToolStarted(CallId("c"), "bash", {}, "k"))
    walk.take(done("c", "ok"))
    walk.take(ActionClosed(ActionId("a-c")))
    walk.take(RunParked(R, (ActionId("a-d"),)))
    assert [c.answer is not None for c in turn_of(walk).calls] == [True, False]
    assert [a.id for a in walk.gate.actions] == ["a-d"]


def test_a_turn_and_a_run_end_only_when_their_actions_are_closed() -> None:
    walk = after(*WAITING, UserInterrupt(R), RunUnparked(R), RunClaimed(R, 1), done(status="skipped"))
    refused(walk, TurnFinished(1), IllegalEvent, "actions are closed")
    refused(walk, RunFinished(R, "interrupted"), IllegalEvent, "actions are closed")
    walk.take(ActionClosed(ActionId("a"), "interrupted"))
    walk.take(TurnFinished(1))
    walk.take(RunFinished(R, "interrupted"))


@pytest.mark.parametrize(
    ("data", "wakes"),
    [
        (UserAnswer(ActionId("a"), "approve"), True),
        (UserInterrupt(R), True),
        (message("s", "steer", "skip"), True),
        (message("s", "steer", "batch"), False),
        (message("f", "follow_up"), False),
        (SessionPaused(), False),
        (SessionConfigured(name="n"), False),
    ],
)
def test_what_wakes_a_parked_run(data: EventData, wakes: bool) -> None:
    gate = admit(after(*WAITING).gate, data)
    assert consequence(gate, data) == (RunUnparked(R) if wakes else None)
    running = after(*WAITING, RunUnparked(R), RunClaimed(R, 1)).gate
    assert consequence(admit(running, data), data) is None


# --- histories handed in --------------------------------------------------------------------------------------------


def test_a_history_handed_in_must_be_valid_for_a_model() -> None:
    walk = after(message("i"))
    refused(walk, RunStarted(R, history=HISTORIES[2][:2]), IllegalEvent, "calls .* have no result")
    refused(walk, RunStarted(R, history=HISTORIES[2][2:]), IllegalEvent, "cannot be sent to a model")
    walk.take(RunStarted(R, history=HISTORIES[2]))
    assert run_of(walk).detached
