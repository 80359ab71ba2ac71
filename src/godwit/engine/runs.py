"""The runs of one session: snapshots, events, handles, and what it takes to continue one that was cut off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..contracts import EventStore
from ..core.errors import CheckpointNotFound, Fault, RunNotFound
from ..core.events import (
    AgentMessage,
    Event,
    InputDelivered,
    RunClaimed,
    RunFinished,
    RunOutcome,
    RunStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserMessage,
    VerificationReported,
)
from ..core.ids import CallId, IdSource, InputId, RunId, Seq, SessionId
from ..core.messages import Assistant, Usage, text_of, user_content
from ..core.verification import VerificationReport, VerificationSummary, summarize
from .inbox import Inbox
from .log import load_state, load_transcript

RunStatus = RunOutcome | Literal["queued", "running", "waiting", "retrying"]


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `text`: the last answer's text. `seq`: the event that ended it. `verification`: the last report on
    the run, when its agent is held to checks and they were run."""

    run: RunId
    outcome: RunOutcome
    text: str
    message: Assistant | None
    usage: Usage
    turns: int
    tool_calls: int
    error: Fault | None
    seq: Seq
    verification: VerificationReport | None = None

    @property
    def verified(self) -> bool | None:
        """Whether the checks passed; None when none were run."""
        report = self.verification
        return None if report is None or not report.checks else report.status == "passed"

    def has_pending_verification(self) -> bool:
        """True when somebody has to look at the report."""
        return self.verification is not None and not self.verification.is_complete

    def verification_summary(self) -> VerificationSummary:
        """What the report on this run comes to."""
        return summarize([] if self.verification is None else [self.verification])


@dataclass(frozen=True)
class RunSnapshot:
    """A run as its events tell it. `event_count` counts the events from its prompt to its end."""

    id: RunId
    session: SessionId
    status: RunStatus
    prompt: str
    text: str
    error: Fault | None
    usage: Usage
    turns: int
    tool_calls: int
    attempt: int
    resumes: RunId | None
    created_ms: int
    updated_ms: int
    first_seq: Seq
    last_seq: Seq
    event_count: int


@dataclass(frozen=True)
class ActiveTool:
    """A call of the open run whose effect has begun and whose result is not there yet."""

    call: CallId
    name: str
    arguments: dict[str, Any]
    started_ms: int


class RunHandle:
    """One run of a session."""

    def __init__(
        self,
        run: RunId,
        runs: Runs,
        wait: Callable[[RunId], Awaitable[RunResult]],
        cancel: Callable[[RunId], Awaitable[bool]],
    ) -> None:
        self.id = run
        self._runs = runs
        self._wait = wait
        self._cancel = cancel

    async def snapshot(self) -> RunSnapshot:
        found = await self._runs.snapshot(self.id)
        assert found is not None
        return found

    async def status(self) -> RunStatus:
        return (await self.snapshot()).status

    async def events(self) -> list[Event]:
        return await self._runs.events(self.id)

    async def wait(self) -> RunResult:
        """See `Session.wait`."""
        return await self._wait(self.id)

    async def cancel(self) -> bool:
        """Interrupt it if it is still the open run."""
        return await self._cancel(self.id)


