"""Projection: a session's log as the events of this protocol. A pure fold, from any turn of the log on.

Owns which of our events become which of theirs, in which order, with which ids. Leaves out reading the log (`history.py`)
and what is on its way (`live.py`).

What is kept is bounded by one turn: nothing outlives a `turn.started`, `run.started` or `run.finished` (`BASES`), so a fold
that begins behind the last of these before a place gives the same events from there on. The one thing that may have to be
looked up is an older message that is delivered now: `wants` names it, `know` takes it.

Order within a turn is theirs and not ours: a call is shown when it is known whether it may run, which our log says only
after the answer. The verdicts of a turn's calls are stored in one append; those that it does not name have been let pass
and wait for room. So they are shown when something else follows, or when nothing more is stored (`rest`), and in both cases
stand at the place of the last verdict. An answer's span ends behind its calls.

Rules a change must keep: places grow; an id is used once, but for a message's that is shown while it waits and again when
it is delivered; agent events come only while the session is shown as running; each span has one end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, assert_never

from ...core.budget import Budget
from ...core.errors import Fault
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    Event,
    EventData,
    HookBlocked,
    HookReported,
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
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionRewound,
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
from ...core.ids import ActionId, CallId, InputId, Seq, SessionId
from ...core.messages import Assistant, StopReason, Text, Thinking, ToolCall, Usage, UserBlock
from ...engine.budget import QUESTION
from .content import written
from .event_ids import MESSAGE, SPAN_END, SPAN_START, THINKING, call_index, event_id, thread_id
from .query import moment

BASES: Final = ("turn.started", "run.started", "run.finished")
"""Where a fold may begin."""
BUILT_IN: Final = frozenset(("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"))
"""The tools of this protocol's own toolset: a client that runs one answers with `user.tool_result`."""

Place = tuple[Seq, int]
"""Where an event stands: behind our event of this seq, as the how-manieth from 0."""
Announced = Literal["idle", "running", "rescheduling", "terminated"]
Verdict = Literal["allow", "ask", "deny"]
Body = dict[str, Any]


class Projected(NamedTuple):
    """One of their events. `waiting`: it is a message that was not delivered then; `quiet`: it is not shown on a stream,
    since what it starts shows it at once; `last`: nothing follows in this session."""

    place: Place
    body: Body
    waiting: InputId | None = None
    quiet: bool = False
    last: bool = False


@dataclass
class _Call:
    """One call of the open turn. `judged`: it was shown, under the id `shown`; `custom`: as one of a client's own tools;
    `external`: a client is to answer it, and `answered`: has."""

    number: int
    request: ToolCall
    shown: str | None = None
    custom: bool = False
    external: bool = False
    answered: bool = False
    judged: bool = False


@dataclass
class _Asked:
    """An action that is open. Without a call the run itself asks: `id` is then that of the event that shows it, None for a
    question about the budget."""

    call: _Call | None = None
    id: str | None = None
    answered: UserAnswer | None = None


@dataclass
class _Turn:
    """What is known of the open turn. `model`: where its request began. `span`: where the span began, while it is
    open. `judged`: the place, and its time, behind which the calls that were not named are shown. `held`: results (id,
    time, type, fields) that come behind the span."""

    model: Seq | None = None
    span: Seq | None = None
    calls: dict[CallId, _Call] = field(default_factory=dict)
    usage: Usage = Usage()  # noqa: RUF009 - a frozen value
    failed: bool = False
    judged: tuple[Place, int] | None = None
    held: list[tuple[str, int, str, Body]] = field(default_factory=list)


