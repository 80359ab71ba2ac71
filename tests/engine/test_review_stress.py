"""A long run under fire: several tasks, in this runtime and in another on the same file, send random legal and illegal
commands while it works. Whatever they do, the log stays whole and nothing that was accepted is lost.

`GODWIT_STRESS=n` tries n seeds instead of a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

import godwit
from godwit.contracts import Appended, ModelRequest
from godwit.core.errors import GodwitError, NotFound, RateLimited, RunFailed, StoreFull
from godwit.core.events import (
    Draft,
    InputDelivered,
    InputWithdrawn,
    RunClaimed,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
    UserMessage,
)
from godwit.core.ids import Seq, SessionId
from godwit.core.messages import Assistant, ToolResult
from godwit.core.state import State, fold
from godwit.core.transcript import Transcript, problems
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, fail, say, tries
from godwit.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S

from .conftest import MODEL, Bench

SEEDS = int(os.environ.get("GODWIT_STRESS", "6"))
TURNS = 12
KINDS = (
    ["steer"] * 2
    + ["follow"] * 2
    + ["prompt", "interrupt", "pause", "withdraw", "reorder", "configure", "garbage", "key"]
    + ["answer"] * 5
    + ["resume"] * 3
    + ["resume_run"]
)


def script(rng: random.Random) -> list[Any]:
    """What the model says at each place: calls side by side, some of them asking, and now and then a provider's error."""
    turns: list[Any] = []
    for place in range(200):
        if place % TURNS == TURNS - 1 or rng.random() < 0.1:
            turns.append("That is all for now, or is it not, who can say.")
            continue
        reply = say("Let me see what there is to do here. ")
        for number in range(rng.randint(1, 4)):
            name = rng.choice(["work", "work", "work", "ask", "alone", "again"])
            reply = reply + call(name, n=place * 10 + number)
        if rng.random() < 0.1:
            turns.append(tries(fail(RateLimited("later", retry_after_s=0.01)), reply))
        else:
            turns.append(reply)
    return turns


def place_of(request: ModelRequest) -> int:
    """Steers and cut answers move the count of messages; the number of turns does not go back."""
    return request.turn % 200


class Fire:
    """Random commands on one session, through several handles."""

    def __init__(self, rng: random.Random, sessions: Sequence[Session]) -> None:
        self.rng = rng
        self.sessions = sessions
        self.accepted: set[str] = set()
        self.beside: list[asyncio.Task[Any]] = []
        self.refused: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    async def one(self) -> None:
        rng = self.rng
        session = rng.choice(self.sessions)
        kind = rng.choice(KINDS)
        match kind:
            case "steer":
                self.accepted.add(await session.steer(f"s{rng.random()}", mode=rng.choice(["skip", "batch", None])))
            case "follow":
                self.accepted.add(await session.follow_up(f"f{rng.random()}"))
            case "prompt":
                await session.prompt(f"p{rng.random()}")
            case "key":
                key = f"k{rng.randint(0, 5)}"
                self.accepted.add(await session.follow_up(key, key=key))
            case "answer":
                for pending in await session.approvals.pending():
                    if rng.random() < 0.3:
                        await session.deny(pending.id, "no")
                    else:
                        await session.approve(pending.id, arguments={"n": -1} if rng.random() < 0.2 else None)
            case "interrupt":
                if rng.random() < 0.3:
                    await session.interrupt(force=rng.random() < 0.3)
            case "pause":
                await session.pause()
            case "resume":
                await session.resume()
            case "withdraw":
                for entry in await session.queue.list():
                    await session.queue.withdraw(entry.id)
            case "reorder":
                order = [e.id for e in await session.queue.list() if e.delivery == "follow_up"]
                rng.shuffle(order)
                await session.queue.reorder(order)
            case "configure":
                await session.configure(steer_mode=rng.choice(["skip", "batch"]))
            case "resume_run":
                runs = [r for r in await session.runs() if r.status not in ("running", "queued", "waiting", "retrying")]
                if runs and rng.random() < 0.3:
                    # It waits for the run's end, which others may be needed for.
                    self.beside.append(asyncio.create_task(session.resume_run(rng.choice(runs).id)))
            case "garbage":
                for wrong in (
                    session.approve("act_nothing"),
                    session.queue.withdraw("in_nothing"),
                    session.queue.reorder(["in_nothing"]),
                    session.cancel_run("run_nothing"),
                    session.resume_run("run_nothing"),
                ):
                    with contextlib.suppress(GodwitError):
                        await wrong
        self.sent[kind] += 1

    async def shoot(self, salvos: int) -> None:
        for _ in range(salvos):
            try:
                await asyncio.wait_for(self.one(), PATIENCE_S)
            except (GodwitError, ExceptionGroup) as refused:
                self.refused[type(refused).__name__] += 1
            for _ in range(self.rng.randint(0, 6)):
                await asyncio.sleep(0)
            if self.rng.random() < 0.2:
                await asyncio.sleep(self.rng.random() * 0.01)


