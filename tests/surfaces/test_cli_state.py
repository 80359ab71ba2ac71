"""The shared state on the command line: shown and set, and in what is shown of a session."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import godwit
from godwit.core.events import Event, StateUpdated
from godwit.core.ids import SessionId
from godwit.core.shared_state import patch_of
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call
from godwit.surfaces.api import Api
from godwit.surfaces.cli_view import ScreenView
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command
from tests.surfaces.test_cli_rewind import run

TITLE = call("update_state", operations=[{"op": "add", "path": "/title", "value": "Létter"}])


@pytest.fixture
async def begun(command: Command) -> Command:
    """A folder whose session shares a title."""
    command.database.parent.mkdir()
    async with await Runtime.open(command.database, models={MODEL: ScriptedModel([TITLE, "Done."], MODEL)}) as runtime:
        agent = godwit.Agent("writer", model=MODEL, tools=["state"])
        session = await runtime.start_session(agent, workspace=command.folder)
        await session.send("Give it a title.")
    return command


async def test_it_is_shown_and_set(begun: Command) -> None:
    shown = await run(begun, "state")
    assert (shown.code, shown.out) == (0, '{\n  "title": "Létter"\n}\n')
    (told,) = (await run(begun, "state", "last", "--json")).lines
    assert told["state"] == {"title": "Létter"}
    done = await run(begun, "state", "last", "--set", '{"title": null, "lines": [1]}')
    assert (done.code, done.out) == (0, '{\n  "title": null,\n  "lines": [\n    1\n  ]\n}\n')
    assert (await run(begun, "state", "--set", "{}")).out == "{}\n"
    log = (await run(begun, "log", "last")).out
    assert 'add /title: "Létter"' in log
    assert '{"title":null,"lines":[1]}' in log


async def test_what_is_no_json_or_no_session_changes_nothing(begun: Command) -> None:
    wrong = await run(begun, "state", "last", "--set", "{title}")
    assert wrong.code != 0
    assert "--set: this is no JSON" in wrong.err
    assert (await run(begun, "state", "ses_none")).code != 0
    large = await run(begun, "state", "last", "--set", f'"{"x" * 70_000}"', "--json")
    assert large.code == 0
    assert len((await run(begun, "state", "last", "--json")).lines[0]["state"]) == 70_000


async def test_of_a_session_on_a_server(tmp_path: Path, command: Command) -> None:
    with running(tmp_path / "g.db", models={MODEL: ScriptedModel(["Yes."], MODEL)}, dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(godwit.Agent("a", model=MODEL, tools=["state"]), own_workspace=True)
        done = await command.run("--server", server.url, "state", session.id, "--set", '{"n": 1}')
        assert (done.code, done.out) == (0, '{\n  "n": 1\n}\n'), done.err
        assert (await command.run("--server", server.url, "state", session.id)).out == done.out


def test_a_change_is_shown_with_a_run() -> None:
    out = io.StringIO()
    view = ScreenView(live=False, file=out)
    patch = patch_of([{"op": "replace", "path": "/title", "value": "B\u001b[31m"}])
    view.show(Event(SessionId("s"), 1, 0, None, "state.updated", b"{}", StateUpdated(patch, tell=True)))
    view.show(Event(SessionId("s"), 2, 0, None, "state.updated", b"{}", StateUpdated(value={"n": 1})))
    shown = out.getvalue()
    assert 'state: replace /title: "B' in shown
    assert "\u001b" not in shown
    assert 'state: {"n":1}' in shown
