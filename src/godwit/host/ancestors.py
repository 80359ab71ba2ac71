"""Ancestors: the sessions above those that are driven here, followed for as long as these are.

A cancel and an interrupt are recorded before anything is stopped, and who has recorded one may die before it stops anything.
So whoever drives a session reads the logs above it: what they say has ended is stopped by itself, and an interrupted run
above that nobody drives is ended. Leaves out stopping (`subagents.py`). Rules a change must keep: a log is followed once,
however many work below it; what is read here twice does nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..contracts import EventStore
from ..core.errors import GodwitError, SessionNotFound, StoreClosed
from ..core.events import RunStarted, SessionCreated, SubagentFinished, SubagentStarted, TasksCancelled, UserMessage
from ..core.ids import Seq, SessionId, TaskId
from ..core.senders import is_by_task
from ..core.tasks import run_of
from ..engine.log import load_state
from ..engine.receiver import either

logger = logging.getLogger("godwit")

RETRY_S = 1.0
"""How long after something failed the log is looked at again."""
WORDS = ("subagent.finished", "tasks.cancelled", "user.interrupt", "session.archived")
"""What an ancestor's log says that may end work below it."""
_SAID = ("subagent.started", "subagent.finished", "tasks.cancelled")


class Host(Protocol):
    """The runtime, as far as ancestors need it."""

    @property
    def store(self) -> EventStore: ...
    def hosts(self, session: SessionId) -> bool: ...
    async def do_once(self, session: SessionId, *, force: bool = False) -> None: ...


