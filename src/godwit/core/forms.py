"""Forms: the fields of a question as people see them, and what they type as the fields' values.

Owns how a field is called, what may be chosen, how typed text is read, and which values are not shown. Leaves out whether an
answer fits (`questions.py`) and how screens look. Rules: what is typed for one field is read in one way everywhere; a text
that is a choice's value, or what people are shown for it, goes before one that is its number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .errors import InvalidArgument
from .questions import choices, field_problem, filled, properties_of

HIDDEN = "••••••"
"""What stands for a value that is not shown."""
_SECRET = re.compile(r"(^|[^a-z])(pass(word|wd|phrase|code)?|secret|token|api[^a-z]?key|credentials?|pin)([^a-z]|$)")
_WORDS = re.compile(r"([a-z0-9])([A-Z])")
_TRUE, _FALSE = ("y", "yes", "true", "1", "on"), ("n", "no", "false", "0", "off")


@dataclass(frozen=True)
class Field:
    """One field of a form. `about`: what its schema says of it."""

    name: str
    about: dict[str, Any]
    required: bool

    @property
    def title(self) -> str:
        """What people call it."""
        title = self.about.get("title")
        return title if isinstance(title, str) and title.strip() else self.name

    @property
    def description(self) -> str:
        text = self.about.get("description")
        return text if isinstance(text, str) else ""

    @property
    def several(self) -> bool:
        """Whether it takes a list."""
        return self.about.get("type") == "array" and choices(self.about) is None

    @property
    def choices(self) -> tuple[tuple[Any, str], ...] | None:
        """What may be chosen, each with what people are shown; None for what is free."""
        items = self.about.get("items")
        return choices(items if self.several and isinstance(items, dict) else self.about)

    @property
    def has_default(self) -> bool:
        return "default" in self.about

    @property
    def secret(self) -> bool:
        """Whether its value is not to be shown: it says so, or is called so."""
        words = _WORDS.sub(r"\1_\2", self.name).lower()
        return (
            self.about.get("format") == "password"
            or self.about.get("writeOnly") is True
            or _SECRET.search(words) is not None
        )

    @property
    def kind(self) -> str:
        """What is to be typed, in a word or a few."""
        if self.choices is not None:
            return "any of these, with commas" if self.several else "one of these"
        match self.about.get("type"):
            case "boolean":
                return "yes or no"
            case "integer":
                return "a whole number"
            case "number":
                return "a number"
            case "array":
                return "a list, with commas"
            case _:
                word = self.about.get("format")
                return {"email": "an address for mail", "uri": "an address", "date": "a date, 2026-12-31"}.get(
                    str(word), "a date and time" if word == "date-time" else "text"
                )

    def shown(self, value: Any) -> str:
        """A value as people see it."""
        if self.secret:
            return HIDDEN
        if isinstance(value, bool):
            return "yes" if value else "no"
        known = self.choices or ()
        one_by_one = value if isinstance(value, list | tuple) else [value]
        return ", ".join(next((name for had, name in known if had == one), _plain(one)) for one in one_by_one)


def fields_of(schema: dict[str, Any] | None) -> tuple[Field, ...]:
    """The fields of a form, in its order."""
    required = (schema or {}).get("required")
    names = required if isinstance(required, list | tuple) else ()
    return tuple(Field(name, about, name in names) for name, about in properties_of(schema).items())


def typed(field: Field, text: str) -> Any:
    """The value of what was typed for the field. InvalidArgument, with the reason, when it is none that fits."""
    value = _read(field, text)
    if (problem := field_problem(field.about, value)) is not None:
        raise InvalidArgument(f"{field.name!r}: {problem}", field=field.name)
    return value


def answered(schema: dict[str, Any] | None, words: Sequence[str]) -> dict[str, Any]:
    """The whole answer to a form, of words that were typed: a JSON object, `NAME=VALUE` for each field, or, where the form
    has one field, its value alone. InvalidArgument, naming the field."""
    fields = {field.name: field for field in fields_of(schema)}
    pairs = [word.partition("=") for word in words]
    if words and all(separator and name in fields for name, separator, _ in pairs):
        return filled(schema, {name: typed(fields[name], text) for name, _, text in pairs})
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            value = msgspec.json.decode(words[0])
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"the answer is no JSON: {error}") from None
        if isinstance(value, dict):
            return filled(schema, value)
    if len(words) == 1 and len(fields) == 1:
        (field,) = fields.values()
        return filled(schema, {field.name: typed(field, words[0])})
    wrong = next((name for name, separator, _ in pairs if separator and name not in fields), None)
    which = "" if wrong is None else f" and has no {wrong!r}"
    raise InvalidArgument(
        f"the form is answered with {' '.join(f'{name}=VALUE' for name in fields) or '{}'} or a JSON object{which}",
        **({} if wrong is None else {"field": wrong}),
    )


def form_lines(schema: dict[str, Any] | None) -> list[str]:
    """What is to be filled in, a line for each field and one for each choice. As the form has it: whoever shows it on a
    terminal cleans it."""
    lines: list[str] = []
    for field in fields_of(schema):
        notes = [field.kind]
        if field.has_default:
            notes.append(f"if left out: {field.shown(field.about['default'])}")
        elif not field.required:
            notes.append("may be left out")
        title = "" if field.title == field.name else f" {field.title}"
        about = f": {field.description}" if field.description else ""
        lines.append(f"{field.name}{title} ({'; '.join(notes)}){about}")
        for value, name in field.choices or ():
            lines.append(f"  {_plain(value)}" + ("" if name == _plain(value) else f"  {name}"))
    return lines


def content_lines(schema: dict[str, Any] | None, content: dict[str, Any]) -> list[tuple[str, str]]:
    """An answer as people read it: what each field is called, and its value unless that is secret."""
    known = {field.name: field for field in fields_of(schema)}
    shown: list[tuple[str, str]] = []
    for name, value in content.items():
        field = known.get(name) or Field(name, {}, False)
        shown.append((field.title, field.shown(value)))
    return shown


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _read(field: Field, text: str) -> Any:
    if field.several:
        parts = [part.strip() for part in text.split(",")]
        return [_chosen(field, part) if field.choices is not None else part for part in parts if part]
    if field.choices is not None:
        return _chosen(field, text.strip())
    match field.about.get("type"):
        case "boolean":
            word = text.strip().lower()
            if word not in (*_TRUE, *_FALSE):
                raise InvalidArgument(f"{field.name!r}: {_short(text)} is neither yes nor no", field=field.name)
            return word in _TRUE
        case "integer" | "number" as kind:
            try:
                return int(text) if kind == "integer" else float(text)
            except ValueError:
                what = "no whole number" if kind == "integer" else "no number"
                raise InvalidArgument(f"{field.name!r}: {_short(text)} is {what}", field=field.name) from None
        case "string":
            return text
        case _:
            try:
                return msgspec.json.decode(text)
            except msgspec.DecodeError:
                return text


def _chosen(field: Field, text: str) -> Any:
    listed = field.choices or ()
    for value, _ in listed:
        if _plain(value) == text:
            return value
    for value, name in listed:
        if name.strip().lower() == text.lower():
            return value
    if text.isascii() and text.isdecimal() and 0 < int(text) <= len(listed):
        return listed[int(text) - 1][0]
    raise InvalidArgument(
        f"{field.name!r}: {_short(text)} is none of {', '.join(_plain(value) for value, _ in listed)}", field=field.name
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")


__all__ = ["HIDDEN", "Field", "answered", "content_lines", "fields_of", "form_lines", "typed"]
