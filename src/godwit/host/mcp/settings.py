"""McpSettings: what a program says of MCP servers, beside which there are.

Apart from `connections.py`, since whoever imports it should not pay for a client.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...core.addresses import place
from ...core.errors import ConfigurationError


class McpSettings(msgspec.Struct, frozen=True):
    """`reach`: hosts and networks beside public ones that MCP servers may be at, see `core.addresses.place`. `tokens`: of
    the program's own, by the servers' addresses, for sessions whose vaults have none. `secrets`: what `${NAME}` stands for
    in arguments, `env` and `headers` of servers, by names; before variables of the environment and stored keys; for sessions
    of no tenant. `max_connections`: to servers at once, of this process; `max_connections_per_tenant`: of one tenant's
    sessions, those without a tenant counting as one. In seconds: `connect_s`, how long a server may take to connect and to
    list its tools, where it says nothing else; `wait_s`, how long a run waits for servers that are not connected yet;
    `idle_s`, after how long without use a connection is let go. ConfigurationError."""

    reach: tuple[str, ...] = ()
    tokens: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    max_connections: int = 500
    max_connections_per_tenant: int = 100
    connect_s: float = 30.0
    wait_s: float = 5.0
    idle_s: float = 300.0

    def __post_init__(self) -> None:
        for entry in self.reach:
            place(entry)
        for name in ("max_connections", "max_connections_per_tenant"):
            if (value := getattr(self, name)) < 1:
                raise ConfigurationError(f"McpSettings {name}={value!r} must be at least 1", value=value, field=name)
        for name in ("connect_s", "wait_s", "idle_s"):
            if (value := getattr(self, name)) <= 0:
                raise ConfigurationError(f"McpSettings {name}={value!r} must be more than 0", value=value, field=name)

    def __repr__(self) -> str:
        return f"McpSettings(reach={self.reach!r}, ...)"
