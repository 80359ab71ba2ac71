"""SIGKILL anywhere while subagents are asked again and again, by tasks that go on with one and by `SubagentSession`."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from godwit.core.events import InputDelivered, SubagentFinished, SubagentStarted, UserMessage
from godwit.core.ids import SessionId
from godwit.core.messages import User, text_of
from godwit.core.transcript import transcript_of

from .continue_script import LINES, POET, SESSION
from .deaths import Mortal, but_the_last
from .test_subagents_crash import Tree, check, look

SAMPLE = 2
SEED = 20261126
MORTAL = Mortal("continue_script", look)


def check_sends(point: str, database: Path, after: Tree) -> None:
    """What each session was asked, and what the sink was told by the processes that did not die in between."""
    for session, log in after.logs.items():
        asked = [text_of(m.content) for m in transcript_of(log).messages if isinstance(m, User)]
        assert len(asked) == len(set(asked)), f"{point}, {session}: asked twice"
        delivered = Counter(e.data.id for e in log if isinstance(e.data, InputDelivered))
        assert max(delivered.values()) == 1, f"{point}, {session}"
    poet = after.logs[SessionId(POET)]
    assert tuple(text_of(m.content) for m in transcript_of(poet).messages if isinstance(m, User)) == LINES
    assert len([e for e in poet if isinstance(e.data, UserMessage)]) == len(LINES), f"{point}: a retry asked again"
    ends = [e.data for e in after.logs[SessionId(SESSION)] if isinstance(e.data, SubagentFinished) and e.data.child == POET]
    assert [d.status for d in ends] == ["completed"] * len(LINES), point
    lines = [line.split() for line in database.with_suffix(".sink").read_text().splitlines()]
    survived = {pid for pid, kind, *_ in lines if kind == "survived"}
    assert len(survived) == 1
    for pid in {pid for pid, *_ in lines}:
        kinds = [(kind, turn[0]) for by, kind, *turn in lines if by == pid and turn]
        open_turn = None
        for kind, turn in kinds:
            if kind == "started":
                assert open_turn is None, f"{point}: {kinds}"
                open_turn = turn
            elif kind == "reused":
                assert open_turn == turn
                assert turn != "0"
            else:
                assert open_turn == turn, f"{point}: {kinds}"
                open_turn = None
        # Only of a process that died a send may have no end.
        assert open_turn is None or pid not in survived, f"{point}: {kinds}"


async def points(folder: Path) -> tuple[Tree, list[str]]:
    ended, tree = await MORTAL.undisturbed(folder)
    assert len(tree.logs) == 3
    assert len(tree.effects) == 6
    started = [data for _, data in tree.of(SubagentStarted)]
    assert [data.reused for data in started] == [0, 1, 2, 0, 1, 2]
    assert [line for line in ended.lines if line.startswith("said")] == [
        f"said {x}, number {n}" for n, x in enumerate(LINES, 1)
    ]
    check_sends("undisturbed", folder / "undisturbed.db", tree)
    return tree, ended.points("before", "after")


async def try_points(folder: Path, undisturbed: Tree, chosen: list[str]) -> None:
    for death in await MORTAL.deaths(folder, chosen):
        check(death.point, undisturbed, death.found, death.after)
        check_sends(death.point, folder / f"{death.point.replace(':', '-')}.db", death.after)


async def test_a_process_killed_while_a_subagent_is_asked_again(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    await try_points(tmp_path, undisturbed, random.Random(SEED).sample(places, SAMPLE))


@pytest.mark.slow
async def test_every_kill_point_while_a_subagent_is_asked_again(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    reached = but_the_last(places, 3)
    print(f"{len(reached)} kill points")
    await try_points(tmp_path, undisturbed, reached)


@pytest.mark.slow
async def test_dying_again_and_again_while_a_subagent_is_asked_again(tmp_path: Path) -> None:
    undisturbed, _ = await points(tmp_path)
    database = tmp_path / "again.db"
    deaths = MORTAL.again_and_again(database, lambda n: f"{('before', 'after')[n % 2]}:{5 + n % 5}", fewer_than=200)
    print(f"{deaths} deaths")
    after = await look(database)
    check("again and again", undisturbed, Tree({}, set()), after)
    check_sends("again and again", database, after)
