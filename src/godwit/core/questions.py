"""Questions: what a call asks a person before it goes on, the answers (`asked.py`), and whether an answer fits.

Owns the check of a form's answer. Leaves out who
asks them and when (`engine/questions.py`). A form is what MCP's elicitation takes: an object of plain values. Rules: what
does not fit is refused before it is stored; defaults stand in for what an answer leaves out.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from .asked import (
    MOST_QUESTIONS,
    STATE_BYTES,
    AnswerAction,
    Question,
    QuestionAnswer,
    QuestionKind,
    Resumption,
)
from .errors import InvalidArgument


def filled(schema: dict[str, Any] | None, content: dict[str, Any]) -> dict[str, Any]:
    """The answer to a form with its defaults. InvalidArgument, naming the field, when it does not fit."""
    properties = properties_of(schema)
    required = (schema or {}).get("required", ())
    made = dict(content)
    for name, about in properties.items():
        if name not in made and "default" in about:
            made[name] = about["default"]
    if schema is None:
        return made
    if unknown := sorted(set(made) - set(properties)):
        raise InvalidArgument(
            f"the form has no field {unknown[0]!r}: it has {', '.join(properties) or 'none'}", field=unknown[0]
        )
    for name in required if isinstance(required, list | tuple) else ():
        if name not in made:
            raise InvalidArgument(f"the form wants {name!r}, and the answer has none", field=name)
    for name, value in made.items():
        if (problem := field_problem(properties[name], value)) is not None:
            raise InvalidArgument(f"the form's {name!r}: {problem}", field=name)
    return made


def needed(schema: dict[str, Any] | None) -> tuple[str, ...]:
    """The fields of a form that somebody has to fill in: they are required and have no default."""
    properties = properties_of(schema)
    required = (schema or {}).get("required", ())
    names = required if isinstance(required, list | tuple) else ()
    return tuple(name for name in names if isinstance(name, str) and "default" not in properties.get(name, {}))


def choices(about: dict[str, Any]) -> tuple[tuple[Any, str], ...] | None:
    """What may be chosen for a field, with what people are shown; None for a field that is free."""
    if isinstance(listed := about.get("enum"), list):
        names = about.get("enumNames")
        shown = names if isinstance(names, list) and len(names) == len(listed) else listed
        return tuple((value, str(name)) for value, name in zip(listed, shown, strict=True))
    for word in ("oneOf", "anyOf"):
        if isinstance(listed := about.get(word), list) and all(isinstance(one, dict) and "const" in one for one in listed):
            return tuple((one["const"], str(one.get("title", one["const"]))) for one in listed)
    return None


def properties_of(schema: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What a form says of each field, in its order."""
    found = (schema or {}).get("properties")
    return {name: about for name, about in found.items() if isinstance(about, dict)} if isinstance(found, dict) else {}


def field_problem(about: dict[str, Any], value: Any) -> str | None:
    """Why the value does not fit the field; None when it does."""
    allowed = choices(about)
    if allowed is not None:
        if not any(value == one and type(value) is type(one) for one, _ in allowed):
            return f"{_shown(value)} is none of {', '.join(_shown(one) for one, _ in allowed)}"
        return None
    match about.get("type"):
        case "string":
            return _text_problem(about, value) if isinstance(value, str) else f"{_shown(value)} is no text"
        case "boolean":
            return None if isinstance(value, bool) else f"{_shown(value)} is neither true nor false"
        case "integer" | "number" as kind:
            return _number_problem(about, value, whole=kind == "integer")
        case "array":
            return _list_problem(about, value) if isinstance(value, list | tuple) else f"{_shown(value)} is no list"
        case _:
            return None


def _text_problem(about: dict[str, Any], value: str) -> str | None:
    if isinstance(least := about.get("minLength"), int) and len(value) < least:
        return f"it has {len(value)} characters, and takes {least} at least"
    if isinstance(most := about.get("maxLength"), int) and len(value) > most:
        return f"it has {len(value)} characters, and takes {most} at most"
    pattern = _FORMATS.get(str(about.get("format")))
    if pattern is not None and not pattern.fullmatch(value):
        return f"{_shown(value)} is no {about['format']}"
    return None


def _number_problem(about: dict[str, Any], value: Any, *, whole: bool) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{_shown(value)} is no number"
    if whole and value != int(value):
        return f"{_shown(value)} is no whole number"
    if isinstance(least := about.get("minimum"), int | float) and value < least:
        return f"{_shown(value)} is less than {_shown(least)}"
    if isinstance(most := about.get("maximum"), int | float) and value > most:
        return f"{_shown(value)} is more than {_shown(most)}"
    return None


def _list_problem(about: dict[str, Any], value: list[Any] | tuple[Any, ...]) -> str | None:
    if isinstance(least := about.get("minItems"), int) and len(value) < least:
        return f"it has {len(value)} entries, and takes {least} at least"
    if isinstance(most := about.get("maxItems"), int) and len(value) > most:
        return f"it has {len(value)} entries, and takes {most} at most"
    items = about.get("items")
    if not isinstance(items, dict):
        return None
    return next((problem for one in value if (problem := field_problem(items, one)) is not None), None)


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}..."


_FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+"),
    "date": re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?"),
}
"""What a text of a format looks like; others are not looked at."""

__all__ = [
    "MOST_QUESTIONS",
    "STATE_BYTES",
    "AnswerAction",
    "Question",
    "QuestionAnswer",
    "QuestionKind",
    "Resumption",
    "choices",
    "field_problem",
    "filled",
    "needed",
    "properties_of",
]
