"""Going back on the command line: places, previews, questions, conflicts, redo, diffs, checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys

import pytest

from godwit.core.events import SessionRewound, WorkspaceRestored
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces import cli
from godwit.surfaces.cli_agent import AgentFlags
from tests.loopback import Loopback, Reply
from tests.surfaces.terminal import MODEL, Command, Ended, Terminal


@pytest.fixture
async def worked(command: Command) -> Command:
    """A folder in whose session two prompts have changed files."""
    command.database.parent.mkdir()
    (command.folder / "a.txt").write_text("one\n")
    script: Script = [
        call("bash", command="echo two >> a.txt; echo x > b.txt"),
        "First.",
        call("bash", command="echo three >> a.txt; mkdir -p d/e; echo y > d/e/f"),
        "Second.",
    ]
    async with await Runtime.open(command.database, models={MODEL: ScriptedModel(script, MODEL)}) as runtime:
        agent = AgentFlags(allow=("bash",)).agent(MODEL)
        session = await runtime.start_session(agent, workspace=command.folder, session="ses_1")
        await session.send("Do the first thing.")
        await session.send("Do the second thing.")
    return command


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


async def test_places_previews_and_back_with_files(worked: Command) -> None:
    before = files(worked)
    places = await run(worked, "rewind", "last")
    assert [line.split()[0] for line in places.out.splitlines()] == ["-2", "-1"]
    assert "Do the second thing." in places.out
    listed = (await run(worked, "rewind", "last", "--json")).lines
    preview = await run(worked, "rewind", "last", "-1", "--preview")
    assert preview.code == 0
    assert "-three" in preview.out
    assert "deleted   d/e/f" in preview.out
    assert "taken back: Do the second thing." in preview.out
    assert files(worked) == before
    (told,) = (await run(worked, "rewind", "last", str(listed[0]["seq"]), "--preview", "--json")).lines
    assert {c["path"] for c in told["changes"]} == {"a.txt", "b.txt", "d", "d/e", "d/e/f"}
    assert await rewinds(worked) == 0

    asked = await run(worked, "rewind", "last", "-1", "--files")
    assert asked.code == 2
    assert "nobody can be asked" in asked.err
    done = await run(worked, "rewind", "last", "-1", "--files", "--yes")
    assert done.code == 0, done.err
    assert "2 files put back" in done.out
    assert files(worked) == {"a.txt": "one\ntwo\n", "b.txt": "x\n"}
    (redone,) = (await run(worked, "redo", "last", "--yes", "--json")).lines
    assert (redone["error"], redone["left"]) == (None, [])
    assert files(worked) == before
    again = await run(worked, "redo", "last", "--yes")
    assert again.code == 6
    assert again.err.startswith("error[conflict]: there is no rewind to take back")
    alone = await run(worked, "rewind", "last", "-2")
    assert "taken back: Do the first thing." in alone.out
    assert files(worked) == before
    assert (await run(worked, "redo", "last")).code == 0


async def rewinds(command: Command) -> int:
    return sum(isinstance(e.data, SessionRewound) for e in await command.log())


async def test_what_cannot_be_gone_back_to(worked: Command) -> None:
    log = await worked.log()
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
        ended = await run(worked, "rewind", "last", *words)
        assert (ended.code, ended.out) == (code, ""), words
        assert said in ended.err
    assert await worked.log() == log


async def test_conflicts_are_shown_and_decided(worked: Command) -> None:
    (worked.folder / "a.txt").write_text("mine\n")
    refused = await run(worked, "rewind", "last", "-2", "--files", "--yes")
    assert refused.code == 6
    assert refused.err.startswith("error[rewind_conflict]: a.txt would be put back")
    assert "--keep leaves theirs" in refused.err
    kept = await run(worked, "rewind", "last", "-2", "--files", "--yes", "--keep")
    assert kept.code == 0
    assert "stays     a.txt" in kept.out
    assert files(worked) == {"a.txt": "mine\n"}
    assert (await run(worked, "redo", "last", "--yes")).code == 0
    (told,) = (await run(worked, "rewind", "last", "-2", "--files", "--yes", "--overwrite", "--json")).lines
    assert told["text"] == "Do the first thing."
    assert files(worked) == {"a.txt": "one\n"}


async def test_a_person_sees_it_first(worked: Command) -> None:
    before = files(worked)
    async with Terminal(worked, "rewind", "last", "-1", "--files") as terminal:
        await terminal.shows("-three")
        await terminal.shows("go back? ")
        terminal.type("n\n")
        await terminal.shows("nothing was changed")
        assert await terminal.code() == 130
    assert files(worked) == before
    async with Terminal(worked, "rewind", "last", "-1", "--files") as terminal:
        await terminal.shows("go back? ")
        terminal.type("y\n")
        await terminal.shows("rewound")
        assert await terminal.code() == 0
    assert files(worked) == {"a.txt": "one\ntwo\n", "b.txt": "x\n"}
    (worked.folder / "a.txt").write_text("mine\n")
    async with Terminal(worked, "redo", "last") as terminal:
        await terminal.shows("a.txt")
        await terminal.shows("(changed since by somebody)")
        await terminal.shows("[k]eep theirs")
        terminal.type("k\n")
        await terminal.shows("stays     a.txt")
        assert await terminal.code() == 0
    assert files(worked) == {"a.txt": "mine\n", "b.txt": "x\n", "d/e/f": "y\n"}


async def test_diffs_and_checkpoints(worked: Command) -> None:
    shown = await run(worked, "diff", "last")
    assert "+two" in shown.out
    assert "+three" in shown.out
    assert "\x1b" not in shown.out
    stat = await run(worked, "diff", "last", "--stat")
    assert "modified  a.txt +2 -0" in stat.out
    seqs = [line["seq"] for line in (await run(worked, "rewind", "last", "--json")).lines]
    between = await run(worked, "diff", "last", str(seqs[0]), str(seqs[1]), "--json")
    assert {c["path"] for c in between.lines} == {"a.txt", "b.txt"}
    one = await run(worked, "diff", "last", "--path", "b.txt")
    assert one.out.splitlines()[-1] == "+x"
    listed = (await run(worked, "checkpoints", "last", "--json")).lines
    assert [(c["when"], c["turn"]) for c in listed] == [("before", 1), ("after", 1), ("before", 3), ("after", 3)]
    assert "before turn 1" in (await run(worked, "checkpoints", "last")).out
    (taken,) = (await run(worked, "checkpoints", "last", "--take", "--json")).lines
    assert taken["when"] == "manual"
    same = await run(worked, "diff", "last", taken["ref"])
    assert (same.code, same.out) == (0, "")
    wrong = await run(worked, "diff", "last", "nonsense")
    assert wrong.code == 5
    assert "names no checkpoint" in wrong.err


async def test_names_from_strangers_do_not_reach_the_terminal(worked: Command) -> None:
    name = "evil\x1b[2J\n.txt"
    async with worked.session() as session:
        await session.write_file("plain.txt", "x\n")
    (worked.folder / name).write_text("\x1b[31mred\n")
    shown = await run(worked, "diff", "last")
    assert "\x1b" not in shown.out
    assert (await run(worked, "diff", "last", "--stat")).out.count("\\x1b") == 1


async def test_the_log_tells_of_it(worked: Command) -> None:
    done = await worked.run("rewind", "last", "-1", "--files", "--yes")  # a process of its own
    assert done.code == 0
    (restored,) = [e for e in await worked.log() if isinstance(e.data, WorkspaceRestored)]
    log = await run(worked, "log", "last")
    assert "workspace.restored" in log.out
    assert restored.seq


async def test_compact_shows_its_summary_and_the_way_back(command: Command) -> None:
    """The model is a provider's: one on loopback."""
    command.database.parent.mkdir()
    asked = "openai-chat:m"
    async with await Runtime.open(command.database, models={asked: ScriptedModel(["First.", "Second."], asked)}) as runtime:
        session = await runtime.start_session(AgentFlags().agent(asked), workspace=command.folder, session="ses_1")
        await session.send("Do the first thing.")
        await session.send("Do the second thing.")
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    said = {"index": 0, "delta": {"role": "assistant", "content": "In short."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = [{**head, "choices": [said]}, {**head, "choices": [], "usage": usage}]
    async with Loopback(otherwise=lambda _: Reply.sse(events, done=True)) as server:
        env = {"OPENAI_BASE_URL": f"{server.url}/v1"}
        ended = await command.run("compact", "last", **env)
        assert (ended.code, ended.out) == (6, "")
        assert "nothing to compact" in ended.err
        assert server.requests == []
        done = await command.run("compact", "last", "names", "--keep-tokens", "0", **env)
        assert (done.code, done.out) == (0, "In short.\n")
        assert "4 messages of about" in done.err
        assert "keep what concerns this: names" in str(server.requests[0].body)
    back = next(line.split("godwit ")[1].split() for line in done.err.splitlines() if line.startswith("back to before it:"))
    assert (await run(command, *back[back.index("rewind") :])).code == 0
    async with await Runtime.open(command.database, models={asked: ScriptedModel([], asked)}) as runtime:
        assert len(await (await runtime.open_session("ses_1", drive=False)).history()) == 4
