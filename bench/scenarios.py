"""What is measured within this process, one function per scenario. `processes.py` has those that need one of their own.

Each opens its contenders on a fresh folder, so that no scenario sees the files of another.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from godwit.core.events import ArtifactStored, Draft, Event, RunFinished
from godwit.core.ids import ArtifactRef
from godwit.core.messages import Assistant, Message, ToolResult, User, text_of

from .contenders import (
    AdapterContender,
    Contender,
    Conversation,
    DirectContender,
    FloorContender,
    GodwitContender,
    history_rows,
)
from .history import make_session, messages_of
from .measure import Bench, Prepare, Sample, Work, sample, settle_garbage, take_turns, ticking, written

FLOOR, STORED, DIRECT, ADAPTER = "floor", "floor + SQLite", "pydantic-ai direct", "godwit's adapter alone"
LIVE, SCRIPTED = "godwit live, disk", "godwit scripted, disk"


@asynccontextmanager
async def opened(bench: Bench, scenario: str, contenders: Sequence[Contender]) -> AsyncIterator[None]:
    folder = bench.folder / scenario
    folder.mkdir()
    try:
        for one in contenders:
            await one.open(bench.url, folder)
        yield
    finally:
        for one in contenders:
            await one.close()
        gc.unfreeze()


def everyone() -> list[Contender]:
    return [
        FloorContender(),
        FloorContender(stored=True),
        DirectContender(),
        AdapterContender(),
        *(GodwitContender("live", d) for d in ("disk", "process", "memory")),
        *(GodwitContender("scripted", d) for d in ("disk", "process", "memory")),
    ]


def _times(bench: Bench, scenario: str, samples: dict[str, list[Sample]]) -> None:
    for name, taken in samples.items():
        bench.add(scenario, name, "cpu", "ms", [s.cpu_ms for s in taken])
        bench.add(scenario, name, "wall", "ms", [s.wall_ms for s in taken])


async def _turns(bench: Bench, scenario: str, model: str, contenders: list[Contender]) -> None:
    """One turn of a fresh conversation each time; making and closing it is not counted."""
    async with opened(bench, scenario, contenders):
        used: dict[str, Conversation] = {}

        def preparing(one: Contender) -> Prepare:
            async def prepare() -> Work:
                if one.name in used:
                    await used.pop(one.name).close()
                conversation = used[one.name] = await one.begin(model)
                return lambda: conversation.turn("go")

            return prepare

        prepares = {one.name: preparing(one) for one in contenders}
        _times(bench, scenario, await take_turns(prepares, bench.sizes.repeats, bench.sizes.warm))


async def answer(bench: Bench) -> None:
    """One answer in many chunks."""
    extra = [GodwitContender("live", followed=True), GodwitContender("scripted", followed=True)]
    await _turns(bench, "answer", f"text-{bench.sizes.chunks}", [*everyone(), *extra])


async def loop(bench: Bench) -> None:
    """One run of many tool calls, one after the other."""
    await _turns(bench, "loop", f"tools-{bench.sizes.steps}", everyone())


async def sessions(bench: Bench) -> None:
    """Many sessions at once, 5 tool steps each, made and closed within the time."""
    await _crowd(bench, "sessions", "tools-5", 5, "steps per CPU s")


async def streams(bench: Bench) -> None:
    """Many sessions at once, one answer each."""
    await _crowd(bench, "streams", f"text-{bench.sizes.stream_chunks}", 1, "streams per CPU s")


async def _crowd(bench: Bench, scenario: str, model: str, each: int, metric: str) -> None:
    contenders: list[Contender] = [
        FloorContender(),
        FloorContender(stored=True),
        DirectContender(),
        GodwitContender("live"),
        GodwitContender("scripted"),
        GodwitContender("scripted", "process"),
    ]
    count = bench.sizes.sessions

    async def one_session(contender: Contender) -> None:
        conversation = await contender.begin(model)
        await conversation.turn("go")
        await conversation.close()

    async with opened(bench, scenario, contenders):

        def preparing(contender: Contender) -> Prepare:
            async def all_of_them() -> None:
                await asyncio.gather(*(one_session(contender) for _ in range(count)))

            async def prepare() -> Work:
                return all_of_them

            return prepare

        samples = await take_turns({c.name: preparing(c) for c in contenders}, max(bench.sizes.repeats // 3, 1), 1)
    for name, taken in samples.items():
        bench.add(scenario, name, metric, "", [count * each * 1000 / s.cpu_ms for s in taken])
        bench.add(scenario, name, "wall", "ms", [s.wall_ms for s in taken])


# --- long histories ---------------------------------------------------------------------------------------------------


async def history(bench: Bench) -> None:
    """Opening a long session, its next two turns, and a loop of 5 steps on top. `open` is what the handle waits for,
    `settled` all that opening sets in motion."""
    for count in bench.sizes.histories:
        await _history(bench, f"history {count}", count)


async def _history(bench: Bench, scenario: str, count: int) -> None:
    stored, direct = FloorContender(stored=True), DirectContender()
    ours = [GodwitContender("live"), GodwitContender("scripted")]
    messages = messages_of(count)
    repeats = bench.sizes.history_repeats
    async with opened(bench, scenario, [stored, direct, *ours]):
        await _warm(ours, direct, stored)
        for number in range(repeats):
            await _make(stored, ours, messages, number)
        taken: dict[tuple[str, str], list[float]] = {}

        async def take(name: str, metric: str, work: Callable[[], Awaitable[Any]]) -> Any:
            one = await sample(work)
            taken.setdefault((name, metric), []).append(one.cpu_ms)
            return one.result

        async def turns(name: str, small: Conversation) -> None:
            await take(name, "first turn", lambda: small.turn("hi"))
            await take(name, "second turn", lambda: small.turn("hi"))

        for number in range(repeats):

            async def load_floor(number: int = number) -> Conversation:
                return stored.load("text-3", f"past-{number}")

            floor = await take(STORED, "open", load_floor)
            await turns(STORED, floor)
            floor = stored.load("tools-5", f"past-{number}")
            await take(STORED, "5-step loop", partial(floor.turn, "go"))

            past = await direct.begin("text-3")
            past.messages = _as_pydantic(messages)
            await turns(DIRECT, past)
            onward = await direct.begin("tools-5")
            onward.messages = past.messages
            await take(DIRECT, "5-step loop", partial(onward.turn, "go"))

            for one in ours:
                agent = one.agent("text-3")
                session = await take(one.name, "open", partial(one.runtime.open_session, f"past-{number}", agent=agent))
                await take(one.name, "settled", partial(one.runtime.settle, session.id))
                await session.close()
                conversation = await one.load("text-3", f"past-{number}")
                await one.runtime.settle(conversation.session.id)
                await turns(one.name, conversation)
                await conversation.session.set_model(one.agent("tools-5").spec.models[0])
                await take(one.name, "5-step loop", partial(conversation.turn, "go"))
                await conversation.close()
        for (name, metric), samples in taken.items():
            bench.add(scenario, name, metric, "ms", samples, floor=STORED)


async def _make(stored: FloorContender, ours: Sequence[GodwitContender], messages: list[Message], number: int) -> None:
    assert stored.table is not None
    stored.table.append(f"past-{number}", 1, history_rows(messages))
    for one in ours:
        agent = await one.runtime.create(one.agent("text-3"))
        await make_session(one.store, f"past-{number}", messages, agent)


async def _warm(ours: Sequence[GodwitContender], *others: Contender) -> None:
    for one in [*others, *ours]:
        for model in ("text-3", "tools-5"):
            conversation = await one.begin(model)
            await conversation.turn("hi")
            await conversation.close()
    settle_garbage()


def _as_pydantic(messages: list[Message]) -> list[Any]:
    """The messages as pydantic-ai keeps them, made anew so that nothing of an earlier turn clings to them."""
    from pydantic_ai import messages as pm

    made: list[Any] = []
    for message in messages:
        match message:
            case User():
                made.append(pm.ModelRequest([pm.UserPromptPart(text_of(message.content))]))
            case ToolResult():
                made.append(pm.ModelRequest([pm.ToolReturnPart(message.name, message.text, message.call_id)]))
            case Assistant():
                parts: list[pm.ModelResponsePart] = [pm.ToolCallPart(c.name, c.arguments, c.id) for c in message.calls]
                made.append(pm.ModelResponse([pm.TextPart(message.text), *parts] if message.text else parts))
    return made


async def stall(bench: Bench) -> None:
    """The longest time in which nothing else on the event loop could run, over opening the longest session and a turn."""
    count = bench.sizes.histories[-1]
    messages = messages_of(count)
    stored, direct = FloorContender(stored=True), DirectContender()
    ours = [GodwitContender("live"), GodwitContender("scripted")]
    longest: dict[tuple[str, str], list[float]] = {}
    async with opened(bench, "stall", [stored, direct, *ours]):
        await _warm(ours, direct, stored)

        async def watched(name: str, metric: str, work: Awaitable[Any]) -> Any:
            async with ticking() as ticker:
                result = await work
            longest.setdefault((name, metric), []).append(ticker.cpu_ms)
            return result

        for number in range(bench.sizes.history_repeats):
            await _make(stored, ours, messages, number)
            floor = stored.load("text-3", f"past-{number}")
            await watched(STORED, "next turn", floor.turn("hi"))
            past = await direct.begin("text-3")
            past.messages = _as_pydantic(messages)
            await watched(DIRECT, "next turn", past.turn("hi"))
            for one in ours:

                async def open_one(one: GodwitContender = one, number: int = number) -> Conversation:
                    conversation = await one.load("text-3", f"past-{number}")
                    await one.runtime.settle(conversation.session.id)
                    return conversation

                conversation = await watched(one.name, "open", open_one())
                await watched(one.name, "first turn", conversation.turn("hi"))
                await watched(one.name, "next turn", conversation.turn("hi"))
                await conversation.close()
    for (name, metric), samples in longest.items():
        bench.add("stall", name, metric, "ms", samples, floor=STORED)


# --- followers --------------------------------------------------------------------------------------------------------


async def followers(bench: Bench) -> None:
    """In-process followers of one session: an answer with its deltas, and a burst of stored events."""
    one = GodwitContender("scripted", "process")
    many = bench.sizes.followers
    async with opened(bench, "followers", [one]):
        for metric, run in (("answer", _followed_answer), ("burst", _followed_burst)):
            prepares: dict[str, Prepare] = {str(n): partial(run, bench, one, n) for n in (0, 1, many)}
            samples = await take_turns(prepares, max(bench.sizes.repeats // 2, 1), 1)
            alone = min(s.cpu_ms for s in samples["0"])
            for count in (1, many):
                taken = samples[str(count)]
                who = f"{count} follower" + ("s" if count > 1 else "")
                costs = [max(s.cpu_ms - alone, 0.0) * 1000 / s.result for s in taken]
                bench.add("followers", who, f"{metric}, per delivery", "us", costs, floor=None)


async def _followed_answer(bench: Bench, one: GodwitContender, count: int) -> Work:
    conversation = await one.begin(f"text-{bench.sizes.chunks}")
    session = conversation.session
    head = (await session.state()).seq

    async def follow() -> int:
        seen = 0
        async for item in session.watch(head):
            seen += 1
            if isinstance(item, Event) and isinstance(item.data, RunFinished):
                break
        return seen

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    await asyncio.sleep(0)

    async def work() -> int:
        await conversation.turn("go")
        seen = sum(await asyncio.gather(*tasks))
        await conversation.close()
        return seen

    return work


async def _followed_burst(bench: Bench, one: GodwitContender, count: int) -> Work:
    conversation = await one.begin("text-1")
    session = conversation.session
    await one.runtime.settle(session.id)
    head = (await session.state()).seq
    end = head + bench.sizes.burst
    lease = await one.store.claim(session.id, "bench", 60.0)
    assert lease is not None

    async def follow() -> int:
        async for event in session.follow(head):
            if event.seq == end:
                break
        return end - head

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    await asyncio.sleep(0)

    async def work() -> int:
        for start in range(0, bench.sizes.burst, 20):
            drafts = [Draft(ArtifactStored(ArtifactRef("sha256:0"), start + n), at_ms=1) for n in range(20)]
            await one.store.append(session.id, drafts, epoch=lease.epoch)
        seen = sum(await asyncio.gather(*tasks))
        await one.store.release(lease)
        await conversation.close()
        return seen

    return work


# --- one long run -----------------------------------------------------------------------------------------------------


async def long_run(bench: Bench) -> None:
    """A run of many steps: does a late step cost more than an early one, and what does a step write?"""
    steps = bench.sizes.long_steps
    contenders: list[FloorContender | GodwitContender]
    contenders = [FloorContender(stored=True), GodwitContender("live"), GodwitContender("scripted")]
    async with opened(bench, "long run", contenders):
        for one in contenders:
            early: list[float] = []
            late: list[float] = []
            ratios: list[float] = []
            wrote: list[float] = []
            calls: list[float] = []
            for _ in range(3):
                marks: list[tuple[float, tuple[int, int] | None]] = []
                one.mark = lambda marks=marks: marks.append((time.process_time(), written()))  # type: ignore[misc]
                conversation = await one.begin(f"tools-{steps}")
                await conversation.turn("go")
                await conversation.close()
                costs = [(b[0] - a[0]) * 1000 for a, b in itertools.pairwise(marks)]
                width = max(steps // 10, 2)
                early.append(sum(costs[width // 2 : width // 2 + width]) / width)
                late.append(sum(costs[-width:]) / width)
                ratios.append(late[-1] / early[-1])
                first, last = marks[-width][1], marks[-1][1]
                if first is not None and last is not None:
                    calls.append((last[0] - first[0]) / (width - 1))
                    wrote.append((last[1] - first[1]) / (width - 1) / 1024)
            one.mark = lambda: None
            name = one.name
            bench.add("long run", name, f"step {steps // 10}", "ms", early, floor=STORED)
            bench.add("long run", name, f"step {steps}", "ms", late, floor=STORED)
            bench.add("long run", name, "late / early", "x", ratios, floor=None)
            if wrote:
                bench.add("long run", name, "written per step", "KB", wrote, floor=STORED)
                bench.add("long run", name, "writes per step", "", calls, floor=STORED)
