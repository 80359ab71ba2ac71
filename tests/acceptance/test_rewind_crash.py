"""SIGKILL in the middle of checkpoints and restores, and what must hold after a new process has gone on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import RunFinished, SessionRewound, ToolFinished, WorkspaceCheckpointed, WorkspaceRestored
from godwit.testing import tree

from .deaths import Mortal, assert_continued, log_of
from .rewind_script import SESSION, fill

SAMPLE = 5
SEED = 20261127


@dataclass
class After:
    """What a database holds of the session, and what lies in its folder and in the ledger beside it."""

    events: list[Any]
    files: dict[str, Any]
    ledger: Counter[str]


async def look(database: Path) -> After:
    folder = database.with_suffix("")
    events = await log_of(database, SESSION)
    ledger = folder / "ledger"
    return After(events, tree(folder / "workspace"), Counter(ledger.read_text().split()) if ledger.exists() else Counter())


MORTAL = Mortal("rewind_script", look)


def check(point: str, initial: dict[str, Any], at_death: After, after: After) -> None:
    assert_continued(point, at_death.events, after.events)
    assert [e.data.outcome for e in after.events if isinstance(e.data, RunFinished)] == ["done", "done"], point
    # No effect twice; one that is recorded happened.
    assert all(count == 1 for count in after.ledger.values()), f"{point}: {after.ledger}"
    for event in after.events:
        if isinstance(event.data, ToolFinished) and event.data.name == "bash" and event.data.status == "ok":
            assert len(after.ledger) > 0, point
    # Each rewind once, its files back before anything else happened, and as the log says.
    data = [e.data for e in after.events]
    rewinds = [(n, d) for n, d in enumerate(data) if isinstance(d, SessionRewound)]
    assert len(rewinds) == 3, f"{point}: {len(rewinds)} rewinds"
    for place, rewound in rewinds:
        assert rewound.files is not None, point
        following = data[place + 1]
        assert isinstance(following, WorkspaceRestored), f"{point}: {following}"
        assert (following.ref, following.error, following.left) == (rewound.files, None, ()), point
        assert following.result == rewound.files, f"{point}: the files are not what the log says"
    assert rewinds[1][1].files == rewinds[0][1].undo, point
    # Every turn that changed files is kept on both sides.
    kept = Counter((d.turn, d.when) for d in data if isinstance(d, WorkspaceCheckpointed))
    for (turn, when), count in kept.items():
        assert count == kept[turn, "after" if when == "before" else "before"], f"{point}: {kept}"
    assert after.files == initial, f"{point}: the files are not those of the beginning"


async def points(tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    """The files of the beginning, and every point at which a process of this session can die."""
    fill(tmp_path / "initial")
    initial = tree(tmp_path / "initial")
    ended, after = await MORTAL.undisturbed(tmp_path)
    check("undisturbed", initial, After([], {}, Counter()), after)
    assert after.ledger == Counter(one=1, two=1)
    return initial, ended.points("before", "after", "take", "change")


async def try_points(tmp_path: Path, initial: dict[str, Any], chosen: list[str]) -> None:
    for death in await MORTAL.deaths(tmp_path, chosen):
        check(death.point, initial, death.found, death.after)


async def test_a_sample_of_deaths_between_files_and_log(tmp_path: Path) -> None:
    initial, places = await points(tmp_path)
    restores = [p for p in places if p.startswith("change")]
    chosen = random.Random(SEED).sample(places, SAMPLE - 2) + random.Random(SEED).sample(restores[len(restores) // 2 :], 2)
    await try_points(tmp_path, initial, chosen)


@pytest.mark.slow
async def test_every_death_between_files_and_log(tmp_path: Path) -> None:
    initial, places = await points(tmp_path)
    print(f"{len(places)} kill points")
    assert len(places) > 80
    await try_points(tmp_path, initial, places)


@pytest.mark.slow
async def test_dying_again_and_again_in_the_middle_of_a_rewind(tmp_path: Path) -> None:
    """Each process dies after a few changes of files, until one gets through."""
    initial, _ = await points(tmp_path)
    database = tmp_path / "again.db"
    deaths = MORTAL.again_and_again(database, lambda before: f"change:{8 + before % 12}", fewer_than=80)
    print(f"{deaths} deaths on the way")
    assert deaths > 3
    check("again and again", initial, After([], {}, Counter()), await look(database))
