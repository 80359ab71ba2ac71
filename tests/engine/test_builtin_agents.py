"""Agents that are to look only: whatever their models try, in whatever sandbox, no file is changed."""

from __future__ import annotations

import subprocess
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.core.sandbox import SandboxPolicy
from godwit.models.script import call, say

from .conftest import Bench, data, within
from .task_words import Team, asked, home

COMMANDS = (
    "cat a.txt > new.txt",
    "cat > new.txt <<'EOF'\nx\nEOF",
    "cat a.txt >> b.txt",
    "cat a.txt >| b.txt",
    "cat a.txt &> b.txt",
    "ls nothing 2> new.txt",
    "cat a.txt > $PWD/new.txt",
    "cat a.txt > .git/config",
    'cat a.txt > "$(pwd)/new.txt"',
    "ls; echo x > new.txt",
    "ls && : > b.txt",
    "> b.txt",
    "cd sub && cat ../a.txt > new.txt",
    "cd $HOME; cat a.txt > new.txt",
    "git log -1 > new.txt",
    "git diff --output=new.txt",
    "find . -fprint new.txt",
    "find . -fprintf new.txt %p",
    "find . -name b.txt -delete",
    "find . -name b.txt -exec rm {} ;",
    "rg --pre 'touch new.txt' a .",
    "file -C -m magic",
    "tail -n 1 a.txt | tee new.txt",
    "touch new.txt",
    "sed -i s/a/z/ a.txt",
    "ln -s a.txt new.txt",
    "python3 -c \"open('new.txt', 'w')\"",
    "git commit -m x --allow-empty",
    "{ ls; } > new.txt",
    "(ls) > new.txt",
    "for i in 1; do ls > new.txt; done",
)


LOOKS = (
    "cat a.txt 2>/dev/null",
    "ls -la 2>&1",
    "git log -1",
    "wc < a.txt",
    "find . -name a.txt",
    "grep one a.txt > /dev/null",
)


@pytest.fixture
def folder(bench: Bench) -> Path:
    folder = bench.workspace
    (folder / "sub").mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("one\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(("git", *words), cwd=folder, check=True)
    return folder


def written(folder: Path) -> dict[str, bytes]:
    """All that is there; but git may look again at what it has seen."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "index")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def all_of(commands: tuple[str, ...]) -> Any:
    calls = (call("bash", command=command) for command in commands)
    return reduce(add, (*calls, call("write", file_path="new.txt", content="x")))


@pytest.mark.parametrize("name", ["explore", "plan", "review", "scanner"])
async def test_who_is_to_look_only_changes_nothing(bench: Bench, folder: Path, name: str) -> None:
    """Without a sandbox, for a session that may do everything: their rules alone keep them."""
    team, before = Team(bench), written(folder)

    def play(request: Any) -> Any:
        return call("task", agent=name, prompt="look") if asked(request) == "Go." else all_of((*COMMANDS, *LOOKS))

    scanner: Any = godwit.WorkerAgentSpec("scanner", "Looks.", "read_only") if name == "scanner" else name
    sandbox = SandboxPolicy(backend="none")
    team.add("boss", [play, say("Done.")], "files", "bash", subagents=[scanner], permissions={"*": "allow"}, sandbox=sandbox)
    session = await team.start()
    assert (await within(session.send("Go."))).outcome == "done"
    (task,) = await session.tasks.all()
    assert task.status == "completed", task.error
    child = await home(session).open_session(task.session)
    ended = {f.call: f for f in await data(child, ToolFinished)}
    statuses = [ended[c].status for c in ended]
    assert written(folder) == before
    assert len(statuses) == len(COMMANDS) + len(LOOKS) + 1
    refused = [f for f in ended.values() if f.status in ("denied", "error")]
    assert len(refused) == len(COMMANDS) + 1, [text_of(f.content)[:80] for f in ended.values()]


async def test_plan_mode_changes_nothing_by_a_redirection(bench: Bench, folder: Path) -> None:
    before = written(folder)
    session = await bench.start([all_of(COMMANDS), say("Done.")], "files", "bash", sandbox=SandboxPolicy(backend="none"))
    await session.set_mode("plan")
    assert (await within(session.send("Go."))).outcome == "done"
    assert written(folder) == before
    assert {f.status for f in await data(session, ToolFinished)} == {"denied"}
