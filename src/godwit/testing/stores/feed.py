"""Promises about the feed: what happens in all sessions and to documents, in the order of commits."""

from __future__ import annotations

import asyncio

from ...core.document import Document
from ...core.errors import DocumentExists, InvalidArgument
from ...core.events import Labels, RunStarted, SessionArchived, SessionConfigured
from ...core.feed import DELETED
from ...core.ids import SessionId
from ..words import S, drafts, new_session, prompt, refused, within
from .suite import StoreSuite

TYPES = ("run.started", "session.archived", DELETED, "document.nest")


class Feeds(StoreSuite):
    """The feed of a store."""

    async def test_nothing_is_fed_unless_it_is_asked_for(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.put_documents([Document("nest", "a", b"{}")])
            assert (await store.feed(), await store.wait_feed(0, 0)) == ([], 0)
            await store.set_feed_types(TYPES)
            await prompt(store)
            assert [(one.type, one.subject, one.seq) for one in await store.feed()] == [("run.started", S, 3)]
            await store.set_feed_types(())
            await store.append(S, drafts(SessionConfigured(name="x")))
            await store.put_documents([Document("nest", "b", b"{}")])
            assert len(await store.feed()) == 1

    async def test_entries_say_what_happened_and_whose_it_is(self) -> None:
        async with self.opened() as store:
            await store.set_feed_types(TYPES)
            other = SessionId("other")
            await new_session(store, labels=Labels(tenant="t"))
            await new_session(store, other)
            await prompt(store)
            await store.append(other, drafts(SessionArchived()))
            await store.delete(other)
            entries = await store.feed()
            assert [(e.type, e.subject, e.tenant, e.seq) for e in entries] == [
                ("run.started", S, "t", 3),
                ("session.archived", other, None, 2),
                (DELETED, other, None, 2),
            ]
            started = (await store.read(S, 2))[0]
            assert entries[0].event().data == started.data
            assert isinstance(entries[0].event().data, RunStarted)
            assert await store.feed(entries[0].position, limit=1) == entries[1:2]
            await refused(InvalidArgument, store.feed(limit=-1))

    async def test_documents_are_fed_with_what_becomes_of_them(self) -> None:
        async with self.opened() as store:
            await store.set_feed_types(TYPES)
            (first,) = await store.put_documents([Document("nest", "a", b"{}", "t", keys={"tree": "oak"})])
            (second,) = await store.put_documents([first.changed({"n": 1})])
            (third,) = await store.put_documents([second.changed({"n": 1}, archived_ms=5)])
            await store.put_documents([third.changed({"n": 2})])
            await store.put_documents([Document("tree", "a", b"{}")])
            await refused(
                DocumentExists, store.put_documents([Document("nest", "new", b"{}"), Document("nest", "a", b"{}", "t")])
            )
            await store.delete_document("nest", "a", tenant="t")
            found = [(e.type, e.subject, e.tenant, e.seq, e.change().change) for e in await store.feed()]
            assert found == [
                ("document.nest", "a", "t", 1, "created"),
                ("document.nest", "a", "t", 2, "changed"),
                ("document.nest", "a", "t", 3, "archived"),
                ("document.nest", "a", "t", 4, "changed"),
                ("document.nest", "a", "t", 4, "deleted"),
            ]
            assert {tuple(e.change().keys.items()) for e in await store.feed()} == {(("tree", "oak"),)}

    async def test_positions_are_never_given_twice(self) -> None:
        async with self.opened() as store:
            await store.set_feed_types(TYPES)
            for number in range(3):
                await store.put_documents([Document("nest", str(number), b"{}")])
            positions = [one.position for one in await store.feed()]
            assert positions == sorted(set(positions))
            await store.trim_feed(positions[1])
            assert [one.position for one in await store.feed()] == positions[2:]
            await store.trim_feed(positions[2])
            assert (await store.feed(), await store.wait_feed(0, 0)) == ([], positions[2])
            await store.put_documents([Document("nest", "3", b"{}")])
            assert (await store.feed())[0].position > positions[2]

    async def test_who_waits_is_woken_whoever_commits(self) -> None:
        async with self.opened() as store:
            await store.set_feed_types(TYPES)
            stores = [store]
            second = await self.make_second(store)
            if second is not None:
                stores.append(second)
            try:
                for number, writing in enumerate(stores):
                    last = await store.wait_feed(0, 0)
                    waiting = [asyncio.ensure_future(one.wait_feed(last)) for one in stores]
                    await asyncio.sleep(0)
                    await writing.put_documents([Document("nest", str(number), b"{}")])
                    for one in waiting:
                        assert await within(one) > last
                if second is not None:
                    # A process that only writes learns what is fed now.
                    await store.set_feed_types(())
                    await second.put_documents([Document("nest", "late", b"{}")])
                    assert [one.subject for one in await store.feed()] == ["0", "1"]
                    await store.set_feed_types(TYPES)
                    await second.put_documents([Document("nest", "again", b"{}")])
                    assert [one.subject for one in await store.feed()] == ["0", "1", "again"]
            finally:
                if second is not None:
                    await second.close()
