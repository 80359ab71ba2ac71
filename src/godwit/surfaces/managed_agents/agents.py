"""Routes of agents: `/v1/agents` and what lies below."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.agent import AgentSpec
from ...core.errors import InvalidArgument
from ...host.agent_registry import AgentRegistry, StoredAgent
from ..server.service import Service
from .agent_shapes import AgentCreate, AgentUpdate, created, definition_of, shown_agent, updated
from .body import body
from .caller import Operator, Reader, id_of
from .paging import paged
from .query import Query
from .translation import respelled, spec_of


def registry_of(service: Service) -> AgentRegistry:
    return AgentRegistry(service.store, ids=service.runtime.ids, clock=service.runtime.clock)


def agent_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/agents")
    registry = registry_of(service)

    @routes.post("")
    async def create(
        principal: Operator, request: Request, given: Annotated[AgentCreate, Depends(body(AgentCreate))]
    ) -> dict[str, Any]:
        spec = spec_of(service, created(given))
        await service.tenants.room(principal, "documents")
        return shown_agent(await registry.create(spec, tenant=principal.tenant, agent=id_of(request, "agent")))

    @routes.get("")
    async def listed(principal: Reader, request: Request) -> dict[str, Any]:
        query = Query(request)
        first, last = query.moments("created_at")
        archived = None if query.flag("include_archived") else False

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[StoredAgent]:
            return await registry.list(
                tenant=principal.tenant,
                limit=limit,
                after=after,
                ascending=ascending,
                archived=archived,
                created_from_ms=first,
                created_to_ms=last,
            )

        page = await paged(query, "agents", fetch, lambda agent: (agent.created_ms, agent.id))
        return page.body([shown_agent(agent) for agent in page.rows])

    @routes.get("/{agent}")
    async def get(principal: Reader, agent: str, request: Request) -> dict[str, Any]:
        version = Query(request).number("version")
        return shown_agent(await registry.get(agent, version, tenant=principal.tenant))

    @routes.post("/{agent}")
    async def update(
        principal: Operator, agent: str, given: Annotated[AgentUpdate, Depends(body(AgentUpdate))]
    ) -> dict[str, Any]:
        old = await registry.get(agent, tenant=principal.tenant)
        if old.archived_ms is not None:
            raise InvalidArgument(f"agent {agent!r} is archived and cannot be updated", agent=agent)

        def change(spec: AgentSpec) -> AgentSpec:
            newest = msgspec.structs.replace(old, spec=spec)
            return respelled(service, spec, updated(definition_of(newest), given))

        return shown_agent(await registry.update(agent, change, tenant=principal.tenant, expect=given.version))

    @routes.post("/{agent}/archive")
    async def archive(principal: Operator, agent: str) -> dict[str, Any]:
        return shown_agent(await registry.archive(agent, tenant=principal.tenant))

    @routes.get("/{agent}/versions")
    async def versions(principal: Reader, agent: str, request: Request) -> dict[str, Any]:
        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[StoredAgent]:
            if ascending:
                raise InvalidArgument("page: versions are listed from the newest on, and not back")
            before = None if after is None else after[0]
            return await registry.versions(agent, tenant=principal.tenant, limit=limit, before=before)

        page = await paged(Query(request), f"versions of {agent}", fetch, lambda one: (one.version, one.id))
        return page.body([shown_agent(one) for one in page.rows])

    return routes