class Projector:
    """Folds one session's events, in order, from its first one or from behind a base (`at`).

    `agent`: what people call the agent the session works for.
    """

    def __init__(self, session: SessionId, agent: str, at: EventData | None = None) -> None:
        self._session = session
        self._agent = agent
        self._thread = thread_id(session)
        self._announced: Announced = "running" if isinstance(at, TurnStarted) else "idle"
        self._open = isinstance(at, TurnStarted | RunStarted)
        self._claimed = isinstance(at, TurnStarted)
        self._interrupted = False
        self._stop: StopReason | None = None
        self._turn = _Turn()
        self._asked: dict[ActionId, _Asked] = {}
        self._messages: dict[InputId, tuple[Seq, tuple[UserBlock, ...]]] = {}
        self._seq: Seq = Seq(0)
        self._next = 0
        self._index = 0
        self._at_ms = 0
        self._named = False
        self._new_agent: Body | None = None
        self._out: list[Projected] = []

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
        self._messages[data.id] = (event.seq, data.content)

    def feed(self, event: Event, agent: Body | None = None) -> list[Projected]:
        """What this event becomes, and what it makes known of calls before it. `agent`: as it is shown, when the event gives
        the session another."""
        data = event.data
        self._out = []
        self._new_agent = agent
        if self._turn.judged is not None and not self._may_belong_to_the_verdicts(data):
            self._show_behind_the_verdicts(self._turn.judged)
        self._seq, self._next, self._index, self._at_ms = event.seq, 0, 0, event.at_ms
        self._named = False
        self._fold(data)
        if self._named and self._turn.span is not None:
            self._turn.judged = (self._seq, self._next), self._at_ms
        return self._out

    def rest(self) -> list[Projected]:
        """What is known when nothing more is stored."""
        self._out = []
        if self._turn.judged is not None:
            self._show_behind_the_verdicts(self._turn.judged)
        return self._out

    @property
    def request(self) -> Seq | None:
        """Where the model request began that is under way."""
        return self._turn.model if self._turn.span is not None else None

    # --- folding ------------------------------------------------------------------------------------------------------

    def _fold(self, data: EventData) -> None:
        match data:
            case UserMessage():
                self._messages[data.id] = (self._seq, data.content)
                body = {"content": written(data.content), "processed_at": None}
                starts = data.delivery == "prompt" or not self._open
                self._show("user.message", body, waiting=data.id, quiet=starts)
            case InputDelivered():
                self._delivered(data)
            case InputWithdrawn():
                self._messages.pop(data.id, None)
            case UserInterrupt():
                self._interrupted = True
                self._show("user.interrupt", {})
            case UserAnswer():
                self._answer(data)
            case RunStarted():
                self._open, self._claimed, self._interrupted, self._stop = True, False, False, None
                self._turn, self._asked = _Turn(), {}
            case RunClaimed():
                self._end_span(cut=True)
                self._claimed = True
                if self._interrupted or self._nothing_waits():
                    self._run()
            case RunParked():
                self._show_the_rest()
                self._end_span(cut=True)
                self._claimed = False
                self._idle(self._reason_to_wait(data))
            case RunYielded():
                self._end_span(cut=True)
                self._claimed = False
                self._reschedule()
            case RunRetrying():
                self._end_span(cut=True)
                self._claimed = False
                self._run()
                self._show("session.error", {"error": _error(data.error, "retrying")})
                self._reschedule()
            case RunFinished():
                self._finished(data)
            case TurnStarted():
                self._run()
                self._turn, self._asked = _Turn(), {}
                self._claimed, self._interrupted, self._stop = True, False, None
            case TurnFinished():
                self._show_the_rest()
                self._end_span(cut=True)
                self._run()
            case ModelStarted():
                self._end_span(cut=True)
                self._run()
                self._turn = _Turn(self._seq)
                self._start_span()
            case AgentMessage():
                self._answered(data.message)
            case ToolStarted(origin="model"):
                self._run()
                call = self._turn.calls.get(data.call)
                if call is not None:
                    self._judge(call, "allow")
            case ToolFinished(origin="model"):
                self._result(data)
            case ActionOpened():
                self._opened(data)
            case ActionClosed():
                self._closed(data)
            case SessionConfigured():
                changed: Body = {}
                if self._new_agent is not None:
                    changed["agent"] = self._new_agent
                if data.metadata is not None:
                    changed["metadata"] = data.metadata
                if data.name is not None:
                    changed["title"] = data.name or None
                if data.budgets is not None and data.raised_by is None:
                    changed["budget"] = budget_of(data.budgets)
                if changed:
                    self._show("session.updated", changed)
            case SessionCompacted():
                self._show("agent.thread_context_compacted", {})
            case SessionArchived():
                self._announced = "terminated"
                self._show("session.thread_status_terminated", self._of_thread())
                self._show("session.status_terminated", {}, last=True)
            case (
                SessionCreated()
                | SessionOpened()
                | SessionPaused()
                | SessionResumed()
                | SessionRewound()
                | RunUnparked()
                | ToolStarted()
                | ToolFinished()
                | InputReordered()
                | ArtifactStored()
                | UsageRecorded()
                | BudgetWarned()
                | BudgetExceeded()
                | HookBlocked()
                | HookReported()
                | WorkspaceCheckpointed()
                | WorkspaceRestored()
                | VerificationReported()
                | CommandExecuted()
                | Unknown()
            ):
                pass
            case _:
                assert_never(data)

    def _delivered(self, data: InputDelivered) -> None:
        known = self._messages.pop(data.id, None)
        self._run()
        if known is None:
            return
        seq, content = known
        body = {"content": written(data.content or content), "processed_at": moment(self._at_ms)}
        self._show("user.message", body, id=event_id(self._session, seq, 0))

    def _finished(self, data: RunFinished) -> None:
        self._show_the_rest()
        self._end_span(cut=True)
        self._run()
        match data.outcome:
            case "done" if self._stop == "refusal":
                self._idle({"type": "refusal"}, {"type": "refusal"})
            case "done" | "interrupted":
                self._idle({"type": "end_turn"})
            case "limited" if data.error is not None and data.error.code == "denied":
                self._idle({"type": "end_turn"})  # a person was asked, and wanted no more of it
            case "limited" if data.error is not None and data.error.code == "budget_exhausted":
                self._idle({"type": "budget_reached"})
            case "failed" | "limited":
                fault = data.error or Fault("unknown", "the run failed")
                self._show("session.error", {"error": _error(fault, "exhausted")})
                self._idle({"type": "retries_exhausted"})
        self._open, self._claimed, self._interrupted, self._stop = False, False, False, None
        self._turn, self._asked = _Turn(), {}
        # What it leaves waiting is dropped, as this protocol has it; should it be delivered all the same, it is looked up.
        self._messages = {}

    # --- a model's answer and its calls -------------------------------------------------------------------------------

    def _answered(self, message: Assistant) -> None:
        """The answer, but for its calls: these are shown when it is known what becomes of them."""
        turn = self._turn
        self._stop = message.stop
        if turn.span is None:
            # Its request was given up for lost, and answers all the same.
            self._run()
            self._start_span()
        if any(isinstance(b, Thinking) for b in message.content):
            self._show("agent.thinking", {}, id=self._of_model(THINKING))
        texts = [{"type": "text", "text": b.text} for b in message.content if isinstance(b, Text) and b.text]
        if texts:
            self._show("agent.message", {"content": texts}, id=self._of_model(MESSAGE))
        turn.calls = {c.id: _Call(number, c) for number, c in enumerate(message.calls)}
        turn.failed, turn.usage = message.stop == "error", message.usage
        if not turn.calls:
            self._end_span()

    def _judge(self, call: _Call, verdict: Verdict, *, external: bool = False) -> None:
        """It is known what becomes of this call, and so of those before it."""
        calls = self._turn.calls.values()
        for other in calls:
            if other.number < call.number and not other.judged:
                self._show_call(other, "allow")
        if not call.judged:
            self._show_call(call, verdict, external=external)
        self._named = True
        if all(c.judged for c in calls):
            self._end_span()

    def _show_the_rest(self) -> None:
        """The calls that were not named have been let pass."""
        turn = self._turn
        turn.judged = None
        if turn.span is not None and turn.calls:
            for call in turn.calls.values():
                if not call.judged:
                    self._show_call(call, "allow")
            self._end_span()

    def _show_behind_the_verdicts(self, judged: tuple[Place, int]) -> None:
        now = self._seq, self._next, self._at_ms
        (self._seq, self._next), self._at_ms = judged
        self._show_the_rest()
        if now[0] != self._seq:
            self._seq, self._next, self._at_ms = now

    def _show_call(self, call: _Call, verdict: Verdict, *, external: bool = False) -> None:
        """As the client's own when it is to answer it; what was refused is shown as refused, whoever would have run it, so
        that no client begins it."""
        call.judged = True
        request = call.request
        call.custom = external and request.name not in BUILT_IN
        call.external = external
        call.shown = self._of_model(call_index(call.number))
        body: Body = {"name": request.name, "input": request.arguments}
        if call.custom:
            self._show("agent.custom_tool_use", body, id=call.shown)
            return
        body["evaluated_permission"] = verdict
        if verdict != "deny":
            body["evaluation"] = {"type": "always_allow" if verdict == "allow" else "always_ask"}
        server, _, name = _server_of(request.name)
        if server:
            self._show("agent.mcp_tool_use", {**body, "mcp_server_name": server, "name": name}, id=call.shown)
        else:
            self._show("agent.tool_use", body, id=call.shown)

    def _opened(self, data: ActionOpened) -> None:
        if data.call is None:
            if is_budget_question(data.name, data.arguments):
                self._asked[data.action] = _Asked()
                return
            # The run itself asks: as a call that waits for a confirmation, so that every client can answer it.
            self._run()
            told = data.arguments if data.message is None else {**data.arguments, "message": data.message}
            body = {"name": data.name, "input": told, "evaluated_permission": "ask"}
            shown = self._show("agent.tool_use", {**body, "evaluation": {"type": "always_ask"}})
            self._asked[data.action] = _Asked(id=shown)
            return
        call = self._turn.calls.get(data.call)
        if call is None:
            return
        if data.kind == "approval":
            self._run()
            self._judge(call, "ask")
        elif not call.judged:
            self._run()
            self._judge(call, "allow", external=True)
        elif not call.custom and call.request.name not in BUILT_IN:
            # Asked about first and allowed: now it is the client's.
            self._run()
            call.custom = call.external = True
            call.shown = self._of_model(call_index(call.number, handed_out=True))
            self._show("agent.custom_tool_use", {"name": data.name, "input": data.arguments}, id=call.shown)
        else:
            call.external = True
        self._asked[data.action] = _Asked(call, call.shown)

    def _answer(self, data: UserAnswer) -> None:
        asked = self._asked.get(data.action)
        if asked is None:
            return
        asked.answered = data
        call = asked.call
        if asked.id is not None and (call is None or data.decision != "result"):
            body: Body = {"tool_use_id": asked.id, "result": "allow" if data.decision == "approve" else "deny"}
            if data.decision != "approve":
                body["deny_message"] = data.reason
            self._show("user.tool_confirmation", body)
        elif call is not None and not call.answered:
            self._client_result(call, {"content": written(data.content), "is_error": data.is_error})
        if self._claimed and self._nothing_waits():
            self._run()

    def _closed(self, data: ActionClosed) -> None:
        asked = self._asked.pop(data.action, None)
        if asked is None or asked.call is not None or asked.id is None:
            return
        self._run()
        answer = asked.answered
        approved = answer is not None and answer.decision == "approve"
        told = (answer.reason if answer is not None else None) or ("approved" if approved else f"denied ({data.reason})")
        content = [{"type": "text", "text": told}]
        self._show("agent.tool_result", {"tool_use_id": asked.id, "content": content, "is_error": not approved})

    def _result(self, data: ToolFinished) -> None:
        call = self._turn.calls.get(data.call)
        if call is None:
            return
        if not call.judged:
            self._run()
            self._judge(call, "deny")
        if call.answered:
            return
        body: Body = {"content": written(data.content), "is_error": data.status != "ok"}
        if call.external:
            # It was the client's, and nobody answers it any more: its result says so, or a client would begin it again.
            self._client_result(call, body)
            return
        self._run()
        server, _, _ = _server_of(call.request.name)
        if server:
            self._show("agent.mcp_tool_result", {"mcp_tool_use_id": call.shown, **body}, held=self._turn.span is not None)
        else:
            self._show("agent.tool_result", {"tool_use_id": call.shown, **body}, held=self._turn.span is not None)

    def _client_result(self, call: _Call, body: Body) -> None:
        call.answered = True
        if call.custom:
            self._show("user.custom_tool_result", {"custom_tool_use_id": call.shown, **body})
        else:
            self._show("user.tool_result", {"tool_use_id": call.shown, **body})

    def _may_belong_to_the_verdicts(self, data: EventData) -> bool:
        """Whether this may stand in the append that names verdicts of the turn's calls: it names one more, or comes with it
        and is not shown."""
        match data:
            case ToolStarted(origin="model") | ToolFinished(origin="model"):
                call = self._turn.calls.get(data.call)
                return call is not None and not call.judged
            case ActionOpened():
                call = None if data.call is None else self._turn.calls.get(data.call)
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

    # --- status -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """The session is shown as running from here on."""
        if self._announced != "running":
            self._announced = "running"
            self._show("session.status_running", {})
            self._show("session.thread_status_running", self._of_thread())

    def _reschedule(self) -> None:
        if self._announced == "running":
            self._announced = "rescheduling"
            self._show("session.thread_status_rescheduled", self._of_thread())
            self._show("session.status_rescheduled", {})

    def _idle(self, reason: Body, details: Body | None = None) -> None:
        self._announced = "idle"
        why: Body = {"stop_reason": reason}
        if details is not None:
            why["stop_details"] = details
        self._show("session.thread_status_idle", {**self._of_thread(), **why})
        self._show("session.status_idle", why)

    def _nothing_waits(self) -> bool:
        return all(asked.answered is not None for asked in self._asked.values())

    def _reason_to_wait(self, data: RunParked) -> Body:
        waits = [self._asked[a] for a in data.actions if a in self._asked]
        ids = [asked.id for asked in waits if asked.id is not None]
        if not ids and any(asked.id is None for asked in waits):
            return {"type": "budget_reached"}
        return {"type": "requires_action", "event_ids": ids}

    # --- showing ------------------------------------------------------------------------------------------------------

    def _start_span(self) -> None:
        self._turn.span = self._seq
        self._show("span.model_request_start", {}, id=event_id(self._session, self._seq, SPAN_START))

    def _end_span(self, *, cut: bool = False) -> None:
        """The model request is over; `cut`: if it is without an answer, it gets none any more."""
        turn = self._turn
        if turn.span is None or (cut and turn.calls):
            return
        began = event_id(self._session, turn.span, SPAN_START)
        body: Body = {"model_request_start_id": began, "is_error": cut or turn.failed}
        body["model_usage"] = usage_of(turn.usage)
        self._show("span.model_request_end", body, id=event_id(self._session, turn.span, SPAN_END))
        turn.span = turn.judged = None
        now = self._at_ms
        for id_, self._at_ms, type_, fields in turn.held:
            self._show(type_, fields, id=id_)
        self._at_ms, turn.held = now, []

    def _of_model(self, index: int) -> str:
        assert self._turn.model is not None
        return event_id(self._session, self._turn.model, index)

    def _of_thread(self) -> Body:
        return {"agent_name": self._agent, "session_thread_id": self._thread}

    def _show(
        self,
        type: str,  # noqa: A002 - the field's name
        fields: Body,
        *,
        id: str | None = None,  # noqa: A002 - as above
        waiting: InputId | None = None,
        quiet: bool = False,
        last: bool = False,
        held: bool = False,
    ) -> str:
        """Put out one of their events, the next one of the present place; returns its id. `held`: when the span ends."""
        if id is None:
            id = event_id(self._session, self._seq, self._index)  # noqa: A001
            self._index += 1
        if held:
            self._turn.held.append((id, self._at_ms, type, fields))
            return id
        body = {"id": id, "type": type, "processed_at": moment(self._at_ms), **fields}
        self._out.append(Projected((self._seq, self._next), body, waiting, quiet, last))
        self._next += 1
        return id


