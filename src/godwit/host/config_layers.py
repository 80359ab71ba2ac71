"""The layers of settings above the files: the environment, and options.

    GODWIT_BUDGET__USD=5        the setting `usd` of `[budget]`; of a table within: GODWIT_BUDGET__TREE__USD
    load(options={"budget.usd": 5})

Owns which settings they reach and how a variable is read: those of `[budget]`, `[checkpoints]` and `[context]`, each a
single value. Lists and tables (rules, hooks, models) are for files. Rules a change must keep: an option counts before a
variable, and both before every file; they are the person's, who started the process, so no folder is asked; an error names
the variable or the option.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import ConfigurationError
from .config_file import File

SECTIONS = ("budget", "checkpoints", "context")
PREFIX = "GODWIT_"


@dataclass(frozen=True)
class Layer(File):
    """What one of them says, as if it stood in a file. `origins`: the variable or option of each setting."""

    origins: Mapping[str, str]

    def error(self, table: str, key: str, what: str, value: Any = None) -> ConfigurationError:
        origin = self.origins.get(f"{table}.{key}", self.path)
        return ConfigurationError(f"{origin}: {what}", path=self.path, problem=what)


def of_environment(environment: Mapping[str, str]) -> Layer | None:
    """What variables with two underscores between section and setting say. ConfigurationError for a section that there is
    not."""
    found: dict[str, tuple[Any, str]] = {}
    for name in sorted(environment):
        if name.startswith(PREFIX) and "__" in name:
            found[".".join(name.removeprefix(PREFIX).lower().split("__"))] = _value(environment[name]), name
    return _layer("the environment", found)


def of_options(options: Mapping[str, Any] | None) -> Layer | None:
    """What the caller says. ConfigurationError for a section that there is not."""
    return _layer("options", {key: (value, f"option {key}") for key, value in (options or {}).items()})


def _layer(path: str, found: Mapping[str, tuple[Any, str]]) -> Layer | None:
    content: dict[str, Any] = {}
    for setting, (value, origin) in found.items():
        *tables, key = setting.split(".")
        if not tables or tables[0] not in SECTIONS:
            raise ConfigurationError(f"{origin}: only settings of {', '.join(SECTIONS)} are set this way", setting=setting)
        at = content
        for table in tables:
            at = at.setdefault(table, {})
        at[key] = value
    return Layer(path, "", content, {setting: origin for setting, (_, origin) in found.items()}) if content else None


def _value(text: str) -> Any:
    """A value as a file writes it; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
