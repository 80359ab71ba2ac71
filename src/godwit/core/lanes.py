"""Lanes: named queues of steps, as data: how wide a lane is, where its work is done, and what is known of it.

Control, query, execute and generate are always there; configuration adds more. Leaves out who waits and who goes next
(`engine.lanes`), and who does what is handed out (`host.lane_tasks`). Times in seconds (`_s`) or milliseconds (`_ms`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import msgspec

from .errors import ConfigurationError
from .ids import ActionId, CallId, SessionId

Lane = Literal["control", "query", "execute", "generate"]
"""The lanes that are always there: orders of the host, calls that only read, all other calls, and models."""
LaneMode = Literal["inside", "outside", "both"]
"""Where the calls of a lane are done: by this process, by workers, or by workers as well when this process has no room."""
RetryStrategy = Literal["none", "fixed", "exponential"]


def _field(name: str) -> str:
    return name.rpartition(" ")[2]


def _one_of(name: str, value: Any, choices: Any) -> None:
    if value not in get_args(choices):
        known = ", ".join(get_args(choices))
        raise ConfigurationError(f"{name}={value!r} must be one of {known}", field=_field(name), value=value)


def _at_least(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{name}={value!r} must be a whole number of {least} or more", field=_field(name), value=value
        )


def _more_than(name: str, value: float, bound: float) -> None:
    if not (value > bound and math.isfinite(value)):
        raise ConfigurationError(f"{name}={value!r} must be more than {bound}", field=_field(name), value=value)


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often, and after which pauses, what failed is tried again. By default it is not.

    `fixed` waits `delay_ms` each time; `exponential` twice as long each time, at most `longest_ms`. `jitter`: the part of a
    pause that chance may take off, from 0 to 1, so that many do not come back at the same moment. ConfigurationError.
    """

    strategy: RetryStrategy = "none"
    retries: int = 3
    delay_ms: int = 100
    longest_ms: int = 30_000
    jitter: float = 0.1

    def __post_init__(self) -> None:
        _one_of("strategy", self.strategy, RetryStrategy)
        _at_least("retries", self.retries, 0)
        _at_least("delay_ms", self.delay_ms, 0)
        _at_least("longest_ms", self.longest_ms, 0)
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"jitter={self.jitter!r} must be a part from 0 to 1", field="jitter", value=self.jitter)

    def pause_ms(self, failures: int, chance: float = 0.0) -> int | None:
        """How long to wait after that many failures in a row; None when it is not tried again. `chance`: from 0 to 1."""
        if self.strategy == "none" or failures > self.retries:
            return None
        pause = self.delay_ms if self.strategy == "fixed" else self.delay_ms * 2 ** min(failures - 1, 62)
        return round(min(pause, self.longest_ms) * (1 - self.jitter * chance))


