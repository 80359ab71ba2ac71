"""Promises about leases: one driver at a time, and no append by one who was the driver."""

from __future__ import annotations

import asyncio

from ...contracts import Appended, Lease
from ...core.errors import IllegalEvent, StaleEpoch
from ...core.events import ActionClosed, EventData, InputDelivered, RunClaimed, RunFinished, SessionConfigured, Unknown
from ...core.ids import InputId
from ..words import ACTION, RUN, S, drafts, drive, eventually, message, new_session, prompt, refused
from .suite import StoreSuite


class Leases(StoreSuite):
    """Epochs and who holds them."""

    async def test_without_an_epoch_only_events_from_outside(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            inside: list[EventData] = [
                RunClaimed(RUN, 1),
                RunFinished(RUN, "done"),
                InputDelivered(InputId("input-1")),
                ActionClosed(ACTION),
                Unknown("bird.flew", b'{"type":"bird.flew"}'),
            ]
            for data in inside:
                await refused(IllegalEvent, store.append(S, drafts(SessionConfigured(name="x"), data)))
            assert (await store.session(S)).head == 3

    async def test_only_the_newest_epoch_drives(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            old = await drive(store)
            new = await store.claim(S, "another", 60, force=True)
            assert new is not None
            assert new.epoch > old.epoch
            done = drafts(InputDelivered(InputId("input-1")), run=RUN)
            for epoch in (old.epoch, new.epoch + 1, 0):
                await refused(StaleEpoch, store.append(S, done, epoch=epoch))
            assert (await store.session(S)).head == 4
            assert await store.append(S, done, epoch=new.epoch) == Appended(5, 5)

    async def test_a_claim_between_appends_fences_at_once(self) -> None:
        """Also when the store writes all three in one go, as a group commit may."""
        async with self.opened() as store:
            await new_session(store)
            old = await store.claim(S, "old", 60)
            await prompt(store)
            assert old is not None
            _, lease, _ = await asyncio.gather(
                store.append(S, drafts(message(2, "before", "follow_up"))),
                store.claim(S, "new", 60, force=True),
                store.append(S, drafts(message(3, "behind", "follow_up"))),
            )
            assert lease is not None
            await refused(StaleEpoch, store.append(S, drafts(RunClaimed(RUN, 1), run=RUN), epoch=old.epoch))
            await store.append(S, drafts(RunClaimed(RUN, 1), run=RUN), epoch=lease.epoch)

    async def test_one_owner_at_a_time(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            one = await store.claim(S, "one", 60)
            assert one == Lease(S, 1, "one", 60)
            assert (await store.session(S)).owner == "one"
            assert await store.claim(S, "two", 60) is None
            assert await store.renew(one)
            again = await store.claim(S, "one", 60)
            assert again is not None
            assert again.epoch == 2
            assert not await store.renew(one)
            await store.release(one)
            assert (await store.session(S)).owner == "one"
            await store.release(again)
            await store.release(again)
            row = await store.session(S)
            assert (row.owner, row.epoch) == (None, 2)
            assert not await store.renew(again)
            two = await store.claim(S, "two", 60)
            assert two is not None
            assert two.epoch == 3
            forced = await store.claim(S, "three", 60, force=True)
            assert forced is not None
            assert forced.epoch == 4
            assert not await store.renew(two)
            racing = await asyncio.gather(*(store.claim(S, f"racer-{n}", 60, force=True) for n in range(8)))
            assert len({lease.epoch for lease in racing if lease is not None}) == 8

    async def test_a_lease_runs_out(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            short = await store.claim(S, "one", 0.05)
            assert short is not None
            lease = await eventually(lambda: store.claim(S, "two", 60))
            assert lease.epoch == short.epoch + 1
            assert not await store.renew(short)
            assert await store.renew(lease)
            assert (await store.session(S)).owner == "two"

    async def test_claims_of_free_sessions_race_for_one_winner(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            leases = await asyncio.gather(*(store.claim(S, f"racer-{n}", 60) for n in range(16)))
            assert sum(lease is not None for lease in leases) == 1

    async def test_who_has_ended_is_known(self) -> None:
        async with self.opened() as store:
            second = await self.make_second(store)
            assert not store.has_ended(store.owner)
            assert not store.has_ended("somebody")
            assert await store.others() == frozenset()
            if second is not None:
                assert store.owner
                owner = second.owner
                assert not store.has_ended(owner)
                assert len(await store.others()) == len(await second.others()) == 1
                assert await store.others() != await second.others()
                await second.close()
                assert store.has_ended(owner)
                assert await store.others() == frozenset()
