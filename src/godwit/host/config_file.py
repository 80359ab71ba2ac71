"""File: one configuration file as it was read, and errors that name its line.

Owns the reading of TOML and of its tables into structs, strictly: a key that is not known is an error. Leaves out which
files there are and what their sections mean.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ..core.errors import ConfigurationError

MAX_FILE = 1024 * 1024
"""Bytes."""

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class File:
    """A file that was read: where it is, its text, and what TOML made of it."""

    path: str
    text: str
    content: dict[str, Any]

    def table(self, name: str, given: Any, kind: type[T]) -> T:
        """The table `[name]` as this struct. ConfigurationError, telling file and line; also for a key it does not have and
        for a value that the struct refuses."""
        if not isinstance(given, dict):
            outer, _, last = name.rpartition(".")
            raise self.error(outer, last, f"[{name}] has to be a table")
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        self.check_keys(name, given, known)
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            table, key = _place(name, str(error), given)
            raise self.error(table, key, f"[{table}] {_said(error, key)}") from None
        except ConfigurationError as error:
            field = str(error.details.get("limit") or error.details.get("field") or "")
            table, key = next(((table, field) for table, keys in _tables(name, given) if field in keys), (name, ""))
            raise self.error(table, key, f"[{table}] {error.message}") from None

    def check_keys(self, name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
        """ConfigurationError for a key that the table `[name]` does not have."""
        for key in given:
            if key not in known:
                raise self.error(name, key, f"there is no setting {key!r} in [{name}]{_meant(key, known)}")

    def line(self, table: str, key: str, value: Any = None) -> int:
        """The line, from 1, of this value of the key, or else of the key, or of its table (of one within another: `a.b`)."""
        return _line(self.text, table, key, value)

    def error(self, table: str, key: str, what: str, value: Any = None) -> ConfigurationError:
        line = self.line(table, key, value)
        return ConfigurationError(f"{self.path}:{line}: {what}", path=self.path, line=line, problem=what)


def read(path: str, known: Sequence[str], *, required: bool) -> File | None:
    """The file, or None when there is none and none is required. `known`: the settings and sections it may have.
    ConfigurationError, beginning with file and line."""

    def wrong(what: str, line: int = 1) -> ConfigurationError:
        return ConfigurationError(f"{path}:{line}: {what}", path=path, line=line, problem=what)

    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        if required:
            raise wrong("there is no such file, though GODWIT_CONFIG names it") from None
        return None
    except NotADirectoryError:
        return None
    except OSError as error:
        raise wrong(f"it cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise wrong(f"it has more than {MAX_FILE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise wrong("it is not UTF-8", raw[: error.start].count(b"\n") + 1) from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        at = int(found[1]) if found else text.count("\n") + 1
        said = re.sub(r" \(at (?:line \d+, column \d+|end of document)\)", "", str(error))
        raise wrong(f"this is no TOML: {said[:1].lower()}{said[1:]}", at) from None
    except RecursionError:
        raise wrong("it is nested too deep") from None
    made = File(path, text, content)
    for key in content:
        if key not in known:
            raise made.error("", key, f"there is no setting or section {key!r}{_meant(key, known)}")
    return made


def table_of(section: str, name: str) -> str:
    """The table (or key) of this name within a section, as a file writes it; without one, by itself."""
    word = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return f"{section}.{word}" if section else word


def _meant(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(map(repr, known))}"


def _tables(name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A table and those within it."""
    yield name, given
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _tables(table_of(name, key), value)


def _place(name: str, error: str, given: Any) -> tuple[str, str]:
    """The table and the key that the error of a conversion is about; of one within another the inner one."""
    found = re.search(r"`\$\.([\w.]+)", error)
    keys = found[1].split(".") if found else []
    if unknown := re.search(r"unknown field `(\w+)`", error):
        keys.append(unknown[1])
    table, key = name, ""
    for at, key in enumerate(keys):
        given = given.get(key) if isinstance(given, dict) else None
        if not isinstance(given, dict) or at == len(keys) - 1:
            break
        table = table_of(table, key)
    return table, key


def _said(error: msgspec.ValidationError, key: str) -> str:
    problem = str(error).partition(" - at `")[0].replace("`", "")
    return f"{key}: {problem[:1].lower()}{problem[1:]}" if key else problem


def _line(text: str, table: str, key: str, value: Any = None) -> int:
    """tomllib tells no lines, so they are looked for: the table's header, the key below it, the value from there on."""
    lines = text.split("\n")
    start, header = 0, 0
    if table:
        pattern = re.compile(rf"\s*\[\[?\s*[\"']?{re.escape(table)}[\"']?\s*\]\]?\s*(#.*)?$")
        dotted = re.compile(rf"\s*[\"']?{re.escape(table)}[\"']?\s*[.=]")
        header = next((at for at, line in enumerate(lines) if pattern.match(line)), -1)
        if header < 0:
            header = next((at for at, line in enumerate(lines) if dotted.match(line)), -1)
        if header < 0 and key:
            nested = re.compile(rf"\s*\[\s*{re.escape(table_of(table, key))}\s*\]")
            header = next((at for at, line in enumerate(lines) if nested.match(line)), -1)
        if header < 0:
            outer, _, inner = table.rpartition(".")
            return _line(text, outer, inner) if outer else 1
        start = header
    if not key:
        return header + 1
    if table and re.match(rf"\s*\[\s*{re.escape(table_of(table, key))}\s*\]", lines[header]):
        return header + 1
    name = rf"[\"']?{re.escape(key)}[\"']?\s*(=|\.|$|\])"
    within = rf"(?:[\"']?{re.escape(table)}[\"']?\s*[.=]\s*\{{?\s*)?" if table else ""
    begins = re.compile(rf"\s*(?:\[+\s*)?{within}{name}")
    at = next((i for i, line in enumerate(lines[start:], start) if begins.match(line)), header)
    if isinstance(value, str):
        quoted = {value, value.replace("\\", "\\\\").replace('"', '\\"')}
        return next((i for i, line in enumerate(lines[at:], at) if any(q and q in line for q in quoted)), at) + 1
    return at + 1
