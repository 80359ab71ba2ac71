"""Sees to it that commands do not outlive this process, however it dies.

A process killed by SIGKILL cannot clean up, and Linux' own parent-death signal reaches a command's shell but not what the
shell started. So the first command starts one small `sh` beside us (about 1 MB, 1-2 ms, once per process) that reads from a
pipe which command is running. When we die the pipe ends; it kills what is left and goes. Covers macOS as well. Leaves out
the ordinary ending of commands. Rules: nothing here may raise into a command's run, and the pipe's end must never be
inherited.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import threading
from contextlib import suppress

# Each line is `+ pid` or `- pid`, the pid of a command's session. pkill also finds members that made a process group of
# their own.
_SCRIPT = """
trap '' HUP INT TERM
running=' '
while read -r what pid; do
  case $what in
    +) running="$running$pid " ;;
    -) case $running in *" $pid "*) running="${running%% $pid *} ${running#* $pid }" ;; esac ;;
  esac
done
for pid in $running; do
  kill -9 "-$pid"
  pkill -9 -s "$pid"
done
exit 0
"""


class Watchdog:
    """Knows the sessions (pids of their leaders) of running commands. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, leader: int) -> None:
        with self._lock:
            self._running.add(leader)
            if self._process is None or not self._say(f"+ {leader}\n"):
                self._start()

    def remove(self, leader: int) -> None:
        with self._lock:
            self._running.discard(leader)
            self._say(f"- {leader}\n")

    def close(self) -> None:
        """End the process beside us and what it still knows of."""
        with self._lock:
            process, self._process = self._process, None
            self._end(process)

    def forget(self) -> None:
        """In a forked child: the process belongs to the parent, and its pipe must not stay open here."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        self._running = set()
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.returncode = 0  # not our child: nothing to wait for

    def _say(self, line: str) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            os.write(self._process.stdin.fileno(), line.encode())
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False
        return True

    def _start(self) -> None:
        old, self._process = self._process, None
        self._end(old)
        shell = shutil.which("sh")
        if shell is None:
            return
        try:
            self._process = subprocess.Popen(
                [shell, "-c", _SCRIPT],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except OSError:
            return
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        for leader in self._running:
            self._say(f"+ {leader}\n")

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


WATCHDOG = Watchdog()
atexit.register(WATCHDOG.close)
os.register_at_fork(after_in_child=WATCHDOG.forget)
