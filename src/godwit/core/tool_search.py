"""Tool search: which tools of an agent its model is not told of until it looks for them.

Owns when that is, and by which words a log says what was found. Leaves out how tools are ranked (`tool_ranking`), what a
run's requests come to (`engine.deferral`) and the tool itself (`tools.tool_search`). Rules: a tool is found once the result
of a search names it, or once it was called; what is found follows from the log alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from .errors import ConfigurationError
from .mcp import McpServer, server_and_tool

TOOL_SEARCH = "tool_search"
"""The tool by which a model looks for others."""
FOUND = "found"
"""In the metadata of its result: the names of the tools that were found, in their order."""

ToolSearchMode = Literal["auto", "always", "never"]
"""`auto`: where tools would take more of each request than the limits say. `always`: however few there are."""


class ToolSearchPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a model is told of the tools of MCP servers at once, or looks for them with `tool_search`.

    Where it is `auto`, it looks for them once there are more than `tools` of them, or once their descriptions and schemas
    would take more than `tokens`, estimated, or than `share` of what the model reads, where that is known. `also`: other
    tools of the agent that are treated like those, names or patterns with `*`. ConfigurationError.
    """

    mode: ToolSearchMode = "auto"
    tools: int = 50
    tokens: int = 20_000
    share: float = 0.1
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tools", "tokens"):
            if (value := getattr(self, name)) < 0:
                raise ConfigurationError(f"tool_search {name}={value!r} must be 0 or more", value=value, field=name)
        if not 0 < self.share <= 1:
            what = f"tool_search share={self.share!r} must be a part of the window: over 0, up to 1"
            raise ConfigurationError(what, value=self.share, field="share")

    def most_tokens(self, window: int | None) -> int:
        """How many tokens the tools may take at once. `window`: what the model reads; None where that is not known."""
        return self.tokens if window is None else min(self.tokens, int(self.share * window))

    def is_for(self, name: str, servers: Sequence[McpServer]) -> bool:
        """Whether the tool of this name is one that may have to be looked for."""
        if (of := server_and_tool(name)) is not None:
            server = next((one for one in servers if one.name == of[0]), None)
            if server is not None:
                return server.defer and of[1] not in server.always
        return any(fnmatchcase(name, pattern) for pattern in self.also)


class DeferredTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool that a session's model has to look for. `found`: it has been, so the model is told of it."""

    name: str
    found: bool = False


__all__ = ["FOUND", "TOOL_SEARCH", "DeferredTool", "ToolSearchMode", "ToolSearchPolicy"]
