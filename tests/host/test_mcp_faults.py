"""What a server does wrong costs its own call at most, over all transports and in both generations of the protocol: the
session's other tools and servers go on, the run ends, its log folds, and nothing is left open or grows without bound."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, within
from tests.host.test_mcp_stdio import until_dead
from tests.parts import mcp_program
from tests.parts.leaks import Open, children, memory_mb, nothing_left, opened

from godwit import Agent, McpServer, McpSettings, tool
from godwit.core.events import McpUnavailable, RunFinished, ToolFinished
from godwit.core.messages import text_of
from godwit.core.transcript import problems, transcript_of
from godwit.engine.log import load_state
from godwit.engine.session import Session
from godwit.host.mcp import connection as mcp_connection, stdio as mcp_stdio
from godwit.models.script import call, say
from godwit.workspaces.watchdog import WATCHDOG

PROGRAM = mcp_program.__file__
GROWTH_MB = 150.0
"""What a flood may cost at most, for the time that it lasts."""
SLOW = pytest.mark.slow
WAYS = (
    "stdio",
    pytest.param("stdio new", marks=SLOW),
    pytest.param("http", marks=SLOW),
    pytest.param("http new", marks=SLOW),
    pytest.param("sse", marks=SLOW),
)


@tool
async def own(text: str) -> str:
    """A tool of the session's own."""
    return text


class Faulty:
    """A session with the server `bad`, which does what it is told, the server `good`, and a tool of its own."""

    def __init__(self, bench: Bench, way: str) -> None:
        self.bench = bench
        self.transport, _, generation = way.partition(" ")
        self.new = generation == "new"
        self.started: list[subprocess.Popen[bytes]] = []
        self.before: Open | None = None

    async def server(self, mode: str = "", **more: Any) -> tuple[McpServer, tuple[str, ...]]:
        words = [*(["--new"] if self.new else []), *([mode] if mode else [])]
        more = {"timeout_s": 60.0, "connect_timeout_s": 60.0, **more}
        if self.transport == "stdio":
            return McpServer("bad", command=sys.executable, args=(PROGRAM, *words), **more), ()
        port = await asyncio.to_thread(self._start, [f"--{self.transport}", *words])
        here = f"127.0.0.1:{port}"
        return McpServer("bad", f"http://{here}/mcp", transport=self.transport, **more), (here,)  # type: ignore[arg-type]

    def _start(self, words: list[str]) -> int:
        command = [sys.executable, PROGRAM, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline() or 9)

    async def session(self, *steps: Any, mode: str = "", wait_s: float = 60.0, **more: Any) -> Session:
        bad, reach = await self.server(mode, **more)
        # What this process starts once and for all is no leak.
        first = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
        WATCHDOG.add(first.pid)
        first.kill()
        await first.wait()
        WATCHDOG.remove(first.pid)
        good = McpServer("good", command=sys.executable, args=(PROGRAM,))
        self.before = opened()
        script = [*steps, well(), say("Done.")]
        runtime = await self.bench.runtime(script, mcp=McpSettings(reach=reach, wait_s=wait_s))
        agent = Agent("tester", model=MODEL, tools=[own], mcp_servers=[bad, good], tool_search="never")
        return await runtime.start_session(agent)

    async def run(self, session: Session, *, good: bool = True) -> list[tuple[str, str]]:
        """What came of the calls to the bad server. All else went as it should. Nobody is there for what it asks."""
        result = await within(session.wait(await session.prompt("Go.", unattended=True)))
        assert (result.outcome, result.text) == ("done", "Done."), result
        assert [one.outcome for one in await data(session, RunFinished)] == ["done"]
        log = await session.events()
        assert list(problems(transcript_of(log).messages)) == []
        assert (await load_state(session._store, session.id)).seq == log[-1].seq
        ended: list[ToolFinished] = await data(session, ToolFinished)
        others = {one.name: (one.status, text_of(one.content)) for one in ended if not one.name.startswith("mcp__bad__")}
        assert others["own"] == ("ok", "still here")
        assert others["mcp__good__echo"] == ("ok", "still here")
        return [(one.status, text_of(one.content)) for one in ended if one.name.startswith("mcp__bad__")]

    async def close(self) -> None:
        await self.bench.close()
        if self.before is not None:
            await nothing_left(self.before)
        for process in self.started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def well() -> Any:
    """A step whose calls have nothing to do with the server that misbehaves."""
    return call("own", text="still here") + call("mcp__good__echo", text="still here")


