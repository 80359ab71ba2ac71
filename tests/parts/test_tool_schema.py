"""JSON schemas: inlining, and the check for tools without a body."""

from __future__ import annotations

from typing import Any

import pytest

from godwit.core.errors import ConfigurationError
from godwit.tools.schema import Schema, inlined


def problem(schema: dict[str, Any], value: Any) -> tuple[str, str] | None:
    return Schema({"type": "object", "properties": {"v": schema}, "$defs": DEFS}).problem({"v": value})


DEFS: dict[str, Any] = {
    "tree": {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["kids"],
    }
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ["", "a"], [1, None, [], True]),
        ({"contains": {"const": 3}}, [[3], [1, 3], "x"], [[], [1]]),
        ({"contains": {"const": 3}, "minContains": 0, "maxContains": 1}, [[], [3]], [[3, 3]]),
        ({"propertyNames": {"pattern": "^x"}}, [{}, {"xy": 1}, 3], [{"xy": 1, "y": 1}]),
        ({"if": {"type": "integer"}, "then": {"minimum": 3}, "else": {"type": "string"}}, [3, "a"], [2, None]),
        ({"if": {"type": "integer"}}, [3, "a"], []),
        ({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({"dependentSchemas": {"a": {"maxProperties": 1}}}, [{"a": 1}, {"b": 1, "c": 1}], [{"a": 1, "b": 1}]),
        ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, [{"c": 1, "d": 1}], [{"a": 1}, {"c": 1}]),
        ({"type": "integer"}, [1, -1, 2.0], [1.5, "1", True, None]),
        ({"type": "number"}, [1, 1.5], ["1", False]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "null"}, [None], [0, "", False]),
        ({"type": ["string", "null"]}, ["a", None], [1]),
        ({}, [1, "a", None, {}], []),
        ({"enum": [1, "a", None, True]}, [1, 1.0, "a", None, True], [False, "b", 0]),
        ({"const": 1}, [1], [True, 2]),
        ({"minimum": 1, "maximum": 3}, [1, 3, "text"], [0, 4]),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2], [1, 3]),
        ({"multipleOf": 0.1}, [0.3, 1], [0.35]),
        ({"minLength": 1, "maxLength": 2}, ["a", 5], ["", "abc"]),
        ({"pattern": "^a"}, ["ab", 1], ["ba"]),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
            [[1], [1, 2]],
            [[], [1, 2, 3], ["a"]],
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
            [["a", 1]],
            [[1], ["a", "b"]],
        ),
        ({"uniqueItems": True}, [[1, 2], [1, True]], [[1, 1], [{}, {}]]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "b"}]),
        ({"type": "object", "additionalProperties": False, "patternProperties": {"^x": {}}}, [{"x1": 1}], [{"y": 1}]),
        ({"type": "object", "minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [1]),
        ({"oneOf": [{"minimum": 1}, {"maximum": 5}]}, [0, 9], [3]),
        ({"allOf": [{"minimum": 1}, {"maximum": 5}]}, [3], [0, 9]),
        ({"not": {"type": "string"}}, [1], ["a"]),
        ({"$ref": "#/$defs/tree"}, [{"kids": [{"kids": []}]}], [{"kids": [{}]}, {}]),
        ({"format": "date", "description": "unknown keywords are passed over"}, ["x"], []),
        (True, [1], []),
        (False, [], [1]),
    ],
)
def test_keywords(schema: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert problem(schema, value) is None, value
    for value in bad:
        found = problem(schema, value)
        assert found is not None, value
        assert found[0].startswith("v")


def test_what_cannot_be_checked_is_refused_where_all_has_to_be() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"v": {"unevaluatedProperties": False}}}
    assert Schema(schema).problem({"v": {"w": 1}}) is None
    with pytest.raises(ConfigurationError, match=r"parameters\.v: 'unevaluatedProperties' is not checked here"):
        Schema(schema, whole=True)


def test_the_problem_names_the_place() -> None:
    assert problem({"$ref": "#/$defs/tree"}, {"kids": [{"kids": []}, {"kids": 3}]}) == (
        "v.kids[1].kids",
        "expected array, got integer 3",
    )
    assert problem({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1) == (
        "v",
        "expected string, got integer 1; or expected null, got integer 1",
    )


def test_a_value_nested_without_end_is_refused() -> None:
    value: dict[str, Any] = {"kids": []}
    for _ in range(300):
        value = {"kids": [value]}
    found = problem({"$ref": "#/$defs/tree"}, value)
    assert found is not None
    assert found[1] == "nested too deeply"


def test_inlining() -> None:
    assert inlined(
        {
            "$ref": "#/$defs/Top",
            "$defs": {
                "Top": {
                    "title": "Top",
                    "type": "object",
                    "properties": {"title": {"title": "T", "$ref": "#/$defs/In", "description": "d"}},
                },
                "In": {"title": "In", "enum": [{"$ref": "data"}], "default": {"title": "data"}},
            },
        }
    ) == {
        "type": "object",
        "properties": {"title": {"enum": [{"$ref": "data"}], "default": {"title": "data"}, "description": "d"}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 5},
        {"properties": ["a"]},
        {"properties": {"a": {"properties": "x"}}},
        {"patternProperties": 1},
        {"$defs": [1]},
        {"anyOf": {"a": 1}},
        {"allOf": 7},
        {"properties": {"a": {"minLength": "1"}}},
        {"properties": {"a": {"enum": "abc"}}},
        {"properties": {"a": {"maximum": [1]}}},
    ],
)
def test_a_keyword_of_another_kind_is_told_before_anything_is_checked(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Schema(schema)


def test_what_old_schemas_say_otherwise_is_passed_over() -> None:
    old = {"a": {"type": "object", "required": True}, "n": {"minimum": 5, "exclusiveMinimum": True}}
    schema = Schema({"properties": old})
    assert schema.problem({"a": {}, "n": 5}) is None
    assert schema.problem({"n": 4}) is not None
    assert Schema({"properties": {"n": {"minimum": -5, "exclusiveMinimum": True}}}).problem({"n": 0}) is None
