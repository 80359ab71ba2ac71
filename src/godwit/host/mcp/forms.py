"""Forms of servers: the schema of an elicitation as a form that people are shown, and what is no such thing.

Source: https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation, which the newer protocol took
over. Leaves out whether an answer fits (`core/questions.py`). Rules: a form is an object of plain values; what is not is
refused with a reason; only what is known of a field is passed on.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec

from ...core.errors import InvalidArgument
from ...core.questions import filled

MOST_FIELDS = 100
FORM_BYTES = 64 * 1024
LONGEST_NAME = 200
LONGEST_TEXT = 8 * 1024
"""Characters of a message or of a description."""
_KINDS = ("string", "number", "integer", "boolean")
_TEXTS = ("title", "description")
_LIMITS = {
    "string": ("minLength", "maxLength"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
    "boolean": (),
}
_FORMATS = ("email", "uri", "date", "date-time")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What makes a line read otherwise than it is written."""


class CannotAsk(Exception):
    """What a server asks cannot be put to anybody; says why."""


def form_of(schema: Any) -> dict[str, Any]:
    """The form of this schema. CannotAsk."""
    if not isinstance(schema, dict) or schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        raise CannotAsk("its form is no object with properties")
    try:
        size = len(msgspec.json.encode(schema))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        raise CannotAsk("its form cannot be read") from None
    if size > FORM_BYTES:
        raise CannotAsk(f"its form has {size} bytes, and {FORM_BYTES} are the most")
    properties = schema["properties"]
    if len(properties) > MOST_FIELDS:
        raise CannotAsk(f"its form has {len(properties)} fields, and {MOST_FIELDS} are the most")
    fields = {name: _field(name, about) for name, about in properties.items()}
    required = schema.get("required") or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise CannotAsk("its form requires what are no names of fields")
    if unknown := [name for name in required if name not in fields]:
        raise CannotAsk(f"its form requires a field {unknown[0][:LONGEST_NAME]!r}, which it does not have")
    return {"type": "object", "properties": fields, **({"required": required} if required else {})}


def plain(text: str) -> str:
    """A stranger's text as people may be shown it: shortened, without what works on a terminal or turns a line around."""
    kept = "".join(c for c in text[:LONGEST_TEXT] if c in "\n\t" or (unicodedata.category(c) != "Cc" and c not in _TURNS))
    return kept.encode(errors="replace").decode()


def _field(name: str, about: Any) -> dict[str, Any]:
    if not 0 < len(name) <= LONGEST_NAME or plain(name) != name:
        raise CannotAsk(f"its form has a field whose name {name[:50]!r} cannot be shown")
    if not isinstance(about, dict):
        raise _no_field(name, "says nothing of it")
    about = _without_null(about)
    made: dict[str, Any] = {}
    kind = about.get("type")
    if kind == "array":
        made = {"type": "array", "items": _choice(name, about.get("items"))}
    elif kind in _KINDS:
        made = {"type": kind, **_choices(name, about)}
    else:
        raise _no_field(name, f"is of type {str(kind)[:50]!r}: a form takes plain values and lists of choices")
    for word in _LIMITS[kind]:
        if isinstance(about.get(word), int | float) and not isinstance(about[word], bool):
            made[word] = about[word]
    if kind == "string" and about.get("format") in _FORMATS:
        made["format"] = about["format"]
    made |= {word: plain(about[word]) for word in _TEXTS if isinstance(about.get(word), str)}
    if about.get("default") is not None and _fits(made, about["default"]):
        made["default"] = about["default"]
    return made


def _without_null(about: dict[str, Any]) -> dict[str, Any]:
    """A value that may also be null, as the official servers write one that may be left out."""
    options = about.get("anyOf")
    if "type" not in about and isinstance(options, list) and all(isinstance(one, dict) for one in options):
        left = [one for one in options if one.get("type") != "null"]
        if len(left) == 1 and len(options) == 2:
            return {word: value for word, value in {**about, **left[0]}.items() if word != "anyOf"}
    return about


def _choice(name: str, items: Any) -> dict[str, Any]:
    """What a list is chosen from."""
    found = _choices(name, items) if isinstance(items, dict) else {}
    if not found:
        raise _no_field(name, "is a list of what is not listed: a form takes lists of choices")
    return {"type": "string", **found}


def _choices(name: str, about: dict[str, Any]) -> dict[str, Any]:
    if "enum" in about:
        listed, names = about["enum"], about.get("enumNames")
        if not _is_list(listed, str | int | float):
            raise _no_field(name, "has an enum that lists nothing that can be chosen")
        if isinstance(names, list) and _is_list(names, str) and len(names) == len(listed):
            return {"enum": listed, "enumNames": [plain(one) for one in names]}
        return {"enum": listed}
    for word in ("oneOf", "anyOf"):
        if word in about:
            listed = about[word]
            if not _is_list(listed, dict) or not all(isinstance(one.get("const"), str | int | float) for one in listed):
                raise _no_field(name, f"has {word} that lists nothing that can be chosen")
            return {word: [{"const": one["const"], "title": plain(str(one.get("title", one["const"])))} for one in listed]}
    return {}


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, kind) for one in value)


def _fits(about: dict[str, Any], default: Any) -> bool:
    """One that does not would make the form unanswerable."""
    try:
        filled({"type": "object", "properties": {"it": about}}, {"it": default})
    except InvalidArgument:
        return False
    return True


def _no_field(name: str, why: str) -> CannotAsk:
    return CannotAsk(f"its form is not flat: the field {name!r} {why}")


__all__ = ["CannotAsk", "form_of", "plain"]
