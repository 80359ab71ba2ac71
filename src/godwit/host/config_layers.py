"""The layers of settings above the files: the environment, and options.

    GODWIT_SERVER__TENANT__BURST=9              the setting `burst` of the table `tenant` of `[server]`
    GODWIT_SET='models."ours:a".images = true'  any settings, as lines of TOML; a variable of its own counts before it
    load(options={"budget.usd": 5})             and before both: a program's, and `godwit --set budget.usd=5`

Owns how these are read, and how they lie over what files say. Leaves out which settings there are (`config_settings`) and
what they mean. Rules a change must keep: they are the person's, who started the process, so no folder is asked; an error
names the variable or the option, and nothing of a wrong layer is used; what is empty or misspelt is an error, never nothing.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import ConfigurationError
from .config_file import File, table_of

PREFIX = "GODWIT_"
LINES = "GODWIT_SET"
"""The variable that holds lines of TOML."""


@dataclass(frozen=True)
class Layer(File):
    """What one of them says, as if it stood in a file. `origins`: the variable or option of each setting. `below`: the file
    whose settings it was laid over."""

    origins: Mapping[str, str]
    below: File | None = None

    def error(self, table: str, key: str, what: str, value: Any = None) -> ConfigurationError:
        setting = f"{table}.{key}" if table and key else table or key
        origin = self.origins.get(setting)
        if origin is None:
            within = {one for name, one in self.origins.items() if name.startswith(f"{setting}.")}
            if not within and self.below is not None:
                return self.below.error(table, key, what, value)
            origin = " and ".join(sorted(within)) or self.path
        return ConfigurationError(f"{origin}: {what}", path=self.path, origin=origin, setting=setting, problem=what)

    def over(self, section: str, below: Any, file: File | None) -> Layer:
        """This layer with what a file says of a section under it."""
        laid = _laid(below, self.content[section]) if isinstance(below, dict) else self.content[section]
        return Layer(self.path, "", {section: laid}, self.origins, file)


def layers_of(
    environment: Mapping[str, str],
    options: Mapping[str, Any] | None,
    known: Sequence[str],
    variables: Mapping[str, str],
) -> tuple[Layer, ...]:
    """What is said above the files, the lower one first. `known`: the sections, and the settings outside of them.
    `variables`: the settings, by the variables that set them. ConfigurationError."""
    found = (_of_lines(environment, known), _of_variables(environment, known, variables), _of_options(options, known))
    return tuple(layer for layer in found if layer is not None)


def together(layers: Sequence[Layer]) -> Layer | None:
    """All of them as one, the higher one counting."""
    if not layers:
        return None
    content: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        content = _laid(content, layer.content)
        for setting in layer.origins:
            # What was a table may be a value now, and the other way round.
            for gone in [one for one in origins if f"{one}.".startswith(f"{setting}.") or setting.startswith(f"{one}.")]:
                del origins[gone]
        origins |= layer.origins
    return Layer(layers[-1].path, "", content, origins)


def settings_in(above: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The single settings of a table, each with its full key."""
    for key, value in content.items():
        name = table_of(above, key)
        if isinstance(value, Mapping) and value:
            yield from settings_in(name, value)
        else:
            yield name, value


def _of_lines(environment: Mapping[str, str], known: Sequence[str]) -> Layer | None:
    try:
        content = tomllib.loads(environment.get(LINES, ""))
    except tomllib.TOMLDecodeError as error:
        what = f"this is no TOML, as in budget.usd = 5: {str(error)[:1].lower()}{str(error)[1:]}"
        raise ConfigurationError(f"{LINES}: {what}", origin=LINES, problem=what) from None
    for key in content:
        _check(LINES, key, known)
    return Layer(LINES, "", content, {key: LINES for key, _ in settings_in("", content)}) if content else None


def _of_variables(environment: Mapping[str, str], known: Sequence[str], variables: Mapping[str, str]) -> Layer | None:
    flat = {name.replace("__", "_"): name for name in variables}
    found: list[tuple[list[str], Any, str]] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX):
            continue
        text = environment[name]
        if name in variables or "__" in name:
            if not text.strip():
                raise _wrong(name, 'it is empty: unset it, or give it a value; the empty text is ""')
            found.append((name.removeprefix(PREFIX).lower().split("__"), value_of(text), name))
        elif name in flat and "://" not in text:  # Kubernetes tells of a service in GODWIT_SERVER_PORT, as tcp://...
            raise _wrong(name, f"nothing reads this variable: did you mean {flat[name]}?")
    return _layer("the environment", found, known)


def _of_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> Layer | None:
    found = []
    for key, value in (options or {}).items():
        found.append((_path(key), value, f"option {key}"))
    return _layer("options", found, known)


def _layer(path: str, found: Sequence[tuple[list[str], Any, str]], known: Sequence[str]) -> Layer | None:
    content: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for (*tables, key), value, origin in found:
        _check(origin, [*tables, key][0], known)
        at, name = content, ""
        for table in tables:
            name = table_of(name, table)
            at = at.setdefault(table, {})
            if not isinstance(at, dict):
                raise _wrong(origin, f"{origins[name]} gives {name} a value that is no table")
        at[key] = _laid(at[key], value) if isinstance(at.get(key), dict) and isinstance(value, dict) else value
        origins |= dict.fromkeys((one for one, _ in settings_in(name, {key: value})), origin)
    return Layer(path, "", content, origins) if content else None


def _check(origin: str, section: str, known: Sequence[str]) -> None:
    if section not in known:
        close = difflib.get_close_matches(section, known, n=1, cutoff=0.5)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise _wrong(origin, f"there is no section {section!r}: {meant}")


def _path(key: str) -> list[str]:
    """The parts of a setting's name as TOML writes it. ConfigurationError."""
    try:
        at: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        at = None
    path = []
    while isinstance(at, dict) and len(at) == 1:
        ((part, at),) = at.items()
        path.append(part)
    if not path or at != 0 or not all(path) or "\n" in key:
        raise _wrong(f"option {key}", "this is no name of a setting, as in budget.usd")
    return path


def value_of(text: str) -> Any:
    """A value as a file writes it; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; what stands above counts."""
    laid = dict(below)
    for key, value in above.items():
        under = laid.get(key)
        laid[key] = _laid(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return laid


def _wrong(origin: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{origin}: {what}", origin=origin, problem=what)


__all__ = ["LINES", "PREFIX", "Layer", "layers_of", "settings_in", "together", "value_of"]