# --- pieces -----------------------------------------------------------------------------------------------------------


def is_budget_question(name: str, arguments: dict[str, Any]) -> bool:
    """Whether what a run asks is for more of what its session may spend; a guard asks about one step."""
    return name == QUESTION and arguments.get("scope") != "guard"


def usage_of(usage: Usage) -> dict[str, Any]:
    """A model step's usage; theirs counts cached tokens apart."""
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens),
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }


def budget_of(budgets: tuple[Budget, ...]) -> dict[str, Any] | None:
    """The limit in money, in cents; None without one."""
    usd = next((b.usd for b in budgets if b.usd is not None), None)
    if usd is None:
        return None
    return {"type": "limit", "max_list_cost": {"amount": str(round(usd * 100)), "currency": "USD"}}


_ERRORS: Final[dict[str, str]] = {
    "rate_limited": "model_rate_limited_error",
    "model_unavailable": "model_overloaded_error",
    "max_turns": "tool_use_limit_reached_error",
    **dict.fromkeys(
        (
            "model",
            "authentication_failed",
            "context_too_long",
            "model_refused",
            "stream_broken",
            "replay_mismatch",
            "model_not_found",
        ),
        "model_request_failed_error",
    ),
}


def _error(fault: Fault, status: Literal["retrying", "exhausted", "terminal"]) -> dict[str, Any]:
    kind = _ERRORS.get(fault.code, "unknown_error")
    return {"type": kind, "message": fault.message, "retry_status": {"type": status}}


def _server_of(name: str) -> tuple[str, str, str]:
    """The MCP server a tool belongs to, and its name there; ("", "", "") for any other tool."""
    prefix, _, rest = name.partition("__")
    server, _, tool = rest.partition("__")
    return (server, "__", tool) if prefix == "mcp" and server and tool else ("", "", "")
