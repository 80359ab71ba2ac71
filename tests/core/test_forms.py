"""Forms as people see them and type them."""

from __future__ import annotations

from typing import Any

import pytest

from godwit.core.errors import InvalidArgument
from godwit.core.forms import HIDDEN, Field, answered, content_lines, fields_of, form_lines, typed

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name", "minLength": 2},
        "size": {"type": "integer", "default": 3},
        "colour": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
        "parts": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "The A"}, {"const": "b", "title": "The B"}]}},
        "sure": {"type": "boolean"},
        "apiKey": {"type": "string"},
    },
    "required": ["name"],
}


def field(name: str) -> Field:
    return next(one for one in fields_of(FORM) if one.name == name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("name", "Ada", "Ada"),
        ("size", " 4 ", 4),
        ("colour", "g", "g"),
        ("colour", "green", "g"),
        ("colour", "1", "r"),
        ("parts", "1, The B", ["a", "b"]),
        ("parts", "", []),
        ("sure", "Yes", True),
        ("sure", "n", False),
    ],
)
def test_what_is_typed_for_a_field(name: str, text: str, value: object) -> None:
    assert typed(field(name), text) == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("name", "A", "2 at least"),
        ("size", "many", "no whole number"),
        ("colour", "blue", "is none of r, g"),
        ("colour", "3", "is none of r, g"),
        ("parts", "1,c", "is none of a, b"),
        ("sure", "perhaps", "neither yes nor no"),
    ],
)
def test_what_does_not_fit_a_field_is_told_with_its_name(name: str, text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem) as refused:
        typed(field(name), text)
    assert refused.value.details["field"] == name


def test_a_choice_is_its_value_before_it_is_a_number() -> None:
    form = {"type": "object", "properties": {"n": {"enum": [2, 1]}}}
    assert [answered(form, [word])["n"] for word in ("1", "2")] == [1, 2]


def test_a_whole_answer_in_words() -> None:
    assert answered(FORM, ["name=Ada", "parts=a,b"]) == {"name": "Ada", "parts": ["a", "b"], "size": 3}
    assert answered(FORM, ['{"name": "Ada", "size": 4}']) == {"name": "Ada", "size": 4}
    one = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert answered(one, ["40"]) == answered(one, ["age=40"]) == {"age": 40}
    text = {"type": "object", "properties": {"why": {"type": "string"}}}
    assert answered(text, ["a=b, so"]) == {"why": "a=b, so"}
    for wrong, told in (
        (["Ada"], "name=VALUE"),
        (["name=Ada", "nose=x"], "no 'nose'"),
        (["{"], "no JSON"),
        ([], "name=VALUE"),
        (["size=2"], "wants 'name'"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            answered(FORM, wrong)


def test_secret_values_are_not_shown() -> None:
    shown = dict(content_lines(FORM, {"name": "Ada", "apiKey": "sk-1", "parts": ["b"], "sure": True, "strange": "x"}))
    assert shown == {"Your name": "Ada", "apiKey": HIDDEN, "parts": "The B", "sure": "yes", "strange": "x"}
    for name, about, secret in (
        ("user_password", {}, True),
        ("x", {"format": "password"}, True),
        ("x", {"writeOnly": True}, True),
        ("accessToken", {}, True),
        ("pin", {}, True),
        ("shipping", {}, False),
        ("passenger", {}, False),
        ("key", {}, False),
    ):
        assert Field(name, about, False).secret is secret, name


def test_a_form_in_lines() -> None:
    assert form_lines(FORM) == [
        "name Your name (text)",
        "size (a whole number; if left out: 3)",
        "colour (one of these; may be left out)",
        "  r  Red",
        "  g  Green",
        "parts (any of these, with commas; may be left out)",
        "  a  The A",
        "  b  The B",
        "sure (yes or no; may be left out)",
        "apiKey (text; may be left out)",
    ]
    assert form_lines(None) == form_lines({"type": "object"}) == []
    assert form_lines({"properties": {"x": {"enum": "no list", "oneOf": [3]}, "y": 7}}) == ["x (text; may be left out)"]
