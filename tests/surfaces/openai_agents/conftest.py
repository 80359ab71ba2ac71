"""A server with scripted models, and the official clients that speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

Start = Callable[..., RunningServer]

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NONE: Any = {"type": "none"}
HOSTED: Any = {"type": "openai_hosted"}
ANY = ServerSettings(port=0, models={"*": "scripted:any"})


_clients: list[openai.OpenAI] = []


def client_of(server: RunningServer, **options: Any) -> openai.OpenAI:
    """The official client, which is told to check all that comes back against its types, and not to ask again. It is closed
    when the test is over."""
    given = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True, **options}
    _clients.append(openai.OpenAI(base_url=f"{server.url}/v1", **given))
    return _clients[-1]


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def release(server: RunningServer, event: asyncio.Event) -> None:
    """Set an event of the server's."""

    async def set_it() -> None:
        event.set()

    server.call(set_it)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server: `start(script, ...)`; what is behind every model's name is the script."""
    with ExitStack() as stack:

        def start(*script: Any, **options: Any) -> RunningServer:
            model = ScriptedModel(list(script))
            settings = options.pop("settings", None) or ANY
            return stack.enter_context(
                running(tmp_path / "g.db", models={"scripted:any": model}, settings=settings, **options)
            )

        yield start


@pytest.fixture
def server(start: Start) -> RunningServer:
    return start()


@pytest.fixture
def client(server: RunningServer) -> openai.OpenAI:
    return client_of(server)


@pytest.fixture
async def async_client(server: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


class Shared(NamedTuple):
    """A server for those tests of a module that are refused what they ask for. `folder`: of its database."""

    client: openai.OpenAI
    folder: Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    options: Any = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True}
    with running(folder / "g.db", models={"scripted:any": ScriptedModel([])}, settings=ANY) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", **options) as client:
            yield Shared(client, folder)
