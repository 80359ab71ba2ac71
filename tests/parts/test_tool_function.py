"""Tools from functions: their schemas, the checks of arguments, what is injected, how they run and how they fail."""

# ruff: noqa: ARG001 - what these functions do with their parameters is not the point

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import datetime
import enum
import functools
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel, Field
from tests.parts.tool_context import Context as ToolContextInTests, call, text

from godwit.contracts import ToolContext, ToolOutput
from godwit.core.errors import ConfigurationError, InvalidToolArguments, PathEscape, ToolFailed
from godwit.core.messages import Document, Image, Text
from godwit.tools.external import external_tool
from godwit.tools.function import Context, FunctionTool, tool

SRC = Path(__file__).resolve().parents[2] / "src"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    """A place."""

    x: int
    y: int = 0


class Tree(BaseModel):
    name: str
    branches: list[Tree] = []


@dataclasses.dataclass
class Size:
    width: float
    height: float = 1.0


class Row(msgspec.Struct):
    id: int
    name: str | None = None


class User(NamedTuple):
    name: str


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    schema = tool(function).definition.parameters
    assert schema["type"] == "object"
    assert not {"$ref", "oneOf", "anyOf", "allOf"} & set(schema)
    return schema


def names_of(things: list[str]) -> str:
    return ", ".join(things)


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


class TestArguments:
    async def test_they_are_converted(self) -> None:
        got: list[Any] = []

        @tool
        def take(
            number: int,
            color: Color,
            point: Point,
            size: Size,
            when: datetime.datetime,
            ids: set[uuid.UUID],
            money: Decimal,
            tree: Tree,
        ) -> None:
            got.extend([number, color, point, size, when, ids, money, tree])

        await call(
            take,
            ToolContextInTests(),
            number="3",
            color="red",
            point={"x": "1"},
            size={"width": 2},
            when="2024-01-02T03:04:05Z",
            ids=["12345678-1234-5678-1234-567812345678"],
            money="1.50",
            tree={"name": "a", "branches": [{"name": "b"}]},
        )
        assert got == [
            3,
            Color.RED,
            Point(x=1),
            Size(2.0),
            datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
            {uuid.UUID("12345678-1234-5678-1234-567812345678")},
            Decimal("1.50"),
            Tree(name="a", branches=[Tree(name="b")]),
        ]

    async def test_defaults_are_the_functions_own(self) -> None:
        kept = object()

        @tool
        def take(a: Any = kept, b: int = Field(7), c: list[int] = Field(default_factory=lambda: [1]), d: str = "d") -> bool:  # noqa: B008
            return a is kept and b == 7 and c == [1] and d == "d"

        assert await text(take, ToolContextInTests()) == "true"

    @pytest.mark.parametrize(
        ("arguments", "parameter", "words"),
        [
            ({}, "count", "parameter 'count' is missing (expected integer)"),
            (
                {"count": "many"},
                "count",
                "parameter 'count': input should be a valid integer, unable to parse string as an integer",
            ),
            ({"count": "many"}, "count", "got 'many'"),
            ({"count": None}, "count", "got None"),
            ({"count": 1.5}, "count", "got a number with a fractional part"),
            ({"count": 1, "other": 2}, "other", "unknown parameter 'other'; it takes count, color, points"),
            ({"count": 1, "color": "green"}, "color", "input should be 'red' or 'blue', got 'green'"),
            ({"count": 1, "points": [{"x": 1}, {"y": 1}]}, "points[1].x", "parameter 'points[1].x' is missing"),
            ({"count": 1, "points": "no"}, "points", "should be a valid list"),
            ({"count": 0}, "count", "greater than or equal to 1, got 0"),
            ({"count": "x" * 1000}, "count", "xxx..."),
        ],
    )
    def test_errors_name_the_parameter(self, arguments: dict[str, Any], parameter: str, words: str) -> None:
        @tool
        def take(count: Annotated[int, Field(ge=1)], color: Color = Color.RED, points: list[Point] = []) -> None:  # noqa: B006
            pass

        with pytest.raises(InvalidToolArguments) as caught:
            take.validate(arguments)
        assert caught.value.message.startswith("invalid arguments for tool 'take': ")
        assert words in caught.value.message
        assert caught.value.details["parameter"] == parameter
        assert len(caught.value.message) < 400

    def test_several_errors_are_told_at_once(self) -> None:
        @tool
        def take(a: int, b: int) -> None:
            pass

        with pytest.raises(InvalidToolArguments, match=r"'a' is missing.*; parameter 'b': "):
            take.validate({"b": "x"})


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


