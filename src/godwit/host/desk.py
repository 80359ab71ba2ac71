"""Desk: works on sessions by id alone, for callers that hold no handle (seed 003 `ManagedAgentRuntime`).

It keeps the handles that drive here and lets go of those that rest when there are many. Letting go ends nothing: the
session is opened again when somebody asks for it. Rules: a session with an open run keeps its handle, since a parked run
has alarms to ring and a running one a driver; a session is never opened while it is being let go of; what stops a run is
stored before anything is opened, since opening goes on with the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ..contracts import SessionRow, Store
from ..core.errors import (
    GodwitError,
    NoOpenRun,
    SessionArchived,
    SessionBusy,
    SessionNotFound,
    SessionOwned,
    StoreError,
    TaskNotFound,
)
from ..core.events import SessionArchived as Archived, SubagentFinished, UserAnswer, UserInterrupt, UserMessage
from ..core.gate import Status
from ..core.ids import Clock, RunId, SessionId
from ..engine.cancel import WITHIN
from ..engine.driver import Parts
from ..engine.log import append_outside, forget_state, load_state
from ..engine.session import Session
from .session_folders import folder_of, remove_folder
from .subagents import SubagentHost

logger = logging.getLogger("godwit")

HANDLES = 1024
"""Handles of resting sessions that are kept."""
REST_S = 60.0
"""How long a handle is kept after it was given out, however many there are: whoever has it may be about to use it."""
LOOKS = 4
"""How many handles are looked at each time one is asked for, while there are too many."""
OPEN_STATUSES: tuple[Status, ...] = ("queued", "running", "waiting", "retrying", "paused")
OWNER_LOOK_S = 0.1
"""How often it is looked whether another process lives, or has let go of a session, that is to end."""
_PAGE = 200


class Opener(Protocol):
    """The runtime, as far as a desk needs it."""

    @property
    def store(self) -> Store: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def parts(self) -> Parts: ...

    async def open_session(self, session: str, *, drive: bool = True) -> Session: ...

    def recovers(self, session: SessionId, run: RunId) -> None:
        """Say that this run was left behind, before the session is opened: it waits for a place to be gone on with."""
        ...

    @property
    def subagents(self) -> SubagentHost: ...
    def hosts(self, session: SessionId) -> bool:
        """Whether this process drives the session when there is something to do."""
        ...

    async def settle(self, session: SessionId, *, force: bool = False, run: RunId | None = None) -> None: ...
    async def do_once(self, session: SessionId, *, force: bool = False) -> None: ...


class _Kept:
    """A handle, and when it was last asked for, by the loop's clock."""

    __slots__ = ("asked_s", "handle")

    def __init__(self, handle: Session, asked_s: float) -> None:
        self.handle = handle
        self.asked_s = asked_s


