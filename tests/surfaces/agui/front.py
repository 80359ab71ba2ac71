"""AG-UI's own clients, in a process of node that tests speak to: `tests/clients/agui.mjs`.

One process holds any number of clients, of both versions. What a test gets are what the client's subscriber got, behind the
client's own checks, and what the client holds when a run is over. Nothing here knows what the events mean.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import pytest

from tests.patience import PATIENCE_S

Json = dict[str, Any]
Version = Literal["1.0", "0.x"]
T = TypeVar("T")

CLIENTS = Path(__file__).parents[3] / ".clients"
DRIVER = Path(__file__).parents[2] / "clients" / "agui.mjs"


class Ran(msgspec.Struct, frozen=True, rename="camel"):
    """How a run ended for the client. `error`: why the client gave it up; None when it did not. `messages`, `state` and
    `pending_interrupts`: what it holds after. `pending_tool_call_ids`: the calls that it was told to answer itself.
    `warned`: what it wrote to the console."""

    result: Any = None
    error: str | None = None
    new_messages: list[Json] = []
    messages: list[Json] = []
    state: Any = None
    pending_interrupts: list[Json] = []
    pending_tool_call_ids: list[str] = []
    warned: list[str] = []
    events: list[Json] = []

    def types(self, *left_out: str) -> list[str]:
        return [event["type"] for event in self.events if event["type"] not in left_out]

    def some(self, kind: str) -> list[Json]:
        """Its events of this type."""
        return [event for event in self.events if event["type"] == kind]

    @property
    def end(self) -> Json:
        """Its last event."""
        return self.events[-1]

    @property
    def text(self) -> str:
        """What was said in it, but for what users have said."""
        users = {event["messageId"] for event in self.some("TEXT_MESSAGE_START") if event.get("role") == "user"}
        said = self.some("TEXT_MESSAGE_CONTENT")
        return "".join(event["delta"] for event in said if event["messageId"] not in users)


class Running:
    """A run that goes on in the client. `events`: what it has got so far."""

    def __init__(self, front: Front, number: int, done: Future[Any]) -> None:
        self._front = front
        self._number = number
        self._done = done
        self.events: list[Json] = []

    async def until(self, wanted: str | Callable[[Json], Any], times: int = 1) -> Json:
        """Wait for the so-manieth event of this type, or that is wanted."""

        def fits(event: Json) -> bool:
            return bool(event["type"] == wanted if isinstance(wanted, str) else wanted(event))

        def found() -> Json | None:
            fitting = [event for event in self.events if fits(event)]
            return fitting[times - 1] if len(fitting) >= times else None

        return await self._front.wait(found, self._done, lambda: f"it did not come, but {self.events}")

    async def end(self) -> Ran:
        """Wait until the client has ended it, be it with an error."""
        told = await _outcome(self._done)
        return msgspec.convert({**told, "events": self.events}, Ran)


class Agent:
    """One client: it holds one thread's messages and state."""

    def __init__(self, front: Front, id: str, thread: str) -> None:  # noqa: A002
        self._front = front
        self.id = id
        self.thread = thread

    async def add(self, text: str, id: str | None = None) -> Json:  # noqa: A002
        """Add a message of the user's to what it holds; returns it."""
        return await self.add_message({"id": id or self._front.new_id("user"), "role": "user", "content": text})

    async def add_message(self, message: Json) -> Json:
        await self._front.ask("addMessage", agent=self.id, message=message)
        return message

    async def set_messages(self, messages: Sequence[Json]) -> None:
        await self._front.ask("setMessages", agent=self.id, messages=list(messages))

    async def set_state(self, state: Any) -> None:
        await self._front.ask("setState", agent=self.id, state=state)

    def start(self, **parameters: Any) -> Running:
        """Run it, with `runId`, `tools`, `context`, `forwardedProps` or `resume`."""
        return self._front.go("run", agent=self.id, parameters=parameters)

    async def run(self, text: str | None = None, **parameters: Any) -> Ran:
        """Run it to its end; with a text, after that was added as the user's message."""
        if text is not None:
            await self.add(text)
        return await self.start(**parameters).end()

    def connect(self, **parameters: Any) -> Running:
        """Follow what goes on in the thread, from what has been: a POST to the address followed by `/connect`."""
        return self._front.go("connect", agent=self.id, parameters=parameters)

    async def abort(self) -> None:
        await self._front.ask("abort", agent=self.id)

    async def detach(self) -> None:
        """Let go of its run, which ends for it without an error."""
        await self._front.ask("detach", agent=self.id)

    async def forget(self) -> None:
        """Forget what it was asked: it was answered elsewhere."""
        await self._front.ask("forget", agent=self.id)


