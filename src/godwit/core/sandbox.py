"""What a sandbox may be asked for, as data."""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ConfigurationError

Promise = Literal[
    "writes_confined",  # nothing outside the workspace, its temporary folder and `writable` can be changed
    "secrets_hidden",  # paths in `hidden` cannot be read
    "network_off",  # no address can be reached, loopback included
    "processes_isolated",  # processes outside cannot be seen or signalled
    "no_survivors",  # nothing the command started lives on after it
    "limits_enforced",  # memory, processes and time are limited as asked
]
Backend = Literal["auto", "bubblewrap", "landlock", "none"]


class SandboxPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How commands are confined.

    `backend`: `auto` takes the strongest that works here. `network`: whether commands may reach one. `writable`: absolute
    folders beside the workspace and its temporary folder that may be written. `hidden`: paths that cannot be read, `~`
    allowed, beside those hidden by default. `environment`: names of our variables that are passed on, `*` at the end
    allowed; None is the built-in list. `memory_bytes`, `processes`, `file_bytes`, `cpu_s`: limits per command.
    `require`: promises that must hold here, or the session does not start (ConfigurationError).
    """

    backend: Backend = "auto"
    network: bool = False
    writable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    environment: tuple[str, ...] | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    cpu_s: int | None = None
    require: tuple[Promise, ...] = ()

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "processes", "file_bytes", "cpu_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigurationError(f"sandbox {name}={value!r} must be more than 0", limit=name, value=value)
        for path in self.writable:
            if not path.startswith(("/", "~")):
                raise ConfigurationError(f"sandbox writable path {path!r} is not absolute", path=path)