class Ancestors:
    """Follows what stands above the sessions of one process. `stop`: ends the work of one, with a reason."""

    def __init__(
        self,
        host: Host,
        stop: Callable[[SessionId, str], Awaitable[None]],
    ) -> None:
        self._host = host
        self._stop = stop
        self._below: dict[SessionId, set[SessionId]] = {}
        self._tasks: dict[SessionId, asyncio.Task[None]] = {}
        self._left: dict[SessionId, asyncio.Event] = {}
        self._closed = False

    def follow(self, session: SessionId, parent: SessionId) -> None:
        """This session is driven here from now on, and works for that one. Never blocks."""
        if self._closed:
            return
        self._below.setdefault(parent, set()).add(session)
        if parent not in self._tasks:
            self._left[parent] = asyncio.Event()
            self._tasks[parent] = asyncio.create_task(self._follow(parent), name=f"follow above: {parent}")

    def leave(self, session: SessionId) -> None:
        """This session is driven here no more."""
        for parent in [p for p, below in self._below.items() if session in below]:
            if not self._needed(parent):
                self._left[parent].set()
                self.leave(parent)

    async def close(self) -> None:
        """Follow nothing more."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _needed(self, parent: SessionId) -> bool:
        """Whether something that works for it, at any depth, is still driven here."""
        below = self._below.get(parent, set())
        for session in [s for s in below if not (self._host.hosts(s) or self._needed(s))]:
            below.discard(session)
        return bool(below)

    async def _follow(self, parent: SessionId) -> None:
        read: Seq = 0
        first = True
        ends = False
        try:
            while self._needed(parent):
                try:
                    head = (await self._host.store.session(parent)).head
                    if first:
                        await self._above(parent)
                    if first or ends or await self._host.store.read(parent, read, to_seq=head, types=WORDS, limit=1):
                        ends = await self._look(parent, read)
                    read, first = head, False
                    timeout_s = RETRY_S if ends else None
                    await either(self._host.store.wait(parent, head, timeout_s), self._left[parent].wait())
                    self._left[parent].clear()
                except SessionNotFound:
                    await self._gone(parent)
                    return
                except StoreClosed:
                    return
                except GodwitError as error:
                    logger.warning("session %s cannot be followed for those below it now: %s", parent, error.message)
                    await asyncio.sleep(RETRY_S)
        finally:
            del self._tasks[parent], self._left[parent]
            self._below.pop(parent, None)

    async def _above(self, parent: SessionId) -> None:
        """What stands above this one is followed as well: all of these may be driven by nobody."""
        above = (await load_state(self._host.store, parent)).parent
        if above is not None:
            self.follow(parent, above)

    async def _look(self, parent: SessionId, read: Seq) -> bool:
        """See to what was said after `read`. Returns whether an end that was asked for is yet to come."""
        host = self._host
        state = await load_state(host.store, parent)
        if state.gate.run is not None and state.gate.interrupted and not host.hosts(parent):
            if (await host.store.session(parent)).owner is None:
                await host.do_once(parent)
            state = await load_state(host.store, parent)
        working = {task.session for task in state.gate.tasks}
        said = await host.store.read(parent, read, types=("subagent.finished", "tasks.cancelled"))
        every = not read or state.gate.archived or any(isinstance(event.data, TasksCancelled) for event in said)
        named = {
            event.data.child
            for event in said
            if isinstance(event.data, SubagentFinished) and event.data.status == "cancelled"
        }
        below = self._below.get(parent, set()) - working
        for session in below if every else below & named:
            if await self._open(session) and await orphaned(self._host.store, session):
                await self._stop(session, "its task was cancelled")
        return state.gate.run is not None and state.gate.interrupted and not host.hosts(parent)

    async def _gone(self, parent: SessionId) -> None:
        for session in list(self._below.get(parent, ())):
            try:
                if await self._open(session) and await orphaned(self._host.store, session):
                    await self._stop(session, "the session that it works for is gone")
            except GodwitError as error:
                logger.warning("session %s cannot be stopped now: %s", session, error.message)

    async def _open(self, session: SessionId) -> bool:
        """Whether there is something to stop."""
        try:
            gate = (await load_state(self._host.store, session)).gate
        except SessionNotFound:
            return False
        return gate.run is not None or bool(gate.tasks)


async def orphaned(store: EventStore, session: SessionId) -> bool:
    """Whether the work of this child was to end: its last task was cancelled, or that of one it works for, or all that is
    below one of these, or one of these is archived or gone. What a person has asked of it is not such work."""
    at, began_ms = session, 0
    while True:
        first = (await store.read(at, limit=1))[0].data
        if not isinstance(first, SessionCreated) or first.parent is None or (await store.session(at)).origin is not None:
            return False  # a fork as well: no task is its
        try:
            archived = (await store.session(first.parent)).status == "archived"
            said = await store.read(first.parent, types=_SAID, newest_first=True)
        except SessionNotFound:
            return first.task is not None
        # The newest of what its parent's log says of it: a child may go on after a task of it was cancelled.
        told = [e for e in said if isinstance(e.data, SubagentStarted | SubagentFinished) and e.data.child == at]
        if not told:
            return False
        last = told[0].data
        assert isinstance(last, SubagentStarted | SubagentFinished)
        if not await _works_on(store, at, last.task):
            return False
        if at == session:
            began_ms = next((e.at_ms for e in told if isinstance(e.data, SubagentStarted)), 0)
        # What was begun after such a word, since a person asked for it, is not meant by it.
        ends = [e for e in said if isinstance(e.data, TasksCancelled)]
        ends += [e for e in told[:1] if isinstance(e.data, SubagentFinished) and e.data.status == "cancelled"]
        if archived or any(e.at_ms >= began_ms for e in ends):
            return True
        if first.task is None and isinstance(last, SubagentFinished):
            return False
        at = first.parent


async def _works_on(store: EventStore, session: SessionId, task: TaskId) -> bool:
    """Whether the open run of this session, if there is one, is for this task, or about one of its own: no person's."""
    run = (await store.session(session)).run
    if run is None or run == run_of(task, session):
        return True
    for event in await store.read(session, types=("run.started",), newest_first=True, limit=1):
        if isinstance(event.data, RunStarted) and event.data.input is not None:
            for message in await store.read(session, to_seq=event.seq, types=("user.message",), newest_first=True):
                if isinstance(message.data, UserMessage) and message.data.id == event.data.input:
                    return is_by_task(message.data.sender)
    return False


__all__ = ["Ancestors", "orphaned"]
