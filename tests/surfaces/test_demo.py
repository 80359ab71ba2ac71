"""The demo as a person runs it: straight, killed at any moment, watched and answered from elsewhere."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from godwit.core.events import Event, RunClaimed, RunFinished, ToolFinished, ToolStarted
from godwit.models.replay import RecordedModel
from godwit.surfaces import cli_demo
from tests.surfaces.terminal import Command, Ended, Terminal, environment, finish

FOLDER = "godwit-demo"


class Demo(Command):
    """The demo's folder as a place for other commands."""

    @property
    def project(self) -> Path:
        return self.folder / FOLDER

    @property
    def database(self) -> Path:
        return self.project / ".godwit" / "godwit.db"

    async def demo(self, *words: str) -> Ended:
        return await self.run("demo", "--pace", "0", *words)

    def passes(self) -> bool:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=self.project,
            env=environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def effects(events: list[Event], name: str) -> list[str]:
    """How each call of this tool ended."""
    return [e.data.status for e in events if isinstance(e.data, ToolFinished) and e.data.name == name]


async def test_it_mends_the_project_for_real(demo: Demo) -> None:
    ended = await demo.demo()
    assert ended.code == 0, ended.err + ended.out
    for part in (
        "test_a_leg_over_midnight",
        "1 failed, 4 passed",
        "the demo approves this call itself",
        "+    return (minutes(leg.end) - minutes(leg.start)) % DAY",
        "checked outside the session: 5 passed",
        "kill -9",
        "log last --follow",
        "--live -m",
    ):
        assert part in ended.out, part
    events = await demo.log()
    assert effects(events, "bash") == ["error", "ok"]
    assert effects(events, "edit") == ["ok"]
    assert isinstance(events[-1].data, RunFinished)
    assert await asyncio.to_thread(demo.passes)
    left = {path.name for path in demo.project.iterdir()}
    assert left == {".godwit", "flightlog.py", "test_flightlog.py", "pytest.ini"}


@pytest.mark.slow
async def test_it_can_be_run_again_and_elsewhere_it_keeps_its_hands_off(demo: Demo) -> None:
    assert (await demo.demo()).code == 0
    again = await demo.demo("--json")
    assert again.code == 0
    assert json.loads(again.out.splitlines()[-1])["type"] == "run.finished"
    assert len((await demo.run("--db", f"{FOLDER}/.godwit/godwit.db", "ls", "--json")).lines) == 2
    (demo.folder / "mine").mkdir()
    (demo.folder / "mine" / "thesis.txt").write_text("no copy")
    refused = await demo.demo("--dir", "mine")
    assert refused.code == 2
    assert "holds something else" in refused.err
    assert [p.name for p in (demo.folder / "mine").iterdir()] == ["thesis.txt"]
    live = await demo.run("demo", "--live")
    assert (live.code, live.err.partition(":")[0]) == (2, "error[usage]")


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        pytest.param("model.started", 2, id="while the model answers", marks=slow),
        pytest.param("tool.finished", 1, id="after the first look", marks=slow),
        pytest.param("tool.started", 4, id="while the first test run is under way", marks=slow),
        pytest.param("tool.finished", 5, id="after the edit"),
        pytest.param("tool.started", 6, id="while the tests run again", marks=slow),
        pytest.param("model.started", 6, id="while the summary is written", marks=slow),
    ],
)
async def test_killed_and_run_again_it_goes_on(demo: Demo, kind: str, count: int) -> None:
    process = await demo.start("demo", "--pace", "0.05")
    await demo.until(kind, count=count)
    process.kill()
    await process.communicate()
    before = await demo.log()
    assert not isinstance(before[-1].data, RunFinished), "it was killed too late to show anything"

    ended = await demo.demo()
    assert ended.code == 0, ended.err + ended.out
    assert "goes on from where it was" in ended.out
    after = await demo.log()
    assert after[: len(before)] == before, "what was there stays"
    assert [e.seq for e in after] == list(range(1, len(after) + 1))
    assert [e.data.attempt for e in after if isinstance(e.data, RunClaimed)][-1] == 2
    assert sum(isinstance(e.data, RunFinished) for e in after) == 1
    started = [e.data.call for e in after if isinstance(e.data, ToolStarted) and e.data.name in ("edit", "bash")]
    assert len(started) == len(set(started)), "no edit and no command was begun twice"
    assert sum(status == "ok" for status in (*effects(after, "edit"), *effects(after, "write"))) == 1
    assert effects(after, "bash")[-1] == "ok"
    assert await asyncio.to_thread(demo.passes)


