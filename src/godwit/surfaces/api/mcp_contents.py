"""Routes of what a session's MCP servers have beside tools: resources, prompts, their logs.

They connect to a server that is not connected, so they are no GETs but for the log. Reading a resource is a call of the
host's, as running a tool is: rules do not apply (decision 20), so it needs the scope `admin`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from ...core.mcp_contents import McpCompletion, McpPromptResult
from .calls import Controlled, Watched
from .mcp_servers import ServerPath
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.mcp_servers import (
    McpCompleteBody,
    McpContentList,
    McpLog,
    McpPromptBody,
    McpPromptList,
    McpReadBody,
    McpResourceList,
    McpResourceTemplateList,
    McpUriBody,
)
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["mcp"])
OneServer = Annotated[str | None, Query(description="Only those of this server.")]
Uri = Annotated[McpUriBody, Depends(body(McpUriBody))]


@router.post("/mcp_resources")
@operation(gives=McpResourceList)
async def list_mcp_resources(session: Controlled, server: OneServer = None) -> Response:
    """The resources of the session's MCP servers, which are connected for it."""
    return answer(McpResourceList(await session.mcp_resources(server)))


@router.post("/mcp_resource_templates")
@operation(gives=McpResourceTemplateList)
async def list_mcp_resource_templates(session: Controlled, server: OneServer = None) -> Response:
    """The resource templates of the session's MCP servers, which are connected for it."""
    return answer(McpResourceTemplateList(await session.mcp_resource_templates(server)))


@router.post("/mcp_prompts")
@operation(gives=McpPromptList)
async def list_mcp_prompts(session: Controlled, server: OneServer = None) -> Response:
    """The prompts of the session's MCP servers, which are connected for it, and the slash commands that run them."""
    return answer(McpPromptList(await session.mcp_prompts(server)))


@router.post("/mcp_servers/{server}/resources/read")
@operation(takes=McpReadBody, gives=McpContentList, scope="admin")
async def read_mcp_resource(
    session: Controlled, server: ServerPath, sent: Annotated[McpReadBody, Depends(body(McpReadBody))]
) -> Response:
    """What a resource holds. What is large is an artifact of the session. `mcp_input_required` has in its details the
    questions that the server asks first, and a state: both go back, as `answers`."""
    return answer(McpContentList(await session.read_mcp_resource(server, sent.uri, answers=sent.answers)))


@router.post("/mcp_servers/{server}/resources/subscribe")
@operation(takes=McpUriBody, gives=Changed)
async def subscribe_mcp_resource(session: Controlled, server: ServerPath, sent: Uri) -> Response:
    """Have an event `mcp.resource_updated` whenever the resource has changed, for as long as this server has the session
    open; false when that is so already."""
    return answer(Changed(await session.subscribe_mcp_resource(server, sent.uri)))


@router.post("/mcp_servers/{server}/resources/unsubscribe")
@operation(takes=McpUriBody, gives=Changed)
async def unsubscribe_mcp_resource(session: Controlled, server: ServerPath, sent: Uri) -> Response:
    """Hear of the resource no more; false when it was not heard of."""
    return answer(Changed(await session.unsubscribe_mcp_resource(server, sent.uri)))


@router.post("/mcp_servers/{server}/prompts/get")
@operation(takes=McpPromptBody, gives=McpPromptResult)
async def get_mcp_prompt(
    session: Controlled, server: ServerPath, sent: Annotated[McpPromptBody, Depends(body(McpPromptBody))]
) -> Response:
    """What the server makes of a prompt and its arguments. Its slash command starts a run with that. `mcp_input_required`
    has in its details the questions that the server asks first, and a state: both go back, as `answers`."""
    return answer(await session.get_mcp_prompt(server, sent.name, sent.arguments, answers=sent.answers))


@router.post("/mcp_servers/{server}/complete")
@operation(takes=McpCompleteBody, gives=McpCompletion)
async def complete_mcp(
    session: Controlled, server: ServerPath, sent: Annotated[McpCompleteBody, Depends(body(McpCompleteBody))]
) -> Response:
    """Values that the server proposes for an argument of a prompt, or a part of a resource template."""
    return answer(await session.complete_mcp(server, sent.ref, sent.argument, sent.value, sent.context))


@router.get("/mcp_servers/{server}/log")
@operation(gives=McpLog)
async def mcp_log(session: Watched, server: ServerPath) -> Response:
    """What the server has logged last on its connection here, the oldest first. Connects to nothing."""
    return answer(McpLog(await session.mcp_log(server)))
