"""SIGKILL while a session of Managed Agents is made: nothing of it stays for good, and asking again makes it whole."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from godwit.surfaces.managed_agents.session_record import KIND
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.service import STRAY_MS
from tests.surfaces.server.clocks import SteppedClock
from tests.surfaces.server.running import running

from .deaths import Mortal

HALF = "before:1"
"""The folder is made, and the log is not."""


async def exists(database: Path) -> bool:
    return database.exists()


def folders(database: Path) -> list[Path]:
    return [*database.with_name(f"{database.name}.workspaces").glob("*")]


def test_what_a_process_that_was_killed_has_left_is_taken_away(tmp_path: Path) -> None:
    database, clock = tmp_path / "g.db", SteppedClock()
    assert Mortal("opening_script", exists).run(database, HALF).killed
    (left,) = folders(database)
    assert (left / "mnt/session/uploads/egg.txt").read_bytes() == b"blue"
    with running(database, models={}, settings=ServerSettings(), clock=clock) as server:
        with httpx2.Client(base_url=server.url) as client:
            assert client.get("/v1/sessions").json()["data"] == []
        assert folders(database) == [left]  # it may still be made
    clock.advance(STRAY_MS / 1000)
    with running(database, models={}, settings=ServerSettings(), clock=clock) as server:
        assert folders(database) == []

        async def documents() -> int:
            return len(await server.runtime.store.documents(KIND, tenant=None))

        assert server.call(documents) == 0


@pytest.mark.slow
def test_who_asks_again_gets_the_session_that_was_begun(tmp_path: Path) -> None:
    database, script = tmp_path / "g.db", Mortal("opening_script", exists)
    assert script.run(database, HALF).killed
    (begun,) = folders(database)
    ended = script.run(database)
    (session,) = [line.split()[1] for line in ended.lines if line.startswith("session ")]
    assert folders(database) == [begun]
    assert begun.name == session
    clock = SteppedClock()
    clock.advance(2 * STRAY_MS / 1000)
    with running(database, models={}, settings=ServerSettings(), clock=clock) as server:
        with httpx2.Client(base_url=server.url) as client:
            shown = client.get(f"/v1/sessions/{session}").json()
        assert (shown["title"], len(shown["resources"])) == ("Egg", 2)
        assert folders(database) == [begun]


@pytest.mark.slow
async def test_whatever_was_just_stored_when_the_process_was_killed_is_found_by_who_asks_again(tmp_path: Path) -> None:
    script = Mortal("opening_script", exists)
    ended, _ = await script.undisturbed(tmp_path)
    kinds = [kind for kind in KINDS if f"{kind}=" in "\n".join(ended.lines)]
    assert kinds == KINDS
    await script.deaths(tmp_path, [f"{kind}:{2 if kind == KIND else 1}" for kind in kinds])  # each goes on to its end


KINDS = ["agent", "managed_agents.environment", "file", "vault", "credential", KIND]
"""Of `KIND` the second time: with another resource."""
