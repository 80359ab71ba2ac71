"""A server with scripted models, and the official clients that speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

Start = Callable[..., RunningServer]


def client_of(server: RunningServer, **options: Any) -> anthropic.Anthropic:
    """The official client, which is told to check all that comes back against its types, and not to ask again."""
    given = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True, **options}
    return anthropic.Anthropic(base_url=server.url, **given)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server: `start(script, ...)`; what is behind every model's name is the script."""
    with ExitStack() as stack:

        def start(*script: Any, **options: Any) -> RunningServer:
            model = ScriptedModel(list(script))
            settings = options.pop("settings", None) or ServerSettings(port=0, models={"*": "scripted:any"})
            return stack.enter_context(
                running(tmp_path / "g.db", models={"scripted:any": model}, settings=settings, **options)
            )

        yield start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests of a module in which nothing is made."""
    settings = ServerSettings(port=0, models={"*": "scripted:any"})
    database = tmp_path_factory.mktemp("shared") / "g.db"
    with running(database, models={"scripted:any": ScriptedModel([])}, settings=settings) as server:
        yield server


@pytest.fixture
def shared_client(shared: RunningServer) -> Iterator[anthropic.Anthropic]:
    with client_of(shared) as client:
        yield client


@pytest.fixture
def server(start: Start) -> RunningServer:
    return start()


@pytest.fixture
def client(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with client_of(server) as client:
        yield client


@pytest.fixture
async def async_client(server: RunningServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=server.url, auth_token="any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client
