"""The conformance suite of stores of memories: the promises of `godwit.contracts.MemoryStore`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..contracts import MemoryStore, Vector
from ..core.errors import InvalidArgument, MemoryNotFound
from ..core.ids import ManualClock
from ..core.memory import Memory, MemoryReach, PrunePolicy
from .words import refused

ANN = MemoryReach("ann", "/boats", "acme")
HERS = ANN.places()
DAY_S = 86_400.0


def memory(id_: str, content: str, scope: str = "user", *, reach: MemoryReach = ANN, **more: object) -> Memory:
    return msgspec.structs.replace(Memory(id_, content, place=reach.place(scope)), **more)  # type: ignore[arg-type]


class MemoryConformance:
    """The promises of `MemoryStore`. Subclass it, and give `make_store`; `reopened`, where what is kept outlives a store."""

    async def make_store(self, clock: ManualClock) -> MemoryStore:
        """A new, empty one, whose time is this clock's."""
        raise AssertionError("a subclass of MemoryConformance says how its store is made")

    async def reopened(self, store: MemoryStore, clock: ManualClock) -> MemoryStore:
        """Close it and open another on the same data."""
        return store

    async def end(self, store: MemoryStore) -> None:
        """Close it."""

    async def test_what_is_put_is_there_after_a_restart(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        given = memory(
            "m1",
            "The harbour opens at six.",
            kind="semantic",
            importance=0.7,
            tags=("harbour",),
            metadata={"by": 1},
            session="s",
        )
        stored = await store.put_memory(given)
        assert stored == msgspec.structs.replace(given, created_ms=clock.now_ms(), updated_ms=clock.now_ms())
        store = await self.reopened(store, clock)
        assert await store.get_memory("m1", HERS) == stored
        await refused(MemoryNotFound, store.get_memory("m2", HERS))
        assert [f.memory.id for f in await store.search_memories("harbour", HERS)] == ["m1"]
        await self.end(store)

    async def test_one_id_is_one_memory_of_its_place(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        first = await store.put_memory(memory("m", "red paint"))
        await store.touch_memories([first])
        clock.advance(5)
        assert (await store.put_memory(memory("m", "red paint"))).updated_ms == first.updated_ms
        second = await store.put_memory(memory("m", "blue varnish", importance=0.9))
        assert (second.created_ms, second.updated_ms, second.access_count) == (first.created_ms, clock.now_ms(), 1)
        assert (await store.count_memories(HERS)).total == 1
        assert await store.search_memories("paint", HERS) == []
        assert [f.memory for f in await store.search_memories("varnish", HERS)] == [second]
        await store.put_memory(memory("m", "the project's", "project"))
        assert (await store.count_memories(HERS)).scopes == {"user": 1, "project": 1}
        assert (await store.get_memory("m", HERS)).content == "blue varnish"
        assert (await store.get_memory("m", ANN.places(["project"]))).content == "the project's"
        assert await store.delete_memory("m", HERS)
        assert (await store.get_memory("m", HERS)).content == "the project's"
        await self.end(store)

    async def test_nobody_sees_what_belongs_to_another(self) -> None:
        store = await self.make_store(ManualClock())
        theirs = [
            MemoryReach("bob", "/boats", "acme").place("user"),
            MemoryReach("ann", "/boats", "rival").place("user"),
            MemoryReach("ann", "/boats", "rival").place("tenant"),
            MemoryReach("ann", "/boats").place("user"),
            MemoryReach(None, "/boats", "acme").place("user"),
            MemoryReach("ann", "/cars", "acme").place("project"),
            MemoryReach("ann", "/boats", "rival").place("project"),
        ]
        for place in theirs:
            await store.put_memory(
                Memory("m", "The secret harbour", place=place, tags=("t",)), vector=Vector("e", [1.0, 0.0])
            )
        before = [await store.get_memory("m", [place]) for place in theirs]
        await refused(MemoryNotFound, store.get_memory("m", HERS))
        assert await store.search_memories("secret harbour", HERS, vector=Vector("e", [1.0, 0.0])) == []
        assert await store.list_memories(HERS) == await store.list_memories(HERS, tags=["t"]) == []
        assert (await store.count_memories(HERS)).total == 0
        assert not await store.delete_memory("m", HERS)
        assert await store.clear_memories(HERS) == 0
        assert await store.prune_memories(PrunePolicy(max_items=0), HERS) == 0
        await store.put_memory(memory("m", "her own harbour"))
        assert [f.memory.content for f in await store.search_memories("secret harbour", HERS)] == ["her own harbour"]
        assert [await store.get_memory("m", [place]) for place in theirs] == before
        await self.end(store)

    async def test_not_all_words_need_to_be_there_and_more_are_better(self) -> None:
        store = await self.make_store(ManualClock())
        for id_, text in (
            ("one", "The anchor is rusty"),
            ("two", "The anchor of the red boat"),
            ("three", "Red boat: its anchor is lost, buy a chain"),
            ("none", "A recipe for bread"),
        ):
            await store.put_memory(memory(id_, text))
        prompt = "Please look where the ANCHOR and the chain of our red boat are, and order what is missing."
        assert [f.memory.id for f in await store.search_memories(prompt, HERS)] == ["three", "two", "one"]
        assert [f.memory.id for f in await store.search_memories(prompt, HERS, limit=1)] == ["three"]
        await self.end(store)

    async def test_words_are_found_in_any_language(self) -> None:
        store = await self.make_store(ManualClock())
        texts = {
            "es": "La reunión es el miércoles",
            "el": "Ο Κώστας προτιμά τσάι",
            "zh": "用户喜欢深色主题",
            "ja": "ユーザーは東京に住んでいる",
            "th": "ผู้ใช้ชอบกาแฟ",
            "code": "set DATABASE_URL before running the deployments",
        }
        for id_, text in texts.items():
            await store.put_memory(memory(id_, text))
        for query, id_ in (
            ("REUNION miercoles", "es"),
            ("κώστας;", "el"),
            ("深色", "zh"),
            ("東京", "ja"),
            ("กาแฟ", "th"),
            ("database", "code"),
            ("deploy", "code"),
        ):
            found = await store.search_memories(query, HERS, limit=1)
            assert [f.memory.id for f in found] == [id_], query
        await self.end(store)

    async def test_a_query_is_words_and_nothing_else(self) -> None:
        store = await self.make_store(ManualClock())
        await store.put_memory(memory("m", 'say "hello" AND (wait)'))
        other = MemoryReach("bob", None, "acme").place("user")
        await store.put_memory(Memory("x", "hello p1 p2", place=other))
        for query in (
            '"hello',
            "hello) OR (x",
            "words : hello",
            "place : p2 OR hello",
            "hello*",
            "NEAR(hello wait)",
            "-hello",
        ):
            assert [f.memory.id for f in await store.search_memories(query, HERS)] == ["m"], query
        for query in ("", "  ", "***", '"', "AND"):
            assert [f.memory.id for f in await store.search_memories(query, HERS) if f.memory.id != "m"] == []
        await self.end(store)

    async def test_importance_age_and_use_count(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        await store.put_memory(memory("old", "paint the boat"))
        clock.advance(31 * DAY_S)
        await store.put_memory(memory("new", "paint the boat"))
        assert await self._order(store) == ["new", "old"]
        for _ in range(3):
            await store.touch_memories([await store.get_memory("new", HERS)])
        used = await store.get_memory("new", HERS)
        assert (used.access_count, used.accessed_ms) == (3, clock.now_ms())
        await store.put_memory(memory("unused", "paint the boat"))
        assert await self._order(store) == ["new", "unused", "old"]
        await store.put_memory(memory("matters", "paint the boat", importance=1.0))
        assert await self._order(store) == ["matters", "new", "unused", "old"]
        await self.end(store)

    async def _order(self, store: MemoryStore) -> list[str]:
        return [f.memory.id for f in await store.search_memories("boat paint", HERS)]

    async def test_lists_are_the_newest_or_the_most_important(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        for n, importance in enumerate((0.9, 0.2, 0.7)):
            kind = "semantic" if n else "working"
            await store.put_memory(memory(f"m{n}", "x", importance=importance, tags=("t", f"t{n}"), kind=kind))
            clock.advance(1)
        assert _ids(await store.list_memories(HERS)) == ["m2", "m1", "m0"]
        assert _ids(await store.list_memories(HERS, limit=1, offset=1)) == ["m1"]
        assert _ids(await store.list_memories(HERS, by_importance=True, least=0.7)) == ["m0", "m2"]
        assert _ids(await store.list_memories(HERS, tags=["t0", "t1"])) == ["m1", "m0"]
        assert _ids(await store.list_memories(HERS, tags=["t%", "T"])) == []
        assert _ids(await store.list_memories(HERS, kinds=["working"])) == ["m0"]
        assert (await store.count_memories(HERS)).kinds == {"semantic": 2, "working": 1}
        await refused(InvalidArgument, store.list_memories(HERS, limit=0))
        await refused(InvalidArgument, store.search_memories("x", HERS, limit=1001))
        await self.end(store)

    async def test_what_is_old_and_matters_little_is_pruned(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        await store.put_memory(memory("old", "x", importance=0.4))
        await store.put_memory(memory("matters", "x", importance=0.5))
        await store.put_memory(memory("used", "x", importance=0.4))
        clock.advance(85 * DAY_S)
        await store.put_memory(memory("done", "x", kind="working", importance=1.0))
        await store.touch_memories([await store.get_memory("used", HERS)])
        clock.advance(8 * DAY_S)
        await store.put_memory(memory("new", "x", importance=0.1))
        await store.put_memory(memory("elsewhere", "x", "project", importance=0.1))
        assert await store.prune_memories(PrunePolicy(), ANN.places(["user"])) == 2
        assert set(_ids(await store.list_memories(HERS))) == {"matters", "used", "new", "elsewhere"}
        assert await store.prune_memories(PrunePolicy(max_items=1), HERS) == 2
        assert set(_ids(await store.list_memories(HERS))) == {"elsewhere", await self._best(store)}
        assert await store.clear_memories(ANN.places(["user"])) == 1
        assert _ids(await store.list_memories(HERS)) == ["elsewhere"]
        await self.end(store)

    async def _best(self, store: MemoryStore) -> str:
        return (await store.list_memories(ANN.places(["user"])))[0].id

    async def test_vectors_find_what_words_do_not(self) -> None:
        clock = ManualClock()
        store = await self.make_store(clock)
        await store.put_memory(memory("car", "The automobile is green"), vector=Vector("e1", [2.0, 0.1]))
        await store.put_memory(memory("word", "A car park"), vector=Vector("e1", [0.0, 1.0]))
        await store.put_memory(memory("far", "Bread"), vector=Vector("e1", [-1.0, 0.0]))
        await store.put_memory(memory("bare", "No vector"))
        assert [f.memory.id for f in await store.search_memories("car", HERS)] == ["word"]
        found = await store.search_memories("car", HERS, vector=Vector("e1", [1.0, 0.0]))
        assert sorted(f.memory.id for f in found) == ["car", "word"]
        # Those of another embedder are not compared with, and are made anew.
        assert [f.memory.id for f in await store.search_memories("car", HERS, vector=Vector("e2", [1.0, 0.0]))] == ["word"]
        assert _ids(await store.memories_without_vector("e1", HERS)) == ["bare"]
        missing = await store.memories_without_vector("e2", HERS)
        assert len(missing) == 4
        changed = await store.get_memory("bare", HERS)
        clock.advance(1)
        await store.put_memory(memory("bare", "Changed meanwhile"))
        car = next(m for m in missing if m.id == "car")
        await store.put_vectors([(car, Vector("e2", [1.0, 0.0, 0.0])), (changed, Vector("e2", [1.0, 0.0, 0.0]))])
        assert set(_ids(await store.memories_without_vector("e2", HERS))) == {"word", "far", "bare"}
        found = await store.search_memories("nothing", HERS, vector=Vector("e2", [1.0, 0.0, 0.0]))
        assert [f.memory.id for f in found] == ["car"]
        assert await store.delete_memory("car", HERS)
        assert await store.search_memories("nothing", HERS, vector=Vector("e2", [1.0, 0.0, 0.0])) == []
        await refused(InvalidArgument, store.put_memory(memory("v", "x"), vector=Vector("e2", [])))
        await self.end(store)


def _ids(memories: Sequence[Memory]) -> list[str]:
    return [one.id for one in memories]


__all__ = ["MemoryConformance"]
