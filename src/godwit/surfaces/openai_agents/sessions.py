"""Routes of sessions: making, reading, changing, listing and deleting them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...contracts import SessionRow
from ...core.agent import AgentRef, AgentSpec, base_of
from ...core.errors import AgentNotFound, Conflict, InvalidArgument, NotSupported, SessionNotFound
from ...core.events import Labels
from ...core.ids import AgentName, SessionId, derived_id
from ...core.principal import Principal
from ...core.senders import free_name
from ...engine.log import load_state
from ...host.agent_registry import AgentRegistry
from ...host.session_folders import Folders
from ...host.session_tokens import PREFIX as OWN, vault_of
from ..server.money import go_on_as_set, limit_money
from ..server.service import Service, key_of, principal_of
from ..server.stream import EventStream
from .agent_shapes import AgentFields, SessionAgentUpdate, changed, created, tools_in, with_session_settings
from .agents import check_tools
from .artifacts import OUTPUTS
from .body import Shape, body, metadata_of
from .environments import Environment, Plan, planned, with_environment
from .files import uploaded_for
from .following import own_stream
from .history import History
from .ids import Cursor, environment_id
from .inputs import Message, said_in, say
from .mcp_shapes import tokens_in, vaults_for
from .pages import asked, page, pairs_asked


class CacheOptions(Shape):
    ttl: Literal["30m", "12h"] | None = None


class SpendControl(Shape):
    """In cents."""

    limit: Annotated[int, pydantic.Field(ge=1, le=10**15)] | None


class StreamOptions(Shape):
    include_obfuscation: bool = True


class SessionCreate(Shape):
    environment: Environment
    agent: AgentFields | None = None
    agent_id: Annotated[str, pydantic.Field(min_length=1)] | None = None
    input: str | list[Message] | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_options: CacheOptions | None = None
    review: Literal["none", "auto_review"] = "none"
    spend_control: SpendControl | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    vault_ids: list[str] | None = None


class SessionUpdate(Shape):
    agent: SessionAgentUpdate | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_options: CacheOptions | None = None
    review: Literal["none", "auto_review"] = "none"
    spend_control: SpendControl | None = None


def session_routes(service: Service, registry: AgentRegistry, folders: Folders) -> APIRouter:
    """`/agents/sessions` and one of them."""
    router = APIRouter(prefix="/v1")
    runtime = service.runtime

    @router.post("/agents/sessions")
    async def create(request: Request, given: Annotated[SessionCreate, Depends(body(SessionCreate))]) -> Response:
        principal = principal_of(request)
        principal.require("operate")
        check_absent(given)
        if given.stream_options is not None and not given.stream:
            raise InvalidArgument("stream_options: only with stream=true", param="stream_options")
        contents = await uploaded_for(service, principal, given.environment)
        plan, said = planned(given.environment, contents, service.settings.reach), _said(given.input)
        metadata = metadata_of(given.metadata)
        key = key_of(request)
        session = SessionId(service.new_id("ses") if key is None else derived_id("ses", principal.tenant or "", key))
        try:
            row = await service.row(principal, session)  # what the same request has begun before
            if said and row.run is None:
                await service.tenants.room(principal, "runs")
        except SessionNotFound:
            if said:
                await service.tenants.room(principal, "runs")
            await begin(principal, given, plan, session, metadata)
            row = await service.row(principal, session)
        if given.spend_control is not None and (await load_state(service.store, session)).budgets is None:
            await limit_money(await service.session(principal, session), usd_of(given.spend_control), "stop")
        if said:
            await say(await service.session(principal, session), said, [], key=key, sender=free_name(principal.id))
        if given.stream:
            frames = own_stream(service, row, Cursor(0), first_turn=True)
            return EventStream(frames, heartbeat_s=service.settings.heartbeat_s)
        return JSONResponse(await _shown(service, session))

    async def begin(
        principal: Principal, given: SessionCreate, plan: Plan, session: SessionId, metadata: Mapping[str, str]
    ) -> None:
        """All that can be refused is, before anything is stored; what breaks off leaves nothing."""
        ref, spec = await agent_for(principal, given, plan, session)
        runtime.check_model(spec.models[0])
        tenant = principal.tenant
        vaults = await vaults_for(service.vaults, principal, tools_in(spec), given.vault_ids or [])
        own = tokens_in(given.agent.tools or []) if given.agent is not None else {}
        if own:
            await service.vaults.of_sessions.give(session, own, tenant=tenant)
            vaults.insert(0, vault_of(session))
        await folders.remove(session, tenant=tenant)  # of one that broke off and was sent again
        folder = await folders.make(session, plan.files, tenant=tenant) if plan.hosted else None
        try:
            if folder is not None:
                await asyncio.to_thread(_make_outputs, folder)
            await runtime.start_session(
                ref,
                workspace=folder,
                environment=plan.variables,
                labels=Labels(tenant=principal.tenant, principal=principal.id),
                metadata=metadata,
                session=session,
                vaults=vaults,
                drive=False,
            )
        except BaseException:
            await folders.remove(session, tenant=tenant)
            if own:
                await service.vaults.of_sessions.forget(session, tenant=tenant)
            raise

    async def agent_for(
        principal: Principal, given: SessionCreate, plan: Plan, session: SessionId
    ) -> tuple[AgentRef, AgentSpec]:
        """The agent's version that this session runs; one of its own where nothing is saved that it could be."""
        hidden = str(folders.root.resolve())
        environment = environment_id(session)
        if given.agent_id is None:
            if given.agent is None:
                raise InvalidArgument("agent: an agent or an agent_id is needed", param="agent")
            spec = created(given.agent, service.settings)
            spec = with_environment(spec, plan, environment, hidden)
            check_tools(service, spec)
            spec = msgspec.structs.replace(spec, name=AgentName(service.new_id("agent")))
            return await runtime.create(spec), spec
        stored = await registry.get(given.agent_id, tenant=principal.tenant)
        if stored.archived_ms is not None:
            raise Conflict(f"agent {given.agent_id!r} is archived: no session starts with it", param="agent_id")
        spec = stored.spec if given.agent is None else changed(stored.spec, given.agent, service.settings)
        spec = with_environment(spec, plan, environment, hidden)
        check_tools(service, spec)
        return await registry.variant(stored, spec), spec

    @router.get("/agents/sessions")
    async def every(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        wanted = asked(request, "agent_id", "metadata")
        agent = request.query_params.get("agent_id")
        metadata = pairs_asked(request)
        after: tuple[int, SessionId] | None = None
        if wanted.after is not None:
            last = await service.row(principal, wanted.after)
            after = (last.created_ms, last.id)
        found: list[SessionRow] = []
        while len(found) <= wanted.limit:
            rows = await service.store.session_page(
                tenant=principal.tenant,
                limit=wanted.limit + 1,
                after=after,
                ascending=wanted.ascending,
                agent=None if agent is None else AgentName(agent),
                top_level=True,
            )
            found += [row for row in rows if not metadata or await _has(service, row, metadata)]
            if len(rows) <= wanted.limit:
                break
            after = (rows[-1].created_ms, rows[-1].id)
        shown = [await _shown(service, row.id) for row in found[: wanted.limit]]
        return page(shown, more=len(found) > wanted.limit)

    @router.get("/agents/sessions/{session_id}")
    async def retrieve(request: Request, session_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        row = await service.row(principal, session_id)
        return await _shown(service, row.id)

    @router.post("/agents/sessions/{session_id}")
    async def update(
        request: Request, session_id: str, given: Annotated[SessionUpdate, Depends(body(SessionUpdate))]
    ) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        check_absent(given)
        row = await service.row(principal, session_id)
        metadata = metadata_of(given.metadata) if given.has("metadata") else None
        agent = None
        if given.agent is not None and given.agent.model_fields_set:
            agent = await changed_agent(principal, row, given.agent)
        if metadata is not None or agent is not None:
            session = await runtime.open_session(row.id, drive=False)
            await session.configure(metadata=metadata, agent=agent)
        if given.has("spend_control"):
            handle = await service.session(principal, row.id)
            await limit_money(handle, usd_of(given.spend_control), "stop")
            await go_on_as_set(service, handle)
        return await _shown(service, row.id)

    async def changed_agent(principal: Principal, row: SessionRow, given: SessionAgentUpdate) -> AgentRef | None:
        """The version with which the session goes on, None when nothing changes."""
        _, old = await service.store.get_agent(row.agent.name, row.agent.version)
        new = with_session_settings(old, given, service.settings)
        runtime.check_model(new.models[0])
        check_tools(service, new)
        await check_credentials(principal, row, given, new)
        if new == old:
            return None
        if base_of(row.agent) == row.agent:
            try:
                stored = await registry.get(row.agent.name, row.agent.version, tenant=principal.tenant)
            except AgentNotFound:
                pass  # it is this session's own
            else:
                return await registry.variant(stored, new)
        return await runtime.create(new)

    async def check_credentials(principal: Principal, row: SessionRow, given: SessionAgentUpdate, new: AgentSpec) -> None:
        """That the session has the credentials which its new tools name, and takes the tokens they are given with."""
        if not given.has("tools"):
            return
        vaults = (await load_state(service.store, row.id)).vaults
        named = [vault for vault in vaults if not vault.startswith(OWN)]
        if await vaults_for(service.vaults, principal, tools_in(new), named) != named:
            text = "the session has another credential for this address, in a vault that comes first"
            raise NotSupported(f"agent.tools: {text}", param="agent.tools")
        own = tokens_in(given.tools or [])
        if own and vault_of(row.id) not in vaults:
            text = "the session was made without an authorization of its own; make one with it, or use a vault"
            raise NotSupported(f"agent.tools: {text}", param="agent.tools")
        if own:
            await service.vaults.of_sessions.give(row.id, own, tenant=principal.tenant)

    @router.delete("/agents/sessions/{session_id}")
    async def delete(request: Request, session_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        row = await service.row(principal, session_id)
        await runtime.delete_session(row.id)
        return {"id": row.id, "object": "agent.session.deleted", "deleted": True}

    return router


def check_absent(given: SessionCreate | SessionUpdate) -> None:
    """NotSupported for what of a session godwit does not have."""
    if given.review != "none":
        raise NotSupported("review: actions are not reviewed by a model; use none", param="review")
    if given.prompt_cache_options is not None and given.prompt_cache_options.ttl is not None:
        raise NotSupported(
            "prompt_cache_options: how long a provider caches is not chosen here; leave it out",
            param="prompt_cache_options",
        )


def usd_of(given: SpendControl | None) -> float | None:
    """The limit in USD; None without one."""
    return None if given is None or given.limit is None else given.limit / 100


def _make_outputs(folder: Path) -> None:
    """A command may write to it without making it first. A file that was given by this name stays."""
    with suppress(FileExistsError):
        (folder / OUTPUTS).mkdir(exist_ok=True)


def _said(given: str | list[Message] | None) -> list[Any]:
    if given is None or given == []:
        return []
    if isinstance(given, str):
        given = [Message.model_validate({"role": "user", "content": [{"type": "input_text", "text": given}]})]
    from ...core.messages import user_content

    return [user_content(content) for content in said_in(given, "input")]


async def _has(service: Service, row: SessionRow, wanted: Mapping[str, str]) -> bool:
    """Whether the session's metadata has all of these."""
    try:
        metadata = (await load_state(service.store, row.id)).metadata
    except SessionNotFound:
        return False
    return all(metadata.get(key) == value for key, value in wanted.items())


async def _shown(service: Service, session: SessionId) -> dict[str, Any]:
    return (await History(service.store, session, service.settings).now()).session_body()
