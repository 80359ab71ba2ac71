"""Promises about documents: of a tenant, with revisions, keys and an end."""

from __future__ import annotations

import asyncio

import msgspec

from ...core.document import Document, encode_body
from ...core.errors import DocumentExists, DocumentNotFound, InvalidArgument, RevisionConflict
from ..words import S, new_session, refused
from .suite import StoreSuite


def nest(name: str, tenant: str | None = None, **keys: str) -> Document:
    return Document("nest", name, encode_body({"name": name}), tenant, keys=keys)


class Documents(StoreSuite):
    """Documents of a tenant, with revisions, keys and an end."""

    async def test_a_document_is_kept_with_revisions(self) -> None:
        async with self.opened() as store:
            (first,) = await store.put_documents([nest("a", colour="red")])
            assert (first.revision, first.created_ms, first.keys) == (1, first.updated_ms, {"colour": "red"})
            assert await store.get_document("nest", "a", tenant=None) == first
            (second,) = await store.put_documents([first.changed({"name": "b"}, keys={"colour": "blue"}, archived_ms=7)])
            assert (second.revision, second.created_ms, second.archived_ms) == (2, first.created_ms, 7)
            assert (await store.get_document("nest", "a", tenant=None)).data() == {"name": "b"}
            assert await store.documents("nest", tenant=None, keys={"colour": "red"}) == []
            await refused(RevisionConflict, store.put_documents([first.changed({"name": "late"})]))
            await refused(DocumentExists, store.put_documents([nest("a")]))
            await refused(DocumentNotFound, store.put_documents([msgspec.structs.replace(nest("x"), revision=1)]))
            assert await store.get_document("nest", "a", tenant=None) == second

    async def test_documents_are_put_and_removed_in_one_commit(self) -> None:
        async with self.opened() as store:
            await store.put_documents([nest("a"), nest("b"), nest("a", "other")])
            gone = [("nest", "a"), ("nest", "b"), ("nest", "never")]
            await refused(DocumentExists, store.put_documents([nest("c"), nest("b")], remove=gone))
            assert len(await store.documents("nest", tenant=None)) == 2
            await store.put_documents([nest("c")], remove=gone)
            assert [d.id for d in await store.documents("nest", tenant=None)] == ["c"]
            assert [d.id for d in await store.documents("nest", tenant="other")] == ["a"]
            await store.put_documents([], remove=[("nest", "a")], tenant="other")
            assert await store.documents("nest", tenant="other") == []

    async def test_what_is_put_ahead_is_there_with_the_next_thing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            for name in ("flushed", "taken"):
                ahead = asyncio.ensure_future(store.put_documents([nest(name)], ahead=True))
                await asyncio.sleep(0)
                await (store.flush() if name == "flushed" else store.delete_document("nest", "none", tenant=None))
                assert [d.id for d in await store.documents("nest", tenant=None, limit=1)] == [name]
                assert [d.id for d in await ahead] == [name]
                await store.delete_document("nest", name, tenant=None)
            await store.put_documents([nest("a")])
            taken = [asyncio.ensure_future(store.put_documents([nest(name)], ahead=True)) for name in ("a", "b", "c")]
            await asyncio.sleep(0)
            await store.put_documents([nest("d")])
            await refused(DocumentExists, taken[0])
            await asyncio.gather(*taken[1:])
            assert sorted(d.id for d in await store.documents("nest", tenant=None)) == ["a", "b", "c", "d"]

    async def test_a_tenant_has_documents_of_its_own(self) -> None:
        async with self.opened() as store:
            await store.put_documents([nest("a"), nest("a", "one"), nest("a", "two"), nest("b", "two")])
            assert [d.id for d in await store.documents("nest", tenant="two", ascending=True)] == ["a", "b"]
            assert [d.tenant for d in await store.documents("nest", tenant="one")] == ["one"]
            assert [d.tenant for d in await store.documents("nest", tenant=None)] == [None]
            assert await store.delete_document("nest", "a", tenant="one")
            assert not await store.delete_document("nest", "a", tenant="one")
            await refused(DocumentNotFound, store.get_document("nest", "a", tenant="one"))
            await refused(DocumentNotFound, store.get_document("nest", "b", tenant=None))
            await refused(DocumentNotFound, store.get_document("tree", "b", tenant="two"))
            assert (await store.get_document("nest", "a", tenant="two")).tenant == "two"

    async def test_all_are_stored_or_none(self) -> None:
        async with self.opened() as store:
            await store.put_documents([nest("taken")])
            await refused(DocumentExists, store.put_documents([nest("new"), nest("taken")]))
            await refused(DocumentNotFound, store.get_document("nest", "new", tenant=None))

    async def test_a_unique_key_is_had_once_within_kind_and_tenant(self) -> None:
        def named(name: str, value: str, tenant: str | None = None, kind: str = "nest") -> Document:
            return Document(kind, name, b"{}", tenant, unique={"name": value})

        async with self.opened() as store:
            (first,) = await store.put_documents([named("a", "oak")])
            error = await refused(DocumentExists, store.put_documents([named("b", "oak")]))
            assert error.details["id"] == "a"
            await store.put_documents([named("c", "oak", "one"), named("d", "oak", kind="tree"), named("e", "elm")])
            (moved,) = await store.put_documents([msgspec.structs.replace(first, unique={"name": "ash"})])
            assert moved.unique == {"name": "ash"}
            await store.put_documents([named("b", "oak")])
            await refused(DocumentExists, store.put_documents([msgspec.structs.replace(moved, unique={"name": "oak"})]))
            await store.delete_document("nest", "b", tenant=None)
            await store.put_documents([msgspec.structs.replace(moved, unique={"name": "oak"})])

    async def test_keys_find_and_list(self) -> None:
        async with self.opened() as store:
            await store.put_documents(
                [nest("a", colour="red", size="s"), nest("b", colour="red"), nest("c", "one", mark="x")]
            )
            found = await store.documents("nest", tenant=None, keys={"colour": "red"}, ascending=True)
            assert [d.id for d in found] == ["a", "b"]
            assert [d.id for d in await store.documents("nest", tenant=None, keys={"colour": "red", "size": "s"})] == ["a"]
            one = await store.find_document("nest", "mark", "x")
            assert one is not None
            assert (one.id, one.tenant) == ("c", "one")
            assert await store.find_document("nest", "mark", "y") is None
            assert await store.find_document("tree", "mark", "x") is None

    async def test_those_of_all_tenants_are_found(self) -> None:
        async with self.opened() as store:
            for name, tenant in (("a", None), ("b", "one"), ("c", "two"), ("d", "one")):
                await store.put_documents([nest(name, tenant, mark="x")])
            await store.put_documents([nest("e", "one", mark="y"), nest("f", "one")])
            seen: list[str] = []
            after = None
            while page := await store.find_documents("nest", "mark", "x", limit=3, after=after):
                seen += [d.id for d in page]
                after = (page[-1].created_ms, page[-1].id)
            assert sorted(seen) == ["a", "b", "c", "d"]
            await refused(InvalidArgument, store.find_documents("nest", "mark", "x", limit=-1))

    async def test_pages_follow_each_other(self) -> None:
        async with self.opened() as store:
            for start in range(0, 10, 2):
                await store.put_documents([nest(f"n{start}"), nest(f"n{start + 1}")])
            stored = {d.id: d for d in await store.documents("nest", tenant=None, limit=100)}
            for ascending in (True, False):
                seen: list[str] = []
                after = None
                while page := await store.documents("nest", tenant=None, limit=3, after=after, ascending=ascending):
                    seen += [d.id for d in page]
                    after = (page[-1].created_ms, page[-1].id)
                assert seen == sorted(stored, key=lambda n: (stored[n].created_ms, n), reverse=not ascending)
            await refused(InvalidArgument, store.documents("nest", tenant=None, limit=-1))
            middle = stored["n4"].created_ms
            listed = await store.documents("nest", tenant=None, limit=100, created_from_ms=middle, created_to_ms=middle)
            assert {d.id for d in listed} == {n for n, d in stored.items() if d.created_ms == middle}

    async def test_the_archived_are_told_apart(self) -> None:
        async with self.opened() as store:
            await store.put_documents([nest("a"), msgspec.structs.replace(nest("b"), archived_ms=1)])
            for archived, ids in ((None, {"a", "b"}), (True, {"b"}), (False, {"a"})):
                assert {d.id for d in await store.documents("nest", tenant=None, archived=archived)} == ids

    async def test_what_has_expired_is_not_there(self) -> None:
        async with self.opened() as store:
            gone = msgspec.structs.replace(nest("a", mark="x"), expires_ms=1, unique={"name": "oak"})
            await store.put_documents([gone, msgspec.structs.replace(nest("b"), expires_ms=1 << 60)])
            await refused(DocumentNotFound, store.get_document("nest", "a", tenant=None))
            await refused(DocumentNotFound, store.document_content("nest", "a", tenant=None))
            assert await store.find_document("nest", "mark", "x") is None
            assert [d.id for d in await store.documents("nest", tenant=None)] == ["b"]
            (again,) = await store.put_documents([nest("a")])
            assert again.revision == 1
            await store.put_documents([msgspec.structs.replace(nest("c"), expires_ms=1)])
            assert await store.purge_documents() == 1
            assert await store.purge_documents() == 0

    async def test_bytes_are_kept_beside(self) -> None:
        async with self.opened() as store:
            (stored,) = await store.put_documents([nest("a")], contents={"a": b"\0egg"})
            await store.put_documents([nest("b")])
            assert await store.document_content("nest", "a", tenant=None) == b"\0egg"
            assert await store.document_content("nest", "b", tenant=None) == b""
            await store.put_documents([stored], contents={"a": b"bird"})
            assert await store.document_content("nest", "a", tenant=None) == b"bird"
            await refused(DocumentNotFound, store.document_content("nest", "a", tenant="one"))
            await store.delete_document("nest", "a", tenant=None)
            await store.put_documents([nest("a")])
            assert await store.document_content("nest", "a", tenant=None) == b""

    async def test_a_document_goes_with_its_session(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            own = msgspec.structs.replace(nest("a", "one"), session=S)
            (stored,) = await store.put_documents([own], contents={"a": b"egg"})
            assert stored.session == S
            await store.put_documents(
                [stored.changed({"name": "b"}), msgspec.structs.replace(nest("b"), session=S), nest("c")]
            )
            assert (await store.get_document("nest", "a", tenant="one")).session == S
            assert await store.stray_documents(1 << 60) == []
            await store.delete(S)
            await refused(DocumentNotFound, store.get_document("nest", "a", tenant="one"))
            assert await store.document_bytes("one") == 0
            assert [d.id for d in await store.documents("nest", tenant=None)] == ["c"]

    async def test_one_whose_session_was_never_made_is_found(self) -> None:
        async with self.opened() as store:
            never = [msgspec.structs.replace(nest(name, tenant), session=S) for name, tenant in (("a", "one"), ("b", None))]
            (a, b) = await store.put_documents([*never])
            await store.put_documents([nest("c")])
            assert await store.stray_documents(1 << 60) == [a, b]
            assert await store.stray_documents(1 << 60, limit=1) == [a]
            assert await store.stray_documents(a.created_ms) == []
            await refused(InvalidArgument, store.stray_documents(1, limit=-1))
            await new_session(store)
            assert await store.stray_documents(1 << 60) == []

    async def test_of_many_who_change_one_revision_one_wins(self) -> None:
        async with self.opened() as store:
            (stored,) = await store.put_documents([nest("a")])
            second = await self.make_second(store)
            stores = [store, second or store]
            changes = [stores[n % 2].put_documents([stored.changed({"by": n})]) for n in range(8)]
            results = await asyncio.gather(*changes, return_exceptions=True)
            assert sorted(type(r).__name__ for r in results) == ["RevisionConflict"] * 7 + ["list"]
            if second is not None:
                await second.close()

    async def test_documents_with_a_key_are_counted(self) -> None:
        async with self.opened() as store:
            found = [
                msgspec.structs.replace(nest(name, tenant), keys={"waits": name})
                for name, tenant in (("a", "one"), ("b", None))
            ]
            await store.put_documents(
                [*found, nest("c"), msgspec.structs.replace(nest("d"), keys={"waits": "d"}, expires_ms=1)]
            )
            assert [await store.count_documents("nest", key) for key in ("waits", "held")] == [2, 0]
            assert await store.count_documents("tree", "waits") == 0
            await store.delete_document("nest", "b", tenant=None)
            assert await store.count_documents("nest", "waits") == 1

    async def test_bytes_of_a_tenant_are_counted(self) -> None:
        async with self.opened() as store:
            await store.put_documents([nest("x", "one"), nest("y", "two")], contents={"x": b"12345"})
            assert await store.document_bytes("one") == len(nest("x").body) + 5
            assert await store.document_bytes("one", leave_out=["tree", "nest"]) == 0
            tree = Document("tree", "t", b'{"leaves": 7}', "one")
            await store.put_documents([tree])
            assert await store.document_bytes("one") == len(nest("x").body) + 5 + len(tree.body)
            assert await store.document_bytes("one", leave_out=["nest"]) == len(tree.body)
            assert await store.document_bytes(None) == 0