@pytest.mark.slow
async def test_a_second_demo_leaves_the_first_its_session(demo: Demo) -> None:
    process = await demo.start("demo", "--pace", "0.2")
    await demo.until("tool.finished")
    second = await demo.demo()
    assert (second.code, second.err.partition(":")[0]) == (6, "error[session_owned]")
    process.kill()
    await process.communicate()
    fresh = await demo.demo("--fresh")
    assert fresh.code == 0, fresh.err
    rows = (await demo.run("--db", f"{FOLDER}/.godwit/godwit.db", "ls", "--all", "--json")).lines
    assert sorted(row["status"] for row in rows) == ["archived", "idle"]


async def test_it_is_watched_and_approved_from_elsewhere(demo: Demo) -> None:
    async with Terminal(demo, "demo", "--pace", "0") as terminal:
        await terminal.shows("nswer later: ")
        log = await demo.run("--db", f"{FOLDER}/.godwit/godwit.db", "log", "last", "--json")
        assert log.lines[-1]["type"] == "run.parked"
        approved = await demo.run("--db", f"{FOLDER}/.godwit/godwit.db", "approve", "last")
        assert approved.code == 0, approved.err
        await terminal.shows("the same call was approved before: approved")
        await terminal.shows("checked outside the session: 5 passed")
        assert await terminal.code() == 0


@pytest.mark.slow
async def test_a_person_may_say_no(demo: Demo) -> None:
    async with Terminal(demo, "demo", "--pace", "0") as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("n I trust you\n")
        await terminal.shows("then I go by the code")
        await terminal.shows("nswer later: ")
        terminal.type("no\n")
        await terminal.shows("why not?")
        terminal.type("\n")
        await terminal.shows("I have not run the tests, as you wished.")
        await terminal.shows("checked outside the session: 5 passed")
        assert await terminal.code() == 0


@pytest.mark.slow
async def test_answered_later_it_goes_on_when_it_is_run_again(demo: Demo) -> None:
    async with Terminal(demo, "demo", "--pace", "0") as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("a\n")
        await terminal.shows("run the same command again to give it")
        assert await terminal.code() == 4
    ended = await demo.demo()
    assert ended.code == 0, ended.err
    assert "it waits for an answer" in ended.out


@pytest.mark.slow
async def test_what_the_recording_does_not_cover_is_said(demo: Demo) -> None:
    async with Terminal(demo, "demo", "--pace", "0", EDITOR="", VISUAL="") as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("e\n")
        await terminal.shows("as they are): ")
        terminal.type('{"command": "true"}\n')
        await terminal.shows("The recording has no answer to what happened here.")
        assert await terminal.code() == 1


async def test_without_pytest_it_says_how_to_get_it(demo: Demo) -> None:
    script = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pytest' else real(name, *a)\n"
        "sys.argv = ['godwit', 'demo']; from godwit.surfaces.cli import main; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        cwd=demo.folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ended = await finish(process)
    assert ended.code == 2
    assert "has no pytest" in ended.err
    assert "-m pip install pytest" in ended.err
    assert not demo.project.exists()


def test_the_recording_says_where_it_comes_from_and_holds_no_path() -> None:
    text = cli_demo.RECORDING.read_text()
    recorded = RecordedModel(cli_demo.RECORDING)
    assert "scripted provider on loopback" in recorded.meta["source"]
    assert recorded.name == "scripted:demo"
    paths = set(re.findall(r"(?<![\w.:/])/[a-z]+/[\w./-]+", text))
    assert not paths, paths
