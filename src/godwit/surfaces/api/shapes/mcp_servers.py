"""Shapes of a session's MCP servers."""

from __future__ import annotations

from ....core.mcp import McpServer, McpStatus
from ....core.mcp_contents import (
    McpLogEntry,
    McpPrompt,
    McpRef,
    McpResource,
    McpResourceContent,
    McpResourceTemplate,
)
from ....core.questions import Resumption
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


class McpResourceList(Shape, frozen=True):
    """Of one server or of all."""

    data: list[McpResource]


class McpResourceTemplateList(Shape, frozen=True):
    """Of one server or of all."""

    data: list[McpResourceTemplate]


class McpPromptList(Shape, frozen=True):
    """Of one server or of all."""

    data: list[McpPrompt]


class McpUriBody(Shape, frozen=True):
    """A resource."""

    uri: str


class McpReadBody(Shape, frozen=True):
    """A resource. `answers`: to what the server asked before it lets it be read, with the state that came with that."""

    uri: str
    answers: Resumption | None = None


class McpContentList(Shape, frozen=True):
    """The parts of a resource."""

    data: list[McpResourceContent]


class McpPromptBody(Shape, frozen=True):
    """A prompt with its arguments. `answers`: to what the server asked before it makes it, with the state that came with
    that."""

    name: str
    arguments: dict[str, str] = {}
    answers: Resumption | None = None


class McpCompleteBody(Shape, frozen=True):
    """The beginning of a value, see `Session.complete_mcp`."""

    ref: McpRef
    argument: str
    value: str = ""
    context: dict[str, str] = {}


class McpLog(Shape, frozen=True):
    """The oldest first."""

    data: list[McpLogEntry]


class McpLoginBody(Shape, frozen=True):
    """`scopes`: beside those that are asked for anyway."""

    scopes: list[str] = []


class McpLoginAnswer(Shape, frozen=True):
    """`address`: that a browser was sent back to from a login."""

    address: str
