"""`godwit artifacts`, `pin` and `unpin`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import godwit
from godwit.core.artifact import ArtifactLimits
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call
from godwit.surfaces.cli import main
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import MODEL, Command, Ended, Terminal, environment

Run = Callable[..., Ended]
HIDDEN = "\x1b]0;title\x07"


@godwit.tool
def much(kind: str) -> str:
    """Say a lot."""
    return f"{HIDDEN}{kind * 150_000}\n"


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with a session that keeps two of three artifacts."""
    (tmp_path / ".godwit").mkdir()
    model = ScriptedModel([call("much", kind=kind) for kind in "abc"] + ["done"], MODEL)
    limits = ArtifactLimits(max_artifacts=2)
    async with await Runtime.open(tmp_path / ".godwit" / "godwit.db", models={MODEL: model}, artifacts=limits) as runtime:
        session = await runtime.start_session(godwit.Agent("talker", model=MODEL, tools=[much]))
        await session.send("Talk.")
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GODWIT_DB", raising=False)

    def run(*words: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["godwit", *words])
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, shown.out, shown.err)

    return run


def test_list_pin_and_unpin(run: Run) -> None:
    ended = run("artifacts", "last", "--json")
    assert ended.code == 0, ended.err
    first, second = [json.loads(line) for line in ended.out.splitlines()]
    assert (first["size"], first["media_type"], first["pinned"]) == (150_011, "text/plain; charset=utf-8", False)
    assert first["ref"].startswith("sha256:")
    assert run("pin", "last", second["ref"][7:17]).out == f"{second['ref']}: pinned\n"
    assert run("pin", "last", second["ref"]).out == f"{second['ref']}: it was pinned already\n"
    listed = run("artifacts", "last").out.splitlines()
    assert [line.split()[0] for line in listed] == [first["ref"], second["ref"]]
    assert [("pinned" in line, "150,011 bytes" in line, "ago" in line) for line in listed] == [
        (False, True, True),
        (True, True, True),
    ]
    assert json.loads(run("unpin", "last", second["ref"], "--json").out)["changed"] is True
    assert run("unpin", "last", second["ref"]).out == f"{second['ref']}: it was not pinned\n"


def test_what_is_not_there(run: Run) -> None:
    missing = run("artifacts", "last", "0000")
    assert (missing.code, missing.err.partition(":")[0]) == (5, "error[artifact_not_found]")
    assert "godwit artifacts ID" in missing.err
    assert run("pin", "last", "").code == 5
    assert run("artifacts", "nothing").code == 5


def test_the_content_byte_for_byte(folder: Path) -> None:
    def piped(*words: str) -> bytes:
        command = [sys.executable, "-m", "godwit", *words]
        return subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, check=True, timeout=PATIENCE_S
        ).stdout

    refs = [json.loads(line)["ref"] for line in piped("artifacts", "last", "--json").splitlines()]
    assert piped("artifacts", "last", refs[0][:15]) == f"{HIDDEN}{'b' * 150_000}\n".encode()


async def test_a_terminal_is_shown_text_and_nothing_it_would_act_on(folder: Path) -> None:
    listed = await Command(folder).run("artifacts", "last", "--json")
    ref = listed.lines[0]["ref"]
    async with Terminal(Command(folder), "artifacts", "last", str(ref)) as terminal:
        await terminal.shows("bbbb")
        assert await terminal.code() == 0
        assert "title" not in terminal.text
