"""What waiting for room costs: tasks that do nothing, through the lanes of a process, against `asyncio.Semaphore`.

The floor bounds how many run at once and does nothing else: no priorities, no tenants, no ageing, no counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from godwit.core.lanes import LaneConfig, LaneSettings
from godwit.engine.lanes import Lanes

from .measure import Bench, Prepare, Work, take_turns

FLOOR, ROOM, NARROW, TENANTS = "asyncio.Semaphore", "room for all", "16 at once", "16 at once, 4 of a tenant, 4 lanes"
WIDTH, ASKERS = 16, 64
"""How many run at once, and how many tasks are on their way at a time."""


async def nothing() -> None:
    """Lets others run once, as the shortest task that waits for something does."""
    await asyncio.sleep(0)


async def lanes(bench: Bench) -> None:
    """Tasks through the queue; `p99 wait` is from when a task asked until it began."""
    each = bench.sizes.requests * 40 // ASKERS
    count = each * ASKERS
    waits: dict[str, list[float]] = {ROOM: [], NARROW: [], TENANTS: []}

    def preparing(name: str) -> Prepare:
        async def prepare() -> Work:
            semaphore = asyncio.Semaphore(WIDTH)
            made = Lanes(_settings(name))
            names = made.names if name == TENANTS else ("execute",)

            async def floor(_: int) -> None:
                for _ in range(each):
                    async with semaphore:
                        await nothing()

            async def ours(asker: int) -> None:
                lane, tenant = names[asker % len(names)], str(asker % 8)
                for _ in range(each):
                    await made.submit(lane, nothing, tenant=tenant)

            ask: Callable[[int], Awaitable[None]] = floor if name == FLOOR else ours

            async def work() -> None:
                await asyncio.gather(*(ask(asker) for asker in range(ASKERS)))
                if name != FLOOR:
                    waits[name].append(max(m.wait.p99_ms for m in made.metrics().lanes.values()))

            return work

        return prepare

    names = (FLOOR, ROOM, NARROW, TENANTS)
    samples = await take_turns({name: preparing(name) for name in names}, bench.sizes.repeats, bench.sizes.warm)
    for name, taken in samples.items():
        bench.add("lanes", name, "CPU, per task", "us", [s.cpu_ms * 1000 / count for s in taken], floor=FLOOR)
        bench.add("lanes", name, "tasks per s", "", [count * 1000 / s.wall_ms for s in taken], floor=None)
        if name in waits:
            bench.add("lanes", name, "p99 wait", "ms", waits[name][-bench.sizes.repeats :], floor=None)


def _settings(name: str) -> LaneSettings:
    if name == ROOM:
        return LaneSettings()
    if name == NARROW:
        return LaneSettings((LaneConfig("execute", concurrency=WIDTH),))
    all_lanes = (LaneConfig(lane, per_tenant=4) for lane in ("control", "query", "execute", "generate"))
    return LaneSettings(tuple(all_lanes), concurrency=WIDTH)


__all__ = ["lanes"]
