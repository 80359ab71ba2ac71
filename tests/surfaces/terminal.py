"""The real command line for tests: as a process with pipes, and on a pseudo-terminal; and recordings to run it with.

Waiting is on conditions only: on events of the log, read from the same database in this process, or on what a terminal
shows, with a deadline that only a broken test meets.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import godwit
from godwit.core.events import Event
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.replay import Recorder
from godwit.models.script import Script, ScriptedModel
from godwit.surfaces.cli_agent import AgentFlags
from tests.patience import PATIENCE_S

MODEL = "scripted:test"
SOURCE = str(Path(godwit.__file__).resolve().parent.parent)
_KEYS = re.compile(r"_API_KEY$|_BASE_URL$|^GODWIT_")


def environment(**more: str) -> dict[str, str]:
    """Ours without keys and settings, and with this source tree."""
    kept = {name: value for name, value in os.environ.items() if not _KEYS.search(name)}
    return {
        **kept,
        "PYTHONPATH": SOURCE,
        "PYTHONUNBUFFERED": "1",
        "TERM": "xterm",
        "COLUMNS": "200",
        "GODWIT_CONFIG": "",
        "GODWIT_TRUST": "",
        "GODWIT_AUTH": "",
        **more,
    }


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its output as JSON lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


class Command:
    """One folder to run `godwit` in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def database(self) -> Path:
        return self.folder / ".godwit" / "godwit.db"

    async def start(self, *words: str, stdin: int | None = None, **env: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "godwit", *words),
            cwd=self.folder,
            env=environment(**env),
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, text: str | None = None, **env: str) -> Ended:
        """Run to its end, with `text` as its standard input."""
        process = await self.start(*words, stdin=None if text is None else asyncio.subprocess.PIPE, **env)
        return await finish(process, None if text is None else text.encode())

    @asynccontextmanager
    async def session(self, session: str | None = None) -> AsyncIterator[Session]:
        """A handle that watches the newest session, or the named one."""
        async with await Runtime.open(self.database) as runtime:
            found = session or (await runtime.sessions(limit=1))[0].id
            yield await runtime.open_session(found, drive=False)

    async def begun(self) -> None:
        """Until the database has a session. Across processes there is nothing to wait on before it exists."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self.database.exists():
                    async with await Runtime.open(self.database) as runtime:
                        if await runtime.sessions(limit=1):
                            return
                await asyncio.sleep(0.02)

    async def until(self, *types: str, count: int = 1) -> list[Event]:
        """Wait until the newest session's log holds `count` events of these types; returns those."""
        await self.begun()
        async with self.session() as session, asyncio.timeout(PATIENCE_S):
            found: list[Event] = []
            async for event in session.follow():
                if event.type in types:
                    found.append(event)
                    if len(found) >= count:
                        return found
        raise AssertionError

    async def log(self) -> list[Event]:
        async with self.session() as session:
            return await session.events()


async def finish(process: asyncio.subprocess.Process, text: bytes | None = None) -> Ended:
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(text)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def record(
    path: Path,
    turns: Script,
    prompt: str = "Go.",
    *,
    flags: AgentFlags | None = None,
    meanwhile: Callable[[Session], Awaitable[None]] | None = None,
    workspace: Path | None = None,
    environment: dict[str, str] | None = None,
    **sent: Any,
) -> Path:
    """A recording of a scripted run. `meanwhile` acts on the session while it goes on."""
    folder = path.parent / f"{path.stem}.recorded"
    folder.mkdir()
    model = Recorder(ScriptedModel(turns, MODEL), path, match="results_vary")
    async with await Runtime.open(folder / "godwit.db", models={MODEL: model}, durability="memory") as runtime:
        agent = (flags or AgentFlags(allow=("bash",))).agent(MODEL)
        session = await runtime.start_session(agent, workspace=workspace or folder, environment=environment)
        run = await session.prompt(prompt, **sent)
        if meanwhile is not None:
            await meanwhile(session)
        await session.wait(run)
    return path


class Terminal:
    """A command on a pseudo-terminal: `async with Terminal(command, "run", ...) as terminal`."""

    def __init__(self, command: Command, *words: str, **env: str) -> None:
        self._command = command
        self._words: Sequence[str] = words
        self._env = env
        self._master = -1
        self._process: asyncio.subprocess.Process | None = None
        self._shown = ""
        self._place = 0

    async def __aenter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        env = environment(**self._env)
        del env["COLUMNS"]

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "godwit", *self._words),
            cwd=self._command.folder,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=own_terminal,
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was shown, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown).replace("\r", "")

    async def shows(self, text: str) -> None:
        """Until the text stands behind what earlier calls have found."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := self.text.find(text, self._place)) < 0:
                    if not await self._read():
                        raise AssertionError(f"{text!r} was not shown, but:\n{self.text}")
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown in time, but:\n{self.text}") from None
        self._place = found + len(text)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def code(self) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_S):
            while await self._read():
                pass
            return await self._process.wait()

    async def _read(self) -> bool:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._master, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._master)
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self._shown += piece.decode(errors="replace")
        return bool(piece)
