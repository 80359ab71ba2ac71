"""References: `${NAME}` and `${NAME:-otherwise}` in a text, in place of what must not be written down there.

Leaves out what they stand for (`host/mcp_values.py`). Rule: a text is stored and shown with its references, never with what
they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_.:-]*?)(?::-(?P<otherwise>[^}]*))?\}")


def has_reference(text: str) -> bool:
    """Whether something in the text stands for something else."""
    return _REFERENCE.search(text) is not None


def resolved(text: str, value_of: Callable[[str], str | None]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The text with what `value_of` gives for each name; those values; and the names that stand for nothing, in whose place
    nothing is put."""
    values: list[str] = []
    unknown: list[str] = []

    def put(found: re.Match[str]) -> str:
        value = value_of(found["name"])
        if value is not None:
            values.append(value)
            return value
        if (otherwise := found["otherwise"]) is None:
            unknown.append(found["name"])
        return otherwise or ""

    return _REFERENCE.sub(put, text), tuple(values), tuple(unknown)


__all__ = ["has_reference", "resolved"]
