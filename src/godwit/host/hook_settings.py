"""Hooks as people write them in files: `[[hooks]]` tables of ours, and the `hooks` of a Claude Code settings file.

Whether a file's folder is trusted is the caller's business: what is read here is run. Rules a change must keep: what cannot
be used is refused with the place it stands at, and nothing of that file is taken; a key that would narrow a hook and is not
known is refused as well, since a hook that is silently narrower or wider than written is worse than none.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..core.errors import ConfigurationError
from ..core.hooks import CLAUDE_TOOLS, HookMatcher, HookSpec, point_named
from .hooks import HOOK_KIT
from .json_lines import Lines, lines_of, place_in

CLAUDE_TIMEOUT_S = 60.0
"""What a hook of a Claude Code settings file gets when it names no timeout."""


def read_hooks(files: Iterable[str | os.PathLike[str]]) -> list[HookSpec]:
    """The hooks of these files, in their order: Claude Code's when a name ends in `.json`, else `[[hooks]]` tables.

    ConfigurationError, telling file and line; also when a file cannot be read or two hooks share an id.
    """
    found: dict[str, HookSpec] = {}
    for file in files:
        name = os.fspath(file)
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read hooks from {name!r}: {error}", file=name) from None
        read = hooks_from_claude if name.endswith(".json") else hooks_from_toml
        for spec in read(text, name, source=name):
            if spec.id in found:
                raise ConfigurationError(f"{name}: there is a hook {spec.id!r} already", hook=spec.id, place=name)
            found[spec.id] = spec
    return list(found.values())


_TABLE_BEGINS = re.compile(r"[ \t]*\[\[[ \t]*hooks[ \t]*\]\]")


def hooks_from_toml(text: str, file: str, *, source: str = "hook") -> list[HookSpec]:
    """The `[[hooks]]` tables of a TOML file, whatever else is in it. ConfigurationError, telling file and line."""
    try:
        tables = tomllib.loads(text).get("hooks", [])
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{file}:{line[1]}" if line is not None else file
        raise ConfigurationError(f"{place}: no TOML: {error}", place=place) from None
    lines = [n for n, line in enumerate(text.splitlines(), 1) if _TABLE_BEGINS.match(line)]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{file}: hooks are written as [[hooks]] tables", place=file)
    known = lines if len(lines) == len(tables) else [None] * len(tables)
    places = [file if line is None else f"{file}:{line}" for line in known]
    return hooks_from_tables(tables, places, source=source)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """One `[[hooks]]` table. `matcher` as text is a tool's name."""

    point: str
    command: str
    id: str | None = None
    matcher: dict[str, Any] | str | None = None
    priority: int = 100
    timeout_s: float = 30.0
    retries: int = 0
    background: bool = False


class _MatcherTable(msgspec.Struct, forbid_unknown_fields=True):
    tool: str | None = None
    tool_regex: str | None = None
    path: str | None = None
    command: str | None = None
    when: dict[str, str] = {}


def hooks_from_tables(tables: Sequence[Mapping[str, Any]], places: Sequence[str], *, source: str = "hook") -> list[HookSpec]:
    """The hooks of `[[hooks]]` tables. `places`: where each stands (`godwit.toml:12`), for errors. `source`: begins the ids
    of those that name none. ConfigurationError, telling the place."""
    found: list[HookSpec] = []
    for number, (table, place) in enumerate(zip(tables, places, strict=True), 1):
        spec = hook_from_table(table, place, default_id=f"{source}-{number}")
        if any(other.id == spec.id for other in found):
            raise ConfigurationError(f"{place}: there is a hook {spec.id!r} already", hook=spec.id, place=place)
        found.append(spec)
    return found


def hook_from_table(table: Mapping[str, Any], place: str, *, default_id: str) -> HookSpec:
    """One `[[hooks]]` table as a hook. ConfigurationError, telling the place."""
    if "command" not in table and "point" in table:
        raise ConfigurationError(
            f"{place}: this hook has no command; a hook with a Python function is given to Agent(hooks=[...])", place=place
        )
    try:
        given = msgspec.convert(dict(table), _Table)
        matcher = given.matcher
        if isinstance(matcher, str):
            matcher = {"tool": matcher}
        fields = msgspec.to_builtins(msgspec.convert(matcher or {}, _MatcherTable))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{place}: {_readable(error)}", place=place) from None
    return _checked(
        place,
        id=given.id or default_id,
        point=given.point,
        matcher=HookMatcher(**fields),
        command=given.command,
        priority=given.priority,
        timeout_s=given.timeout_s,
        retries=given.retries,
        background=given.background,
    )


def _readable(error: msgspec.ValidationError) -> str:
    text = str(error)
    unknown = re.search(r"unknown field `(\w+)`", text)
    if unknown is None:
        return text
    inside = " of a matcher" if unknown[1] in ("tool", "path") or "$" in text else ""
    known = _MatcherTable if inside else _Table
    return f"there is no key {unknown[1]!r}; a hook has {', '.join(known.__struct_fields__)}"


def _checked(place: str, **fields: Any) -> HookSpec:
    """The hook, once it is known that it can be used."""
    try:
        spec = HookSpec(**fields)
        HOOK_KIT.matcher(spec)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error.message}", **{**error.details, "place": place}) from None
    return spec


# --- Claude Code ------------------------------------------------------------------------------------------------------

