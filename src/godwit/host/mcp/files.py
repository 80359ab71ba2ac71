"""Files of MCP servers as other tools have them (`.mcp.json`): what servers they name.

Owns the reading; leaves out whether a folder's file is trusted: who reads one has decided that its programs may run, and
`config_servers` asks for a folder's. Rules: what cannot be used is an error that names file and server, and of what a
program reads nothing of that file is taken; keys of other tools are passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ...core.errors import ConfigurationError
from ...core.mcp import McpServer, Transport, mcp_server
from ...core.mcp_oauth import McpOAuth
from ...core.references import resolved

MOST_BYTES = 1024 * 1024
_TRANSPORTS: dict[str, Transport] = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "sse": "sse",
}


MORE = ("tools", "without", "timeout_s", "connect_timeout_s", "log_level", "defer", "always", "sampling")
"""What other tools have no word for, or another meaning: settings of ours, in an object `godwit` of an entry."""


class _OAuth(msgspec.Struct, rename="camel", omit_defaults=True):
    """How one logs in, as other tools say it: `scopes` is a list, or one text with spaces."""

    client_id: str | None = None
    client_secret: str | None = None
    callback_port: int | None = None
    scopes: str | tuple[str, ...] = ()
    client_metadata_url: str | None = None
    issuer: str | None = None
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"

    def ours(self) -> McpOAuth:
        scopes = tuple(self.scopes.split()) if isinstance(self.scopes, str) else self.scopes
        return McpOAuth(
            self.client_id,
            self.client_secret,
            self.issuer,
            self.client_metadata_url,
            scopes,
            self.callback_port,
            self.grant,
        )


class _Entry(msgspec.Struct):
    """A server of such a file, as far as it is understood."""

    type: str | None = None
    transport: str | None = None
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = {}
    disabled: bool = False
    oauth: _OAuth | None = None
    godwit: dict[str, Any] = {}


def mcp_servers_from(path: str | os.PathLike[str], *, environment: Mapping[str, str] | None = None) -> tuple[McpServer, ...]:
    """The servers of a `.mcp.json`: those of its `mcpServers`, or of `servers`.

    `${NAME}` in a command, a folder or an address is the variable of that name, now; in arguments, `env` and `headers` it
    stays, and is looked up when the server is connected. `environment`: where variables are looked up now, the process's by
    default. ConfigurationError.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(MOST_BYTES + 1))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: MCP servers cannot be read: {error}", file=name) from None
    listed = content.get("mcpServers", content.get("servers")) if isinstance(content, dict) else None
    if not isinstance(listed, dict):
        raise ConfigurationError(f"{name}: MCP servers are an object mcpServers, by their names", file=name)
    known = os.environ if environment is None else environment
    found = []
    for server, entry in listed.items():
        try:
            found.append(server_of(server, entry, known))
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {server!r}: {error}", file=name, server=server) from None
    return tuple(found)


def server_of(name: str, given: Any, environment: Mapping[str, str]) -> McpServer:
    """The server of this entry. ConfigurationError."""
    try:
        entry = msgspec.convert(given, _Entry)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error)) from None
    kind = entry.type or entry.transport
    if kind is not None and kind not in _TRANSPORTS:
        raise ConfigurationError(f"its type {kind!r} is none of {', '.join(_TRANSPORTS)}")

    def now(what: str, text: str) -> str:
        made, _, unknown = resolved(text, environment.get)
        if unknown:
            raise ConfigurationError(f"its {what} refers to the variable {unknown[0]}, which is not set")
        return made

    server = McpServer(
        name,
        now("url", entry.url),
        transport=None if kind is None else _TRANSPORTS[kind],
        command=now("command", entry.command),
        args=entry.args,
        env=entry.env,
        cwd=None if entry.cwd is None else now("cwd", entry.cwd),
        headers=entry.headers,
        enabled=not entry.disabled,
        oauth=None if entry.oauth is None else entry.oauth.ours(),
    )
    if unknown := sorted(set(entry.godwit) - set(MORE)):
        raise ConfigurationError(f"its godwit has no {unknown[0]!r}: it takes {', '.join(MORE)}")
    return mcp_server({**msgspec.to_builtins(server), **entry.godwit}) if entry.godwit else server


def oauth_entry(oauth: McpOAuth) -> dict[str, Any]:
    """The same as such a file says it."""
    said: dict[str, Any] = msgspec.to_builtins(_OAuth(**msgspec.structs.asdict(oauth)))
    return said


__all__ = ["MORE", "MOST_BYTES", "mcp_servers_from", "oauth_entry", "server_of"]
