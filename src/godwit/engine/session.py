"""Session: the handle a person or a surface holds. It delegates: inputs to the inbox, facts to the log, work to a driver.

A handle holds no truth. Any number of them, in any number of processes, may stand for one session at a time; closing one
ends its work and refuses further calls on it, and a new handle opens the session again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..contracts import EventStore, Tool
from ..core.agent import AgentRef, AgentSpec, SteerMode, ThinkingLevel, ToolDefinition
from ..core.errors import CheckpointNotFound, Fault, NoOpenRun, RunFailed, SessionClosed
from ..core.events import AgentMessage, Delta, Event, Labels, RunFinished, RunOutcome, RunStarted
from ..core.ids import Clock, IdSource, InputId, RunId, Seq, SessionId
from ..core.messages import Assistant, Message, Usage, UserBlock, user_content
from ..core.state import State, Status
from .approvals import Approvals
from .cancel import Cancel
from .inbox import Inbox
from .log import follow, load_state, load_transcript
from .queue import Queue

Prompt = str | UserBlock | list[UserBlock] | tuple[UserBlock, ...]


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `text`: the last answer's text. `seq`: the event that ended it."""

    run: RunId
    outcome: RunOutcome
    text: str
    message: Assistant | None
    usage: Usage
    turns: int
    tool_calls: int
    error: Fault | None
    seq: Seq


class Home(Protocol):
    """What a handle asks of the process it lives in."""

    store: EventStore
    clock: Clock
    ids: IdSource

    def wake(self, session: SessionId) -> None: ...
    def give_context(self, session: SessionId, context: Any) -> None: ...
    def failure(self, session: SessionId) -> BaseException | None:
        """Why the last drive of this session broke off, if it did."""
        ...

    def on_failure(self, session: SessionId, call: Callable[[], None]) -> Callable[[], None]: ...
    async def settle(self, session: SessionId, *, force: bool = False) -> None:
        """Return when no drive of this session is under way here; with `force`, take the session over first."""
        ...

    def forget(self, session: SessionId) -> None: ...
    def tools_of(self, spec: AgentSpec) -> list[Tool]: ...


@dataclass
class SessionConfig:
    """The settings in force for the next run."""

    agent: AgentRef
    spec: AgentSpec
    model: str
    thinking: ThinkingLevel | None
    steer_mode: SteerMode
    workspace: str | None
    environment: dict[str, str] = field(default_factory=dict)