class TestInjection:
    async def test_tool_context(self) -> None:
        @tool
        async def by_type(ctx_value: ToolContext, a: int) -> str:
            ctx_value.output("live")
            return f"{ctx_value.key} {a}"

        @tool
        async def maybe(context: ToolContext | None, a: int) -> str:
            return f"{context and context.key} {a}"

        @tool
        async def by_name(ctx, a: int) -> str:  # type: ignore[no-untyped-def]
            return f"{ctx.key} {a}"

        @tool
        async def a_name_only(context: str, a: int) -> str:
            return f"{context} {a}"

        context = ToolContextInTests()
        for one in (by_type, maybe, by_name):
            made: FunctionTool[..., Any] = one
            assert list(made.definition.parameters["properties"]) == ["a"]
            assert await text(made, context, a=1) == "ses_1/call_1 1"
        assert context.shown == ["live"]
        assert await a_name_only.run({"context": "mine", "a": 1}, context) == ToolOutput((Text("mine 1"),))
        with pytest.raises(InvalidToolArguments):
            by_type.validate({"a": 1, "ctx_value": "x"})

    async def test_the_value_given_with_send(self) -> None:
        @tool
        def greet(user: Annotated[User, Context()], word: str = "hello") -> str:
            return f"{word} {user.name}"

        @tool
        def maybe(user: Annotated[User | None, Context]) -> str:
            return str(user)

        @tool
        def fallback(user: Annotated[User, Context()] = User("nobody")) -> str:  # noqa: B008
            return user.name

        assert list(greet.definition.parameters["properties"]) == ["word"]
        ann, nobody = ToolContextInTests(context=User("Ann")), ToolContextInTests()
        assert await text(greet, ann) == "hello Ann"
        assert await text(maybe, nobody) == "None"
        assert await text(fallback, nobody) == "nobody"
        assert await text(fallback, ann) == "Ann"
        with pytest.raises(ToolFailed, match=r"greet needs a context: give one with send"):
            await text(greet, nobody)

    async def test_a_thread_shows_its_output_on_the_loop(self) -> None:
        context = ToolContextInTests()
        threads: set[int] = set()
        show = context.output

        def output(text: str) -> None:
            threads.add(threading.get_ident())
            show(text)

        context.output = output  # type: ignore[method-assign]

        @tool
        def work(ctx: ToolContext) -> str:
            ctx.output("one")
            ctx.progress("half")
            assert threading.get_ident() not in threads
            assert (ctx.labels, ctx.context, ctx.grace_s, ctx.cancel.cancelled) == (context.labels, None, 1.0, False)
            return f"{ctx.session} {ctx.run} {ctx.call} {ctx.key}"

        assert await text(work, context) == "ses_1 run_1 call_1 ses_1/call_1"
        assert (context.shown, context.steps) == (["one"], ["half"])
        assert threads == {threading.get_ident()}


