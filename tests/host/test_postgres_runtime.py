"""A runtime on PostgreSQL: sessions run, go on in another process, and the command line works with them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine.conftest import Bench
from tests.host.test_run_limit import test_runs_that_wait_here_are_taken_by_a_process_that_has_room as taken_elsewhere
from tests.patience import PATIENCE_S

import godwit
from godwit.core.errors import ConfigurationError
from godwit.stores.opening import is_address, opened, without_secret

if TYPE_CHECKING:
    from tests.postgres_server import Server

_numbers = itertools.count()


@pytest.fixture
def url(postgres_server: Server) -> str:
    return postgres_server.url(f"r{next(_numbers)}")


async def test_a_session_goes_on_where_another_runtime_opens_it(url: str) -> None:
    model = godwit.ScriptedModel(["Hello.", "Hello again."])
    async with await godwit.Runtime.open(url, models={"scripted:test": model}) as first:
        session = await first.start_session(godwit.Agent("greeter", model="scripted:test"))
        run = await session.prompt("Hi.")
        assert (await session.wait(run)).text == "Hello."
    async with await godwit.Runtime.open(url, models={"scripted:test": model}) as second:
        again = await second.open_session(session.id)
        run = await again.prompt("Hi again.")
        assert (await again.wait(run)).text == "Hello again."
        await again.memory.remember("Godwits fly far.")
        assert [found.memory.content for found in await again.memory.search("godwits")] == ["Godwits fly far."]


async def test_two_runtimes_follow_and_steer_one_session(url: str) -> None:
    model = godwit.ScriptedModel(["One.", "Two."])
    opening = [await godwit.Runtime.open(url, models={"scripted:test": model}) for _ in range(2)]
    one, two = opening
    async with one, two:
        session = await one.start_session(godwit.Agent("greeter", model="scripted:test"))
        other = await two.open_session(session.id)
        run = await other.prompt("Hi.")
        assert (await session.wait(run)).text in ("One.", "Two.")
        assert [event.seq for event in await other.events()] == [event.seq for event in await session.events()]


def test_addresses_are_told_from_paths() -> None:
    assert is_address("postgresql://u:p@h/db?x=y")
    assert is_address("postgres://h/db")
    assert not is_address("godwit.db")
    assert not is_address(Path("postgresql:/x"))
    assert without_secret("postgresql://u:p@h:5/db?password=p") == "postgresql://h:5/db"


def test_without_asyncpg_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, asyncio, godwit\n"
        "sys.modules['asyncpg'] = None\n"
        "async def main():\n"
        "    try:\n"
        "        await godwit.Runtime.open('postgresql://localhost/x')\n"
        "    except godwit.core.errors.ConfigurationError as error:\n"
        "        print(error)\n"
        "import godwit.core.errors\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True, timeout=PATIENCE_S
    )
    assert "pip install 'godwit[postgres]'" in done.stdout


def test_importing_godwit_does_not_load_asyncpg() -> None:
    code = "import sys, godwit, godwit.host.runtime, godwit.stores.opening; print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == "False"


async def test_secrets_that_others_must_open_need_a_key_that_they_have(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from godwit.host.secret_keys import VARIABLE, keys_of

    monkeypatch.delenv(VARIABLE, raising=False)
    async with await opened(url) as store:
        with pytest.raises(ConfigurationError, match=VARIABLE):
            keys_of(store).all()


def godwit_says(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "godwit", "--db", url, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "GODWIT_MODEL": ""},
        check=False,
        timeout=PATIENCE_S,
    )


async def test_the_command_line_works_with_it(url: str, tmp_path: Path) -> None:
    model = godwit.ScriptedModel(["Far away."])
    async with await godwit.Runtime.open(url, models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(godwit.Agent("greeter", model="scripted:test"))
        run = await session.prompt("Where do godwits fly?")
        await session.wait(run)
    listed = godwit_says(url, tmp_path, "ls", "--json")
    assert session.id in listed.stdout, listed.stderr
    assert "Far away." in godwit_says(url, tmp_path, "log", "last").stdout
    assert "godwits" in godwit_says(url, tmp_path, "search", "godwits").stdout
    assert "(1 sessions)" in godwit_says(url, tmp_path, "doctor").stdout
    refused = godwit_says(url, tmp_path, "backup", "copy.db")
    assert refused.returncode == 2
    assert "pg_dump" in refused.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_run_that_waits_for_a_place_is_let_go_when_another_process_has_ended_it(bench: Bench, url: str) -> None:
    """There its driver lets go of it a moment after the end is told, which a file is too quick to show."""
    bench.path = url  # type: ignore[assignment]
    await taken_elsewhere(bench)
