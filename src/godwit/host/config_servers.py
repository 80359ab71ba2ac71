"""The MCP servers that files name: `[mcp.servers.NAME]` tables of configuration files, and a folder's `.mcp.json`.

Owns reading them, and how they are shown; leaves out which files count, and for whom (`config`, `trust`). Rules a change
must keep: an entry that cannot be used is kept with what is wrong and its line, so that it is told and the others are used;
it still takes the place of the person's of its name, since whoever wrote it did not mean that one; what may be secret is not
shown; what stands above the files is an error where it is wrong, as all of it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ..core.errors import ConfigurationError
from ..core.mcp import McpServer
from ..core.sandbox import CREDENTIAL
from .config_file import File, table_of
from .config_layers import Layer
from .json_lines import lines_of
from .mcp.files import MORE, MOST_BYTES, server_of

SECTION = "mcp.servers"
FILE = ".mcp.json"
HIDDEN = "***"


class WrongServer(msgspec.Struct, frozen=True):
    """An entry that cannot be used, and why."""

    line: int
    problem: str


Servers = dict[str, McpServer | WrongServer]


@dataclass(frozen=True)
class McpFile(File):
    """A folder's `.mcp.json`. Its `content` has what it says of each server in our words. `servers`: what they come to.
    `lines`: of its servers and of their settings."""

    servers: Servers = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, table: str, key: str, value: Any = None) -> int:
        whole = f"{table}.{key}" if table and key else table or key
        return self.lines.get(whole) or self.lines.get(table) or 1


def apart(file: File | None) -> File | None:
    """The file with its servers as a section of their own: each of them counts by itself, the rest of `[mcp]` as a whole."""
    mcp = None if file is None else file.content.get("mcp")
    if file is None or not isinstance(mcp, dict) or "servers" not in mcp:
        return file
    rest = {key: value for key, value in mcp.items() if key != "servers"}
    others = {key: value for key, value in file.content.items() if key != "mcp"}
    content = {**others, **({"mcp": rest} if rest else {}), SECTION: mcp["servers"]}
    if isinstance(file, Layer):
        return Layer(file.path, file.text, content, file.origins, file.below)
    return File(file.path, file.text, content)


def servers_from(file: File, given: Any) -> Servers:
    """The servers of a section. ConfigurationError when it is no table, or stands above the files and is wrong."""
    if isinstance(file, McpFile):
        return file.servers
    if not isinstance(given, dict):
        raise file.error("mcp", "servers", "[mcp.servers] has to be a table of tables, as in [mcp.servers.NAME]")
    found: Servers = {}
    for name, said in given.items():
        try:
            found[name] = _server(file, name, said)
        except ConfigurationError as error:
            if isinstance(file, Layer):
                raise
            found[name] = WrongServer(int(error.details.get("line", 1)), str(error.details.get("problem", error.message)))
    return found


def _server(file: File, name: str, said: Any) -> McpServer:
    table = table_of(SECTION, name)
    if isinstance(said, dict):
        file.check_keys(table, said, FIELDS)
        said = {**said, "name": name}
    return file.table(table, said, McpServer)


FIELDS = tuple(name for name in McpServer.__struct_fields__ if name != "name")
"""The settings of a table: its name is the server's."""