class Desk:
    """The driving handles of one runtime, by session.

    `handles`: how many of resting sessions are kept. `rest_s`: for how many seconds at least after one was asked for.
    """

    def __init__(self, opener: Opener, handles: int = HANDLES, rest_s: float = REST_S) -> None:
        self._opener = opener
        self._limit = handles
        self._rest_s = rest_s
        self._handles: OrderedDict[SessionId, _Kept] = OrderedDict()  # the one that was asked for last stands last
        self._opening: dict[SessionId, asyncio.Task[Session]] = {}
        self._leaving: dict[SessionId, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._handles)

    # --- handles -----------------------------------------------------------------------------------------------

    async def session(self, session: str) -> Session:
        """A handle that drives this session, the same for all who ask. What `open_session` raises.

        Do not close it, and ask again for later uses: one that rests may be let go of after a while.
        """
        session_id = SessionId(session)
        while (handle := self._at_hand(session_id)) is None:
            leaving = self._leaving.get(session_id)
            if leaving is None and session_id in self._handles:
                # Closed by somebody, or the session has gone: another one of this id is another session.
                leaving = self._begin_leaving(session_id, ask=False)
            if leaving is not None:
                await asyncio.wait([leaving])
                continue
            opening = self._opening.get(session_id)
            if opening is None:
                opening = self._opening[session_id] = _begin(self._open(session_id), f"open {session}")
            # Whoever asked first may be cancelled: the others still wait for it.
            handle = await asyncio.shield(opening)
            break
        self._let_go_of_some()
        return handle

    async def drop(self, session: str) -> None:
        """Let go of the session here; what is under way goes on until it rests."""
        session_id = SessionId(session)
        opening = self._opening.get(session_id)
        if opening is not None:
            await asyncio.wait([opening])
        if session_id in self._handles:
            self._begin_leaving(session_id, ask=False)
        leaving = self._leaving.get(session_id)
        if leaving is not None:
            await asyncio.wait([leaving])

    async def close(self, grace_s: float) -> None:
        """Return when nothing is being opened or let go of, or when that many seconds are over."""
        under_way = {*self._opening.values(), *self._leaving.values()}
        if under_way:
            await asyncio.wait(under_way, timeout=grace_s)

    def _at_hand(self, session: SessionId) -> Session | None:
        """The handle that is kept, as one that was asked for just now; None when there is none that can be used."""
        kept = self._handles.get(session)
        if kept is None or kept.handle.is_closed or kept.handle.session_cancel_token.cancelled:
            return None
        if not self._opener.hosts(session):
            return None
        kept.asked_s = asyncio.get_running_loop().time()
        self._handles.move_to_end(session)
        return kept.handle

    def keep(self, handle: Session) -> None:
        """Take over a driving handle, such as that of a session that was started just now."""
        self._keep(handle)

    def _keep(self, handle: Session) -> None:
        self._handles[handle.id] = _Kept(handle, asyncio.get_running_loop().time())

    async def _open(self, session: SessionId) -> Session:
        # Kept here and not by who waits: all of those may be cancelled.
        try:
            handle = await self._opener.open_session(session)
            self._keep(handle)
            return handle
        finally:
            del self._opening[session]

    def _let_go_of_some(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for _ in range(min(LOOKS, len(self._handles) - self._limit)):
            session, kept = next(iter(self._handles.items()))
            if now_s - kept.asked_s < self._rest_s:
                return
            self._begin_leaving(session, ask=True)

    def _begin_leaving(self, session: SessionId, *, ask: bool) -> asyncio.Task[None]:
        handle = self._handles.pop(session).handle
        leaving = self._leaving[session] = _begin(self._leave(session, handle, ask), f"let go of {session}")
        return leaving

    async def _leave(self, session: SessionId, handle: Session, ask: bool) -> None:
        """`ask`: only if no run is open."""
        try:
            try:
                if ask and await self._has_run(session):
                    self._keep(handle)
                    return
                await handle.detach()
            except StoreError:
                self._keep(handle)
                return
            if ask and await self._has_run(session):
                # Another process has sent something meanwhile, and counts on this one to hear it.
                self._keep(await self._opener.open_session(session))
        except GodwitError as error:
            logger.warning("session %s has work and cannot be opened again here: %s", session, error.message)
        finally:
            del self._leaving[session]

    async def _has_run(self, session: SessionId) -> bool:
        try:
            return (await self._opener.store.session(session)).run is not None
        except SessionNotFound:
            return False

    # --- going on ----------------------------------------------------------------------------------------------

    async def recover(self, which: Callable[[SessionRow], bool] = lambda _: True) -> list[SessionId]:
        """Go on with each open run that no living process drives, of the sessions that `which` is true of; returns these.

        A parked run is taken as well: its time runs, and answers to it are heard from now on. A paused one is not, unless
        it is to end. A session that cannot be driven here (a tool or a sandbox is missing) is logged and left to others.
        Several processes may do this at once: one of them drives, and the others take over should it die. No more runs than
        a process drives at once begin at once; the others wait in the order in which they were started. StoreError.
        """
        taken: list[SessionId] = []
        tried: set[SessionId] = set()
        again = True
        while again:  # the list is by activity: what moves in it meanwhile is found by the next look
            again = False
            rows = [row for row in await self._open_rows() if row.id not in tried and row.owner is None and which(row)]
            for row in await self._by_start([row for row in rows if not self._opener.hosts(row.id)]):
                if self._opener.hosts(row.id):  # since then
                    continue
                tried.add(row.id)
                again = True
                if await self._go_on(row):
                    taken.append(row.id)
        await self._opener.subagents.recover()
        return taken

    async def _open_rows(self) -> list[SessionRow]:
        found: list[SessionRow] = []
        before: tuple[int, SessionId] | None = None
        while True:
            rows = await self._opener.store.sessions(limit=_PAGE, before=before, statuses=OPEN_STATUSES)
            found += [row for row in rows if row.run is not None]
            if len(rows) < _PAGE:
                return found
            before = (rows[-1].updated_ms, rows[-1].id)

    async def _by_start(self, rows: list[SessionRow]) -> list[SessionRow]:
        """The one whose run was started first comes first."""
        started: list[tuple[int, SessionId, SessionRow]] = []
        for row in rows:
            with contextlib.suppress(SessionNotFound):  # deleted just now
                found = await self._opener.store.read(row.id, types=("run.started",), newest_first=True, limit=1)
                started.append((found[0].at_ms if found else row.updated_ms, row.id, row))
        return [row for _, _, row in sorted(started, key=lambda one: one[:2])]

    async def _go_on(self, row: SessionRow) -> bool:
        assert row.run is not None
        try:
            if row.parent is not None and await self._opener.subagents.orphaned(row.id):
                await self._opener.subagents.stop(row.id, "nobody waits for it any more")
                return False
            if row.status == "paused" and not (await load_state(self._opener.store, row.id)).gate.drivable:
                return False
            self._opener.recovers(row.id, row.run)
            await self.session(row.id)
        except StoreError:
            raise
        except GodwitError as error:
            logger.warning("session %s cannot go on here: %s", row.id, error.message)
            return False
        except Exception:
            # One session that cannot be opened must not keep the others waiting.
            logger.exception("session %s cannot go on here", row.id)
            return False
        return True

    # --- by id -------------------------------------------------------------------------------------------------

    async def _control(self, session: SessionId) -> Session:
        """A handle to stop or end something with: the one at hand, or one that begins nothing."""
        return self._at_hand(session) or await self._opener.open_session(session, drive=False)

    async def send_event(
        self, session: str, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None
    ) -> None:
        """See `Runtime.send_event`."""
        if not isinstance(event, UserInterrupt):
            await (await self.session(session)).send_event(event, key=key)
            return
        session_id = SessionId(session)
        await (await self._control(session_id)).send_event(event, key=key)
        row = await self._opener.store.session(session_id)
        if row.run == event.run and row.owner is None:
            await self._opener.do_once(session_id)

    async def interrupt(
        self,
        session: str,
        *,
        run: RunId | str | None = None,
        force: bool = False,
        reason: str | None = None,
        key: str | None = None,
    ) -> bool:
        """See `Session.interrupt`."""
        handle = await self._control(SessionId(session))
        return await handle.interrupt(run=run, force=force, reason=reason, key=key)

    async def pause(self, session: str, reason: str | None = None) -> bool:
        """See `Session.pause`."""
        return await (await self._control(SessionId(session))).pause(reason)

    async def resume(self, session: str) -> bool:
        """See `Session.resume`."""
        return await (await self.session(session)).resume()

    async def archive(self, session: str) -> None:
        """See `Runtime.archive`."""
        session_id = SessionId(session)
        if WITHIN.get() == session_id and await self._has_run(session_id):
            raise SessionBusy("a tool cannot end the session it works for: its run must end first", session=session)
        store, clock = self._opener.store, self._opener.clock
        put_back, interrupted = False, None
        while True:
            row = await store.session(session_id)
            try:
                # Tried whenever something has happened, not only after the end: whoever sends one prompt after the other
                # would always be first.
                open_tasks = (await load_state(store, session_id)).gate.tasks
                ended = [SubagentFinished(t.id, t.session, "cancelled") for t in open_tasks if t.action is None]
                await append_outside(store, session_id, [*ended, Archived()], clock)
                for task in ended:
                    await self._opener.subagents.stop(task.child, "the session that it works for is archived")
                await self._opener.subagents.stop_below(session_id, "the session that it works for is archived")
                return
            except TaskNotFound:
                continue  # one has ended just now
            except SessionBusy as busy:
                run: RunId | None = busy.details.get("run")
                if run is None and put_back:
                    raise
            if run is None:
                # A rewind's files are being put back. Should the process have died that did it, this one goes on with that.
                put_back = True
                await self._opener.do_once(session_id)
                await self._opener.settle(session_id)
                continue
            if run != interrupted:
                with contextlib.suppress(NoOpenRun):
                    await append_outside(
                        store, session_id, [UserInterrupt(run, reason="the session is archived")], clock, run=run
                    )
                    interrupted = run
                continue
            if row.owner is None:
                await self._opener.do_once(session_id)
            await store.wait(session_id, row.head, OWNER_LOOK_S)

    async def delete(self, session: str) -> None:
        """See `Runtime.delete_session`."""
        session_id, store, parts = SessionId(session), self._opener.store, self._opener.parts
        row = await store.session(session_id)
        if row.status != "archived":
            with contextlib.suppress(SessionArchived):  # by somebody else, just now
                await self.archive(session)
        await self._opener.settle(session_id)
        if parts.checkpoints is not None:
            # Kept files that are damaged must not keep a session from being deleted.
            with contextlib.suppress(StoreError):
                await parts.checkpoints.release(session_id)
        # Before the log, so that a session that is still there tells of what is left of it; and behind it, since a command
        # that was not stopped at once may have written again.
        folder = await folder_of(store, session_id, tenant=row.labels.tenant)
        await remove_folder(folder)
        await self._opener.subagents.deleting(session_id)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + parts.lease_ttl_s
        while True:
            try:
                await store.delete(session_id)
                forget_state(store, session_id)
                break
            except SessionOwned:
                # It has nothing left to do there: its driver lets go, or the lease runs out.
                if loop.time() >= until_s:
                    raise
                await asyncio.sleep(OWNER_LOOK_S)
        await self.drop(session)
        await remove_folder(folder)


def _begin(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_look_at_error)
    return task


def _look_at_error(task: asyncio.Task[Any]) -> None:
    """Those who wait for the task get its error; when they were all cancelled, nobody does, and nothing is amiss."""
    if not task.cancelled():
        task.exception()


__all__ = ["HANDLES", "OPEN_STATUSES", "REST_S", "Desk", "Opener"]
