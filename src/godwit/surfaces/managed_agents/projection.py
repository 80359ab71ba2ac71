"""Projection: a session's log as the events of this protocol. A pure fold, from any turn of the log on.

Owns which of our events become which of theirs, in which order, with which ids: what becomes of a model request and its
calls is `projected_turn.py`'s, where events are put out `projected.py`'s. Leaves out reading the log (`history.py`) and what
is on its way (`live.py`).

What is kept is bounded by one turn: nothing outlives a `turn.started`, `run.started` or `run.finished` (`BASES`), so a fold
that begins behind the last of these before a place gives the same events from there on. The one thing that may have to be
looked up is an older message that is delivered now: `wants` names it, `know` takes it.

Rules a change must keep: places grow; an id is used once, but for a message's that is shown while it waits and again when
it is delivered; agent events come only while the session is shown as running; each span has one end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from ...core.errors import Fault
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    EntryKept,
    Event,
    EventData,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    McpResourceUpdated,
    McpUnavailable,
    MemoryFailed,
    MemoryRecalled,
    ModelStarted,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    SessionArchived,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionOpened,
    SessionPaused,
    SessionPruned,
    SessionResumed,
    SessionRewound,
    StateUpdated,
    SubagentAsked,
    SubagentFinished,
    SubagentProgressed,
    SubagentStarted,
    TasksCancelled,
    TodosUpdated,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Unknown,
    UsageRecorded,
    UserAnswer,
    UserInterrupt,
    UserMessage,
    VerificationReported,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
from ...core.ids import ActionId, InputId, RunId, Seq, SessionId
from ...core.messages import ResultBlock, StopReason, Text, UserBlock
from ...core.nudges import NUDGE
from ..server.money import is_budget_question
from ..server.questions import QUESTION, is_form, told
from .content import written
from .event_fields import budget_of, error_of, server_error
from .event_ids import event_id
from .projected import Body, Projected, Sink
from .projected_turn import ProjectedTurn, ShownCall
from .query import moment
from .system_messages import system_block, text_in, without

BASES: Final = ("turn.started", "run.started", "run.finished")
"""Where a fold may begin."""


@dataclass
class _Asked:
    """An action that is open. Without a call the run itself asks, or a call that has begun: `id` is then that of the event
    that shows it, None for a question about the budget. `form`: it is answered with fields."""

    call: ShownCall | None = None
    id: str | None = None
    form: bool = False
    answered: UserAnswer | None = None


def _shown_of(
    message: UserMessage, delivered: tuple[UserBlock, ...] | None = None
) -> list[tuple[str, tuple[UserBlock, ...]]]:
    """The events that a message is shown as. `delivered`: what it was when it was delivered, where that is something
    else. One by which the model is told to go on is shown as none: nobody has said it."""
    if message.sender == NUDGE:
        return []
    system = system_block(message)
    if system is None:
        return [("user.message", message.content if delivered is None else delivered)]
    content = without(message.content if delivered is None else delivered, system)
    said: list[tuple[str, tuple[UserBlock, ...]]] = [("user.message", content)] if len(message.content) > 1 else []
    return [*said, ("system.message", (Text(text_in(system)),))]


def _accepts(answer: UserAnswer) -> bool:
    return answer.decision == "approve" or (answer.decision == "result" and not answer.is_error)


class Projector:
    """Folds one session's events, in order, from its first one or from behind a base (`at`).

    `agent`: what people call the agent the session works for.
    """

    def __init__(self, session: SessionId, agent: str, at: EventData | None = None) -> None:
        self._session = session
        self._sink = Sink(session, agent, "running" if isinstance(at, TurnStarted) else "idle")
        self._open = isinstance(at, TurnStarted | RunStarted)
        self._claimed = isinstance(at, TurnStarted)
        self._interrupted = False
        self._stop: StopReason | None = None
        self._turn = ProjectedTurn(self._sink)
        self._asked: dict[ActionId, _Asked] = {}
        self._messages: dict[InputId, tuple[Seq, UserMessage]] = {}

    # --- what it is used by -------------------------------------------------------------------------------------------

    def wants(self, event: Event) -> InputId | None:
        """The message that has to be given to `know` before this event is folded."""
        if event.type != "input.delivered":
            return None
        data = event.data
        return data.id if isinstance(data, InputDelivered) and data.id not in self._messages else None

    def know(self, event: Event) -> None:
        """Take note of a message that was accepted before the fold began."""
        data = event.data
        assert isinstance(data, UserMessage)
        self._messages[data.id] = (event.seq, data)

    def feed(self, event: Event, agent: Body | None = None) -> list[Projected]:
        """What this event becomes, and what it makes known of calls before it. `agent`: as it is shown, when the event gives
        the session another."""
        data = event.data
        if self._turn.awaits_verdicts and not self._may_belong_to_the_verdicts(data):
            self._turn.show_rest_behind()
        self._sink.begin(event)
        self._fold(data, agent)
        self._turn.note_verdicts()
        return self._sink.taken()

    def rest(self) -> list[Projected]:
        """What is known when nothing more is stored."""
        self._turn.show_rest_behind()
        return self._sink.taken()

    @property
    def request(self) -> Seq | None:
        """Where the model request began that is under way."""
        return self._turn.asking

    # --- folding ------------------------------------------------------------------------------------------------------

    def _fold(self, data: EventData, agent: Body | None) -> None:
        match data:
            case UserMessage():
                self._messages[data.id] = (self._sink.seq, data)
                starts = data.delivery == "prompt" or not self._open
                for kind, content in _shown_of(data):
                    body = {"content": written(content), "processed_at": None}
                    self._sink.show(kind, body, waiting=data.id, quiet=starts)
            case InputDelivered():
                self._delivered(data)
            case InputWithdrawn():
                self._messages.pop(data.id, None)
            case UserInterrupt():
                self._interrupted = True
                self._sink.show("user.interrupt", {})
            case UserAnswer():
                self._answer(data)
            case RunStarted():
                self._open, self._claimed, self._interrupted, self._stop = True, False, False, None
                self._turn, self._asked = ProjectedTurn(self._sink), {}
            case RunClaimed():
                self._turn.end_span(cut=True)
                self._claimed = True
                if self._interrupted or self._nothing_waits():
                    self._sink.run()
            case RunParked():
                self._turn.show_rest()
                self._turn.end_span(cut=True)
                self._claimed = False
                if not data.children:
                    self._sink.idle(self._reason_to_wait(data))
            case RunYielded():
                self._turn.end_span(cut=True)
                self._claimed = False
                self._sink.reschedule()
            case RunRetrying():
                self._turn.end_span(cut=True)
                self._claimed = False
                self._sink.run()
                self._sink.show("session.error", {"error": error_of(data.error, "retrying")})
                self._sink.reschedule()
            case RunFinished():
                self._finished(data)
            case SessionForked():
                if self._open:
                    # What was under way in the session that it was forked from is not here.
                    self._finished(RunFinished(RunId(""), "interrupted"))
            case TurnStarted():
                self._sink.run()
                self._turn, self._asked = ProjectedTurn(self._sink), {}
                self._claimed, self._interrupted, self._stop = True, False, None
            case TurnFinished():
                self._turn.show_rest()
                self._turn.end_span(cut=True)
                self._sink.run()
            case ModelStarted():
                self._turn.end_span(cut=True)
                self._sink.run()
                self._turn = ProjectedTurn(self._sink, self._sink.seq)
                self._turn.begin_span()
            case AgentMessage():
                self._stop = data.message.stop
                self._turn.answered(data.message)
            case ToolStarted(origin="model"):
                self._sink.run()
                call = self._turn.call(data.call)
                if call is not None:
                    self._turn.judge(call, "allow")
            case ToolFinished(origin="model"):
                self._turn.finished(data)
            case ActionOpened():
                self._opened(data)
            case ActionClosed():
                self._closed(data)
            case SessionConfigured():
                changed: Body = {}
                if agent is not None:
                    changed["agent"] = agent
                if data.metadata is not None:
                    changed["metadata"] = data.metadata
                if data.name is not None:
                    changed["title"] = data.name or None
                if data.budgets is not None and data.raised_by is None:
                    changed["budget"] = budget_of(data.budgets)
                if changed:
                    self._sink.show("session.updated", changed)
            case McpUnavailable():
                if self._open:
                    self._sink.run()
                self._sink.show("session.error", {"error": server_error(data)})
            case SessionCompacted():
                self._sink.show("agent.thread_context_compacted", {})
            case SessionArchived():
                self._sink.terminate()
            case (
                SessionCreated()
                | SessionOpened()
                | SessionPaused()
                | ContextLoaded()
                | SessionResumed()
                | SessionRewound()
                | SessionLabelled()
                | SessionPruned()
                | CompactionFailed()
                | RunUnparked()
                | ToolStarted()
                | ToolAsked()
                | ToolFinished()
                | InputReordered()
                | ArtifactStored()
                | UsageRecorded()
                | BudgetWarned()
                | BudgetExceeded()
                | HookBlocked()
                | HookReported()
                | McpResourceUpdated()
                | OutputChecked()
                | MemoryRecalled()
                | MemoryFailed()
                | WorkspaceCheckpointed()
                | WorkspaceRestored()
                | VerificationReported()
                | RunNudged()
                | StateUpdated()
                | TodosUpdated()
                | GoalUpdated()
                | CommandExecuted()
                | SubagentStarted()
                | SubagentProgressed()
                | SubagentAsked()
                | SubagentFinished()
                | TasksCancelled()
                | SessionImported()
                | EntryKept()
                | Unknown()
            ):
                pass
            case _:
                assert_never(data)

    def _delivered(self, data: InputDelivered) -> None:
        known = self._messages.pop(data.id, None)
        self._sink.run()
        if known is None:
            return
        seq, message = known
        for index, (kind, content) in enumerate(_shown_of(message, data.content)):
            body = {"content": written(content), "processed_at": moment(self._sink.at_ms)}
            self._sink.show(kind, body, id=event_id(self._session, seq, index))

    def _finished(self, data: RunFinished) -> None:
        self._turn.show_rest()
        self._turn.end_span(cut=True)
        self._sink.run()
        match data.outcome:
            case "done" if self._stop == "refusal":
                self._sink.idle({"type": "refusal"}, {"type": "refusal"})
            case "done" | "interrupted":
                self._sink.idle({"type": "end_turn"})
            case "limited" if data.error is not None and data.error.code == "denied":
                self._sink.idle({"type": "end_turn"})  # a person was asked, and wanted no more of it
            case "limited" if data.error is not None and data.error.code == "budget_exhausted":
                self._sink.idle({"type": "budget_reached"})
            case "failed" | "limited":
                fault = data.error or Fault("unknown", "the run failed")
                self._sink.show("session.error", {"error": error_of(fault, "exhausted")})
                self._sink.idle({"type": "retries_exhausted"})
        self._open, self._claimed, self._interrupted, self._stop = False, False, False, None
        self._turn, self._asked = ProjectedTurn(self._sink), {}
        # What it leaves waiting is dropped, as this protocol has it; should it be delivered all the same, it is looked up.
        self._messages = {}

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _opened(self, data: ActionOpened) -> None:
        if data.kind == "task" or data.lane is not None:
            return
        if data.call is None:
            if is_budget_question(data.name, data.arguments):
                self._asked[data.action] = _Asked()
                return
            # The run itself asks: as a call that waits for a confirmation, so that every client can answer it.
            self._sink.run()
            given = data.arguments if data.message is None else {**data.arguments, "message": data.message}
            body = {"name": data.name, "input": given, "evaluated_permission": "ask"}
            shown = self._sink.show("agent.tool_use", {**body, "evaluation": {"type": "always_ask"}})
            self._asked[data.action] = _Asked(id=shown)
            return
        if data.asking:
            self._sink.run()
            if form := is_form(data):
                shown = self._sink.show("agent.custom_tool_use", {"name": QUESTION, "input": told(data)})
            else:
                body = {"name": QUESTION, "input": told(data), "evaluated_permission": "ask"}
                shown = self._sink.show("agent.tool_use", {**body, "evaluation": {"type": "always_ask"}})
            self._asked[data.action] = _Asked(id=shown, form=form)
            return
        call = self._turn.call(data.call)
        if call is not None:
            self._turn.asked(call, data)
            self._asked[data.action] = _Asked(call, call.shown)

    def _answer(self, data: UserAnswer) -> None:
        asked = self._asked.get(data.action)
        if asked is None:
            return
        asked.answered = data
        call = asked.call
        if asked.form:
            self._filled_in(asked, data.content or (Text(data.reason or "declined"),), accepted=_accepts(data))
        elif asked.id is not None and (call is None or data.decision != "result"):
            body: Body = {"tool_use_id": asked.id, "result": "allow" if _accepts(data) else "deny"}
            if not _accepts(data):
                body["deny_message"] = data.reason
            self._sink.show("user.tool_confirmation", body)
        elif call is not None and not call.answered:
            self._turn.client_answered(call, {"content": written(data.content), "is_error": data.is_error})
        if self._claimed and self._nothing_waits():
            self._sink.run()

    def _closed(self, data: ActionClosed) -> None:
        asked = self._asked.pop(data.action, None)
        if asked is None or asked.call is not None or asked.id is None:
            return
        answer = asked.answered
        if asked.form:
            if answer is None:
                # It was the client's, and nobody answers it any more: its result says so.
                self._filled_in(asked, (Text(f"[not answered: {data.reason}]"),), accepted=False)
            return
        self._sink.run()
        approved = answer is not None and _accepts(answer)
        said = (answer.reason if answer is not None else None) or ("approved" if approved else f"denied ({data.reason})")
        content = [{"type": "text", "text": said}]
        self._sink.show("agent.tool_result", {"tool_use_id": asked.id, "content": content, "is_error": not approved})

    def _filled_in(self, asked: _Asked, content: tuple[ResultBlock, ...], *, accepted: bool) -> None:
        body: Body = {"custom_tool_use_id": asked.id, "content": written(content), "is_error": not accepted}
        self._sink.show("user.custom_tool_result", body)

    def _may_belong_to_the_verdicts(self, data: EventData) -> bool:
        """Whether this may stand in the append that names verdicts of the turn's calls: it names one more, or comes with it
        and is not shown."""
        match data:
            case ToolStarted(origin="model") | ToolFinished(origin="model"):
                call = self._turn.call(data.call)
                return call is not None and not call.judged
            case ActionOpened():
                call = self._turn.call(data.call)
                return is_budget_question(data.name, data.arguments) if call is None else not call.judged
            case ActionClosed():
                asked = self._asked.get(data.action)
                return asked is None or asked.call is not None or asked.id is None
            case BudgetWarned() | BudgetExceeded() | HookBlocked() | HookReported() | ArtifactStored() | UsageRecorded():
                return True
            case WorkspaceCheckpointed() | ToolStarted() | ToolFinished():
                return True
            case _:
                return False

    def _nothing_waits(self) -> bool:
        return all(asked.answered is not None for asked in self._asked.values())

    def _reason_to_wait(self, data: RunParked) -> Body:
        waits = [self._asked[a] for a in data.actions if a in self._asked]
        ids = [asked.id for asked in waits if asked.id is not None]
        if not ids and any(asked.id is None for asked in waits):
            return {"type": "budget_reached"}
        return {"type": "requires_action", "event_ids": ids}
