"""`godwit hooks`, and hooks of a file around a run, as processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from godwit.models.script import call
from godwit.surfaces.cli import main
from tests.surfaces.terminal import Command, record

GUARD = """\
[[hooks]]
id = "guard"
point = "PreToolUse"
matcher = { tool = "bash", command = "rm" }
command = "touch asked; echo never >&2; exit 2"
"""
CLAUDE = {"hooks": {"PostToolUse": [{"matcher": "Write|Edit", "hooks": [{"type": "command", "command": "true"}]}]}}


@pytest.fixture(autouse=True)
def files(command: Command) -> None:
    """Hooks of both kinds."""
    (command.folder / "hooks.toml").write_text(GUARD)
    (command.folder / "settings.json").write_text(json.dumps(CLAUDE))


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """The command line within this process: exit code, stdout, stderr."""
    monkeypatch.chdir(command.folder)
    monkeypatch.delenv("GODWIT_HOOKS", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["godwit", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def test_the_hooks_of_files_are_shown(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [
        "guard  before_tool  tool=bash command=rm  touch asked; echo never >&2; exit 2",
        "settings.json:PostToolUse-1-1  after_tool (does not decide)  tool=write|edit|patch status=ok  true",
    ]
    assert said("hooks", "list", "hooks.toml", "settings.json")[1].splitlines() == shown
    assert said("--hooks", "hooks.toml", "--hooks", "settings.json", "hooks")[1].splitlines() == shown
    monkeypatch.setenv("GODWIT_HOOKS", "hooks.toml:settings.json")
    assert said("hooks")[1].splitlines() == shown


def test_a_call_is_tried_and_nothing_is_run_unless_asked_for(said: Said, command: Command) -> None:
    _, shown, _ = said("hooks", "test", "hooks.toml", "--command", "rm -r x", "--json")
    assert json.loads(shown) == {
        "point": "before_tool",
        "payload": {"tool": "bash", "call": "call_test", "arguments": {"command": "rm -r x"}, "origin": "model"},
        "called": ["guard"],
    }
    assert "no hook is called" in said("hooks", "test", "hooks.toml", "--command", "ls")[1]
    assert not (command.folder / "asked").exists()
    _, shown, _ = said("hooks", "test", "hooks.toml", "--command", "rm -r x", "--run")
    assert shown.splitlines()[-1] == "→ block; by guard; reason: never"
    assert (command.folder / "asked").exists()
    assert (
        "settings.json:PostToolUse" in said("hooks", "test", "settings.json", "--point", "after_tool", "--tool", "edit")[1]
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["hooks"], "which hooks?"),
        (["hooks", "show", "hooks.toml"], "it is list or test"),
        (["hooks", "list", "missing.toml"], "cannot read hooks from 'missing.toml'"),
        (["hooks", "list", "broken.toml"], "broken.toml:2: no TOML"),
        (["hooks", "list", "wrong.toml"], "wrong.toml:3: there is no key 'comand'"),
        (["hooks", "list", "hooks.toml", "hooks.toml"], "there is a hook 'guard' already"),
        (["hooks", "test", "hooks.toml", "--point", "before_tol"], "did you mean 'before_tool'"),
        (["hooks", "test", "hooks.toml"], "which call?"),
        (["hooks", "test", "hooks.toml", "--prompt", "x", "--tool", "y"], "--prompt asks about a prompt"),
        (["--hooks", "wrong.toml", "resume", "last"], "there is no key 'comand'"),
    ],
)
def test_what_cannot_be_used_is_refused(said: Said, command: Command, arguments: list[str], why: str) -> None:
    (command.folder / "broken.toml").write_text("[[hooks]]\nx = \n")
    (command.folder / "wrong.toml").write_text("a = 1\n\n[[hooks]]\npoint = 'Stop'\ncomand = 'x'\ncommand = 'y'\n")
    code, _, err = said(*arguments)
    assert (code, why in err) == (2, True), err
    assert not command.database.exists()


async def test_a_run_is_guarded_by_the_hooks_of_a_file(command: Command, tmp_path: Path) -> None:
    tape = await record(tmp_path / "tape.jsonl", [call("bash", command="rm -r x"), "Left it."])
    ended = await command.run(
        "--hooks", "hooks.toml", "run", "Go.", "--replay", str(tape), "--yes", "--json", "--allow", "bash"
    )
    blocked = [e for e in ended.lines if e.get("type") == "hook.blocked"]
    assert [(e["hook"], e["reason"]) for e in blocked] == [("guard", "never")], ended.err
    assert not [e for e in ended.lines if e.get("type") == "tool.started"]
