"""`godwit verify`, and runs from the command line that are done only once their checks pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.core.errors import ConfigurationError
from godwit.core.events import VerificationReported
from godwit.models.script import Script, call
from godwit.surfaces.cli import app
from godwit.surfaces.cli_agent import AgentFlags
from godwit.surfaces.cli_exit import CliError
from godwit.surfaces.cli_verify import Wanted, of_folder
from tests.surfaces.terminal import Command, record

MAKEFILE = "test:\n\t@test -e made && echo it passes\nlint:\n\t@false\n"


@pytest.fixture
async def hello(tmp_path: Path) -> Path:
    return await record(tmp_path / "hello.jsonl", ["Hello there."])


# --- a folder ---------------------------------------------------------------------------------------------------------


async def test_the_checks_of_a_folder_are_run_and_not_recorded(command: Command) -> None:
    (command.folder / "Makefile").write_text(MAKEFILE)
    failed = await command.run("verify")
    assert failed.code == 1
    assert "→ make test" in failed.out
    assert "✗ make:test: verification command exited with code 2: make test" in failed.out
    assert "Verification failed: 1 failed check in workspace (1 report, 1 required check)." in failed.out
    (command.folder / "made").touch()
    passed = await command.run("verify", "-w", ".", "--subject", "the folder")
    assert passed.code == 0
    assert "it passes" in passed.out
    assert "nothing is recorded: no session was named" in passed.out
    assert not command.database.exists()


async def test_what_is_run_can_be_chosen_and_told_as_json(
    command: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (command.folder / "Makefile").write_text(MAKEFILE)
    wanted = Wanted(("make", "make"), ("true", "true"))
    assert await of_folder(command.folder, wanted, "workspace", as_json=True) == 1
    report = json.loads(capfdbinary.readouterr().out)
    assert report["status"] == "failed"
    assert [(c["id"], c.get("status")) for c in report["checks"]] == [
        ("make:test", "failed"),
        ("make:lint", "failed"),
        ("true", "passed"),
    ]
    assert (
        report["summary"]
        == "Verification failed: 2 failed checks in workspace (1 report, 2 required checks). Residual risks: 2."
    )


async def test_what_fits_a_folder_is_listed_and_nothing_run(
    command: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (command.folder / "Makefile").write_text("test:\n\ttouch ran\nlint:\n\tx\n")
    assert await of_folder(command.folder, Wanted(listed=True), "workspace", as_json=False) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "make: tasks of a Makefile (Makefile)",
        "  make:test        make test",
        "  make:lint        make lint   (not required)",
    ]
    await of_folder(command.folder, Wanted(listed=True), "workspace", as_json=True)
    listed = json.loads(capfdbinary.readouterr().out)
    assert (listed["name"], listed["found"]) == ("make", ["Makefile"])
    assert not (command.folder / "ran").exists()


async def test_where_nothing_fits_it_says_so(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match=r"no checks are known for this folder$") as nothing:
        await of_folder(command.folder, Wanted(), "workspace", as_json=False)
    assert '--command "make test"' in nothing.value.hint
    with pytest.raises(CliError, match="no preset 'rust' fits this folder; those that do: none"):
        await of_folder(command.folder, Wanted(("rust",)), "workspace", as_json=False)
    with pytest.raises(CliError, match="is not a folder"):
        await of_folder(command.folder / "nowhere", Wanted((), ("true",)), "workspace", as_json=False)
    with pytest.raises(ConfigurationError, match="needs an id and a command"):
        await of_folder(command.folder, Wanted((), ("",)), "workspace", as_json=False)
    assert await of_folder(command.folder, Wanted(listed=True), "workspace", as_json=False) == 0
    assert capsys.readouterr().err == "no preset fits this folder\n"
    (command.folder / "pyproject.toml").write_text("[tool.ruff]\n")
    with pytest.raises(CliError, match="presets with commands that are not required: python"):
        await of_folder(command.folder, Wanted(), "workspace", as_json=False)


# --- a session --------------------------------------------------------------------------------------------------------


async def test_the_checks_of_a_session_are_recorded_in_it(command: Command, hello: Path) -> None:
    assert (await command.run("run", "Go.", "--replay", str(hello))).code == 0
    ended = await command.run("verify", "last", "--command", "echo fine", "--command", "echo bad; exit 3")
    assert ended.code == 1, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "→ bash echo fine"
    assert "  fine" in lines
    assert any(line.startswith("✗ bash echo bad; exit 3  (exit 3") for line in lines)
    assert any(line.startswith("✗ echo bad; exit 3: verification command exited with code 3") for line in lines)
    assert lines[-1].startswith("recorded in session ses_")
    events = await command.log()
    assert isinstance(events[-1].data, VerificationReported)
    assert [c.status for c in events[-1].data.report.checks] == ["passed", "failed"]
    shown = await command.run("log", "last")
    assert "verification.reported workspace: failed (echo fine passed, echo bad; exit 3 failed)" in " ".join(
        shown.out.split()
    )
    as_json = await command.run("verify", "last", "--command", "true", "--json")
    (report,) = as_json.lines
    assert (as_json.code, report["status"], report["session"]) == (0, "passed", events[-1].session)
    assert report["checks"][0]["evidence"][0].startswith("seq:")


def test_a_session_and_a_folder_exclude_each_other() -> None:
    with pytest.raises(CliError, match="a session has its own folder"):
        app(["verify", "last", "-w", "."], standalone_mode=False)


# --- runs -------------------------------------------------------------------------------------------------------------


async def test_a_run_is_held_to_the_commands_it_is_given(command: Command, tmp_path: Path) -> None:
    script: Script = [
        call("write", file_path="a", content="x"),
        "Done.",
        call("write", file_path="b", content="x"),
        "Now it is.",
    ]
    flags = AgentFlags(verify_commands=("echo looking; test -e b",))
    replay = await record(tmp_path / "mends.jsonl", script, flags=flags)
    words = ("run", "Go.", "--replay", str(replay), "--verify-command", "echo looking; test -e b")
    ended = await command.run(*words)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    failed = lines.index("✗ workspace: failed (echo looking; test -e b failed)")
    assert lines[failed + 1] == "⇢ what does not pass goes back to the model"
    assert "✓ workspace: passed (echo looking; test -e b passed)" in lines
    assert "You said that the work is done" not in ended.out
    assert (await command.run("verify", "last")).code == 0, "the session keeps what it was begun with"
    last = [e.data for e in await command.log() if isinstance(e.data, VerificationReported)][-1]
    assert (last.report.source, [c.id for c in last.report.checks]) == ("commands", ["echo looking; test -e b"])


def test_what_a_session_is_held_to_cannot_be_changed() -> None:
    flags = AgentFlags(verify=True, verify_commands=("make",))
    assert flags.fixed_at_start() == ["--verify", "--verify-command"]


async def test_a_run_that_does_not_pass_fails(command: Command, tmp_path: Path) -> None:
    (command.folder / "Makefile").write_text(MAKEFILE)
    recorded = tmp_path / "never"
    recorded.mkdir()
    (recorded / "Makefile").write_text(MAKEFILE)
    script: Script = [call("write", file_path="a", content="x"), "Done.", "Still done.", "It is!"]
    with pytest.raises(Exception, match="make:test"):
        await record(tmp_path / "never.jsonl", script, flags=AgentFlags(verify=True), workspace=recorded)
    ended = await command.run("run", "Go.", "--replay", str(tmp_path / "never.jsonl"), "--verify", "--json")
    assert ended.code == 1, ended.err
    finished = ended.lines[-1]
    assert (finished["outcome"], finished["error"]["code"]) == ("failed", "unverified")
    reported = next(line for line in ended.lines if line.get("seq") == finished["verification"])
    assert json.dumps(reported["report"]["checks"]).count("make:test") == 1
