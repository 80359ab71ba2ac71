"""A conversation with one session: what is sent, and what a listener on its stream has heard so far."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import anthropic

from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer

from .conftest import client_of

TOOLSET: Any = {"type": "agent_toolset_20260401"}
ASKING: Any = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
}


def custom(name: str) -> Any:
    return {"type": "custom", "name": name, "description": "", "input_schema": {"type": "object", "properties": {}}}


def said(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def kinds(events: Iterable[Any], *, left_out: str = "session.thread_") -> list[str]:
    return [e.type for e in events if not e.type.startswith(left_out)]


class Listener:
    """Reads a session's stream with the official async client, in a thread of its own. `heard`: all so far."""

    def __init__(self, server: RunningServer, session: str, **options: Any) -> None:
        self.heard: list[Any] = []
        self.over = False
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._reading: asyncio.Task[None] | None = None
        opened = threading.Event()
        self._error: BaseException | None = None

        async def read() -> None:
            key: Any = {"api_key": "any", "max_retries": 0, "_strict_response_validation": True}
            async with anthropic.AsyncAnthropic(base_url=server.url, **key) as client:
                try:
                    async with await client.beta.sessions.events.stream(session, **options) as stream:
                        opened.set()
                        async for event in stream:
                            with self._changed:
                                self.heard.append(event)
                                self._changed.notify_all()
                except BaseException as error:
                    self._error = error
                    raise

        def run() -> None:
            self._reading = self._loop.create_task(read())
            with contextlib.suppress(asyncio.CancelledError, anthropic.APIError):
                self._loop.run_until_complete(self._reading)
            self._loop.close()
            opened.set()
            with self._changed:
                self.over = True
                self._changed.notify_all()

        self._thread = threading.Thread(target=run, name="listener")
        self._thread.start()
        assert opened.wait(PATIENCE_S)
        if not self.heard and self._error is not None:
            self._thread.join()
            raise self._error

    def until(self, holds: Callable[[list[Any]], Any]) -> Any:
        """Wait until this holds of what was heard; returns what it gave."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.heard), PATIENCE_S), kinds(self.heard)
            return holds(self.heard)

    def idle(self, times: int = 1) -> Any:
        """Wait until the session has been told to be idle so often; returns the last of these events."""
        return self.until(lambda heard: [e for e in heard if e.type == "session.status_idle"][times - 1 : times] or None)[0]

    def some(self, kind: str, times: int = 1) -> Any:
        """Wait for the so-manieth event of this kind."""
        return self.until(lambda heard: [e for e in heard if e.type == kind][times - 1 : times] or None)[0]

    def ended(self) -> list[Any]:
        """Wait until the server has ended the stream; all that was heard."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.over, PATIENCE_S), kinds(self.heard)
        return self.heard

    def close(self) -> None:
        reading = self._reading
        if reading is not None and not self.over:
            self._loop.call_soon_threadsafe(reading.cancel)
        self._thread.join(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Talk:
    """One session of a new agent. `options` go to the agent, `config` to the environment, `session` to the session."""

    def __init__(
        self,
        server: RunningServer,
        *tools: Any,
        config: Any = None,
        session: dict[str, Any] | None = None,
        client: anthropic.Anthropic | None = None,
        **options: Any,
    ) -> None:
        self.server = server
        self.client = client or client_of(server)
        self.agent = self.client.beta.agents.create(name="Bird", model="claude-opus-5", tools=list(tools), **options)
        environment = self.client.beta.environments.create(name=f"of {self.agent.id}", config=config)
        self.session = self.client.beta.sessions.create(
            agent=self.agent.id, environment_id=environment.id, **(session or {})
        )
        self.id = self.session.id
        self.events = self.client.beta.sessions.events

    def send(self, *events: Any, **options: Any) -> list[Any]:
        return list(self.events.send(self.id, events=list(events), **options).data or [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def say(self, text: str = "Go.") -> Any:
        return self.send(said(text))[0]

    def listen(self, **options: Any) -> Listener:
        return Listener(self.server, self.id, **options)

    def list(self, **options: Any) -> list[Any]:
        return [*self.events.list(self.id, **options)]

    def status(self) -> str:
        return self.client.beta.sessions.retrieve(self.id).status
