"""Running one shell command: its output as it comes, and its end, which is always an end.

Owns the process, its pipe and its killing. Leaves out what the output means and how much of it is kept. Rules: on cancel,
timeout, or cancellation of the caller every process of the command's session is dead when `execute` returns, also those that
made a process group of their own (GNU `timeout` does); processes a command leaves behind on purpose when it ends by itself
live on, and their hold on the pipe delays nobody for more than `_DRAIN_S`. One pipe carries stdout and stderr, so their
order is the true one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from ..contracts import CancelToken, Execution
from ..core.errors import ToolFailed
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
    command: str,
    *,
    folder: str,
    environment: Mapping[str, str],
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
    if "\0" in command:
        raise ToolFailed("the command holds a NUL character")
    loop = asyncio.get_running_loop()
    run = _Run(output, grace_s)
    take_back = None
    if cancel is not None:
        take_back = cancel.on_cancel(run.stop.set)
    # A task of its own: cancelling the caller must not tear the killing apart in the middle.
    task = loop.create_task(run.run(command, folder, environment, timeout_s))
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


class _Run:
    """`stop`: end it, with grace. `now`: the grace is over."""

    def __init__(self, output: Callable[[bytes], None], grace_s: float) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self._output = output
        self._grace_s = grace_s
        self._ended = asyncio.Event()  # the pipe's end
        self._heard = 0.0
        self._failure: BaseException | None = None

    async def run(self, command: str, folder: str, environment: Mapping[str, str], timeout_s: float | None) -> Execution:
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            try:
                process = await self._spawn(command, folder, environment, writer)
            finally:
                os.close(writer)
            loop.add_reader(reader, self._read, reader)
            try:
                return await self._attend(process, timeout_s)
            finally:
                loop.remove_reader(reader)
        finally:
            os.close(reader)
            if self._failure is not None:
                raise self._failure

    async def _spawn(
        self, command: str, folder: str, environment: Mapping[str, str], writer: int
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                shell(),
                "-c",
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailed(f"the command could not be started: {(error.strerror or str(error)).lower()}") from error

    async def _attend(self, process: asyncio.subprocess.Process, timeout_s: float | None) -> Execution:
        leader = process.pid
        WATCHDOG.add(leader)
        exited = asyncio.ensure_future(process.wait())
        stopped = asyncio.ensure_future(self.stop.wait())
        over = False
        try:
            await asyncio.wait({exited, stopped}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                await self._drain()
                over = True
                code = exited.result()
                return Execution(code if code >= 0 else 128 - code)  # as shells tell of a signal
            cancelled = self.stop.is_set()
            await self._end(leader, exited)
            await self._drain()
            over = True
            return Execution(None, timed_out=not cancelled, cancelled=cancelled)
        finally:
            stopped.cancel()
            if not over:  # this task itself was cancelled, and `exited` with it: the event loop is closing
                _signal(leader, signal.SIGKILL)
                await process.wait()
            WATCHDOG.remove(leader)

    async def _end(self, leader: int, exited: asyncio.Future[int]) -> None:
        loop = asyncio.get_running_loop()
        if self._grace_s > 0:
            _signal(leader, signal.SIGTERM)
            _signal(leader, signal.SIGCONT)  # a stopped process gets SIGTERM only when it goes on
            deadline = loop.time() + self._grace_s
            while (exited.done() is False or await _members(leader)) and not self.now.is_set():
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
        if self._failure is None:
            try:
                self._output(chunk)
            except Exception as error:
                self._failure = error
                self.stop.set()


async def kill(leader: int, exited: asyncio.Future[int]) -> None:
    """Kill every process of the session that `leader` leads, and return when they have gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _KILL_S
    while True:  # again and again: a member may fork while the others are being killed
        members = await _members(leader)
        if not members and exited.done():
            return
        _signal(leader, signal.SIGKILL)
        for member in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        if loop.time() > deadline:
            return
        await _pause(0.002, exited)


async def _pause(seconds: float, exited: asyncio.Future[int]) -> None:
    if exited.done():
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait({exited}, timeout=seconds)


def _signal(leader: int, number: signal.Signals) -> None:
    """To the command's process group and, where the others of its session are found without waiting, to those."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    if sys.platform == "linux":
        for member in _members_linux(leader):
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(member) != leader:
                    os.kill(member, number)


async def _members(leader: int) -> list[int]:
    """The living processes of the session that the command's shell leads."""
    if sys.platform == "linux":
        return _members_linux(leader)
    listing = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,stat=", stdout=subprocess.PIPE)
    text, _ = await listing.communicate()
    rows = [line.split() for line in text.decode(errors="replace").splitlines()]
    return [int(row[0]) for row in rows if len(row) > 1 and "Z" not in row[1] and _session(int(row[0])) == leader]


def _members_linux(leader: int) -> list[int]:
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _session(int(name)) == leader:
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[:1]
            except OSError:
                continue
            if state not in ([b"Z"], [b"X"]):  # dead, and waiting for a parent that may never look
                members.append(int(name))
    return members


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
