"""SIGKILL at every point of the log, and what must hold after a new process has finished the run.

`scripts/prove` tries every point; `scripts/test` a seeded sample.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import AgentMessage, InputDelivered, RunClaimed, RunFinished, ToolFinished, ToolStarted, UserMessage
from godwit.core.messages import Assistant, Message, ToolResult
from godwit.core.transcript import problems, transcript_of

from .crash_script import SCRIPT, SESSION
from .deaths import Mortal, assert_continued, log_of

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


async def look(database: Path) -> Log:
    path = database.with_suffix(".ledger")
    lines = path.read_text().splitlines() if path.exists() else []
    events = await log_of(database, SESSION)
    return Log(events, [json.loads(line) for line in lines], transcript_of(events).messages)


MORTAL = Mortal("crash_script", look)


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
    assert_continued(point, at_death.events, after.events)
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
    ended, log = await MORTAL.undisturbed(tmp_path)
    return log, ended.points("before", "after", "effect", "chunk")


async def try_points(tmp_path: Path, undisturbed: Log, chosen: list[str]) -> int:
    """Die at each point and go on; returns the number of unknown calls in all."""
    deaths = await MORTAL.deaths(tmp_path, chosen)
    return sum(check(death.point, undisturbed, death.found, death.after) for death in deaths)


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
    deaths = MORTAL.again_and_again(database, lambda _: "chunk:1", fewer_than=10)
    assert deaths == 6, "the first driver and five takeovers"
    log = await look(database)
    finished = next(e.data for e in log.events if isinstance(e.data, RunFinished))
    assert finished.outcome == "failed"
    assert finished.error is not None
    assert finished.error.code == "too_many_takeovers"


@pytest.mark.slow
async def test_dying_again_and_again(tmp_path: Path) -> None:
    """Each process dies after its first few appends, until one gets through."""
    undisturbed, _ = await points(tmp_path)
    database = tmp_path / "again.db"
    deaths = MORTAL.again_and_again(database, lambda before: f"after:{7 + before % 5}", fewer_than=60)
    after = await look(database)
    print(f"{deaths} deaths on the way")
    assert deaths > 3
    check("again and again", undisturbed, Log([], []), after)
