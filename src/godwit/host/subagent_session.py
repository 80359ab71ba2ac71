"""SubagentSession: one child that a host asks again and again, with everything it knows (seed 004).

It is a view of a session, which has its own log: what was said, how often it was used and what came to nothing is read
there, so a process that has been restarted goes on with the session's id. Leaves out driving (the session's handle) and
tasks that a model hands out (`subagents.py`). Rules a change must keep:

* The conversation holds sends that were completed. One that fails, is cancelled or interrupted is taken back by a rewind,
  here or by whoever uses the session next, so that asking again does not ask twice. Files stay as they are.
* What the sink is told of a send is paired: after `started` comes `completed` or `failed`, whatever happens in between.
* The run of a send follows from its key, so that it is found again after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from ..contracts import SessionHandle
from ..core.agent import AgentRef, AgentSpec, base_of
from ..core.attachments import Attachments
from ..core.errors import (
    ConfigurationError,
    Conflict,
    Fault,
    GodwitError,
    RunFailed,
    SessionBusy,
    SessionNotFound,
    TaskNotFound,
)
from ..core.events import (
    Delta,
    Event,
    EventData,
    Labels,
    RunFinished,
    RunStarted,
    SessionForked,
    SessionRewound,
    SubagentFinished,
    SubagentStarted,
)
from ..core.facts import Prompt
from ..core.ids import AgentName, RunId, Seq, SessionId, TaskId, derived_id
from ..core.messages import Message, text_of, user_content
from ..core.record import RunResult
from ..core.tasks import TaskEnd, run_of
from ..engine.handles import ended, id_of
from ..engine.log import append_outside, load_state
from ..engine.runs import Runs
from ..engine.session import Session
from .agents import Agent
from .runtime import Runtime

logger = logging.getLogger("godwit")


class SubagentEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of a send. `turn` counts the completed sends before it, so the first one is turn 0, and `reused` comes
    from turn 1 on, between `started` and what the child does. `run`: the child's, once it is known. `error`: of `failed`."""

    kind: Literal["started", "reused", "completed", "failed"]
    session: SessionId
    agent: AgentName
    depth: int
    turn: int
    run: RunId | None = None
    error: Fault | None = None


Sink = Callable[[SubagentEvent | Event | Delta], Awaitable[None] | None]


class _Run(NamedTuple):
    """A run on the way that the conversation has taken, with the one before it. `end`: None while it is open."""

    id: RunId
    before: _Run | None
    ends: dict[RunId, Event]

    @property
    def end(self) -> Event | None:
        return self.ends.get(self.id)

    @property
    def completed(self) -> bool:
        """It has ended by itself, with an answer or at a limit; not one that met a limit before it did anything."""
        return _completed(self.end)