def read_mcp_file(path: str, environment: Mapping[str, str]) -> McpFile | WrongServer | None:
    """A folder's file; what is wrong with it as a whole; None when there is none."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            return WrongServer(1, f"it has more than {MOST_BYTES} bytes")
        text = raw.decode()
        content = json.loads(text)
    except json.JSONDecodeError as error:
        return WrongServer(error.lineno, f"this is no JSON: {error.msg[:1].lower()}{error.msg[1:]}")
    except UnicodeDecodeError as error:
        return WrongServer(raw[: error.start].count(b"\n") + 1, "it is not UTF-8")
    except OSError as error:
        return WrongServer(1, f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        return WrongServer(1, "it cannot be read: it is nested too deep, or has a number that is too long")
    root = "mcpServers" if isinstance(content, dict) and "mcpServers" in content else "servers"
    listed = content.get(root) if isinstance(content, dict) else None
    if not isinstance(listed, dict):
        return WrongServer(1, "MCP servers are an object mcpServers, by their names")
    at = lines_of(text)
    lines = {
        ".".join([table_of(SECTION, str(path[1])), *(table_of("", _word(str(step))) for step in _flat(path[2:]))]): line
        for path, line in at.items()
        if len(path) > 1 and path[0] == root and path[2:] != ("godwit",)
    }
    servers: Servers = {}
    tables: dict[str, Any] = {}
    for name, entry in listed.items():
        tables[name] = _in_our_words(entry)
        try:
            servers[name] = server_of(name, entry, environment)
        except ConfigurationError as error:
            problem = error.message.removeprefix(f"MCP server {name!r}: ")
            servers[name] = WrongServer(lines.get(table_of(SECTION, name), 1), f"MCP server {name!r}: {problem}")
    return McpFile(path, text, {SECTION: tables}, servers, lines)


def _word(name: str) -> str:
    return {"type": "transport", "disabled": "enabled"}.get(name, name)


def _flat(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where a setting stands in an entry, with those of `godwit` beside the others."""
    return path[1:] if path[:1] == ("godwit",) else path


def _in_our_words(entry: Any) -> dict[str, Any]:
    """What is understood of an entry."""
    if not isinstance(entry, dict):
        return {}
    more = entry.get("godwit")
    known = {_word(key): value for key, value in entry.items() if _word(key) in FIELDS and key not in MORE}
    known |= {key: value for key, value in more.items() if key in MORE} if isinstance(more, dict) else {}
    if "disabled" in entry:
        known["enabled"] = not entry["disabled"]
    return known


def laid_open(file: File, name: str) -> Any:
    """What a file says of a server, as a table of ours that something may be laid over."""
    if isinstance(file, McpFile) and isinstance(server := file.servers.get(name), McpServer):
        return {key: value for key, value in msgspec.to_builtins(server).items() if key != "name"}
    return file.content[SECTION][name]


# --- shown --------------------------------------------------------------------------------------------------------------

_KEY = re.compile(r"mcp\.servers\.(?:\"[^\"]*\"|[^.\"]+)\.(\w+)(?:\.(.+))?")
_REFERENCE = re.compile(r"(?:[A-Za-z]+ )?\$\{\w+\}")


def shown(key: str, value: Any) -> Any:
    """The value of a setting without what may be secret in it; of any other setting than a server's as it is."""
    found = _KEY.fullmatch(key)
    if found is None:
        return value
    if found[1] in ("env", "headers"):
        return {name: _hidden(one) for name, one in value.items()} if isinstance(value, dict) else _hidden(value)
    if found[1] == "args" and isinstance(value, list | tuple):
        return list(shown_arguments(str(one) for one in value))
    return shown_url(value) if found[1] == "url" and isinstance(value, str) else value


def _hidden(value: Any) -> Any:
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else HIDDEN


def shown_arguments(given: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    """Arguments of a program, without the values of those that look like credentials."""
    secret = False
    for one in given:
        name, equals, rest = one.partition("=")
        if secret and not one.startswith("-"):
            yield _hidden(one)
            secret = False
            continue
        looks = CREDENTIAL.search(name.replace("-", "_")) is not None
        secret = looks and one.startswith("-") and not equals
        yield f"{name}={_hidden(rest)}" if looks and equals else shown_url(one) if "://" in one else one


def shown_url(url: str) -> str:
    """An address without a password in it, and without its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}" if at else host, query=HIDDEN if parts.query else ""))


__all__ = [
    "FIELDS",
    "FILE",
    "SECTION",
    "McpFile",
    "Servers",
    "WrongServer",
    "apart",
    "laid_open",
    "read_mcp_file",
    "servers_from",
    "shown",
    "shown_arguments",
    "shown_url",
]
