"""Hints and deltas between the processes of one PostgreSQL database, over NOTIFY.

One connection does nothing but LISTEN: whatever else it did would hold notices up. Another sends, after the commit and
never in the transaction of an append, which would make all commits of the server wait for each other: at once when it is
idle, merged while something is on its way. What is told goes to all; deltas are sent only while another process watches
their session.

Nothing here is needed for correctness. Data is always read from the log; whatever is lost, a look at all heads that are
waited for finds within `poll_s`, and a stored event replaces the deltas that were missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from ...core.errors import GodwitError
from ...core.events import Delta
from ...core.ids import Seq, SessionId
from ..letters import Deltas, Hello, Hint, Hints, Watch
from .connections import Patience
from .database import Database
from .outbox import Outbox, read

_DELTA_WAIT_S = 0.03
_ASK_AGAIN_S = 0.1
_SAY_AGAIN_S = 20.0
"""Who watches says so again, so that who has died is forgotten after twice this time."""
_PORTION = 50


class Office(Protocol):
    """What the bus needs of its store."""

    def moved(self, session: SessionId, head: Seq, ended: Sequence[str]) -> None:
        """Another process committed."""
        ...

    def shown(self, delta: Delta, *, anew: bool) -> bool:
        """Another process published; False when text before it is missing. `anew`: there is none before it any more."""
        ...

    def backlog(self, session: SessionId) -> list[Delta]:
        """What this process itself published of the session and is not stored yet."""
        ...

    def waiting(self) -> bool:
        """Whether anybody waits, so that a lost hint would be felt."""
        ...

    async def look(self) -> None:
        """Compare every head somebody waits for with the database."""
        ...


class Bus:
    """`poll_s`: seconds between two looks while somebody waits, None for never. Belongs to one event loop."""

    def __init__(self, database: Database, token: str, office: Office, *, poll_s: float | None) -> None:
        self._database = database
        self._token = token
        self._office = office
        self._poll_s = poll_s
        self._channel = f"godwit_{database.schema}"
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._bell = asyncio.Event()
        self._cut = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._looks: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._watched: set[SessionId] = set()
        self._watching: dict[SessionId, dict[str, float]] = {}  # until when, by the session and who watches it
        self._asked: dict[SessionId, float] = {}
        self._due = 0.0
        self._closed = False
        self.listening = asyncio.Event()
        """Set while notices of others arrive."""

    # --- what the store asks ---

    def start(self) -> None:
        """Begin to listen. Idempotent."""
        if not self._tasks and not self._closed:
            self._tasks = [self._loop.create_task(self._listen(), name="godwit-listen")]
            if self._poll_s is not None:
                self._tasks.append(self._loop.create_task(self._poll(self._poll_s), name="godwit-poll"))

    def look_soon(self) -> None:
        """Nothing: the poll goes by its own time."""

    def hint(self, heads: list[Hint]) -> None:
        """Tell the others that these sessions have grown."""
        self._outbox.add_hints(heads)
        self._send_soon()

    def wanted(self, session: SessionId) -> bool:
        """Whether another process watches the session."""
        return session in self._watching

    def post(self, delta: Delta) -> None:
        """Send a delta to those that watch, within 30 ms."""
        now = self._loop.time()
        watching = self._watching.get(delta.session, {})
        for token in [token for token, until in watching.items() if until < now]:
            del watching[token]
        if not watching:
            self._watching.pop(delta.session, None)
            return
        self._outbox.add_delta(delta)
        if self._due <= now:
            self._due = now + _DELTA_WAIT_S
            self._loop.call_at(self._due, self._send_soon)

    def watch(self, session: SessionId) -> None:
        """Ask the others for the session's deltas and the text so far."""
        self._watched.add(session)
        self._tell_watch([session], True)

    def unwatch(self, session: SessionId) -> None:
        self._watched.discard(session)
        self._asked.pop(session, None)
        self._tell_watch([session], False)

    async def close(self) -> None:
        """Send what there is to be sent, and end."""
        if self._closed:
            return
        self._closed = True
        self._bell.set()
        if self._sender is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._sender), 1.0)
            self._sender.cancel()
        for task in (*self._tasks, *self._looks):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._looks, *([self._sender] if self._sender else []), return_exceptions=True)

    # --- listening ---

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                await self._hear()
            self.listening.clear()
            await asyncio.sleep(0.05)  # the server may refuse at once, again and again

    async def _hear(self) -> None:
        """One connection, as long as it holds."""
        db = await self._connected("godwit listener")
        self._cut.clear()
        try:
            db.add_termination_listener(lambda _: self._cut.set())
            await db.add_listener(self._channel, self._heard)
            self.listening.set()
            self._outbox.add(Hello())
            self._tell_watch(list(self._watched), True)
            # What was told while nobody listened is found by looking.
            await self._office.look()
            while not self._cut.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._cut.wait(), _SAY_AGAIN_S)
                self._tell_watch(list(self._watched), True)
        finally:
            db.terminate()

    def _heard(self, _db: object, _pid: int, _channel: str, notice: object) -> None:
        found = read(str(notice))
        if found is None or found[0] == self._token or found[1] not in ("*", self._token):
            return
        sender, _, letter = found
        match letter:
            case Hints():
                for session, head, ended in letter.heads:
                    self._office.moved(session, head, ended)
                if letter.unsure:
                    look = self._loop.create_task(self._look())
                    self._looks.add(look)
                    look.add_done_callback(self._looks.discard)
            case Deltas():
                for delta in letter.deltas:
                    if delta.session in self._watched and not self._office.shown(delta, anew=letter.anew):
                        self._ask_again(delta.session, sender)
            case Hello():
                self._tell_watch(list(self._watched), True, sender)
            case Watch():
                self._serve(sender, letter)

    def _serve(self, sender: str, letter: Watch) -> None:
        for session in letter.sessions:
            if letter.on:
                watching = self._watching.setdefault(session, {})
                known, watching[sender] = sender in watching, self._loop.time() + 2 * _SAY_AGAIN_S
                # Who only says it again has what there is; who asks again is not known any more, see `_ask_again`.
                if not known and (backlog := self._office.backlog(session)):
                    self._outbox.add(Deltas(backlog, True), sender)
                    self._send_soon()
            elif session in self._watching:
                self._watching[session].pop(sender, None)
                if not self._watching[session]:
                    del self._watching[session]

    def _ask_again(self, session: SessionId, sender: str) -> None:
        now = self._loop.time()
        if now - self._asked.get(session, 0.0) > _ASK_AGAIN_S:
            self._asked[session] = now
            self._tell_watch([session], False, sender)
            self._tell_watch([session], True, sender)

    def _tell_watch(self, sessions: list[SessionId], on: bool, to: str = "*") -> None:
        for start in range(0, len(sessions), _PORTION):
            self._outbox.add(Watch(sessions[start : start + _PORTION], on), to)
        self._send_soon()

    # --- the safety net ---

    async def _poll(self, poll_s: float) -> None:
        while True:
            await asyncio.sleep(poll_s)
            if self._office.waiting():
                await self._look()

    async def _look(self) -> None:
        with contextlib.suppress(GodwitError):  # the next one tries again; readers meet the fault themselves
            await self._office.look()

    # --- sending ---

    def _send_soon(self) -> None:
        if self._outbox and not self._closed:
            if self._sender is None:
                self._sender = self._loop.create_task(self._send(), name="godwit-notify")
            self._bell.set()

    async def _send(self) -> None:
        db: Any = None
        try:
            while True:
                self._bell.clear()
                while self._outbox:
                    notices = self._outbox.emptied(self._token)
                    try:
                        if db is None or db.is_closed():
                            # A notice is worth no disk.
                            db = await self._connected("godwit notifier", synchronous_commit="off")
                        await db.execute("SELECT pg_notify($1, n) FROM unnest($2::text[]) AS n", self._channel, notices)
                    except Exception:
                        if db is not None:
                            db.terminate()
                        db = None
                        if self._closed:
                            return
                        await asyncio.sleep(0.05)
                if self._closed:
                    return
                await self._bell.wait()
        finally:
            if db is not None:
                with contextlib.suppress(Exception):
                    await db.close(timeout=1)

    async def _connected(self, name: str, **settings: str) -> Any:
        """A connection, however long that takes."""
        patience = Patience(self._database)
        while True:
            try:
                return await self._database.connect(application_name=name, **settings)
            except GodwitError:
                if not await patience.nap():
                    patience = Patience(self._database)
                    await asyncio.sleep(1.0)


__all__ = ["Bus", "Office"]