class SubagentSession:
    """A persistent conversation with one subagent.

    `agent`: an `Agent`, a spec, or a stored agent by name or version. `session`: the id of its session, to go on with after
    a restart; one that is not there yet is made by the first send. `parent`: the session it works for, under whose limits,
    rules, budgets and labels it stands, in whose folder it works, and in whose log its sends are tasks. Without one it
    stands alone, `parent_depth` (see `with_parent_depth`) below the first of a line.

    Its session is made when it is first needed; nothing is stored before. ConfigurationError for a folder or a depth of its
    own beside a parent.
    """

    def __init__(
        self,
        runtime: Runtime,
        agent: Agent | AgentSpec | AgentRef | str,
        *,
        session: str | None = None,
        parent: SessionHandle | str | None = None,
        workspace: str | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Labels | None = None,
        name: str | None = None,
    ) -> None:
        if parent is not None and (workspace is not None or environment is not None):
            raise ConfigurationError("a subagent of a session works in that session's folder, with its variables")
        self.id = SessionId(session or runtime.ids.new("ses"))
        self._runtime = runtime
        self._agent = agent
        self._parent = None if parent is None else id_of(parent)
        self._parent_depth = 0
        self._folder = workspace
        self._environment = environment
        self._labels = labels
        self._name = name
        self._sink: Sink | None = None
        self._deltas = False
        self._opening = asyncio.Lock()
        self._handle: Session | None = None
        self._left: set[asyncio.Task[None]] = set()
        """Sends whose caller has gone, being taken back."""
        self._sending: set[TaskId] = set()

    @classmethod
    def from_subagent(cls, runtime: Runtime, agent: Agent | AgentSpec | AgentRef | str, **options: Any) -> SubagentSession:
        """The constructor under the name of seed 004."""
        return cls(runtime, agent, **options)

    @classmethod
    async def open(cls, runtime: Runtime, session: str, *, agent: Agent | None = None) -> SubagentSession:
        """One whose session is there already, a subagent's of a model's too. `agent`: brings its function tools.

        What was begun before is gone on with; what had come to nothing is taken back. SessionNotFound.
        """
        row = await runtime.store.session(SessionId(session))
        given: Agent | AgentSpec = agent or (await runtime.store.get_agent(row.agent.name, row.agent.version))[1]
        made = cls(runtime, given, session=session, parent=row.parent)
        await made._settle(await made.session())
        return made

    # --- how it is set up ---------------------------------------------------------------------------------------------

    def with_events(self, sink: Sink, *, deltas: bool = False) -> SubagentSession:
        """Tell this function what becomes of each send (`SubagentEvent`), and in between the child's own events, with
        `deltas` also its answers as they grow; returns itself.

        It may be a coroutine function; a send returns when it was told all. What it raises is logged and changes nothing.
        """
        self._sink, self._deltas = sink, deltas
        return self

    def with_parent_depth(self, depth: int) -> SubagentSession:
        """It works for somebody at this depth, and so one below: 1 unless this is called; returns itself.

        ConfigurationError for a negative one, or beside a parent, from which it follows; Conflict once its session is made.
        """
        if self._parent is not None:
            raise ConfigurationError("the depth of a subagent of a session follows from that session")
        if depth < 0:
            raise ConfigurationError(f"parent_depth={depth!r} must be at least 0", parent_depth=depth)
        if self._handle is not None:
            raise Conflict("its session is made already, at its depth")
        self._parent_depth = depth
        return self

    # --- what it is -----------------------------------------------------------------------------------------------------

    def subagent(self) -> Agent | AgentSpec | AgentRef | str:
        """The agent, the very object that was given."""
        return self._agent

    async def session(self) -> Session:
        """The handle of its session, which is made now if it is not there: to follow it, compact it, answer it.

        SubagentLimit when it would be too deep or one too many; what `Runtime.start_session` and `open_session` raise.
        """
        async with self._opening:
            if self._handle is None or self._handle.is_closed:
                self._handle = await self._opened()
            return self._handle

    async def depth(self) -> int:
        """How many stand above it."""
        if await self._exists():
            return (await load_state(self._runtime.store, self.id)).depth
        if self._parent is not None:
            return (await load_state(self._runtime.store, self._parent)).depth + 1
        return self._parent_depth + 1

    async def transcript(self) -> tuple[Message, ...]:
        """The conversation so far."""
        return await (await self.session()).history() if await self._exists() else ()

    async def turns(self) -> int:
        """How many sends were completed, since the last `reset`. A run that waits or is paused is none yet."""
        return sum(run.completed for run in _way(await self._way())) if await self._exists() else 0

    # --- using it -------------------------------------------------------------------------------------------------------

    async def send(
        self,
        prompt: Prompt,
        *,
        context: Any = None,
        key: str | None = None,
        unattended: bool = False,
        attachments: Attachments = (),
    ) -> RunResult:
        """Ask it, over all that was said before, and wait for its answer.

        `context`: a value for function tools of this process, for this send. `key`: an idempotency key: a send that was
        completed under it gives its result again, one that is under way is joined, one that came to nothing is begun anew.
        `attachments`: files that go with it, as in `Session.send`. A plain text is no slash command here.

        RunFailed when its run fails; a run that somebody interrupts is a result. Of both nothing stays in the conversation,
        nor of a send whose caller is cancelled: its run is interrupted then. SubagentLimit before any model is asked;
        SessionBusy while another send is under way; the errors of `Session.send`.
        """
        if not attachments:
            user_content(prompt)
        handle = await self.session()
        await self._settle(handle)
        if attachments:
            # Before the task is begun, which a file that is refused must not do.
            prompt = await handle._content(prompt, attachments)
        task, before = await self._chosen(key)
        if before is not None:
            return ended(await self._result(before))
        if self._sending - {task}:
            raise SessionBusy(f"session {self.id!r} is being asked already: wait for its answer", session=self.id)
        await self._drop_unasked(task)
        self._sending.add(task)
        try:
            return await _Send(self, handle, task, prompt).through(context, unattended)
        finally:
            self._sending.discard(task)

    async def reset(self) -> None:
        """Begin a new conversation with the same agent in the same session: the transcript is empty, and `turns` 0.

        What it has spent and done stays so. SessionBusy while a send is under way.
        """
        if await self._exists():
            handle = await self.session()
            if await self._way() is not None or await handle.history():
                await handle.rewind(1)

    async def fork(self, *, session: str | None = None, name: str | None = None, key: str | None = None) -> SubagentSession:
        """Another one with the same agent and the sends that were completed so far; from here on each goes its own way.

        It stands where this one does: below the same parent, in the same folder, at the same depth; it has spent nothing,
        and keys of sends are its own. A send that is under way stays here. `session`: an id of its own; `name`: without one
        this one's; `key`: an idempotency key. A place that is earlier, or files of its own, has the fork of `session()`, to
        be taken by `open`. SubagentLimit when there would be one too many; what `Session.fork` raises.
        """
        runtime, handle = self._runtime, await self.session()
        await self._settle(handle)
        if self._parent is not None:
            state = await load_state(runtime.store, self._parent)
            assert state.agent is not None
            _, above = await runtime.store.get_agent(state.agent.name, state.agent.version)
            await runtime.subagents.room(self._parent, above, state.depth, 1)
        last, at = await self._way(), None
        if last is not None and last.end is None:
            at = max(await Runs(runtime.store, self.id).before(last.id), 1)
        forked = await handle.fork(at, session=session, name=name, key=key)
        made = SubagentSession(runtime, self._agent, session=forked.id, parent=self._parent)
        made._parent_depth = self._parent_depth
        return made

    async def close(self) -> None:
        """Let go of its session, which goes on, and can be opened again. Sends that are being taken back are waited for."""
        while self._left:
            await asyncio.wait(self._left)
        if self._handle is not None:
            await self._handle.detach()

    # --- its session ----------------------------------------------------------------------------------------------------

    async def _exists(self) -> bool:
        try:
            await self._runtime.store.session(self.id)
        except SessionNotFound:
            return False
        return True

    async def _opened(self) -> Session:
        runtime, agent = self._runtime, self._agent
        if await self._exists():
            return await runtime.open_session(self.id, agent=agent if isinstance(agent, Agent) else None)
        if self._parent is None:
            return await runtime.start_session(
                agent,
                session=self.id,
                workspace=self._folder,
                environment=self._environment,
                labels=self._labels,
                name=self._name,
                parent_depth=self._parent_depth,
            )
        state = await load_state(runtime.store, self._parent)
        assert state.agent is not None
        _, above = await runtime.store.get_agent(state.agent.name, state.agent.version)
        await runtime.subagents.room(self._parent, above, state.depth, 1)
        if isinstance(agent, Agent | AgentSpec):
            ref = await runtime.create(agent)
            _, spec = await runtime.store.get_agent(ref.name, ref.version)
        elif isinstance(agent, AgentRef):
            _, spec = await runtime.store.get_agent(agent.name, agent.version)
        else:
            _, spec = await runtime.store.get_agent(agent)
        return await runtime.start_session(
            await runtime.subagents.narrow(spec, above, state),
            session=self.id,
            workspace=state.workspace,
            environment=state.environment,
            labels=self._labels,
            name=self._name,
            parent=self._parent,
        )

    # --- its log --------------------------------------------------------------------------------------------------------

    async def _way(self) -> _Run | None:
        """The last run on the way that the conversation has taken, rewinds included."""
        ends: dict[RunId, Event] = {}
        seqs: list[Seq] = []
        stood: list[_Run | None] = []
        last: _Run | None = None
        types = ("run.started", "run.finished", "session.rewound", "session.forked")
        for event in await self._runtime.store.read(self.id, types=types):
            match event.data:
                case RunStarted(run=run):
                    last = _Run(run, last, ends)
                case RunFinished(run=run):
                    ends[run] = event
                case SessionRewound(to=to):
                    place = bisect_right(seqs, to)
                    last = stood[place - 1] if place else None
                case SessionForked() if last is not None:
                    ends.setdefault(last.id, event)  # it was under way there, and came to nothing here
                case _:
                    pass
            seqs.append(event.seq)
            stood.append(last)
        return last

    async def _chosen(self, key: str | None) -> tuple[TaskId, Event | None]:
        """What the send is known by, and how it ended if it was completed before."""
        if key is None:
            return TaskId(self._runtime.ids.new("task")), None
        starts = await self._runtime.store.read(self.id, types=("run.started",))
        known = {e.data.run for e in starts if isinstance(e.data, RunStarted)}
        ends = {
            e.data.run: e
            for e in await self._runtime.store.read(self.id, types=("run.finished",))
            if isinstance(e.data, RunFinished)
        }
        attempt = 0
        while True:
            task = TaskId(derived_id("task", self.id, key, str(attempt)))
            run = run_of(task, self.id)
            end = ends.get(run)
            if run not in known or end is None:
                return task, None
            if _completed(end):
                return task, end
            attempt += 1

    async def _result(self, end: Event) -> RunResult:
        runs = Runs(self._runtime.store, self.id)
        assert isinstance(end.data, RunFinished)
        return await runs.result(end, await runs.start_of(end.data.run))

    async def _settle(self, handle: Session) -> None:
        """Do what a send before this one has left undone: take back what came to nothing, and tell its parent."""
        await self._take_back(handle)
        if self._parent is None:
            return
        for task in (await load_state(self._runtime.store, self._parent)).gate.tasks:
            if task.session == self.id and task.external:
                end = await self._end_of(run_of(task.id, self.id))
                if end is not None:
                    await self._end_task(task.id, await self._result(end))

    async def _drop_unasked(self, task: TaskId) -> None:
        """End the tasks of other sends in the parent's log that a death has kept from being asked."""
        if self._parent is None or (await self._runtime.store.session(self.id)).run is not None:
            return
        for open_task in (await load_state(self._runtime.store, self._parent)).gate.tasks:
            if open_task.session == self.id and open_task.external and open_task.id != task:
                await self._end_task(open_task.id, None)

    async def _end_of(self, run: RunId) -> Event | None:
        for event in await self._runtime.store.read(self.id, types=("run.finished",), newest_first=True):
            if isinstance(event.data, RunFinished) and event.data.run == run:
                return event
        return None

    async def _take_back(self, handle: Session) -> None:
        """Go back to where the conversation stood before the runs at its end that came to nothing."""
        back: _Run | None = None
        for run in _way(await self._way()):
            if run.completed or run.end is None:
                break
            back = run
        if back is not None:
            await handle.rewind(max(await Runs(self._runtime.store, self.id).before(back.id), 1))

    # --- its parent's log -------------------------------------------------------------------------------------------------

    async def _begin_task(self, task: TaskId, prompt: str, turn: int, depth: int) -> None:
        if self._parent is None:
            return
        name = await self._agent_name()
        started = SubagentStarted(task, self.id, name, prompt, depth, reused=turn, external=True)
        await append_outside(self._runtime.store, self._parent, [started], self._runtime.clock, key=f"{task}\0started")

    async def _end_task(self, task: TaskId, result: RunResult | None, error: Fault | None = None) -> None:
        """Record how a send ended, once. `result`: None when its run never began."""
        if self._parent is None:
            return
        events: list[EventData] = []
        if result is None:
            events.append(SubagentFinished(task, self.id, "cancelled" if error is None else "failed", error=error))
        else:
            shown, artifact = await self._runtime.subagents.kept_output(self._parent, result.text)
            events += [] if artifact is None else [artifact]
            ends: dict[str, TaskEnd] = {"done": "completed", "interrupted": "cancelled"}
            events.append(
                SubagentFinished(
                    task,
                    self.id,
                    ends.get(result.outcome, "failed"),
                    shown,
                    None if artifact is None else artifact.ref,
                    error=result.error,
                    up_to=result.seq,
                    usage=result.usage,
                    turns=result.turns,
                )
            )
        with contextlib.suppress(TaskNotFound, Conflict, SessionNotFound):  # ended meanwhile, by a cancel for one
            await append_outside(self._runtime.store, self._parent, events, self._runtime.clock)

    async def _agent_name(self) -> AgentName:
        return base_of((await self._runtime.store.session(self.id)).agent).name

    async def _tell(self, item: SubagentEvent | Event | Delta) -> None:
        if self._sink is None:
            return
        try:
            told = self._sink(item)
            if inspect.isawaitable(told):
                await told
        except Exception:
            logger.exception("the sink of subagent session %s failed", self.id)


