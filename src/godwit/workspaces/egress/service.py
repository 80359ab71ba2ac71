"""The thread in which the proxies of all commands run, made for the first command that needs one.

A thread of its own, since commands belong to many event loops and none may wait for another. Rule: a forked child has none
of it, and makes its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable


class Service:
    """May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, work: Callable[[], None]) -> None:
        """Have it done on the thread's event loop, soon."""
        self._running().call_soon_threadsafe(work)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: when the interpreter ends, so do the commands.
                threading.Thread(target=self._loop.run_forever, name="godwit egress", daemon=True).start()
            return self._loop

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._loop = None


SERVICE = Service()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SERVICE.forget)
