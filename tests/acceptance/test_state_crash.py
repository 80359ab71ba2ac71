"""SIGKILL around the appends of a run that changes the shared state: each change is made once, and its result says so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from godwit.core.events import Event, StateUpdated, ToolFinished
from godwit.core.transcript import transcript_of

from .deaths import Mortal, assert_continued, log_of
from .state_script import SESSION
from .test_crash import told

SAMPLE = 3
SEED = 20261127
END = 'done|Done.|{"list": [0, 1, 2, 4, 5], "set": true}'


async def look(database: Path) -> list[Event]:
    return await log_of(database, SESSION)


MORTAL = Mortal("state_script", look)


def changes(events: list[Event]) -> list[tuple[object, ...]]:
    return sorted((e.data.call or "", repr(e.data.patch)) for e in events if isinstance(e.data, StateUpdated))


def check(point: str, undisturbed: list[Event], at_death: list[Event], after: list[Event]) -> None:
    assert_continued(point, at_death, after)
    # What a function does again is stored again where it changes something; here it does not.
    assert changes(after) == changes(undisturbed), point
    assert [(e.data.call, e.data.status) for e in after if isinstance(e.data, ToolFinished)] == [
        (e.data.call, e.data.status) for e in undisturbed if isinstance(e.data, ToolFinished)
    ], point
    assert told(transcript_of(after).messages) == told(transcript_of(undisturbed).messages), point


async def points(tmp_path: Path) -> tuple[list[Event], list[str]]:
    ended, log = await MORTAL.undisturbed(tmp_path)
    assert ended.lines[0] == END
    return log, ended.points("before", "after")


async def try_points(tmp_path: Path, undisturbed: list[Event], chosen: list[str]) -> None:
    for death in await MORTAL.deaths(tmp_path, chosen):
        check(death.point, undisturbed, death.found, death.after)


async def test_a_process_killed_around_a_change_of_the_state(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    await try_points(tmp_path, undisturbed, random.Random(SEED).sample(places[2:], SAMPLE))


@pytest.mark.slow
async def test_every_kill_point_of_a_run_that_changes_the_state(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    print(f"{len(places)} kill points")
    assert len(places) > 20
    await try_points(tmp_path, undisturbed, places)
