"""Tools without a body: their schemas are taken as they are, and their arguments are checked by them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parts.tool_context import Context as ToolContextInTests

from godwit.core.errors import ConfigurationError, InvalidToolArguments, ToolFailed
from godwit.tools.external import external_tool

MAIL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "minLength": 1},
        "priority": {"enum": ["low", "high"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["to"],
    "additionalProperties": False,
}


class TestExternal:
    async def test_definition_and_checks(self) -> None:
        made = external_tool("mail", "Send mail.", MAIL)
        assert made.traits.external
        assert made.definition.parameters == MAIL
        made.validate({"to": "x", "priority": "low", "tags": ["a"]})
        wrong: list[tuple[dict[str, Any], str]] = [
            ({}, "parameter 'to': missing, expected string"),
            ({"to": 3}, "parameter 'to': expected string, got integer 3"),
            ({"to": ""}, "parameter 'to': expected at least 1 characters"),
            ({"to": "x", "priority": "mid"}, "parameter 'priority': expected one of 'low', 'high', got 'mid'"),
            ({"to": "x", "tags": ["a", 1]}, r"parameter 'tags\[1\]': expected string, got integer 1"),
            ({"to": "x", "cc": "y"}, "parameter 'cc': unknown; known are: to, priority, tags"),
        ]
        for arguments, words in wrong:
            with pytest.raises(InvalidToolArguments, match=f"^invalid arguments for tool 'mail': {words}"):
                made.validate(arguments)
        with pytest.raises(ToolFailed, match="answered from outside"):
            await made.run({"to": "x"}, ToolContextInTests())

    @pytest.mark.parametrize(
        ("schema", "words"),
        [
            ({"type": "array"}, "of type object"),
            ({"type": "object", "properties": {"a": {"type": "text"}}}, "a: unknown type 'text'"),
            ({"properties": {"a": 3}}, "a schema is an object or a boolean"),
            ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "leads to nothing"),
            ({"properties": {"a": {"$ref": "http://x"}}}, "leads out"),
            ({"properties": {"a": {"pattern": "("}}}, "no regular expression"),
        ],
    )
    def test_broken_schemas(self, schema: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            external_tool("x", "", schema)