_MATCHED_BY_TOOL = ("PreToolUse", "PostToolUse", "PostToolUseFailure", "PermissionRequest")
_MATCHED_BY = {"SessionStart": "source", "SessionEnd": "reason"}
_NAMES_ONLY = re.compile(r"[A-Za-z0-9_\-, |]*")
_KNOWN = ("type", "command", "timeout", "async", "statusMessage")
_OUR_TOOLS: dict[str, str] = {}
for _ours, _theirs in CLAUDE_TOOLS.items():
    _OUR_TOOLS[_theirs] = f"{_OUR_TOOLS[_theirs]}|{_ours}" if _theirs in _OUR_TOOLS else _ours
_OUR_TOOLS["MultiEdit"] = _OUR_TOOLS["Edit"]


def hooks_from_claude(text: str, file: str, *, source: str = "claude") -> list[HookSpec]:
    """The command hooks in the `hooks` object of a Claude Code settings file; its other settings are left alone.

    `file`: its name, for errors. `source`: begins the ids. ConfigurationError, telling file and line.
    """
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{file}:{error.lineno}: no JSON: {error.msg}", place=f"{file}:{error.lineno}") from None
    lines = lines_of(text)
    events = _is(settings, dict, "an object", file, lines, ()).get("hooks", {})
    if settings.get("disableAllHooks") is True:
        return []
    found: list[HookSpec] = []
    for event, groups in _is(events, dict, "an object", file, lines, ("hooks",)).items():
        path: tuple[str | int, ...] = ("hooks", event)
        try:
            point = point_named(event)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place_in(file, lines, path)}: {error.message}") from None
        for g, group in enumerate(_is(groups, list, "a list", file, lines, path)):
            here = (*path, g)
            place = place_in(file, lines, here)
            unknown = set(_is(group, dict, "an object", file, lines, here)) - {"matcher", "hooks", "description"}
            if unknown:
                raise ConfigurationError(f"{place}: {event} has the unknown keys {sorted(unknown)}", place=place)
            matcher = _claude_matcher(event, group.get("matcher"), place)
            hooks = _is(group.get("hooks"), list, "a list", file, lines, (*here, "hooks"))
            for h, hook in enumerate(hooks):
                place = place_in(file, lines, (*here, "hooks", h))
                _is(hook, dict, "an object", file, lines, (*here, "hooks", h))
                command = _claude_command(event, hook, place)
                found.append(
                    _checked(
                        place,
                        id=f"{source}:{event}-{g + 1}-{h + 1}",
                        point=point,
                        matcher=matcher,
                        command=command,
                        timeout_s=hook.get("timeout", CLAUDE_TIMEOUT_S),
                        background=hook.get("async", False),
                    )
                )
    return found


def _claude_command(event: str, hook: dict[str, Any], place: str) -> str:
    """The hook's command, after all of its keys were looked at."""
    kind = hook.get("type")
    if kind != "command":
        raise ConfigurationError(f"{place}: a hook of type {kind!r} is not supported: only 'command' is", place=place)
    unknown = sorted(set(hook) - set(_KNOWN))
    if unknown:
        raise ConfigurationError(
            f"{place}: {event} has a hook with {', '.join(map(repr, unknown))}, which is not supported; known are"
            f" {', '.join(_KNOWN)}",
            place=place,
        )
    command, timeout_s, background = hook.get("command"), hook.get("timeout", 1), hook.get("async", False)
    if not isinstance(command, str):
        raise ConfigurationError(f"{place}: a hook's command is text, not {command!r}", place=place)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float):
        raise ConfigurationError(f"{place}: a hook's timeout is a number of seconds, not {timeout_s!r}", place=place)
    if not isinstance(background, bool):
        raise ConfigurationError(f"{place}: a hook's async is true or false, not {background!r}", place=place)
    return command


def _claude_matcher(event: str, given: Any, place: str) -> HookMatcher:
    """Names alone are names; anything else is a regular expression that is searched, as Claude Code has it."""
    when = {"PostToolUse": {"status": "ok"}, "PostToolUseFailure": {"status": "error|unknown"}}.get(event, {})
    if given is not None and not isinstance(given, str):
        raise ConfigurationError(f"{place}: a matcher is text, not {given!r}", place=place)
    if given in (None, "", "*"):
        return HookMatcher(when=when)
    assert isinstance(given, str)
    if event in _MATCHED_BY:
        if not _NAMES_ONLY.fullmatch(given):
            raise ConfigurationError(f"{place}: the matcher of {event} names its {_MATCHED_BY[event]}, not {given!r}")
        return HookMatcher(when={_MATCHED_BY[event]: "|".join(_names(given))})
    if event not in _MATCHED_BY_TOOL:
        return HookMatcher()  # as there, a matcher means nothing here
    if not _NAMES_ONLY.fullmatch(given):
        return HookMatcher(tool_regex=given, when=when)
    return HookMatcher(tool="|".join(_OUR_TOOLS.get(name, name) for name in _names(given)), when=when)


def _names(text: str) -> list[str]:
    return [name for name in re.split(r"[|,]\s*", text.strip()) if name]


def _is(value: Any, kind: type, wanted: str, file: str, lines: Lines, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, kind):
        return value
    place = place_in(file, lines, path)
    name = ".".join(str(step) for step in path) or "the file"
    raise ConfigurationError(f"{place}: {name} must be {wanted}, not {json.dumps(value)[:60]}", place=place)
