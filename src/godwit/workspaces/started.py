"""A process that was started in a thread of its own, which takes the confinement on first and then waits for its end.

What a thread does to itself (rights, filters, Landlock) its children inherit, and the rest of this program does not. So
there is no code of ours between fork and exec, which in a program with threads may hang, and no helper program to start
first, which costs 10 ms. The thread lives as long as the process, since Linux kills a `bwrap --die-with-parent` when the
thread that started it ends. Taking it on may take its time, where a network drive hangs, so nobody has to wait for that but
the thread. Rules: the process is only waited for by `Started`; until `reap` it stays there as a zombie where the system can
do that, so that its pid means nobody else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ..contracts import Confinement
from .processes import bury, members_now

_DYING_S = 5.0


class Started:
    """The process, whose confinement is over with it.

    `output`: the descriptor that stdout and stderr go to, which the caller may close at once. `ready`: called in another
    thread once it runs or could not be started; without it the constructor waits for that. Then `check` says which, and with
    it anything else may be asked. `ended`: called in another thread once it has ended.
    """

    def __init__(
        self,
        confinement: Confinement,
        *,
        folder: str,
        output: int,
        ready: Callable[[], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self._confinement = confinement
        self._folder = folder
        self._output = os.dup(output)
        self._tell = ready
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._over = threading.Event()
        self._abandoned = False
        self._reaping = threading.Lock()
        # A daemon: when the interpreter ends, the watchdog and the kernel see to the process.
        threading.Thread(target=self._work, name="godwit command", daemon=True).start()
        if ready is None:
            self._ready.wait()
            self.check()

    def check(self) -> None:
        """Raises what starting it raised: OSError, and whatever the confinement's `setup` does."""
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def join(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; the exit code, negative for a signal, or None when it is not over in time."""
        return self.reap() if self._over.wait(timeout_s) else None

    def reap(self) -> int:
        """The exit code of a process that has ended; its pid is free from now on."""
        assert self._process is not None
        with self._reaping:
            return self._process.wait()

    def abandon(self) -> None:
        """Nobody waits for it any more: it is killed as soon as it is there."""
        self._abandoned = True
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _work(self) -> None:
        try:
            self._run()
        finally:
            if self._confinement.done is not None:
                self._confinement.done()
            self._over.set()
            if self._failure is not None:
                self._is_ready()
            elif self._abandoned:
                self.reap()
            elif self._ended is not None:
                self._ended()

    def _run(self) -> None:
        try:
            if self._confinement.setup is not None:
                self._confinement.setup()
            self._process = subprocess.Popen(
                self._confinement.argv,
                cwd=self._folder,
                env=self._confinement.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                pass_fds=self._confinement.descriptors,
            )
        except BaseException as error:
            self._failure = error
            return
        finally:
            os.close(self._output)
        self._is_ready()
        if self._abandoned:
            self.abandon()
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):  # a program that ignores SIGCHLD has no zombies
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self.reap()
        if self._confinement.keeper:
            self._wait_for_the_kept()

    def _wait_for_the_kept(self) -> None:
        """What a keeper kept is dying when it has ended, and has not died yet."""
        end = time.monotonic() + _DYING_S
        while sys.platform == "linux" and members_now(self.pid) and time.monotonic() < end:
            time.sleep(0.001)
        if sys.platform == "linux":
            bury(self.pid)

    def _is_ready(self) -> None:
        self._ready.set()
        if self._tell is not None:
            self._tell()
