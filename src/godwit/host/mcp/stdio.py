"""StdioWay: an MCP server that is a program of its own, spoken to over its stdin and stdout.

Owns the process from its start until all that it has started is gone. It is the user's own program and is not sandboxed; of
our variables it gets those that hold no credentials. Rules a change must keep:

* Nothing waits for the program: not a message that it does not read, not a line that has no end, not its own end.
* What is no message is passed over, up to a bound; what exceeds one ends the connection with a reason, and nothing else.
* It is started in a process group of its own, and does not outlive this process however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigurationError, ToolFailed
from ...core.mcp import Link
from ...workspaces.command import kill
from ...workspaces.environment import inherited
from ...workspaces.watchdog import WATCHDOG
from .client import Ears, connected, load
from .eras import Eras
from .streams import Incoming, Outgoing, message_of
from .values import McpValues
from .way import Failure, hidden, reason_of

if TYPE_CHECKING:
    from mcp import Client

    from ...tools.guarded import Seen

logger = logging.getLogger("godwit")

LINE_BYTES = 32 * 1024 * 1024
"""Of one message."""
JUNK_BYTES = 8 * 1024 * 1024
"""Of what is no message, between two that are."""
UNREAD_BYTES = 32 * 1024 * 1024
"""Of messages that the program has not read yet."""
STDERR_BYTES = 8 * 1024
"""Of what it says on stderr that are kept."""
SHOWN = 500
"""Characters of it that are shown in an error."""
GRACE_S = (0.5, 0.5)
"""How long it gets to end by itself, once its stdin has ended; and after it was asked to (SIGTERM)."""
DRAIN_S = 0.2
"""How long output of a program that has ended is still read: a process that it left behind may hold the pipe open."""
_CHUNK = 1 << 16


class StdioWay:
    """Is `way.McpWay`. `folder`: of the session; the program is started there unless it names another."""

    stateful = True

    def __init__(
        self, link: Link, folder: str | None, values: McpValues, eras: Eras, *, tenant: str | None, within_s: float
    ) -> None:
        self._link = link
        self._folder = folder
        self._values = values
        self._tenant = tenant
        self.within_s = within_s
        self._secrets: tuple[str, ...] = ()
        self._eras = eras
        self.failure = ""

    @contextlib.asynccontextmanager
    async def open(self, ears: Ears, broken: Callable[[], None]) -> AsyncIterator[Client]:
        if self._tenant is not None:
            raise ConfigurationError("it is a program, and no programs are started on this host for sessions of tenants")
        await load()
        opened = False

        def gone() -> None:
            if opened:
                broken()

        def opening(old: bool) -> contextlib.AbstractAsyncContextManager[Client]:
            self.failure = ""
            return connected(self._running(gone), ears, within_s=self.within_s, handshake=old)

        async with contextlib.AsyncExitStack() as stack:
            # Some end at a first message that is not the one of old.
            ended = lambda: self.failure.startswith(_ENDED)  # noqa: E731
            client = await self._eras.entered(stack, self._link, opening, ended)
            opened = True
            yield client

    def hidden(self, text: str) -> str:
        return hidden(text, self._secrets)

    def refused(self, seen: Seen) -> str | None:
        return None

    def taken(self) -> None:
        return

    def reason(self, error: BaseException) -> Failure:
        return ("connection", self.failure) if self.failure else reason_of(error, self.within_s)

    # --- the process --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _running(self, broken: Callable[[], None]) -> AsyncIterator[tuple[Any, Outgoing]]:
        program = await self._started()
        try:
            reading = asyncio.create_task(self._read(program, broken))
            try:
                yield program.incoming.stream, Outgoing(program.write)
            finally:
                if program.reads_nothing:
                    await asyncio.wait([reading], timeout=2 * DRAIN_S)  # it is on its way out, and may say why
                program.leaving = True
                await _ended(program)
                reading.cancel()
                await asyncio.wait([reading])
        finally:
            program.close()

    async def _started(self) -> _Program:
        link = self._link
        texts = {f"argument {at}": text for at, text in enumerate(link.command)}
        texts |= {f"env {name}": value for name, value in link.env}
        made, self._secrets = await self._values.of(texts.items(), tenant=self._tenant)
        folder = self._place()
        environment = inherited() | {name: made[f"env {name}"] for name, _ in link.env}
        if folder is not None:
            environment["PWD"] = folder
        pipes = _Pipes()
        try:
            process = await asyncio.create_subprocess_exec(
                *(made[f"argument {at}"] for at in range(len(link.command))),
                cwd=folder,
                env=environment,
                stdin=pipes.theirs[0],
                stdout=pipes.theirs[1],
                stderr=pipes.theirs[2],
                start_new_session=True,
            )
        except OSError as error:
            pipes.close()
            where = f" in {folder}" if folder is not None and not os.path.isdir(folder) else ""
            raise ToolFailed(
                f"{link.command[0]!r} could not be started{where}: {(error.strerror or str(error)).lower()}"
            ) from None
        except BaseException:
            pipes.close()
            raise
        WATCHDOG.add(process.pid)
        program = _Program(process, pipes, self._fail)
        try:
            await program.listen()
        except BaseException:
            program.close()
            await kill(process.pid, program.exited)
            raise
        return program

    def _place(self) -> str | None:
        place = self._link.cwd
        if place is None:
            return self._folder
        place = os.path.expanduser(place)
        return place if self._folder is None else os.path.join(self._folder, place)

    def _fail(self, why: str) -> None:
        if not self.failure:
            self.failure = self.hidden(why)

    async def _read(self, program: _Program, broken: Callable[[], None]) -> None:
        """Take what it says until it has ended, and say why it has."""
        stderr = asyncio.create_task(program.read_stderr())
        stdout = asyncio.create_task(program.read_stdout())
        ends: list[asyncio.Future[Any]] = [stdout, program.exited]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if program.exited.done():
                await asyncio.wait([stdout, stderr], timeout=DRAIN_S)
            elif not program.leaving:
                # Its stdout has ended: it should be on its way out.
                await asyncio.wait([program.exited], timeout=DRAIN_S)
            if not program.leaving:
                self._fail(program.ending() if program.exited.done() else "it has closed its stdout")
        finally:
            for task in (stdout, stderr):
                task.cancel()
            await asyncio.wait([stdout, stderr])
            program.incoming.end()
            if not program.leaving:
                broken()


_ENDED = "its program ended"


class _Pipes:
    """For stdin, stdout and stderr. Not asyncio's own, whose `wait` would wait for whatever else holds their ends."""

    def __init__(self) -> None:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        self.theirs = [stdin[0], stdout[1], stderr[1]]
        self.ours = [stdin[1], stdout[0], stderr[0]]

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())

    def close(self) -> None:
        self.close_theirs()
        while self.ours:
            os.close(self.ours.pop())