class Front:
    """The process. Use it as a context manager; it may serve one event loop after another."""

    def __init__(self, node: str, driver: Path, folder: Path) -> None:
        self._process = subprocess.Popen(
            [node, driver.name],
            cwd=folder,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}
        self._going: dict[int, Running] = {}
        self._waiting: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._lock = threading.RLock()
        self._reading = threading.Thread(target=self._read, name="front")
        self._reading.start()

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._reading.join()
            self._process.stdout.close()

    async def agent(
        self,
        url: str,
        thread: str,
        *,
        version: Version = "1.0",
        messages: Sequence[Json] = (),
        state: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Agent:
        """A new client of this version, of the agent at this address."""
        agent = self.new_id("agent")
        given = {"url": url, "threadId": thread, "initialMessages": list(messages), "headers": headers or {}}
        await self.ask(
            "create", agent=agent, version=version, given=given if state is None else {**given, "initialState": state}
        )
        return Agent(self, agent, thread)

    async def invalid(self, events: Sequence[Json]) -> list[str]:
        """What the protocol's own schemas find wrong with these events when they let nothing unknown pass."""
        found: list[str] = await self.ask("validate", events=list(events))
        return found

    def new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"

    async def ask(self, what: str, **given: Any) -> Any:
        """Send a command; returns what it gave."""
        return await _outcome(self._send(what, given)[1])

    def go(self, what: str, **given: Any) -> Running:
        """Send a command that events belong to."""
        with self._lock:
            number, done = self._send(what, given)
            running = self._going[number] = Running(self, number, done)
        return running

    def _send(self, what: str, given: Json) -> tuple[int, Future[Any]]:
        number, done = next(self._numbers), Future[Any]()
        with self._lock:
            assert self._process.stdin is not None
            self._asked[number] = done
            self._process.stdin.write(msgspec.json.encode({"n": number, "do": what, **given}).decode() + "\n")
            self._process.stdin.flush()
        return number, done

    async def wait(self, found: Callable[[], T | None], done: Future[Any], wrong: Callable[[], str]) -> T:
        """What `found` gives, as soon as it gives something; an AssertionError when `done` comes before."""
        waiting: Future[Any] = Future()
        with self._lock:
            now = found()
            if now is not None:
                return now
            assert not done.done(), wrong()
            self._waiting.append((found, waiting))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait({asyncio.wrap_future(waiting), asyncio.wrap_future(done)}, return_when="FIRST_COMPLETED")
        with self._lock:
            last = found()
        assert last is not None, wrong()
        return last

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = msgspec.json.decode(line)
            with self._lock:
                if "event" in told:
                    self._going[told["n"]].events.append(told["event"])
                else:
                    self._settle(told)
                self._look()
        with self._lock:
            for done in self._asked.values():
                done.set_exception(AssertionError(f"the process of node has ended: {self._process.poll()}"))

    def _settle(self, told: Json) -> None:
        done = self._asked.pop(told["n"])
        self._going.pop(told["n"], None)
        if "wrong" in told:
            done.set_exception(AssertionError(told["wrong"]))
        else:
            done.set_result(told.get("ok"))

    def _look(self) -> None:
        for one in list(self._waiting):
            found, waiting = one
            if waiting.done() or found() is not None:
                self._waiting.remove(one)
                if not waiting.done():
                    waiting.set_result(None)


async def _outcome(done: Future[Any]) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(done), PATIENCE_S)


def front() -> Front:
    """The process, with the clients that `scripts/clients` has made; the test is skipped where they are not."""
    folder = CLIENTS / "node"
    node = shutil.which("node")
    if node is None or not (folder / "node_modules/@ag-ui/client").exists():
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    return Front(node, driver_in(folder), folder)


def driver_in(folder: Path, driver: Path = DRIVER) -> Path:
    """The driver beside the packages it needs; other processes may put it there, or read it, at the same time."""
    put = folder / driver.name
    aside = put.with_suffix(f".{os.getpid()}")
    shutil.copy(driver, aside)
    os.replace(aside, put)
    return put
