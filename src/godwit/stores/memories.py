"""Memories in SQLite (FTS5): implements `godwit.contracts.MemoryStore`, as a part of `SqliteStore`.

The index holds the words of a memory as `core.memory_ranking` reads them, beside the key of its place: a search looks at the
words of the places it asks for and at no others. The index proposes, by bm25; vectors propose, by closeness; what is
proposed is put in order by `ranked`.

Rule: a memory, its words and its vector come and go in one transaction.
"""

from __future__ import annotations

import array
import asyncio
import math
import sys
from collections.abc import Iterable, Sequence
from operator import mul
from typing import Any

import msgspec

from ..contracts import Vector
from ..core.errors import InvalidArgument, MemoryNotFound
from ..core.memory import FoundMemory, Memory, MemoryKind, MemoryPlace, MemoryStats, PrunePolicy
from ..core.memory_ranking import (
    DAY_MS,
    LEAST_SIMILARITY,
    Candidate,
    query_words,
    ranked,
    standing,
    words,
)
from .batch import Unit
from .part import StorePart, as_json
from .requests import Call

MOST = 1000
_CANDIDATES = 64
"""Memories that are put in order for a search that wants no more."""
_VECTORS = 5_000
"""Of so many memories, the newest, vectors are compared: each costs as many multiplications as it has numbers."""
_PORTION = 500


