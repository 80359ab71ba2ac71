"""Going back on the command line: places, previews, questions, conflicts, redo, diffs, checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path

import pytest

from godwit.core.events import SessionRewound, WorkspaceRestored
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces import cli
from godwit.surfaces.cli_agent import AgentFlags
from tests.surfaces.terminal import MODEL, Command, Ended, Terminal


@pytest.fixture
async def command(tmp_path: Path) -> Command:
    """A folder in whose session two prompts have changed files."""
    folder = tmp_path / "work"
    (folder / ".godwit").mkdir(parents=True)
    (folder / "a.txt").write_text("one\n")
    made = Command(folder)
    script: Script = [
        call("bash", command="echo two >> a.txt; echo x > b.txt"),
        "First.",
        call("bash", command="echo three >> a.txt; mkdir -p d/e; echo y > d/e/f"),
        "Second.",
    ]
    async with await Runtime.open(made.database, models={MODEL: ScriptedModel(script, MODEL)}) as runtime:
        agent = AgentFlags(allow=("bash",)).agent(MODEL)
        session = await runtime.start_session(agent, workspace=folder, session="ses_1")
        await session.send("Do the first thing.")
        await session.send("Do the second thing.")
    return made


async def run(command: Command, *words: str) -> Ended:
    """`godwit` as a process runs it, in this one: a thread stands for it, so that a test does not start dozens."""

    def work() -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        code: object = 0
        before, sys.argv = sys.argv, ["godwit", "--db", str(command.database), *words]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                cli.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.argv = before
        shown = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return Ended(int(str(code or 0)), *shown)

    return await asyncio.to_thread(work)


def files(command: Command) -> dict[str, str]:
    paths = [p for p in command.folder.rglob("*") if p.is_file() and ".godwit" not in p.parts]
    return {str(p.relative_to(command.folder)): p.read_text() for p in paths}


async def test_places_previews_and_back_with_files(command: Command) -> None:
    before = files(command)
    places = await run(command, "rewind", "last")
    assert [line.split()[0] for line in places.out.splitlines()] == ["-2", "-1"]
    assert "Do the second thing." in places.out
    listed = (await run(command, "rewind", "last", "--json")).lines
    preview = await run(command, "rewind", "last", "-1", "--preview")
    assert preview.code == 0
    assert "-three" in preview.out
    assert "deleted   d/e/f" in preview.out
    assert "taken back: Do the second thing." in preview.out
    assert files(command) == before
    (told,) = (await run(command, "rewind", "last", str(listed[0]["seq"]), "--preview", "--json")).lines
    assert {c["path"] for c in told["changes"]} == {"a.txt", "b.txt", "d", "d/e", "d/e/f"}
    assert await command_rewinds(command) == 0

    asked = await run(command, "rewind", "last", "-1", "--files")
    assert asked.code == 2
    assert "nobody can be asked" in asked.err
    done = await run(command, "rewind", "last", "-1", "--files", "--yes")
    assert done.code == 0, done.err
    assert "2 files put back" in done.out
    assert files(command) == {"a.txt": "one\ntwo\n", "b.txt": "x\n"}
    (redone,) = (await run(command, "redo", "last", "--yes", "--json")).lines
    assert (redone["error"], redone["left"]) == (None, [])
    assert files(command) == before
    again = await run(command, "redo", "last", "--yes")
    assert again.code == 6
    assert again.err.startswith("error[conflict]: there is no rewind to take back")
    alone = await run(command, "rewind", "last", "-2")
    assert "taken back: Do the first thing." in alone.out
    assert files(command) == before
    assert (await run(command, "redo", "last")).code == 0


async def command_rewinds(command: Command) -> int:
    return sum(isinstance(e.data, SessionRewound) for e in await command.log())


async def test_what_cannot_be_gone_back_to(command: Command) -> None:
    log = await command.log()
    started = next(e.seq for e in log if e.type == "tool.started")
    for words, code, said in (
        (("-3",), 2, "the conversation has 2 messages"),
        (("-0",), 2, "the conversation has 2 messages"),
        (("nowhere",), 2, "'nowhere' is no place"),
        (("--fils",), 2, "'--fils' is no place"),
        (("99999",), 2, "no event 99999"),
        ((str(started),), 2, "lies within a turn"),
        (("-1", "--files", "--keep", "--overwrite"), 2, "choose one"),
    ):
        ended = await run(command, "rewind", "last", *words)
        assert (ended.code, ended.out) == (code, ""), words
        assert said in ended.err
    assert await command.log() == log


async def test_conflicts_are_shown_and_decided(command: Command) -> None:
    (command.folder / "a.txt").write_text("mine\n")
    refused = await run(command, "rewind", "last", "-2", "--files", "--yes")
    assert refused.code == 6
    assert refused.err.startswith("error[rewind_conflict]: a.txt would be put back")
    assert "--keep leaves theirs" in refused.err
    kept = await run(command, "rewind", "last", "-2", "--files", "--yes", "--keep")
    assert kept.code == 0
    assert "stays     a.txt" in kept.out
    assert files(command) == {"a.txt": "mine\n"}
    assert (await run(command, "redo", "last", "--yes")).code == 0
    (told,) = (await run(command, "rewind", "last", "-2", "--files", "--yes", "--overwrite", "--json")).lines
    assert told["text"] == "Do the first thing."
    assert files(command) == {"a.txt": "one\n"}


async def test_a_person_sees_it_first(command: Command) -> None:
    before = files(command)
    async with Terminal(command, "rewind", "last", "-1", "--files") as terminal:
        await terminal.shows("-three")
        await terminal.shows("go back? ")
        terminal.type("n\n")
        await terminal.shows("nothing was changed")
        assert await terminal.code() == 130
    assert files(command) == before
    async with Terminal(command, "rewind", "last", "-1", "--files") as terminal:
        await terminal.shows("go back? ")
        terminal.type("y\n")
        await terminal.shows("rewound")
        assert await terminal.code() == 0
    assert files(command) == {"a.txt": "one\ntwo\n", "b.txt": "x\n"}
    (command.folder / "a.txt").write_text("mine\n")
    async with Terminal(command, "redo", "last") as terminal:
        await terminal.shows("a.txt")
        await terminal.shows("(changed since by somebody)")
        await terminal.shows("[k]eep theirs")
        terminal.type("k\n")
        await terminal.shows("stays     a.txt")
        assert await terminal.code() == 0
    assert files(command) == {"a.txt": "mine\n", "b.txt": "x\n", "d/e/f": "y\n"}


async def test_diffs_and_checkpoints(command: Command) -> None:
    shown = await run(command, "diff", "last")
    assert "+two" in shown.out
    assert "+three" in shown.out
    assert "\x1b" not in shown.out
    stat = await run(command, "diff", "last", "--stat")
    assert "modified  a.txt +2 -0" in stat.out
    seqs = [line["seq"] for line in (await run(command, "rewind", "last", "--json")).lines]
    between = await run(command, "diff", "last", str(seqs[0]), str(seqs[1]), "--json")
    assert {c["path"] for c in between.lines} == {"a.txt", "b.txt"}
    one = await run(command, "diff", "last", "--path", "b.txt")
    assert one.out.splitlines()[-1] == "+x"
    listed = (await run(command, "checkpoints", "last", "--json")).lines
    assert [(c["when"], c["turn"]) for c in listed] == [("before", 1), ("after", 1), ("before", 3), ("after", 3)]
    assert "before turn 1" in (await run(command, "checkpoints", "last")).out
    (taken,) = (await run(command, "checkpoints", "last", "--take", "--json")).lines
    assert taken["when"] == "manual"
    same = await run(command, "diff", "last", taken["ref"])
    assert (same.code, same.out) == (0, "")
    wrong = await run(command, "diff", "last", "nonsense")
    assert wrong.code == 5
    assert "names no checkpoint" in wrong.err


async def test_names_from_strangers_do_not_reach_the_terminal(command: Command) -> None:
    name = "evil\x1b[2J\n.txt"
    async with command.session() as session:
        await session.write_file("plain.txt", "x\n")
    (command.folder / name).write_text("\x1b[31mred\n")
    shown = await run(command, "diff", "last")
    assert "\x1b" not in shown.out
    assert (await run(command, "diff", "last", "--stat")).out.count("\\x1b") == 1


async def test_the_log_tells_of_it(command: Command) -> None:
    done = await command.run("rewind", "last", "-1", "--files", "--yes")  # a process of its own
    assert done.code == 0
    (restored,) = [e for e in await command.log() if isinstance(e.data, WorkspaceRestored)]
    log = await run(command, "log", "last")
    assert "workspace.restored" in log.out
    assert restored.seq
