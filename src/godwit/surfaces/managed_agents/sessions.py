"""Routes of sessions: `/v1/sessions`, but for their events."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...contracts import SessionRow
from ...core.agent import AgentRef
from ...core.errors import HeadMoved, InvalidArgument, NotSupported, SessionNotFound
from ...core.gate import Status as OwnStatus
from ...core.ids import AgentName, SessionId
from ...core.principal import Principal
from ...engine.log import load_state
from ..server.money import go_on_as_set, limit_money
from ..server.service import Service
from .agent_shapes import with_tools
from .agents import registry_of
from .body import body
from .caller import Operator, Reader, id_of
from .opening import Opening
from .paging import paged
from .query import Query
from .session_record import STATUSES, SessionRecord, record_of, session_of, shown, status_of
from .session_shapes import AgentPart, SessionCreate, SessionUpdate, usd_of
from .shapes import patched
from .translation import placed, respelled

MOST = 100
"""Sessions on a page."""
_TRIES = 50


def session_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/sessions")
    opening = Opening(service)

    @routes.post("")
    async def create(
        principal: Operator, request: Request, given: Annotated[SessionCreate, Depends(body(SessionCreate))]
    ) -> dict[str, Any]:
        session = await opening.open(principal, given, again=id_of(request, "ses"))
        return await shown(service, await session_of(service, principal, session))

    @routes.get("")
    async def listed(principal: Reader, request: Request) -> dict[str, Any]:
        query = Query(request)
        page = await paged(
            query, "sessions", _Listing(service, principal, query).fetch, _place, order=query.order("desc"), most=MOST
        )
        data = []
        for row in page.rows:
            with contextlib.suppress(SessionNotFound):  # it has gone since
                data.append(await shown(service, await record_of(service, row)))
        return page.body(data, both_ways=True)

    @routes.get("/{session}")
    async def get(principal: Reader, session: str) -> dict[str, Any]:
        return await shown(service, await session_of(service, principal, session))

    @routes.post("/{session}")
    async def update(
        principal: Operator, session: str, given: Annotated[SessionUpdate, Depends(body(SessionUpdate))]
    ) -> dict[str, Any]:
        await service.row(principal, session)
        await _update(service, principal, session, given)
        return await shown(service, await session_of(service, principal, session))

    @routes.post("/{session}/archive")
    async def archive(principal: Operator, session: str) -> dict[str, Any]:
        record = await session_of(service, principal, session)
        if record.status != "terminated":
            _check_rests(record, "archived")
            await service.runtime.archive(session)
        return await shown(service, await session_of(service, principal, session))

    @routes.delete("/{session}")
    async def delete(principal: Operator, session: str) -> dict[str, Any]:
        record = await session_of(service, principal, session)
        _check_rests(record, "deleted")
        await service.runtime.delete_session(session)
        return {"id": session, "type": "session_deleted"}

    return routes


def _check_rests(record: SessionRecord, what: str) -> None:
    """InvalidArgument while a run goes on; one that waits for an answer rests."""
    if record.status in ("running", "rescheduling"):
        raise InvalidArgument(
            f'session {record.row.id!r} cannot be {what} while its status is "{record.status}": '
            "send a user.interrupt event first, or wait until it is idle"
        )


# --- listing ----------------------------------------------------------------------------------------------------------


def _place(row: SessionRow) -> tuple[int, str]:
    return row.created_ms, row.id


class _Listing:
    """The sessions that a query asks for."""

    def __init__(self, service: Service, principal: Principal, query: Query) -> None:
        self._store = service.store
        self._tenant = principal.tenant
        self._statuses = query.texts("statuses", tuple(STATUSES))
        self._archived = query.flag("include_archived") or "terminated" in (self._statuses or ())
        self._agent = query.text("agent_id")
        self._version = query.number("agent_version")
        self._first, self._last = query.moments("created_at")
        # There are none of either here, so there are no sessions of theirs.
        self._none = query.text("deployment_id") is not None or query.text("memory_store_id") is not None
        self._own: list[str] | None = None
        if self._statuses is not None:
            self._own = sorted({own for theirs, owns in STATUSES.items() if theirs in self._statuses for own in owns})

    async def fetch(self, limit: int, after: tuple[int, str] | None, ascending: bool) -> Sequence[SessionRow]:
        found: list[SessionRow] = []
        at = None if after is None else (after[0], SessionId(after[1]))
        while len(found) < limit and not self._none:
            rows = await self._store.session_page(
                tenant=self._tenant,
                limit=limit,
                after=at,
                ascending=ascending,
                statuses=cast("Sequence[OwnStatus] | None", self._own),
                agent=None if self._agent is None else AgentName(self._agent),
                agent_version=self._version,
                created_from_ms=self._first,
                created_to_ms=self._last,
                include_archived=self._archived,
                top_level=True,
            )
            found += [row for row in rows if self._statuses is None or status_of(row) in self._statuses]
            if len(rows) < limit:
                break
            at = (rows[-1].created_ms, rows[-1].id)
        return found[:limit]


# --- changing ---------------------------------------------------------------------------------------------------------


async def _update(service: Service, principal: Principal, session: str, given: SessionUpdate) -> None:
    """All is checked before anything is changed, and what follows from its state changes only while it has that."""
    for _ in range(_TRIES):
        state = await load_state(service.store, SessionId(session))
        record = await session_of(service, principal, session)
        if record.status == "terminated":
            raise InvalidArgument(f"session {session!r} is archived and cannot be updated")
        if given.vault_ids is not None:
            raise InvalidArgument("vault_ids: a session keeps the vaults it was made with")
        metadata: dict[str, str] | None = None
        if given.has("metadata"):
            metadata = {} if given.metadata is None else patched(state.metadata, given.metadata)
        agent = await _changed_agent(service, record, given.agent)
        handle = await service.runtime.desk.session(session)
        try:
            if given.has("title") or metadata is not None or agent is not None:
                name = (given.title or "") if given.has("title") else None
                await handle.configure(name=name, metadata=metadata, agent=agent, expect=state.seq)
        except HeadMoved:
            continue
        if given.has("budget"):
            await limit_money(handle, usd_of(given.budget), "ask")
            await go_on_as_set(service, handle)
        return
    raise HeadMoved(f"session {session!r} changed too fast to be updated: try again", again=True)


async def _changed_agent(service: Service, record: SessionRecord, given: AgentPart | None) -> AgentRef | None:
    """The variant that has these tools and servers; None when nothing of it changes."""
    if given is None:
        return None
    definition = with_tools(record.definition, given)
    if definition == record.definition:
        return None
    if record.row.run is not None:
        raise InvalidArgument(
            f"agent: the tools of session {record.row.id!r} cannot be changed now: its status is "
            f'"{record.status}", or a call waits for an answer'
        )
    if record.kept.config is None:
        raise NotSupported("agent: this session was made by another protocol; change its tools by that one")
    spec = respelled(service, record.agent.spec, definition)
    spec = placed(service, spec, definition, record.kept.config, service.folders.root)
    return await registry_of(service).variant(record.agent, spec)