class MemoriesPart(StorePart):
    """What `SqliteStore` does with memories."""

    async def put_memory(self, memory: Memory, *, vector: Vector | None = None) -> Memory:
        """See `MemoryStore.put_memory`."""
        packed = None if vector is None else _packed(vector.values)

        async def apply(transaction: Unit) -> int:
            place = memory.place
            row = (place.tenant or "", place.scope, place.owner)
            await transaction.do("insert_memory_place", row)
            at, _ = await transaction.first("memory_places", {"places": _asked([place])})
            found = await transaction.one("memory_key", (at, memory.id))
            parameters = {
                "place": at,
                "id": memory.id,
                "kind": memory.kind,
                "content": memory.content,
                "importance": memory.importance,
                "tags": as_json(memory.tags),
                "metadata": msgspec.json.encode(memory.metadata).decode(),
                "session": memory.session,
                "now": self._clock.now_ms(),
            }
            if found is None:
                key = int((await transaction.first("insert_memory", parameters))[0])
            else:
                key = int(found[0])
                row = await transaction.first("memories_by_key", {"keys": as_json_of([key])})
                if _said(_memory(row)) == _said(memory):
                    if vector is not None:
                        await transaction.do("put_memory_vector", (key, vector.embedder, packed))
                    return key
                await transaction.do("update_memory", {**parameters, "key": key})
                await transaction.do("delete_memory_words", (key,))
                await transaction.do("delete_memory_vector", (key,))
            said = [*words(memory.content), *(word for tag in memory.tags for word in words(tag))]
            await transaction.do("insert_memory_words", (key, f"p{at}", self._words_of(said)))
            if vector is not None:
                await transaction.do("put_memory_vector", (key, vector.embedder, packed))
            return key

        key = await self._writer.do(Call(apply))
        found = await self._memories([key])
        if not found:  # deleted by another process meanwhile
            raise _no_memory(memory.id)
        return found[0]

    async def get_memory(self, id: str, places: Sequence[MemoryPlace]) -> Memory:  # noqa: A002 - the field's name
        """See `MemoryStore.get_memory`."""
        for place in await self._places(places):
            if found := await self._select("memory_key", (place, id)):
                return (await self._memories([found[0][0]]))[0]
        raise _no_memory(id)

    async def search_memories(
        self,
        query: str,
        places: Sequence[MemoryPlace],
        *,
        limit: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        vector: Vector | None = None,
    ) -> list[FoundMemory]:
        """See `MemoryStore.search_memories`."""
        _check_limit(limit)
        at, wanted = await self._places(places), query_words(query)
        if not at:
            return []
        among = None if kinds is None else as_json(kinds)
        most = max(_CANDIDATES, limit)
        bm25: dict[int, float] = {}
        if wanted:
            asked = {"query": self._any_of(wanted, at), "kinds": among, "limit": most}
            bm25 = dict(await self._select("search_memories", asked))
        close = {} if vector is None else await self._closest(vector, at, among, most, bm25)
        keys = list({**bm25, **close})
        candidates = [
            Candidate(memory, bm25.get(key, 0.0), close.get(key)) for key, memory in (await self._by_key(keys)).items()
        ]
        total = sum(count for _, _, count in await self._select("count_memories", {"places": as_json_of(at)}))
        found = ranked(wanted, candidates, total=total, now_ms=self._clock.now_ms())
        return [FoundMemory(memory, score) for memory, score in found[:limit]]

    async def list_memories(
        self,
        places: Sequence[MemoryPlace],
        *,
        limit: int = 50,
        offset: int = 0,
        tags: Sequence[str] | None = None,
        kinds: Sequence[MemoryKind] | None = None,
        least: float = 0.0,
        by_importance: bool = False,
    ) -> list[Memory]:
        """See `MemoryStore.list_memories`."""
        _check_limit(limit)
        if offset < 0:
            raise InvalidArgument(f"offset {offset} is negative", offset=offset)
        parameters = {
            "places": as_json_of(await self._places(places)),
            "tags": None if tags is None else as_json(tags),
            "kinds": None if kinds is None else as_json(kinds),
            "least": least,
            "by_importance": by_importance,
            "limit": limit,
            "offset": offset,
        }
        return await self._memories([key for (key,) in await self._select("list_memories", parameters)])

    async def touch_memories(self, memories: Sequence[Memory]) -> None:
        """See `MemoryStore.touch_memories`."""
        if not memories:
            return

        async def apply(transaction: Unit) -> None:
            now = self._clock.now_ms()
            for memory in memories:
                for at, _ in await transaction.all("memory_places", {"places": _asked([memory.place])}):
                    await transaction.do("touch_memory", (now, at, memory.id))

        await self._writer.do(Call(apply))

    async def delete_memory(self, id: str, places: Sequence[MemoryPlace]) -> bool:  # noqa: A002 - the field's name
        """See `MemoryStore.delete_memory`."""

        async def apply(transaction: Unit) -> bool:
            for at, _ in await transaction.all("memory_places", {"places": _asked(places)}):
                if (found := (await transaction.one("memory_key", (at, id)))) is not None:
                    await _delete(transaction, [found[0]])
                    return True
            return False

        return await self._writer.do(Call(apply))

    async def clear_memories(self, places: Sequence[MemoryPlace]) -> int:
        """See `MemoryStore.clear_memories`."""

        async def apply(transaction: Unit) -> int:
            deleted = 0
            for at, _ in await transaction.all("memory_places", {"places": _asked(places)}):
                deleted += await _delete(transaction, [key for (key,) in (await transaction.all("keys_of_memories", (at,)))])
            return deleted

        return await self._writer.do(Call(apply))

    async def count_memories(self, places: Sequence[MemoryPlace]) -> MemoryStats:
        """See `MemoryStore.count_memories`."""
        kinds: dict[str, int] = {}
        scopes: dict[str, int] = {}
        for scope, kind, count in await self._select("count_memories", {"places": as_json_of(await self._places(places))}):
            kinds[kind] = kinds.get(kind, 0) + count
            scopes[scope] = scopes.get(scope, 0) + count
        return MemoryStats(sum(kinds.values()), kinds, scopes)

    async def prune_memories(self, policy: PrunePolicy, places: Sequence[MemoryPlace]) -> int:
        """See `MemoryStore.prune_memories`."""

        async def apply(transaction: Unit) -> int:
            now, deleted = self._clock.now_ms(), 0
            for at, _ in await transaction.all("memory_places", {"places": _asked(places)}):
                old = {
                    "place": at,
                    "least": policy.min_importance,
                    "old": now - round(policy.max_age_days * DAY_MS),
                    "working": now - round(policy.working_days * DAY_MS),
                }
                deleted += await _delete(transaction, [key for (key,) in (await transaction.all("old_memories", old))])
                if policy.max_items is None:
                    continue
                keys = [key for (key,) in (await transaction.all("keys_of_memories", (at,)))]
                if len(keys) > policy.max_items:
                    rows = await transaction.all("memories_by_key", {"keys": as_json_of(keys)})
                    best = sorted(rows, key=lambda row: standing(_memory(row), now), reverse=True)
                    deleted += await _delete(transaction, [row[0] for row in best[policy.max_items :]])
            return deleted

        return await self._writer.do(Call(apply))

    async def memories_without_vector(
        self, embedder: str, places: Sequence[MemoryPlace], *, limit: int = 64
    ) -> list[Memory]:
        """See `MemoryStore.memories_without_vector`."""
        parameters = {"places": as_json_of(await self._places(places)), "embedder": embedder, "limit": limit}
        return await self._memories([key for (key,) in await self._select("memories_without_vector", parameters)])

    async def put_vectors(self, vectors: Sequence[tuple[Memory, Vector]]) -> None:
        """See `MemoryStore.put_vectors`."""
        packed = [(memory, vector.embedder, _packed(vector.values)) for memory, vector in vectors]

        async def apply(transaction: Unit) -> None:
            for memory, embedder, values in packed:
                for at, _ in await transaction.all("memory_places", {"places": _asked([memory.place])}):
                    found = await transaction.one("memory_key", (at, memory.id))
                    if found is not None and found[1] == memory.updated_ms:
                        await transaction.do("put_memory_vector", (found[0], embedder, values))

        await self._writer.do(Call(apply))

    def _words_of(self, said: Sequence[str]) -> str:
        """Words as its index takes them."""
        return " ".join(said)

    def _any_of(self, wanted: Sequence[str], places: Sequence[int]) -> str:
        """What its index is asked for to find any of these words in these places."""
        raise AssertionError("a store says what its index is asked")

    async def _closest(
        self, vector: Vector, places: list[int], kinds: str | None, limit: int, more: Iterable[int]
    ) -> dict[int, float]:
        """The similarity of those that are closest, and of these as well."""
        asked = _unpacked(_packed(vector.values))
        parameters = {"places": as_json_of(places), "kinds": kinds, "embedder": vector.embedder, "limit": _VECTORS}
        rows = await self._select("memory_vectors", parameters)
        found: list[tuple[float, int]] = []
        for n, (key, values) in enumerate(rows, 1):
            found.append((_product(asked, _unpacked(values)), key))
            if n % _PORTION == 0:
                await asyncio.sleep(0)
        found.sort(reverse=True)
        close = {key: near for near, key in found[:limit] if near >= LEAST_SIMILARITY}
        named = {"keys": as_json_of(list(more)), "embedder": vector.embedder}
        close |= {
            key: _product(asked, _unpacked(values)) for key, values in await self._select("vectors_of_memories", named)
        }
        return close

    async def _places(self, places: Sequence[MemoryPlace]) -> list[int]:
        return [key for key, _ in await self._select("memory_places", {"places": _asked(places)})]

    async def _memories(self, keys: Sequence[int]) -> list[Memory]:
        """In this order; those that are gone are left out."""
        return list((await self._by_key(keys)).values())

    async def _by_key(self, keys: Sequence[int]) -> dict[int, Memory]:
        found = {row[0]: _memory(row) for row in await self._select("memories_by_key", {"keys": as_json_of(keys)})}
        return {key: found[key] for key in keys if key in found}


