"""Running one shell command: its output as it comes, and its end, which is always an end.

Owns its pipe, its ending and its killing; `started` owns the process, a sandbox how it is confined. Leaves out what the
output means and how much of it is kept. Rules: on cancel, timeout, or cancellation of the caller every process of the
command's session is dead when `execute` returns, also those that made a process group of their own (GNU `timeout` does).
Processes a command leaves behind on purpose when it ends by itself live on without a sandbox, and their hold on the pipe
delays nobody for more than `_DRAIN_S`; under a sandbox they end with it, all of them where it promises that
(`no_survivors`), else those that are still in the command's session. One pipe carries stdout and stderr, so their order is
the true one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..contracts import CancelToken, Confinement, Execution
from ..core.errors import GodwitError, ToolFailed
from .processes import descendants, members, members_now
from .started import Started
from .watchdog import WATCHDOG

_CHUNK = 1 << 16
_QUIET_S = 0.1
"""After the shell has ended: how long silence on a pipe that others hold open means that all has come."""
_DRAIN_S = 1.0
"""After the shell has ended: the longest wait for the pipe's end."""
_KILL_S = 5.0
"""How long killed processes may take to go; one in an uninterruptible system call can take for ever."""
_LOOK_S = 0.02


def shell() -> str:
    """The shell commands are run with: bash, else sh."""
    found = shutil.which("bash") or shutil.which("sh")
    if found is None:
        raise ToolFailed("there is no shell: neither bash nor sh is on the PATH")
    return found


async def execute(
    confinement: Confinement,
    *,
    folder: str,
    output: Callable[[bytes], None],
    timeout_s: float | None,
    grace_s: float,
    cancel: CancelToken | None,
) -> Execution:
    """Run it to its end; see `contracts.Workspace.execute`.

    Cancelling the caller ends the command first, with its grace; cancelling it again, or when `cancel` had fallen before,
    cuts the grace short.
    """
    if cancel is not None and cancel.cancelled:
        return Execution(None, cancelled=True)
    if any("\0" in word for word in confinement.argv):
        raise ToolFailed("the command holds a NUL character")
    loop = asyncio.get_running_loop()
    run = _Run(confinement, folder, output, grace_s)
    take_back = None
    if cancel is not None:
        take_back = cancel.on_cancel(run.stop.set)
    # A task of its own: cancelling the caller must not tear the killing apart in the middle.
    task = loop.create_task(run.run(timeout_s))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Whoever cancels a caller whose command is being ended already will not wait for its grace.
        (run.now if run.stop.is_set() else run.stop).set()
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                run.now.set()
        if not task.cancelled():
            task.exception()
        raise
    finally:
        if take_back is not None:
            take_back()


class NotBegun(Exception):
    """The keeper of a confined command gave up before it began; says why. Nothing has happened, so it can be tried again."""


