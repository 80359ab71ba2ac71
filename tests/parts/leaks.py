"""What a process has open: file descriptors, children and tasks, counted before and after."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

from tests.patience import PATIENCE_S


class Open(NamedTuple):
    files: frozenset[str]
    children: frozenset[int]
    tasks: int


def opened() -> Open:
    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            files.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # that of the listing itself
    return Open(frozenset(files), frozenset(children()), len(asyncio.all_tasks()))


def children() -> set[int]:
    """Processes that this one has started, and that are not over."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and state != b"Z":
                found.add(int(name))
    return found


async def nothing_left(before: Open) -> None:
    """Wait until no more is open than before."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + PATIENCE_S
    while more_than(before, after := opened()):
        assert loop.time() < until_s, (
            f"left open: {after.files - before.files}, {after.children - before.children}, {asyncio.all_tasks()}"
        )
        await asyncio.sleep(0.02)


def more_than(before: Open, after: Open) -> bool:
    return len(after.files) > len(before.files) or bool(after.children - before.children) or after.tasks > before.tasks


def memory_mb() -> float:
    """Of this process, in use now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
