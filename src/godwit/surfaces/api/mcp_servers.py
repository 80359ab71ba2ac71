"""Routes of MCP servers: which a session has, and how it is with each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from ...core.mcp_oauth import McpLogin
from .agents import check_server
from .calls import Controlled, Watched, Who
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.mcp_servers import McpLoginAnswer, McpLoginBody, McpServerBody, McpServerCount, McpServerList
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}/mcp_servers", tags=["mcp"])
ServerPath = Annotated[str, Path(alias="server", description="The server's name.")]


@router.get("")
@operation(gives=McpServerList)
async def list_mcp_servers(session: Watched) -> Response:
    """The session's MCP servers, and how it is with each on this server. Connects to none."""
    return answer(McpServerList(list((await session.mcp_status()).values())))


@router.post("")
@operation(takes=McpServerBody, gives=McpServerCount)
async def add_mcp_server(
    who: Who, session: Controlled, sent: Annotated[McpServerBody, Depends(body(McpServerBody))]
) -> Response:
    """Give the session an MCP server, in place of the one of its name; how many tools it has of it.

    It is connected first, unless `connect` is false; its model is told of its tools from its next request on. One that is a
    program of the server, or is given secrets of it, needs the scope `admin`.
    """
    check_server(sent.server, who)
    return answer(McpServerCount(await session.add_mcp_server(sent.server, connect=sent.connect)))


@router.delete("/{server}")
@operation(gives=Changed)
async def remove_mcp_server(session: Controlled, server: ServerPath) -> Response:
    """Take an MCP server from the session; false when it has none of that name."""
    return answer(Changed(await session.remove_mcp_server(server)))


@router.post("/{server}/login")
@operation(takes=McpLoginBody, gives=McpLogin)
async def begin_mcp_login(
    session: Controlled, server: ServerPath, sent: Annotated[McpLoginBody, Depends(body(McpLoginBody))]
) -> Response:
    """Begin a login to an MCP server for whose session it is. A person goes to `url` with a browser, which comes back to
    this server; that finishes the login. It is not done for anybody else."""
    return answer(await session.begin_mcp_login(server, scopes=sent.scopes))


@router.post("/{server}/login/finish")
@operation(takes=McpLoginAnswer, gives=Changed)
async def finish_mcp_login(
    session: Controlled, server: ServerPath, sent: Annotated[McpLoginAnswer, Depends(body(McpLoginAnswer))]
) -> Response:
    """Finish a login by the address that the browser was sent back to, where it could not get there by itself."""
    await session.finish_mcp_login(server, sent.address)
    return answer(Changed(True))


@router.delete("/{server}/login")
@operation(gives=Changed)
async def mcp_logout(session: Controlled, server: ServerPath) -> Response:
    """Forget the login to an MCP server, for all sessions of whose it is; false when there is none."""
    return answer(Changed(await session.mcp_logout(server)))
