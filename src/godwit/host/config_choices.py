"""Choices: every setting that configuration files make for a folder, one by one: which file says it, and whether it holds.

For people who wonder what is in force. Leaves out what the settings mean, and what comes from elsewhere (agents, flags,
saved rules). Rules a change must keep: a setting that does not hold says why; the text of a hook's command is not shown,
since it may hold what is secret.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .config import PROJECT_FILE, Config, Part, Reading, load, read_files, user_file
from .config_file import table_of
from .config_sections import SECTIONS
from .config_servers import SECTION as SERVERS, WrongServer, shown

_HOOK = re.compile(r"\s*\[\[\s*hooks\s*\]\]")
_WHOLE, _EACH, _NAMED = (
    {name for name, section in SECTIONS.items() if section.meets == how} for how in ("whole", "each", "named")
)
"""Sections of which the folder's takes the place of the person's as a whole, setting by setting, or name by name."""


class ConfigFile(msgspec.Struct, frozen=True):
    """A place where a configuration file is looked for; `found`: there is one. `trusted`: what it says counts in full."""

    path: str
    found: bool
    trusted: bool


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One setting of one file. `key`: with its section, as in `budget.tree.usd`. `value`: as JSON; of a list, one of its
    values. `why`: why it does not hold, None when it does."""

    key: str
    value: str
    file: str
    line: int
    why: str | None = None


class Choices(msgspec.Struct, frozen=True):
    """`user`, `project`: the places; None where none is looked for. `choices`: in the order of the files."""

    user: ConfigFile | None
    project: ConfigFile | None
    choices: tuple[Choice, ...]


def choices(
    workspace: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Choices:
    """What the files say of sessions in this folder, where `options` are given. ConfigurationError, beginning with file and
    line."""
    reading = read_files(workspace, environment=environment, options=options)
    config = load(workspace, environment=environment, options=options)
    own = user_file(environment)
    user = (
        None if own is None else ConfigFile(own, reading.user is not None, reading.user is not None and not reading.within)
    )
    place = os.path.join(os.path.realpath(workspace), PROJECT_FILE)
    project: ConfigFile | None = ConfigFile(place, reading.project is not None, reading.trusted)
    if own is not None and os.path.realpath(own) == os.path.realpath(place):
        project = None
    found = [choice for part in reading.parts for choice in _of(part, reading, config)]
    return Choices(user, project, tuple(found))


def _of(part: Part, reading: Reading, config: Config) -> Iterator[Choice]:
    tables = iter([at for at, line in enumerate(part.file.text.split("\n"), 1) if _HOOK.match(line)])
    for key, value in _said(part.section, part.file.content[part.section]):
        table, _, last = key.rpartition(".")
        line = part.file.line(table, last or part.section, value if part.section == "permissions" else None)
        if part.section == "hooks":
            line = next(tables, line)
        text = json.dumps(shown(key, value), ensure_ascii=False, default=str)
        why = _left(part, key, value) or _wrong(part, key) or _replaced(part, key, value, reading, config)
        yield Choice(key, text, part.file.path, line, why)


def _said(name: str, given: Any) -> Iterator[tuple[str, Any]]:
    """The settings of a section, each with its key."""
    if name == "hooks":
        for hook in given:
            yield "hooks", hook.get("id") or " ".join(str(hook[k]) for k in ("point", "matcher") if k in hook)
        return
    for key, value in given.items():
        if isinstance(value, dict) and key != "price":
            yield from _said(table_of(name, key), value)
        elif name == "permissions" and isinstance(value, list):
            yield from ((f"{name}.{key}", one) for one in value)
        else:
            yield f"{name}.{key}", value


def _left(part: Part, key: str, value: Any) -> str | None:
    """Why it is not used, although nothing else says otherwise."""
    for left, which, text in part.left:
        whole = not left or part.section in _WHOLE
        if part.section in _NAMED and key.startswith(f"{table_of(part.section, left)}."):
            return text
        if whole or (f"{part.section}.{left}" == key and (which is None or which == value)):
            return text
    return None


def _wrong(part: Part, key: str) -> str | None:
    """What is wrong with the MCP server that it is about."""
    if part.section != SERVERS:
        return None
    wrong = ((name, one) for name, one in part.found.items() if isinstance(one, WrongServer))
    return next((one.problem for name, one in wrong if key.startswith(f"{table_of(SERVERS, name)}.")), None)


def _replaced(part: Part, key: str, value: Any, reading: Reading, config: Config) -> str | None:
    """Which file says otherwise and counts."""
    if part.section in _NAMED:
        # A folder may have two files that name the same, of which the one that was read last counts.
        after = reading.parts[reading.parts.index(part) + 1 :]
        over = [p for p in after if p.section == part.section and _names(p, key)]
        return f"{over[-1].file.path} says otherwise, and counts" if over else None
    others = [p for p in reading.parts if p.section == part.section and p.whose != part.whose]
    if not others:
        return None
    other = others[0]
    told = False
    if key == "permissions.default":
        told = config.default != value
    elif part.section == "sandbox" and not isinstance(value, list | dict):
        told = getattr(config.sandbox, key.removeprefix("sandbox."), value) != value
    elif key == "sandbox.environment" and part.whose == "user":
        told = other.found.environment is not None
    elif part.whose == "user" and part.section == "hooks":
        told = value in [v for _, v in _said("hooks", other.file.content["hooks"])] and bool(other.found)
    elif part.whose == "user" and part.section in _WHOLE:
        told = other.found is not None
    elif part.whose == "user" and part.section in _EACH:
        told = any(k == key and _left(other, k, v) is None for k, v in _said(part.section, other.file.content[part.section]))
    return f"{other.file.path} says otherwise, and counts" if told else None


def _names(part: Part, key: str) -> bool:
    return any(key.startswith(f"{table_of(part.section, name)}.") for name in part.found)


__all__ = ["Choice", "Choices", "ConfigFile", "choices"]
