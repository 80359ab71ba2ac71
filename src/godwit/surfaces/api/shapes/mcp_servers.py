"""Shapes of a session's MCP servers."""

from __future__ import annotations

from ....core.mcp import McpServer, McpStatus
from .common import Shape


class McpServerBody(Shape, frozen=True):
    """An MCP server for a session. `connect`: before the answer; an error when it cannot be."""

    server: McpServer
    connect: bool = True


class McpServerCount(Shape, frozen=True):
    """`count`: of the server's tools that the session has."""

    count: int


class McpServerList(Shape, frozen=True):
    """In the order of the session's agent."""

    data: list[McpStatus]
