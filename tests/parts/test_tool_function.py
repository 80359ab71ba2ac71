"""Tools from functions, as they are read: signatures, types and docstrings become a definition, or are refused."""

# ruff: noqa: ARG001 - what these functions do with their parameters is not the point

from __future__ import annotations

import datetime
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from tests.parts.function_words import Color, Point, Size, Tree, names_of
from tests.parts.tool_context import Context as ToolContextInTests, text

from godwit.core.errors import ConfigurationError
from godwit.tools.function import tool


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    schema = tool(function).definition.parameters
    assert schema["type"] == "object"
    assert not {"$ref", "oneOf", "anyOf", "allOf"} & set(schema)
    return schema


class TestDefinition:
    def test_plain(self) -> None:
        @tool
        def search(query: str, limit: int = 10, *, exact: bool = False) -> str:
            """Search the index.

            All of it.
            """
            return query

        assert search.definition.name == "search"
        assert search.definition.description == "Search the index.\n\nAll of it."
        assert search.definition.parameters == {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "limit": {"type": "integer", "default": 10},
                "exact": {"type": "boolean", "default": False},
            },
            "required": ["query"],
            "additionalProperties": False,
        }

    def test_no_parameters(self) -> None:
        def now() -> str:
            return "now"

        assert schema_of(now) == {"type": "object", "properties": {}, "additionalProperties": False}
        assert tool(now).definition.description == ""

    def test_options(self) -> None:
        @tool(name="find-it", description="Finds.", timeout_s=3, exclusive=True, repeatable=True)
        def find(what: str) -> str:
            """Not this."""
            return what

        assert (find.definition.name, find.definition.description) == ("find-it", "Finds.")
        assert (find.traits.timeout_s, find.traits.exclusive, find.traits.repeatable) == (3, True, True)
        assert find("x") == "x"
        reads = tool(find, name="reads", read_only=True)
        assert reads.traits.read_only
        assert reads.traits.repeatable
        assert reads.definition.name == "reads"

    @pytest.mark.parametrize(
        ("hint", "expected"),
        [
            (int, {"type": "integer"}),
            (float, {"type": "number"}),
            (list[str], {"type": "array", "items": {"type": "string"}}),
            (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
            (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
            (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
            (Color, {"type": "string", "enum": ["red", "blue"]}),
            (datetime.date, {"type": "string", "format": "date"}),
            (
                Annotated[int, Field(ge=1, description="How many.")],
                {"type": "integer", "minimum": 1, "description": "How many."},
            ),
            (Any, {}),
            (
                Point,
                {
                    "type": "object",
                    "description": "A place.",
                    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                    "required": ["x"],
                },
            ),
            (
                Size,
                {
                    "type": "object",
                    "properties": {"width": {"type": "number"}, "height": {"type": "number", "default": 1.0}},
                    "required": ["width"],
                    "additionalProperties": False,
                },
            ),
        ],
    )
    def test_types(self, hint: Any, expected: dict[str, Any]) -> None:
        def take(value: Any) -> str:
            return ""

        take.__annotations__ = {"value": hint, "return": str}
        assert schema_of(take)["properties"]["value"] == expected

    def test_a_type_that_contains_itself_stays_a_definition(self) -> None:
        def plant(tree: Tree) -> str:
            return tree.name

        schema = schema_of(plant)
        assert schema["properties"]["tree"] == {"$ref": "#/$defs/Tree"}
        assert schema["$defs"]["Tree"]["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}

    def test_names_that_a_model_class_could_not_have(self) -> None:
        @tool
        def odd(json: str, copy: int, model_config: str, _hidden: str, schema: str = "s", title: str = "t") -> str:
            return f"{json}{copy}{model_config}{_hidden}{schema}{title}"

        assert list(odd.definition.parameters["properties"]) == [
            "json",
            "copy",
            "model_config",
            "_hidden",
            "schema",
            "title",
        ]
        odd.validate({"json": "a", "copy": 1, "model_config": "b", "_hidden": "c"})

    def test_local_types(self) -> None:
        class Local(BaseModel):
            a: int

        @tool
        def take(local: Local) -> str:
            return str(local.a)

        assert take.definition.parameters["properties"]["local"]["properties"] == {"a": {"type": "integer"}}

    def test_types_defined_later(self) -> None:
        assert early.definition.parameters["properties"]["later"]["properties"] == {"a": {"type": "integer"}}

    def test_defaults(self) -> None:
        def take(
            color: Color = Color.BLUE,
            point: Point = Point(x=1),  # noqa: B008
            path: Path = Path("a"),
            thing: Any = object(),  # noqa: B008
            field: int = Field(3, ge=1, description="A field."),
            made: list[int] = Field(default_factory=list),  # noqa: B008
            marked: Annotated[int, Field(default=4, le=9)] = 5,
            optional: str | None = None,
        ) -> str:
            return f"{color} {point} {path} {field} {made} {marked} {optional}"

        properties = schema_of(take)["properties"]
        assert {name: p.get("default") for name, p in properties.items()} == {
            "color": "blue",
            "point": {"x": 1, "y": 0},
            "path": "a",
            "thing": None,
            "field": 3,
            "made": None,
            "marked": 5,
            "optional": None,
        }
        assert properties["field"] == {"type": "integer", "minimum": 1, "description": "A field.", "default": 3}
        assert "required" not in schema_of(take)

    def test_one_definition_per_tool(self) -> None:
        one = tool(names_of)
        assert one.definition is one.definition


@tool
def early(later: Later) -> str:
    return str(later.a)


class Later(BaseModel):
    a: int


class TestDocstrings:
    @pytest.mark.parametrize(
        "doc",
        [
            """Do it.

            With care.

            Args:
                a (int): The first,
                    over two lines.
                b: The second: with a colon.

            Returns:
                Something.

            Raises:
                ValueError: Sometimes.
            """,
            """Do it.

            With care.

            Parameters
            ----------
            a : int
                The first,
                over two lines.
            b : str, optional
                The second: with a colon.

            Returns
            -------
            str
                Something.
            """,
            """Do it.

            With care.

            :param int a: The first,
                over two lines.
            :param b: The second: with a colon.
            :type b: str
            :returns: Something.
            :raises ValueError: Sometimes.
            """,
        ],
        ids=["google", "numpy", "sphinx"],
    )
    def test_styles(self, doc: str) -> None:
        def do(a: int, b: str = "") -> str:
            return ""

        do.__doc__ = doc
        made = tool(do).definition
        assert made.description == "Do it.\n\nWith care."
        assert made.parameters["properties"]["a"]["description"] == "The first, over two lines."
        assert made.parameters["properties"]["b"]["description"] == "The second: with a colon."

    def test_plain_text_stays_whole(self) -> None:
        def do(a: int) -> str:
            """Do it: a is used.

            Note: this stays, as does
              - a list
            """
            return ""

        assert tool(do).definition.description == "Do it: a is used.\n\nNote: this stays, as does\n  - a list"
        assert tool(do).definition.parameters["properties"]["a"] == {"type": "integer"}

    def test_the_annotation_wins(self) -> None:
        def do(a: Annotated[int, Field(description="From the type.")], point: Point) -> str:
            """Do.

            Args:
                a: From the docstring.
                point: Where to.
            """
            return ""

        properties = schema_of(do)["properties"]
        assert properties["a"]["description"] == "From the type."
        assert properties["point"]["description"] == "Where to."


class TestSignatures:
    @pytest.mark.parametrize("decorate", [tool, tool(name="named")])
    def test_what_a_model_cannot_call_is_refused_at_once(self, decorate: Any) -> None:
        def any_number(*values: int) -> None: ...
        def any_name(**values: int) -> None: ...
        def by_place(a: int, /) -> None: ...
        def generates() -> Any:
            yield 1

        async def generates_async() -> Any:
            yield 1

        class Thing:
            def method(self, a: int) -> None: ...

        for function, words in [
            (any_number, "'values' takes any number"),
            (any_name, "'values' takes any keyword"),
            (by_place, "'a' is positional only"),
            (generates, "is a generator"),
            (generates_async, "is a generator"),
            (Thing.method, "is a method: make the tool from the bound one"),
            (Thing, "not from <class"),
            (3, "not from 3|cannot be a tool's name"),
        ]:
            with pytest.raises(ConfigurationError, match=words):
                decorate(function)

    def test_names(self) -> None:
        with pytest.raises(ConfigurationError, match="'<lambda>' cannot be a tool's name"):
            tool(lambda: None)
        with pytest.raises(ConfigurationError, match="'a b' cannot be"):
            tool(name="a b")(names_of)
        with pytest.raises(ConfigurationError, match="timeout_s=0"):
            tool(timeout_s=0)

    def test_types_without_a_schema(self) -> None:
        @tool
        def take(lock: threading.Thread) -> None: ...

        with pytest.raises(ConfigurationError, match=r"tool 'take': the signature cannot become a JSON schema: .*Thread"):
            _ = take.definition

        @tool
        def unknown(thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(ConfigurationError, match="annotation cannot be read: name 'Missing'"):
            _ = unknown.definition

    async def test_other_callables(self) -> None:
        class Adder:
            def __init__(self, by: int) -> None:
                self.by = by

            def add(self, a: int) -> int:
                """Add."""
                return a + self.by

            async def __call__(self, a: int) -> int:
                return a + self.by

        async def add(a: int, b: int) -> int:
            return a + b

        assert await text(tool(Adder(2).add), ToolContextInTests(), a="1") == "3"
        assert tool(Adder(2).add).definition.description == "Add."
        assert await text(tool(Adder(3), name="adder"), ToolContextInTests(), a=1) == "4"
        assert await text(tool(functools.partial(add, b=4), name="partial"), ToolContextInTests(), a=1) == "5"

        @functools.wraps(add)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return add(*args, **kwargs)

        assert await text(tool(wrapped), ToolContextInTests(), a=1, b=5) == "6"
