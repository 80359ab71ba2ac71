"""The logs of sessions, with their snapshots: appended, deleted, and read from the database. A part of every store here.

Leaves out what followers share of a log (`sqlite_logs`). Rule: a read of many events goes in portions, so that the loop
stays free for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..contracts import Appended, Snapshot
from ..core.errors import SessionOwned
from ..core.events import Draft, Event
from ..core.feed import DELETED
from ..core.ids import Seq, SessionId
from .batch import FEED, SEQ_BITS, Unit
from .documents import delete_documents_of
from .part import PORTION, StorePart, as_json, no_session, session_key
from .requests import ARTIFACTS, Append, Call, Fork


class LogsPart(StorePart):
    """What a store does with logs."""

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
        await self._writer.do(Call(_nothing))

    async def _read_stored(
        self,
        session: SessionId,
        from_seq: Seq,
        limit: int | None,
        types: Sequence[str] | None,
        to_seq: Seq | None,
        newest_first: bool,
    ) -> list[Event]:
        """What the database has of it. SessionNotFound."""
        key, head, forked = await self._find_log(session)
        to = head if to_seq is None else min(to_seq, head)
        if to <= from_seq or limit == 0:
            return []
        if from_seq >= forked:
            return await self._read_parts(session, [(key, from_seq, to)], limit, types, newest_first)
        # Deleting the origin hands its events over to another log: what was read before and after must be of one time.
        events: list[Event] = []
        parts = None
        while parts != (known := await self._select("log_parts", (key,))):
            parts = known
            events = await self._read_parts(session, within(parts, key, from_seq, to), limit, types, newest_first)
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
                found = await self._select(name, parameters)
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

    async def _find_log(self, session: SessionId) -> tuple[int, Seq, Seq]:
        """The session's key, its head, and up to which seq the log is as its parts say. SessionNotFound."""
        if session == FEED:
            return (*await self._look_up(session), 0)
        found = await self._select("head", (session,))
        if not found:
            raise no_session(session)
        key, head, forked = found[0]
        return key, head, forked

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None:
        """Keep it in place of an older one. SessionNotFound."""

        async def apply(transaction: Unit) -> None:
            await transaction.do(
                "put_snapshot",
                {
                    "session": await session_key(transaction, session),
                    "seq": snapshot.seq,
                    "version": snapshot.version,
                    "state": snapshot.state,
                },
            )

        await self._writer.do(Call(apply))

    async def get_snapshot(self, session: SessionId) -> Snapshot | None:
        """SessionNotFound."""
        found = await self._select("get_snapshot", (session,))
        if not found:
            raise no_session(session)
        seq, version, state = found[0]
        return None if seq is None else Snapshot(seq, version, state)

    async def delete(self, session: SessionId) -> None:
        """Remove the log, all that only it used, and the documents that go with it. SessionOwned while another live owner
        drives it."""

        async def apply(transaction: Unit) -> None:
            row = await transaction.find(session)
            if row is None:
                raise no_session(session)
            owner, key = await self._other_driver(transaction, session), row.key
            if owner is not None:
                raise SessionOwned(f"session {session!r} is driven by {owner}", session=session, owner=owner)
            await transaction.feed_session(row, DELETED, row.head, self._clock.now_ms())
            children = [SessionId(id_) for (id_,) in await transaction.all("children", (key,))]
            await transaction.do("hand_over_children", {"key": key})
            for child in children:
                transaction.forget(child)
            await transaction.do("delete_artifacts", {"session": key})
            await _hand_over(transaction, key)
            transaction.logged(row.tenant, row.uncounted - (await transaction.first("log_size", {"session": key}))[0])
            await transaction.do("delete_events", {"session": key})
            await transaction.do("delete_texts", {"session": key})
            for name in ("delete_artifact_uses", "delete_keys", "delete_snapshot", "delete_parts", "delete_session"):
                await transaction.do(name, (key,))
            await delete_documents_of(transaction, session, self._clock.now_ms())
            transaction.forget(session, deleted=True)

        await self._writer.do(Call(apply, about=ARTIFACTS))


async def _nothing(_: Unit) -> None:
    """What is asked of a writer only to hear that it has done all before."""


def within(parts: Sequence[tuple[int, Seq]], key: int, after: Seq, to: Seq) -> list[tuple[int, Seq, Seq]]:
    """Which events of which logs make up the log of `key` behind `after` and up to `to`."""
    found: list[tuple[int, Seq, Seq]] = []
    for log, last in (*parts, (key, to)):
        if after < min(last, to):
            found.append((log, after, min(last, to)))
            after = min(last, to)
    return found


async def _hand_over(transaction: Unit, key: int) -> None:
    """What logs begin with that is in this one goes to the fork that needs most of it, and the others find it there."""
    heir = await transaction.one("heir", (key,))
    if heir is not None:
        await transaction.do("hand_over_events", {"key": key, "heir": heir[0], "last": heir[1]})
        await transaction.do("hand_over_parts", {"key": key, "heir": heir[0]})
        # What was found in the one log is to be found in the other.
        await transaction.do("searched", {"key": heir[0], "seq": 0, "stale": 1})


__all__ = ["LogsPart", "within"]
