"""SIGKILL anywhere in a tree of sessions, and what must hold after a new process has gone on with it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import RunFinished, SubagentFinished, SubagentStarted, UserMessage
from godwit.core.ids import SessionId
from godwit.core.transcript import transcript_of
from godwit.stores.sqlite import SqliteStore

from .deaths import Mortal, assert_continued, but_the_last
from .subagents_script import SESSION
from .test_crash import told

SAMPLE = 4
SEED = 20261126


@dataclass
class Tree:
    """What a database holds: the log of each session, and the effects by their keys."""

    logs: dict[SessionId, list[Any]]
    effects: set[str]

    def of(self, kind: type[Any]) -> list[tuple[SessionId, Any]]:
        return [(s, e.data) for s, log in self.logs.items() for e in log if isinstance(e.data, kind)]


async def look(database: Path) -> Tree:
    store = SqliteStore.open(database)
    try:
        rows = await store.sessions(limit=1000)
        logs = {row.id: await store.read(row.id) for row in sorted(rows, key=lambda r: r.id)}
    finally:
        await store.close()
    notes = database.with_suffix(".effects")
    return Tree(logs, set(notes.read_text().splitlines()) if notes.exists() else set())


MORTAL = Mortal("subagents_script", look)


def check(point: str, undisturbed: Tree, at_death: Tree, after: Tree) -> None:
    # The same sessions, whatever died: none is made twice, none is left out.
    assert set(after.logs) == set(undisturbed.logs), point
    assert after.effects == undisturbed.effects, point
    for session, log in after.logs.items():
        assert_continued(f"{point}, {session}", at_death.logs.get(session, []), log)
        started = [e.data.task for e in log if isinstance(e.data, SubagentStarted)]
        finished = [e.data.task for e in log if isinstance(e.data, SubagentFinished)]
        assert sorted(started) == sorted(finished), f"{point}, {session}: a task ended not once"
        assert {e.data.outcome for e in log if isinstance(e.data, RunFinished)} == {"done"}, f"{point}, {session}"
        # What each task came to, and the messages that tell of those in the background, once each.
        ends = {e.data.task: (e.data.status, e.data.output) for e in log if isinstance(e.data, SubagentFinished)}
        theirs = undisturbed.logs[session]
        assert ends == {e.data.task: (e.data.status, e.data.output) for e in theirs if isinstance(e.data, SubagentFinished)}
        senders = sorted(e.data.sender or "" for e in log if isinstance(e.data, UserMessage))
        assert senders == sorted(e.data.sender or "" for e in theirs if isinstance(e.data, UserMessage)), (
            f"{point}, {session}"
        )
        assert told(transcript_of(log).messages) == told(transcript_of(theirs).messages), f"{point}, {session}"


async def points(folder: Path) -> tuple[Tree, list[str]]:
    ended, tree = await MORTAL.undisturbed(folder)
    assert len(tree.logs) == 1 + 3 + 6
    assert len(tree.effects) == 6
    assert {finished.status for _, finished in tree.of(SubagentFinished)} == {"completed"}
    assert len([m for s, m in tree.of(UserMessage) if s == SESSION]) == 2
    return tree, ended.points("before", "after")


async def try_points(folder: Path, undisturbed: Tree, chosen: list[str]) -> None:
    for death in await MORTAL.deaths(folder, chosen):
        check(death.point, undisturbed, death.found, death.after)


async def test_a_process_killed_in_the_middle_of_a_tree(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    await try_points(tmp_path, undisturbed, random.Random(SEED).sample(places, SAMPLE))


@pytest.mark.slow
async def test_every_kill_point_of_a_tree(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    reached = but_the_last(places, 10)
    print(f"{len(reached)} kill points")
    await try_points(tmp_path, undisturbed, reached)


@pytest.mark.slow
async def test_dying_again_and_again(tmp_path: Path) -> None:
    undisturbed, _ = await points(tmp_path)
    database = tmp_path / "again.db"
    deaths = MORTAL.again_and_again(database, lambda n: f"{('before', 'after')[n % 2]}:{7 + n % 5}", fewer_than=200)
    print(f"{deaths} deaths")
    check("again and again", undisturbed, Tree({}, set()), await look(database))
