"""MCP servers as tools on the wire: as they are sent, as they are shown, and what they come to here.

Rules: an agent that is kept has no credentials; what a session is given comes out as tokens beside what is shown, and stands
in nothing that is stored with an agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic

from ...core.errors import InvalidArgument, NotFound, NotSupported
from ...core.mcp import McpServer
from ...core.principal import Principal
from ...host.vaults import MOST, Vaults, place_of
from ..server.credential_shapes import LONGEST_TOKEN, TOKEN
from .body import Shape


class Http(Shape):
    type: Literal["http"]
    server_url: Annotated[str, pydantic.Field(pattern=r"^https?://\S+$", max_length=2048)]
    authorization: str | None = None
    headers: dict[str, str] | None = None


class Stdio(pydantic.BaseModel):
    """Read as far as it takes to say that it is not there."""

    model_config = pydantic.ConfigDict(extra="allow")

    type: Literal["stdio"]


class Mcp(Shape):
    type: Literal["mcp"]
    server_label: Annotated[str, pydantic.Field(min_length=1, max_length=255, pattern=r"\S")]
    transport: Annotated[Http | Stdio, pydantic.Field(discriminator="type")]
    allowed_tools: list[str] | None = None
    connection_origin: Literal["service", "environment"] | None = None
    credential_id: Annotated[str, pydantic.Field(min_length=1)] | None = None
    request_metadata: dict[str, Any] | None = None
    required: bool = False


def shown_mcp(tool: Mcp, at: str, *, kept: bool) -> dict[str, Any]:
    """The tool as it is shown. `kept`: it is of an agent that is kept, which has no credentials. InvalidArgument,
    NotSupported."""
    transport = tool.transport
    if isinstance(transport, Stdio):
        raise NotSupported(f"{at}.transport: no MCP server is started as a process here; take one over http", param=at)
    if tool.connection_origin == "environment":
        text = "connections go out from the server, not from a session's environment; use service"
        raise NotSupported(f"{at}.connection_origin: {text}", param=at)
    if tool.request_metadata:
        raise NotSupported(f"{at}.request_metadata: nothing is sent beside a call's arguments; leave it out", param=at)
    if tool.required:
        text = "a turn does not wait for a server that cannot be reached; it goes on without its tools"
        raise NotSupported(f"{at}.required: {text}", param=at)
    token = _token(transport, at)
    if kept and token is not None:
        text = "an agent keeps no credentials: give it to the session, or put it into a vault"
        raise InvalidArgument(f"{at}.transport: {text}", param=at)
    try:
        place_of(transport.server_url, f"{at}.transport.server_url")
    except InvalidArgument as error:
        raise InvalidArgument(error.message, param=at) from None
    return {
        "type": "mcp",
        "server_label": tool.server_label,
        "transport": {"type": "http", "server_url": transport.server_url, "headers": {}},
        "allowed_tools": tool.allowed_tools,
        "connection_origin": "service",
        "credential_id": tool.credential_id,
        "request_metadata": {},
        "required": False,
    }


def shown_by_session(tool: dict[str, Any]) -> dict[str, Any]:
    """A shown tool as a session's snapshot of its agent has it: where headers may be secret, none are shown."""
    if tool["type"] != "mcp":
        return tool
    transport = {name: value for name, value in tool["transport"].items() if name != "headers"}
    return {**tool, "transport": transport}


def tokens_in(tools: Iterable[Any]) -> dict[str, str]:
    """The tokens that tools of a session are given with, by the places they are for. InvalidArgument, NotSupported."""
    found: dict[str, str] = {}
    for number, tool in enumerate(tools):
        if isinstance(tool, Mcp) and isinstance(tool.transport, Http):
            at = f"tools.{number}"
            token, place = _token(tool.transport, at), place_of(tool.transport.server_url)
            if token is not None and found.setdefault(place, token) != token:
                raise InvalidArgument(f"{at}.transport: another tool has another authorization for this address", param=at)
    return found


def servers_of(shown: Iterable[Mapping[str, Any]]) -> tuple[McpServer, ...]:
    """The servers of shown tools."""
    return tuple(
        McpServer(
            tool["server_label"],
            tool["transport"]["server_url"],
            None if tool["allowed_tools"] is None else tuple(tool["allowed_tools"]),
        )
        for tool in shown
        if tool["type"] == "mcp"
    )


def shown_server(server: McpServer) -> dict[str, Any]:
    """A server of an agent that was made elsewhere."""
    transport = Http(type="http", server_url=server.url)
    allowed = None if server.tools is None else [name for name in server.tools if server.has(name)]
    return shown_mcp(
        Mcp(type="mcp", server_label=server.name, transport=transport, allowed_tools=allowed), "tools", kept=True
    )


async def vaults_for(
    vaults: Vaults, principal: Principal, shown: Iterable[Mapping[str, Any]], vault_ids: Sequence[str]
) -> list[str]:
    """A session's vaults, in such an order that each server gets the credential which its tool names. NotFound,
    InvalidArgument, NotSupported."""
    await vaults.check(vault_ids, tenant=principal.tenant)
    named = [(tool, f"tools.{number}.credential_id") for number, tool in enumerate(shown) if tool.get("credential_id")]
    ordered = list(vault_ids)
    holds = {tool["credential_id"]: await _holder(vaults, principal, tool, vault_ids, at) for tool, at in named}
    for vault in reversed(list(holds.values())):
        ordered.remove(vault)
        ordered.insert(0, vault)
    for tool, at in named:
        place = place_of(tool["transport"]["server_url"])
        for vault in ordered[: ordered.index(holds[tool["credential_id"]])]:
            found = await vaults.credentials(vault, tenant=principal.tenant, limit=MOST, archived=False)
            if any(place_of(one.url) == place for one in found):
                text = f"vault {vault!r} has a credential for this address as well, and another tool needs that vault first"
                raise NotSupported(f"{at}: {text}", param=at)
    return ordered


async def _holder(vaults: Vaults, principal: Principal, tool: Mapping[str, Any], vault_ids: Sequence[str], at: str) -> str:
    """The vault with the credential that the tool names."""
    name = tool["credential_id"]
    for vault in vault_ids:
        try:
            found = await vaults.credential(vault, name, tenant=principal.tenant)
        except NotFound:
            continue
        if found.archived_ms is not None or place_of(found.url) != place_of(tool["transport"]["server_url"]):
            raise InvalidArgument(f"{at}: credential {name!r} is for {found.url}, or archived", param=at)
        return vault
    raise InvalidArgument(f"{at}: credential {name!r} is in none of the session's vaults", param=at)


def _token(transport: Http, at: str) -> str | None:
    """What of it is secret."""
    given = transport.authorization
    for name, value in (transport.headers or {}).items():
        if name.strip().lower() != "authorization":
            text = "no headers of one's own are sent to MCP servers; leave it out"
            raise NotSupported(f"{at}.transport.headers.{name}: {text}", param=at)
        if given is not None and given != value:
            raise InvalidArgument(f"{at}.transport: authorization is given twice", param=at)
        given = value
    if given is None:
        return None
    token = re.sub(r"^bearer\s+", "", given.strip(), flags=re.IGNORECASE)
    if len(token) > LONGEST_TOKEN or not re.fullmatch(TOKEN, token):
        # What it is does not stand in the message.
        raise NotSupported(f"{at}.transport.authorization: a bearer token can be sent, and nothing else", param=at)
    return token
