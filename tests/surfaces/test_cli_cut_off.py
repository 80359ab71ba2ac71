"""A command that is killed and given again; and what the lists say of sessions nobody drives."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from godwit.core.errors import ModelRefused, RunFailed
from godwit.core.events import RunClaimed, RunFinished, RunStarted
from godwit.models.script import Script, call
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import Command, finish, record

WAIT = "echo began >> effects; while [ ! -e go ]; do sleep 0.02; done"


@pytest.fixture
async def recording(tmp_path: Path) -> Path:
    """A run whose command lasts until `go` is there, as it was where this was recorded."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "go").touch()
    return await record(tmp_path / "waits.jsonl", [call("bash", command=WAIT), "Done."], workspace=folder)


async def killed(command: Command, *words: str) -> None:
    """`godwit run` ended by SIGKILL while its command runs."""
    process = await command.start(*words)
    await command.until("tool.started")
    async with asyncio.timeout(PATIENCE_S):  # the command is another process: there is nothing to wait on
        while True:
            if (command.folder / "effects").exists():
                break
            await asyncio.sleep(0.02)
    process.kill()
    await process.communicate()
    (command.folder / "go").touch()


async def test_the_same_command_after_a_kill_goes_on(command: Command, recording: Path) -> None:
    words = ("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await killed(command, *words)
    ended = await command.run(*words)
    assert "this prompt was given before and its run has not ended; --new starts over" in ended.out
    assert "goes on from where it was" in ended.out
    events = [e.data for e in await command.log()]
    assert [d.attempt for d in events if isinstance(d, RunClaimed)] == [1, 2]
    assert len([d for d in events if isinstance(d, RunStarted)]) == 1
    assert (command.folder / "effects").read_text() == "began\n"
    assert len((await command.run("ls", "--json")).lines) == 1


async def test_another_prompt_other_settings_or_new_start_over_with_a_word(command: Command, recording: Path) -> None:
    words = ("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await killed(command, *words)
    first = (await command.run("ls", "--json")).lines[0]
    assert (first["status"], first["owner"], first["cut_off"], first["last_outcome"]) == ("running", None, True, None)
    listed = await command.run("ls")
    assert "  cut off  " in listed.out
    assert "godwit resume ID" in listed.err
    for looking in ("log", "queue"):
        assert f"resume {first['id']}" in (await command.run(looking, "last")).err
    other = await command.run("run", "Something else.", "--replay", str(recording), "--allow", "bash")
    assert f"session {first['id']} of this folder was cut off; it goes on with: " in other.out
    assert f"resume {first['id']}" in other.out
    rows = (await command.run("ls", "--json")).lines
    assert [row["last_outcome"] for row in rows] == ["failed", None], "the recording answers another prompt"
    assert "idle, failed" in (await command.run("ls")).out


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--new"], ["--max-turns", "9"]])
async def test_new_or_other_settings_start_over(command: Command, recording: Path, more: list[str]) -> None:
    words = ("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await killed(command, *words)
    ended = await command.run(*words, *more)
    assert ended.code == 0, ended.out
    assert "of this folder was cut off" in ended.out
    assert (command.folder / "effects").read_text() == "began\nbegan\n"
    both = await command.run(*words, "--new", "--continue")
    assert both.code == 2


async def test_ls_tells_how_the_last_run_ended(command: Command, tmp_path: Path) -> None:
    with pytest.raises(RunFailed):
        await record(tmp_path / "failing.jsonl", [ModelRefused("not like this")])
    await command.run("run", "Go.", "--replay", str(tmp_path / "failing.jsonl"))
    done = await record(tmp_path / "done.jsonl", ["Done."])
    await command.run("run", "Go.", "--replay", str(done))
    assert isinstance((await command.log())[-1].data, RunFinished)
    shown = (await command.run("ls")).out.splitlines()[1:]
    assert ["idle, failed" in line for line in shown] == [False, True]
    assert [row["last_outcome"] for row in (await command.run("ls", "--json")).lines] == ["done", "failed"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGTERM, "left by SIGTERM; the run is not over and goes on with: "),
        (signal.SIGINT, "continue it: "),
    ],
)
async def test_a_stopped_and_an_interrupted_run_say_how_to_go_on(
    command: Command, recording: Path, number: signal.Signals, said: str
) -> None:
    process = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    process.send_signal(number)
    ended = await finish(process)
    assert (ended.code, said in ended.out) == (130, True), ended.out


async def test_a_run_put_down_in_good_order_is_not_called_dead(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a"), "Done."])
    assert (await command.run("run", "Go.", "--replay", str(recording))).code == 4
    assert (await command.run("approve", "last")).code == 0
    ended = await command.run("resume", "last", "--replay", str(recording))
    assert ended.code == 0, ended.out
    assert "goes on from where it was (it was answered; 1 turn, event " in ended.out


async def test_an_approval_by_yes_is_said_once(command: Command, tmp_path: Path) -> None:
    turns: Script = [call("bash", command=f"echo {n}") for n in range(5)]
    recording = await record(tmp_path / "asks.jsonl", [*turns, "Done."])
    ended = await command.run("run", "Go.", "--replay", str(recording), "--yes")
    assert ended.code == 0, ended.err
    assert ended.out.count("  approved by --yes\n") == 5
    assert ended.out.count("approved") == 5
    assert "elsewhere" not in ended.out
    assert "\n\n" not in ended.out
