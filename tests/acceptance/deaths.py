"""Deaths of a process at a point of its choice, and what is found after: shared by the crash tests and their scripts.

A script is run as `python -m tests.acceptance.SCRIPT DATABASE POINT`. POINT is `none`, or a place and its number from 1:
`before:7` kills the process when it comes to that place for the seventh time, by SIGKILL, with no cleaning up. The same
command again goes on from the log. A script that comes to its end prints how often it came to each place.

`Point` and `DyingStore` are the script's part, `Mortal` is the test's. Nothing is simulated: the process that dies is real,
so is the file, and the next process is a new one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from godwit.contracts import Appended
from godwit.core.events import Draft
from godwit.core.ids import Seq, SessionId
from godwit.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S

Found = TypeVar("Found")
ROOT = Path(__file__).parents[2]


# --- in the process that dies -----------------------------------------------------------------------------------------


class Point:
    """Where this process dies."""

    def __init__(self, text: str) -> None:
        place, _, number = text.partition(":")
        self.place = place
        self.number = int(number or 0)
        self.counts: dict[str, int] = {}

    def here(self, place: str) -> None:
        self.counts[place] = self.counts.get(place, 0) + 1
        if place == self.place and self.counts[place] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def survived(self) -> None:
        """Say how often this process came to each place."""
        for place, count in self.counts.items():
            print(f"{place}={count}")


class DyingStore(SqliteStore):
    """The real store, around whose appends the process may die."""

    point: Point

    async def create(self, session: SessionId, events: Sequence[Draft], *, key: str | None = None) -> Appended:
        self.point.here("before")
        appended = await super().create(session, events, key=key)
        self.point.here("after")
        return appended

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended:
        self.point.here("before")
        appended = await super().append(session, events, epoch=epoch, expect=expect, key=key)
        self.point.here("after")
        return appended


# --- in the process that looks ----------------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How a script ended: whether it killed itself, and what it printed."""

    killed: bool
    lines: list[str]

    def points(self, *places: str) -> list[str]:
        """Every point of these places at which it could have died."""
        counts = dict(line.split("=") for line in self.lines if "=" in line)
        return [f"{place}:{number}" for place in places for number in range(1, int(counts[place]) + 1)]


def but_the_last(points: Sequence[str], few: int) -> list[str]:
    """All but the last few points of each place: which of them is the last depends on what happens side by side, and a
    process that goes another way may not come to it."""
    of_places: dict[str, list[str]] = {}
    for point in points:
        of_places.setdefault(point.partition(":")[0], []).append(point)
    return [point for those in of_places.values() for point in those[:-few]]


class Death(NamedTuple, Generic[Found]):
    """What was found when a process had died at the point, and what when another had gone on to the end."""

    point: str
    found: Found
    after: Found


@dataclass(frozen=True)
class Mortal(Generic[Found]):
    """A script, and how to look at what it left beside and in a database."""

    script: str
    look: Callable[[Path], Awaitable[Found]]

    def run(self, database: Path, point: str = "none") -> Ended:
        """One process. It either comes to its end or dies at the point; all else is an error."""
        done = subprocess.run(
            [sys.executable, "-m", f"tests.acceptance.{self.script}", str(database), point],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(f"{point}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return Ended(done.returncode != 0, done.stdout.splitlines())

    async def undisturbed(self, folder: Path) -> tuple[Ended, Found]:
        """A run in which nobody dies."""
        database = folder / "undisturbed.db"
        ended = self.run(database)
        assert not ended.killed
        return ended, await self.look(database)

    async def deaths(self, folder: Path, points: Iterable[str]) -> list[Death[Found]]:
        """Die at each point, and go on in another process."""
        chosen = {point: folder / f"{point.replace(':', '-')}.db" for point in points}

        def kill(point: str) -> None:
            assert self.run(chosen[point], point).killed, f"{point} was never reached"

        def finish(database: Path) -> None:
            assert not self.run(database).killed

        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            list(pool.map(kill, chosen))
            found = [await self.look(database) for database in chosen.values()]
            list(pool.map(finish, chosen.values()))
        after = [await self.look(database) for database in chosen.values()]
        return [Death(*one) for one in zip(chosen, found, after, strict=True)]

    def again_and_again(self, database: Path, point: Callable[[int], str], fewer_than: int) -> int:
        """Each process dies, at a point by the number of deaths before, until one gets through. Returns how many died."""
        deaths = 0
        while self.run(database, point(deaths)).killed:
            deaths += 1
            assert deaths < fewer_than
        return deaths


async def log_of(database: Path, session: str) -> list[Any]:
    """The events of the session; none when the database has no such session."""
    store = SqliteStore.open(database)
    try:
        return await store.read(SessionId(session)) if await store.sessions(prefix=session) else []
    finally:
        await store.close()


def assert_continued(point: str, before: list[Any], after: list[Any]) -> None:
    """The log has no gap, and what was in it is as it was."""
    seqs = [e.seq for e in after]
    assert seqs == list(range(1, len(seqs) + 1)), f"{point}: a gap"
    assert after[: len(before)] == before, f"{point}: the past changed"
