"""`godwit mcp`: which MCP servers sessions of a folder would use, changing that in files, and how it is with each.

Leaves out what the files say (`host/mcp_listing.py`) and how they are changed (`host/editing.py`). Rule: only `status`
connects, and to no server that a session here would not use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigurationError
from ..core.ids import SessionId
from .cli_exit import DONE, FAILED, NOT_FOUND, CliError
from .cli_view import write_json
from .cli_words import clean, one_line

if TYPE_CHECKING:
    from ..contracts import ServedSession
    from ..core.mcp import McpServer
    from ..core.mcp_contents import McpLogEntry
    from ..host.mcp.connections import McpConnections
    from ..host.runtime import Runtime


@dataclass(frozen=True)
class Wanted:
    """A server as it was typed. `words`: its address, or its program and arguments."""

    name: str
    words: Sequence[str]
    transport: str | None = None
    env: Sequence[str] = ()
    headers: Sequence[str] = ()
    cwd: str | None = None
    tools: Sequence[str] = ()
    without: Sequence[str] = ()
    always: Sequence[str] = ()
    defer: bool = True
    sampling: str | None = None
    timeout_s: float | None = None
    log_level: str | None = None

    def server(self) -> McpServer:
        """CliError, ConfigurationError."""
        from ..core.mcp import mcp_server

        if not self.words:
            raise CliError(
                "where is it? type its address, or its command behind --",
                hint=f"godwit mcp add {self.name} https://... or godwit mcp add {self.name} -- COMMAND",
            )
        first, *rest = self.words
        table: dict[str, Any] = {"name": self.name}
        if first.startswith(("http://", "https://")):
            if rest:
                raise CliError(f"{rest[0]!r} behind the address means nothing")
            table["url"] = first
        else:
            table |= {"command": first, "args": rest}
        for key, given in (("env", _pairs("--env", self.env, "=")), ("headers", _pairs("--header", self.headers, ":"))):
            table |= {key: given} if given else {}
        for key in ("transport", "cwd", "sampling", "timeout_s", "log_level"):
            table |= {key: value} if (value := getattr(self, key)) is not None else {}
        for key in ("tools", "without", "always"):
            table |= {key: list(names)} if (names := getattr(self, key)) else {}
        table |= {} if self.defer else {"defer": False}
        return mcp_server(table)


def listing(folder: Path, *, as_json: bool) -> int:
    """Those that are named anywhere for this folder, and which of them would be used."""
    from ..host.mcp.listing import listed_servers
    from .cli_settings import typed

    _check(folder)
    for one in listed_servers(folder, options=typed()):
        if as_json:
            transport = None if one.server is None else one.server.way
            place = {"name": one.name, "server": one.brief, "transport": transport, "place": one.place}
            write_json({**place, "used": one.why is None, "why": one.why})
            continue
        why = "" if one.why is None else f"; not used: {one.why.rpartition(' is not used: ')[2]}"
        print(clean(f"{one.name:<16}  {one.brief}  ({one.place}{why})"))
    return DONE


def add(wanted: Wanted, folder: Path, *, project: bool, as_json: bool) -> int:
    """Write a server into the person's own file, or the folder's `.mcp.json`. CliError, ConfigurationError, Conflict."""
    from ..host.mcp import editing

    path = _file(folder, project=project)
    server = wanted.server()
    (editing.add_to_mcp_json if project else editing.add_to_config)(path, server)
    if as_json:
        write_json({"name": wanted.name, "file": path})
    else:
        print(clean(f"{wanted.name} is in {path}"))
    if project:
        _note_trust(folder)
    return DONE


def remove(name: str, folder: Path, *, project: bool, as_json: bool) -> int:
    """Take a server out of the person's own file, or the folder's `.mcp.json`. CliError, ConfigurationError."""
    from ..host.mcp import editing

    path = _file(folder, project=project)
    if not (editing.remove_from_mcp_json if project else editing.remove_from_config)(path, name):
        raise CliError(
            f"{path} names no MCP server {name!r}",
            hint="godwit mcp list shows them; --project is for those of .mcp.json",
            code="not_found",
            exit_code=NOT_FOUND,
        )
    if as_json:
        write_json({"name": name, "file": path})
    else:
        print(clean(f"{name} is no more in {path}"))
    if project:
        _note_trust(folder)
    return DONE


@contextlib.asynccontextmanager
async def opened(name: str | None, folder: Path) -> AsyncIterator[tuple[Sequence[McpServer], McpConnections, ServedSession]]:
    """The servers that sessions here would use, or the one of that name; who connects to them, and for whom. CliError."""
    from ..contracts import ServedSession
    from ..host.configured import mcp_of
    from ..host.runtime import Runtime
    from .cli_settings import load

    _check(folder)
    config = load(folder)
    servers = [one for one in config.mcp_servers if name is None or one.name == name]
    if not servers and name is not None:
        raise CliError(
            f"sessions here use no MCP server {name!r}",
            hint="godwit mcp list says why",
            code="not_found",
            exit_code=NOT_FOUND,
        )
    for notice in config.notices:
        if "MCP server" in notice.text:
            print(clean(f"note: {notice}"), file=sys.stderr)
    of = ServedSession(SessionId("ses_status"), folder=os.path.realpath(folder))
    async with await Runtime.open(":memory:", mcp=mcp_of(load(Path.cwd()))) as runtime:
        yield servers, runtime.mcp, of


async def status(name: str | None, folder: Path, *, log: bool = False, as_json: bool) -> int:
    """Connect to those that sessions here would use, all at once, and say what comes of it. `log`: and what each logs."""
    from ..core.mcp import McpStatus

    async with opened(name, folder) as (servers, connections, of):

        async def of_one(server: McpServer) -> McpStatus:
            if not server.enabled:
                return McpStatus(server.name, server.way, "disabled")
            return await connections.connect(server, of)

        found = await asyncio.gather(*(of_one(server) for server in servers))
        logs = {one.name: connections.contents(one, of).log() for one in servers} if log else {}
    for one in found:
        if as_json:
            state = {"name": one.name, "transport": one.transport, "health": one.health}
            write_json(
                {**state, "tool_count": one.tool_count, "error": one.error}
                | ({"log": [_told_entry(entry) for entry in logs.get(one.name, ())]} if log else {})
            )
            continue
        what = f"{one.tool_count} tools" if one.connected else one.error or ""
        print(clean(f"{one.name:<16}  {one.health:<11}  {what}".rstrip()))
        for entry in logs.get(one.name, ()):
            print(f"  {entry.level}: {one_line(f'{entry.logger}: {entry.text}' if entry.logger else entry.text, 300)}")
    return DONE if all(one.connected or not one.enabled for one in found) else FAILED


def _told_entry(entry: McpLogEntry) -> dict[str, Any]:
    return {"at_ms": entry.at_ms, "level": entry.level, "logger": entry.logger, "text": entry.text}


async def log_in(name: str, folder: Path, *, scopes: Sequence[str], browser: bool, as_json: bool) -> int:
    """Log in to a server that sessions here would use, for all sessions of this machine."""
    from .cli_auth import shower
    from .cli_keyboard import Keyboard

    server = _used(name, folder)
    async with await _runtime() as runtime:
        found = await runtime.mcp_login(
            server, shower(browser=browser), ask=None if browser else Keyboard().line, scopes=scopes
        )
    if as_json:
        write_json({"name": name, "health": found.health, "tool_count": found.tool_count, "error": found.error})
    elif found.connected:
        print(clean(f"logged in to {name}: {found.tool_count} tools"))
    else:
        print(clean(f"{name}: {found.error or found.health}"), file=sys.stderr)
    return DONE if found.connected else FAILED


async def log_out(name: str, folder: Path, *, as_json: bool) -> int:
    """Forget the login to a server that sessions here would use."""
    server = _used(name, folder)
    async with await _runtime() as runtime:
        removed = await runtime.mcp_logout(server)
    if as_json:
        write_json({"name": name, "removed": removed})
    else:
        print(clean(f"forgot the login to {name}" if removed else f"there is no login to {name}"), file=sys.stderr)
    return DONE if removed else NOT_FOUND


async def _runtime() -> Runtime:
    from ..host.configured import mcp_of
    from ..host.runtime import Runtime
    from .cli_settings import load

    return await Runtime.open(":memory:", mcp=mcp_of(load(Path.cwd())), check_models=False)


def _used(name: str, folder: Path) -> McpServer:
    """The server of this name that sessions here would use. CliError."""
    from .cli_settings import load

    _check(folder)
    for server in load(folder).mcp_servers:
        if server.name == name:
            return server
    raise CliError(
        f"sessions here use no MCP server {name!r}",
        hint="godwit mcp list says why",
        code="not_found",
        exit_code=NOT_FOUND,
    )


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")


def _file(folder: Path, *, project: bool) -> str:
    from ..host.config import user_file
    from ..host.config_servers import FILE

    _check(folder)
    if project:
        return os.path.join(os.path.realpath(folder), FILE)
    path = user_file()
    if path is None:
        raise ConfigurationError("you have no configuration file: GODWIT_CONFIG is set to none")
    return path


def _note_trust(folder: Path) -> None:
    """A changed folder has to be trusted anew: that is the person's word alone."""
    from ..host.trust import state_of
    from .cli_settings import load

    if not load(folder).trusted:
        changed = state_of(folder) == "changed"
        what = "has changed since it was trusted" if changed else "is not trusted"
        print(f"note: this folder {what}: its servers are not used before godwit trust", file=sys.stderr)


def _pairs(flag: str, given: Sequence[str], between: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition(between)
        if not sign or not name.strip():
            raise CliError(f"{flag} takes NAME{between}VALUE")
        found[name.strip()] = value.strip() if between == ":" else value
    return found