class RateLimit(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most `steps` begin within any `per_s` seconds, on average; as many at once where none began for so long.
    ConfigurationError."""

    steps: int
    per_s: float = 1.0

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _more_than("per_s", self.per_s, 0)


class LaneConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """One lane of a process. Without limits of its own a step in it waits for nothing.

    `concurrency`: how many of its steps run at once; `per_tenant`: how many of one tenant's. `priority`: the lowest goes
    first where lanes share room. `rate`: how fast steps may begin. `pressure`: as many waiting ones are told of once.
    `timeout_s`: how long a task of it may take, each time; of a call that is done outside, all tries together. `retry`: of
    tasks that are repeatable. `mode`: where calls are
    done, for sessions that say nothing else. `tools`: names of the tools whose calls it takes, for a lane of one's own;
    `mcp__server` for all of an MCP server that are named nowhere.
    ConfigurationError.
    """

    name: str
    concurrency: int | None = None
    per_tenant: int | None = None
    priority: int | None = None
    rate: RateLimit | None = None
    pressure: int | None = None
    timeout_s: float | None = None
    retry: RetryPolicy = RetryPolicy("exponential")
    mode: LaneMode = "inside"
    tools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("a lane has a name")
        for field in ("concurrency", "per_tenant", "pressure"):
            value = getattr(self, field)
            if value is not None:
                _at_least(f"lane {self.name}: {field}", value, 1)
        _one_of(f"lane {self.name}: mode", self.mode, LaneMode)
        if self.timeout_s is not None:
            _more_than(f"lane {self.name}: timeout_s", self.timeout_s, 0)
        if self.mode != "inside" and self.name in ("control", "generate"):
            raise ConfigurationError(
                f"lane {self.name!r} is worked on inside: only tool calls are handed to workers",
                field="mode",
                lane=self.name,
            )
        if self.tools and self.name in PRIORITIES:
            raise ConfigurationError(
                f"lane {self.name!r} takes calls by their kind: name tools with a lane of your own", field="tools"
            )


class LaneSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """All lanes of a process. By default nothing is limited.

    `lanes`: in place of the standard ones of the same name, or beside them. `concurrency`: how many steps of all lanes run
    at once; here the priorities count. `ageing_s`: for each so many seconds of waiting a step counts as of one priority
    higher, so none waits for ever; None: never. `metrics`: `session.queue_metrics()` tells them. `dead_letters`: how many
    are kept of each tenant, the newest; 0 keeps none. ConfigurationError.
    """

    lanes: tuple[LaneConfig, ...] = ()
    concurrency: int | None = None
    ageing_s: float | None = 10.0
    metrics: bool = False
    dead_letters: int = 1000

    def __post_init__(self) -> None:
        names = [lane.name for lane in self.lanes]
        if len(names) != len(set(names)):
            raise ConfigurationError(f"a lane is configured twice: {sorted(names)}")
        tools = [tool for lane in self.lanes for tool in lane.tools]
        twice = sorted({tool for tool in tools if tools.count(tool) > 1})
        if twice:
            raise ConfigurationError(f"tools that more than one lane takes: {', '.join(twice)}", tools=twice)
        if self.concurrency is not None:
            _at_least("concurrency", self.concurrency, 1)
        if self.ageing_s is not None:
            _more_than("ageing_s", self.ageing_s, 0)
        _at_least("dead_letters", self.dead_letters, 0)

    def all(self) -> tuple[LaneConfig, ...]:
        """The standard lanes and those beside them, each with its priority."""
        given = {lane.name: lane for lane in self.lanes}
        named = (*PRIORITIES, *(name for name in given if name not in PRIORITIES))
        found = []
        for name in named:
            lane = given.get(name) or LaneConfig(name)
            priority = PRIORITIES.get(name, PRIORITIES["execute"]) if lane.priority is None else lane.priority
            found.append(msgspec.structs.replace(lane, priority=priority))
        return tuple(found)


PRIORITIES: dict[str, int] = {"control": 0, "query": 1, "execute": 2, "generate": 3}
"""Of the standard lanes; one of your own has that of execute unless it says otherwise."""


class LaneHandler(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who does the calls of one lane for one session, from the next call on.

    `timeout_s`: how long a call that is handed out may take until it is answered, all tries together. `labels`: what a
    worker must have. `lease_s`: how long a worker that says nothing keeps it. ConfigurationError.
    """

    mode: LaneMode = "inside"
    timeout_s: float = 60.0
    labels: dict[str, str] = {}
    lease_s: float = 30.0

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, LaneMode)
        _more_than("timeout_s", self.timeout_s, 0)
        _more_than("lease_s", self.lease_s, 0)


# --- what is known of lanes -------------------------------------------------------------------------------------------


class LaneStats(msgspec.Struct, frozen=True):
    """`pending`: wait for room; `retrying`: wait to be tried again; `external`: are handed out and not answered."""

    lane: str
    pending: int = 0
    active: int = 0
    retrying: int = 0
    external: int = 0
    concurrency: int | None = None
    mode: LaneMode = "inside"


class QueueStats(msgspec.Struct, frozen=True):
    """The sums over all lanes, and each lane by its name."""

    pending: int = 0
    active: int = 0
    retrying: int = 0
    external: int = 0
    lanes: dict[str, LaneStats] = {}

    @classmethod
    def of(cls, lanes: Iterable[LaneStats]) -> QueueStats:
        found = {lane.lane: lane for lane in lanes}

        def total(field: str) -> int:
            return sum(getattr(lane, field) for lane in found.values())

        return cls(total("pending"), total("active"), total("retrying"), total("external"), found)


class Percentiles(msgspec.Struct, frozen=True):
    """Of a number of times, in ms, each at most a sixteenth off. All 0 where there were none."""

    count: int = 0
    total_ms: float = 0.0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    longest_ms: float = 0.0


class LaneMetrics(msgspec.Struct, frozen=True):
    """What became of a lane's tasks since the process began. `wait`: until they began; `run`: until they ended, of calls
    that are done outside from when they were handed out.

    `completed`, `failed`, `timed_out` and `cancelled` are all that ended; `retried` counts further tries, `dead` those
    whose last try failed.
    """

    lane: str
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    dead: int = 0
    depth: int = 0
    active: int = 0
    wait: Percentiles = Percentiles()
    run: Percentiles = Percentiles()


