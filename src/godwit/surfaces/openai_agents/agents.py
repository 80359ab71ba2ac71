"""Routes of reusable agents. Deleting one leaves the sessions that run it as they are."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request

from ...core.agent import AgentSpec
from ...core.errors import AgentNotFound, InvalidArgument, NotSupported, ToolNotFound
from ...core.ids import derived_id
from ...host.agent_registry import AgentRegistry
from ..server.service import Service, key_of, principal_of
from .agent_shapes import AgentCreate, AgentUpdate, changed, created, shown_agent
from .body import body
from .pages import asked, page


def agent_routes(service: Service, registry: AgentRegistry) -> APIRouter:
    """`/agents` and what hangs on one."""
    router = APIRouter(prefix="/v1")
    settings = service.settings

    @router.post("/agents")
    async def create(request: Request, given: AgentCreate = Depends(body(AgentCreate))) -> dict[str, Any]:  # noqa: B008
        principal = principal_of(request)
        principal.require("operate")
        spec = created(given, settings)
        check_tools(service, spec)
        key = key_of(request)
        # What a crash has left is found again by the id that follows from the key.
        own = None if key is None else derived_id("agent", principal.tenant or "", key)
        return shown_agent(await registry.create(spec, tenant=principal.tenant, agent=own), settings)

    @router.get("/agents")
    async def every(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        wanted = asked(request)
        after = None
        if wanted.after is not None:
            last = await registry.get(wanted.after, tenant=principal.tenant)
            after = (last.created_ms, last.id)
        found = await registry.list(
            tenant=principal.tenant, limit=wanted.limit + 1, after=after, ascending=wanted.ascending, archived=False
        )
        return page([shown_agent(one, settings) for one in found[: wanted.limit]], more=len(found) > wanted.limit)

    @router.get("/agents/{agent_id}")
    async def retrieve(request: Request, agent_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        return shown_agent(await registry.get(agent_id, tenant=principal.tenant), settings)

    @router.post("/agents/{agent_id}")
    async def update(
        request: Request,
        agent_id: str,
        given: AgentUpdate = Depends(body(AgentUpdate)),  # noqa: B008
    ) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")

        def change(spec: AgentSpec) -> AgentSpec:
            new = changed(spec, given, settings)
            check_tools(service, new)
            return new

        return shown_agent(await registry.update(agent_id, change, tenant=principal.tenant), settings)

    @router.delete("/agents/{agent_id}")
    async def delete(request: Request, agent_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        if not await registry.delete(agent_id, tenant=principal.tenant):
            raise AgentNotFound(f"there is no agent {agent_id!r}", param="agent_id")
        return {"id": agent_id, "object": "agent.deleted", "deleted": True}

    return router


def check_tools(service: Service, spec: AgentSpec) -> None:
    """That a session could be given the agent's tools here. NotSupported, InvalidArgument."""
    plain = msgspec.structs.replace(spec, name=type(spec.name)("new"))
    try:
        service.runtime.tools_of(plain)
    except ToolNotFound as error:
        raise NotSupported(f"tools: {error.message}", param="tools") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"tools: {error.message}", param="tools") from None
