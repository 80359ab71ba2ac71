"""Finding sessions by what was said in them, and letting old ones go: library, server and command line."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.errors import InvalidArgument
from godwit.core.messages import text_of
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call, hold, say
from godwit.surfaces.api import Api
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command
from tests.surfaces.test_cli_rewind import run

HOUR_S = 3600.0


def heard(request: Any) -> str:
    return f"I hear {text_of(request.entries[-1].message.content)}"


def models() -> dict[str, ScriptedModel]:
    return {MODEL: ScriptedModel([heard], MODEL, select=lambda _: 0)}


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
async def talked(command: Command) -> Command:
    command.database.parent.mkdir()
    async with await Runtime.open(command.database, models=models()) as runtime:
        agent = godwit.Agent("a", model=MODEL)
        for number, text in enumerate(("about whales", "about godwits", "about nothing"), 1):
            session = await runtime.start_session(
                agent, workspace=command.folder, session=f"ses_{number}", name=f"no. {number}"
            )
            await session.send(text)
    return command


async def test_words_are_found_on_the_command_line(talked: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await run(talked, "search", "godwits")
    assert found.code == 0, found.err
    assert [line.split()[0] for line in found.out.splitlines()] == ["ses_2", "ses_2"]
    (named,) = (await run(talked, "search", '"no 3"', "--json")).lines
    assert (named["session"], named["kind"]) == ("ses_3", "name")
    assert (await run(talked, "search", "about", "-n", "2")).out.count("\n") == 2
    nothing = await run(talked, "search", "penguins")
    assert (nothing.code, nothing.out) == (1, "")
    assert (await run(talked, "search", "!!")).code == 2
    monkeypatch.chdir(talked.folder)
    assert (await run(talked, "search", "whales", "--here")).code == 0
    monkeypatch.chdir(talked.folder.parent)
    assert (await run(talked, "search", "whales", "--here")).code == 1


async def test_each_tenant_of_a_server_finds_its_own(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=models(), dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(godwit.Agent("a", model=MODEL))
            await session.send("about whales")
            assert {one.session for one in await runtime.search("whales")} == {session.id}
            assert [one.kind for one in await runtime.search("whales", limit=1)] == ["user"]
            with pytest.raises(InvalidArgument):
                await runtime.search("?!")


async def test_old_sessions_go_and_what_works_stays(tmp_path: Path) -> None:
    clock = Clock()
    async with await Runtime.open(tmp_path / "g.db", models=models(), clock=clock) as runtime:
        agent = godwit.Agent("a", model=MODEL)
        old, paused, archived, young = [await runtime.start_session(agent, session=name) for name in "opay"]
        for session in (old, paused, archived):
            await session.send("said")
        await paused.pause()
        await runtime.archive(archived.id)
        clock.ms += int(48 * HOUR_S * 1000)
        await young.send("said")
        due = await runtime.prune_sessions(older_than_s=24 * HOUR_S, dry_run=True)
        assert {row.id for row in due} == {old.id, archived.id}
        gone = await runtime.prune_sessions(older_than_s=24 * HOUR_S, archived_only=True)
        assert [row.id for row in gone] == [archived.id]
        assert [row.id for row in await runtime.prune_sessions(older_than_s=24 * HOUR_S)] == [old.id]
        assert {row.id for row in await runtime.sessions()} == {paused.id, young.id}
        for wrong in (
            {},
            {"older_than_s": -1.0},
            {"older_than_s": math.inf},
            {"older_than_s": math.nan},
            {"max_bytes": -1},
            {"max_bytes": 1, "dry_run": True},
        ):
            with pytest.raises(InvalidArgument):
                await runtime.prune_sessions(**wrong)


async def test_what_is_worked_for_stays(tmp_path: Path) -> None:
    """A session at rest whose subagent is at work in the background."""
    release, reached = asyncio.Event(), asyncio.Event()
    given = {
        MODEL: ScriptedModel([call("task", agent="kid", prompt="Go.", background=True), "Meanwhile."]),
        "scripted:kid": ScriptedModel([hold(release, reached=reached) + say("Done.")]),
    }
    async with await Runtime.open(tmp_path / "g.db", models=given) as runtime:
        agent = godwit.Agent("boss", model=MODEL, subagents=[godwit.Agent("kid", model="scripted:kid")])
        session = await runtime.start_session(agent)
        await session.send("Hand it on.")
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        assert await runtime.prune_sessions(older_than_s=0, dry_run=True) == []
        assert await runtime.prune_sessions(older_than_s=0) == await runtime.prune_sessions(max_bytes=0) == []
        release.set()
        assert (await session.tasks.wait([task.id for task in await session.tasks.all()]))[0].status == "completed"


async def test_the_oldest_go_until_there_is_room(tmp_path: Path) -> None:
    clock = Clock()
    async with await Runtime.open(tmp_path / "g.db", models=models(), clock=clock) as runtime:
        agent = godwit.Agent("a", model=MODEL)
        for number in range(5):
            clock.ms += 100_000_000
            session = await runtime.start_session(agent, session=f"s{number}")
            await session.send("x" * 100_000)
        total = await runtime.store.log_bytes(None)
        gone = await runtime.prune_sessions(max_bytes=total // 2)
        assert [row.id for row in gone] == ["s0", "s1", "s2"]
        assert await runtime.store.log_bytes(None) <= total // 2
        assert await runtime.prune_sessions(max_bytes=total) == []


async def test_pruning_asks_first(talked: Command) -> None:
    assert (await run(talked, "prune")).code == 2
    assert (await run(talked, "prune", "--older-than", "soon")).code == 2
    assert (await run(talked, "prune", "--max-size", "much")).code == 2
    kept = await run(talked, "prune", "--older-than", "1d")
    assert (kept.code, kept.out) == (0, "0 sessions would be deleted\n")
    asked = await run(talked, "prune", "--max-size", "0")
    assert (asked.code, "nobody can be asked" in asked.err) == (2, True)
    gone = await run(talked, "prune", "--older-than", "0h", "--yes")
    assert (gone.code, gone.out) == (0, "3 sessions deleted\n")
    assert (await run(talked, "ls", "--json")).lines == []
