"""McpServer: an MCP server whose tools an agent has, as data; and by which names the tools of such servers go.

Leaves out connecting (`host/mcp.py`) and what a tool does (`tools/mcp.py`). Rules: the name of a tool follows from the
names of its server and of the tool alone, and they from it, so that rules, logs and other processes mean the same one
whatever else is there; a name is changed for providers where a request is made, and nowhere else.
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
_DIGEST = 12
_TAKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHANGED = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")
_UNWRITTEN = frozenset("()[]{},'\"\\*?%")
"""What permission rules cannot have in the name of a tool, or take for something else; and what marks those."""

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


def tool_name(server: str, tool: str) -> str:
    """`mcp__server__tool`, the tool's full name: for rules, hooks, events and people.

    Both names are as they are, but for what a permission rule could not hold (blanks, brackets, quotes, wildcards), which is
    percent-encoded, as are underscores of the server that could be taken for the ones behind it."""
    return f"{rule_of(server)}__{_written(tool)}"


def rule_of(server: str) -> str:
    """The rule about all tools of the server, and the beginning of their names."""
    return PREFIX + re.sub("_(?=_|$)", "%5F", _written(server))


def server_and_tool(name: str) -> tuple[str, str] | None:
    """The names that a full name was made of; None for the name of any other tool."""
    server, apart, tool = name.removeprefix(PREFIX).partition("__")
    return (_read(server), _read(tool)) if name.startswith(PREFIX) and server and apart and tool else None


def provider_name(name: str) -> str:
    """The tool's name as every provider takes it: letters, digits, `_` and `-`, at most 64 of them.

    One that had to be changed for that ends with a hash of what it was. So does one of a server that looks as if it had
    been: no server can take the name of another tool."""
    if _TAKEN.fullmatch(name) and not (name.startswith(PREFIX) and _CHANGED.search(name)):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{re.sub('[^A-Za-z0-9_-]', '_', name)[: LONGEST - _DIGEST - 1]}-{digest}"


def _written(name: str) -> str:
    return "".join(_encoded(c) if c in _UNWRITTEN or c.isspace() or _is_control(c) else c for c in name)


def _is_control(c: str) -> bool:
    return ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000


def _encoded(c: str) -> str:
    return "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))


def _read(name: str) -> str:
    return re.sub("(%[0-9A-F]{2})+", lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), name)
