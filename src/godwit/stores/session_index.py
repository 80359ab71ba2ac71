"""The index of sessions in SQLite: one of them, pages of them, how many there are, and what one has spent. A part of
`SqliteStore`.

Leaves out their events (`logs`). Rule: the row of a session whose driver has died shows no owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from ..contracts import SessionRow
from ..core.agent import AgentRef, variant_prefix
from ..core.budget import Spent
from ..core.errors import InvalidArgument
from ..core.events import Labels
from ..core.gate import Status, run_of_gate
from ..core.ids import AgentName, SessionId
from ..core.meter import Meter
from .batch import ACTIVITY_BITS
from .part import PORTION, StorePart, as_json, no_session

_NO_LABELS = Labels()


_NO_RUN = ("idle", "archived")


_END = (1 << 62) - 1


_labels_decoder = msgspec.json.Decoder(Labels)


class SessionsPart(StorePart):
    """What `SqliteStore` tells of sessions."""

    async def session(self, session: SessionId) -> SessionRow:
        topic = self._hub().topics.get(session)
        if topic is not None:
            topic.fresh = False  # whoever sees this row must not then read a log that is shorter
        found = await self._select("get_session", {"id": session})
        if not found:
            raise no_session(session)
        return self._row(found[0], {})

    async def sessions_with_tasks(self) -> list[SessionId]:
        """See `EventStore.sessions_with_tasks`."""
        return [SessionId(id_) for (id_,) in await self._select("sessions_with_tasks", ())]

    async def descendants(self, session: SessionId, *, created_from_ms: int | None = None) -> list[SessionId]:
        """See `EventStore.descendants`."""
        wanted = {"session": session, "from_ms": created_from_ms}
        return [SessionId(id_) for (id_,) in await self._select("descendants", wanted)]

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
        parent: SessionId | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """See `EventStore.sessions`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        if parent is not None and top_level:
            raise InvalidArgument("a session with a parent is not at the top: give parent or top_level", parent=parent)
        before_ms, before_id = before or (_END, SessionId(""))
        found = await self._select(
            _listing(prefix, parent),
            {
                "limit": limit,
                "before_ms": before_ms,
                "before_id": before_id,
                "before_activity": before_ms >> ACTIVITY_BITS,
                "statuses": None if statuses is None else as_json(statuses),
                "workspace": workspace,
                "tenant": tenant,
                "prefix": prefix,
                "archived": include_archived,
                "parent": parent,
                "top_level": top_level,
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
        top_level: bool = False,
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
            "statuses": None if statuses is None else as_json(statuses),
            "agent": agent,
            "agent_version": agent_version,
            "variants": None if agent is None else variant_prefix(agent, agent_version),
            "from_ms": created_from_ms,
            "to_ms": created_to_ms,
            "archived": include_archived,
            "top_level": top_level,
        }
        return await self._rows(
            await self._select("page_sessions" if ascending else "page_sessions_newest_first", parameters)
        )

    async def session_counts(self) -> dict[Status, int]:
        """See `EventStore.session_counts`."""
        return dict(await self._select("count_sessions", ()))

    async def working_sessions(self, tenant: str | None) -> int:
        """See `EventStore.working_sessions`."""
        return int((await self._select("count_working", (tenant,)))[0][0])

    async def open_runs(self) -> dict[Status, int]:
        """See `EventStore.open_runs`."""
        return dict(await self._select("count_open_runs", ()))

    async def log_bytes(self, tenant: str | None) -> int:
        """See `EventStore.log_bytes`."""
        found = await self._select("log_bytes", {"tenant": tenant or ""})
        return int(found[0][0]) if found else 0

    async def spent(self, session: SessionId) -> Spent:
        """What the session and all that worked for it have used up, deleted ones included. SessionNotFound."""
        found = await self._select("spent", (session,))
        if not found:
            raise no_session(session)
        return Meter(*found[0]).spent()

    async def _rows(self, found: Sequence[Any]) -> list[SessionRow]:
        rows: list[SessionRow] = []
        dead: dict[str, bool] = {}
        for start in range(0, len(found), PORTION):
            if start:
                await asyncio.sleep(0)
            rows += [self._row(one, dead) for one in found[start : start + PORTION]]
        return rows

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
            origin,
        ) = found
        if owner is not None:
            owner = self._driver(owner, until, dead)
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
            run=None if status in _NO_RUN else run_of_gate(gate),
            epoch=epoch,
            queued=queued,
            actions=actions,
            first_prompt=prompt,
            parent=parent,
            origin=origin,
        )


__all__ = ["SessionsPart"]


def _listing(prefix: str | None, parent: SessionId | None) -> str:
    """The query whose index finds what is asked for."""
    if parent is not None:
        return "list_sessions_by_parent"
    return "list_sessions" if prefix is None else "list_sessions_by_prefix"
