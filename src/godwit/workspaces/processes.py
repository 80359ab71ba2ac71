"""Which processes belong to a command: those of the session that its first process leads, and those that descend from it.

Leaves out ending them. Rule: dead ones that wait for a parent that may never look are not counted.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress


async def members(leader: int) -> list[int]:
    """The living processes of the session that the command's shell leads."""
    if sys.platform == "linux":
        return members_now(leader)
    listing = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,stat=", stdout=subprocess.PIPE)
    text, _ = await listing.communicate()
    rows = [line.split() for line in text.decode(errors="replace").splitlines()]
    return [int(row[0]) for row in rows if len(row) > 1 and "Z" not in row[1] and _session(int(row[0])) == leader]


def members_now(leader: int) -> list[int]:
    """The same, found without waiting; on Linux only."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if _session(pid) == leader and _state(pid)[:1] not in ([], [b"Z"], [b"X"])]


def bury(leader: int) -> None:
    """Take notice of the dead of that session whose parents have gone and who were left to us, as a container's first
    process is: nobody else would, and they would be listed for ever. On Linux only."""
    for name in os.listdir("/proc"):
        pid = int(name) if name.isdigit() else leader
        if pid != leader and _session(pid) == leader and _state(pid)[:2] == [b"Z", str(os.getpid()).encode()]:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants(leader: int) -> list[int]:
    """What the process has started, and what that has, without itself."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and len(state := _state(int(name))) > 1:
            children.setdefault(int(state[1]), []).append(int(name))
    found = []
    waiting = children.get(leader, [])
    while waiting:
        found += waiting
        waiting = [child for pid in waiting for child in children.get(pid, [])]
    return found


def _state(pid: int) -> list[bytes]:
    """Its state (Z and X: dead, and waiting for a parent that may never look), its parent and more; nothing when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
