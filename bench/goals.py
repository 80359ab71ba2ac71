"""The goals, and how far away each is: what was measured against what was aimed at.

A goal whose measurement is not part of the run (another scenario, a surface that does not exist yet) stays unmeasured and
says so; it never counts as met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import lanes, server
from .measure import Bench
from .scenarios import ADAPTER, DIRECT, FLOOR, LIVE, SCRIPTED, STORED

Read = Callable[[Bench], float | None]


@dataclass(frozen=True)
class Goal:
    """`most`: the value must not be greater than `target`; otherwise not smaller. `full`: only the full sizes tell."""

    name: str
    target: float
    unit: str
    read: Read | None
    most: bool = True
    full: bool = False
    native: bool = False
    """It waits for native model clients: until then the provider's SDK decides it."""


@dataclass(frozen=True)
class Standing:
    goal: Goal
    value: float | None

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.goal.target if self.goal.most else self.value >= self.goal.target


def _value(scenario: str, subject: str, metric: str) -> Read:
    return lambda bench: bench.find(scenario, subject, metric)


def _over(scenario: str, subject: str, base: str, metric: str = "cpu") -> Read:
    def read(bench: Bench) -> float | None:
        value, floor = bench.find(scenario, subject, metric), bench.find(scenario, base, metric)
        return value / floor if value is not None and floor else None

    return read


def _share(scenario: str, base: str) -> Read:
    """What the live run costs beyond the model layer alone, as a part of it."""

    def read(bench: Bench) -> float | None:
        ratio = _over(scenario, LIVE, base)(bench)
        return None if ratio is None else ratio - 1

    return read


def _flat(subject: str) -> Read:
    def read(bench: Bench) -> float | None:
        sizes = bench.sizes.histories
        short = bench.find(f"history {sizes[0]}", subject, "second turn")
        long = bench.find(f"history {sizes[-1]}", subject, "second turn")
        return long / short if long is not None and short else None

    return read


def _longest(subject: str, *metrics: str) -> Read:
    def read(bench: Bench) -> float | None:
        chosen = metrics or ("open", "first turn", "next turn")
        found = [v for m in chosen if (v := bench.find("stall", subject, m)) is not None]
        return max(found) if found else None

    return read


def _idle(bench: Bench) -> float | None:
    each = [bench.find("memory", f"{n} idle sessions", "opened, each") for n in bench.sizes.idle]
    return None if not each or each[-1] is None else each[-1] * 10_000 / 1024


