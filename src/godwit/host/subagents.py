"""Subagents: has the children driven that sessions hand tasks to, and brings what they answer.

It works from the log alone: `look` reads which tasks of a session are open and does for each what is due next, and may be
said at any time, twice, or after a crash. Rules a change must keep:

* A child's id, its prompt's key and the end of its task follow from the task, so whatever is done again finds itself done.
* A result is one append to the parent's log, with the message that tells of it; the gate takes the end of a task once.
* Nothing waits for a child: what it comes to is brought when its drive has ended, here, or by whoever looks after a crash.
* A child may never do more than those it works for: its agent is narrowed as it is made, and rules are asked all the way up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from ..core.agent import AgentSpec
from ..core.errors import (
    Fault,
    GodwitError,
    InboxFull,
    SessionArchived,
    SessionBusy,
    SessionNotFound,
    StoreClosed,
    StoreError,
    TaskNotFound,
)
from ..core.events import (
    ArtifactStored,
    Event,
    EventData,
    RunFinished,
    RunStarted,
    SubagentFinished,
    SubagentStarted,
    UserMessage,
)
from ..core.gate import Gate
from ..core.ids import CallId, Seq, SessionId, TaskId
from ..core.messages import Text
from ..core.output import OutputSpec
from ..core.record import RunResult
from ..core.senders import by_task
from ..core.state import State
from ..core.tasks import OUTPUT_LIMIT, OpenTask, TaskEnd, run_of, shown_output
from ..engine.log import append_outside, load_state
from ..engine.runs import Runs
from ..engine.session import Session
from ..engine.task_reports import report_of
from ..engine.tasks import report_id, started_event
from .ancestors import Ancestors, orphaned
from .child_questions import ChildQuestions
from .child_sessions import ChildSessions
from .child_stops import ChildStops
from .subagent_part import Host

logger = logging.getLogger("godwit")

RETRY_S = 1.0
"""How long after something failed a session's tasks are looked at again."""


