"""ServerSettings: what a person decides about a server."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from ...core.errors import ConfigurationError

_PROVIDERS = ((r"claude", "anthropic"), (r"gpt|chatgpt|o\d", "openai"), (r"gemini", "google"))


class ServerSettings(msgspec.Struct, frozen=True):
    """`host` and `port`: where it listens; 0 takes a free port. `keys`: whether a key is asked for; by default unless the
    host is loopback, and anything else must. `models`: names that clients use and the `provider:model` behind each, where
    `*` at the end stands for any rest and `*` alone for every name. `folder`: where workspaces of sessions are made, by
    default beside the database. `max_body`: bytes of a request's body. `heartbeat_s`: how long a stream may be silent.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    keys: bool | None = None
    models: dict[str, str] = {}
    folder: str | None = None
    max_body: int = 32 * 1024 * 1024
    heartbeat_s: float = 15.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port {self.port} is not between 0 and 65535", port=self.port)
        if self.keys is False and not self.loopback:
            raise ConfigurationError(
                f"a server on {self.host!r} can be reached from elsewhere, so it needs keys", host=self.host
            )

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def asks_for_keys(self) -> bool:
        return not self.loopback if self.keys is None else self.keys

    def model(self, name: str) -> str:
        """The `provider:model` behind the name a client used. Without one in `models`, a name that tells its provider
        (`claude-...`, `gpt-...`, `o3`, `gemini-...`) gets that one, and any other is taken as it is."""
        found = self.models.get(name)
        if found is not None:
            return found
        starts = [k for k in self.models if k.endswith("*") and name.startswith(k[:-1])]
        if starts:
            return self.models[max(starts, key=len)]
        provider = next((p for pattern, p in _PROVIDERS if re.match(pattern, name)), None)
        return name if ":" in name or provider is None else f"{provider}:{name}"