def bad(name: str, **arguments: Any) -> Any:
    return call(f"mcp__bad__{name}", **arguments)


@pytest.fixture(params=WAYS)
async def faulty(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[Faulty]:
    made = Faulty(bench, request.param)
    yield made
    await made.close()


@pytest.fixture(params=WAYS[:2])
async def program(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[Faulty]:
    made = Faulty(bench, request.param)
    yield made
    await made.close()


HERE = bad("echo", text="here")


# --- calls ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hang", "refuse", "stranger", "shapeless", "broken", "deep"])
async def test_a_call_that_fails_is_an_error_of_its_own(faulty: Faulty, name: str) -> None:
    timeout_s = 0.7 if name in ("hang", "stranger") or (name == "deep" and faulty.transport != "http") else 60.0
    session = await faulty.session(bad(name), HERE, timeout_s=timeout_s)
    failed, here = await faulty.run(session)
    words = {
        "hang": ["timed out after 0.7 s"],
        "refuse": ["the MCP server says: not today"],
        "stranger": ["timed out after 0.7 s"],
        "shapeless": ["answer cannot be used"],
        "broken": ["it broke"],
        "deep": ["timed out after 0.7 s", "cannot be used", "says"],
    }[name]
    assert failed[0] == "error"
    assert any(word in failed[1] for word in words), failed
    assert here == ("ok", "here")


async def test_the_first_of_two_answers_counts(faulty: Faulty) -> None:
    session = await faulty.session(bad("twice"), HERE)
    assert await faulty.run(session) == [("ok", "once"), ("ok", "here")]


async def test_an_answer_drop_by_drop_is_one(faulty: Faulty) -> None:
    session = await faulty.session(bad("drip"), HERE)
    assert await faulty.run(session) == [("ok", "drop by drop"), ("ok", "here")]


async def test_an_answer_that_comes_after_its_time_is_nobody_elses(faulty: Faulty) -> None:
    session = await faulty.session(bad("late", s=1.2), bad("late", s=0.8), HERE, timeout_s=0.5)
    first, second, here = await faulty.run(session)
    for one in (first, second):
        assert one[0] == "error"
        assert "timed out after 0.5 s" in one[1]
    assert here == ("ok", "here")


@pytest.mark.parametrize("kind", ["nul_within", "crlf", "bom", "invalid_utf8", "surrogate", "nul", "numbers"])
async def test_bytes_that_are_no_text(faulty: Faulty, kind: str) -> None:
    told = {
        "nul_within": "raw \0é",
        "crlf": "raw é",
        "bom": "raw é",
        "invalid_utf8": "raw \ufffd\ufffd\ufffdé",
        "surrogate": "raw ?é",
    }
    wanted = told.get(kind)
    if faulty.transport == "http" and kind in ("bom", "invalid_utf8", "surrogate"):
        wanted = None  # the library reads these
    session = await faulty.session(bad("raw", kind=kind), HERE, timeout_s=2.0 if wanted is None else 60.0)
    raw, here = await faulty.run(session)
    if wanted is not None:
        assert raw == ("ok", wanted)
    else:
        # An error, or what was meant; never a text that cannot be stored.
        assert raw[0] == "error" or raw[1].startswith("raw ")
    assert here == ("ok", "here")


# --- what nobody has asked for ---------------------------------------------------------------------------------------------


@pytest.mark.slow  # seconds of a whole core
async def test_what_it_says_beside_an_answer_costs_nothing(faulty: Faulty) -> None:
    session = await faulty.session(bad("notes", count=500), HERE)
    before = memory_mb()
    # An older server asks two hundred things of people beside its calls, and nothing says within which: so many are too many
    # for either.
    for found, text in zip(await faulty.run(session), ("after notes", "here"), strict=True):
        assert found == ("ok", text) or (found[0] == "error" and "it has asked 20 times" in found[1])
    assert memory_mb() - before < GROWTH_MB


@pytest.mark.slow  # seconds of a whole core
async def test_what_it_asks_of_us_costs_nothing(faulty: Faulty) -> None:
    session = await faulty.session(bad("asks", count=1000), HERE)
    before = memory_mb()
    # A thousand questions are answered, or are more than a call may ask, as they come: at once or one by one.
    for found, text in zip(await faulty.run(session), ("after questions", "here"), strict=True):
        assert found == ("ok", text) or (found[0] == "error" and "it has asked 20 times" in found[1])
    assert memory_mb() - before < GROWTH_MB


@pytest.mark.slow  # seconds of a whole core
async def test_a_flood_without_end_costs_its_own_calls_at_most(faulty: Faulty) -> None:
    session = await faulty.session(HERE, bad("echo", text="again"), mode="floods", timeout_s=5.0, wait_s=5.0)
    before = memory_mb()
    for status, text in await faulty.run(session):
        assert (status, text) in (("ok", "here"), ("ok", "again")) or status == "error"
    assert memory_mb() - before < GROWTH_MB


# --- lists of tools -----------------------------------------------------------------------------------------------------


async def told_of(faulty: Faulty, session: Session) -> list[str]:
    await faulty.run(session)
    assert faulty.bench.model is not None
    return [one.name for one in faulty.bench.model.requests[-1].tools if one.name.startswith("mcp__bad__")]


@pytest.mark.parametrize("mode", ["schemas", "twins", "wide", "regex", "refs"])
async def test_what_is_no_tool_costs_no_other_one(faulty: Faulty, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = [bad("echo", text="a" * 60 + "!"), bad("again", text="x"), bad("far", text="x")]
    asked = asyncio.Event()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    far = await asyncio.start_server(connected, "127.0.0.1", 0)
    monkeypatch.setenv("FAR", "127.0.0.1:%d" % far.sockets[0].getsockname()[1])  # noqa: UP031
    session = await faulty.session(*(evil if mode in ("regex", "refs") else [HERE]), mode=mode)
    names = await told_of(faulty, session)
    assert len(names) == len(set(names))
    kept = {name.removeprefix("mcp__bad__") for name in names}
    assert kept >= set(mcp_program.TOOLS)
    assert kept - set(mcp_program.TOOLS) <= ({"again", "far", "d"} if mode in ("refs", "schemas") else set())
    first = (await data(session, ToolFinished))[0]
    assert first.status == "ok"  # its regular expression was not run here
    assert not asked.is_set()  # what a schema refers to is not fetched
    far.close()
    await far.wait_closed()


async def test_names_that_are_none_take_no_other_tools_place(faulty: Faulty) -> None:
    session = await faulty.session(HERE, mode="names")
    names = await told_of(faulty, session)
    assert len(names) == len(set(names))
    assert set(names) >= {f"mcp__bad__{name}" for name in mcp_program.TOOLS}
    assert len([name for name in names if name not in {f"mcp__bad__{one}" for one in mcp_program.TOOLS}]) == 7
    assert all(name.startswith("mcp__bad__") and name.isprintable() for name in names)
    own_names = session.tool_names()
    assert [own_names.count(name) for name in ("own", "mcp__good__echo", "bash", "mcp__other__echo")] == [1, 1, 0, 0]


async def test_words_that_change_after_they_were_read_are_shown_as_they_are_now(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is told of a few changed lists at most; what rules say of the tool holds whatever its words are."""
    monkeypatch.setattr(mcp_connection, "RELIST_S", 0.0)
    steps = [bad("notes", count=1, n=n) for n in range(9)]
    session = await faulty.session(*steps, mode="changes_words")
    assert await faulty.run(session) == [("ok", "after notes")] * 9
    assert faulty.bench.model is not None
    shown = [
        one.description for request in faulty.bench.model.requests for one in request.tools if one.name == "mcp__bad__echo"
    ]
    assert len(dict.fromkeys(shown)) <= 6


async def test_a_list_without_end_has_one(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    from godwit.host.mcp import client as mcp_client

    monkeypatch.setattr(mcp_client, "PAGES", 7)
    session = await faulty.session(mode="endless")
    assert len(await told_of(faulty, session)) == 7


async def test_a_list_that_is_not_quite_text_costs_this_server_at_most(faulty: Faulty) -> None:
    session = await faulty.session(HERE, mode="surrogate", connect_timeout_s=5.0)
    (here,) = await faulty.run(session)
    if faulty.transport == "http":  # the library reads it
        assert here[0] == "error"
        assert "is not connected" in here[1]
    else:
        assert here == ("ok", "here")


@pytest.mark.parametrize("mode", ["die", "quits"])
async def test_one_that_ends_at_its_start_is_missing(faulty: Faulty, mode: str) -> None:
    session = await faulty.session(HERE, mode=mode)
    (here,) = await faulty.run(session)
    assert here[0] == "error"
    assert "is not connected" in here[1]
    told = [one for one in await data(session, McpUnavailable) if one.server == "bad"]
    assert told
    if faulty.transport == "stdio":
        code = 4 if mode == "die" else 0
        assert all(f"its program ended with exit code {code}" in one.message for one in told)


async def test_one_that_never_answers_is_missing(faulty: Faulty) -> None:
    session = await faulty.session(HERE, mode="mute", connect_timeout_s=1.0)
    (here,) = await faulty.run(session)
    assert here[0] == "error"
    assert "is not connected" in here[1]


async def test_one_that_dies_in_a_call_costs_that_call(faulty: Faulty) -> None:
    session = await faulty.session(bad("crash"), HERE)
    crashed, here = await faulty.run(session)
    assert crashed[0] == "error"
    if faulty.transport == "stdio":
        assert "its program ended with exit code 3: the disk is full" in crashed[1]
        assert here == ("ok", "here")
    else:
        assert here[0] == "error"
        assert "is not connected" in here[1]


# --- what only a program can do -----------------------------------------------------------------------------------------


async def test_megabytes_on_its_stderr_hold_up_nothing(program: Faulty) -> None:
    session = await program.session(bad("stderr", megabytes=30), HERE)
    before = memory_mb()
    assert await program.run(session) == [("ok", "after stderr"), ("ok", "here")]
    assert memory_mb() - before < GROWTH_MB


@pytest.mark.parametrize("what", ["stdin", "stdout"])
async def test_one_that_closes_a_pipe_is_started_again(program: Faulty, what: str) -> None:
    session = await program.session(bad("closes", what=what), HERE, HERE, timeout_s=5.0)
    closed, first, second = await program.run(session)
    if what == "stdout":
        assert closed[0] == "error"
        assert "it has closed its stdout" in closed[1]
    assert "ok" in (first[0], second[0])


@pytest.mark.parametrize("away", [False, True])
async def test_a_child_that_holds_its_pipes_holds_up_nothing(program: Faulty, tmp_path: Path, away: bool) -> None:
    session = await program.session(bad("forks", path=str(tmp_path / "child"), away=away), HERE)
    forked, here = await program.run(session)
    assert forked[0] == "error"
    assert "its program ended with exit code 5" in forked[1]
    assert here == ("ok", "here")
    (mark,) = tmp_path.glob("child.*")
    child = int(mark.suffix[1:])
    if away:
        os.kill(child, 9)  # it has left the group on purpose, and is nobody's any more
    else:
        await until_dead(child)


async def test_one_that_does_not_want_to_end_is_killed(program: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "GRACE_S", (0.05, 0.05))
    session = await program.session(HERE, mode="stays")
    assert await program.run(session) == [("ok", "here")]
    await program.bench.close()
    assert program.before is not None
    assert children() <= program.before.children
