"""The command line with a server: the same verbs, said in the same way; what runs is driven there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running
from tests.surfaces.terminal import MODEL, Command


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    script: Script = [call("write", file_path="a.txt", content="one\n"), "Written.", "Again.", "More."]
    model = ScriptedModel([*script], MODEL)
    with running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api]) as made:
        yield made


async def test_a_session_from_its_start_to_its_end(command: Command, server: RunningServer) -> None:
    at = {"GODWIT_SERVER": server.url}
    done = await command.run("run", "Write it.", "-m", MODEL, "--json", **at)
    assert done.code == 0, done.err
    session = next(line["session"] for line in done.lines if "session" in line)
    assert any(line.get("type") == "run.finished" for line in done.lines)
    folder = next(line["workspace"] for line in await _log(command, session, at) if line["type"] == "session.created")
    assert (Path(folder) / "a.txt").read_text() == "one\n"

    listed = await command.run("ls", **at)
    assert session in listed.out
    unknown = await command.run("log", "ses_unknown", **at)
    assert (unknown.code, "--server" in unknown.err) == (5, True)
    assert "Write it." in listed.out
    assert [line["id"] for line in (await command.run("ls", "--json", **at)).lines] == [session]
    shown = await command.run("log", "last", **at)
    assert "run.finished" in shown.out
    assert (await command.run("queue", "last", **at)).out == "nothing waits in the queue\n"
    assert "tokens" in (await command.run("budget", "last", "--set", "turns=9", **at)).out
    assert (await command.run("budget", "last", "--json", **at)).lines[0]["budget"]["turns"] == 9

    again = await command.run("run", "--session", session, "And again.", **at)
    assert again.code == 0, again.err
    assert "Again." in again.out
    changed = await command.run("diff", "last", "--stat", **at)
    assert changed.out == "added     a.txt +1 -0\n"
    places = (await command.run("rewind", "last", "--json", **at)).lines
    assert [place["text"] for place in places] == ["Write it.", "And again."]
    back = await command.run("rewind", "last", "-2", "--files", "--yes", **at)
    assert back.code == 0, back.err
    assert not (Path(folder) / "a.txt").exists()
    assert (await command.run("redo", "last", "--yes", **at)).code == 0
    assert (Path(folder) / "a.txt").exists()
    checked = await command.run("verify", "last", "--command", "test -f a.txt", **at)
    assert checked.code == 0, checked.err
    assert "passed" in checked.out
    called = await command.run("tool", "last", "read", '{"file_path": "a.txt"}', **at)
    assert "one" in called.out
    said = await command.run("send", "last", "/status", **at)
    assert said.code == 0
    assert "idle" in said.out

    assert (await command.run("archive", "last", **at)).out == f"{session}: archived; its log stays readable\n"
    assert (await command.run("delete", session, "--yes", **at)).out == f"{session}: deleted\n"
    assert (await command.run("log", session, **at)).code == 5
    assert not command.database.exists(), "nothing was kept here"


async def _log(command: Command, session: str, at: dict[str, str]) -> list[dict[str, Any]]:
    return (await command.run("log", session, "--json", **at)).lines


async def test_what_waits_is_answered_from_another_terminal(command: Command, tmp_path: Path) -> None:
    model = ScriptedModel([call("bash", command="echo hello > b.txt"), "Done."], MODEL)
    with running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api]) as server:
        at = {"GODWIT_SERVER": server.url}
        parked = await command.run("run", "Say hello.", "-m", MODEL, **at)
        assert parked.code == 4, parked.err
        following = await command.start("log", "last", "--follow", "--json", GODWIT_SERVER=server.url)
        assert following.stdout is not None
        waiting = await command.run("approve", "last", "--list", **at)
        assert "echo hello > b.txt" in waiting.out
        allowed = await command.run("approve", "last", "--args", '{"command": "echo bye > b.txt"}', **at)
        assert allowed.code == 0, allowed.err
        assert "approved" in allowed.out
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["type"] != "run.finished":
            seen.append(json.loads(await asyncio.wait_for(following.stdout.readline(), PATIENCE_S)))
        following.terminate()
        await following.wait()
        assert [line["seq"] for line in seen] == list(range(1, len(seen) + 1))
        assert next(line for line in seen if line["type"] == "tool.started")["arguments"] == {"command": "echo bye > b.txt"}
        nothing = await command.run("approve", "last", **at)
        assert (nothing.code, "nothing waits" in nothing.err) == (5, True)
        busy = await command.run("steer", "last", "Too late.", **at)
        assert busy.code == 6


async def test_a_paused_run_is_seen_to_its_end_however_fast_the_server_is(command: Command, server: RunningServer) -> None:
    at = {"GODWIT_SERVER": server.url}
    assert (await command.run("run", "Write it.", "-m", MODEL, **at)).code == 0
    nothing = await command.run("resume", "last", **at)
    assert (nothing.code, "gives it a new prompt" in nothing.err) == (6, True)
    assert (await command.run("pause", "last", **at)).code == 0
    assert (await command.run("send", "last", "And again.", **at)).code == 0
    resumed = await command.run("resume", "last", **at)
    assert (resumed.code, "Again." in resumed.out) == (0, True), (resumed.out, resumed.err)
    assert (await command.run("pause", "last", **at)).code == 0
    alone = await command.run("resume", "last", **at)
    assert (alone.code, "no longer paused" in alone.out) == (0, True)


async def test_a_chat_on_a_pipe(command: Command, server: RunningServer) -> None:
    talk = await command.run("--server", server.url, "chat", "-m", MODEL, text="Write it.\n/status\nAgain.\n")
    assert talk.code == 0, talk.err
    assert "Written." in talk.out
    assert "Again." in talk.out
    assert f"--server {server.url} chat --session" in talk.out


async def test_the_key_comes_from_the_environment(command: Command, tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Api], settings=ServerSettings(port=0, keys=True)) as server:
        assert server.key is not None
        refused = await command.run("ls", GODWIT_SERVER=server.url)
        assert refused.code != 0
        assert "key" in refused.err
        assert (await command.run("ls", GODWIT_SERVER=server.url, GODWIT_KEY=server.key)).code == 0


async def test_verbs_of_a_database_say_so(command: Command) -> None:
    for verb in ("doctor", "permissions", "demo"):
        refused = await command.run("--server", "http://127.0.0.1:9", verb)
        assert refused.code == 2
        assert "not with a server" in refused.err
    both = await command.run("--server", "http://127.0.0.1:9", "--db", "x.db", "ls")
    assert both.code == 2
