"""RemoteMemories: what is remembered on a server. What each method does is told by `contracts.Memories`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ..core.errors import InvalidArgument
from ..core.memory import FoundMemory, Memory, MemoryKind, MemoryScope, MemoryStats, PrunePolicy
from .connection import Connection, segment
from .shapes import Changed, Deleted, Listed, MemoryStatus

T = TypeVar("T")


class RemoteMemories:
    """`runtime.memory` and `session.memory`: the memories of the key's user and tenant, and of a folder of the server; with
    `session`, as that session reaches them."""

    def __init__(self, connection: Connection, *, session: str | None = None, project: str | None = None) -> None:
        self._connection = connection
        self._whose = {"session": session, "workspace": project}

    def of(
        self, *, user: str | None = None, project: str | os.PathLike[str] | None = None, tenant: str | None = None
    ) -> RemoteMemories:
        """With those of this folder of the server. InvalidArgument for a user or a tenant, who follow from the key."""
        if user is not None or tenant is not None:
            raise InvalidArgument("whose memories they are follows from the key: ask with the key of that user")
        return RemoteMemories(self._connection, project=None if project is None else os.path.abspath(project))

    @property
    def available(self) -> bool:
        """True: whether the server has memory is told by `status`, and by the error of what is asked of it."""
        return True

    async def status(self) -> MemoryStatus:
        """Whether the server has memory, and how much of it."""
        return await self._get("/status", MemoryStatus)

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
        told = {"content": content, "kind": kind, "scope": scope or "user", "importance": importance, "tags": list(tags)}
        more = {"metadata": dict(metadata or {}), "id": id, "key": key}
        return await self._post("", Memory, {**told, **more})

    async def remember_success(self, prompt: str, tools: Sequence[str] = (), result: str = "") -> Memory:
        told = {"outcome": "success", "prompt": prompt, "tools": list(tools), "result": result}
        return await self._post("/outcomes", Memory, told)

    async def remember_failure(self, prompt: str, error: str, tools: Sequence[str] = ()) -> Memory:
        told = {"outcome": "failure", "prompt": prompt, "tools": list(tools), "error": error}
        return await self._post("/outcomes", Memory, told)

    async def get(self, id: str) -> Memory:  # noqa: A002 - as above
        return await self._get(f"/{segment(id)}", Memory)

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        scopes: Sequence[MemoryScope] | None = None,
    ) -> list[FoundMemory]:
        return (await self._get("", Listed[FoundMemory], query=query, limit=limit, kind=kinds, scope=scopes)).data

    async def search_by_tags(self, tags: Sequence[str], *, limit: int = 10) -> Sequence[Memory]:
        return await self.list(tags=tags, limit=limit)

    async def recent(self, limit: int = 10, *, kinds: Sequence[MemoryKind] | None = None) -> Sequence[Memory]:
        return await self.list(limit=limit, kinds=kinds)

    async def important(self, threshold: float = 0.7, limit: int = 10) -> Sequence[Memory]:
        return await self.list(limit=limit, least=threshold, by_importance=True)

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
        listed = await self._get(
            "",
            Listed[FoundMemory],
            limit=limit,
            offset=offset,
            tag=tags,
            kind=kinds,
            scope=scopes,
            least=least,
            important=by_importance,
        )
        return [one.memory for one in listed.data]

    async def forget(self, id: str, *, scopes: Sequence[MemoryScope] | None = None) -> bool:  # noqa: A002 - as above
        query = {**self._whose, "scope": scopes}
        return (await self._connection.call("DELETE", f"/memories/{segment(id)}", Changed, query=query)).changed

    async def clear(self, scope: MemoryScope) -> int:
        return (await self._post("/clear", Deleted, {"scope": scope})).deleted

    async def stats(self) -> MemoryStats:
        return (await self.status()).stats

    async def prune(self, policy: PrunePolicy | None = None, *, scopes: Sequence[MemoryScope] | None = None) -> int:
        asked = {"policy": None if policy is None else msgspec.to_builtins(policy), "scopes": scopes}
        return (await self._post("/prune", Deleted, asked)).deleted

    async def _get(self, path: str, gives: type[T], **query: Any) -> T:
        return await self._connection.get(f"/memories{path}", gives, **self._whose, **query)

    async def _post(self, path: str, gives: type[T], sent: object) -> T:
        return await self._connection.call("POST", f"/memories{path}", gives, sent, query=self._whose)