def agent(rng: random.Random, effects: Counter[str]) -> godwit.Agent:
    async def dawdle() -> None:
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(0)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 0.01)

    @godwit.tool
    async def work(n: int, context: godwit.ToolContext) -> str:
        """Work."""
        effects[f"{context.run}/{context.key}"] += 1
        await dawdle()
        if n % 7 == 3:
            raise ValueError("oops")
        return f"worked {n}"

    @godwit.tool
    async def ask(n: int, context: godwit.ToolContext) -> str:
        """Ask first."""
        effects[f"{context.run}/{context.key}"] += 1
        await dawdle()
        return f"asked {n}"

    @godwit.tool(exclusive=True)
    async def alone(n: int, context: godwit.ToolContext) -> str:
        """Run alone."""
        effects[f"{context.run}/{context.key}"] += 1
        await dawdle()
        return f"alone {n}"

    @godwit.tool(repeatable=True)
    async def again(n: int) -> str:
        """May be run again."""
        await dawdle()
        return f"again {n}"

    return godwit.Agent(
        "tester",
        model=MODEL,
        tools=[work, ask, alone, again],
        permissions=godwit.Permissions(ask=("ask",)),
        limits=godwit.Limits(max_model_retries=20),
    )


async def come_to_rest(session: Session) -> None:
    """Resume, answer and wait until no run is open."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(GodwitError):
                await session.resume()
            for pending in await session.approvals.pending():
                with contextlib.suppress(NotFound):
                    await session.approve(pending.id)
            row = await session._store.session(session.id)
            if row.run is None and row.status == "idle":
                return
            await asyncio.sleep(0.01)


async def check(session: Session, accepted: set[str], *, crashed: bool = False) -> None:
    events = await session.events()
    assert [e.seq for e in events] == list(range(1, len(events) + 1)), "a gap"
    state, transcript = State(), Transcript()
    for event in events:
        state = fold(state, event)
        transcript.apply(event)
        wrong = list(problems(transcript.messages))
        assert not wrong, (event.seq, wrong)
    assert state == await session.state(), "the snapshot and the rest are not the whole"
    assert state.run is None

    inputs = {e.data.id for e in events if isinstance(e.data, UserMessage)}
    delivered = [e.data.id for e in events if isinstance(e.data, InputDelivered)]
    withdrawn = [e.data.id for e in events if isinstance(e.data, InputWithdrawn)]
    queued = [q.id for q in state.gate.queue]
    assert accepted <= inputs, "an accepted input is not in the log"
    assert Counter([*delivered, *withdrawn, *queued]) == Counter(inputs), "each input stands in exactly one place"

    runs = [e.data.run for e in events if isinstance(e.data, RunStarted)]
    assert runs == [e.data.run for e in events if isinstance(e.data, RunFinished)]
    started = Counter((e.run, e.data.call) for e in events if isinstance(e.data, ToolStarted))
    finished = Counter((e.run, e.data.call) for e in events if isinstance(e.data, ToolFinished))
    per_turn = Counter(finished)
    for key, count in started.items():
        assert per_turn[key] >= 1, key
        if not crashed:
            assert per_turn[key] >= count, ("started more often than finished", key)
    statuses = Counter(e.data.status for e in events if isinstance(e.data, ToolFinished))
    if not crashed:
        assert max((e.data.attempt for e in events if isinstance(e.data, RunClaimed)), default=1) == 1, "nobody died"
        assert statuses["unknown"] == 0, statuses
        assert not any(
            "internal" in (e.data.error.code if e.data.error else "") for e in events if isinstance(e.data, RunFinished)
        ), [e.data.error for e in events if isinstance(e.data, RunFinished)]
    for message in transcript.messages:
        assert not isinstance(message, Assistant) or message.content
        assert not isinstance(message, ToolResult) or message.content


async def steal(rng: random.Random, stores: Sequence[Any], session: Session) -> None:
    """Take the lease from whoever has it, now and then, and let it go: to its driver that is as good as a death."""
    for _ in range(12):
        await asyncio.sleep(rng.random() * 0.02)
        lease = await rng.choice(stores).claim(session.id, f"thief {rng.random()}", 60.0, force=True)
        await asyncio.sleep(rng.random() * 0.005)
        await rng.choice(stores).release(lease)


async def battle(
    bench: Bench,
    seed: int,
    *,
    two: bool,
    second_drives: bool = True,
    thieves: bool = False,
    salvos: int = 40,
    **options: Any,
) -> None:
    rng = random.Random(seed)
    effects: Counter[str] = Counter()
    turns = script(rng)

    async def runtime() -> Any:
        return await bench.runtime(models={MODEL: ScriptedModel(turns, MODEL, select=place_of)}, grace_s=0.2, **options)

    first = await runtime()
    session = await first.start_session(agent(rng, effects), session=f"ses_{seed}")
    handles = [session]
    if two:
        other = await runtime()
        handles.append(await other.open_session(session.id, agent=agent(rng, effects), drive=second_drives))
    fires = [Fire(random.Random(seed * 100 + n), handles) for n in range(3)]
    with contextlib.suppress(GodwitError):
        await session.prompt("Go.")
    work = [f.shoot(salvos) for f in fires]
    if thieves:
        work.append(steal(random.Random(seed), [r.store for r in bench.runtimes], session))
    await asyncio.wait_for(asyncio.gather(*work), PATIENCE_S)
    await come_to_rest(session)
    ended = await asyncio.wait_for(asyncio.gather(*(t for f in fires for t in f.beside), return_exceptions=True), PATIENCE_S)
    assert all(isinstance(e, GodwitError) for e in ended if isinstance(e, BaseException)), ended
    await check(session, set().union(*(f.accepted for f in fires)), crashed=thieves)
    assert max(effects.values(), default=1) == 1, "an effect that may happen once happened twice"
    # What was left behind does not keep the session from working on.
    with contextlib.suppress(RunFailed):
        running = asyncio.create_task(session.send("And now?"))
        await asyncio.sleep(0)
        await come_to_rest(session)
        await asyncio.wait_for(running, PATIENCE_S)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_one_runtime_under_fire(bench: Bench, seed: int) -> None:
    await battle(bench, seed, two=False, durability="process")


@pytest.mark.parametrize("seed", range(1000, 1000 + SEEDS))
async def test_two_runtimes_under_fire(bench: Bench, seed: int) -> None:
    await battle(bench, seed, two=True, durability="process")


@pytest.mark.parametrize("seed", range(2000, 2000 + SEEDS))
async def test_a_watching_runtime_under_fire(bench: Bench, seed: int) -> None:
    await battle(bench, seed, two=True, second_drives=False, durability="disk")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3000, 3000 + SEEDS))
async def test_leases_taken_under_fire(bench: Bench, seed: int) -> None:
    await battle(bench, seed, two=True, thieves=True, durability="process")


# --- a store that fails at every append ------------------------------------------------------------------------------


class FailingStore(SqliteStore):
    """The real store; the n-th append fails, once or from then on until it is told to work again."""

    fail_at = -1
    lasting = False
    count = 0

    @classmethod
    def arm(cls, at: int, *, lasting: bool) -> None:
        cls.fail_at, cls.lasting, cls.count = at, lasting, 0

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended:
        FailingStore.count += 1
        at = FailingStore.fail_at
        if at >= 0 and (FailingStore.count == at or (FailingStore.lasting and FailingStore.count > at)):
            raise StoreFull()
        return await super().append(session, events, epoch=epoch, expect=expect, key=key)


SCRIPT: list[Any] = [
    say("First. ") + call("work", n=1) + call("again", n=2),
    call("ask", n=1) + call("work", n=2),
    "done with the first",
    "followed",
    "more",
    "more",
    "more",
    "more",
]


async def failing(bench: Bench, at: int, *, lasting: bool) -> bool:
    """One session whose n-th append fails; False when it never came to that append."""
    effects: Counter[str] = Counter()
    FailingStore.arm(at, lasting=lasting)
    path = bench.path.with_name(f"f{at}{lasting}.db")
    runtime = await godwit.Runtime.open(
        path,
        store=FailingStore.open(path, durability="process"),
        models={MODEL: ScriptedModel(SCRIPT, MODEL)},
        grace_s=0.2,
    )
    accepted: set[str] = set()

    async def persist(work: Any) -> Any:
        """Do as a caller would: try again until the disk has room."""
        for _ in range(4):
            try:
                return await asyncio.wait_for(work(), PATIENCE_S)
            except StoreFull:
                FailingStore.lasting = False
                FailingStore.fail_at = FailingStore.fail_at if FailingStore.count < FailingStore.fail_at else -1
        raise AssertionError("still full")

    try:
        session = await runtime.start_session(agent(random.Random(1), effects), session="ses_f")
        run = await persist(lambda: session.prompt("Go.", key="go"))
        accepted.add(await persist(lambda: session.follow_up("And then?", key="then")))

        async def answer() -> None:
            while True:
                try:
                    for pending in await session.approvals.pending():
                        await session.approve(pending.id)
                except StoreFull:
                    FailingStore.lasting = False
                await asyncio.sleep(0.01)

        answering = asyncio.create_task(answer())
        try:
            result = await persist(lambda: session.wait(run))
        finally:
            answering.cancel()
        assert result.outcome == "done", result
        await come_to_rest(session)
        await check(session, accepted, crashed=True)
        assert max(effects.values()) == 1, "an effect that may happen once happened twice"
        assert result.text == "followed"
        events = await session.events()
        assert len([e for e in events if isinstance(e.data, UserMessage)]) == 2
        return FailingStore.count >= at
    finally:
        FailingStore.arm(-1, lasting=False)
        await asyncio.wait_for(runtime.close(), PATIENCE_S)


@pytest.mark.parametrize("lasting", [False, True])
async def test_the_store_fails_at_each_append(bench: Bench, lasting: bool) -> None:
    at = 1
    while await failing(bench, at, lasting=lasting):
        at += 1
    assert at > 10
