"""SIGKILL at every point of the log, and what must hold after a new process has finished the run.

`scripts/prove` tries every point; `scripts/test` a seeded sample. Nothing here is simulated: the process that dies is real,
so is the file, and the next process is a new one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import AgentMessage, InputDelivered, RunClaimed, RunFinished, ToolFinished, ToolStarted, UserMessage
from godwit.core.ids import SessionId
from godwit.core.messages import Assistant, Message, ToolResult
from godwit.core.transcript import problems, transcript_of
from godwit.stores.sqlite import SqliteStore

from .crash_script import SCRIPT, SESSION

REPEATABLE = ("peek", "meet")
SAMPLE = 14
SEED = 20261121


@dataclass
class Log:
    """What a database holds of the session, and what the ledger beside it says."""

    events: list[Any]
    ledger: list[dict[str, Any]]
    messages: tuple[Message, ...] = field(default=())

    def facts(self, kind: str) -> list[dict[str, Any]]:
        return [f for f in self.ledger if f["kind"] == kind]


async def read(database: Path) -> Log:
    path = database.with_suffix(".ledger")
    lines = path.read_text().splitlines() if path.exists() else []
    store = SqliteStore.open(database)
    try:
        rows = await store.sessions(prefix=SESSION)
        events = await store.read(SessionId(SESSION)) if rows else []
    finally:
        await store.close()
    return Log(events, [json.loads(line) for line in lines], transcript_of(events).messages)


def run(database: Path, point: str) -> int:
    """The script's exit code; negative is the signal that ended it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.crash_script", str(database), point],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"{point}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.returncode


def told(messages: tuple[Message, ...]) -> list[tuple[Any, ...]]:
    """A transcript without what differs from run to run: message ids."""
    out: list[tuple[Any, ...]] = []
    for message in messages:
        if isinstance(message, ToolResult):
            out.append(("tool", message.call_id, message.name, message.status, message.text))
        elif isinstance(message, Assistant):
            out.append(("assistant", message.content, message.complete))
        else:
            out.append(("user", message.content))
    return out


def check(point: str, undisturbed: Log, at_death: Log, after: Log) -> int:
    """Every promise; returns how many calls were reported as of unknown outcome."""
    seqs = [e.seq for e in after.events]
    assert seqs == list(range(1, len(seqs) + 1)), f"{point}: a gap"
    assert after.events[: len(at_death.events)] == at_death.events, f"{point}: the past changed"
    assert {f["outcome"] for f in after.facts("finished")} == {"done"}, point
    assert not list(problems(after.messages)), point

    # No input that was acknowledged is lost, and none is there twice.
    inputs = [e.data.id for e in after.events if isinstance(e.data, UserMessage)]
    delivered = [e.data.id for e in after.events if isinstance(e.data, InputDelivered)]
    assert len(inputs) == len(set(inputs)) == 3, f"{point}: {inputs}"
    assert sorted(delivered) == sorted(inputs), point

    # The transcript is the undisturbed one, apart from calls that were in doubt.
    unknown = 0
    assert len(after.messages) == len(undisturbed.messages), point
    for mine, theirs in zip(told(after.messages), told(undisturbed.messages), strict=True):
        if mine != theirs:
            assert mine[:3] == theirs[:3], f"{point}: {mine} for {theirs}"
            assert mine[0] == "tool", f"{point}: {mine} for {theirs}"
            assert mine[3] == "unknown", f"{point}: {mine} for {theirs}"
            assert "unknown" in mine[4], point
            assert mine[2] not in REPEATABLE, f"{point}: a repeatable call was given up"
            unknown += 1

    # Effects: one that must not happen twice happened at most once, and exactly once unless it was in doubt.
    effects: dict[str, list[dict[str, Any]]] = {}
    for effect in after.facts("effect"):
        effects.setdefault(effect["call"], []).append(effect)
    for result in (m for m in after.messages if isinstance(m, ToolResult)):
        times = effects.get(result.call_id, [])
        if result.name not in REPEATABLE:
            assert len(times) <= 1, f"{point}: {result.name} happened {len(times)} times"
        if result.status == "ok":
            assert times, f"{point}: {result.name} never happened"
        assert len({t["key"] for t in times}) <= 1, f"{point}: the idempotency key changed"

    # What a person or a hook has changed is what was run, whoever ran it.
    names = {f["name"] for f in after.facts("effect")}
    assert not names & {"pay 5", "bump i"}, f"{point}: {names}"
    started = {e.data.call: e.data.arguments for e in after.events if isinstance(e.data, ToolStarted)}
    for effect in after.facts("effect"):
        assert effect["name"].split(" ", 1)[1] == str(next(iter(started[effect["call"]].values()))), point

    # No call began that the gate had not let pass, though it may have been asked again.
    begun = {e.data.call for e in after.events if isinstance(e.data, ToolStarted) and e.data.name == "bump"}
    assert begun <= {f["call"] for f in after.facts("let")}, point

    # What was complete at the death was never done again.
    done_calls = {e.data.call for e in at_death.events if isinstance(e.data, ToolFinished)}
    answers = sum(1 for e in at_death.events if isinstance(e.data, AgentMessage))
    first = at_death.ledger[0]["pid"] if at_death.ledger else None
    for fact in after.ledger:
        if fact["pid"] != first and first is not None:
            assert not (fact["kind"] == "effect" and fact["call"] in done_calls), f"{point}: {fact} was done before"
            assert not (fact["kind"] == "asked" and fact["place"] < answers), f"{point}: {fact} was answered before"
    attempts = [e.data.attempt for e in after.events if isinstance(e.data, RunClaimed)]
    assert attempts == sorted(attempts), point
    return unknown


