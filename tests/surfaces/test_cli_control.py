"""One process drives a session, others tell it things; and what becomes of a session whose process is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from godwit.core.events import InputDelivered, RunClaimed, RunFinished, ToolFinished, ToolStarted, UserMessage
from godwit.engine.session import Session
from godwit.models.script import Reply, Script, call
from godwit.surfaces.cli_agent import AgentFlags
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import Command, finish, record

WAIT = "while [ ! -e go ]; do sleep 0.02; done; echo went"
"""A command that lasts until the file `go` is there."""


async def waiting_run(
    tmp_path: Path, *rest: str | Reply, meanwhile: Callable[[Session], Awaitable[None]] | None = None
) -> Path:
    """A recording of a run that first waits for `go`. `meanwhile` happens while it does."""
    folder = tmp_path / "recorded"
    folder.mkdir()

    async def while_it_waits(session: Session) -> None:
        async for event in session.follow():
            if isinstance(event.data, ToolStarted):
                break
        if meanwhile is not None:
            await meanwhile(session)
        (folder / "go").touch()

    return await record(
        tmp_path / "waiting.jsonl", [call("bash", command=WAIT), *rest], meanwhile=while_it_waits, workspace=folder
    )


async def test_log_follow_and_steer_while_another_process_runs(command: Command, tmp_path: Path) -> None:
    async def steer(session: Session) -> None:
        await session.steer("Be quick.")

    recording = await waiting_run(tmp_path, "Quickly done.", meanwhile=steer)
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    following = await command.start("log", "last", "--follow", "--json")
    busy = await command.run("send", "last", "Another prompt.")
    assert (busy.code, busy.err.partition(":")[0]) == (6, "error[session_busy]")
    steered = await command.run("steer", "last", "Be quick.", "--json")
    assert steered.code == 0, steered.err
    assert steered.lines[0]["input"].startswith("in_")
    queued = await command.run("queue", "last")
    assert "steer" in queued.out
    assert "Be quick." in queued.out
    (command.folder / "go").touch()
    ended = await finish(running)
    assert ended.code == 0, ended.out
    assert "❯ Be quick." in ended.out
    assert "Quickly done." in ended.out

    assert following.stdout is not None
    seen: list[dict[str, object]] = []
    async with asyncio.timeout(PATIENCE_S):
        while not seen or seen[-1]["type"] != "run.finished":
            seen.append(msgspec.json.decode(await following.stdout.readline()))
    following.send_signal(signal.SIGINT)
    assert (await finish(following)).code == 130
    assert seen == [msgspec.json.decode(e.frame()) for e in await command.log()]


@pytest.mark.slow
async def test_deltas_reach_a_follower_in_another_process(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "One two three.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    following = await command.start("log", "last", "--follow", "--deltas", "--json", "--from", "0")
    assert following.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while b"tool.started" not in await following.stdout.readline():
            pass
        (command.folder / "go").touch()
        text = ""
        while b"run.finished" not in (line := await following.stdout.readline()):
            item = msgspec.json.decode(line)
            if item["type"] == "delta" and item["kind"] == "text":
                text += item["text"]
    assert (await finish(running)).code == 0
    following.send_signal(signal.SIGINT)
    await finish(following)
    assert "One two three.".startswith(text), "deltas may be lost on the way, but not changed"


async def test_interrupt_from_another_process(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "Never said.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    ended = await command.run("interrupt", "last")
    assert (ended.code, "interrupted" in ended.out) == (0, True), ended.err
    assert (await finish(running)).code == 130
    again = await command.run("interrupt", "last")
    assert "no run is open" in again.out


async def test_pause_and_resume_from_another_process(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "Done.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    paused = await command.run("pause", "last", "--reason", "lunch")
    assert paused.code == 0, paused.err
    (command.folder / "go").touch()
    await command.until("run.yielded")
    assert "paused" in (await command.run("ls")).out
    twice = await command.run("pause", "last")
    assert "was paused already" in twice.out
    cannot = await command.run("run", "--session", "last")
    assert (cannot.code, cannot.err.partition(":")[0]) == (6, "error[session_paused]")
    ended = await finish(running)
    assert ended.code == 4, "without a terminal nobody would wait for the end of a pause"
    assert "‖ paused" in ended.out
    assert "paused; it goes on with: " in ended.out
    resumed = await command.run("resume", "last", "--replay", str(recording))
    assert resumed.code == 0, resumed.err
    assert "goes on from where it was (it had been put down" in resumed.out
    assert "Done." in resumed.out


async def test_a_parked_run_is_answered_and_gone_on_with(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a > made"), "Made."])
    replay = ("--replay", str(recording))
    parked = await command.run("run", "Go.", *replay)
    assert parked.code == 4
    session = (await command.log())[0].session
    assert f"godwit approve {session} act_" in parked.out
    assert not (command.folder / "made").exists()
    unanswered = await command.run("resume", "last", *replay)
    assert unanswered.code == 4
    approved = await command.run("approve", "last")
    assert approved.code == 0, approved.err
    assert "no process drives it; go on with: " in approved.out
    assert f"godwit resume {session}\n" in approved.out
    none_left = await command.run("approve", "last")
    assert none_left.code == 5
    resumed = await command.run("resume", "last", *replay)
    assert resumed.code == 0, resumed.out
    assert "goes on from where it was" in resumed.out
    assert (command.folder / "made").exists()
    nothing = await command.run("resume", "last", *replay)
    assert nothing.code == 6


@pytest.mark.slow
async def test_approve_with_other_arguments_and_drive(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a > made"), "Made."])
    replay = ("--replay", str(recording))
    assert (await command.run("run", "Go.", *replay)).code == 4
    action = next(line for line in (await command.run("log", "last", "--json")).lines if line["type"] == "action.opened")
    driven = await command.run(
        "approve", "last", action["action"], "--args", '{"command": "echo b > made"}', "--drive", *replay
    )
    assert driven.code == 0, driven.err
    assert (command.folder / "made").read_text() == "b\n"
    late = await command.run("approve", "last", action["action"])
    assert "answered before" in late.out
    unknown = await command.run("deny", "last", "act_nonsense")
    assert unknown.code == 5


@pytest.mark.slow
async def test_deny_with_a_reason_and_drive(command: Command, tmp_path: Path) -> None:
    async def deny(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.deny((await session.approvals.pending())[0].id, "not now")
                return

    turns: Script = [call("bash", command="echo a > made"), "Then not."]
    recording = await record(tmp_path / "asks.jsonl", turns, flags=AgentFlags(), meanwhile=deny)
    replay = ("--replay", str(recording))
    assert (await command.run("run", "Go.", *replay)).code == 4
    denied = await command.run("deny", "last", "--reason", "not now", "--drive", *replay)
    assert denied.code == 0, denied.out
    assert "Then not." in denied.out
    assert not (command.folder / "made").exists()


async def test_yes_approves_everything(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a > made"), "Made."])
    ended = await command.run("run", "Go.", "--yes", "--replay", str(recording))
    assert ended.code == 0, ended.err
    assert "approved by --yes" in ended.out


@pytest.mark.slow
async def test_a_killed_run_goes_on_where_it_was(command: Command, tmp_path: Path) -> None:
    turns: Script = [call("bash", command="echo once >> count"), call("read", file_path="count"), "Once."]
    folder = tmp_path / "recorded"
    folder.mkdir()
    recording = await record(tmp_path / "three.jsonl", turns, workspace=folder)
    # What waits for the kill is the approval: nothing here depends on how fast the machine is.
    parked = await command.run("run", "Go.", "--replay", str(recording))
    assert parked.code == 4
    running = await command.start("chat", "--continue", "--replay", str(recording), stdin=asyncio.subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write(b"/approve\n")
    await command.until("tool.finished")
    running.kill()
    await running.communicate()
    before = await command.log()
    ended = await command.run("run", "--replay", str(recording))
    after = await command.log()
    assert after[: len(before)] == before
    if not any(isinstance(e.data, RunFinished) for e in before):
        assert ended.code == 0, ended.err
        assert "goes on from where it was" in ended.out
    assert [e.seq for e in after] == list(range(1, len(after) + 1))
    assert isinstance(after[-1].data, RunFinished)
    assert after[-1].data.outcome == "done"
    assert (command.folder / "count").read_text() == "once\n"


async def test_a_run_killed_within_a_command(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "Done.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    running.kill()
    await running.communicate()
    listed = (await command.run("ls", "--json")).lines
    assert (listed[0]["status"], listed[0].get("owner")) == ("running", None)
    busy = await command.run("run", "--continue", "Something else.", "--replay", str(recording))
    assert (busy.code, busy.err.partition(":")[0]) == (6, "error[session_busy]")
    ended = await command.run("run", "--replay", str(recording))
    assert ended.code == 1, "the recording has no answer to a call of unknown outcome"
    events = [e.data for e in await command.log()]
    assert [d.attempt for d in events if isinstance(d, RunClaimed)] == [1, 2]
    assert [d.status for d in events if isinstance(d, ToolFinished)] == ["unknown"]
    assert "attempt 2: the process before this one died" in ended.out
    continued = await command.run("resume", "last", "--again", "--replay", str(recording))
    assert "is continued from its last checkpoint" in continued.out


@pytest.mark.slow
async def test_a_terminated_run_is_put_down_and_goes_on(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "Done.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    running.terminate()
    (command.folder / "go").touch()
    assert (await finish(running)).code == 130
    events = await command.log()
    ended_with = [e.type for e in events if e.type != "workspace.checkpointed"][-2:]
    assert ended_with == ["tool.finished", "run.yielded"]
    ended = await command.run("resume", "last", "--replay", str(recording))
    assert ended.code == 0, ended.err
    claims = [e.data.attempt for e in await command.log() if isinstance(e.data, RunClaimed)]
    assert claims == [1, 1], "nobody died"


@pytest.mark.slow
async def test_the_queue_is_listed_reordered_and_withdrawn_from(command: Command, tmp_path: Path) -> None:
    recording = await waiting_run(tmp_path, "Done.")
    running = await command.start("run", "Go.", "--replay", str(recording), "--allow", "bash")
    await command.until("tool.started")
    sent = [(await command.run("send", "last", text, "--follow-up", "--json")).lines[0]["input"] for text in ("A", "B")]
    assert [line["text"] for line in (await command.run("queue", "last", "--json")).lines] == ["A", "B"]
    await command.run("queue", "last", "--order", f"{sent[1]},{sent[0]}")
    assert [line["text"] for line in (await command.run("queue", "last", "--json")).lines] == ["B", "A"]
    for input_id in sent:
        assert (await command.run("queue", "last", "--withdraw", input_id)).code == 0
    gone = await command.run("queue", "last", "--withdraw", sent[0])
    assert (gone.code, gone.err.partition(":")[0]) == (5, "error[input_not_found]")
    assert "nothing waits" in (await command.run("queue", "last")).out
    everything = await command.run("queue", "last", "--all", "--json")
    assert [line["status"] for line in everything.lines] == ["delivered", "withdrawn", "withdrawn"]
    (command.folder / "go").touch()
    assert (await finish(running)).code == 0


@pytest.mark.slow
async def test_send_under_a_key_is_sent_once_and_driven_where_asked(command: Command, tmp_path: Path) -> None:
    async def more(session: Session) -> None:
        await session.wait()
        await session.send("More.")

    recording = await record(tmp_path / "two.jsonl", ["First.", "Second."], meanwhile=more)
    replay = ("--replay", str(recording))
    await command.run("run", "Go.", *replay)
    left = await command.run("send", "last", "More.", "--key", "k")
    assert "no process drives it; go on with: " in left.out
    driven = await command.run("send", "last", "More.", "--key", "k", "--drive", *replay)
    assert driven.code == 0, driven.err
    assert "Second." in driven.out
    events = [e.data for e in await command.log()]
    assert sum(isinstance(d, UserMessage) for d in events) == sum(isinstance(d, InputDelivered) for d in events) == 2


async def test_an_answer_from_elsewhere_is_remembered(command: Command, tmp_path: Path) -> None:
    async def allow(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.approve((await session.approvals.pending())[0].id, remember="session")
                return

    turns: Script = [call("bash", command="ls"), call("bash", command="ls -a"), "Both done."]
    recording = await record(tmp_path / "twice.jsonl", turns, flags=AgentFlags(), meanwhile=allow)
    parked = await command.run("run", "Go.", "--replay", str(recording))
    assert parked.code == 4
    listed = await command.run("approve", "last", "--list", "--json")
    [waits] = listed.lines
    assert (waits["name"], waits["remaining_s"], bool(waits["rules"])) == ("bash", None, True)
    assert waits["age_s"] > 0
    wrong = await command.run("approve", "last", "--remember", "forever")
    assert (wrong.code, "neither session nor always" in wrong.err) == (2, True)
    done = await command.run("approve", "last", "--remember", "session", "--drive", "--replay", str(recording))
    assert (done.code, "Both done." in done.out) == (0, True)


async def test_an_unattended_run_is_denied_what_it_would_have_to_ask(command: Command, tmp_path: Path) -> None:
    async def deny(session: Session) -> None:
        async for event in session.follow():
            if event.type == "run.parked":
                await session.deny((await session.approvals.pending())[0].id)
                return

    turns: Script = [call("bash", command="touch here"), "Then not."]
    recording = await record(tmp_path / "denied.jsonl", turns, flags=AgentFlags(), meanwhile=deny)
    ended = await command.run("run", "Go.", "--replay", str(recording), "--unattended")
    assert (ended.code, "Then not." in ended.out) == (0, True)
    assert [e.data.status for e in await command.log() if isinstance(e.data, ToolFinished)] == ["denied"]
    assert not (command.folder / "here").exists()
