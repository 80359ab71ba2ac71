"""LoginTool: stands in place of the tools of a server that needs a login: a model that calls it has a person asked.

Leaves out the login (`logins.py`) and how people are asked (`engine/questions.py`). Rules: the model is told of no address;
a person is asked with the address of the authorization server, and says when they are done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ...core.agent import ToolDefinition
from ...core.errors import GodwitError, InvalidToolArguments, ToolFailed
from ...core.mcp import McpServer, McpStatus, tool_name
from ...core.mcp_oauth import McpLogin
from ...core.messages import Text
from ...core.questions import Question

NAME = "authenticate"
_KEY = "login"


class LoginTool:
    """`begin`: begins a login to the server; `connect`: says how it is with it then."""

    def __init__(
        self,
        server: McpServer,
        begin: Callable[[], Awaitable[McpLogin]],
        connect: Callable[[], Awaitable[McpStatus]],
    ) -> None:
        self._server = server
        self._begin = begin
        self._connect = connect
        told = (
            f"The MCP server {server.name} needs a login before its tools can be used. This asks a person to log in; once"
            " they have, its tools are there."
        )
        schema = {"type": "object", "properties": {}, "additionalProperties": False}
        self.definition = ToolDefinition(tool_name(server.name, NAME), told, schema)
        self.traits = ToolTraits(repeatable=True, timeout_s=server.timeout_s, held=True)

    def validate(self, arguments: dict[str, Any]) -> None:
        if arguments:
            raise InvalidToolArguments(f"{self.definition.name} takes no arguments")

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        name = self._server.name
        if (resumed := context.resumed) is None:
            try:
                login = await self._begin()
            except GodwitError as error:
                raise ToolFailed(f"nobody can log in to the MCP server {name!r}: {error.message}") from None
            message = f"Log in to the MCP server {name} at {login.issuer}"
            return ToolOutput((), questions=(Question(_KEY, "url", message, url=login.url),))
        action = resumed.answer(_KEY).action
        status = await self._connect()
        if status.connected:
            text = f"Logged in: the MCP server {name} has {status.tool_count} tools, which are there from now on."
            return ToolOutput((Text(text),))
        said = {"decline": "a person has declined to log in", "cancel": "nobody has logged in"}.get(action, "")
        raise ToolFailed(f"the MCP server {name!r} cannot be used: {said or status.error or status.health}")


__all__ = ["NAME", "LoginTool"]
