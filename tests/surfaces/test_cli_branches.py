"""The tree of a conversation on the command line: drawn, labelled, gone about in, forked off; and typed in a chat."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit.core.branches import SessionTree, TreeNode
from godwit.core.errors import InvalidArgument
from godwit.core.events import SessionLabelled
from godwit.core.messages import text_of
from godwit.engine.log import append_outside
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces.api import Api
from godwit.surfaces.cli_branches import drawn
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command
from tests.surfaces.test_cli_rewind import files, run, worked  # noqa: F401 - a fixture


def test_a_tree_is_drawn_with_its_branches() -> None:
    nodes = (
        TreeNode(4, "user", None, text="Begin", current=True),
        TreeNode(8, "agent", 4, text="Begun", current=True, label="base"),
        TreeNode(12, "user", 8, text="First way"),
        TreeNode(16, "agent", 12, text="", tools=("bash", "read")),
        TreeNode(20, "agent", 16, text="It failed\x1b[31m"),
        TreeNode(25, "branch_summary", 8, text="The first way failed", current=True),
        TreeNode(28, "user", 25, text="Second way", current=True),
        TreeNode(32, "agent", 28, text="It works", current=True),
    )
    tree = SessionTree(nodes, 32)
    assert list(drawn(tree)) == [
        "● 4     > Begin",
        "● 8       Begun  [base]",
        "├─○ 12    > First way",
        "│ ○ 20      It failed",
        "└─● 25    ↩ The first way failed",
        "  ● 28    > Second way",
        "  * 32      It works",
    ]
    assert [line for line in drawn(tree, every=True) if "[bash, read]" in line] == ["│ ○ 16      [bash, read]"]
    assert list(drawn(SessionTree())) == []


def test_a_long_conversation_is_drawn_without_recursion() -> None:
    nodes = tuple(TreeNode(n, "user", n - 1 if n > 1 else None, text=str(n), current=True) for n in range(1, 20_001))
    assert len(list(drawn(SessionTree(nodes, 20_000)))) == 20_000


async def test_drawn_labelled_gone_about_in_and_forked_off(worked: Command, tmp_path: Path) -> None:  # noqa: F811
    before = files(worked)
    shown = await run(worked, "tree", "last")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split()[2:] == [">", "Do", "the", "first", "thing."]
    (found,) = (await run(worked, "tree", "last", "--json")).lines
    ends = [node["seq"] for node in found["nodes"] if node["kind"] == "agent"]
    place = str(ends[1])
    named = await run(worked, "label", "last", place, "after the first")
    assert (named.code, "labelled 'after the first'" in named.out) == (0, True)
    assert "[after the first]" in (await run(worked, "tree", "last")).out
    assert (await run(worked, "label", "last", place)).code == 2

    other = tmp_path / "other"
    forked = await run(worked, "fork", "last", "after the first", "-w", str(other), "--name", "second try", "--json")
    assert forked.code == 0, forked.err
    (made,) = forked.lines
    assert made["workspace"] == str(other)
    assert {path.name: path.read_text() for path in other.iterdir() if path.is_file()} == {
        "a.txt": "one\ntwo\n",
        "b.txt": "x\n",
    }
    assert files(worked) == before
    listed = await run(worked, "ls")
    (line,) = [line for line in listed.out.splitlines() if "second try" in line]
    assert line.split()[:2] == [made["session"], "new"], "nobody has opened it, and nothing waits in it"
    rows = (await run(worked, "ls", "--json")).lines
    assert [row["status"] for row in rows if row["id"] == made["session"]] == ["queued"]
    assert "forked from ses_1" in (await run(worked, "tree", made["session"])).out

    refused = await run(worked, "fork", "ses_1", "-w", str(other))
    assert (refused.code, "not empty" in refused.err) == (2, True)
    nowhere = tmp_path / "deep" / "folder"
    unknown = await run(worked, "fork", "ses_1", "no such label", "-w", str(nowhere))
    assert (unknown.code, nowhere.exists()) == (2, False)

    gone = await run(worked, "navigate", "ses_1", "after the first", "--files")
    assert gone.code == 0, gone.err
    assert "2 files put back" in gone.out
    assert files(worked)["a.txt"] == "one\ntwo\n"
    there = await run(worked, "navigate", "ses_1", str(ends[-1]), "--files")
    assert there.code == 0, there.err
    assert files(worked) == before
    assert (await run(worked, "label", "ses_1", place, "--remove")).code == 0
    assert (await run(worked, "navigate", "ses_1", "after the first")).code == 2


async def test_typed_in_a_session(tmp_path: Path) -> None:
    model = ScriptedModel([lambda request: f"I hear {text_of(request.entries[-1].message.content)}"], select=lambda _: 0)
    async with await Runtime.open(tmp_path / "g.db", models={MODEL: model}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        for text in ("one", "two"):
            await session.send(text)
        first, answered, *_ = (await session.tree()).nodes
        told = await session.command(f"/label {answered.seq} here")
        assert told is not None
        assert told.text == f"Event {answered.seq} is 'here'."
        listed = await session.command("/tree")
        assert listed is not None
        assert f"  + {answered.seq}  agent: I hear one [here]" in listed.text
        await session.command("/navigate here")
        assert len(await session.history()) == 2
        await session.command(f"/navigate {first.seq}")
        assert len(await session.history()) == 0
        forked = await session.command("/fork here")
        assert forked is not None
        assert len(await runtime.sessions()) == 2
        # A label that reads as a seq, as an import may have brought it.
        await append_outside(runtime.store, session.id, [SessionLabelled(answered.seq, "7")], runtime.clock)
        await session.command("/navigate label:7")
        assert len(await session.history()) == 2
        for wrong in ("/navigate", "/navigate nowhere", "/label", "/label x y", "/fork nowhere"):
            result = await session.command(wrong)
            assert result is not None
            assert result.error is not None, wrong


async def test_behind_a_server_a_fork_has_a_folder_of_its_own(tmp_path: Path) -> None:
    script: Script = [call("write", file_path="a.txt", content="one\n"), "Written."]
    with running(tmp_path / "g.db", models={MODEL: ScriptedModel([*script], MODEL)}, dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            agent = godwit.Agent("a", model=MODEL, tools=["files"])
            session = await runtime.start_session(agent, own_workspace=True)
            await session.send("Write it.")
            forked = await session.fork(key="k")
            again = await session.fork(key="k")
            assert forked.id == again.id
            assert forked.workspace is not None
            assert forked.workspace != session.workspace
            assert (Path(forked.workspace) / "a.txt").read_text() == "one\n"
            await runtime.delete_session(session.id)
            assert (Path(forked.workspace) / "a.txt").read_text() == "one\n"
            assert len(await forked.history()) == 4
            with pytest.raises(InvalidArgument):
                await forked.fork("nowhere")
            assert len(await runtime.sessions()) == 1


async def test_the_mode_is_shown_and_set(worked: Command) -> None:  # noqa: F811
    done = await run(worked, "mode", "last", "plan")
    assert (done.code, "in mode plan" in done.out) == (0, True)
    (shown,) = (await run(worked, "mode", "last", "--json")).lines
    assert shown["mode"] == "plan"
    assert (await run(worked, "mode", "last", "party")).code == 2
