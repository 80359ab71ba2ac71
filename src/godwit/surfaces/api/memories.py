"""Routes of memories: those of the caller, or as a session reaches them.

Whose they are follows from the key: its tenant and its principal. A folder's are the tenant's who names the folder. With
`session` they are those of that session, without its user's where that is somebody else. Rule: what holds for everybody of a
tenant is written with an admin's key alone.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from ...core.errors import InvalidArgument
from ...core.memory import (
    SCOPES,
    FoundMemory,
    Memory,
    MemoryKind,
    MemoryScope,
    PrunePolicy,
    reach_of,
    user_of,
)
from ...core.principal import Principal
from ...engine.memory import ReachedMemories
from ..server.service import Service
from .calls import MOST, Host, KeyHeader, Who
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.memories import (
    ClearMemoriesBody,
    Deleted,
    MemoryList,
    MemoryStatus,
    OutcomeBody,
    PruneMemoriesBody,
    RememberBody,
)
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/memories", tags=["memories"])
MemoryPath = Annotated[str, Path(alias="memory", description="The memory's id.")]
SessionQuery = Annotated[str | None, Query(alias="session", description="As this session reaches them.")]
FolderQuery = Annotated[str | None, Query(alias="workspace", description="With those of this folder.")]
ScopeQuery = Annotated[list[MemoryScope] | None, Query(alias="scope", description="Only of these scopes.")]
KindQuery = Annotated[list[MemoryKind] | None, Query(alias="kind", description="Only of these kinds.")]


async def _reached(service: Service, who: Principal, session: str | None, folder: str | None) -> ReachedMemories:
    if session is None:
        return service.runtime.memory.of(user=user_of(who.id, who.tenant), project=folder, tenant=who.tenant)
    if folder is not None:
        raise InvalidArgument("the folder is the session's: give `session` or `workspace`, not both")
    row = await service.row(who, session)
    handle = await service.runtime.open_session(row.id, drive=False)
    reach = reach_of(handle.labels, handle.workspace)
    return service.runtime.memory.of(user=reach.user, project=reach.project, tenant=reach.tenant, session=row.id)


async def _memories(
    service: Host, who: Who, session: SessionQuery = None, workspace: FolderQuery = None
) -> tuple[ReachedMemories, tuple[MemoryScope, ...]]:
    """The memories, and the scopes of them that this caller may look at."""
    memories = await _reached(service, who, session, workspace)
    theirs = memories.reach.user == user_of(who.id, who.tenant) or memories.reach.user is None
    return memories, SCOPES if theirs else ("project", "tenant")


Reached = Annotated[tuple[ReachedMemories, tuple[MemoryScope, ...]], Depends(_memories)]


def _among(scopes: tuple[MemoryScope, ...], asked: list[MemoryScope] | None) -> list[MemoryScope]:
    return [scope for scope in scopes if asked is None or scope in asked]


def _writable(who: Principal) -> list[MemoryScope]:
    return ["user", "project", "tenant"] if who.may("admin") else ["user", "project"]


def _writes(who: Principal, scopes: tuple[MemoryScope, ...], scope: MemoryScope) -> MemoryScope:
    """InvalidArgument, PermissionDenied."""
    if scope == "tenant":
        who.require("admin")
    if scope not in scopes:
        raise InvalidArgument("these are the memories of the session's user, who is somebody else", scope=scope)
    return scope


@router.get("")
@operation(gives=MemoryList)
async def list_memories(
    reached: Reached,
    query: Annotated[str | None, Query(description="Words; not all need to be there. The best come first.")] = None,
    tag: Annotated[list[str] | None, Query(description="Only with any of these tags.")] = None,
    kind: KindQuery = None,
    scope: ScopeQuery = None,
    least: Annotated[float, Query(ge=0, le=1, description="Only of this importance.")] = 0.0,
    important: Annotated[bool, Query(description="The most important first, in place of the newest.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> Response:
    """Memories, the newest first, or with `query` what fits it, which counts as looked at."""
    memories, scopes = reached
    among = _among(scopes, scope)
    if query is not None:
        return answer(MemoryList(await memories.search(query, limit=limit, kinds=kind, scopes=among)))
    found = await memories.list(
        limit=limit, offset=offset, tags=tag, kinds=kind, scopes=among, least=least, by_importance=important
    )
    return answer(MemoryList([FoundMemory(one, 0.0) for one in found]))


@router.get("/status")
@operation(gives=MemoryStatus)
async def memory_status(service: Host, reached: Reached) -> Response:
    """Whether there is memory here, and how much of it."""
    memories, scopes = reached
    if not memories.available:
        return answer(MemoryStatus(False, service.runtime.init_warning))
    return answer(MemoryStatus(True, stats=await memories.stats(scopes=scopes)))


@router.post("")
@operation(takes=RememberBody, gives=Memory)
async def remember(
    who: Who, reached: Reached, sent: Annotated[RememberBody, Depends(body(RememberBody))], key: KeyHeader
) -> Response:
    """Keep something, in place of the memory of this id in its scope, if there is one."""
    memories, scopes = reached
    kept = await memories.remember(
        sent.content,
        kind=sent.kind,
        scope=_writes(who, scopes, sent.scope),
        importance=sent.importance,
        tags=sent.tags,
        metadata=sent.metadata,
        id=sent.id,
        key=sent.key or key,
    )
    return answer(kept)


@router.post("/outcomes")
@operation(takes=OutcomeBody, gives=Memory)
async def remember_outcome(who: Who, reached: Reached, sent: Annotated[OutcomeBody, Depends(body(OutcomeBody))]) -> Response:
    """Keep how work on a prompt went, in place of what was kept of the same prompt: with its `result`, or its `error`."""
    memories, scopes = reached
    _writes(who, scopes, "user")
    if sent.outcome == "success":
        return answer(await memories.remember_success(sent.prompt, sent.tools, sent.result))
    return answer(await memories.remember_failure(sent.prompt, sent.error, sent.tools))


@router.post("/prune")
@operation(takes=PruneMemoriesBody, gives=Deleted)
async def prune_memories(
    who: Who, reached: Reached, sent: Annotated[PruneMemoriesBody, Depends(body(PruneMemoriesBody))]
) -> Response:
    """Delete what is old and matters little; without scopes in all that this key may write."""
    memories, scopes = reached
    wanted = sent.scopes or _among(scopes, _writable(who))
    among = [_writes(who, scopes, scope) for scope in wanted]
    return answer(Deleted(await memories.prune(sent.policy or PrunePolicy(), scopes=among) if among else 0))


@router.post("/clear")
@operation(takes=ClearMemoriesBody, gives=Deleted)
async def clear_memories(
    who: Who, reached: Reached, sent: Annotated[ClearMemoriesBody, Depends(body(ClearMemoriesBody))]
) -> Response:
    """Delete all of one scope."""
    memories, scopes = reached
    return answer(Deleted(await memories.clear(_writes(who, scopes, sent.scope))))


@router.get("/{memory}")
@operation(gives=Memory)
async def get_memory(reached: Reached, memory: MemoryPath) -> Response:
    """The nearest of this id: the user's, the folder's, the tenant's."""
    memories, scopes = reached
    return answer(await memories.get(memory, scopes=scopes))


@router.delete("/{memory}")
@operation(gives=Changed)
async def forget(who: Who, reached: Reached, memory: MemoryPath, scope: ScopeQuery = None) -> Response:
    """Delete the nearest of this id that this key may write. Not changed when there is none."""
    memories, scopes = reached
    wanted = scope or _among(scopes, _writable(who))
    among = [_writes(who, scopes, one) for one in wanted]
    return answer(Changed(bool(among) and await memories.forget(memory, scopes=among)))


__all__ = ["router"]
