"""Where sessions work that were given no folder."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.folders import folders_for

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
    folders = folders_for(str(tmp_path / "g.db"), None)
    made = await folders.make("s", {"a/b.txt": b"here"})
    assert made == tmp_path / "g.db.workspaces" / "s"
    assert stat.S_IMODE(os.stat(made.parent).st_mode) == 0o700
    await folders.close()
    assert (made / "a" / "b.txt").read_bytes() == b"here"
    assert folders_for(None, str(tmp_path / "x")).root == tmp_path / "x"