async def points(tmp_path: Path) -> tuple[Log, list[str]]:
    """The undisturbed run, and every point at which a process of this session can die."""
    database = tmp_path / "undisturbed.db"
    assert run(database, "none") == 0
    log = await read(database)
    counts = log.facts("counts")[0]
    places = [
        f"{place}:{number}"
        for place in ("before", "after", "effect", "chunk")
        for number in range(1, int(counts[place]) + 1)
    ]
    return log, places


async def try_points(tmp_path: Path, undisturbed: Log, chosen: list[str]) -> int:
    """Die at each point and go on; returns the number of unknown calls in all."""

    def kill(point: str) -> Path:
        database = tmp_path / f"{point.replace(':', '-')}.db"
        assert run(database, point) == -signal.SIGKILL, f"{point} was never reached"
        return database

    def finish(database: Path) -> None:
        assert run(database, "none") == 0

    unknown = 0
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        databases = list(pool.map(kill, chosen))
        deaths = [await read(d) for d in databases]
        list(pool.map(finish, databases))
    for point, database, death in zip(chosen, databases, deaths, strict=True):
        unknown += check(point, undisturbed, death, await read(database))
    return unknown


async def test_a_seeded_sample_of_kill_points(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    assert len(places) > 100, f"only {len(places)} points"
    assert len([e for e in undisturbed.events if isinstance(e.data, AgentMessage)]) == len(SCRIPT)
    chosen = random.Random(SEED).sample(places, SAMPLE)
    unknown = await try_points(tmp_path, undisturbed, chosen)
    print(f"{len(chosen)} of {len(places)} kill points tried, {unknown} calls reported as of unknown outcome")


@pytest.mark.slow
async def test_every_kill_point(tmp_path: Path) -> None:
    undisturbed, places = await points(tmp_path)
    unknown = await try_points(tmp_path, undisturbed, places)
    print(f"{len(places)} kill points tried, {unknown} calls reported as of unknown outcome")
    assert len(places) > 100
    assert unknown > 0, "no point hit a call between its effect and its record"


async def test_a_session_that_kills_its_drivers_is_given_up(tmp_path: Path) -> None:
    """A run whose every driver dies before it finishes a step must not take the host down for ever."""
    database = tmp_path / "poison.db"
    deaths = 0
    while run(database, "chunk:1") != 0:
        deaths += 1
        assert deaths < 10
    assert deaths == 6, "the first driver and five takeovers"
    log = await read(database)
    finished = next(e.data for e in log.events if isinstance(e.data, RunFinished))
    assert finished.outcome == "failed"
    assert finished.error is not None
    assert finished.error.code == "too_many_takeovers"


@pytest.mark.slow
async def test_dying_again_and_again(tmp_path: Path) -> None:
    """Each process dies after its first few appends, until one gets through."""
    undisturbed, _ = await points(tmp_path)
    database = tmp_path / "again.db"
    deaths = 0
    while run(database, f"after:{7 + deaths % 5}") != 0:
        deaths += 1
        assert deaths < 60
    after = await read(database)
    print(f"{deaths} deaths on the way")
    assert deaths > 3
    check("again and again", undisturbed, Log([], []), after)
