"""Attempts to see and to stop the processes of others."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import Any

from .means import PTRACE_SEIZE, Attempt, done, in_a_child, traced


def see(facts: Any) -> Any:
    for who in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            with open(f"/proc/{who}/cmdline", "rb") as file:
                if facts["other_mark"].encode() in file.read():
                    return f"it is {who}"
    raise PermissionError("nobody there")


def shared_segments(facts: Any) -> Any:
    with open("/proc/sysvipc/shm") as file:
        rows = [row.split() for row in file.read().splitlines()[1:]]
    if any(int(row[0]) == facts["segment_key"] for row in rows):
        return "there is its memory"
    raise PermissionError("none")


PROCESSES: dict[str, Attempt] = {
    "see": see,
    "signal_it": lambda facts: done(os.kill, facts["other"], signal.SIGTERM),
    "signal_its_group": lambda facts: done(os.killpg, facts["other"], signal.SIGTERM),
    "take_hold_of_it": lambda facts: f"held by {os.pidfd_open(facts['other'])}",
    "trace_it": in_a_child(lambda facts: traced(PTRACE_SEIZE, facts["other"])),
    "slow_it_down": lambda facts: done(os.setpriority, os.PRIO_PROCESS, facts["other"], 19),
    "limit_it": lambda facts: done(resource.prlimit, facts["other"], resource.RLIMIT_CORE, (0, 0)),
    "shared_segments": shared_segments,
    "its_terminal": lambda _facts: f"terminal {os.open('/dev/tty', os.O_RDWR)}",
}
