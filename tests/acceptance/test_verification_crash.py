"""SIGKILL in the middle of a verification, and what must hold after a new process has finished the run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import RunFinished, ToolFinished, UserMessage, VerificationReported
from godwit.core.messages import text_of
from godwit.core.transcript import transcript_of

from .deaths import Mortal, assert_continued, log_of
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


async def look(database: Path) -> Log:
    ran = database.with_suffix("") / "ran"
    events = await log_of(database, SESSION)
    return Log(events, Counter(ran.read_text().split()) if ran.exists() else Counter())


MORTAL = Mortal("verification_script", look)


def check(point: str, undisturbed: Log, at_death: Log, after: Log) -> None:
    assert_continued(point, at_death.events, after.events)
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
    ended, log = await MORTAL.undisturbed(tmp_path)
    assert ended.lines[0] == "done|True|Now it is."
    assert log.ran == log.completed() == Counter(one=2, two=2, three=2)
    assert [r.status for r in log.reports()] == ["failed", "passed"]
    return log, ended.points("before", "after", "output")


async def try_points(tmp_path: Path, undisturbed: Log, chosen: list[str]) -> None:
    for death in await MORTAL.deaths(tmp_path, chosen):
        check(death.point, undisturbed, death.found, death.after)


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