def as_json_of(keys: Sequence[int]) -> str:
    return msgspec.json.encode(list(keys)).decode()


def _asked(places: Sequence[MemoryPlace]) -> str:
    return msgspec.json.encode([(place.tenant or "", place.scope, place.owner) for place in places]).decode()


async def _delete(transaction: Unit, keys: Sequence[int]) -> int:
    for key in keys:
        for query in ("delete_memory_words", "delete_memory_vector", "delete_memory"):
            await transaction.do(query, (key,))
    return len(keys)


def _said(memory: Memory) -> Memory:
    """The memory but for what its store knows of it."""
    return msgspec.structs.replace(memory, created_ms=0, updated_ms=0, accessed_ms=None, access_count=0)


def _memory(row: Sequence[Any]) -> Memory:
    _, tenant, scope, owner, id_, kind, content, importance, tags, metadata, session, created, updated, accessed, count = row
    return Memory(
        id_,
        content,
        kind,
        MemoryPlace(scope, owner, tenant or None),
        importance,
        tuple(msgspec.json.decode(tags)),
        msgspec.json.decode(metadata),
        session,
        created,
        updated,
        accessed,
        count,
    )


def _packed(values: Sequence[float]) -> bytes:
    length = math.sqrt(sum(value * value for value in values))
    if not values or not math.isfinite(length):
        raise InvalidArgument("a vector has at least one number, and only finite ones")
    numbers = array.array("f", [value / length if length else 0.0 for value in values])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _unpacked(values: bytes) -> array.array[float]:
    numbers = array.array("f")
    numbers.frombytes(values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _product(one: array.array[float], other: array.array[float]) -> float:
    """The cosine of the angle between them; -1 when they are not of one length, which no angle is."""
    return sum(map(mul, one, other)) if len(one) == len(other) else -1.0


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise InvalidArgument(f"limit {limit} must be from 1 to {MOST}", limit=limit)


def _no_memory(id_: str) -> MemoryNotFound:
    return MemoryNotFound(f"there is no memory {id_!r}", memory=id_)


__all__ = ["MemoriesPart"]
