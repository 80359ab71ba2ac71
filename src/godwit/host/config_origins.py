"""Origins: every setting that holds for a folder, and where it comes from: a default, a file and its line, a variable, an
option.

For people, as `godwit config show`. Leaves out what settings mean, and what agents, flags and saved rules say. Rule: what
may be secret is not shown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..core.agent import ContextPolicy
from ..core.checkpoint import CheckpointPolicy
from ..core.memory import MemoryPolicy
from ..core.nudges import NudgePolicy
from ..core.tool_search import ToolSearchPolicy
from .config import read_files
from .config_choices import choices
from .config_layers import settings_in
from .config_sections import SECTIONS
from .config_servers import shown
from .config_settings import ANY, settings
from .mcp.settings import McpSettings

HIDDEN = '"***"'
_SECRET = re.compile(r"(^|[._])(key|api_key|token|secret|password|authorization)$", re.IGNORECASE)
_DEFAULTS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("checkpoints", CheckpointPolicy),
    ("context", ContextPolicy),
    ("nudges", NudgePolicy),
    ("tool_search", ToolSearchPolicy),
    ("memory", MemoryPolicy),
    ("mcp", McpSettings),
)
"""Where a section's own struct says only what is set: whose defaults count then."""


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
    layers = [{key: value for key, value in settings_in("", layer.content)} for layer in reading.layers]
    highest = {key: layer.origins[key] for layer, found in zip(reading.layers, layers, strict=True) for key in found}
    said = [
        Origin(key, _shown(key, value), layer.origins[key])
        for layer, found in zip(reading.layers, layers, strict=True)
        for key, value in found.items()
    ]
    above = [one if highest[one.key] == one.origin else _behind(one, highest) for one in said]
    files = [
        Origin(
            choice.key, HIDDEN if _SECRET.search(choice.key) else choice.value, f"{choice.file}:{choice.line}", choice.why
        )
        for choice in choices(workspace, environment=known, options=options).choices
    ]
    # What lists of rules and paths say is added up.
    highest = {key: origin for key, origin in highest.items() if not _adds_up(key, layers)}
    files = [one if one.key not in highest or one.why is not None else _behind(one, highest) for one in files]
    found = [*files, *above]
    if defaults:
        held = {one.key for one in found if one.why is None}
        found = [*(one for one in _defaults() if one.key not in held), *found]
    return found


def _adds_up(key: str, layers: Sequence[Mapping[str, Any]]) -> bool:
    section = SECTIONS.get(key.partition(".")[0])
    if section is None or section.meets != "added":
        return False
    return any(isinstance(found.get(key), list) for found in layers)


def _behind(one: Origin, highest: Mapping[str, str]) -> Origin:
    return msgspec.structs.replace(one, why=f"{highest[one.key]} says otherwise, and counts")


def _defaults() -> Iterator[Origin]:
    standard = {f"{section}.{key}": value for section, kind in _DEFAULTS for key, value in _fields(kind)}
    for setting in settings():
        value = standard.get(setting.key, setting.default)
        if (
            value is not None
            and not setting.optional
            and ANY not in setting.key.split(".")
            and not isinstance(value, list | dict)
        ):
            yield Origin(setting.key, _shown(setting.key, value), "default")


def _fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    made = kind()
    for name in made.__struct_fields__:
        yield name, getattr(made, name)


def _shown(key: str, value: Any) -> str:
    return HIDDEN if _SECRET.search(key) else json.dumps(shown(key, value), ensure_ascii=False, default=str)
