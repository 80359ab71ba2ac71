"""What is remembered beyond a session: the store of memories, who makes vectors of texts, and what a memory's holder
offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..core.memory import (
    FoundMemory,
    Memory,
    MemoryKind,
    MemoryPlace,
    MemoryReach,
    MemoryScope,
    MemoryStats,
    PrunePolicy,
)


class Vector(NamedTuple):
    """A text as numbers, by the embedder of this name."""

    embedder: str
    values: Sequence[float]


@runtime_checkable
class MemoryStore(Protocol):
    """Keeps memories. An id means a memory within its place; only the places that are named are looked at.

    Promises every implementation keeps, proven by `godwit.testing.MemoryConformance`: what was put is there for the next
    call, and after a restart; times are the store's. A search finds by words, in whatever order they stand, without regard
    to case and accents; not all need to be there, and more are better. Its order counts importance, age and use as well.
    """

    async def put_memory(self, memory: Memory, *, vector: Vector | None = None) -> Memory:
        """Keep it, in place of the one of its id in its place; returns it as stored. Of one that is replaced, when it was
        made and how often it was looked at stay; the same again changes nothing; its vector is the one that is given, or
        none."""
        ...

    async def get_memory(self, id: str, places: Sequence[MemoryPlace]) -> Memory:  # noqa: A002 - the field's name
        """The first of this id in these places. MemoryNotFound."""
        ...

    async def search_memories(
        self,
        query: str,
        places: Sequence[MemoryPlace],
        *,
        limit: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        vector: Vector | None = None,
    ) -> list[FoundMemory]:
        """The best first. `vector`: of the query; those close to it are found as well, where theirs is of the same embedder.
        InvalidArgument: the limit is not 1 to 1000."""
        ...

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
        """Memories, the newest first, or the most important. `tags`: only those with any of them; `least`: only those of
        that importance. InvalidArgument: the limit is not 1 to 1000."""
        ...

    async def touch_memories(self, memories: Sequence[Memory]) -> None:
        """Count that these were given to somebody. Those that are gone are passed over."""
        ...

    async def delete_memory(self, id: str, places: Sequence[MemoryPlace]) -> bool:  # noqa: A002 - as above
        """Delete the first of this id in these places; False when there is none."""
        ...

    async def clear_memories(self, places: Sequence[MemoryPlace]) -> int:
        """Delete all in these places; returns how many."""
        ...

    async def count_memories(self, places: Sequence[MemoryPlace]) -> MemoryStats: ...

    async def prune_memories(self, policy: PrunePolicy, places: Sequence[MemoryPlace]) -> int:
        """Delete what the policy says in these places; returns how many."""
        ...

    async def memories_without_vector(
        self, embedder: str, places: Sequence[MemoryPlace], *, limit: int = 64
    ) -> list[Memory]:
        """Memories that have no vector of this embedder, the newest first."""
        ...

    async def put_vectors(self, vectors: Sequence[tuple[Memory, Vector]]) -> None:
        """Keep these vectors, each for its memory as it stood: one that was changed since is passed over."""
        ...


class Embedder(Protocol):
    """Makes vectors of texts. `name`: of the model, and of whatever else makes its vectors comparable with one another:
    vectors of another name are not compared with, and made anew."""

    @property
    def name(self) -> str: ...
    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text, in order, all of one length."""
        ...


class Memories(Protocol):
    """What a session, or whoever a runtime is asked for, remembers: `Session.memory`, `Runtime.memory`.

    Each method raises MemoryUnavailable where there is no memory (`available`), and InvalidArgument for what cannot be.
    """

    @property
    def available(self) -> bool: ...
    async def remember(
        self,
        content: str,
        *,
        kind: MemoryKind = "episodic",
        scope: MemoryScope | None = None,
        importance: float = 0.5,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the field's name
        key: str | None = None,
    ) -> Memory:
        """Keep something, in place of the memory of this `id` in that scope, if there is one. `scope`: by default the
        agent's, else the user's. `key`: the same again is the same memory. LooksLikeSecret."""
        ...

    async def get(self, id: str) -> Memory:  # noqa: A002 - as above
        """The nearest of this id: the user's, the project's, the tenant's. MemoryNotFound."""
        ...

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        scopes: Sequence[MemoryScope] | None = None,
    ) -> list[FoundMemory]:
        """The best first. What is found counts as looked at."""
        ...

    async def list(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        tags: Sequence[str] | None = None,
        kinds: Sequence[MemoryKind] | None = None,
        scopes: Sequence[MemoryScope] | None = None,
        least: float = 0.0,
        by_importance: bool = False,
    ) -> Sequence[Memory]:
        """The newest first, or the most important: only with any of these tags, of these kinds and scopes, of at least that
        importance."""
        ...

    async def search_by_tags(self, tags: Sequence[str], *, limit: int = 10) -> Sequence[Memory]:
        """Those with any of these tags, the newest first."""
        ...

    async def recent(self, limit: int = 10, *, kinds: Sequence[MemoryKind] | None = None) -> Sequence[Memory]:
        """The newest first."""
        ...

    async def important(self, threshold: float = 0.7, limit: int = 10) -> Sequence[Memory]:
        """Those of that importance, the most important first."""
        ...

    async def forget(self, id: str, *, scopes: Sequence[MemoryScope] | None = None) -> bool:  # noqa: A002 - as above
        """Delete the nearest of this id; False when there is none."""
        ...

    async def clear(self, scope: MemoryScope) -> int:
        """Delete all of one scope; returns how many."""
        ...

    async def stats(self) -> MemoryStats: ...

    async def prune(self, policy: PrunePolicy | None = None, *, scopes: Sequence[MemoryScope] | None = None) -> int:
        """Delete what is old and matters little; returns how many."""
        ...

    async def remember_success(self, prompt: str, tools: Sequence[str] = (), result: str = "") -> Memory:
        """Keep how something was done: procedural, importance 0.8, tags `success` and `pattern`. What looks like a key is
        left out of it."""
        ...

    async def remember_failure(self, prompt: str, error: str, tools: Sequence[str] = ()) -> Memory:
        """Keep what went wrong: episodic, importance 0.9, tags `failure` and `avoid`. What looks like a key is left out."""
        ...


__all__ = ["Embedder", "Memories", "MemoryReach", "MemoryStore", "Vector"]
