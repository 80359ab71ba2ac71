"""Routes of agents."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ...core.agent import AgentSpec
from ...core.errors import InvalidArgument, PermissionDenied
from ...core.ids import AgentName
from ...core.mcp import McpServer
from ...core.narrowing import INHERIT
from ...core.principal import Principal
from ...core.sandbox import SandboxPolicy
from ...host.agent_registry import StoredAgent
from ...host.hooks import HOOK_KIT
from ..server.service import Service
from .calls import MOST, Host, Who
from .names import Names, name_of, named
from .operations import PREFIX, operation
from .shapes.agents import AgentBody, AgentList, AgentView
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/agents", tags=["agents"])

AgentPath = Annotated[str, Path(alias="agent", description="The agent's name, or its id.")]


async def _names(request: Request) -> Names:
    names: Names = request.app.state.names
    return names


Registered = Annotated[Names, Depends(_names)]


def view(agent: StoredAgent) -> AgentView:
    return AgentView(
        name_of(agent.spec),
        agent.id,
        agent.version,
        agent.newest,
        named(agent.spec),
        agent.created_ms,
        agent.updated_ms,
        agent.archived_ms,
    )


@router.put("/{agent}")
@operation(takes=AgentBody, gives=AgentView)
async def put_agent(
    agent: Annotated[str, Path(description="The agent's name, unique within the tenant.")],
    sent: Annotated[AgentBody, Depends(body(AgentBody))],
    service: Host,
    who: Who,
    names: Registered,
) -> Response:
    """Store an agent under its name: a new immutable version, or the newest one when nothing changed.

    `subagents` are agents that have been put before, and built-in ones. One whose only model is `inherit` takes those of the
    agent that it works for. A command as a hook, and a sandbox other than the default one, are the host's business: they
    need the scope `admin`.
    """
    spec = AgentSpec(name=AgentName(agent), **{name: getattr(sent, name) for name in sent.__struct_fields__})
    spec = await checked(spec, service, names, who)
    return answer(view(await names.put(agent, lambda: spec, tenant=who.tenant)))


async def checked(spec: AgentSpec, service: Service, names: Names, who: Principal) -> AgentSpec:
    """The agent, and those that are written down in it, with the models that this server asks for theirs, and with what this
    tenant means by the names of others."""
    _check(spec, who)
    for hook in spec.hooks:
        HOOK_KIT.matcher(hook)
    service.runtime.tools_of(spec)
    models = spec.models
    if models != (INHERIT,):
        models = tuple(service.runtime.check_model(service.settings.model(model)) for model in models)
    own = {name: await checked(one, service, names, who) for name, one in spec.subagent_specs.items()}
    spec = msgspec.structs.replace(spec, models=models, subagent_specs=own, extensions={})
    return msgspec.structs.replace(spec, subagent_ids=await names.subagent_ids(spec, tenant=who.tenant))


def check_server(server: McpServer, who: Principal) -> None:
    """Refuse an MCP server that the caller may not give to an agent. PermissionDenied."""
    if (server.way == "stdio" or server.has_references) and not who.may("admin"):
        text = "an MCP server that is a program on the server, or is given secrets of it, needs the scope 'admin'"
        raise PermissionDenied(text, scope="admin")


def _check(spec: AgentSpec, who: Principal) -> None:
    """Refuse what would let a caller out of what the host confines it to. PermissionDenied."""
    if who.may("admin"):
        return
    if any(hook.command is not None for hook in spec.hooks):
        raise PermissionDenied("a hook that runs a command on the server needs the scope 'admin'", scope="admin")
    for server in spec.mcp_servers:
        check_server(server, who)
    if spec.sandbox != SandboxPolicy():
        raise PermissionDenied("a sandbox other than the default one needs the scope 'admin'", scope="admin")


@router.get("")
@operation(gives=AgentList)
async def list_agents(
    who: Who,
    names: Registered,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    archived: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
) -> Response:
    """The newest version of each agent, those made last first."""
    place = None if after is None else read_place(after)
    page = await names.agents.list(tenant=who.tenant, limit=limit + 1, after=place, archived=archived)
    more = write_place(page[limit - 1].created_ms, page[limit - 1].id) if len(page) > limit else None
    return answer(AgentList([view(one) for one in page[:limit]], more))


@router.get("/{agent}")
@operation(gives=AgentView)
async def get_agent(
    agent: AgentPath,
    who: Who,
    names: Registered,
    version: Annotated[int | None, Query(ge=1, le=1 << 31)] = None,
) -> Response:
    """That version, or the newest."""
    return answer(view(await names.find(agent, version, tenant=who.tenant)))


@router.get("/{agent}/versions")
@operation(gives=AgentList)
async def agent_versions(
    agent: AgentPath,
    who: Who,
    names: Registered,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(ge=1, le=1 << 31, description="Only versions of a lower number.")] = None,
) -> Response:
    """The versions, the newest first."""
    found = await names.find(agent, tenant=who.tenant)
    page = await names.agents.versions(found.id, tenant=who.tenant, limit=limit + 1, before=before)
    more = str(page[limit - 1].version) if len(page) > limit else None
    return answer(AgentList([view(one) for one in page[:limit]], more))


@router.post("/{agent}/archive")
@operation(gives=AgentView)
async def archive_agent(agent: AgentPath, who: Who, names: Registered) -> Response:
    """No new session of it starts from now on; those there are go on."""
    found = await names.find(agent, tenant=who.tenant)
    return answer(view(await names.agents.archive(found.id, tenant=who.tenant)))


@router.delete("/{agent}")
@operation()
async def delete_agent(agent: AgentPath, who: Who, names: Registered) -> Response:
    """Forget it; its sessions go on."""
    await names.delete(agent, tenant=who.tenant)
    return nothing()


def write_place(at_ms: int, name: str) -> str:
    """A place in a list, as it is told to clients."""
    return base64.urlsafe_b64encode(f"{at_ms}:{name}".encode()).decode().rstrip("=")


def read_place(given: str) -> tuple[int, str]:
    """InvalidArgument for what no list has told."""
    try:
        text = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True).decode()
        at_ms, _, name = text.partition(":")
        if name and at_ms.isascii() and at_ms.isdigit() and int(at_ms) <= MOST:
            return int(at_ms), name
    except (binascii.Error, ValueError):
        pass
    raise InvalidArgument("`after` is not what a list has given as `next`")