class _Program:
    def __init__(self, process: asyncio.subprocess.Process, pipes: _Pipes, fail: Callable[[str], None]) -> None:
        self.process = process
        self.incoming = Incoming()
        self.exited: asyncio.Future[int] = asyncio.ensure_future(process.wait())
        self.leaving = False
        self._pipes = pipes
        self._transports: list[asyncio.BaseTransport] = []
        self._stdin: asyncio.WriteTransport | None = None
        self._stdout, self._stderr = asyncio.StreamReader(_CHUNK), asyncio.StreamReader(_CHUNK)
        self._fail = fail
        self._said = b""
        self._junk = 0

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._pipes.close_theirs()
        ours = self._pipes.ours
        for reader in (self._stderr, self._stdout):
            file = os.fdopen(ours.pop(), "rb", 0)
            transport, _ = await loop.connect_read_pipe(lambda to=reader: asyncio.StreamReaderProtocol(to), file)  # type: ignore[misc]
            self._transports.append(transport)
        self._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(ours.pop(), "wb", 0))
        self._transports.append(self._stdin)

    @property
    def reads_nothing(self) -> bool:
        """Whether it has closed its stdin."""
        return self._stdin is not None and self._stdin.is_closing()

    async def write(self, item: Any) -> None:
        """Hand a message over without waiting for the program to read it. ConnectionError."""
        text: str = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        assert self._stdin is not None
        if self.reads_nothing:
            raise BrokenPipeError("it reads nothing any more")
        if self._stdin.get_write_buffer_size() > UNREAD_BYTES:
            self._give_up(f"it does not read what it is told: more than {UNREAD_BYTES} bytes wait")
            raise BrokenPipeError("it does not read what it is told")
        self._stdin.write(text.encode() + b"\n")

    async def read_stdout(self) -> None:
        held = bytearray()
        while chunk := await self._stdout.read(_CHUNK):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                held += line
                if not await self._take(bytes(held)):
                    return
                held.clear()
            held += rest
            if len(held) > LINE_BYTES:
                self._give_up(f"it says more than {LINE_BYTES} bytes in one line")
                return

    async def _take(self, line: bytes) -> bool:
        """Pass on a line; False when it was one too many that is no message."""
        if not line.strip():
            return True
        message = message_of(line)
        if message is not None:
            self._junk = 0
            await self.incoming.put(message)
            return True
        if self._junk == 0:
            logger.info("an MCP server says on its stdout what is no message, which is passed over")
        self._junk += len(line)
        if self._junk <= JUNK_BYTES:
            return True
        self._give_up(f"it has said {JUNK_BYTES} bytes on its stdout that are no message")
        return False

    async def read_stderr(self) -> None:
        while chunk := await self._stderr.read(_CHUNK):
            self._said = (self._said + chunk)[-STDERR_BYTES:]

    def ending(self) -> str:
        """How it ended, and what it said last."""
        code = self.exited.result()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        said = self._said.decode(errors="replace").strip()[-SHOWN:]
        return f"{_ENDED} {how}{': ' + said if said else ''}"

    def _give_up(self, why: str) -> None:
        self._fail(why)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end_input(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    def close(self) -> None:
        """Let go of the pipes, which a process that it left behind may hold open."""
        WATCHDOG.remove(self.process.pid)
        for transport in self._transports:
            if isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():
                transport.abort()
            elif not transport.is_closing():
                transport.close()
        self._pipes.close()
        self.incoming.close()


async def _ended(program: _Program) -> None:
    """End it: let its stdin end, ask it to, and kill what is left."""
    ending = asyncio.ensure_future(_end(program))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await asyncio.wait([ending], timeout=1.0)
        raise


async def _end(program: _Program) -> None:
    process = program.process
    program.end_input()
    first_s, second_s = GRACE_S
    await asyncio.wait([program.exited], timeout=first_s)
    if not program.exited.done():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait([program.exited], timeout=second_s)
    await kill(process.pid, program.exited)