class SubagentHost(ChildSessions, ChildStops):
    """Implements `godwit.contracts.Subagents` for one process."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._busy: dict[SessionId, asyncio.Task[None]] = {}
        self._again: set[SessionId] = set()
        self._seen: dict[SessionId, dict[TaskId, SessionId]] = {}
        self._timers: dict[SessionId, asyncio.TimerHandle] = {}
        self._begun: dict[SessionId, tuple[Seq, dict[TaskId, tuple[Seq, SubagentStarted]]]] = {}
        self._questions = ChildQuestions(host.store, host.parts.clock)
        self.ancestors = Ancestors(host, self.stop)
        self._closed = False

    async def _drive(self, session: SessionId) -> Session:
        handle: Session = await self._host.desk.session(session)
        return handle

    # --- seeing to tasks --------------------------------------------------------------------------------------------

    def look(self, session: SessionId) -> None:
        """See `Subagents.look`."""
        if self._closed:
            return
        self._again.add(session)
        if session not in self._busy:
            self._busy[session] = asyncio.create_task(self._see_to(session), name=f"tasks of {session}")

    def rested(self, session: SessionId, before: Gate, state: State) -> None:
        """A drive of this session has ended here, and left it so; `before` it was so."""
        if before.tasks:
            # Those that this drive has ended may be known to no look of this process yet.
            self._seen.setdefault(session, {}).update({t.id: t.session for t in before.tasks if not t.external})
        if state.gate.tasks or session in self._seen:
            self.look(session)
        if state.parent is not None:
            self.look(state.parent)

    async def recover(self) -> list[SessionId]:
        """Look at every session that has open tasks, whatever process had them; returns them."""
        found = await self._store.sessions_with_tasks()
        for session in found:
            self.look(session)
        return found

    async def orphaned(self, session: SessionId) -> bool:
        """See `ancestors.orphaned`."""
        return await orphaned(self._store, session)

    async def settle(self) -> None:
        """Return when nothing is being seen to here."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def close(self) -> None:
        """See to nothing more. What is left is found by whoever looks next."""
        self._closed = True
        await self.ancestors.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _see_to(self, session: SessionId) -> None:
        try:
            while session in self._again and not self._closed:
                self._again.discard(session)
                await self._work_through(session)
        except (SessionNotFound, StoreClosed):
            self._seen.pop(session, None)
            self._begun.pop(session, None)
        except Exception:
            # One session whose tasks cannot be seen to must not be forgotten, nor keep others waiting.
            logger.exception("the tasks of session %s cannot be seen to", session)
            self._look_later(session)
        finally:
            del self._busy[session]
            if session in self._again and not self._closed:
                self.look(session)

    def _look_later(self, session: SessionId) -> None:
        def now() -> None:
            del self._timers[session]
            self.look(session)

        if session not in self._timers and not self._closed:
            self._timers[session] = asyncio.get_running_loop().call_later(RETRY_S, now)

    async def _work_through(self, parent: SessionId) -> None:
        state = await load_state(self._store, parent)
        own = {t.id: t.session for t in state.gate.tasks if not t.external}
        before = self._seen.pop(parent, {})
        if own:
            self._seen[parent] = own
        gone = {task: child for task, child in before.items() if task not in own and child not in own.values()}
        for child in await self._cancelled(parent, gone):
            await self.stop(child, "its task was cancelled")
        if not own:
            self._begun.pop(parent, None)
        if not state.gate.tasks or state.agent is None or state.gate.archived:
            return
        _, spec = await self._store.get_agent(state.agent.name, state.agent.version)
        begun = await self._begun_of(parent, state, own)
        room = spec.limits.max_children
        for task in state.gate.tasks:
            if task.external:
                # What it asks is told above as well, where it is a session of this store.
                with contextlib.suppress(SessionNotFound):
                    if (await self._store.session(task.session)).status == "waiting":
                        await self._questions.tell(task.session)
                continue
            seq, started = begun[task.id]
            try:
                room -= await self._go_on(parent, state, spec, task, started, seq, room)
            except StoreClosed:
                raise
            except (_NotHere, StoreError) as error:
                # Nothing is wrong with the task: another process may do it, or this one when there is room on the disk.
                logger.warning("task %s of session %s cannot be seen to now: %s", task.id, parent, error.message)
                self._look_later(parent)
            except GodwitError as error:
                logger.warning("task %s of session %s cannot be done: %s", task.id, parent, error.message)
                await self._end(
                    parent, task, started, SubagentFinished(task.id, task.session, "failed", error=error.fault())
                )
            except Exception:
                # One task that nothing can be done for must not keep the others waiting.
                logger.exception("task %s of session %s cannot be seen to", task.id, parent)
                self._look_later(parent)

    async def _begun_of(
        self, parent: SessionId, state: State, own: Mapping[TaskId, SessionId]
    ) -> dict[TaskId, tuple[Seq, SubagentStarted]]:
        """How each open task began, and where. Only what is new of the log is read: a session with many tasks has a long
        one."""
        upto, before = self._begun.pop(parent, (0, {}))
        found = {task: begun for task, begun in before.items() if task in own}
        for event in await self._store.read(parent, upto, to_seq=state.seq, types=("subagent.started",)):
            if isinstance(event.data, SubagentStarted) and event.data.task in own:
                found[event.data.task] = (event.seq, event.data)
        if own:
            self._begun[parent] = (state.seq, found)
        return found

    async def _cancelled(self, parent: SessionId, gone: Mapping[TaskId, SessionId]) -> list[SessionId]:
        """Of the children whose tasks have ended, those whose work is to end with it. What others have in the background
        goes on."""
        if not gone:
            return []
        ended = await self._store.read(parent, types=("subagent.finished",), newest_first=True, limit=len(gone) + 100)
        return [
            gone[e.data.task]
            for e in ended
            if isinstance(e.data, SubagentFinished) and e.data.status == "cancelled" and e.data.task in gone
        ]

    async def _go_on(
        self, parent: SessionId, state: State, spec: AgentSpec, task: OpenTask, started: SubagentStarted, seq: Seq, room: int
    ) -> int:
        """Do what is due for this task, which began at `seq`. Returns how many places it takes."""
        try:
            row = await self._store.session(task.session)
        except SessionNotFound:
            if started.reused:
                raise
            if room <= 0:
                return 0
            await self._make(parent, state, spec, started)
            row = await self._store.session(task.session)
        works = row.run is not None and row.run == run_of(task.id, row.id)
        if works and row.status != "waiting" and self._host.hosts(row.id):
            return 1  # it is told when that has ended
        last = await self._newest(started, row.id)
        if last is not None and isinstance(last.data, RunFinished):
            return await self._brought(parent, task, started, last)
        if row.run is None and last is None and row.status == "archived":
            raise SessionArchived(f"session {row.id!r} is archived: its subagent does nothing more", session=row.id)
        if row.run is None and last is None and room <= 0:
            return 0
        try:
            handle = await self._drive(row.id)
        except StoreError:
            raise
        except GodwitError as error:
            # Where its parent is driven it should be possible to drive it as well, unless another process had begun it.
            if last is None and self._host.hosts(parent):
                raise
            raise _NotHere(error.message) from error
        if row.run is None:
            await self._ask(handle, started, unattended=await self._unattended(parent, started, seq))
            if all(t.id != task.id for t in (await load_state(self._store, parent)).gate.tasks):
                await self.stop(row.id, "its task was cancelled")  # meanwhile, by another process
                return 0
        elif row.status == "waiting":
            await self._questions.tell(row.id)
        return 1

    async def _unattended(self, parent: SessionId, started: SubagentStarted, seq: Seq) -> bool:
        """Whether the run that asked for it could ask nobody."""
        if started.call is None:
            return False
        runs = await self._store.read(parent, to_seq=seq, types=("run.started",), newest_first=True, limit=1)
        return bool(runs) and isinstance(runs[0].data, RunStarted) and runs[0].data.unattended

    async def _ask(self, handle: Session, started: SubagentStarted, *, unattended: bool = False) -> None:
        """Give the child its prompt."""
        output = None if started.output_schema is None else OutputSpec(started.output_schema)
        with contextlib.suppress(SessionBusy):  # a person has asked it something else first: it is asked when that is done
            await handle.prompt_for_task(started.task, started.prompt, unattended=unattended, output=output)

    async def _newest(self, started: SubagentStarted, child: SessionId) -> Event | None:
        """The newest event of the run that works on the task, its start or its end. None: not asked."""
        run = run_of(started.task, child)
        for event in await self._store.read(child, types=("run.started", "run.finished"), newest_first=True):
            if isinstance(event.data, RunStarted | RunFinished) and event.data.run == run:
                return event
        return None

    async def _result(self, child: SessionId, finished: Event) -> RunResult:
        runs = Runs(self._store, child)
        assert isinstance(finished.data, RunFinished)
        return await runs.result(finished, await runs.start_of(finished.data.run))

    # --- results ----------------------------------------------------------------------------------------------------

    async def _brought(self, parent: SessionId, task: OpenTask, started: SubagentStarted, finished: Event) -> int:
        """Bring the end of the child's run to its parent."""
        result = await self._result(task.session, finished)
        structured = None if started.output_schema is None else result.output
        ends: dict[str, TaskEnd] = {"done": "completed", "interrupted": "cancelled"}
        status, error = ends.get(result.outcome, "failed"), result.error
        shown, artifact = await self.kept_output(parent, result.text, started.call)
        ended = SubagentFinished(
            task.id,
            task.session,
            status,
            shown,
            None if artifact is None else artifact.ref,
            structured,
            error,
            finished.seq,
            result.usage,
            result.turns,
        )
        await self._end(parent, task, started, ended, artifact)
        return 0

    async def kept_output(
        self, parent: SessionId, text: str, call: CallId | None = None
    ) -> tuple[str, ArtifactStored | None]:
        """A child's answer as its parent reads it, and what is recorded of the whole where that is long."""
        if len(text) <= OUTPUT_LIMIT:
            return text, None
        kept = await self._parts.blobs.put_artifact(parent, text.encode(), "text/plain; charset=utf-8")
        return shown_output(text, kept.ref), ArtifactStored(kept.ref, kept.size, kept.media_type, call)

    async def _end(
        self,
        parent: SessionId,
        task: OpenTask,
        started: SubagentStarted,
        ended: SubagentFinished,
        artifact: ArtifactStored | None = None,
    ) -> None:
        """Record it, with the message that tells of one in the background, and see that the parent hears of it."""
        events: list[EventData] = [] if artifact is None else [artifact]
        events.append(ended)
        if task.action is None:
            text = report_of(started, ended)
            message = UserMessage(report_id(parent, task.id), (Text(text),), "follow_up", sender=by_task(task.id))
            events.append(message)
        try:
            await append_outside(self._store, parent, events, self._parts.clock)
        except InboxFull:
            self._look_later(parent)
            return
        except (TaskNotFound, SessionArchived):
            pass  # ended meanwhile by a cancel or by another process; or the parent is final
        self._questions.forget(task.session)
        self._again.add(parent)
        row = await self._store.session(parent)
        if row.run is not None and row.owner is None and not self._host.hosts(parent):
            await self._drive(parent)

    # --- questions and ends -----------------------------------------------------------------------------------------

    async def deleting(self, session: SessionId) -> None:
        """This session is about to go: whoever has given it a task hears so before, and does not make it again."""
        state = await load_state(self._store, session)
        if state.parent is None:
            return
        try:
            parent = await load_state(self._store, state.parent)
        except SessionNotFound:
            return
        for task in parent.gate.tasks:
            if task.session == session and not task.external:
                started = await started_event(self._store, state.parent, task.id)
                fault = Fault("session_deleted", "its session was deleted")
                await self._end(state.parent, task, started, SubagentFinished(task.id, session, "cancelled", error=fault))


class _NotHere(GodwitError):
    """It can be done, but not by this process."""


__all__ = ["SubagentHost"]