class MetricsSnapshot(msgspec.Struct, frozen=True):
    """The lanes of a process by their names."""

    lanes: dict[str, LaneMetrics] = {}


class LaneEvent(msgspec.Struct, frozen=True):
    """What is told of a lane: `pressure` when as many wait as its configuration says, once until none waits any more;
    `idle` when its last step has ended and none waits; `dead` when a task has failed for the last time."""

    kind: Literal["pressure", "idle", "dead"]
    lane: str
    pending: int = 0
    active: int = 0
    error: str | None = None


class Times:
    """Counts times in buckets that grow with them, eight for each doubling: cheap to add to, small to keep."""

    __slots__ = ("_buckets", "count", "longest_s", "total_s")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total_s = 0.0
        self.longest_s = 0.0

    def add(self, time_s: float) -> None:
        """A time of 0 or more."""
        self.count += 1
        if time_s <= 0:
            self._buckets[_NEVER] = self._buckets.get(_NEVER, 0) + 1
            return
        self.total_s += time_s
        if time_s > self.longest_s:
            self.longest_s = time_s
        part, power = math.frexp(time_s)
        bucket = power * 8 + int(part * 16) - 8
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def at(self, part: float) -> float:
        """The time, in s, that this part of all was not longer than."""
        wanted, seen = part * self.count, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_middle(bucket), self.longest_s)
        return self.longest_s

    def percentiles(self) -> Percentiles:
        if not self.count:
            return Percentiles()
        p50, p90, p95, p99 = (self.at(part) * 1000 for part in (0.5, 0.9, 0.95, 0.99))
        return Percentiles(self.count, self.total_s * 1000, p50, p90, p95, p99, self.longest_s * 1000)


_NEVER = -1 << 30


def _middle(bucket: int) -> float:
    if bucket == _NEVER:
        return 0.0
    power, eighth = divmod(bucket, 8)
    return math.ldexp((eighth + 8.5) / 16, power)


# --- tasks outside ----------------------------------------------------------------------------------------------------


class ExternalTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that is done outside, until it is answered. `id` is that of the action the session waits with.

    `state`: `queued` waits for a worker, `leased` has one (`worker`), until `lease_ms` unless it says that it lives.
    `expires_ms`: it is answered with an error then; None: never. `attempt` counts the workers that took it, from 1.
    `requeued`: it was a dead letter; its call has its answer, and its result is told as a follow-up.
    """

    id: ActionId
    session: SessionId
    call: CallId | None
    lane: str
    command_type: str
    payload: dict[str, Any] = {}
    labels: dict[str, str] = {}
    state: Literal["queued", "leased"] = "queued"
    worker: str | None = None
    attempt: int = 0
    repeatable: bool = False
    requeued: bool = False
    created_ms: int = 0
    expires_ms: int | None = None
    lease_ms: int | None = None

    def remaining_ms(self, now_ms: int) -> int | None:
        """How long it still has; 0 when its time is over, None without a limit."""
        return None if self.expires_ms is None else max(0, self.expires_ms - now_ms)

    def is_timed_out(self, now_ms: int) -> bool:
        return self.remaining_ms(now_ms) == 0


class TaskOffer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as it is handed out: how long a silent worker keeps it, what becomes of one that was lost, and after which
    others (`after`, their ids) it may begin."""

    task: ExternalTask
    lease_s: float = 30.0
    retry: RetryPolicy = RetryPolicy()
    after: tuple[ActionId, ...] = ()


class ExternalTaskResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call came to outside. `result`: a text, or JSON, in which `output` is what the model is told, `exit_code` and
    `metadata` what people are. `error`: why it failed, unless `success`."""

    success: bool = True
    result: Any = None
    error: str | None = None

    def text(self) -> str:
        """What the model is told."""
        if not self.success:
            return self.error or "External task failed"
        told = self.result.get("output", self.result) if isinstance(self.result, dict) else self.result
        return told if isinstance(told, str) else "" if told is None else msgspec.json.encode(told).decode()

    def metadata(self) -> dict[str, Any]:
        """What people are told beside."""
        if not isinstance(self.result, dict):
            return {}
        extra = self.result.get("metadata")
        code = {"exit_code": self.result["exit_code"]} if "exit_code" in self.result else {}
        return {**(extra if isinstance(extra, dict) else {}), **code}


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task whose last try failed, kept for a person. `attempts`: how often it was tried."""

    id: str
    session: SessionId
    lane: str
    command_type: str
    error: str
    attempts: int
    failed_ms: int
    payload: dict[str, Any] = {}
    worker: str | None = None
