"""Which MCP servers sessions of a folder would use, where each is written, and why one is not used.

For people, as `godwit mcp list`. Leaves out whether they can be connected. Rule: what may be secret is not shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ...core.mcp import McpServer
from ..config import Part, Reading, load, read_files
from ..config_file import table_of
from ..config_servers import SECTION, McpFile, WrongServer, shown_arguments, shown_url


class ListedServer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server that is named somewhere. `place`: `file:line`, or the variable or option that names it. `brief`: its address,
    or its program and arguments. `why`: why it is not used, None when it is. `server`: as it would be used."""

    name: str
    place: str
    brief: str
    why: str | None = None
    server: McpServer | None = None


def listed_servers(
    workspace: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[ListedServer]:
    """All that are named, in the order of the files. ConfigurationError, beginning with file and line."""
    reading = read_files(workspace, environment=environment, options=options)
    config = load(workspace, environment=environment, options=options)
    found = [one for part in reading.parts if part.section == SECTION for one in _of(part)]
    for name, server in config.set_mcp_servers.items():
        if isinstance(server, McpServer):
            found.append(ListedServer(name, _above(reading, name), brief(server), _why(server), server))
    made: list[ListedServer] = []
    for at, one in enumerate(found):
        # One that is wrong is in the place of another as well; one of a folder that is not trusted is not.
        over = [other for other in found[at + 1 :] if other.name == one.name and not _left_out(other)]
        if over and not _left_out(one):
            one = msgspec.structs.replace(one, why=f"{over[-1].place} says otherwise, and counts", server=None)
        made.append(one)
    if not isinstance(reading.servers, McpFile) and reading.servers is not None:
        notice = reading.servers
        made.append(ListedServer("", f"{notice.file}:{notice.line}", "", notice.text))
    return made


def brief(server: McpServer) -> str:
    """For people, in a line."""
    if server.way != "stdio":
        return shown_url(server.url)
    return " ".join([server.command, *shown_arguments(server.args)])


def _of(part: Part) -> Iterator[ListedServer]:
    given = part.file.content[SECTION]
    left = {key: text for key, _, text in part.left}
    for name in given if isinstance(given, dict) else ():
        place = f"{part.file.path}:{part.file.line(SECTION, table_of('', name))}"
        server = part.found.get(name)
        said = given[name] if isinstance(given[name], dict) else {}
        if isinstance(server, McpServer):
            yield ListedServer(name, place, brief(server), _why(server), server)
        elif isinstance(server, WrongServer):
            yield ListedServer(name, place, _told(said), server.problem)
        else:
            yield ListedServer(name, place, _told(said), left.get(name, "is not used"))


def _left_out(one: ListedServer) -> bool:
    return one.server is None and one.why is not None and "unless you trust it" in one.why


def _told(said: Mapping[str, Any]) -> str:
    if isinstance(url := said.get("url"), str) and url:
        return shown_url(url)
    arguments = said.get("args", ())
    words = tuple(str(one) for one in arguments) if isinstance(arguments, list | tuple) else ()
    return " ".join([str(said.get("command", "")), *shown_arguments(words)])


def _why(server: McpServer) -> str | None:
    return None if server.enabled else "it is not enabled"


def _above(reading: Reading, name: str) -> str:
    prefix = f"{table_of(SECTION, name)}."
    origins = {origin for layer in reading.layers for key, origin in layer.origins.items() if key.startswith(prefix)}
    return " and ".join(sorted(origins)) or "the environment"


__all__ = ["ListedServer", "brief", "listed_servers"]
