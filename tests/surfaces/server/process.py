"""`godwit serve` as a process of its own, to be told to end, or killed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S
from tests.surfaces.terminal import environment


class Process:
    """`url`: its address, `log`: its lines on standard error so far."""

    def __init__(self, folder: Path, *flags: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "godwit", "serve", "--json", "--port", "0", *flags],
            cwd=folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE_S)
            self._reading.join()
            raise AssertionError("it did not start: " + "\n".join(self.log))
        self.started: dict[str, Any] = json.loads(line)
        self.url: str = self.started["url"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What it has logged of requests."""
        return [one for one in map(json.loads, self.log) if one.get("logger") == "godwit.access"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for its end; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reading.join()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reading.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextmanager
def serving(folder: Path, *flags: str, **env: str) -> Iterator[Process]:
    """With a setup in `folder`, see `setup`."""
    process = Process(folder, *flags, **env)
    try:
        yield process
    finally:
        process.close()


def setup(folder: Path, code: str) -> str:
    """Write a module of the user's into the folder; returns what to name with `--setup`."""
    (folder / "own_setup.py").write_text(textwrap.dedent(code))
    return "own_setup:runtime"