class Runs:
    """Reads a session's runs from its log."""

    __slots__ = ("_session", "_store")

    def __init__(self, store: EventStore, session: SessionId) -> None:
        self._store = store
        self._session = session

    async def all(self) -> list[RunSnapshot]:
        """Every run, oldest first."""
        state = await load_state(self._store, self._session)
        phase = state.gate.phase
        messages: dict[InputId, Event] = {}
        found: dict[RunId, list[Event]] = {}
        for event in await self._store.read(self._session):
            data = event.data
            if isinstance(data, UserMessage):
                messages[data.id] = event
            if isinstance(data, RunStarted):
                prompt = messages.get(data.input) if data.input is not None else None
                found[data.run] = [prompt, event] if prompt is not None else [event]
            elif event.run in found and not isinstance(data, UserMessage):
                found[event.run].append(event)
        open_run = state.run.id if state.run is not None else None
        return [_snapshot(self._session, e, phase if run == open_run else None) for run, e in found.items()]

    async def snapshot(self, run: str) -> RunSnapshot | None:
        """None when the session has no such run."""
        return next((s for s in await self.all() if s.id == run), None)

    async def events(self, run: str) -> list[Event]:
        """The run's events from its prompt to its end; [] when the session has no such run."""
        found: list[Event] = []
        last: Event | None = None
        for event in await self._store.read(self._session):
            if isinstance(event.data, RunStarted) and event.data.run == run:
                if last is not None and isinstance(last.data, UserMessage) and last.data.id == event.data.input:
                    found.append(last)
                found.append(event)
            elif found and event.run == run:
                found.append(event)
            last = event
        return found

    async def active_tools(self) -> list[ActiveTool]:
        """Calls under way in the open run, oldest first."""
        state = await load_state(self._store, self._session)
        if state.turn is None or state.turn.message_seq is None:
            return []
        under_way = {c.id for c in state.turn.calls if c.phase == "started"}
        found: dict[CallId, ActiveTool] = {}
        for event in await self._store.read(self._session, state.turn.message_seq, types=("tool.started", "tool.finished")):
            match event.data:
                case ToolStarted() as data if data.call in under_way:
                    found[data.call] = ActiveTool(data.call, data.name, data.arguments, event.at_ms)
                case ToolFinished() as data:
                    found.pop(data.call, None)
                case _:
                    pass
        return list(found.values())

    async def start_of(self, run: RunId) -> Seq:
        """The seq before the run's first event. RunNotFound."""
        for event in await self._store.read(self._session, types=("run.started",), newest_first=True):
            if isinstance(event.data, RunStarted) and event.data.run == run:
                return event.seq - 1
        raise RunNotFound(f"session {self._session} has no run {run!r}", run=run)

    async def result(self, finished: Event, start: Seq) -> RunResult:
        """The result of the run that `finished` ends and that began after `start`."""
        data = finished.data
        assert isinstance(data, RunFinished)
        last = await self._store.read(
            self._session, start, to_seq=finished.seq, types=("agent.message",), newest_first=True, limit=1
        )
        message = last[0].data.message if last and isinstance(last[0].data, AgentMessage) else None
        report = None
        if data.verification is not None:
            found = (await self._store.read(self._session, data.verification - 1, limit=1))[0].data
            report = found.report if isinstance(found, VerificationReported) else None
        return RunResult(
            data.run,
            data.outcome,
            message.text if message else "",
            message,
            data.usage,
            data.turns,
            data.tool_calls,
            data.error,
            finished.seq,
            report,
        )

    async def resume(self, run: RunId, inbox: Inbox, ids: IdSource) -> RunId:
        """Start the run that continues `run` from its last checkpoint; see `Session.resume_run`."""
        own = await self.events(run)
        ended = own[-1].data if own else None
        if not isinstance(ended, RunFinished):
            raise CheckpointNotFound(f"session {self._session} has no ended run {run!r} to resume", run=run)
        if ended.outcome == "done":
            raise CheckpointNotFound(f"run {run!r} is done: there is nothing to resume", run=run)
        marks = [e.seq for e in own if isinstance(e.data, TurnFinished | InputDelivered)]
        if not marks:
            raise CheckpointNotFound(f"run {run!r} ended before its first checkpoint", run=run)
        began = next(e.data for e in own if isinstance(e.data, RunStarted))
        detached = began.history is not None
        later = await self._store.read(self._session, own[-1].seq, types=("run.started", "session.rewound"), limit=1)
        transcript = await load_transcript(self._store, self._session, marks[-1])
        new = RunId(ids.new("run"))
        # A model cannot be asked when it spoke last: then it is told to go on.
        spoke_last = bool(transcript.messages) and isinstance(transcript.messages[-1], Assistant)
        prompt = user_content("Go on from where you were stopped.") if spoke_last else None
        started = RunStarted(
            new,
            InputId(ids.new("in")) if spoke_last else None,
            history=transcript.messages if detached else None,
            resumes=run,
            usage=ended.usage,
            turns=ended.turns,
            tool_calls=ended.tool_calls,
            model=began.model,
        )
        await inbox.resume_run(started, rewind_to=marks[-1] if later and not detached else None, prompt=prompt)
        return new


def _snapshot(session: SessionId, events: list[Event], phase: str | None) -> RunSnapshot:
    """`phase`: that of the open run, None for one that has ended."""
    started = next(e.data for e in events if isinstance(e.data, RunStarted))
    status: Any = phase
    prompt = text = ""
    error: Fault | None = None
    usage, turns, tool_calls, attempt = started.usage, started.turns, started.tool_calls, 0
    for event in events:
        match event.data:
            case UserMessage(content=content):
                prompt = text_of(content)
            case RunClaimed() as claimed:
                attempt = claimed.attempt
            case TurnStarted():
                turns += 1
            case AgentMessage(message=message):
                text, usage, tool_calls = message.text, usage + message.usage, tool_calls + len(message.calls)
            case RunFinished() as finished:
                status, error = finished.outcome, finished.error
            case _:
                pass
    return RunSnapshot(
        started.run,
        session,
        status,
        prompt,
        text,
        error,
        usage,
        turns,
        tool_calls,
        attempt,
        started.resumes,
        events[0].at_ms,
        events[-1].at_ms,
        events[0].seq,
        events[-1].seq,
        len(events),
    )
