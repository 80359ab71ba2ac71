"""Pace: when something is to happen, and how a follower in another process can tell how long ago that was.

Each thing carries the time at which it was due, not the one at which it was made: a server that falls behind its own pace
is late, and does not hide it by making less. All processes of a machine share the clock.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

END = b'"type":"session.status_idle"'
"""What ends a paced answer for its followers."""


@dataclass(frozen=True)
class Pace:
    """`count` things, `per_s` of them in a second; 0: without a pause."""

    count: int
    per_s: float

    @property
    def prompt(self) -> str:
        """What a model, or the floor, is to be told."""
        return f"{self.count} at {self.per_s:g}"

    @staticmethod
    def of(prompt: str) -> Pace | None:
        found = re.fullmatch(r"(\d+) at (\S+)", prompt)
        return None if found is None else Pace(int(found[1]), float(found[2]))


async def when(pace: Pace, session: str) -> AsyncIterator[int]:
    """The times at which each was due, as they come. Sessions begin at different moments of the interval, as models do.
    What is late comes at once, without a turn of the loop between: so does what has piled up on a socket."""
    interval = 0 if pace.per_s == 0 else int(1e9 / pace.per_s)
    due = time.monotonic_ns() + interval * (zlib.crc32(session.encode()) % 1000) // 1000
    for _ in range(pace.count):
        if interval == 0:
            due = time.monotonic_ns()
        left = due - time.monotonic_ns()
        if left > 0:
            await asyncio.sleep(left / 1e9)
        yield due
        due += interval


def told(due: int) -> str:
    return f"@{due};"


_TOLD = re.compile(rb'(?:"content_delta"[^\n]*?"text"|"title"):"(@[^"]*)"')
"""In a delta or a title: a whole answer repeats the deltas it was made of."""


def heard(frames: bytes) -> list[int]:
    """The times told in these frames."""
    return [int(due) for text in _TOLD.findall(frames) for due in text.replace(b"@", b"").split(b";")[:-1]]
