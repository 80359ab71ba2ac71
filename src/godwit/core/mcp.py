"""McpServer: an MCP server whose tools an agent has, as data; and by which names the tools of such servers go.

Leaves out connecting (`host/mcp.py`) and what a tool does (`tools/mcp.py`). Rule: the name of a tool follows from the
names of its server and of the tool alone, so that rules, logs and other processes mean the same one whatever else is there.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from .errors import ConfigurationError

PREFIX = "mcp__"
LONGEST = 64
"""Characters of a name that every provider takes."""
LONGEST_SERVER = 24
_HASH = 8

Trouble = Literal["connection", "authentication"]
"""Why a server's tools are missing: it cannot be reached or does not speak MCP; it does not take the credential."""


class McpServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server that is reached over streamable HTTP.

    `name`: what people call it; `url`: its whole address. `tools`: the only ones of its tools that the agent has, by their
    names there; None for all of them. `without`: those it has not. `timeout_s`: for one call. ConfigurationError.
    """

    name: str
    url: str
    tools: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 255:
            raise ConfigurationError(f"{self.name[:50]!r} is no name of an MCP server: it takes 1 to 255 characters")
        if not re.fullmatch(r"https?://\S+", self.url):
            raise ConfigurationError(
                f"MCP server {self.name!r}: its url has to begin with https:// or http://", name=self.name
            )
        if not self.timeout_s > 0:
            raise ConfigurationError(f"MCP server {self.name!r}: timeout_s={self.timeout_s!r} must be more than 0 seconds")

    def has(self, tool: str) -> bool:
        """Whether the agent has this tool of it."""
        return (self.tools is None or tool in self.tools) and tool not in self.without


def server_key(server: str) -> str:
    """The server's part of its tools' names: its name where that is plain, else what is plain of it and a hash of it."""
    plain = re.fullmatch(r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*", server) is not None
    if plain and len(server) <= LONGEST_SERVER:
        return server
    kept = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_-]", "_", server)).strip("_")
    return f"{kept[: LONGEST_SERVER - _HASH - 1].rstrip('_') or 'server'}-{_digest(server)}"


def tool_name(server: str, tool: str) -> str:
    """`mcp__server__tool`, as models and rules know the tool: letters, digits, `_` and `-`, at most 64 of them. A name that
    had to be changed for that ends with a hash of what it was."""
    room = LONGEST - len(start := f"{PREFIX}{server_key(server)}__")
    if re.fullmatch(r"[A-Za-z0-9-][A-Za-z0-9_-]*", tool) and len(tool) <= room:
        return start + tool
    kept = re.sub(r"[^A-Za-z0-9_-]", "_", tool).lstrip("_")
    return f"{start}{kept[: room - _HASH - 1] or 'tool'}-{_digest(tool)}"


def rule_of(server: str) -> str:
    """The rule about all tools of the server."""
    return PREFIX + server_key(server)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
