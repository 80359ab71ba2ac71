"""Tools from functions, as they are called: arguments checked, context injected, results and failures, threads and locks."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import subprocess
import sys
import threading
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import Field
from tests.parts.function_words import Color, Point, Row, Size, Tree
from tests.parts.tool_context import Context as ToolContextInTests, call, text
from tests.patience import PATIENCE_S

from godwit.contracts import ToolContext, ToolOutput
from godwit.core.errors import InvalidToolArguments, PathEscape, ToolFailed
from godwit.core.messages import Document, Image, Text
from godwit.tools.function import Context, FunctionTool, tool

SRC = Path(__file__).resolve().parents[2] / "src"


class User(NamedTuple):
    name: str


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
            assert gate.wait(PATIENCE_S)
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
            timeout=PATIENCE_S,
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
