"""SIGKILL around the appends of a run that is told to go on: no nudge is lost, and none is said twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import Event, GoalUpdated, InputDelivered, RunFinished, RunNudged, TodosUpdated, UserMessage
from godwit.core.transcript import transcript_of

from .deaths import Mortal, assert_continued, log_of
from .nudge_script import SESSION
from .test_crash import told

SAMPLE = 2
SEED = 20261126


async def look(database: Path) -> list[Event]:
    return await log_of(database, SESSION)


MORTAL = Mortal("nudge_script", look)


def of(events: list[Event], kind: Any) -> list[Any]:
    return [e.data for e in events if isinstance(e.data, kind)]


def check(point: str, undisturbed: list[Event], at_death: list[Event], after: list[Event]) -> None:
    assert_continued(point, at_death, after)
    assert [f.outcome for f in of(after, RunFinished)] == ["done"], point
    assert [(n.reasons, n.attempt) for n in of(after, RunNudged)] == [
        (n.reasons, n.attempt) for n in of(undisturbed, RunNudged)
    ], point
    # Each nudge has its message, said once and delivered once.
    nudges = [n.input for n in of(after, RunNudged)]
    assert [m.id for m in of(after, UserMessage) if m.sender == "nudge"] == nudges, point
    assert [d.id for d in of(after, InputDelivered) if d.id in nudges] == nudges, point
    assert [t.todos for t in of(after, TodosUpdated)] == [t.todos for t in of(undisturbed, TodosUpdated)], point
    assert [g.goal.status for g in of(after, GoalUpdated)] == ["open", "met"], point
    assert told(transcript_of(after).messages) == told(transcript_of(undisturbed).messages), point


async def points(tmp_path: Path) -> tuple[list[Event], list[str]]:
    ended, log = await MORTAL.undisturbed(tmp_path)
    assert ended.lines[0] == "done|Mended.|met|['completed', 'completed']"
    assert [n.attempt for n in of(log, RunNudged)] == [1, 1, 2]
    return log, ended.points("before", "after")


async def try_points(tmp_path: Path, undisturbed: list[Event], chosen: list[str]) -> None:
    for death in await MORTAL.deaths(tmp_path, chosen):
        check(death.point, undisturbed, death.found, death.after)


async def test_a_process_killed_around_a_nudge(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    await try_points(tmp_path, undisturbed, random.Random(SEED).sample(places[2:], SAMPLE))


@pytest.mark.slow
async def test_every_kill_point_of_a_run_that_is_nudged(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    print(f"{len(places)} kill points")
    assert len(places) > 20
    await try_points(tmp_path, undisturbed, places)
