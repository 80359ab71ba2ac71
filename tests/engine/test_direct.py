"""Tools called by the host: recorded, outside the transcript, trusted, and ended whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import godwit
from godwit.contracts import Appended, HookCall
from godwit.core.errors import KeyReused, SessionArchived, SessionClosed, ToolFailed
from godwit.core.events import Draft, HookBlocked, RunFinished, ToolFinished, ToolStarted
from godwit.core.hooks import HookResult, HookSpec
from godwit.core.ids import SessionId
from godwit.engine.direct import close_lost_calls
from godwit.engine.log import append_outside
from godwit.models.script import call
from godwit.stores.sqlite import SqliteStore

from .conftest import Bench, data, types, until_type, within


async def test_the_file_tools_work_on_the_sessions_folder(bench: Bench) -> None:
    session = await bench.start([], "files", "bash")
    assert "3 bytes" in await session.write_file("a/b.txt", "one")
    assert "one" in await session.read_file("a/b.txt")
    await session.edit_file("a/b.txt", "one", "two\nthree\n")
    await session.patch_file("a/b.txt", "--- a\n+++ b\n@@ -1,2 +1,2 @@\n two\n-three\n+four\n")
    assert (bench.workspace / "a" / "b.txt").read_text() == "two\nfour\n"
    assert await session.ls("a") == "b.txt\t9"
    assert await session.glob("**/*.txt") == ["a/b.txt"]
    assert await session.glob("*.none") == []
    assert "a/b.txt:2:four" in await session.grep("fo.r")
    assert await session.bash("printf hello; pwd") == f"hello{bench.workspace}\n"
    kinds = await types(session)
    assert kinds.count("tool.started") == kinds.count("tool.finished") == 9
    assert {d.origin for d in await data(session, ToolStarted)} == {"direct"}
    assert await session.history() == (), "no message came of it"


async def test_a_failure_is_a_result_of_tool_and_an_error_of_the_helpers(bench: Bench) -> None:
    session = await bench.start([], "files", "bash")
    result = await session.tool("bash", {"command": "echo out; exit 7"})
    assert (result.ok, result.status, result.exit_code) == (False, "error", 7)
    assert "out" in result.output
    assert result.seq == (await session.events())[-1].seq
    with pytest.raises(ToolFailed, match="exit code 7"):
        await session.bash("exit 7")
    with pytest.raises(ToolFailed):
        await session.read_file("../outside")
    unknown = await session.tool("nope")
    assert (unknown.exit_code, unknown.status, unknown.seq) == (1, "error", 0)
    assert "Unknown tool 'nope'" in unknown.output
    assert "bash" in unknown.output
    invalid = await session.tool("read", {})
    assert invalid.status == "invalid"
    assert "file_path" in invalid.output


async def test_a_call_that_is_sent_again_under_its_key_is_run_once(bench: Bench) -> None:
    entered, release = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    @godwit.tool
    async def count(n: int) -> str:
        """Count."""
        ran.append(n)
        entered.set()
        await release.wait()
        return f"number {len(ran)}"

    session = await bench.start([], count)
    first = asyncio.ensure_future(session.tool("count", {"n": 1}, key="k"))
    await within(entered.wait())
    again = asyncio.ensure_future(session.tool("count", {"n": 1}, key="k"))
    release.set()
    assert await within(again) == await within(first)
    assert await within(session.tool("count", {"n": 1}, key="k")) == first.result()
    with pytest.raises(KeyReused):
        await within(session.tool("count", {"n": 2}, key="k"))
    assert (first.result().output, ran) == ("number 1", [1])


async def test_the_agents_rules_do_not_bind_the_host(bench: Bench) -> None:
    denied = {"bash": "deny", "write": "ask"}
    session = await bench.start([], "bash", permissions=denied)
    assert await session.bash("echo trusted") == "trusted\n"
    await session.write_file("new", "x")  # not one of the agent's tools at all
    assert await session.approvals.pending() == []


async def test_a_direct_call_beside_an_open_run_enters_neither_turn_nor_transcript(bench: Bench) -> None:
    release = asyncio.Event()

    @godwit.tool
    async def hold() -> str:
        """Wait."""
        await release.wait()
        return "held"

    session = await bench.start([call("hold"), "done"], hold, "bash")
    run = await session.prompt("Go.")
    await until_type(session, "tool.started")
    assert await session.bash("echo meanwhile") == "meanwhile\n"
    release.set()
    result = await within(session.wait(run))
    assert (result.text, result.tool_calls) == ("done", 1)
    assert "meanwhile" not in "".join(getattr(m, "text", "") for m in await session.history())
    assert [t.name for t in await session.active_tools()] == []


async def test_hooks_see_direct_calls_and_may_block_or_change_them(bench: Bench) -> None:
    session = await bench.start([], "bash")
    seen: list[str] = []

    def gate(asked: HookCall) -> HookResult | None:
        command = asked.payload["arguments"]["command"]
        seen.append(f"{asked.payload['origin']}: {command}")
        if "rm" in command:
            return HookResult("block", reason="never")
        return HookResult(modified={"command": command.replace("one", "two")})

    def after(asked: HookCall) -> HookResult:
        return HookResult(modified={"result": asked.payload["result"].upper()})

    hooks = bench.runtimes[0].hooks(session.id)
    hooks.register(HookSpec("gate", "before_tool"), gate)
    hooks.register(HookSpec("after", "after_tool"), after)
    assert await session.bash("echo one") == "TWO\n"
    with pytest.raises(ToolFailed, match="never"):
        await session.bash("rm -rf x")
    assert seen == ["direct: echo one", "direct: rm -rf x"]
    assert [b.hook for b in await data(session, HookBlocked)] == ["gate"]
    assert [d.arguments["command"] for d in await data(session, ToolStarted)] == ["echo two"]


async def test_a_large_output_is_an_artifact(bench: Bench) -> None:
    session = await bench.start([], "bash")
    result = await session.tool("bash", {"command": "seq 60000"})
    assert result.artifact is not None
    assert "left out" in result.output
    assert (await bench.runtimes[0].get_artifact(result.artifact)).decode().splitlines()[-1] == "60000"


async def test_closing_the_handle_ends_the_call_and_records_it(bench: Bench) -> None:
    session = await bench.start([], "bash")
    calling = asyncio.ensure_future(session.tool("bash", {"command": "echo begun; sleep 60"}))
    await until_type(session, "tool.started")
    await session.close()
    result = await within(calling)
    assert result.status == "error"
    with pytest.raises(SessionClosed):
        await session.tool("bash", {"command": "true"})
    again = await bench.runtimes[0].open_session(session.id)
    assert [d.status for d in await data(again, ToolFinished)] == ["error"]
    assert (await again.state()).own_calls == ()


class SlowAnswer(SqliteStore):
    """The real store; that a start is stored is told only when the test says so."""

    async def append(self, session: SessionId, events: Sequence[Draft], **options: Any) -> Appended:
        appended = await super().append(session, events, **options)
        if any(e.type == "tool.started" for e in events):
            self.stored.set()
            await self.free.wait()
        return appended

    stored: asyncio.Event
    free: asyncio.Event


async def test_a_caller_that_is_cancelled_while_the_start_is_stored_leaves_no_open_call(bench: Bench) -> None:
    store = SlowAnswer.open(bench.path)
    store.stored, store.free = asyncio.Event(), asyncio.Event()
    session = await bench.start([], "bash", runtime=await bench.runtime([], store=store))
    calling = asyncio.ensure_future(session.tool("bash", {"command": "sleep 60"}))
    await within(store.stored.wait())
    calling.cancel()
    await asyncio.sleep(0)
    store.free.set()
    with pytest.raises(asyncio.CancelledError):
        await within(calling)
    assert (await session.events())[-1].type == "tool.finished"
    assert (await session.state()).own_calls == ()


async def test_cancelling_the_caller_ends_the_call_and_records_it(bench: Bench) -> None:
    session = await bench.start([], "bash")
    calling = asyncio.ensure_future(session.tool("bash", {"command": "sleep 60"}))
    await until_type(session, "tool.started")
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(calling)
    assert (await session.state()).own_calls == ()


async def test_a_time_limit_is_the_callers(bench: Bench) -> None:
    @godwit.tool
    async def slow() -> str:
        """Never ends."""
        await asyncio.Event().wait()
        return "?"

    session = await bench.start([], slow)
    result = await within(session.tool("slow", timeout_s=0.05))
    assert (result.status, "timed out after 0.05 s" in result.output) == ("error", True)


async def test_what_a_dead_process_has_left_is_unknown_and_not_run_again(bench: Bench) -> None:
    session = await bench.start([], "bash")
    store = bench.runtimes[0].store
    dead = f"{store.owner.rsplit('-', 2)[0]}-999999-0123456789ab"
    left = ToolStarted("call_x", "bash", {"command": "touch here"}, "k", origin="direct", owner=dead)  # type: ignore[arg-type]
    await append_outside(store, session.id, [left], session._home.clock)
    assert [c.id for c in (await session.state()).own_calls] == ["call_x"]
    again = await bench.runtimes[0].open_session(session.id)
    assert [(d.call, d.status) for d in await data(again, ToolFinished)] == [("call_x", "unknown")]
    assert not (bench.workspace / "here").exists()
    state = await again.state()
    await close_lost_calls(store, session.id, state, session._home.clock, store.owner)
    assert len(await data(again, ToolFinished)) == 1


async def test_an_archived_session_runs_nothing(bench: Bench) -> None:
    session = await bench.start(["hi"], "bash")
    await session.send("Hello.")
    await bench.runtimes[0].archive(session.id)
    with pytest.raises(SessionArchived):
        await session.tool("bash", {"command": "touch here"})
    assert not (bench.workspace / "here").exists()
    assert len(await data(session, RunFinished)) == 1