class _Run:
    """`stop`: end it, with grace. `now`: the grace is over."""

    def __init__(self, confinement: Confinement, folder: str, output: Callable[[bytes], None], grace_s: float) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self._confinement = confinement
        self._folder = folder
        self._output = output
        self._grace_s = grace_s
        self._ended = asyncio.Event()  # the pipe's end
        self._heard = 0.0
        self._failure: BaseException | None = None
        self._held: bytes | None = b"" if confinement.complaint else None  # may be a complaint of the keeper's

    async def run(self, timeout_s: float | None) -> Execution:
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[Any] = loop.create_future()
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            try:
                starting, process = self._start(writer, exited)
            finally:
                os.close(writer)
            loop.add_reader(reader, self._read, reader)
            try:
                await self._started(starting, process)
                return await self._attend(process, exited, timeout_s)
            finally:
                loop.remove_reader(reader)
        finally:
            os.close(reader)
            if self._failure is not None:
                raise self._failure

    def _start(self, writer: int, exited: asyncio.Future[Any]) -> tuple[asyncio.Future[Any], Started]:
        loop = asyncio.get_running_loop()
        starting: asyncio.Future[Any] = loop.create_future()

        def tell(future: asyncio.Future[Any]) -> None:
            if not future.done():
                future.set_result(None)

        def told(future: asyncio.Future[Any]) -> Callable[[], None]:
            def call() -> None:
                with suppress(RuntimeError):  # the loop is gone
                    loop.call_soon_threadsafe(tell, future)

            return call

        made = Started(self._confinement, folder=self._folder, output=writer, ready=told(starting), ended=told(exited))
        return starting, made

    async def _started(self, starting: asyncio.Future[Any], process: Started) -> None:
        try:
            await starting
            process.check()
        except asyncio.CancelledError:  # the event loop is closing
            process.abandon()
            raise
        except GodwitError:
            raise
        except OSError as error:
            raise ToolFailed(f"the command could not be started: {(error.strerror or str(error)).lower()}") from error

    async def _attend(self, process: Started, exited: asyncio.Future[Any], timeout_s: float | None) -> Execution:
        leader = process.pid
        WATCHDOG.add(leader)
        stopped: asyncio.Future[Any] = asyncio.ensure_future(self.stop.wait())
        over = False
        try:
            await asyncio.wait({exited, stopped}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                await self._drain()
                if not self._confinement.leaves and not self._confinement.keeper:
                    await kill(leader, exited)  # before it is reaped: from then on its pid may be anybody's
                code = process.reap()
                over = True
                begun = self._confinement.begun
                if code == 1 and begun is not None and not begun():
                    raise NotBegun((self._held or b"").decode(errors="replace").strip())
                self._release()
                return Execution(code if code >= 0 else 128 - code)  # as shells tell of a signal
            cancelled = self.stop.is_set()
            await self._end(leader, exited)
            await self._drain()
            over = True
            self._release()
            return Execution(None, timed_out=not cancelled, cancelled=cancelled)
        finally:
            stopped.cancel()
            if not over:  # this task itself was cancelled: the event loop is closing
                while not exited.done():
                    _signal(leader, signal.SIGKILL)
                    await asyncio.wait({exited}, timeout=_LOOK_S)
            WATCHDOG.remove(leader)
            if exited.done():
                process.reap()

    async def _end(self, leader: int, exited: asyncio.Future[Any]) -> None:
        loop = asyncio.get_running_loop()
        keeper = self._confinement.keeper
        if self._grace_s > 0:
            # A keeper passes nothing on: those it keeps are asked themselves, and it ends with them.
            _signal(leader, signal.SIGTERM, spare_leader=keeper)
            _signal(leader, signal.SIGCONT, spare_leader=keeper)  # a stopped process gets SIGTERM only when it goes on
            deadline = loop.time() + self._grace_s
            while (exited.done() is False or await members(leader)) and not self.now.is_set():
                left = deadline - loop.time()
                if left <= 0:
                    break
                await _pause(min(left, _LOOK_S), exited)
        await kill(leader, exited)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        start = self._heard = loop.time()
        while not self._ended.is_set():
            now = loop.time()
            left = min(self._heard + _QUIET_S, start + _DRAIN_S) - now
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), left)

    def _read(self, reader: int) -> None:
        try:
            chunk = os.read(reader, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        loop = asyncio.get_running_loop()
        if not chunk:
            self._ended.set()
            loop.remove_reader(reader)
            return
        self._heard = loop.time()
        if self._held is None:
            self._deliver(chunk)
            return
        self._held += chunk
        size = len(self._confinement.complaint)
        if self._held[:size] != self._confinement.complaint[: len(self._held)] or len(self._held) > _CHUNK:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held:
            self._deliver(held)

    def _deliver(self, chunk: bytes) -> None:
        if self._failure is None:
            try:
                self._output(chunk)
            except Exception as error:
                self._failure = error
                self.stop.set()


async def kill(leader: int, exited: asyncio.Future[Any]) -> None:
    """Kill every process of the session that `leader` leads, and return when they have gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _KILL_S
    while True:  # again and again: a member may fork while the others are being killed
        left = await members(leader)
        if not left and exited.done():
            return
        _signal(leader, signal.SIGKILL)
        for member in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        if loop.time() > deadline:
            return
        await _pause(0.002, exited)


async def _pause(seconds: float, exited: asyncio.Future[Any]) -> None:
    if exited.done():
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait({exited}, timeout=seconds)


def _signal(leader: int, number: signal.Signals, *, spare_leader: bool = False) -> None:
    """To the command's process group and, where they are found without waiting, to the others of its session.

    `spare_leader`: it only keeps the command; what descends from it is asked instead, in whatever session that is.
    """
    if not spare_leader:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)
    if sys.platform == "linux":
        for member in descendants(leader) if spare_leader else members_now(leader):
            with suppress(ProcessLookupError, PermissionError):
                if spare_leader or os.getpgid(member) != leader:
                    os.kill(member, number)
