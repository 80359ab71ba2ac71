"""Settings: every one that configuration files may have, with its variable, its type and its default.

All of it follows from the structs in `config_sections.SECTIONS`: nothing is listed by hand, so a setting that is added there
can be set by a variable and by an option, is shown by `godwit config settings`, and has to be told in the manual.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from ..core.lanes import LaneConfig, LaneSettings
from ..core.mcp import McpServer
from .config_layers import PREFIX
from .config_sections import SECTIONS

ANY = "NAME"
"""Stands for the name of a table that may have any."""
OUTSIDE = ("trusted",)
"""The settings outside of all sections."""
# What is a table of its own in a file, or its name.
_ELSEWHERE = {(LaneSettings, "lanes"), (LaneConfig, "name"), (McpServer, "name")}


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of them. `key`: with its tables, as in `server.tenant.burst`. `variable`: sets it; None where only lines of TOML
    in `GODWIT_SET` can. `type`: in words of TOML. `default`: as it would stand in a file; None where that depends, or is
    nothing. `optional`: it stands in a table that may be left out as a whole, and its default counts where that is there."""

    key: str
    variable: str | None
    type: str
    default: Any = None
    optional: bool = False


@functools.cache
def settings() -> tuple[Setting, ...]:
    """All, in the order of the manual."""
    found = [Setting("trusted", variable_of("trusted"), "list of text")]
    for name, section in SECTIONS.items():
        if not section.tables:
            found.append(Setting(name, None, "list of tables"))
        for table, kind in section.tables.items():
            found += _of(table, kind)
    return tuple(found)


@functools.cache
def variables() -> Mapping[str, str]:
    """The settings that have a variable of a fixed name, by it."""
    return {one.variable: one.key for one in settings() if one.variable is not None and ANY not in one.key.split(".")}


def variable_of(key: str) -> str:
    """The variable of a setting."""
    return PREFIX + key.replace(".", "__").upper()


def _of(table: str, kind: type[msgspec.Struct], *, optional: bool = False) -> Iterator[Setting]:
    told = typing.get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        if (kind, field.name) in _ELSEWHERE:
            continue
        key, inner = f"{table}.{field.name}", _struct(told[field.name])
        if inner is not None:
            yield from _of(key, inner, optional=optional or type(None) in typing.get_args(told[field.name]))
            continue
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        shown = None if default is msgspec.NODEFAULT else msgspec.to_builtins(default)
        yield Setting(key, variable_of(key), _word(told[field.name]), shown, optional)


def _struct(told: Any) -> type[msgspec.Struct] | None:
    """The table that a field is, where it is one."""
    kinds = [one for one in (told, *typing.get_args(told)) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return kinds[0] if kinds and typing.get_origin(told) in (None, types.UnionType, typing.Union) else None


def _word(told: Any) -> str:
    origin, inner = typing.get_origin(told), [one for one in typing.get_args(told) if one is not type(None)]
    if origin is Literal:
        return ", ".join(f'"{one}"' if isinstance(one, str) else str(one).lower() for one in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(_word(one) for one in inner))
    if origin is tuple:
        one = _word(inner[0])
        return f"list of {one}" if len(inner) == 1 or inner[1] is ... else f"list of {len(inner)}"
    if origin is dict:
        return "table"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(told, "text")


__all__ = ["ANY", "OUTSIDE", "Setting", "settings", "variable_of", "variables"]