GOALS: tuple[Goal, ...] = (
    Goal(
        "answer of 200 chunks, followed: times the floor", 2, "x", _over("answer", f"{LIVE}, followed", FLOOR), native=True
    ),
    Goal("the same with a scripted model: our own part of it", 2, "x", _over("answer", f"{SCRIPTED}, followed", FLOOR)),
    Goal("answer: our share on top of pydantic-ai alone", 0.2, "x", _share("answer", DIRECT)),
    Goal("... on top of our own adapter alone", 0.2, "x", _share("answer", ADAPTER)),
    Goal("20-step loop, durable: times the floor without storage", 1.5, "x", _over("loop", LIVE, FLOOR), native=True),
    Goal("the same with a scripted model: our own part of it", 1.5, "x", _over("loop", SCRIPTED, FLOOR)),
    Goal("20-step loop: our share on top of pydantic-ai alone", 0.2, "x", _share("loop", DIRECT)),
    Goal("... on top of our own adapter alone", 0.2, "x", _share("loop", ADAPTER)),
    Goal("100 sessions x 5 steps: steps per CPU s", 800, "", _value("sessions", LIVE, "steps per CPU s"), False, True, True),
    Goal("the same with a scripted model", 800, "", _value("sessions", SCRIPTED, "steps per CPU s"), False, True),
    Goal("streams of 80 chunks per CPU s", 200, "", _value("streams", LIVE, "streams per CPU s"), False, True, True),
    Goal("open a session of 5,000 messages", 10, "ms", _value("history 5000", LIVE, "open"), full=True),
    Goal("... with all that opening sets in motion", 10, "ms", _value("history 5000", LIVE, "settled"), full=True),
    Goal("next turn on 5,000 messages", 10, "ms", _value("history 5000", LIVE, "second turn"), full=True, native=True),
    Goal("... with a scripted model", 10, "ms", _value("history 5000", SCRIPTED, "second turn"), full=True),
    Goal(
        "first turn after opening 5,000 messages",
        10,
        "ms",
        _value("history 5000", LIVE, "first turn"),
        full=True,
        native=True,
    ),
    Goal("... with a scripted model", 10, "ms", _value("history 5000", SCRIPTED, "first turn"), full=True),
    Goal("next turn: 5,000 messages against 50", 2, "x", _flat(LIVE), full=True, native=True),
    Goal("... with a scripted model", 2, "x", _flat(SCRIPTED), full=True),
    Goal("5-step loop on 5,000 messages", 50, "ms", _value("history 5000", LIVE, "5-step loop"), full=True, native=True),
    Goal("... with a scripted model", 50, "ms", _value("history 5000", SCRIPTED, "5-step loop"), full=True),
    Goal(
        "longest stall of the event loop, next turn on 5,000 messages",
        10,
        "ms",
        _longest(LIVE, "next turn"),
        full=True,
        native=True,
    ),
    Goal("... the first turn after opening", 10, "ms", _longest(LIVE, "first turn"), full=True, native=True),
    Goal("... with a scripted model", 10, "ms", _longest(SCRIPTED), full=True),
    Goal("step 200 of a run against step 20", 1.2, "x", _value("long run", SCRIPTED, "late / early"), full=True),
    Goal("... of a live model", 1.2, "x", _value("long run", LIVE, "late / early"), full=True, native=True),
    Goal("written per step", 20, "KB", _value("long run", SCRIPTED, "written per step")),
    Goal("10,000 idle open sessions", 50, "MB", _idle),
    Goal("import godwit", 60, "ms", _value("import", "import godwit", "over the bare interpreter")),
    Goal("exec to the first token of a live model", 350, "ms", _value("import", "first token of a live model", "wall")),
    Goal("killed after 20 steps, disk: steps found", 20, "", _value("kill", "godwit, disk", "steps found of 20"), False),
    Goal(
        "killed after 20 steps, process: steps found", 20, "", _value("kill", "godwit, process", "steps found of 20"), False
    ),
    Goal("fdatasync calls of a durable 20-step loop", 40, "", _value("writes", SCRIPTED, "fdatasync per 20-step loop")),
    Goal(
        "tasks through a lane of 16 per second",
        20_000,
        "",
        _value("lanes", lanes.NARROW, "tasks per s"),
        False,
        True,
    ),
    Goal("wait of a task where there is room: p99", 1, "ms", _value("lanes", lanes.ROOM, "p99 wait"), full=True),
    Goal(
        "burst to 100 followers in the process, per delivery",
        1,
        "us",
        _value("followers", "100 followers", "burst, per delivery"),
        full=True,
    ),
    Goal(
        "1,000 followers over HTTP at 50 events/s: p99",
        30,
        "ms",
        _value(server.followed_by(1000), server.GODWIT, "chunk p99"),
        full=True,
    ),
    Goal(
        "100 sessions streaming over HTTP at once: p99 to the follower",
        5,
        "ms",
        _value(server.streaming(100), server.GODWIT, "chunk p99"),
        full=True,
    ),
)


def standings(bench: Bench) -> list[Standing]:
    full = bench.sizes.histories[-1] >= 5000
    return [Standing(g, g.read(bench) if g.read is not None and (full or not g.full) else None) for g in GOALS]


__all__ = ["GOALS", "STORED", "Goal", "Standing", "standings"]
