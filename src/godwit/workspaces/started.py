"""A process that was started in a thread of its own, which takes the confinement on first and then waits for its end.

What a thread does to itself (rights, filters, Landlock) its children inherit, and the rest of this program does not. So
there is no code of ours between fork and exec, which in a program with threads may hang, and no helper program to start
first, which costs 10 ms. The thread lives as long as the process, since Linux kills a `bwrap --die-with-parent` when the
thread that started it ends. Rules: the process is only waited for by `Started`; until `reap` it stays there as a zombie
where the system can do that, so that its pid means nobody else.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

from ..contracts import Confinement


class Started:
    """The running process, whose confinement is over with it. Raises OSError, and whatever the confinement's `setup` does.

    `output`: the descriptor that stdout and stderr go to. `ended`: called in another thread once it has ended.
    """

    def __init__(
        self, confinement: Confinement, *, folder: str, output: int, ended: Callable[[], None] | None = None
    ) -> None:
        self._confinement = confinement
        self._folder = folder
        self._output = output
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._over = threading.Event()
        self._reaping = threading.Lock()
        # A daemon: when the interpreter ends, the watchdog and the kernel see to the process.
        threading.Thread(target=self._work, name="godwit command", daemon=True).start()
        self._ready.wait()
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

    def kill(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, 9)
        self._over.wait()
        self.reap()

    def _work(self) -> None:
        try:
            self._run()
        finally:
            if self._confinement.done is not None:
                self._confinement.done()
            self._over.set()
            if self._failure is None and self._ended is not None:
                self._ended()
            self._ready.set()

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
        self._ready.set()
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):  # a program that ignores SIGCHLD has no zombies
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self.reap()
