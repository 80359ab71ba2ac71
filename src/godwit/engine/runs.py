"""The runs of one session: snapshots, events, handles, and what it takes to continue one that was cut off.

Everything is read from the log, in portions, and only the part of it that the runs asked for stand in; of an ended run's
events few are decoded. A run's events are its prompt and, from its start on, all that carry its id. Limits bound what is
listed and read here, never what is stored or counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..contracts import EventStore
from ..core.errors import CheckpointNotFound, InvalidArgument, RunNotFound
from ..core.events import (
    AgentMessage,
    Event,
    InputDelivered,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    UserMessage,
    VerificationReported,
)
from ..core.ids import CallId, IdSource, InputId, RunId, Seq, SessionId
from ..core.messages import Assistant, text_of, user_content
from ..core.output import OutputSpec
from ..core.record import ActiveTool, RecordLimits, RunPage, RunResult, RunSnapshot, RunStatus
from .inbox import Inbox
from .log import load_state, load_transcript

PORTION = 512
"""Events read at a time."""
MAX_PAGE = 1000


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
        """Whatever limits there are: who holds a handle of a run may look at it."""
        return await self._runs.told(self.id)

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
    """Reads a session's runs from its log. `limits`: what of them `all`, `snapshot`, `events` and `page` give out."""

    __slots__ = ("_limits", "_session", "_store")

    def __init__(self, store: EventStore, session: SessionId, limits: RecordLimits | None = None) -> None:
        self._store = store
        self._session = session
        self._limits = limits or RecordLimits()

    async def count(self) -> int:
        """How many runs there have been, whatever the limits are."""
        return len(await self._store.read(self._session, types=("run.started",)))

    async def all(self, limit: int | None = None) -> list[RunSnapshot]:
        """The newest `limit` runs, or all, oldest first; only the log's end that they stand in is read."""
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        wanted = min((n for n in (limit, self._limits.max_runs) if n is not None), default=None)
        starts = await self._starts(wanted)
        if not starts:
            return []
        phase, open_run = await self._open()
        records = {start.data.run: _Record(start) for start in starts if isinstance(start.data, RunStarted)}
        before: Event | None = None
        async for event in self._read(max(starts[0].seq - 2, 0), None):
            if event.run in records:
                record = records[event.run]
                if event.seq >= record.start.seq:
                    record.add(event)
                if event.seq == record.start.seq and before is not None and _is_prompt(before, event):
                    record.prompt = before
            before = event
        for record in records.values():
            if record.prompt is None:
                record.prompt = await self._prompt(record.start)
        return [r.snapshot(self._session, phase if run == open_run else None) for run, r in records.items()]

    async def snapshot(self, run: str) -> RunSnapshot | None:
        """None when the session has no such run, or limits leave it out."""
        return await self.told(RunId(run)) if await self._is_listed(run) else None

    async def told(self, run: RunId) -> RunSnapshot:
        """A run's snapshot, whatever the limits are. RunNotFound."""
        start, end = await self._range(run)
        record = _Record(start)
        async for event in self._read(start.seq - 1, end):
            if event.run == run:
                record.add(event)
        record.prompt = await self._prompt(start)
        phase, open_run = await self._open()
        return record.snapshot(self._session, phase if run == open_run else None)

    async def events(self, run: str) -> list[Event]:
        """The run's events from its prompt to its end, the newest of them under a limit; [] when the session has no such
        run, or limits leave it out."""
        if not await self._is_listed(run):
            return []
        return (await self._kept(RunId(run)))[0]

    async def page(self, run: str, after: Seq = 0, limit: int = 100) -> RunPage:
        """Events of the run with a seq greater than `after`. RunNotFound, also when limits leave it out; InvalidArgument."""
        if after < 0 or not 1 <= limit <= MAX_PAGE:
            raise InvalidArgument(
                f"a page begins after a seq from 0 and holds 1 to {MAX_PAGE} events, not after={after}, limit={limit}",
                after=after,
                limit=limit,
            )
        if not await self._is_listed(run):
            raise RunNotFound(f"session {self._session} has no run {run!r}, or keeps it no more", run=run)
        kept, count, latest, dropped = await self._kept(RunId(run))
        ahead = [event for event in kept if event.seq > after]
        shown = tuple(ahead[:limit])
        return RunPage(
            events=shown,
            first_available_seq=kept[0].seq if kept else None,
            latest_seq=latest,
            next_after=shown[-1].seq if shown else max(after, latest if not kept else 0),
            retention_gap=dropped > after,
            has_more=len(ahead) > len(shown),
            event_count=count,
        )

    async def _kept(self, run: RunId) -> tuple[list[Event], int, Seq, Seq]:
        """The run's events that are given out, how many there are in all, the newest one's seq, and the seq of the newest
        that is left out (0: none)."""
        start, end = await self._range(run)
        kept: deque[Event] = deque()
        count, latest, dropped = 0, start.seq, 0
        most = self._limits.max_events_per_run

        def keep(event: Event) -> None:
            nonlocal count, latest, dropped
            kept.append(event)
            count, latest = count + 1, event.seq
            if most is not None and len(kept) > most:
                dropped = kept.popleft().seq

        prompt = await self._prompt(start)
        if prompt is not None:
            keep(prompt)
        async for event in self._read(start.seq - 1, end):
            if event.run == run:
                keep(event)
        return list(kept), count, latest, dropped

    async def _starts(self, limit: int | None) -> list[Event]:
        """The `run.started` of the newest runs, oldest first."""
        if limit is None:
            return await self._store.read(self._session, types=("run.started",))
        if limit == 0:
            return []
        found = await self._store.read(self._session, types=("run.started",), newest_first=True, limit=limit)
        return found[::-1]

    async def _is_listed(self, run: str) -> bool:
        return any(isinstance(e.data, RunStarted) and e.data.run == run for e in await self._starts(self._limits.max_runs))

    async def _range(self, run: RunId) -> tuple[Event, Seq | None]:
        """The run's `run.started`, and the seq its events end before the next run's, None: they may go on. RunNotFound."""
        following: Seq | None = None
        for event in reversed(await self._starts(None)):
            if isinstance(event.data, RunStarted) and event.data.run == run:
                return event, None if following is None else following - 1
            following = event.seq
        raise RunNotFound(f"session {self._session} has no run {run!r}", run=run)

    async def _open(self) -> tuple[str, RunId | None]:
        state = await load_state(self._store, self._session)
        return state.gate.phase, state.run.id if state.run is not None else None

    async def _prompt(self, start: Event) -> Event | None:
        """The message a run was started with. It stands right before, or was a follow-up of the run before."""
        data = start.data
        assert isinstance(data, RunStarted)
        if data.input is None:
            return None
        to_seq = start.seq - 1
        while to_seq > 0:
            found = await self._store.read(
                self._session, types=("user.message",), to_seq=to_seq, newest_first=True, limit=16
            )
            for event in found:
                if _is_prompt(event, start):
                    return event
            to_seq = found[-1].seq - 1 if found else 0
        return None

    async def _read(self, from_seq: Seq, to_seq: Seq | None) -> AsyncIterator[Event]:
        while True:
            portion = await self._store.read(self._session, from_seq, to_seq=to_seq, limit=PORTION)
            for event in portion:
                yield event
            if len(portion) < PORTION:
                return
            from_seq = portion[-1].seq

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
        """The seq before the run's first event. RunNotFound, also for one that goes on in the session that this one was
        forked from, and not here."""
        for event in await self._store.read(self._session, types=("run.started",), newest_first=True):
            if isinstance(event.data, RunStarted) and event.data.run == run:
                await self._check_here(run, event.seq)
                return event.seq - 1
        raise RunNotFound(f"session {self._session} has no run {run!r}", run=run)

    async def _check_here(self, run: RunId, started: Seq) -> None:
        state = await load_state(self._store, self._session)
        if started > state.forked_at:
            return
        ends = await self._store.read(self._session, started, types=("run.finished",), to_seq=state.forked_at)
        if not any(isinstance(end.data, RunFinished) and end.data.run == run for end in ends):
            raise RunNotFound(
                f"run {run!r} was under way in session {state.origin} when this one was forked off: it goes on there",
                run=run,
                session=state.origin,
            )

    async def before(self, run: RunId) -> Seq:
        """The seq before the run's first event, which is its prompt where it has one. RunNotFound."""
        start, _ = await self._range(run)
        prompt = await self._prompt(start)
        return (start if prompt is None else prompt).seq - 1

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
            await self._output(data.output),
        )

    async def _output(self, seq: Seq | None) -> Any:
        if seq is None:
            return None
        found = (await self._store.read(self._session, seq - 1, limit=1))[0].data
        return found.value if isinstance(found, OutputChecked) else None

    async def form_of(self, start: Seq) -> OutputSpec | None:
        """The form that was asked for with the run that began after `start`."""
        found = await self._store.read(self._session, start, types=("run.started",), limit=1)
        return found[0].data.output if found and isinstance(found[0].data, RunStarted) else None

    async def resume(self, run: RunId, inbox: Inbox, ids: IdSource) -> RunId:
        """Start the run that continues `run` from its last checkpoint; see `Session.resume_run`."""
        try:
            start, end = await self._range(run)
        except RunNotFound:
            own = []
        else:
            own = [e async for e in self._read(start.seq - 1, end) if e.run == run]
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
            output=began.output,
        )
        await inbox.resume_run(started, rewind_to=marks[-1] if later and not detached else None, prompt=prompt)
        return new


