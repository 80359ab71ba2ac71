"""Writing MCP servers into files of people: `[mcp.servers.NAME]` tables of a configuration file, entries of a `.mcp.json`.

Leaves out what is read of them (`config_servers`, `mcp_files`). Rules a change must keep: the file says afterwards what it
said before, but for the one server, which is checked before anything is written, and of TOML every other line stays as it
was; it is replaced as a whole or not at all, and of several who change it at once each finds what the one before wrote; what
cannot be changed in that way is refused, with the line to change by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from ...core.errors import ConfigurationError, Conflict
from ...core.mcp import McpServer
from ..config_file import table_of
from ..config_servers import FIELDS, SECTION
from .files import MORE, oauth_entry

LOCK_S = 10.0
"""How long to wait for others who change files in the same folder."""
P = ParamSpec("P")
T = TypeVar("T")
_OF_JSON = ("command", "args", "env", "cwd", "url", "headers")
"""What other tools understand of a server, by their names, which are ours."""


def _alone(change: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
    """The same while nobody else changes a file of that folder in this way."""

    @wraps(change)
    def alone(path: str, /, *args: P.args, **more: P.kwargs) -> T:
        with _locked(path):
            return change(path, *args, **more)

    return alone


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the folder, which leaves nothing behind. ConfigurationError."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", file=path) from None
    try:
        until_s = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise ConfigurationError(f"{path} is being changed by somebody else: try again", file=path) from None
                time.sleep(0.01)
            except OSError:
                break  # file systems without locks
        yield
    finally:
        os.close(descriptor)


@_alone
def add_to_config(path: str, server: McpServer) -> None:
    """Write the server into a configuration file, which is made where there is none. Conflict when there is one of its name;
    ConfigurationError."""
    text = _read(path)
    content = _toml(path, text)
    servers = _servers(content)
    if server.name in servers:
        raise Conflict(f"{path} has an MCP server {server.name!r} already: remove it first", server=server.name)
    said = _said(server)
    lines = [f"[{_table(server.name)}]", *(f"{key} = {_value(value)}" for key, value in said.items())]
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    new = f"{text}{gap}{chr(10).join(lines)}\n"
    _check(path, new, _with(content, {**servers, server.name: said}), "add the table by hand")
    _write(path, new)


@_alone
def remove_from_config(path: str, name: str) -> bool:
    """Take the server of this name out of a configuration file; False when it names none. ConfigurationError."""
    text = _read(path)
    content = _toml(path, text)
    servers = _servers(content)
    if name not in servers:
        return False
    kept: list[str] = []
    waiting: list[str] = []
    within = False
    for line in text.splitlines(keepends=True):
        if (header := _header(line)) is not None:
            # What stands right above a table is about that one.
            kept += waiting if within else []
            within, waiting = header[:3] == ("mcp", "servers", name), []
        if not within:
            kept.append(line)
        elif line.strip().startswith("#") or not line.strip():
            waiting.append(line)
        else:
            waiting = []
    kept += waiting if within and any(line.strip() for line in waiting) else []
    left = {key: value for key, value in servers.items() if key != name}
    _check(path, "".join(kept), _with(content, left), f"remove [{_table(name)}] by hand")
    _write(path, "".join(kept))
    return True


@_alone
def add_to_mcp_json(path: str, server: McpServer) -> None:
    """Write the server into a `.mcp.json`, which is made where there is none. Conflict when there is one of its name;
    ConfigurationError."""
    text = _read(path)
    content, root = _json(path, text)
    if server.name in content[root]:
        raise Conflict(f"{path} has an MCP server {server.name!r} already: remove it first", server=server.name)
    said = _said(server)
    entry: dict[str, Any] = {} if server.way == "stdio" else {"type": server.way}
    entry |= {key: said[key] for key in _OF_JSON if key in said}
    if server.oauth is not None:
        entry["oauth"] = oauth_entry(server.oauth)
    if more := {key: said[key] for key in MORE if key in said}:
        entry["godwit"] = more
    content[root][server.name] = entry if server.enabled else {**entry, "disabled": True}
    _write(path, _as_json(content, text))


@_alone
def remove_from_mcp_json(path: str, name: str) -> bool:
    """Take the server of this name out of a `.mcp.json`; False when it names none. ConfigurationError."""
    text = _read(path)
    content, root = _json(path, text)
    if name not in content[root]:
        return False
    del content[root][name]
    _write(path, _as_json(content, text))
    return True


def _said(server: McpServer) -> dict[str, Any]:
    """What is said of it, as a table."""
    said = msgspec.to_builtins(server)
    return {key: list(value) if isinstance(value := said[key], tuple) else value for key in FIELDS if key in said}


def _servers(content: dict[str, Any]) -> dict[str, Any]:
    mcp = content.get("mcp")
    servers = mcp.get("servers") if isinstance(mcp, dict) else None
    return servers if isinstance(servers, dict) else {}


def _with(content: dict[str, Any], servers: dict[str, Any]) -> dict[str, Any]:
    """The content with these servers, without tables that nothing stands in any more."""
    mcp = {key: value for key, value in content.get("mcp", {}).items() if key != "servers"}
    mcp = {**mcp, "servers": servers} if servers else mcp
    rest = {key: value for key, value in content.items() if key != "mcp"}
    return {**rest, "mcp": mcp} if mcp else rest


def _check(path: str, text: str, wanted: dict[str, Any], otherwise: str) -> None:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        found = None
    if found is None or _with(found, _servers(found)) != wanted:
        raise ConfigurationError(f"{path} is written in a way that is not changed here: {otherwise}", file=path)


def _table(name: str) -> str:
    return f"{SECTION}.{name}" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f"{SECTION}.{_value(name)}"


def _header(line: str) -> tuple[str, ...] | None:
    """The keys of a table's header; None for a line that is none."""
    if not line.lstrip().startswith("["):
        return None
    try:
        at: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    keys: list[str] = []
    while (isinstance(at, dict) and len(at) == 1) or (isinstance(at, list) and len(at) == 1):
        if isinstance(at, list):
            at = at[0]
            continue
        ((key, at),) = at.items()
        keys.append(key)
    return tuple(keys)


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        inner = ", ".join(
            f"{table_of('', key) if _is_plain(key) else _value(key)} = {_value(one)}" for key, one in value.items()
        )
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    # A text of JSON is one of TOML, but for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_plain(key: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None


# --- files --------------------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", file=path) from None


def _toml(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: this is no TOML: {error}", file=path) from None


def _json(path: str, text: str) -> tuple[dict[str, Any], str]:
    """What the file says, and under which key its servers are."""
    try:
        content = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: this is no JSON: {error}", file=path) from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: MCP servers are an object mcpServers, by their names", file=path)
    root = "servers" if "servers" in content and "mcpServers" not in content else "mcpServers"
    if not isinstance(content.setdefault(root, {}), dict):
        raise ConfigurationError(f"{path}: {root} is no object", file=path)
    return content, root


def _as_json(content: dict[str, Any], before: str) -> str:
    indent = re.search(r"\n([ \t]+)\S", before)
    return json.dumps(content, ensure_ascii=False, indent=indent[1] if indent else 2) + "\n"


def _write(path: str, text: str) -> None:
    """Replace the file at once. One that is a link stays one."""
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    made = None
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, made = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(place)}-")
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(made, os.stat(place).st_mode & 0o777)
        os.replace(made, place)
    except OSError as error:
        if made is not None:
            with contextlib.suppress(OSError):
                os.unlink(made)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", file=path) from None


__all__ = ["add_to_config", "add_to_mcp_json", "remove_from_config", "remove_from_mcp_json"]
