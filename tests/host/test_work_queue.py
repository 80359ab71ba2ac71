"""The queue that hands sessions to workers: by one conditional write each, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_S

import godwit
from godwit.core.agent import AgentSpec, ToolDefinition
from godwit.core.document import Document
from godwit.core.errors import Conflict, NotFound, WorkLost
from godwit.core.events import Delta
from godwit.core.ids import AgentName, Clock, ManualClock, SessionId, SystemClock
from godwit.host.work_item import WorkItem, item_of
from godwit.host.work_queue import KEPT_MS, RECLAIM_MS, WorkQueue, bell_of
from godwit.models.script import ScriptedModel, call, say

AGENT = AgentSpec(
    AgentName("far"),
    ("scripted:any",),
    external_tools=(ToolDefinition("look", "Look.", {"type": "object"}),),
)
WHERE: Any = {"place": "here", "tenant": None}


class Here:
    """A runtime whose sessions all work in the place `here`, and its queue."""

    def __init__(self, runtime: godwit.Runtime, queue: WorkQueue, clock: Clock) -> None:
        self.runtime = runtime
        self.queue = queue
        self.clock: Any = clock

    async def busy(self, session: str | None = None) -> godwit.Session:
        """A session whose run waits for a call to be answered; its item is in the queue."""
        handle = await self.runtime.start_session(AGENT, session=session)
        await self.prompt(handle)
        return handle

    async def prompt(self, handle: godwit.Session) -> None:
        await handle.prompt("look")
        async for event in handle.follow():
            if event.type == "run.parked":
                break
        for _ in range(1000):
            if await self.items(handle):
                return
            await asyncio.sleep(0)
        raise AssertionError("no item was made")

    async def items(self, handle: godwit.Session) -> list[WorkItem]:
        listed = await self.queue.list(**WHERE, limit=100, after=None, ascending=True)
        return [item for item in map(item_of, listed) if item.session == handle.id and item.state != "stopped"]

    async def take(self, worker: str = "w") -> Document:
        found = await self.queue.poll(**WHERE, worker=worker)
        assert found is not None
        return found


@asynccontextmanager
async def here(path: Path | str = ":memory:", clock: Clock | None = None, lease_s: int = 30) -> AsyncIterator[Here]:
    clock = clock or ManualClock()
    model = ScriptedModel([say("Looking.") + call("look"), say("Done.")] * 20)
    async with await godwit.Runtime.open(path, models={"scripted:any": model}, clock=clock) as runtime:

        async def place_of(_: SessionId, __: str | None) -> str | None:
            return "here"

        queue = WorkQueue(runtime.store, runtime.ids, clock, place_of, lease_s=lease_s)
        runtime.attend(queue)
        yield Here(runtime, queue, clock)


async def test_an_item_goes_through_all_its_states() -> None:
    async with here() as h:
        assert await h.queue.poll(**WHERE) is None
        session = await h.busy()
        polled = await h.take()
        item = item_of(polled)
        assert (item.session, item.state, item.worker, item.run is not None) == (session.id, "queued", "w", True)
        assert await h.queue.poll(**WHERE) is None, "it was handed out"
        taken = await h.queue.acknowledge(polled.id, **WHERE)
        assert item_of(taken).state == "starting"
        with pytest.raises(Conflict, match="starting"):
            await h.queue.acknowledge(polled.id, **WHERE)
        beaten = await h.queue.heartbeat(polled.id, **WHERE)
        first = item_of(beaten)
        assert (first.state, first.lease_s, first.started_ms) == ("active", 30, first.heartbeat_ms)
        again = item_of(await h.queue.heartbeat(polled.id, **WHERE, last_ms=first.heartbeat_ms, lease_s=5))
        assert (again.lease_s, again.heartbeat_ms) == (5, (first.heartbeat_ms or 0) + 1)
        await h.queue.heartbeat(polled.id, **WHERE, checked=False)
        asked = await h.queue.stop(polled.id, **WHERE)
        assert (item_of(asked).state, await h.queue.stop(polled.id, **WHERE)) == ("stopping", asked)
        assert item_of(await h.queue.heartbeat(polled.id, **WHERE, last_ms=1)).state == "stopping"
        stopped = await h.queue.stop(polled.id, **WHERE, force=True)
        assert (item_of(stopped).state, stopped.expires_ms) == ("stopped", h.clock.now_ms() + KEPT_MS)
        with pytest.raises(Conflict, match="has stopped"):
            await h.queue.stop(polled.id, **WHERE)
        assert item_of(await h.queue.heartbeat(polled.id, **WHERE)).state == "stopped"


async def test_what_was_not_acknowledged_is_handed_out_again() -> None:
    async with here() as h:
        await h.busy()
        first = await h.take("a")
        h.clock.advance(RECLAIM_MS / 1000 - 0.001)
        assert await h.queue.poll(**WHERE) is None
        assert await h.queue.poll(**WHERE, reclaim_ms=100) is not None
        h.clock.advance(RECLAIM_MS / 1000)
        second = await h.take("b")
        assert (second.id, item_of(second).worker) == (first.id, "b")


async def test_a_lease_that_ran_out_is_anothers_and_the_first_worker_is_told() -> None:
    async with here() as h:
        await h.busy()
        work = (await h.take("a")).id
        await h.queue.acknowledge(work, **WHERE)
        last = item_of(await h.queue.heartbeat(work, **WHERE)).heartbeat_ms
        h.clock.advance(29.9)
        assert await h.queue.poll(**WHERE) is None
        last = item_of(await h.queue.heartbeat(work, **WHERE, last_ms=last)).heartbeat_ms
        h.clock.advance(31)
        assert (await h.take("b")).id == work
        with pytest.raises(WorkLost):
            await h.queue.heartbeat(work, **WHERE, last_ms=last)
        await h.queue.acknowledge(work, **WHERE)
        with pytest.raises(WorkLost):
            await h.queue.heartbeat(work, **WHERE, last_ms=last)
        await h.queue.heartbeat(work, **WHERE)
        with pytest.raises(WorkLost):
            await h.queue.heartbeat(work, **WHERE)


async def test_a_worker_that_never_sent_a_heartbeat_loses_the_work() -> None:
    async with here() as h:
        await h.busy()
        work = (await h.take("a")).id
        await h.queue.acknowledge(work, **WHERE)
        h.clock.advance(31)
        assert (await h.take("b")).id == work
        with pytest.raises(WorkLost):
            await h.queue.heartbeat(work, **WHERE)


async def test_a_lease_is_kept_that_nobody_else_took() -> None:
    async with here() as h:
        await h.busy()
        work = (await h.take()).id
        await h.queue.acknowledge(work, **WHERE)
        last = item_of(await h.queue.heartbeat(work, **WHERE)).heartbeat_ms
        h.clock.advance(100)
        await h.queue.heartbeat(work, **WHERE, last_ms=last)
        assert await h.queue.poll(**WHERE) is None


async def test_of_many_who_poll_one_gets_it() -> None:
    async with here() as h:
        await h.busy()
        found = await asyncio.gather(*(h.queue.poll(**WHERE, worker=str(n)) for n in range(20)))
        assert len([one for one in found if one is not None]) == 1
        counts = await h.queue.counts(**WHERE)
        assert (counts.waiting, counts.pending, counts.polling) == (0, 1, 20)
        h.clock.advance(31)
        assert (await h.queue.counts(**WHERE)).polling == 0


async def test_of_many_in_two_processes_one_gets_it(tmp_path: Path) -> None:
    async with here(tmp_path / "g.db") as one, here(tmp_path / "g.db", one.clock) as other:
        for _ in range(5):
            await one.busy()
            queues = [one.queue, other.queue] * 5
            found = await asyncio.gather(*(queue.poll(**WHERE, worker=str(n)) for n, queue in enumerate(queues)))
            (taken,) = (document for document in found if document is not None)
            done = await asyncio.gather(*(queue.acknowledge(taken.id, **WHERE) for queue in queues), return_exceptions=True)
            assert len([document for document in done if isinstance(document, Document)]) == 1
            assert all(isinstance(error, Document | Conflict) for error in done)
            beaten = await asyncio.gather(*(queue.heartbeat(taken.id, **WHERE) for queue in queues), return_exceptions=True)
            assert len([document for document in beaten if isinstance(document, Document)]) == 1
            assert all(isinstance(error, Document | WorkLost) for error in beaten)


async def test_a_session_has_one_item_however_often_it_is_wanted() -> None:
    async with here() as h:
        session = await h.busy()
        run = (await h.items(session))[0].run
        await asyncio.gather(*(h.queue.want(session.id, "here", None, run) for _ in range(20)))
        assert len(await h.items(session)) == 1


async def test_the_oldest_comes_first_and_a_poll_is_woken() -> None:
    async with here(clock=SystemClock()) as h:
        waiting = asyncio.ensure_future(h.queue.poll(**WHERE, wait_ms=20_000))
        await asyncio.sleep(0)
        first = await h.busy()
        found = await asyncio.wait_for(waiting, PATIENCE_S)
        assert found is not None
        assert item_of(found).session == first.id
        second, third = await h.busy(), await h.busy()
        assert [item_of(await h.take()).session for _ in range(2)] == [second.id, third.id]


async def test_a_poll_is_woken_when_a_lease_runs_out() -> None:
    async with here(clock=SystemClock(), lease_s=1) as h:
        await h.busy()
        work = (await h.take("a")).id
        await h.queue.acknowledge(work, **WHERE)
        await h.queue.heartbeat(work, **WHERE)
        found = await asyncio.wait_for(h.queue.poll(**WHERE, worker="b", wait_ms=20_000), PATIENCE_S)
        assert found is not None
        assert (found.id, item_of(found).worker) == (work, "b")


async def test_work_that_ends_while_a_run_is_open_is_queued_again_and_ever_later() -> None:
    async with here() as h:
        await h.busy()
        seen = []
        for wait_s in (0, 1, 2, 4):
            if wait_s:
                h.clock.advance(wait_s - 0.001)
                assert await h.queue.poll(**WHERE) is None
                h.clock.advance(0.001)
            work = (await h.take()).id
            seen.append(work)
            await h.queue.acknowledge(work, **WHERE)
            await h.queue.stop(work, **WHERE, force=True)
            if wait_s == 0:
                again = (await h.take()).id
                await h.queue.stop(again, **WHERE)
        assert len(set(seen)) == 4


async def test_work_that_ends_when_the_session_rests_is_not_queued_again() -> None:
    async with here() as h:
        session = await h.busy()
        work = (await h.take()).id
        await h.queue.acknowledge(work, **WHERE)
        await session.interrupt()
        await h.queue.stop(work, **WHERE, force=True)
        assert await h.queue.poll(**WHERE) is None
        await h.prompt(session)
        assert item_of(await h.take()).session == session.id


async def test_an_item_nobody_needs_any_more_is_not_handed_out() -> None:
    async with here() as h:
        session = await h.busy()
        await session.interrupt()
        other = await h.busy()
        await h.runtime.archive(other.id)
        gone = await h.busy()
        await h.runtime.delete_session(gone.id)
        assert await h.queue.poll(**WHERE) is None
        assert not await h.items(session)
        await h.prompt(session)
        assert item_of(await h.take()).session == session.id


async def test_a_run_after_a_bad_one_does_not_wait_for_what_that_one_cost() -> None:
    async with here() as h:
        session = await h.busy()
        for _ in range(3):
            await h.queue.stop((await h.take()).id, **WHERE)
            h.clock.advance(2)
        await h.queue.stop((await h.take()).id, **WHERE)
        assert await h.queue.poll(**WHERE) is None
        await session.interrupt()
        waiting = asyncio.ensure_future(h.queue.poll(**WHERE, wait_ms=1 << 30))
        await h.prompt(session)
        found = await asyncio.wait_for(waiting, PATIENCE_S)
        assert found is not None
        assert item_of(found).tries == 0


async def test_tenants_and_places_are_apart() -> None:
    async with here() as h:
        await h.busy()
        assert await h.queue.poll("here", tenant="other") is None
        assert await h.queue.poll("there", tenant=None) is None
        work = (await h.take()).id
        for elsewhere in ({"place": "here", "tenant": "other"}, {"place": "there", "tenant": None}):
            where: Any = elsewhere
            asks = (h.queue.acknowledge, h.queue.heartbeat, h.queue.stop, h.queue.get)
            for ask in asks:
                with pytest.raises(NotFound, match="there is no work"):
                    await ask(work, **where)
            with pytest.raises(NotFound, match="there is no work"):
                await h.queue.describe(work, dict, **where)
            assert await h.queue.list(**where, limit=10, after=None) == []


async def test_metadata_is_kept_from_worker_to_worker() -> None:
    async with here() as h:
        await h.busy()
        work = (await h.take()).id
        noted = await h.queue.describe(work, lambda old: {**old, "a": "1"}, **WHERE)
        assert item_of(noted).metadata == {"a": "1"}
        h.clock.advance(6)
        assert item_of(await h.take()).metadata == {"a": "1"}


async def test_a_note_takes_the_work_from_nobody() -> None:
    async with here() as h:
        await h.busy()
        work = (await h.take()).id
        await asyncio.gather(
            h.queue.acknowledge(work, **WHERE),
            *(h.queue.describe(work, lambda old, n=n: {**old, str(n): ""}, **WHERE) for n in range(5)),  # type: ignore[misc]
        )
        await asyncio.gather(
            h.queue.heartbeat(work, **WHERE),
            *(h.queue.describe(work, lambda old, n=n: {**old, str(n): ""}, **WHERE) for n in range(5, 10)),  # type: ignore[misc]
        )
        item = item_of(await h.queue.get(work, **WHERE))
        assert (item.state, len(item.metadata)) == ("active", 10)


async def test_whoever_drives_next_makes_the_item_that_a_crash_kept_from_being_made(tmp_path: Path) -> None:
    clock = ManualClock()
    async with here(tmp_path / "g.db", clock) as h:
        session = await h.busy()
        for document in await h.queue.list(**WHERE, limit=9, after=None):
            await h.runtime.store.delete_document(document.kind, document.id, tenant=None)
    async with here(tmp_path / "g.db", clock) as h:
        assert await h.queue.poll(**WHERE) is None
        assert await h.runtime.desk.recover() == [session.id]
        found = await asyncio.wait_for(h.queue.poll(**WHERE, wait_ms=1 << 30), PATIENCE_S)
        assert found is not None
        assert item_of(found).session == session.id


async def test_a_poll_in_another_process_is_woken_when_there_is_work(tmp_path: Path) -> None:
    clock, heard = SystemClock(), asyncio.Event()
    async with here(tmp_path / "g.db", clock) as h, await godwit.Runtime.open(tmp_path / "g.db", models={}) as runtime:

        async def place_of(_: SessionId, __: str | None) -> str | None:
            return "here"

        # A store of its own, which hears of the other one by its sockets alone.
        queue = WorkQueue(runtime.store, runtime.ids, clock, place_of)
        async with asyncio.timeout(PATIENCE_S):
            # Until the other one knows that somebody listens, what it says is heard by nobody.
            runtime.store.watch(bell_of("here"), lambda _: heard.set())
            while not heard.is_set():
                h.runtime.store.publish(Delta(bell_of("here"), "progress", "work"))
                await asyncio.sleep(0)
            for number in range(3):
                polling = asyncio.create_task(queue.poll(**WHERE, worker="w", wait_ms=60_000))
                session = await h.busy(f"ses_{number}")
                found = await polling
                assert found is not None
                assert item_of(found).session == session.id
                await queue.stop(found.id, **WHERE, force=True)
                await session.interrupt()
