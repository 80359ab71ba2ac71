"""Trust: which folders a person has let bring things of their own: commands, agents, skills, and settings that can run
something.

    ~/.config/godwit/trusted.json     the folders; XDG_CONFIG_HOME is heeded, GODWIT_TRUST names another file, none if empty

A folder is trusted by its real path, and its settings file and `.mcp.json` as they were then: once they have changed, they
count as those of a stranger until the person says so again. An agent can write in its folder, and what it writes into the
settings must not run.
Commands, agents and skills run nothing by themselves and grant nothing, so they are held by the path alone.

Leaves out what folders bring (`brought`). Rules a change must keep: nothing is trusted that no person has said so of; a list
that lies in the folder itself, where an agent can write, is not heeded; a folder does not trust those below it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Literal

import msgspec

from ..core.errors import ConfigurationError

LIST_FILE = os.path.join("godwit", "trusted.json")
SETTINGS = os.path.join(".godwit", "config.toml")
SERVERS = ".mcp.json"
_MAX = 1024 * 1024

State = Literal["trusted", "changed", "refused", "unknown"]
"""`changed`: its settings are others than when it was trusted. `refused`: a person was asked, and said no."""


class Trusted(msgspec.Struct, frozen=True):
    """What was said of a folder. `settings`: the digest of its settings then, None when it had none."""

    trusted: bool
    settings: str | None = None


def list_file(environment: Mapping[str, str] | None = None) -> str | None:
    """Where the list is or would be; None when GODWIT_TRUST is set and empty."""
    known = os.environ if environment is None else environment
    named = known.get("GODWIT_TRUST")
    if named is not None:
        return os.path.expanduser(named) or None
    base = known.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(known.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, LIST_FILE)


def folders(environment: Mapping[str, str] | None = None) -> dict[str, Trusted]:
    """All that something was said of, by their real paths. ConfigurationError when the list cannot be read."""
    path = list_file(environment)
    if path is None or not os.path.exists(path):
        return {}
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX)
        return msgspec.convert(json.loads(content), dict[str, Trusted])
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: the list of trusted folders cannot be read: {error}", file=path) from None


def state_of(folder: str | os.PathLike[str] | None, *, environment: Mapping[str, str] | None = None) -> State:
    """What was said of this folder, and whether it holds for its settings as they are. ConfigurationError."""
    if folder is None:
        return "unknown"
    root, path = os.path.realpath(folder), list_file(environment)
    if path is None or os.path.commonpath([os.path.realpath(path), root]) == root:
        return "unknown"
    said = folders(environment).get(root)
    if said is None:
        return "unknown"
    if not said.trusted:
        return "refused"
    return "trusted" if said.settings == settings_digest(root) else "changed"


def say(
    folder: str | os.PathLike[str], trusted: bool | None, *, environment: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Record that this folder is trusted as it is now, or is not; None forgets what was said. Returns the folder's real path
    and the list's. ConfigurationError when there is no list, or it would lie in the folder."""
    root, path = os.path.realpath(folder), list_file(environment)
    if path is None:
        raise ConfigurationError("no folder can be trusted: GODWIT_TRUST is set to no file")
    if trusted and os.path.commonpath([os.path.realpath(path), root]) == root:
        raise ConfigurationError(f"{root} holds {path}, where an agent could trust others: it cannot be trusted itself")
    known = folders(environment)
    if trusted is None:
        known.pop(root, None)
    else:
        known[root] = Trusted(trusted, settings_digest(root) if trusted else None)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    written = json.dumps(msgspec.to_builtins(dict(sorted(known.items()))), indent=1).encode()
    descriptor, made = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".trusted-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise
    return root, path


def settings_digest(folder: str) -> str | None:
    """Of the folder's settings file and its `.mcp.json`; None when it has none that can be read."""
    settings, servers = (_digest(os.path.join(folder, name)) for name in (SETTINGS, SERVERS))
    # Without the second it is what it was before that one counted: a folder stays trusted.
    return settings if servers is None else hashlib.sha256(f"{settings} {servers}".encode()).hexdigest()


def _digest(path: str) -> str | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(_MAX + 1)).hexdigest()
    except OSError:
        return None


def own_only(places: tuple[str, ...]) -> tuple[str, ...]:
    """Those of these folders that are the person's own."""
    return tuple(place for place in places if place.startswith(("~", "/")))


__all__ = ["State", "Trusted", "folders", "list_file", "own_only", "say", "settings_digest", "state_of"]