class Session:
    """One durable conversation with an agent. Get one from `Runtime.start_session` or `Runtime.open_session`."""

    def __init__(self, home: Home, session: SessionId, state: State, spec: AgentSpec, *, drives: bool = True) -> None:
        assert state.agent is not None
        self.id = session
        self.labels: Labels = state.labels
        self.workspace = state.workspace
        self._home = home
        self._store = home.store
        self._spec = spec
        self._agent: AgentRef = state.agent
        self._drives = drives
        self._closed = False
        self._token = Cancel()
        self._inbox = Inbox(home.store, session, home.clock, home.ids)
        self._cursor = state.seq
        self._settings = (state.model, state.thinking, state.steer_mode)
        self._environment = state.environment
        self._own_runs: dict[RunId, Seq] = {}
        self.queue = Queue(home.store, session, self._inbox)
        self.approvals = Approvals(home.store, session, self._inbox, home.clock)

    def __repr__(self) -> str:
        return f"<Session {self.id}{' closed' if self._closed else ''}>"

    # --- sending -----------------------------------------------------------------------------------------------

    async def send(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
    ) -> RunResult:
        """Send a prompt and wait for the run to end.

        `history`: run on these messages instead of the session's own, which stay as they are. `context`: a value for
        function tools. `key`: an idempotency key; sending again under it joins the run it started.
        Raises SessionBusy while a run is open, SessionClosed, SessionArchived, InboxFull, and RunFailed (with the
        result) when the run fails. Interrupted and limited runs are results, not errors.
        """
        return await self.wait(await self.prompt(prompt, history=history, context=context, key=key, sender=sender))

    async def prompt(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
    ) -> RunId:
        """Send a prompt and return the run's id at once; the work goes on beside. Errors as for `send`."""
        self._check_open()
        given = None if history is None else tuple(history)
        run, appended = await self._inbox.prompt(user_content(prompt), history=given, key=key, sender=sender)
        self._own_runs[run] = appended.first - 1
        if context is not None or not appended.duplicate:
            self._home.give_context(self.id, context)
        self._wake()
        return run

    async def prompt_and_wait(self, prompt: Prompt, *, context: Any = None) -> RunResult:
        """`send` under the name of seed 002. Events stay readable, however many and whether or not anyone reads."""
        return await self.send(prompt, context=context)

    async def stream(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
    ) -> AsyncIterator[Event | Delta]:
        """Send a prompt and yield the run's events, with deltas between them, until it ends.

        Leaving the loop does not stop the run. A failed run ends with its `run.finished`; nothing is raised for it.
        """
        run = await self.prompt(prompt, history=history, context=context, key=key, sender=sender)
        async for item in self.watch(self._own_runs[run], deltas=True):
            yield item
            if isinstance(item, Event) and isinstance(item.data, RunFinished) and item.data.run == run:
                return

    async def wait(self, run: RunId | str | None = None) -> RunResult:
        """Wait until that run, or the open one, has ended; at once when it has. NoOpenRun when there never was any.

        Raises RunFailed for a failed run, and whatever stopped this process from driving it (a full disk, say).
        """
        state = await load_state(self._store, self.id)
        if run is None:
            run = state.run.id if state.run is not None else state.last_run
        if run is None:
            raise NoOpenRun("this session has not run yet")
        start = self._own_runs.pop(RunId(run), None)
        if start is None:
            start = await self._start_of(RunId(run))
        finished = await self._finished(RunId(run), start)
        result = await self._result(finished, start)
        if result.outcome == "failed":
            fault = result.error
            raise RunFailed(fault.message if fault else None, result=result, reason=fault.code if fault else "unknown")
        return result

    async def steer(
        self, message: Prompt, *, mode: SteerMode | None = None, key: str | None = None, sender: str | None = None
    ) -> InputId:
        """Put a message into the open run at its next boundary. NoOpenRun when none is open.

        `mode`: `skip` skips the turn's calls that have not started, `batch` lets them all run first; by default as
        configured (`skip` unless changed).
        """
        self._check_open()
        if mode is None:
            mode = (await load_state(self._store, self.id)).steer_mode
        input_id, _ = await self._inbox.steer(user_content(message), mode, key=key, sender=sender)
        self._wake()
        return input_id

    async def follow_up(self, message: Prompt, *, key: str | None = None, sender: str | None = None) -> InputId:
        """Queue a message for when nothing else is left to do. On an idle session that is now."""
        self._check_open()
        input_id, _ = await self._inbox.follow_up(user_content(message), key=key, sender=sender)
        self._wake()
        return input_id

    async def resume_run(self, run: RunId | str) -> RunResult:
        """Continue a run that was interrupted, failed or met a limit, from its last checkpoint, as a new run; wait for it.

        Usage, turns and tool calls so far are carried over. The session is rewound to the checkpoint when it has moved
        on since. CheckpointNotFound when there is no such run, or it is done; SessionBusy while a run is open.
        """
        self._check_open()
        new = await self._resume(RunId(run))
        self._wake()
        return await self.wait(new)

    # --- control -----------------------------------------------------------------------------------------------

    async def interrupt(self, *, run: RunId | str | None = None, force: bool = False, reason: str | None = None) -> bool:
        """End the open run at once, keeping what was streamed; returns when it has ended, and the session is usable.

        Running tools get a grace to end by themselves; `force` gives none, and takes the session from a driver that
        does not answer. `run`: only if that one is open. False when there was nothing to end.
        """
        state = await load_state(self._store, self.id)
        if state.run is None or (run is not None and state.run.id != run):
            return False
        target, start = state.run.id, state.run.seq
        try:
            await self._inbox.interrupt(target, force=force, reason=reason)
        except NoOpenRun:
            return False
        self._wake()
        if force and self._drives:
            await self._home.settle(self.id, force=True)
        await self._finished(target, start - 1)
        if self._drives:
            await self._home.settle(self.id)
        return True

    async def cancel(self) -> bool:
        """`interrupt` under the name of seeds 001 and 002."""
        return await self.interrupt()

    async def abort(self) -> bool:
        """`interrupt(force=True)` under the name of seed 002."""
        return await self.interrupt(force=True)

    async def cancel_run(self, run: RunId | str) -> bool:
        """Interrupt that run only while it is the open one: an old id changes nothing (seed 001)."""
        return await self.interrupt(run=run)

    async def pause(self, reason: str | None = None) -> bool:
        """Stop at the next checkpoint: the step in hand ends, then nothing more is taken, by any process.

        Inputs are accepted and wait. False when it was paused already. Returns when it has come to rest here.
        """
        self._check_open()
        paused = await self._inbox.pause(reason)
        if self._drives:
            await self._home.settle(self.id)
        return paused

    async def resume(self) -> bool:
        """Go on from the checkpoint, in this process. False when it was not paused."""
        self._check_open()
        resumed = await self._inbox.resume()
        self._wake()
        return resumed

    async def set_model(self, model: str) -> None:
        """Use this model from the next prompt on; an open run keeps its own."""
        await self.configure(model=model)

    async def set_thinking(self, level: ThinkingLevel) -> None:
        """Use this thinking level from the next prompt on."""
        await self.configure(thinking=level)

    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
    ) -> None:
        """Change settings for the runs that start from now on; None leaves one as it is."""
        self._check_open()
        await self._inbox.configure(model=model, thinking=thinking, steer_mode=steer_mode, name=name)
        before = self._settings
        self._settings = (model or before[0], thinking or before[1], steer_mode or before[2])

    async def confirm_tool_use(self, tool_id: str, approved: bool, reason: str | None = None) -> bool:
        """Approve or deny the pending call of this id (seed 001). False when it is not pending."""
        from ..core.errors import ActionNotFound

        try:
            if approved:
                return await self._answered(self.approvals.approve(tool_id))
            return await self._answered(self.approvals.deny(tool_id, reason))
        except ActionNotFound:
            return False

    async def approve(self, action: str, *, arguments: dict[str, Any] | None = None) -> bool:
        """See `Approvals.approve`; wakes the session here."""
        return await self._answered(self.approvals.approve(action, arguments=arguments))

    async def deny(self, action: str, reason: str | None = None) -> bool:
        """See `Approvals.deny`; wakes the session here."""
        return await self._answered(self.approvals.deny(action, reason))

    async def answer(self, action: str, result: str, *, is_error: bool = False) -> bool:
        """See `Approvals.answer`; wakes the session here."""
        return await self._answered(self.approvals.answer(action, result, is_error=is_error))

    async def save(self) -> None:
        """Return when all that was appended so far is as durable as the store's level promises."""
        await self._store.flush()

    async def close(self) -> None:
        """End the open run if this process drives it, then refuse further calls on this handle. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        if self._drives:
            with contextlib.suppress(NoOpenRun):
                state = await load_state(self._store, self.id)
                if state.run is not None and not state.gate.archived:
                    await self._inbox.interrupt(state.run.id, reason="the session was closed")
                    self._wake()
                    await self._finished(state.run.id, state.run.seq - 1)
            await self._home.settle(self.id)
        self._token.cancel()
        self._home.forget(self.id)

    # --- reading -----------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def session_cancel_token(self) -> Cancel:
        """Every run's token derives from it. Cancelling it ends the open run, recorded as interrupted, and refuses new
        ones on this handle; `close` is the graceful way (seed 001)."""
        return self._token

    async def status(self) -> Status:
        return (await self._store.session(self.id)).status

    async def state(self) -> State:
        """The fold of the log as it stands."""
        return await load_state(self._store, self.id)

    async def is_running(self) -> bool:
        """True while a run is open, parked ones included."""
        return (await load_state(self._store, self.id)).run is not None

    async def history(self) -> tuple[Message, ...]:
        """The session's own messages as they stand now."""
        return (await load_transcript(self._store, self.id)).own_messages

    async def events(self, from_seq: Seq = 0) -> list[Event]:
        """The stored events with a greater seq."""
        return await self._store.read(self.id, from_seq)

    def follow(self, from_seq: Seq = 0) -> AsyncIterator[Event]:
        """Stored events with a greater seq and then each new one, without gap or repeat. Never ends by itself."""
        return follow(self._store, self.id, from_seq)

    async def watch(self, from_seq: Seq | None = None, *, deltas: bool = True) -> AsyncIterator[Event | Delta]:
        """`follow` with the deltas between the events; from now on unless `from_seq` is given."""
        if from_seq is None:
            from_seq = (await self._store.session(self.id)).head
        live: list[Delta] = []
        bell = asyncio.Event()

        def show(delta: Delta) -> None:
            live.append(delta)
            bell.set()

        stop = self._store.watch(self.id, show) if deltas else lambda: None
        cursor = from_seq
        try:
            while True:
                bell.clear()
                for event in await self._store.read(self.id, cursor, limit=256):
                    while live and live[0].after < event.seq:
                        yield live.pop(0)
                    cursor = event.seq
                    yield event
                while live and live[0].after <= cursor:
                    yield live.pop(0)
                if bell.is_set():
                    continue
                await _either(self._store.wait(self.id, cursor), bell.wait())
        finally:
            stop()

    async def recv_event(self) -> Event | None:
        """The next event this handle has not returned yet, from its opening on; None when the session rests and all are
        taken (seed 002)."""
        while True:
            events = await self._store.read(self.id, self._cursor, limit=1)
            if events:
                self._cursor = events[0].seq
                return events[0]
            if (await load_state(self._store, self.id)).run is None:
                return None
            await self._store.wait(self.id, self._cursor)

    def tool_definitions(self) -> list[ToolDefinition]:
        """What the model is told of the session's tools."""
        return [t.definition for t in self._home.tools_of(self._spec)]

    def tool_names(self) -> list[str]:
        return [d.name for d in self.tool_definitions()]

    @property
    def agent(self) -> AgentRef:
        return self._agent

    @property
    def model(self) -> str:
        """The model of the next run, as far as this handle has set or read it."""
        return self._settings[0] or self._spec.models[0]

    @property
    def thinking(self) -> ThinkingLevel | None:
        return self._settings[1] or self._spec.settings.thinking

    @property
    def config(self) -> SessionConfig:
        return SessionConfig(
            self._agent, self._spec, self.model, self.thinking, self._settings[2], self.workspace, dict(self._environment)
        )

    @property
    def cwd(self) -> str | None:
        """The workspace's folder (seed 002)."""
        return self.workspace

    @property
    def tenant_id(self) -> str | None:
        return self.labels.tenant

    @property
    def principal(self) -> str | None:
        return self.labels.principal

    @property
    def agent_template_id(self) -> str | None:
        return self.labels.agent_template

    @property
    def correlation_id(self) -> str | None:
        return self.labels.correlation

    # --- inside ------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(session=self.id)
        if self._token.cancelled:
            raise SessionClosed("this handle's cancel token was cancelled: open the session again", session=self.id)

    def _wake(self) -> None:
        if self._drives:
            self._home.wake(self.id)

    async def _answered(self, answer: Any) -> bool:
        answered: bool = await answer
        self._wake()
        return answered

    async def _start_of(self, run: RunId) -> Seq:
        for event in await self._store.read(self.id, types=("run.started",), newest_first=True):
            if isinstance(event.data, RunStarted) and event.data.run == run:
                return event.seq - 1
        raise NoOpenRun(f"session {self.id} has no run {run!r}", run=run)

    async def _finished(self, run: RunId, after: Seq) -> Event:
        """The event that ends `run`, once it is there."""
        failed = asyncio.Event()
        stop = self._home.on_failure(self.id, failed.set)
        cursor = after
        try:
            while True:
                head = (await self._store.session(self.id)).head
                for event in await self._store.read(self.id, cursor, types=("run.finished",)):
                    if isinstance(event.data, RunFinished) and event.data.run == run:
                        return event
                cursor = head
                failure = self._home.failure(self.id)
                if failure is not None and self._drives:
                    raise failure
                failed.clear()
                await _either(self._store.wait(self.id, head), failed.wait())
        finally:
            stop()

    async def _result(self, event: Event, start: Seq) -> RunResult:
        data = event.data
        assert isinstance(data, RunFinished)
        last = await self._store.read(self.id, start, to_seq=event.seq, types=("agent.message",), newest_first=True, limit=1)
        message = last[0].data.message if last and isinstance(last[0].data, AgentMessage) else None
        return RunResult(
            data.run,
            data.outcome,
            message.text if message else "",
            message,
            data.usage,
            data.turns,
            data.tool_calls,
            data.error,
            event.seq,
        )

    async def _resume(self, run: RunId) -> RunId:
        events = await self._store.read(
            self.id, types=("run.started", "run.finished", "turn.finished", "input.delivered", "agent.message")
        )
        own = [e for e in events if e.run == run]
        finished = next((e for e in own if isinstance(e.data, RunFinished)), None)
        if finished is None:
            raise CheckpointNotFound(f"session {self.id} has no ended run {run!r} to resume", run=run)
        done = finished.data
        assert isinstance(done, RunFinished)
        if done.outcome == "done":
            raise CheckpointNotFound(f"run {run!r} is done: there is nothing to resume", run=run)
        marks = [e.seq for e in own if e.type in ("turn.finished", "input.delivered")]
        if not marks:
            raise CheckpointNotFound(f"run {run!r} ended before its first checkpoint", run=run)
        moved_on = any(e.seq > finished.seq for e in events)
        transcript = await load_transcript(self._store, self.id, marks[-1])
        new = RunId(self._home.ids.new("run"))
        resumes_text = bool(transcript.messages) and isinstance(transcript.messages[-1], Assistant)
        input_id = InputId(self._home.ids.new("in")) if resumes_text else None
        # A model cannot be asked when it spoke last: then it is told to go on.
        prompt = user_content("Go on from where you were stopped.") if resumes_text else None
        started = RunStarted(new, input_id, resumes=run, usage=done.usage, turns=done.turns, tool_calls=done.tool_calls)
        await self._inbox.resume_run(started, rewind_to=marks[-1] if moved_on else None, prompt=prompt)
        return new


async def _either(first: Any, second: Any) -> None:
    """Return when one of the two has; the other is cancelled."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["Prompt", "RunResult", "Session", "SessionConfig"]
