"""McpServer: an MCP server whose tools an agent has, as data; how it is with one; and by which names their tools go.

Leaves out connecting (`host/mcp/`) and what a tool does (`tools/mcp.py`). Rules: the name of a tool follows from the
names of its server and of the tool alone, and they from it, so that rules, logs and other processes mean the same one
whatever else is there; a name is changed for providers where a request is made, and nowhere else.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from .errors import ConfigurationError
from .mcp_oauth import McpOAuth
from .references import has_reference
from .sandbox import CREDENTIAL

PREFIX = "mcp__"
RESOURCE_TOOLS = ("list_mcp_resources", "read_mcp_resource")
"""The tools by which a model looks at resources of all servers of its session."""
LONGEST = 64
"""Characters of a name that every provider takes."""
_DIGEST = 12
_TAKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHANGED = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")
_OURS = frozenset(
    [
        *("host", "content-length", "content-type", "transfer-encoding", "accept", "accept-encoding", "connection"),
        *("mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"),
    ]
)
"""Headers that are the protocol's to set."""
_UNWRITTEN = frozenset("()[]{},'\"\\*?%")
"""What permission rules cannot have in the name of a tool, or take for something else; and what marks those."""

_UNSEEN = (
    *((0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xD800, 0xDFFF)),
    *((0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),
)
"""Characters that are encoded as well, from and to: a list of our own, since names must not follow versions of Unicode."""
Trouble = Literal["connection", "authentication"]
"""Why a server's tools are missing: it cannot be reached or does not speak MCP; it does not take the credential."""


Transport = Literal["http", "sse", "stdio"]
"""How a server is reached: streamable HTTP; the older HTTP with a stream of events; a program of its own, by stdin and
stdout."""

LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
"""How grave what a server logs is."""

Sampling = Literal["ask", "allow", "deny"]
"""Whether a server may ask the session's model something: a person is asked, it may, or it may not and is told so."""

Health = Literal["idle", "connecting", "connected", "needs_login", "failed", "disabled"]
"""How it is with a server. `idle`: nothing has needed it yet, or not for long."""


class Link(NamedTuple):
    """How a server is reached, by which connections are told apart."""

    transport: Transport
    url: str
    headers: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str | None
    connect_timeout_s: float | None
    log_level: LogLevel | None = None
    oauth: McpOAuth | None = None

    @property
    def brief(self) -> str:
        """For people: its address, or the name of its program, without what may be secret."""
        return self.url if self.transport != "stdio" else posixpath.basename(self.command[0])


class McpServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An MCP server: one that is reached over HTTP by its `url`, or a program that is started (`command`).

    `name`: what people call it; `url`: its whole address. `tools`: the only ones of its tools that the agent has, by their
    names there; None for all of them. `without`: those it has not. `timeout_s`: for one call. `transport`: None for `stdio`
    where there is a command, else `http`. `command`: the program, with `args`; `env`: what it gets beside the variables that
    hold no credentials; `cwd`: its folder, the session's by default. `headers`: sent with each request. In arguments, values
    of `env` and of `headers`, `${NAME}` stands for a secret of that name; what looks like a credential has to be written so.
    `enabled`: False keeps it unused. `connect_timeout_s`: for connecting and listing its tools, where it is
    other than `McpSettings.connect_s`. `log_level`: the least grave that it is asked to log; None
    asks nothing of it. `defer`: False tells the model of its tools at once, however many there are (`ToolSearchPolicy`);
    `always`: those of them that it is told of at once, by their names there. `sampling`: whether it may ask the session's
    model something within its calls: a person is asked (`ask`), it may (`allow`), or not (`deny`). `oauth`: how one logs
    in to it, where it says otherwise than it finds out by itself. ConfigurationError.
    """

    name: str
    url: str = ""
    tools: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    timeout_s: float = 300.0
    transport: Transport | None = None
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    headers: dict[str, str] = {}
    enabled: bool = True
    connect_timeout_s: float | None = None
    log_level: LogLevel | None = None
    defer: bool = True
    always: tuple[str, ...] = ()
    sampling: Sampling = "ask"
    oauth: McpOAuth | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 255:
            raise ConfigurationError(f"{self.name[:50]!r} is no name of an MCP server: it takes 1 to 255 characters")
        for name in ("timeout_s", "connect_timeout_s"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise self._wrong(f"{name}={value!r} must be more than 0 seconds")
        if self.way == "stdio":
            self._check_program()
        else:
            self._check_address()

    @property
    def way(self) -> Transport:
        """How it is reached."""
        return self.transport or ("stdio" if self.command else "http")

    @property
    def link(self) -> Link:
        """What a connection to it is told apart by."""
        return Link(
            self.way,
            self.url,
            tuple(sorted(self.headers.items())),
            (self.command, *self.args),
            tuple(sorted(self.env.items())),
            self.cwd,
            self.connect_timeout_s,
            self.log_level,
            self.oauth,
        )

    @property
    def has_references(self) -> bool:
        """Whether it is given secrets, or what stands for something else."""
        texts = (*self.args, *self.env.values(), *self.headers.values(), self.command)
        return any(has_reference(text) for text in texts) or (
            self.oauth is not None and self.oauth.client_secret is not None
        )

    @property
    def has_login(self) -> bool:
        """Whether one could log in to it: it is reached over HTTP, and its headers bring no credential of their own."""
        return self.way != "stdio" and not any(name.lower() == "authorization" for name in self.headers)

    def has(self, tool: str) -> bool:
        """Whether the agent has this tool of it."""
        return (self.tools is None or tool in self.tools) and tool not in self.without

    def _check_program(self) -> None:
        if not self.command.strip():
            raise self._wrong("one that is reached over stdio needs a command")
        if self.url or self.headers or self.oauth is not None:
            raise self._wrong("it has a command, and a url, headers or oauth beside it: it is reached by one of the two")
        for text in (self.command, *self.args, *self.env, *self.env.values(), self.cwd or ""):
            if "\0" in text:
                raise self._wrong("no part of its command may hold a zero byte")
        for name, value in self.env.items():
            if not name or "=" in name:
                raise self._wrong(f"env: {name[:50]!r} is no name of a variable")
            self._check_secret("env", name, value)

    def _check_address(self) -> None:
        if self.command or self.args or self.env or self.cwd is not None:
            raise self._wrong(f"one that is reached over {self.way} has no command, args, env or cwd")
        if not re.fullmatch(r"https?://\S+", self.url):
            raise self._wrong("its url has to begin with https:// or http://, or it has a command")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in _OURS:
                raise self._wrong(f"headers: {name[:50]!r} is no name of a header that can be set")
            if not value.isascii() or not value.isprintable():
                raise self._wrong(f"headers: the value of {name} may hold printable ASCII characters alone")
            self._check_secret("headers", name, value)
        if self.oauth is not None and not self.has_login:
            raise self._wrong("it has oauth, and a header Authorization beside it: its requests bring one of the two")

    def _check_secret(self, what: str, name: str, value: str) -> None:
        secret = CREDENTIAL.search(name.replace("-", "_")) or name.lower() in ("authorization", "cookie")
        if secret and value and not has_reference(value):
            raise self._wrong(
                f"{what}: {name} looks like a credential, and what stands here is stored and shown: write ${{NAME}}, and"
                " give the value as a variable of that name or in McpSettings.secrets"
            )

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"MCP server {self.name!r}: {what}", name=self.name)


class McpStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it is with one server of a session. `tool_count`: of its tools that the agent has. `error`: why it failed or needs
    a login; None otherwise."""

    name: str
    transport: Transport
    health: Health
    tool_count: int = 0
    error: str | None = None

    @property
    def connected(self) -> bool:
        return self.health == "connected"

    @property
    def enabled(self) -> bool:
        return self.health != "disabled"


def mcp_server(given: McpServer | Mapping[str, Any]) -> McpServer:
    """The server that a table such as `{"name": "docs", "url": "https://..."}` says. ConfigurationError."""
    if isinstance(given, McpServer):
        return given
    if unknown := set(given) - set(McpServer.__struct_fields__):
        raise ConfigurationError(f"an MCP server has no {sorted(unknown)}: it takes {McpServer.__struct_fields__}")
    try:
        return msgspec.convert(dict(given), McpServer)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"an MCP server cannot be read: {error}") from None


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
    """What is not seen, or turns around what stands beside it."""
    return ord(c) < 32 or any(first <= ord(c) <= last for first, last in _UNSEEN)


def _encoded(c: str) -> str:
    return "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))


def _read(name: str) -> str:
    return re.sub("(%[0-9A-F]{2})+", lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), name)
