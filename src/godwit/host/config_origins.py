"""Origins: every setting that holds for a folder, and where it comes from: a default, a file and its line, a variable, an
option.

For people, as `godwit config show`. Leaves out what settings mean, and what agents, flags and saved rules say. Rule: what
may be secret is not shown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..core.agent import ContextPolicy
from ..core.checkpoint import CheckpointPolicy
from .config import read_files
from .config_choices import choices
from .server_settings import ServerSettings

HIDDEN = '"***"'
_SECRET = re.compile(r"(^|[._])(key|api_key|token|secret|password|authorization)$", re.IGNORECASE)
_DEFAULTS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("checkpoints", CheckpointPolicy),
    ("context", ContextPolicy),
    ("server", ServerSettings),
)


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A setting. `value`: as JSON; of a list in files, one of its values. `origin`: `default`, `file:line`, a variable's
    name, or an option. `why`: why it does not hold, None when it does."""

    key: str
    value: str
    origin: str
    why: str | None = None


def origins(
    workspace: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    defaults: bool = False,
) -> list[Origin]:
    """The settings for sessions in this folder, from the lowest layer to the highest; those that do not hold among them.
    `defaults`: also those that nobody has set. ConfigurationError."""
    known = os.environ if environment is None else environment
    reading = read_files(workspace, environment=known, options=options)
    said = [
        Origin(key, _shown(key, value), layer.origins[key])
        for layer in reading.layers
        for key, value in _settings("", layer.content)
    ]
    highest = {one.key: one.origin for one in said}
    above = [one if highest[one.key] == one.origin else _behind(one, highest) for one in said]
    files = [
        Origin(
            choice.key, HIDDEN if _SECRET.search(choice.key) else choice.value, f"{choice.file}:{choice.line}", choice.why
        )
        for choice in choices(workspace, environment=known).choices
    ]
    files = [one if one.key not in highest or one.why is not None else _behind(one, highest) for one in files]
    found = [*files, *above]
    if defaults:
        held = {one.key for one in found if one.why is None}
        found = [*(one for one in _defaults() if one.key not in held), *found]
    return found


def _behind(one: Origin, highest: Mapping[str, str]) -> Origin:
    return msgspec.structs.replace(one, why=f"{highest[one.key]} says otherwise, and counts")


def _defaults() -> Iterator[Origin]:
    for section, kind in _DEFAULTS:
        for key, value in _fields(kind):
            yield Origin(f"{section}.{key}", _shown(key, value), "default")


def _fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    made = kind()
    for name in made.__struct_fields__:
        value = getattr(made, name)
        if isinstance(value, bool | int | float | str):
            yield name, value


def _settings(above: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            yield from _settings(name, value)
        else:
            yield name, value


def _shown(key: str, value: Any) -> str:
    return HIDDEN if _SECRET.search(key) else json.dumps(value, ensure_ascii=False, default=str)
