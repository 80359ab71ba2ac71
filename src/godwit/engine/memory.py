"""What a session, or whoever a runtime is asked for, remembers: implements `godwit.contracts.Memories`.

Owns what goes into a memory (nothing that looks like a key), under which id, and when vectors are made. Leaves out where
it is kept and how it is found (`contracts.MemoryStore`), and what an agent does with it by itself (`recall`). Rules: an
embedder that fails, or is slow, costs what it would have found and nothing else; who asks reaches the places of its own
reach alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..contracts import Embedder, MemoryStore, Vector
from ..core.errors import InvalidArgument, LooksLikeSecret, MemoryUnavailable
from ..core.ids import IdSource, derived_id
from ..core.key_shapes import looks_like_key, without_keys
from ..core.memory import (
    CONTENT_CHARACTERS,
    SCOPES,
    FoundMemory,
    Memory,
    MemoryKind,
    MemoryPolicy,
    MemoryReach,
    MemoryScope,
    MemoryStats,
    PrunePolicy,
)
from ..core.memory_ranking import words

EMBED_S = 10.0
"""How long vectors are waited for."""
EMBEDDED_AT_ONCE = 64
_PROMPT, _RESULT = 1_500, 3_000
_logger = logging.getLogger("godwit.memory")


class MemoryAccess:
    """The memory of a process. Without a `store` there is none, for the reason that `warning` gives."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        ids: IdSource,
        embedder: Embedder | None = None,
        warning: str | None = None,
        embed_s: float = EMBED_S,
    ) -> None:
        self._store = store
        self.ids = ids
        self.embedder = embedder
        self.warning = warning
        self._embed_s = embed_s

    @property
    def available(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> MemoryStore:
        """MemoryUnavailable."""
        if self._store is None:
            raise MemoryUnavailable(self.warning or "this runtime was opened without memory")
        return self._store

    async def vectors(self, texts: Sequence[str]) -> list[Vector] | None:
        """A vector for each text; None without an embedder, or where it did not make them."""
        embedder = self.embedder
        if embedder is None or not texts:
            return None
        try:
            name = embedder.name
            values = await asyncio.wait_for(embedder.embed(texts), self._embed_s)
            if len(values) != len(texts):
                raise InvalidArgument(f"embedder {name!r} gave {len(values)} vectors for {len(texts)} texts")
            return [Vector(name, list(one)) for one in values]
        except Exception as error:
            # Somebody else's code: memories are found by their words then.
            _logger.warning("the embedder failed, so memories are found by words alone: %s: %s", type(error).__name__, error)
            return None


class ReachedMemories:
    """The memories of one reach. `session`: in which what is kept is made; `scope`: where it goes by default."""

    def __init__(
        self,
        access: MemoryAccess,
        reach: MemoryReach,
        *,
        session: str | None = None,
        scope: MemoryScope = "user",
        writes: Sequence[MemoryScope] = SCOPES,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._access = access
        self.reach = reach
        self._session = session
        self._scope: MemoryScope = scope
        self._writes = tuple(writes)
        self._check = check

    def of(
        self,
        *,
        user: str | None = None,
        project: str | None = None,
        tenant: str | None = None,
        session: str | None = None,
    ) -> ReachedMemories:
        """Those of somebody else: of this user (None: who has no name), in this folder, of this tenant. `session`: in
        which what is kept is made."""
        return ReachedMemories(self._access, MemoryReach(user, project, tenant), session=session)

    @property
    def available(self) -> bool:
        return self._access.available

    @property
    def _store(self) -> MemoryStore:
        self._check()
        return self._access.store

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
        store = self._store
        if id is None:
            id = self._access.ids.new("mem") if key is None else derived_id("mem", key)  # noqa: A001 - as above
        place = self.reach.place(self._writable(scope or self._scope))
        memory = Memory(
            id, content, kind, place, importance, tuple(dict.fromkeys(tags)), dict(metadata or {}), self._session
        )
        if any(looks_like_key(text) for text in (content, *memory.tags, *_texts(memory.metadata))):
            raise LooksLikeSecret(
                "this looks like a key or a password, which no memory is the place for: say where it is kept instead"
            )
        vectors = await self._access.vectors([content])
        return await store.put_memory(memory, vector=None if vectors is None else vectors[0])

    async def get(self, id: str, *, scopes: Sequence[MemoryScope] | None = None) -> Memory:  # noqa: A002 - as above
        return await self._store.get_memory(id, self.reach.places(scopes))

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        scopes: Sequence[MemoryScope] | None = None,
    ) -> list[FoundMemory]:
        found = await self.look_up(query, limit=limit, kinds=kinds, scopes=scopes)
        await self._store.touch_memories([one.memory for one in found])
        return found

    async def look_up(
        self,
        query: str,
        *,
        limit: int,
        kinds: Sequence[MemoryKind] | None = None,
        scopes: Sequence[MemoryScope] | None = None,
    ) -> list[FoundMemory]:
        """As `search`, but it does not count as looked at."""
        store, places = self._store, self.reach.places(scopes)
        vector = None
        if self._access.embedder is not None and query.strip():
            missing = await store.memories_without_vector(self._access.embedder.name, places, limit=EMBEDDED_AT_ONCE)
            made = await self._access.vectors([query, *(one.content for one in missing)])
            if made is not None:
                vector = made[0]
                if missing:
                    await store.put_vectors(list(zip(missing, made[1:], strict=True)))
        return await store.search_memories(query, places, limit=limit, kinds=kinds, vector=vector)

    async def touch(self, memories: Sequence[Memory]) -> None:
        """Count these as looked at."""
        await self._store.touch_memories(memories)

    async def search_by_tags(self, tags: Sequence[str], *, limit: int = 10) -> list[Memory]:
        return await self._store.list_memories(self.reach.places(), tags=tags, limit=limit)

    async def recent(self, limit: int = 10, *, kinds: Sequence[MemoryKind] | None = None) -> list[Memory]:
        return await self._store.list_memories(self.reach.places(), limit=limit, kinds=kinds)

    async def important(self, threshold: float = 0.7, limit: int = 10) -> list[Memory]:
        return await self._store.list_memories(self.reach.places(), limit=limit, least=threshold, by_importance=True)

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
        """Memories page by page, see `MemoryStore.list_memories`."""
        return await self._store.list_memories(
            self.reach.places(scopes),
            limit=limit,
            offset=offset,
            tags=tags,
            kinds=kinds,
            least=least,
            by_importance=by_importance,
        )

    async def forget(self, id: str, *, scopes: Sequence[MemoryScope] | None = None) -> bool:  # noqa: A002 - as above
        among = self._writes if scopes is None else [self._writable(scope) for scope in scopes]
        return await self._store.delete_memory(id, self.reach.places(among))

    async def clear(self, scope: MemoryScope) -> int:
        return await self._store.clear_memories([self.reach.place(self._writable(scope))])

    async def stats(self, *, scopes: Sequence[MemoryScope] | None = None) -> MemoryStats:
        return await self._store.count_memories(self.reach.places(scopes))

    async def prune(self, policy: PrunePolicy | None = None, *, scopes: Sequence[MemoryScope] | None = None) -> int:
        return await self._store.prune_memories(policy or PrunePolicy(), self.reach.places(scopes or self._writes))

    async def remember_success(self, prompt: str, tools: Sequence[str] = (), result: str = "") -> Memory:
        return await self._pattern("procedural", 0.8, ("success", "pattern"), prompt, "This went well:", result, tools)

    async def remember_failure(self, prompt: str, error: str, tools: Sequence[str] = ()) -> Memory:
        return await self._pattern("episodic", 0.9, ("failure", "avoid"), prompt, "This went wrong:", error, tools)

    async def _pattern(
        self,
        kind: MemoryKind,
        importance: float,
        tags: tuple[str, ...],
        prompt: str,
        how: str,
        came_to: str,
        tools: Sequence[str],
    ) -> Memory:
        if not prompt.strip():
            raise InvalidArgument("a pattern needs the prompt that was worked on")
        parts = [f"{how} {_short(without_keys(prompt), _PROMPT)}"]
        if tools:
            parts.append(f"Tools: {', '.join(dict.fromkeys(tools))}")
        if came_to.strip():
            parts.append(f"{'Result' if tags[0] == 'success' else 'Error'}: {_short(without_keys(came_to), _RESULT)}")
        content = without_keys("\n".join(parts))[:CONTENT_CHARACTERS]
        # The same work again is the same memory, with what it came to last.
        key = "\0".join((tags[0], *words(prompt)))
        return await self.remember(content, kind=kind, importance=importance, tags=tags, key=key)

    def _writable(self, scope: MemoryScope) -> MemoryScope:
        if scope in SCOPES and scope not in self._writes:
            allowed = ", ".join(self._writes) or "none"
            raise InvalidArgument(f"memories of the scope {scope!r} are not written from here; {allowed} are", scope=scope)
        return scope


def reached(
    access: MemoryAccess | None,
    policy: MemoryPolicy | None,
    reach: MemoryReach,
    session: str,
    *,
    ids: IdSource,
    writes: Sequence[MemoryScope] = SCOPES,
    check: Callable[[], None] = lambda: None,
) -> ReachedMemories:
    """The memories of a session."""
    scope = (policy or MemoryPolicy()).scope
    return ReachedMemories(access or MemoryAccess(ids=ids), reach, session=session, scope=scope, writes=writes, check=check)


def _texts(value: Any, name: str = "") -> Iterator[str]:
    """All that is said in metadata, each value with its name."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one, str(key))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one, name)
    else:
        yield f"{name}: {value}"


def _short(text: str, most: int) -> str:
    text = text.strip()
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


__all__ = ["MemoryAccess", "ReachedMemories", "reached"]
