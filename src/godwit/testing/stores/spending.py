"""Promises about what was spent: counted as the fold counts it, once, and up to the root of the tree."""

from __future__ import annotations

import asyncio

from ...core.budget import Spent
from ...core.errors import HeadMoved, IllegalEvent, SessionNotFound
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunParked,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    TurnStarted,
    Unknown,
    UsageRecorded,
    UserAnswer,
)
from ...core.ids import InputId, MessageId, SessionId
from ...core.messages import Assistant, ToolCall, Usage
from ..words import ACTION, CALL, RUN, T0, S, drafts, folded, message, new_child, new_session, prompt, refused, spend
from .suite import StoreSuite


class Spending(StoreSuite):
    """Sums of sessions and of those above them."""

    async def test_spending_is_counted_as_the_fold_counts_it(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await store.spent(S) == Spent()
            await refused(SessionNotFound, store.spent(SessionId("nobody")))
            await prompt(store)
            lease = await store.claim(S, "driver", 60)
            assert lease is not None
            answer = Assistant(
                MessageId("m"), (ToolCall(CALL, "bash"),), usage=Usage(900, 100, 500, requests=1, cost_usd=0.1)
            )
            steps: list[tuple[int, list[EventData]]] = [
                (1_000, [RunClaimed(RUN, 1), InputDelivered(InputId("input-1"))]),
                (2_000, [TurnStarted(1), ModelStarted(answer.id, "test:model")]),
                (5_000, [AgentMessage(answer), ToolStarted(CALL, "bash", {}, "key")]),
                (5_500, [ToolFinished(CALL, "bash", "ok"), UsageRecorded("title", "test:model", Usage(7, 3, cost_usd=0.2))]),
                (6_000, [ActionOpened(ACTION, "approval", None, "budget"), RunParked(RUN, (ACTION,))]),
            ]
            for at_ms, data in steps:
                await store.append(S, drafts(*data, at_ms=T0 + at_ms, run=RUN), epoch=lease.epoch)
            spent = await store.spent(S)
            assert spent == Spent(1010, 0.3, 1, 1, 5.0)
            assert spent == folded(await store.read(S)).spent()
            # Time runs only while the run is in a driver's hands.
            await store.append(S, drafts(UserAnswer(ACTION, "approve"), at_ms=T0 + 60_000, run=RUN))
            assert (await store.spent(S)).time_s == 5.0
            claim = drafts(RunClaimed(RUN, 1), ActionClosed(ACTION), at_ms=T0 + 70_000, run=RUN)
            await store.append(S, claim, epoch=lease.epoch)
            await store.append(S, drafts(Unknown("x.y", b'{"type":"x.y"}'), at_ms=T0 + 72_000, run=RUN), epoch=lease.epoch)
            assert (await store.spent(S)).time_s == 7.0
            # A driver has died: what lies between its last word and the next claim does not count.
            await store.append(S, drafts(message(3, delivery="steer"), at_ms=T0 + 500_000))
            await store.append(S, drafts(RunClaimed(RUN, 2), at_ms=T0 + 900_000, run=RUN), epoch=lease.epoch)
            assert (await store.spent(S)).time_s == 7.0
            assert await store.spent(S) == folded(await store.read(S)).spent()

    async def test_refused_and_repeated_appends_spend_nothing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await spend(store, S, 10, 0.5, key="once")
            await spend(store, S, 10, 0.5, key="once")
            await refused(HeadMoved, store.append(S, drafts(UsageRecorded("a", "m", Usage(1, 1))), expect=1))
            await refused(IllegalEvent, store.append(S, drafts(UsageRecorded("a", "m", Usage(1, 1)), TurnStarted(1))))
            assert await store.spent(S) == Spent(10, 0.5, 0, 1)
            # Rewinding refunds nothing; what no provider would say counts as nothing.
            await store.append(S, drafts(SessionRewound(1), UsageRecorded("a", "m", Usage(-5, 2, cost_usd=-1.0))))
            assert await store.spent(S) == Spent(12, 0.5, 0, 1)

    async def test_a_parent_pays_for_its_descendants(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await refused(SessionNotFound, new_child(store, "lost", "nobody"))
            await refused(SessionNotFound, store.session(SessionId("lost")))
            child = await new_child(store, "child", S)
            other = await new_child(store, "other", S)
            grandchild = await new_child(store, "grandchild", "child")
            assert (await store.session(grandchild)).parent == child
            assert [(r.id, r.parent) for r in await store.sessions(prefix="other")] == [(other, S)]
            assert (await store.session(S)).parent is None
            await spend(store, S, 1)
            await spend(store, child, 10, 0.1)
            await spend(store, other, 100, 0.2)
            await spend(store, grandchild, 1000, 0.4)
            found = {s: await store.spent(s) for s in (S, child, other, grandchild)}
            assert {s: (one.tokens, one.usd, one.tool_calls) for s, one in found.items()} == {
                S: (1111, 0.7, 4),
                child: (1010, 0.5, 2),
                other: (100, 0.2, 1),
                grandchild: (1000, 0.4, 1),
            }

    async def test_deleted_descendants_still_count(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            child = await new_child(store, "child", S)
            grandchild = await new_child(store, "grandchild", "child")
            await spend(store, child, 10)
            await spend(store, grandchild, 100)
            await store.delete(child)
            assert (await store.spent(S)).tokens == 110
            # What worked for it works for its own parent now.
            assert (await store.session(grandchild)).parent == S
            await spend(store, grandchild, 1000)
            assert (await store.spent(S)).tokens == 1110
            await store.delete(S)
            assert (await store.session(grandchild)).parent is None
            await spend(store, grandchild, 10_000)
            assert (await store.spent(grandchild)).tokens == 11_100
            # One of the same name begins from nothing, also for those that once worked for it.
            await new_session(store)
            await spend(store, grandchild, 1)
            assert await store.spent(S) == Spent()

    async def test_many_spend_at_once(self) -> None:
        async with self.opened() as one:
            two = await self.make_second(one)
            await new_session(one)
            children = [await new_child(one, f"child-{n}", S) for n in range(4)]
            stores = [one] if two is None else [one, two]
            try:
                await asyncio.gather(
                    *(spend(store, child, 10 + n, 0.01) for store in stores for n in range(5) for child in children)
                )
                each = sum(10 + n for n in range(5)) * len(stores)
                for store in stores:
                    assert [(await store.spent(c)).tokens for c in children] == [each] * 4
                    assert await store.spent(S) == Spent(each * 4, 0.01 * 20 * len(stores), 0, 20 * len(stores))
            finally:
                if two is not None:
                    await two.close()
