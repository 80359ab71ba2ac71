"""What a docstring says of a function and of its parameters: Google, NumPy, Sphinx or plain.

Only what a model is told is taken: the text before the first section, and the parameters. Types in docstrings are passed
over, annotations tell them. A docstring that follows no style is all description; nothing here ever fails.
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters"}
_OTHERS = {
    "returns",
    "return",
    "yields",
    "yield",
    "raises",
    "raise",
    "example",
    "examples",
    "attributes",
    "see also",
    "references",
}
_GOOGLE_ITEM = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ITEM = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX_ITEM = re.compile(r"^:(\w+)(?:\s+([^:]*?))?:\s*(.*)$")


class Docstring(NamedTuple):
    description: str
    parameters: dict[str, str]


def parse(text: str | None) -> Docstring:
    lines = inspect.cleandoc(text or "").splitlines()
    description: list[str] = []
    parameters: dict[str, str] = {}
    sections = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if found := _SPHINX_ITEM.match(line):
            at, block = _indented(lines, at + 1)
            sections = True
            if found[1] in ("param", "parameter", "arg", "argument", "key", "keyword") and found[2]:
                parameters[found[2].split()[-1].lstrip("*")] = _joined([found[3], *block])
            continue
        title = line.strip().lower()
        underlined = at + 1 < len(lines) and re.fullmatch(r"\s*-{3,}\s*", lines[at + 1]) is not None
        if underlined and title in _PARAMETERS | _OTHERS:
            at, block = _numpy_section(lines, at + 2)
            sections = True
            if title in _PARAMETERS:
                parameters |= _numpy_items(block)
            continue
        if title.endswith(":") and title[:-1] in _PARAMETERS | _OTHERS and line[:1].strip():
            at, block = _indented(lines, at + 1)
            sections = True
            if title[:-1] in _PARAMETERS:
                parameters |= _google_items(block)
            continue
        if not sections or line.strip():
            description.append(line)
        at += 1
    return Docstring("\n".join(description).strip(), {name: text for name, text in parameters.items() if text})


def _indented(lines: list[str], at: int) -> tuple[int, list[str]]:
    """The lines that belong under the one before `at`: indented or empty."""
    start = at
    while at < len(lines) and (not lines[at].strip() or lines[at][0] in " \t"):
        at += 1
    return at, lines[start:at]


def _numpy_section(lines: list[str], at: int) -> tuple[int, list[str]]:
    start = at
    while at < len(lines):
        if at + 1 < len(lines) and lines[at].strip() and re.fullmatch(r"\s*-{3,}\s*", lines[at + 1]):
            break
        at += 1
    return at, lines[start:at]


def _google_items(block: list[str]) -> dict[str, str]:
    block = inspect.cleandoc("\n".join(["", *block])).splitlines()
    items: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in block:
        found = _GOOGLE_ITEM.match(line)
        if found:
            current = items.setdefault(found[1], [found[2]])
        elif current is not None and line.strip():
            current.append(line)
    return {name: _joined(texts) for name, texts in items.items()}


def _numpy_items(block: list[str]) -> dict[str, str]:
    items: dict[str, list[str]] = {}
    names: list[str] = []
    for line in block:
        if line[:1].strip():
            found = _NUMPY_ITEM.match(line)
            names = [name.strip().lstrip("*") for name in found[1].split(",")] if found else []
            for name in names:
                items[name] = []
        elif line.strip():
            for name in names:
                items[name].append(line)
    return {name: _joined(texts) for name, texts in items.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())
