"""The logs of sessions in SQLite, with their snapshots: appended, read, deleted. A part of `SqliteStore`.

Rule: a read of many events goes in portions, so that the loop stays free for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..contracts import Appended, Snapshot
from ..core.errors import InvalidArgument, SessionOwned
from ..core.events import Draft, Event
from ..core.feed import DELETED
from ..core.ids import Seq, SessionId
from .documents import delete_documents_of
from .followers import SqliteFollowers
from .hub import Hub, Topic
from .part import PORTION, as_json, lease_of, no_session, session_key
from .requests import Append, Call, Fork
from .transaction import FEED, SEQ_BITS, Transaction


class SqliteLogs(SqliteFollowers):
    """What `SqliteStore` does with logs."""

    async def create(self, session: SessionId, events: Sequence[Draft], *, key: str | None = None) -> Appended:
        return await self._writer.do(Append(session, events, create=True, key=key))

    async def fork(
        self, session: SessionId, origin: SessionId, at: Seq, events: Sequence[Draft], *, key: str | None = None
    ) -> Appended:
        """See `EventStore.fork`."""
        return await self._writer.do(Fork(session, origin, at, events, key=key))

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
        key, head, forked = self._find_log(session)
        to = head if to_seq is None else min(to_seq, head)
        if to <= from_seq or limit == 0:
            return []
        if from_seq >= forked:
            events = await self._read_parts(session, [(key, from_seq, to)], limit, types, newest_first)
        else:
            # Deleting the origin hands its events over to another log: what was read before and after must be of one time.
            parts = None
            while parts != (known := self._select("log_parts", (key,))):
                parts = known
                events = await self._read_parts(session, _within(parts, key, from_seq, to), limit, types, newest_first)
        if topic is not None and not topic.gone and (not topic.tail or from_seq <= topic.tail[-1].seq):
            topic.extend(events)
        return events

    async def _read_parts(
        self,
        session: SessionId,
        parts: list[tuple[int, Seq, Seq]],
        limit: int | None,
        types: Sequence[str] | None,
        newest_first: bool,
    ) -> list[Event]:
        """`parts`: key of the log, and which of its events: behind the one seq, up to the other; in order."""
        name = ("read_events" if types is None else "read_events_of_types") + ("_newest_first" if newest_first else "")
        left = limit
        events: list[Event] = []
        for key, after, to in reversed(parts) if newest_first else parts:
            log = key << SEQ_BITS
            parameters: dict[str, Any] = {"after": log + after, "to": log + to}
            if types is not None:
                parameters["types"] = as_json(types)
            while left != 0:
                portion = parameters["limit"] = PORTION if left is None else min(PORTION, left)
                found = self._select(name, parameters)
                events += [Event(session, seq, at_ms, run, type_, body) for seq, at_ms, run, type_, body in found]
                if left is not None:
                    left -= len(found)
                if len(found) < portion:
                    break
                if newest_first:
                    parameters["to"] = log + events[-1].seq - 1
                else:
                    parameters["after"] = log + events[-1].seq
                # The log only grows and its end is fixed here, so the portions fit together whatever happens in between.
                await asyncio.sleep(0)
        return events

    def _find_log(self, session: SessionId) -> tuple[int, Seq, Seq]:
        """The session's key, its head, and up to which seq the log is as its parts say. SessionNotFound."""
        if session == FEED:
            return (*self._find(session), 0)
        found = self._select("head", (session,))
        if not found:
            raise no_session(session)
        key, head, forked = found[0]
        return key, head, forked

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

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None:
        """Keep it in place of an older one. SessionNotFound."""

        def apply(transaction: Transaction) -> None:
            transaction.execute(
                "put_snapshot",
                {
                    "session": session_key(transaction, session),
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
            raise no_session(session)
        seq, version, state = found[0]
        return None if seq is None else Snapshot(seq, version, state)

    async def delete(self, session: SessionId) -> None:
        """Remove the log, all that only it used, and the documents that go with it. SessionOwned while another live owner
        drives it."""

        def apply(transaction: Transaction) -> None:
            key, _, owner, until = lease_of(transaction, session)
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
            _hand_over(transaction, key)
            transaction.logged(row.tenant, row.uncounted - transaction.execute("log_size", {"session": key}).fetchone()[0])
            transaction.execute("delete_events", {"session": key})
            transaction.execute("delete_texts", {"session": key})
            for name in ("delete_artifact_uses", "delete_keys", "delete_snapshot", "delete_parts", "delete_session"):
                transaction.execute(name, (key,))
            delete_documents_of(transaction, session, self._clock.now_ms())
            transaction.forget(session, deleted=True)

        await self._writer.do(Call(apply))


def _within(parts: list[tuple[int, Seq]], key: int, after: Seq, to: Seq) -> list[tuple[int, Seq, Seq]]:
    """Which events of which logs make up the log of `key` behind `after` and up to `to`."""
    found: list[tuple[int, Seq, Seq]] = []
    for log, last in (*parts, (key, to)):
        if after < min(last, to):
            found.append((log, after, min(last, to)))
            after = min(last, to)
    return found


def _hand_over(transaction: Transaction, key: int) -> None:
    """What logs begin with that is in this one goes to the fork that needs most of it, and the others find it there."""
    heir = transaction.execute("heir", (key,)).fetchone()
    if heir is not None:
        transaction.execute("hand_over_events", {"key": key, "heir": heir[0], "last": heir[1]})
        transaction.execute("hand_over_parts", {"key": key, "heir": heir[0]})
        # What was found in the one log is to be found in the other.
        transaction.execute("searched", {"key": heir[0], "seq": 0, "stale": 1})


__all__ = ["SqliteLogs"]
