"""The bash tool and the toolbox."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tests.parts.tool_context import Context, call, context_in, text
from tests.patience import PATIENCE_S

from godwit.contracts import Tool
from godwit.core.errors import ConfigurationError, InvalidToolArguments, ToolNotFound
from godwit.core.messages import text_of
from godwit.tools.bash import KEPT_BYTES, Bash, Kept
from godwit.tools.external import external_tool
from godwit.tools.function import tool
from godwit.tools.toolbox import Toolbox, default_toolbox


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return context_in(tmp_path)


class TestBash:
    async def test_output_live_and_whole(self, context: Context) -> None:
        output = await call(Bash(), context, command="echo out; echo err >&2")
        assert text_of(output.content) == "out\nerr\n"
        assert not output.is_error
        assert "".join(context.shown) == "out\nerr\n"
        assert output.metadata | {"duration_ms": 0} == {
            "exit_code": 0,
            "timed_out": False,
            "cancelled": False,
            "duration_ms": 0,
        }

    async def test_failure(self, context: Context) -> None:
        output = await call(Bash(), context, command="echo before; exit 3")
        assert output.is_error
        assert text_of(output.content) == "before\n[exit code 3]"
        assert output.metadata["exit_code"] == 3
        assert await text(Bash(), context, command="printf x; false") == "x\n[exit code 1]"
        assert await text(Bash(), context, command="nonsense-command 2>/dev/null") == "[exit code 127]"
        assert await text(Bash(), context, command="true") == "(no output)"

    async def test_timeout_in_milliseconds(self, context: Context) -> None:
        started = time.monotonic()
        output = await call(Bash(), context, command="echo before; sleep 60", timeout=500)
        assert 0.5 <= time.monotonic() - started < 50
        assert output.is_error
        assert text_of(output.content) == "before\n[command timed out after 500 ms]"
        assert output.metadata["timed_out"]
        assert output.metadata["exit_code"] is None
        assert 500 <= output.metadata["duration_ms"] < 50_000

    async def test_cancel(self, context: Context) -> None:
        shown = asyncio.Event()

        def show(text: str) -> None:
            assert text == "before\n"
            shown.set()

        context.output = show  # type: ignore[method-assign]
        task = asyncio.create_task(call(Bash(), context, command="echo before; sleep 60"))
        async with asyncio.timeout(PATIENCE_S):
            await shown.wait()
        context.cancel.cancel()
        output = await task
        assert output.is_error
        assert text_of(output.content) == "before\n[command cancelled]"
        assert output.metadata["cancelled"]

    async def test_a_character_is_never_split(self, context: Context) -> None:
        parts = [r"\xc3", r"\xa4\xf0\x9f", r"\x90\x90\xff", r"\xe2\x82"]
        command = "sleep 0.1; ".join(f"printf '{part}'; " for part in parts)
        output = await call(Bash(), context, command=command)
        assert text_of(output.content) == "ä🐐\ufffd\ufffd"
        assert "".join(context.shown) == "ä🐐\ufffd\ufffd"
        assert context.shown[0] == "ä"

    async def test_output_beyond_the_limit(self, context: Context) -> None:
        command = "echo begin; head -c 12000000 /dev/zero | tr '\\0' x; echo; echo end"
        output = await call(Bash(), context, command=command)
        shown = text_of(output.content)
        missing = 12_000_011 - KEPT_BYTES
        assert shown.startswith("begin\nxxx")
        assert shown.endswith("xxx\nend\n")
        assert f"\n[... {missing} bytes left out ...]\n" in shown
        assert len(shown) == KEPT_BYTES + len(f"\n[... {missing} bytes left out ...]\n")
        assert sum(map(len, context.shown)) == 12_000_011

    @given(st.text("aä€🐐", max_size=60), st.lists(st.integers(1, 7), min_size=1), st.integers(0, 40))
    def test_what_is_kept(self, content: str, sizes: list[int], limit: int) -> None:
        data = content.encode()
        kept = Kept(limit)
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            kept.add(data[at : at + size])
            at, turn = at + size, turn + 1
        shown = kept.text()
        if len(data) <= limit // 2 * 2:
            assert shown == content
            return
        head, _, rest = shown.partition("\n[... ")
        number, _, tail = rest.partition(" bytes left out ...]\n")
        assert content.startswith(head)
        assert content.endswith(tail)
        assert len(head.encode()) + int(number) + len(tail.encode()) == len(data)
        assert len(head.encode()) > limit // 2 - 4
        assert len(tail.encode()) > limit // 2 - 4

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "parameter 'command' is missing"),
            ({"command": ""}, "parameter 'command': expected str of length >= 1"),
            ({"command": "x", "timeout": 0}, "parameter 'timeout': expected int >= 1"),
            ({"command": "x", "timeout": 600_001}, "parameter 'timeout': expected int <= 600000"),
        ],
    )
    def test_wrong_arguments(self, arguments: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidToolArguments, match=words):
            Bash().validate(arguments)

    def test_it_runs_alone_and_once(self) -> None:
        bash: Tool = Bash()
        assert bash.traits.exclusive
        assert not bash.traits.repeatable


class TestToolbox:
    def test_what_comes_with_godwit(self) -> None:
        box = default_toolbox()
        names = [t.definition.name for t in box.select(["files", "bash"])]
        assert names == ["read", "write", "edit", "patch", "ls", "glob", "grep", "bash"]
        assert box.select(["bash", "files"])[0].definition.name == "bash"
        assert box.select([]) == []

    def test_stable_order_without_repeats(self) -> None:
        box = default_toolbox()
        names = [t.definition.name for t in box.select(["grep", "files", "grep", "read", "bash", "files"])]
        assert names == ["grep", "read", "write", "edit", "patch", "ls", "glob", "bash"]
        assert box.select(["files"]) == box.select(["files"])

    def test_unknown_names(self) -> None:
        with pytest.raises(ToolNotFound) as caught:
            default_toolbox().select(["read", "nope", "nada"])
        assert caught.value.message == (
            "there is no tool or toolset named 'nope', 'nada'; "
            "there are the tools read, write, edit, patch, ls, glob, grep, bash, verify, todo, goal, ask_user, "
            "remember, recall, forget, update_state, web_fetch and the toolsets files, memory, state, web"
        )

    def test_own_tools_and_sets(self) -> None:
        def one() -> str:
            return ""

        @tool
        def two() -> str:
            return ""

        box = Toolbox([one])
        box.register_set("both", ["one", two])
        box.register_set("all", ["both", external_tool("three", "", {"type": "object"})])
        assert [t.definition.name for t in box.select(["all"])] == ["one", "two", "three"]
        assert box.names == ["one", "two", "three", "both", "all"]
        assert box.register(two) is two
        for register in (
            lambda: box.register(tool(one)),
            lambda: box.register(one),
            lambda: box.register(tool(two, name="both")),
            lambda: box.register_set("one", []),
            lambda: box.register_set("both", []),
        ):
            with pytest.raises(ConfigurationError, match="already"):
                register()
        other = tool(one)
        assert box.register(other, replace=True) is box.select(["one"])[0]
        with pytest.raises(ToolNotFound):
            box.register_set("more", ["missing"])
