"""The default store: one SQLite file, or `:memory:`. Implements `EventStore`, `BlobStore`, `DocumentStore` and `Feed`.

This module reads, and puts the pieces together: `database` opens the file, `writer` commits, `hub` wakes waiters in this
process, `bus` those in others, `owners` tells who is alive. Several processes may use one file at the same time.

Reads run on the caller's loop thread, in portions: an indexed read of a few rows costs less than a thread hop, and a long
read on another thread would fight the loop for the interpreter lock with every row. Rules: no statement of SQL stands
here (`sql/queries.sql`); nothing but the writer writes; lease times are wall time of the clock given to `open`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ..contracts import UNLIMITED, Appended, Lease, SavedRule, SessionRow, Snapshot, StoredArtifact
from ..core.agent import AgentRef, AgentSpec, variant_prefix
from ..core.artifact import ArtifactLimits, HeldArtifact
from ..core.budget import Spent
from ..core.errors import (
    AgentNotFound,
    ArtifactNotFound,
    InvalidArgument,
    RevisionConflict,
    SessionNotFound,
    SessionOwned,
    StoreClosed,
    StoreError,
)
from ..core.events import Delta, Draft, Event, Labels
from ..core.feed import DELETED
from ..core.gate import Status, decode_gate
from ..core.ids import AgentName, ArtifactRef, Clock, Seq, SessionId, SystemClock
from ..core.meter import Meter
from ..core.rules import Permissions, Verdict
from .bus import Bus, socket_folder
from .database import Database, Durability
from .documents import SqliteDocuments
from .feed import SqliteFeed
from .hub import Hub, Show, Topic, Underway
from .owners import Owners
from .sql import query
from .writer import ACTIVITY_BITS, FEED, SEQ_BITS, Append, Call, Request, Transaction, Writer, Written

_PORTION = 512
_NO_LABELS = Labels()
_NO_RUN = ("idle", "archived")
_END = (1 << 62) - 1
_labels_decoder = msgspec.json.Decoder(Labels)
_spec_decoder = msgspec.json.Decoder(AgentSpec)


class SqliteStore(SqliteDocuments, SqliteFeed):
    """A store in one SQLite database. Make it with `open`, end it with `close` (or `async with`).

    It may be used from any number of event loops and threads; each gets its own waiters.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None, poll_s: float | None = 1.0) -> None:
        self._database = database
        self._clock: Clock = clock or SystemClock()
        db = database.open()
        self._writer = Writer(database, db, self._committed)
        self._closed = False
        self._hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
        self._underway = Underway()
        self._readers = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._look_db: sqlite3.Connection | None = None
        self._look_version = -1

        file = database.file
        beside = None if file is None or database.read_only else Path(f"{file}.d")
        self._folder = beside
        self._owners = Owners(beside)
        self._bus: Bus | None = None
        if file is not None:
            sockets = None if database.read_only else socket_folder(file, self._owners.token)
            self._bus = Bus(sockets, self._owners.token, self, poll_s=poll_s)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "disk",
        wait_s: float = 10.0,
        clock: Clock | None = None,
        poll_s: float | None = 1.0,
    ) -> Self:
        """Open or make a store. Not async: it takes a few milliseconds, more only while another process migrates it.

        `path`: a file in an existing folder, `:memory:`, or a `file:` URI (`?mode=ro` reads only).
        `durability`: what an acknowledged append survives; `disk` power loss, `process` SIGKILL, `memory` neither.
        `wait_s`: how long to wait for another process's write lock before StoreLocked. `clock`: for leases.
        `poll_s`: seconds between two looks for commits of others whose hint was lost, while somebody waits; None: never.

        Raises StoreTooNew, StoreCorrupt, StoreLocked, StoreReadOnly, StoreError (the folder does not exist).
        """
        return cls(Database(path, durability=durability, wait_s=wait_s), clock=clock, poll_s=poll_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._database)!r}, durability={self.durability!r})"

    @property
    def file(self) -> str | None:
        """The database's file; None for one in memory."""
        return self._database.file

    @property
    def durability(self) -> Durability:
        """What an acknowledged append survives."""
        return self._database.durability

    @property
    def owner(self) -> str:
        """This instance's name for `claim`: others see at once when its process has died."""
        with contextlib.suppress(OSError):  # without a lock file only the lease's time tells
            self._owners.hold()
        return self._owners.name

    # --- appending ---

    async def create(self, session: SessionId, events: Sequence[Draft], *, key: str | None = None) -> Appended:
        return await self._writer.do(Append(session, events, create=True, key=key))

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended:
        return await self._writer.do(Append(session, events, epoch=epoch, expect=expect, key=key))

    async def flush(self) -> None:
        await self._writer.do(Call(lambda _: None))

    # --- reading ---

    async def read(
        self,
        session: SessionId,
        from_seq: Seq = 0,
        *,
        limit: int | None = None,
        types: Sequence[str] | None = None,
        to_seq: Seq | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events with `seq > from_seq` (and `<= to_seq`), in order, or the newest ones first. SessionNotFound."""
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        from_seq = max(from_seq, 0)
        if limit is not None and types is None and not newest_first:
            # Without gaps a limit is nothing but an end.
            to_seq, limit = from_seq + limit if to_seq is None else min(to_seq, from_seq + limit), None
        hub = self._hub()
        topic = None if types is not None or newest_first else hub.topics.get(session)
        if topic is not None:
            shared = self._from_tail(hub, session, topic, from_seq, to_seq)
            if shared is not None:
                return shared
        key, head = self._find(session)
        to = head if to_seq is None else min(to_seq, head)
        if to <= from_seq or limit == 0:
            return []

        name = ("read_events" if types is None else "read_events_of_types") + ("_newest_first" if newest_first else "")
        log = key << SEQ_BITS
        parameters: dict[str, Any] = {"after": log + from_seq, "to": log + to}
        if types is not None:
            parameters["types"] = _json(types)
        left = limit
        events: list[Event] = []
        while True:
            portion = parameters["limit"] = _PORTION if left is None else min(_PORTION, left)
            found = self._select(name, parameters)
            events += [Event(session, seq, at_ms, run, type_, body) for seq, at_ms, run, type_, body in found]
            if left is not None:
                left -= len(found)
            if len(found) < portion or left == 0:
                break
            if newest_first:
                parameters["to"] = log + events[-1].seq - 1
            else:
                parameters["after"] = log + events[-1].seq
            # The log only grows and its end is fixed here, so the portions fit together whatever happens in between.
            await asyncio.sleep(0)
        if topic is not None and not topic.gone and (not topic.tail or from_seq <= topic.tail[-1].seq):
            topic.extend(events)
        return events

    def _from_tail(
        self, hub: Hub, session: SessionId, topic: Topic, from_seq: Seq, to_seq: Seq | None
    ) -> list[Event] | None:
        """What is asked for, if the hot tail has all of it."""
        if to_seq is not None and topic.tail and to_seq <= topic.tail[-1].seq:
            # It ends where the tail is known to reach, so there is nothing newer to look for.
            head = to_seq
        else:
            if not topic.fresh:
                # Many followers woken together share one look at the head.
                self._refresh(hub, session)
                hub.refreshed(topic)
            head = topic.head if to_seq is None else min(to_seq, topic.head)
        if head <= from_seq:
            return []
        topic.used = hub.loop.time()
        return topic.slice(from_seq, head)

    async def session(self, session: SessionId) -> SessionRow:
        topic = self._hub().topics.get(session)
        if topic is not None:
            topic.fresh = False  # whoever sees this row must not then read a log that is shorter
        found = self._select("get_session", {"id": session})
        if not found:
            raise _no_session(session)
        return self._row(found[0], {})

    async def sessions(
        self,
        *,
        limit: int = 50,
        before: tuple[int, SessionId] | None = None,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        tenant: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
    ) -> list[SessionRow]:
        """Newest activity first. `before`: (updated_ms, id) of the last row of the page before. `prefix`: of the id."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        before_ms, before_id = before or (_END, SessionId(""))
        found = self._select(
            "list_sessions" if prefix is None else "list_sessions_by_prefix",
            {
                "limit": limit,
                "before_ms": before_ms,
                "before_id": before_id,
                "before_activity": before_ms >> ACTIVITY_BITS,
                "statuses": None if statuses is None else _json(statuses),
                "workspace": workspace,
                "tenant": tenant,
                "prefix": prefix,
                "archived": include_archived,
            },
        )
        return await self._rows(found)

    async def session_page(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, SessionId] | None = None,
        ascending: bool = False,
        statuses: Sequence[Status] | None = None,
        agent: AgentName | None = None,
        agent_version: int | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
        include_archived: bool = True,
    ) -> list[SessionRow]:
        """See `EventStore.session_page`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        at_ms, at_id = after or ((-1, SessionId("")) if ascending else (_END, SessionId("")))
        parameters = {
            "tenant": tenant,
            "limit": limit,
            "at_ms": at_ms,
            "at_id": at_id,
            "statuses": None if statuses is None else _json(statuses),
            "agent": agent,
            "agent_version": agent_version,
            "variants": None if agent is None else variant_prefix(agent, agent_version),
            "from_ms": created_from_ms,
            "to_ms": created_to_ms,
            "archived": include_archived,
        }
        return await self._rows(self._select("page_sessions" if ascending else "page_sessions_newest_first", parameters))

    async def _rows(self, found: list[Any]) -> list[SessionRow]:
        rows: list[SessionRow] = []
        dead: dict[str, bool] = {}
        for start in range(0, len(found), _PORTION):
            if start:
                await asyncio.sleep(0)
            rows += [self._row(one, dead) for one in found[start : start + _PORTION]]
        return rows

    async def session_counts(self) -> dict[Status, int]:
        """See `EventStore.session_counts`."""
        return dict(self._select("count_sessions", ()))

    async def working_sessions(self, tenant: str | None) -> int:
        """See `EventStore.working_sessions`."""
        return int(self._select("count_working", (tenant,))[0][0])

    def has_ended(self, owner: str) -> bool:
        """See `EventStore.has_ended`."""
        return self._owners.dead(owner)

    async def spent(self, session: SessionId) -> Spent:
        """What the session and all that worked for it have used up, deleted ones included. SessionNotFound."""
        found = self._select("spent", (session,))
        if not found:
            raise _no_session(session)
        return Meter(*found[0]).spent()

    async def delete(self, session: SessionId) -> None:
        """Remove the log and all that only it used. SessionOwned while another live owner drives it."""

        def apply(transaction: Transaction) -> None:
            key, _, owner, until = _lease(transaction, session)
            if (
                owner is not None
                and owner != self._owners.name
                and until > self._clock.now_ms()
                and not self._owners.dead(owner)
            ):
                raise SessionOwned(f"session {session!r} is driven by {owner}", session=session, owner=owner)
            row = transaction.row(session)
            assert row is not None
            transaction.feed_session(key, DELETED, row.head, self._clock.now_ms())
            children = [SessionId(id_) for (id_,) in transaction.execute("children", (key,))]
            transaction.execute("hand_over_children", {"key": key})
            for child in children:
                transaction.forget(child)
            transaction.execute("delete_artifacts", {"session": key})
            transaction.execute("delete_events", {"session": key})
            for name in ("delete_artifact_uses", "delete_keys", "delete_snapshot", "delete_session"):
                transaction.execute(name, (key,))
            transaction.forget(session, deleted=True)

        await self._writer.do(Call(apply))

    # --- leases ---

    async def alive(self, owner: str) -> bool:
        return not await asyncio.to_thread(self._owners.dead, owner)

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        """A lease with a new epoch, or None while another live owner holds one; `force` takes it anyway.

        An owner is dead when its lease ran out by this store's clock, or at once when it was another instance's `owner`
        and that instance has closed or its process has died. Whoever holds the lease already gets it anew.
        """

        def apply(transaction: Transaction) -> Lease | None:
            key, epoch, holder, until = _lease(transaction, session)
            now = self._clock.now_ms()
            if not force and holder not in (None, owner) and until > now and not self._owners.dead(str(holder)):
                return None
            transaction.execute("claim", {"key": key, "epoch": epoch + 1, "owner": owner, "until": now + int(ttl_s * 1000)})
            transaction.forget(session)
            return Lease(session, epoch + 1, owner, ttl_s)

        return await self._writer.do(Call(apply))

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""

        def apply(transaction: Transaction) -> bool:
            until = self._clock.now_ms() + int(lease.ttl_s * 1000)
            parameters = {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner, "until": until}
            return transaction.execute("renew", parameters).rowcount == 1

        return await self._writer.do(Call(apply))

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""

        def apply(transaction: Transaction) -> None:
            transaction.execute("release", {"id": lease.session, "epoch": lease.epoch, "owner": lease.owner})

        await self._writer.do(Call(apply))

    # --- snapshots, agents, artifacts ---

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None:
        """Keep it in place of an older one. SessionNotFound."""

        def apply(transaction: Transaction) -> None:
            transaction.execute(
                "put_snapshot",
                {
                    "session": _key(transaction, session),
                    "seq": snapshot.seq,
                    "version": snapshot.version,
                    "state": snapshot.state,
                },
            )

        await self._writer.do(Call(apply))

    async def get_snapshot(self, session: SessionId) -> Snapshot | None:
        """SessionNotFound."""
        found = self._select("get_snapshot", (session,))
        if not found:
            raise _no_session(session)
        seq, version, state = found[0]
        return None if seq is None else Snapshot(seq, version, state)

    async def put_agent(self, spec: AgentSpec, *, expect: int | None = None) -> AgentRef:
        """See `EventStore.put_agent`."""

        def apply(transaction: Transaction) -> AgentRef:
            newest = transaction.execute("newest_agent", (spec.name,)).fetchone()
            if expect is not None and expect != (found := 0 if newest is None else newest[0]):
                text = f"agent {spec.name!r} was changed meanwhile: its newest version is {found}, not {expect}"
                raise RevisionConflict(text, agent=spec.name, version=found)
            if newest is not None and _spec_decoder.decode(newest[1]) == spec:
                return AgentRef(spec.name, newest[0])
            version = 1 if newest is None else newest[0] + 1
            transaction.execute("insert_agent", (spec.name, version, msgspec.json.encode(spec).decode()))
            return AgentRef(spec.name, version)

        return await self._writer.do(Call(apply))

    async def get_agent(self, name: str, version: int | None = None) -> tuple[AgentRef, AgentSpec]:
        """That version, or the newest. AgentNotFound."""
        parameters = (name,) if version is None else (name, version)
        found = self._select("newest_agent" if version is None else "get_agent", parameters)
        if not found:
            which = f"agent {name!r}" if version is None else f"version {version} of agent {name!r}"
            raise AgentNotFound(f"there is no {which}", agent=name, version=version)
        return AgentRef(AgentName(name), found[0][0]), _spec_decoder.decode(found[0][1])

    async def agents(self) -> list[AgentRef]:
        """The newest version of each agent, by name."""
        return [AgentRef(AgentName(name), version) for name, version in self._select("list_agents")]

    async def agent_versions(self, name: str) -> list[AgentRef]:
        """All versions of the agent, oldest first. AgentNotFound."""
        found = self._select("list_agent_versions", (name,))
        if not found:
            raise AgentNotFound(f"there is no agent {name!r}", agent=name)
        return [AgentRef(AgentName(name), version) for name, version in found]

    async def save_rule(
        self, verdict: Verdict, rule: str, *, workspace: str | None = None, tenant: str | None = None
    ) -> None:
        """Keep a permission rule; the same again with another verdict replaces it. ConfigurationError."""
        Permissions(deny=(rule,))  # one that cannot be read is refused

        def apply(transaction: Transaction) -> None:
            transaction.execute("save_rule", (tenant or "", workspace or "", rule, verdict, self._clock.now_ms()))

        await self._writer.do(Call(apply))

    async def rules(self, *, workspace: str | None = None, tenant: str | None = None) -> list[SavedRule]:
        """The rules saved for just this folder and tenant, oldest first."""
        return [SavedRule(*found) for found in self._select("list_rules", (tenant or "", workspace or ""))]

    async def delete_rule(self, rule: str, *, workspace: str | None = None, tenant: str | None = None) -> bool:
        """Forget the rule; False when there is none."""

        def apply(transaction: Transaction) -> bool:
            return transaction.execute("delete_rule", (tenant or "", workspace or "", rule)).rowcount > 0

        return await self._writer.do(Call(apply))

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = UNLIMITED,
        pinned: bool = False,
    ) -> StoredArtifact:
        """Keep `content` for the session, then let go of what is beyond `limits`. SessionNotFound."""
        ref = ArtifactRef(f"sha256:{hashlib.sha256(content).hexdigest()}")

        def apply(transaction: Transaction) -> StoredArtifact:
            key = _key(transaction, session)
            known = transaction.execute("find_artifact", (ref,)).fetchone()
            if known is None:
                transaction.execute("insert_artifact", (ref, len(content), media_type, content))
            now = self._clock.now_ms()
            transaction.execute("use_artifact", {"session": key, "ref": ref, "now": now})
            if pinned:
                transaction.execute("pin_artifact", {"session": key, "ref": ref, "pinned": True})
            _trim(transaction, session, key, limits, now)
            return StoredArtifact(ref, len(content), media_type if known is None else known[2])

        return await self._writer.do(Call(apply))

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        """ArtifactNotFound."""
        found = self._select("get_artifact", (ref,))
        if not found:
            raise _no_artifact(ref, self._select("artifact_released", (ref,))[0][0])
        _, size, media_type, content = found[0]
        return StoredArtifact(ref, size, media_type), content

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        """What the session holds, oldest first. SessionNotFound."""
        self._find(session)
        return [
            HeldArtifact(ref, size, media_type, bool(pinned), stored_ms)
            for ref, size, media_type, pinned, stored_ms in self._select("held_artifacts", (session,))
        ]

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        """Pin what the session holds, or take the pin out. SessionNotFound, ArtifactNotFound."""

        def apply(transaction: Transaction) -> bool:
            key = _key(transaction, session)
            found = transaction.execute("artifact_use", (key, ref)).fetchone()
            if found is None:
                raise ArtifactNotFound(f"session {session} holds no artifact {ref!r}", session=session, ref=ref)
            if found[1] is not None:
                raise _no_artifact(ref, found[1])
            if bool(found[0]) == pinned:
                return False
            transaction.execute("pin_artifact", {"session": key, "ref": ref, "pinned": pinned})
            return True

        return await self._writer.do(Call(apply))

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        """Let go of what the session holds, pinned or not; False when it holds no such thing. SessionNotFound."""
        now = self._clock.now_ms()

        def apply(transaction: Transaction) -> bool:
            key = _key(transaction, session)
            found = transaction.execute("artifact_use", (key, ref)).fetchone()
            if found is None or found[1] is not None:
                return False
            transaction.execute("release_artifact", {"session": key, "ref": ref, "now": now})
            transaction.execute("delete_unused_artifact", {"ref": ref})
            return True

        return await self._writer.do(Call(apply))

    # --- waking and deltas ---

    async def wait(self, session: SessionId, after: Seq, timeout_s: float | None = None) -> Seq:
        """Return the head as soon as it is greater than `after`, or when the time is over. SessionNotFound."""
        hub = self._hub()
        topic = hub.topic(session)
        if topic.head > after:
            return topic.head
        if self._bus is not None:
            # Listening begins before the head is looked up, so that no commit falls between the two.
            self._bus.start()
            self._bus.look_soon()
        if topic.head < 0 or (timeout_s is not None and timeout_s <= 0):
            self._refresh(hub, session)
        return await hub.wait(session, topic, after, timeout_s)

    async def wait_feed(self, after: int, timeout_s: float | None = None) -> int:
        """Return the feed's last position as soon as it is greater than `after`, or when the time is over."""
        return await self.wait(FEED, after + 1, timeout_s) - 1

    def publish(self, delta: Delta) -> None:
        """Show a delta to whoever watches the session now, in this process and others. Never blocks, may drop."""
        if self._closed:
            return
        with self._underway.lock:
            self._underway.grow(delta)
            targets = self._targets(delta.session)
        self._show(targets, delta)
        bus = self._bus
        if bus is not None:
            bus.start()
            if bus.wanted(delta.session):
                bus.post(delta)

    def watch(self, session: SessionId, show: Show) -> Callable[[], None]:
        """Call `show` with each delta of the session from now on; what is on its way is first shown from its beginning.

        Returns the function that ends it. `show` runs on the event loop and must not block.
        """
        hub = self._hub()
        with self._underway.lock:
            backlog = self._underway.backlog(session)
            first = not self._targets(session)
            hub.watchers.setdefault(session, []).append(show)
        for delta in backlog:
            show(delta)
        if self._bus is not None:
            self._bus.start()
            if first:
                self._bus.watch(session)
        ended = False

        def end() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            with self._underway.lock:
                shows = hub.watchers.get(session, [])
                with contextlib.suppress(ValueError):
                    shows.remove(show)
                if not shows:
                    hub.watchers.pop(session, None)
                last = not self._targets(session)
                if last:
                    self._underway.forget_remote(session)
            if last and self._bus is not None and not self._closed:
                self._bus.unwatch(session)

        return end

    async def close(self) -> None:
        """Finish what was asked before, wake every waiter with StoreClosed, and free all. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        for hub in list(self._hubs.values()):
            self._call(hub, hub.close)
        self._hubs.clear()
        if self._bus is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._bus.close)
        with self._lock:
            for db in self._connections:
                with contextlib.suppress(sqlite3.Error):
                    db.close()
            self._connections.clear()
        self._owners.close()
        if self._folder is not None:
            with contextlib.suppress(OSError):  # others may still use it
                self._folder.rmdir()

    # --- what the bus asks, on its thread ---

    def moved(self, session: SessionId, head: Seq, ended: Sequence[str]) -> None:
        if ended:
            with self._underway.lock:
                self._underway.forget(session, ended)
        for hub in list(self._hubs.values()):
            if hub.interested(session):
                self._call(hub, hub.committed, session, head, ())

    def shown(self, delta: Delta, *, anew: bool) -> bool:
        with self._underway.lock:
            targets = self._targets(delta.session)
            if not targets:
                return True
            if self._underway.missing(delta):
                if not anew:
                    return False
                self._underway.begin(delta)
            new = self._underway.grow(delta, remote=True)
        if new is not None:
            self._show(targets, new)
        return True

    def backlog(self, session: SessionId) -> list[Delta]:
        with self._underway.lock:
            return self._underway.backlog(session, remote=False)

    def waiting(self) -> bool:
        return any(hub.topics for hub in list(self._hubs.values()))

    def look(self, *, sure: bool) -> None:
        try:
            if self._look_db is None:
                self._look_db = self._connect()
            version = self._look_db.execute("PRAGMA data_version").fetchone()[0]
            if version == self._look_version and not sure:
                return
            for hub in list(self._hubs.values()):
                for session, topic in list(hub.topics.items()):
                    if session == FEED:
                        head = self._look_db.execute(query("feed_head")).fetchone()[0] + 1
                    else:
                        found = self._look_db.execute(query("head"), (session,)).fetchone()
                        head = 0 if found is None else found[1]
                    if head != topic.head:
                        self._call(hub, hub.committed, session, head, ())
            self._look_version = version
        except (sqlite3.Error, StoreError):
            # The next look tries again; readers meet the fault themselves.
            if self._look_db is not None:
                self._disconnect(self._look_db)
            self._look_db, self._look_version = None, -1

    # --- within ---

    def _committed(self, written: list[Written], batch: list[Request[Any]]) -> bool:
        """On the thread that committed: wake waiters, answer the requests, tell the other processes."""
        for one in written:
            if one.ended and one.session in self._underway:
                with self._underway.lock:
                    self._underway.forget(one.session, one.ended)
        news: dict[asyncio.AbstractEventLoop, list[tuple[Hub, SessionId, Seq, list[Event]]]] = {}
        if written:
            for hub in list(self._hubs.values()):
                for one in written:
                    if hub.interested(one.session):
                        news.setdefault(hub.loop, []).append((hub, one.session, one.head, one.events()))
        settled: dict[asyncio.AbstractEventLoop, list[Request[Any]]] = {}
        for request in batch:
            if request.loop is not None:
                settled.setdefault(request.loop, []).append(request)
        here = _running_loop()
        for loop in {*news, *settled}:
            if loop is here:
                _deliver(news.get(loop, ()), settled.get(loop, ()))
                continue
            # A loop that has been closed in the meantime has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, news.get(loop, ()), settled.get(loop, ()))
        if written and self._bus is not None:
            self._bus.hint([(one.session, one.head, one.ended) for one in written])
        return bool(news)

    def _hub(self) -> Hub:
        if self._closed:
            raise StoreClosed()
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(loop)
        if hub is None:
            with self._lock:
                for gone in [one for one in self._hubs if one.is_closed()]:
                    del self._hubs[gone]
                hub = self._hubs[loop] = Hub(loop)
        return hub

    def _call(self, hub: Hub, function: Callable[..., None], *arguments: Any) -> None:
        if hub.loop is _running_loop():
            function(*arguments)
            return
        with contextlib.suppress(RuntimeError):
            hub.loop.call_soon_threadsafe(function, *arguments)

    def _targets(self, session: SessionId) -> list[tuple[Hub, tuple[Show, ...]]]:
        return [(hub, tuple(shows)) for hub in list(self._hubs.values()) if (shows := hub.watchers.get(session))]

    def _show(self, targets: list[tuple[Hub, tuple[Show, ...]]], delta: Delta) -> None:
        for hub, shows in targets:
            self._call(hub, _show, hub, shows, delta)

    def _row(self, found: Sequence[Any], dead: dict[str, bool]) -> SessionRow:
        (
            id_,
            status,
            head,
            created,
            updated,
            agent,
            version,
            workspace,
            name,
            labels,
            owner,
            until,
            epoch,
            queued,
            actions,
            prompt,
            gate,
            parent,
        ) = found
        if owner is not None:
            if until <= self._clock.now_ms():
                owner = None
            else:
                if owner not in dead:
                    dead[owner] = self._owners.dead(owner)
                if dead[owner]:
                    owner = None
        return SessionRow(
            id=id_,
            status=status,
            head=head,
            created_ms=created,
            updated_ms=updated,
            agent=AgentRef(agent, version),
            workspace=workspace,
            name=name,
            labels=_NO_LABELS if labels == "{}" else _labels_decoder.decode(labels),
            owner=owner,
            run=None if status in _NO_RUN else decode_gate(gate).run,
            epoch=epoch,
            queued=queued,
            actions=actions,
            first_prompt=prompt,
            parent=parent,
        )

    def _refresh(self, hub: Hub, session: SessionId) -> None:
        """Tell the hub the head as the database has it. SessionNotFound."""
        try:
            hub.committed(session, self._find(session)[1], ())
        except SessionNotFound:
            hub.committed(session, 0, ())
            raise

    def _find(self, session: SessionId) -> tuple[int, Seq]:
        if session == FEED:
            return 0, self._select("feed_head")[0][0] + 1
        found = self._select("head", (session,))
        if not found:
            raise _no_session(session)
        key, head = found[0]
        return key, head

    def _select(self, name: str, parameters: Any = ()) -> list[Any]:
        """All rows of a named query, on this thread's own connection."""
        if self._closed:
            raise StoreClosed()
        db: sqlite3.Connection | None = None
        try:
            if self._database.memory:
                with self._writer.lock:
                    return self._writer.connection.execute(query(name), parameters).fetchall()
            db = getattr(self._readers, "db", None)
            if db is None:
                db = self._readers.db = self._connect()
            return db.execute(query(name), parameters).fetchall()
        except sqlite3.Error as error:
            if db is not None:
                # What it has cached may be part of the fault.
                self._readers.db = None
                self._disconnect(db)
            raise self._database.translate(error) from error

    def _connect(self) -> sqlite3.Connection:
        db = self._database.connect()
        with self._lock:
            self._connections.append(db)
        return db

    def _disconnect(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if db in self._connections:
                self._connections.remove(db)
        with contextlib.suppress(sqlite3.Error):
            db.close()


def _deliver(news: Sequence[tuple[Hub, SessionId, Seq, list[Event]]], settled: Sequence[Request[Any]]) -> None:
    for hub, session, head, events in news:
        hub.committed(session, head, events)
    for request in settled:
        request.settle()


def _show(hub: Hub, shows: Sequence[Show], delta: Delta) -> None:
    for show in shows:
        try:
            show(delta)
        except Exception as error:
            # A broken watcher must neither stop the publisher nor the other watchers.
            hub.loop.call_exception_handler({"message": f"a watcher of {delta.session} failed", "exception": error})


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _lease(transaction: Transaction, session: SessionId) -> tuple[int, int, str | None, int]:
    found: tuple[int, int, str | None, int] | None = transaction.execute("lease", (session,)).fetchone()
    if found is None:
        raise _no_session(session)
    return found


def _key(transaction: Transaction, session: SessionId) -> int:
    row = transaction.row(session)
    if row is None:
        raise _no_session(session)
    return row.key


def _trim(transaction: Transaction, session: SessionId, key: int, limits: ArtifactLimits, now: int) -> None:
    """Let go of the oldest artifacts until the limits hold, or only pinned ones are left."""

    def release(holder: int, ref: str) -> bool:
        """True when the content went with it."""
        transaction.execute("release_artifact", {"session": holder, "ref": ref, "now": now})
        return transaction.execute("delete_unused_artifact", {"ref": ref}).rowcount > 0

    if limits.max_artifacts is not None or limits.max_bytes is not None:
        held = transaction.execute("held_artifacts", (session,)).fetchall()
        count, size = len(held), sum(one[1] for one in held)
        for ref, own, _, pinned, _ in held:
            if not _beyond(count, limits.max_artifacts) and not _beyond(size, limits.max_bytes):
                break
            if not pinned:
                release(key, ref)
                count, size = count - 1, size - own
    if limits.total_artifacts is not None or limits.total_bytes is not None:
        count, size = transaction.execute("artifact_totals").fetchone()
        while _beyond(count, limits.total_artifacts) or _beyond(size, limits.total_bytes):
            oldest = transaction.execute("oldest_artifact_uses").fetchall()
            for holder, ref, own in oldest:
                if release(holder, ref):
                    count, size = count - 1, size - own
                if not _beyond(count, limits.total_artifacts) and not _beyond(size, limits.total_bytes):
                    break
            if not oldest:
                break


def _beyond(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit


def _no_artifact(ref: ArtifactRef, released_ms: int | None) -> ArtifactNotFound:
    if released_ms is None:
        return ArtifactNotFound(f"there is no artifact {ref!r}", ref=ref)
    when = datetime.fromtimestamp(released_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return ArtifactNotFound(
        f"artifact {ref!r} was let go of at {when}, by a person or when newer ones reached the limit: pin what must stay",
        ref=ref,
        released_ms=released_ms,
    )


def _no_session(session: SessionId) -> SessionNotFound:
    return SessionNotFound(f"there is no session {session!r}", session=session)


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


__all__ = ["SqliteStore"]