class TestResults:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("text", "text"),
            ("", "(no output)"),
            (None, "(no output)"),
            (3, "3"),
            (1.5, "1.5"),
            (True, "true"),
            ([1, "a", None], '[1,"a",null]'),
            ((1, 2), "[1,2]"),
            ([], "[]"),
            ({"a": {"b": 1}}, '{"a":{"b":1}}'),
            ({1: "a"}, '{"1":"a"}'),
            (Color.RED, '"red"'),
            (Point(x=1), '{"x":1,"y":0}'),
            ([Point(x=1)], '[{"x":1,"y":0}]'),
            (Size(1), '{"width":1,"height":1.0}'),
            (Row(1), '{"id":1,"name":null}'),
            (datetime.date(2024, 1, 2), '"2024-01-02"'),
            (Path("a/b"), '"a/b"'),
            (b"bytes", "bytes"),
            ("\ud800", "\\ud800"),
        ],
    )
    async def test_data(self, value: Any, expected: str) -> None:
        @tool
        async def give() -> Any:
            return value

        assert (await call(give, ToolContextInTests())).content == (Text(expected),)

    async def test_blocks_pass(self) -> None:
        image, document = Image("image/png", b"1"), Document("application/pdf", b"2")
        whole = ToolOutput((Text("a"),), True, {"b": 1})
        png = b"\x89PNG\r\n\x1a\n..."
        for value, expected in [
            (image, ToolOutput((image,))),
            ((Text("a"), image), ToolOutput((Text("a"), image))),
            ([document], ToolOutput((document,))),
            (whole, whole),
            (png, ToolOutput((Image("image/png", png),))),
        ]:

            @tool
            async def give(value: Annotated[Any, Context()]) -> Any:
                return value

            assert await call(give, ToolContextInTests(context=value)) == expected

    async def test_what_cannot_be_shown(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for value, words in [(object(), "object that is no JSON"), (b"\xff\0", "neither text nor"), (circle, "no JSON")]:

            @tool
            async def give(value: Annotated[Any, Context()]) -> Any:
                return value

            with pytest.raises(ToolFailed, match=words):
                await call(give, ToolContextInTests(context=value))


class TestFailures:
    @pytest.mark.parametrize("in_thread", [True, False])
    async def test_type_and_message_and_no_traceback(self, in_thread: bool) -> None:
        def fail(error: BaseException) -> Any:
            if in_thread:

                def run() -> None:
                    raise error

                return tool(run)

            async def run_async() -> None:
                raise error

            return tool(run_async)

        for error, message in [
            (ValueError("bad"), "ValueError: bad"),
            (KeyError("k"), "KeyError: 'k'"),
            (RuntimeError(), "RuntimeError"),
            (StopIteration("x"), "StopIteration: x" if in_thread else "RuntimeError: coroutine raised StopIteration"),
            (ToolFailed("as it is"), "as it is"),
            (PathEscape("leads out"), "leads out"),
            (TimeoutError("slow"), "TimeoutError: slow"),
            (asyncio.CancelledError(), "CancelledError: something the tool waited for was cancelled"),
        ]:
            with pytest.raises(ToolFailed) as caught:
                await call(fail(error), ToolContextInTests())
            assert caught.value.message == message
        if in_thread:
            with pytest.raises(ToolFailed, match="SystemExit: 3"):
                await call(fail(SystemExit(3)), ToolContextInTests())


class TestRunning:
    async def test_a_sync_function_does_not_block_the_loop(self) -> None:
        gate = threading.Event()

        @tool
        def wait() -> str:
            assert gate.wait(10)
            return "done"

        task = asyncio.create_task(call(wait, ToolContextInTests()))
        await asyncio.sleep(0)
        assert not task.done()
        gate.set()  # only a loop that is free gets here while the function waits
        assert (await task).content == (Text("done"),)

    async def test_hanging_functions_do_not_use_up_threads(self) -> None:
        gate = threading.Event()

        @tool
        def wait() -> str:
            gate.wait(10)
            return ""

        @tool
        def quick() -> str:
            return "done"

        hanging = [asyncio.create_task(call(wait, ToolContextInTests())) for _ in range(60)]
        assert await text(quick, ToolContextInTests()) == "done"
        gate.set()
        await asyncio.gather(*hanging)

    @pytest.mark.parametrize("how", ["task", "token"])
    @pytest.mark.parametrize("in_thread", [True, False])
    async def test_cancelling_leaves_it_at_once(self, how: str, in_thread: bool) -> None:
        gate, started, tidied = threading.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        context = ToolContextInTests()

        def wait() -> str:
            loop.call_soon_threadsafe(started.set)
            gate.wait(10)
            return ""

        async def wait_async() -> str:
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                tidied.set()
            return ""

        task = asyncio.create_task(call(tool(wait) if in_thread else tool(wait_async), context))
        await started.wait()
        if how == "task":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            context.cancel.cancel()
            with pytest.raises(ToolFailed, match="was cancelled"):
                await task
        assert in_thread or tidied.is_set()
        gate.set()

    async def test_a_function_with_a_context_may_end_by_itself(self) -> None:
        started = asyncio.Event()

        @tool
        async def careful(ctx: ToolContext) -> str:
            started.set()
            await ctx.cancel.wait()
            return "tidied"

        context = ToolContextInTests()
        task = asyncio.create_task(text(careful, context))
        await started.wait()
        context.cancel.cancel()
        assert await task == "tidied"

    async def test_context_variables_reach_the_thread(self) -> None:
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("set")

        @tool
        def read() -> str:
            return variable.get()

        assert await text(read, ToolContextInTests()) == "set"

    def test_a_function_that_hangs_does_not_keep_the_process(self) -> None:
        program = """
import asyncio, sys, threading
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from tests.parts.tool_context import Context
from godwit.tools.function import tool
@tool
def hang() -> str:
    threading.Event().wait()
    return ""
async def main():
    task = asyncio.create_task(hang.run({}, Context()))
    await asyncio.sleep(0.05)
    task.cancel()
    try: await task
    except asyncio.CancelledError: print("left")
asyncio.run(main())
"""
        done = subprocess.run(
            [sys.executable, "-c", program, str(SRC), str(SRC.parent)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("left\n", 0), done.stderr

    def test_importing_loads_no_pydantic(self) -> None:
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); import godwit.tools.toolbox as t\n"
            "def f(a: int) -> int: return a\n"
            "box = t.default_toolbox(); box.register(f); [d.definition for d in box.select(['files', 'bash'])]\n"
            "print('pydantic' in sys.modules); box.select(['f'])[0].definition; print('pydantic' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(SRC)], capture_output=True, text=True, check=False)
        assert done.stdout == "False\nTrue\n", done.stderr


class TestLocks:
    def test_names_and_functions(self) -> None:
        def write(path: str) -> None: ...

        assert tool(write).locks({"path": "a"}, None) == frozenset()
        assert tool(write, locks="db").locks({"path": "a"}, None) == {"db"}
        assert tool(write, locks=["a", "b"]).locks({"path": "a"}, None) == {"a", "b"}
        assert tool(write, locks=lambda arguments: [arguments["path"]]).locks({"path": "a"}, None) == {"a"}
        assert tool(write, locks="db", read_only=True).locks({"path": "a"}, None) == frozenset()


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