def _is_prompt(message: Event, start: Event) -> bool:
    return (
        message.type == "user.message"
        and isinstance(message.data, UserMessage)
        and isinstance(start.data, RunStarted)
        and message.data.id == start.data.input
    )


@dataclass
class _Record:
    """A run as its events come. Decodes no more than is needed: an ended run says what it used, an open one must be added
    up."""

    start: Event
    prompt: Event | None = None
    count: int = 0
    turns: int = 0
    attempt: int = 0
    last: Event | None = None
    answers: list[Event] = field(default_factory=list)
    finished: RunFinished | None = None

    def add(self, event: Event) -> None:
        self.count, self.last = self.count + 1, event
        match event.type:
            case "run.claimed":
                if isinstance(event.data, RunClaimed):
                    self.attempt = event.data.attempt
            case "turn.started":
                self.turns += 1
            case "agent.message":
                self.answers.append(event)
            case "run.finished":
                if isinstance(event.data, RunFinished):
                    self.finished = event.data
                    del self.answers[:-1]
            case _:
                pass

    def snapshot(self, session: SessionId, phase: str | None) -> RunSnapshot:
        """`phase`: that of the open run, None for one that has ended."""
        started = self.start.data
        assert isinstance(started, RunStarted)
        messages = [e.data.message for e in self.answers if isinstance(e.data, AgentMessage)]
        ended = self.finished
        usage, tool_calls = started.usage, started.tool_calls
        for message in messages:
            usage, tool_calls = usage + message.usage, tool_calls + len(message.calls)
        # One that has neither ended nor is open was under way where this session was forked off.
        status: Any = (phase or "interrupted") if ended is None else ended.outcome
        prompt, last = self.prompt or self.start, self.last or self.start
        return RunSnapshot(
            started.run,
            session,
            status,
            text_of(prompt.data.content) if isinstance(prompt.data, UserMessage) else "",
            messages[-1].text if messages else "",
            ended.error if ended is not None else None,
            ended.usage if ended is not None else usage,
            ended.turns if ended is not None else started.turns + self.turns,
            ended.tool_calls if ended is not None else tool_calls,
            self.attempt,
            started.resumes,
            prompt.at_ms,
            last.at_ms,
            prompt.seq,
            last.seq,
            self.count + (self.prompt is not None),
        )
