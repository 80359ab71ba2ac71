"""Where sessions work that were given no folder."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

import godwit
from godwit.host.session_folders import folders_for
from godwit.models.script import ScriptedModel
from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.server import ServerSettings

from .clocks import SteppedClock
from .running import RunningServer, running

SETTINGS = ServerSettings(models={"*": "scripted:x"})


def begin(server: RunningServer) -> list[str]:
    """A session by each protocol; the folders they work in."""
    with httpx2.Client(base_url=server.url) as client:

        def post(path: str, body: dict[str, Any]) -> Any:
            answer = client.post(path, json=body)
            assert answer.is_success, answer.text
            return answer.json()

        agent = post("/v1/agents", {"name": "a", "model": "m"})["id"]
        place = post("/v1/environments", {"name": "e"})["id"]
        made = [post("/v1/sessions", {"agent": agent, "environment_id": place})["id"]]
        made.append(post("/godwit/v1/sessions", {"agent": agent, "own_workspace": True})["session"]["id"])

    async def workspaces() -> list[str]:
        return [str((await server.runtime.row(one)).workspace) for one in made]

    return server.call(workspaces)


def test_without_a_file_they_lie_in_one_private_folder_that_goes_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    models = {"scripted:x": ScriptedModel([])}
    with running(":memory:", models=models, settings=SETTINGS) as server:
        folders = begin(server)
        (root,) = {os.path.dirname(folder) for folder in folders}
        assert str(os.getpid()) not in os.path.basename(root)
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
        assert [stat.S_IMODE(os.stat(folder).st_mode) for folder in folders] == [0o700, 0o700]
        with running(":memory:", models=models, settings=SETTINGS) as other:
            assert os.path.dirname(begin(other)[0]) != root
        assert os.path.isdir(root)
    assert not os.path.exists(root)


async def test_named_ones_stay(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "g.db") as store:
        folders = folders_for(store, None)
        made = await folders.make("s", {"a/b.txt": b"here"}, tenant=None)
        assert made == tmp_path / "g.db.workspaces" / "s"
        assert stat.S_IMODE(os.stat(made.parent).st_mode) == 0o700
        await folders.close()
        assert (made / "a" / "b.txt").read_bytes() == b"here"
        assert folders_for(store, str(tmp_path / "x")).root == tmp_path / "x"


async def test_a_session_that_is_deleted_anywhere_takes_its_folder_with_it(tmp_path: Path) -> None:
    """By `godwit delete` on the database, say, beside the server that made it. A copy of the database takes nothing."""
    models = {"scripted:x": ScriptedModel([])}
    with running(tmp_path / "g.db", models=models, settings=SETTINGS) as server:
        folders = [Path(one) for one in begin(server)]
        for folder in folders:
            (folder / "kept.txt").write_text("of the session")
        with closing(sqlite3.connect(tmp_path / "g.db")) as database, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
            database.backup(copy)
        for name, stays in (("copy.db", True), ("g.db", False)):
            async with await godwit.Runtime.open(tmp_path / name, models=models) as runtime:
                rows = await runtime.sessions()
                assert {row.workspace for row in rows} == {str(folder) for folder in folders}
                for row in rows:
                    await runtime.delete_session(row.id)
            assert [folder.exists() for folder in folders] == [stays] * len(folders)


def test_a_folder_of_the_users_stays_when_its_session_is_deleted(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with running(tmp_path / "g.db", models={"scripted:x": ScriptedModel([])}, settings=SETTINGS) as server:
        with httpx2.Client(base_url=f"{server.url}/godwit/v1") as client:
            client.put("/agents/a", json={"models": ["m"]}).raise_for_status()
            made = client.post("/sessions", json={"agent": "a", "workspace": str(own)}).raise_for_status()
            client.delete(f"/sessions/{made.json()['session']['id']}").raise_for_status()
    assert own.is_dir()


def test_another_session_of_the_same_id_sees_nothing_of_the_one_before(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={"scripted:x": ScriptedModel([])}, settings=SETTINGS) as server:
        with httpx2.Client(base_url=f"{server.url}/godwit/v1") as client:
            client.put("/agents/a", json={"models": ["m"]}).raise_for_status()

            def start() -> httpx2.Response:
                return client.post("/sessions", json={"agent": "a", "session": "mine", "own_workspace": True})

            assert start().status_code == 200
            folder = tmp_path / "g.db.workspaces" / "mine"
            (folder / "secret.txt").write_text("of the first")
            assert (start().status_code, start().json()["error"]["code"]) == (409, "session_exists")
            assert (folder / "secret.txt").exists()
            client.delete("/sessions/mine").raise_for_status()
            assert start().status_code == 200
            assert list(folder.iterdir()) == []
            client.delete("/sessions/mine").raise_for_status()
            folder.mkdir()  # as it was left where the system did not let it be removed
            assert start().status_code == 200
            client.delete("/sessions/mine").raise_for_status()
            folder.mkdir()
            (folder / "secret.txt").write_text("of the first")
            refused = start()
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
            assert client.get("/sessions/mine").status_code == 404


def test_the_folder_of_a_session_that_was_never_made_is_swept(tmp_path: Path) -> None:
    """Its process has died between the two."""
    clock = SteppedClock()
    models = {"scripted:x": ScriptedModel([])}
    with running(tmp_path / "g.db", models=models, settings=SETTINGS, clock=clock) as server:
        service = server.app.service

        async def make() -> Path:
            return await service.folders.make("never", {"a.txt": b"1"}, tenant="acme")

        folder = server.call(make)
        (kept,) = {Path(one).parent for one in begin(server)}
        assert (server.call(service.sweep), folder.exists()) == (0, True)
        clock.advance(2 * 3600)
        assert (server.call(service.sweep), folder.exists()) == (1, False)
        assert len(list(kept.iterdir())) == 2
