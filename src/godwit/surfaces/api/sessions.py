"""Routes of sessions as a whole: starting, listing, looking at one, settings, the end."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from ...contracts import SessionRow
from ...core.agent import ToolDefinition
from ...core.errors import (
    Conflict,
    InvalidArgument,
    PermissionDenied,
    SessionArchived,
    SessionExists,
    SessionNotFound,
    ToolNotFound,
)
from ...core.events import Labels
from ...core.gate import Status
from ...core.ids import SessionId, derived_id
from ...core.state import State
from ...engine.session import Session
from ..server.service import Service
from .agents import Registered, checked, read_place, write_place
from .calls import Controlled, Host, KeyHeader, Row, Watched, Who
from .names import named, ref_of
from .operations import PREFIX, operation
from .shapes.agents import NamedVersion, RegisterBody, Subagents
from .shapes.sessions import ConfigureBody, FoundList, SessionList, SessionView, StartBody
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions", tags=["sessions"])
found = APIRouter(prefix=PREFIX, tags=["sessions"])


async def told(service: Service, row: SessionRow) -> SessionRow:
    """The row with the name of the agent in place of its id."""
    _, spec = await service.store.get_agent(row.agent.name, row.agent.version)
    return msgspec.structs.replace(row, agent=ref_of(row.agent, spec))


async def view(service: Service, session: Session) -> SessionView:
    config, row = session.config, await service.store.session(session.id)
    agent, spec = ref_of(config.agent, config.spec), named(config.spec)
    return SessionView(
        msgspec.structs.replace(row, agent=agent),
        dataclasses.replace(config, agent=agent, spec=spec),
        _tools(session),
        (await session.state()).metadata,
    )


def _tools(session: Session) -> list[ToolDefinition]:
    """None where this server does not have all of them."""
    try:
        return session.tool_definitions()
    except ToolNotFound:
        return []


@router.post("")
@operation(takes=StartBody, gives=SessionView)
async def start_session(
    sent: Annotated[StartBody, Depends(body(StartBody))],
    service: Host,
    who: Who,
    names: Registered,
    key: KeyHeader,
) -> Response:
    """A new session of an agent. With an idempotency key, and none given, its id follows from the key."""
    wanted = NamedVersion(sent.agent) if isinstance(sent.agent, str) else sent.agent
    agent = await names.find(wanted.name, wanted.version, tenant=who.tenant)
    if agent.archived_ms is not None:
        raise Conflict(f"agent {wanted.name!r} is archived: no session of it starts any more", agent=wanted.name)
    if sent.workspace is not None and not who.may("admin"):
        raise PermissionDenied("choosing a folder of the server needs the scope 'admin': use own_workspace", scope="admin")
    if sent.workspace is not None and sent.own_workspace:
        raise InvalidArgument("workspace names a folder and own_workspace asks for a new one: give one of them")
    if sent.parent is not None:
        await service.row(who, sent.parent)
    await service.vaults.check(sent.vaults, tenant=who.tenant)
    derived = derived_id("ses", who.tenant or "", key) if key is not None and sent.session is None else None
    name = sent.session or derived or service.new_id("ses")
    folder = await own_folder(service, name, tenant=who.tenant) if sent.own_workspace else sent.workspace
    try:
        session = await service.runtime.start_session(
            agent.ref,
            workspace=folder,
            environment=sent.environment,
            labels=Labels(who.tenant, who.id, sent.labels.agent_template, sent.labels.correlation),
            name=sent.name,
            metadata=sent.metadata,
            session=name,
            parent=sent.parent,
            vaults=sent.vaults,
            goal=sent.goal,
        )
    except SessionExists:
        if derived is None:
            raise
        await service.row(who, name)
        session = await service.session(who, name)
    else:
        service.runtime.desk.keep(session)
    return answer(await view(service, session))


async def own_folder(service: Service, session: str, *, tenant: str | None) -> str | None:
    """An empty folder for this session; None when it is there already. InvalidArgument, Conflict (files are left in it)."""
    folders = service.folders
    if folders.of(session).parent != folders.of("any").parent or session.startswith(".") or len(session) > 128:
        raise InvalidArgument(f"session id {session!r} cannot be the name of a folder", session=session)
    try:
        await service.store.session(SessionId(session))
        return None
    except SessionNotFound:
        pass
    try:
        return str(await folders.make(session, tenant=tenant))
    except FileExistsError:
        text = f"the folder for session {session!r} is not empty: take another id, or remove what is left of the one before"
        raise Conflict(text, session=session) from None


@router.get("")
@operation(gives=SessionList)
async def list_sessions(
    service: Host,
    who: Who,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    status: Annotated[list[Status] | None, Query()] = None,
    workspace: Annotated[str | None, Query(description="Only those that work in this folder.")] = None,
    prefix: Annotated[str | None, Query(description="Only those whose id begins so.")] = None,
    include_archived: Annotated[bool, Query()] = True,
    parent: Annotated[str | None, Query(description="Only those that work for this session themselves.")] = None,
    top_level: Annotated[bool, Query(description="Only those that work for no other.")] = False,
) -> Response:
    """The sessions, newest activity first. What subagents work in is a session too, with its `parent`."""
    before = None if after is None else _place(after)
    page = await service.store.sessions(
        limit=limit + 1,
        before=before,
        statuses=status,
        workspace=workspace,
        tenant=who.tenant,
        prefix=prefix,
        include_archived=include_archived,
        parent=None if parent is None else SessionId(parent),
        top_level=top_level,
    )
    rows = [row for row in page[:limit] if row.labels.tenant == who.tenant]
    last = page[limit - 1] if len(page) > limit else None
    more = None if last is None else write_place(last.updated_ms, last.id)
    return answer(SessionList([await told(service, row) for row in rows], more))


def _place(after: str) -> tuple[int, SessionId]:
    at_ms, name = read_place(after)
    return at_ms, SessionId(name)


@router.get("/{session}")
@operation(gives=SessionView)
async def get_session(service: Host, session: Watched) -> Response:
    """The session with its settings and what its model is told of its tools."""
    return answer(await view(service, session))


@router.get("/{session}/status")
@operation(gives=SessionRow)
async def session_status(service: Host, row: Row) -> Response:
    """The session as it is listed: status, newest seq, open run."""
    return answer(await told(service, row))


@router.get("/{session}/state")
@operation(gives=State)
async def session_state(session: Watched) -> Response:
    """The fold of its log as it stands."""
    return answer(await session.state())


@router.patch("/{session}")
@operation(takes=ConfigureBody)
async def configure_session(
    service: Host, session: Controlled, sent: Annotated[ConfigureBody, Depends(body(ConfigureBody))]
) -> Response:
    """Change settings for the runs that start from now on; rules and the approval policy hold from the next call on."""
    given = {name: getattr(sent, name) for name in sent.__struct_fields__}
    if sent.model is not None:
        given["model"] = service.runtime.check_model(service.settings.model(sent.model))
    if any(value is not None for value in given.values()):
        await session.configure(**given)
    return nothing()


@router.post("/{session}/subagents")
@operation(takes=RegisterBody, gives=Subagents)
async def register_subagents(
    service: Host,
    who: Who,
    names: Registered,
    session: Controlled,
    sent: Annotated[RegisterBody, Depends(body(RegisterBody))],
) -> Response:
    """Have the session know these agents as subagents, in place of those of their names: all of them or none.

    Its model is told of them from its next run on at the latest; tasks may be handed to them at once. What an agent may hold
    is as for one that is put.
    """
    return answer(Subagents(await session.register_agents([await checked(one, service, names, who) for one in sent.agents])))


@router.post("/{session}/archive")
@operation()
async def archive_session(service: Host, row: Row) -> Response:
    """End the open run and make the session final. Its log stays readable."""
    if row.status == "archived":
        raise SessionArchived(session=row.id)
    await service.runtime.archive(row.id)
    return nothing()


@router.delete("/{session}")
@operation()
async def delete_session(service: Host, row: Row) -> Response:
    """Archive it, then remove its log and all that only it used."""
    await service.runtime.delete_session(row.id)
    return nothing()


@found.get("/search")
@operation(gives=FoundList)
async def search(
    service: Host,
    who: Who,
    query: Annotated[str, Query(min_length=1, max_length=1000, description="Words; in quotes they stand together.")],
    workspace: Annotated[str | None, Query(description="Only of those that work in this folder.")] = None,
    per_session: Annotated[int, Query(ge=1, le=1000)] = 3,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Places where these words were said, the best first."""
    places = await service.store.search(query, tenant=who.tenant, workspace=workspace, per_session=per_session, limit=limit)
    return answer(FoundList(places))
