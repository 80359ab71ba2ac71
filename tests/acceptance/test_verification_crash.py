"""SIGKILL in the middle of a verification, and what must hold after a new process has finished the run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import RunFinished, ToolFinished, UserMessage, VerificationReported
from godwit.core.ids import SessionId
from godwit.core.messages import text_of
from godwit.core.transcript import transcript_of
from godwit.stores.sqlite import SqliteStore

from .test_crash import told
from .verification_script import SESSION

SAMPLE = 3
SEED = 20261126


@dataclass
class Log:
    """What a database holds of the session, and which checks had begun."""

    events: list[Any]
    ran: Counter[str]

    def completed(self) -> Counter[str]:
        """The checks that came to their end, by what they printed first."""
        done = [e.data for e in self.events if isinstance(e.data, ToolFinished) and e.data.origin == "verification"]
        return Counter(text_of(d.content).split()[0] for d in done if d.status != "unknown")

    def reports(self) -> list[Any]:
        return [e.data.report for e in self.events if isinstance(e.data, VerificationReported)]


async def read(database: Path) -> Log:
    ran = database.with_suffix("") / "ran"
    store = SqliteStore.open(database)
    try:
        rows = await store.sessions(prefix=SESSION)
        events = await store.read(SessionId(SESSION)) if rows else []
    finally:
        await store.close()
    return Log(events, Counter(ran.read_text().split()) if ran.exists() else Counter())


def run(database: Path, point: str) -> tuple[int, str]:
    """The script's exit code, negative for the signal that ended it, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.verification_script", str(database), point],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"{point}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.returncode, done.stdout


def check(point: str, undisturbed: Log, at_death: Log, after: Log) -> None:
    seqs = [e.seq for e in after.events]
    assert seqs == list(range(1, len(seqs) + 1)), f"{point}: a gap"
    assert after.events[: len(at_death.events)] == at_death.events, f"{point}: the past changed"
    finished = [e.data for e in after.events if isinstance(e.data, RunFinished)]
    assert [f.outcome for f in finished] == ["done"], point
    # Each verification is reported once, with the same statuses, and the model is told once what failed.
    shown = [[(c.id, c.status) for c in r.checks] for r in after.reports()]
    assert shown == [[(c.id, c.status) for c in r.checks] for r in undisturbed.reports()], point
    assert all(c.evidence for r in after.reports() for c in r.checks), point
    assert len([e for e in after.events if isinstance(e.data, UserMessage)]) == 2, point
    assert told(transcript_of(after.events).messages) == told(transcript_of(undisturbed.events).messages), point
    # What was completed is not run again; what was cut off is, once.
    again = after.ran - undisturbed.ran
    assert sum(again.values()) <= 1, f"{point}: {again} ran again"
    assert after.completed() == undisturbed.completed(), point
    for name in again:
        assert at_death.ran[name] > at_death.completed()[name], f"{point}: {name} had come to its end"


async def points(tmp_path: Path) -> tuple[Log, list[str]]:
    database = tmp_path / "undisturbed.db"
    code, out = run(database, "none")
    assert code == 0
    result, *counts = out.splitlines()
    assert result == "done|True|Now it is."
    log = await read(database)
    assert log.ran == log.completed() == Counter(one=2, two=2, three=2)
    assert [r.status for r in log.reports()] == ["failed", "passed"]
    numbers = dict(line.split("=") for line in counts)
    return log, [f"{p}:{n}" for p in ("before", "after", "output") for n in range(1, int(numbers[p]) + 1)]


async def try_points(tmp_path: Path, undisturbed: Log, chosen: list[str]) -> None:
    def kill(point: str) -> Path:
        database = tmp_path / f"{point.replace(':', '-')}.db"
        assert run(database, point)[0] == -signal.SIGKILL, f"{point} was never reached"
        return database

    def finish(database: Path) -> None:
        assert run(database, "none")[0] == 0

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        databases = list(pool.map(kill, chosen))
        deaths = [await read(d) for d in databases]
        list(pool.map(finish, databases))
    for point, database, death in zip(chosen, databases, deaths, strict=True):
        check(point, undisturbed, death, await read(database))


async def test_a_process_killed_in_the_middle_of_a_check(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    appends = [p for p in places if not p.startswith("output")]
    await try_points(tmp_path, undisturbed, ["output:2", *random.Random(SEED).sample(appends, SAMPLE)])


@pytest.mark.slow
async def test_every_kill_point_of_a_verification(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    print(f"{len(places)} kill points")
    assert len(places) > 30
    await try_points(tmp_path, undisturbed, places)
