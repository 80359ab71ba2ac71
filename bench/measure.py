"""How a number comes about: samples of CPU and wall time, taken in turns, and the median of them.

CPU time is of the whole process, all threads, as the kernel counts it; the provider is another process. Contenders take
turns, forwards and backwards, so that what the machine does meanwhile hits all of them alike. What lives when the samples
begin is frozen for the garbage collector, so that nobody pays for the imports of another.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Work = Callable[[], Awaitable[object]]
Prepare = Callable[[], Awaitable[Work]]
"""Sets up one sample, untimed, and gives what is timed."""


@dataclass(frozen=True)
class Sizes:
    """How much is done. `repeats`: samples per contender, of which `warm` more are thrown away before."""

    repeats: int = 9
    warm: int = 2
    chunks: int = 200
    steps: int = 20
    sessions: int = 100
    stream_chunks: int = 80
    histories: tuple[int, ...] = (50, 1000, 5000)
    history_repeats: int = 5
    followers: int = 100
    burst: int = 2000
    long_steps: int = 200
    idle: tuple[int, ...] = (1000,)
    imports: int = 7
    files: int = 20_000
    connections: int = 16
    requests: int = 500
    http_followers: tuple[int, ...] = (1, 100, 1000)
    http_burst: int = 500
    http_idle: int = 500
    log_events: tuple[int, ...] = (100, 1000, 10_000, 50_000)
    listed: int = 3000
    servers: int = 20
    tools: int = 500
    rest_s: float = 3.0


FULL = Sizes()
QUICK = Sizes(
    repeats=3,
    warm=1,
    chunks=50,
    steps=5,
    sessions=10,
    histories=(50, 500),
    history_repeats=2,
    followers=10,
    burst=200,
    long_steps=40,
    idle=(100,),
    imports=2,
    files=4_000,
    requests=100,
    http_followers=(1, 10, 100),
    http_burst=200,
    http_idle=50,
    log_events=(100, 1000),
    listed=200,
    servers=5,
    rest_s=0.5,
)
TINY = Sizes(
    repeats=1,
    warm=0,
    chunks=5,
    steps=2,
    sessions=2,
    stream_chunks=5,
    histories=(4, 20),
    history_repeats=1,
    followers=2,
    burst=40,
    long_steps=10,
    idle=(2,),
    imports=1,
    files=200,
    connections=2,
    requests=8,
    http_followers=(1, 2),
    http_burst=20,
    http_idle=2,
    log_events=(32,),
    listed=3,
    servers=2,
    tools=60,
    rest_s=0.01,
)


@dataclass(frozen=True)
class Measurement:
    """One number: the median of `count` samples. `ratio`: to the floor's median, where there is one."""

    scenario: str
    subject: str
    metric: str
    unit: str
    median: float
    low: float
    high: float
    count: int
    ratio: float | None = None


@dataclass
class Bench:
    """What a scenario gets and gives: where the provider is, a folder of its own, how much to do, and the results."""

    url: str
    folder: Path
    sizes: Sizes
    say: Callable[[str], None]
    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, scenario: str, subject: str, metric: str, unit: str, samples: Sequence[float], *, floor: str | None = "floor"
    ) -> float:
        """Record the median of the samples. `floor`: the subject whose median of this metric is 1."""
        median = statistics.median(samples)
        base = None if floor is None else self.find(scenario, floor, metric)
        if base is None and subject == floor:
            base = median
        ratio = median / base if base else None
        one = Measurement(scenario, subject, metric, unit, median, min(samples), max(samples), len(samples), ratio)
        self.measurements.append(one)
        return median

    def find(self, scenario: str, subject: str, metric: str) -> float | None:
        for one in self.measurements:
            if (one.scenario, one.subject, one.metric) == (scenario, subject, metric):
                return one.median
        return None


@dataclass
class Sample:
    cpu_ms: float
    wall_ms: float
    result: Any = None


async def sample(work: Work) -> Sample:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = await work()
    return Sample((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000, result)


async def take_turns(prepares: dict[str, Prepare], repeats: int, warm: int) -> dict[str, list[Sample]]:
    """Samples of each, one after the other, again and again."""
    samples: dict[str, list[Sample]] = {name: [] for name in prepares}
    for number in range(-warm, repeats):
        if number == 0:
            settle_garbage()
        order = list(prepares.items())
        for name, prepare in order if number % 2 == 0 else reversed(order):
            one = await sample(await prepare())
            if number >= 0:
                samples[name].append(one)
    return samples


def settle_garbage() -> None:
    """Set what lives now apart from the collector's rounds, until `gc.unfreeze`."""
    gc.collect()
    gc.freeze()


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of a hundred are not above."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * part / 100) - 1, 0)]


class Ticker:
    """Notes the longest time in which the event loop did not come round, wall and CPU of its thread, in ms."""

    def __init__(self) -> None:
        self.wall_ms = 0.0
        self.cpu_ms = 0.0

    async def run(self) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, used = time.perf_counter(), time.thread_time()
            self.wall_ms = max(self.wall_ms, (now - wall) * 1000)
            self.cpu_ms = max(self.cpu_ms, (used - cpu) * 1000)
            wall, cpu = now, used


@asynccontextmanager
async def ticking() -> Any:
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)
    try:
        yield ticker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def written() -> tuple[int, int] | None:
    """(write calls, bytes) this process has handed to the kernel for files and pipes, sockets left out; None off Linux."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return None
    return int(fields["syscw"]), int(fields["wchar"])


def resident_kb() -> float | None:
    """Memory of this process that is in use now; None off Linux."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
    except OSError:
        return None


def open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
