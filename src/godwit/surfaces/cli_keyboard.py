"""Lines a person types, read without standing in the event loop's way.

The terminal stays in its ordinary mode: the kernel echoes and edits the line, Ctrl-C is a signal. What was typed ahead is
kept for the next question. Works on pipes too; a plain file is read in a thread, since no loop can wait on one. Of
what is secret nothing is echoed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from collections.abc import Iterator


class Keyboard:
    """Standard input, line by line."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._buffer = b""
        self._ended = False

    async def line(self, prompt: str = "", *, hidden: bool = False) -> str | None:
        """The next line without its end, or None when the input is over. May be cancelled; nothing typed is lost.
        `hidden`: what is typed is not shown."""
        if hidden:
            with _unseen(self._descriptor):
                return await self.line(prompt)
        if prompt:
            sys.stdout.write(prompt)
            sys.stdout.flush()
        while b"\n" not in self._buffer and not self._ended:
            piece = await self._piece()
            self._ended = not piece
            self._buffer += piece
        if not self._buffer:
            self._ended = False  # a terminal can go on after Ctrl-D; a pipe says again that it is over
            return None
        text, _, self._buffer = self._buffer.partition(b"\n")
        return text.decode(errors="replace").rstrip("\r")

    async def _piece(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except (PermissionError, NotImplementedError):
            return await asyncio.to_thread(os.read, self._descriptor, 65536)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._descriptor, 65536)
        return b""


@contextlib.contextmanager
def _unseen(descriptor: int) -> Iterator[None]:
    """Without the terminal's echo; the line end that is not echoed is written."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # no terminal, which echoes nothing
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
        sys.stdout.write("\n")
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def interactive() -> bool:
    """True when a person can be asked: both ends are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()