class _Send:
    """One send on its way."""

    def __init__(self, child: SubagentSession, handle: Session, task: TaskId, prompt: Prompt) -> None:
        self._child = child
        self._handle = handle
        self._task = task
        self._prompt = prompt
        self._run = run_of(task, child.id)

    async def through(self, context: Any, unattended: bool) -> RunResult:
        child = self._child
        way = await child._way()
        # Its own run may have been gone on with elsewhere, and end while this is read: that is no earlier turn.
        turn = sum(run.completed for run in _way(way) if run.id != self._run)
        state = await load_state(child._runtime.store, child.id)
        told = SubagentEvent("started", child.id, await child._agent_name(), state.depth, turn)
        try:
            await child._tell(told)
            if turn:
                await child._tell(msgspec.structs.replace(told, kind="reused"))
            await child._begin_task(self._task, text_of(user_content(self._prompt)), turn, state.depth)
            result = await self._answered(context, unattended)
        except asyncio.CancelledError:
            # Whoever cancels again must not keep the send from being taken back.
            left = asyncio.create_task(self._abandoned(told), name=f"taking back a send of {child.id}")
            child._left.add(left)
            left.add_done_callback(child._left.discard)
            await asyncio.shield(left)
            raise
        except Exception as error:
            await self._failed(told, error)
            raise
        if _completed(await child._end_of(self._run)):
            await child._end_task(self._task, result)
            await child._tell(msgspec.structs.replace(told, kind="completed", run=self._run))
            return ended(result)
        await child._take_back(self._handle)
        await child._end_task(self._task, result)
        fault = result.error or Fault("interrupted", "its run was interrupted")
        await child._tell(msgspec.structs.replace(told, kind="failed", run=self._run, error=fault))
        return ended(result)

    async def _answered(self, context: Any, unattended: bool) -> RunResult:
        handle = self._handle
        run = await handle.prompt(self._prompt, context=context, key=self._task, unattended=unattended)
        telling = None
        if self._child._sink is not None:
            before = await Runs(self._child._runtime.store, self._child.id).before(run)
            telling = asyncio.create_task(self._tell_all(before))
        try:
            try:
                return await handle.wait(run)
            except RunFailed as failed:
                result: RunResult = failed.result
                return result
            finally:
                if telling is not None and await self._child._end_of(run) is not None:
                    await telling
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _tell_all(self, after: Seq) -> None:
        child, handle = self._child, self._handle
        items: AsyncIterator[Event | Delta] = handle.watch(after) if child._deltas else handle.follow(after)
        async for item in items:
            await child._tell(item)
            if isinstance(item, Event) and isinstance(item.data, RunFinished) and item.data.run == self._run:
                return

    async def _failed(self, told: SubagentEvent, error: Exception) -> None:
        """It could not be asked, or nothing can be known of its run here any more: that goes on where it is opened next."""
        child = self._child
        fault = error.fault() if isinstance(error, GodwitError) else Fault("internal", str(error))
        with contextlib.suppress(GodwitError):
            if await self._unasked():
                await child._end_task(self._task, None, fault)
        await child._tell(msgspec.structs.replace(told, kind="failed", error=fault))

    async def _abandoned(self, told: SubagentEvent) -> None:
        """The caller has gone: end the run, and take it back."""
        child, handle = self._child, self._handle
        try:
            if await self._unasked():
                await child._end_task(self._task, None)
            else:
                await handle.interrupt(run=self._run, reason="who asked has gone")
                await child._settle(handle)
        except GodwitError as error:
            # The store is closed, say. Whoever uses the session next finds what is left to do.
            logger.warning("a send of subagent session %s is not taken back yet: %s", child.id, error.message)
        with contextlib.suppress(GodwitError):
            if _completed(await child._end_of(self._run)):  # it was faster
                await child._tell(msgspec.structs.replace(told, kind="completed", run=self._run))
                return
        fault = Fault("cancelled", "who asked has gone")
        await child._tell(msgspec.structs.replace(told, kind="failed", run=self._run, error=fault))

    async def _unasked(self) -> bool:
        starts = await self._child._runtime.store.read(self._child.id, types=("run.started",), newest_first=True)
        return not any(isinstance(e.data, RunStarted) and e.data.run == self._run for e in starts)


def _completed(end: Event | None) -> bool:
    if end is None or not isinstance(end.data, RunFinished):
        return False
    return end.data.outcome == "done" or (end.data.outcome == "limited" and end.data.turns > 0)


def _way(last: _Run | None) -> list[_Run]:
    """The runs of a way, the newest first."""
    found: list[_Run] = []
    while last is not None:
        found.append(last)
        last = last.before
    return found


__all__ = ["SubagentEvent", "SubagentSession"]
