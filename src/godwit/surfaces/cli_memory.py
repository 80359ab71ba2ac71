"""`godwit memory`: what is remembered for who works here, and for this folder."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..contracts import Memories
from ..core.memory import FoundMemory, Memory, MemoryKind, MemoryScope, PrunePolicy
from .cli_exit import DONE, NOT_FOUND, CliError
from .cli_place import Where
from .cli_view import write_json
from .cli_words import clean, date_of


@asynccontextmanager
async def _memories(place: Where, *, make: bool = False) -> AsyncIterator[Memories]:
    async with place.reach(make=make) as runtime:
        yield runtime.memory.of(project=str(Path.cwd()))


async def show(
    place: Where, *, scopes: Sequence[MemoryScope] | None, tags: Sequence[str], limit: int, important: bool, as_json: bool
) -> int:
    """The newest, or the most important."""
    async with _memories(place) as memories:
        found = await memories.list(limit=limit, scopes=scopes, tags=tags or None, by_importance=important)
    return _told([FoundMemory(one, 0.0) for one in found], as_json)


async def search(place: Where, words: str, *, scopes: Sequence[MemoryScope] | None, limit: int, as_json: bool) -> int:
    async with _memories(place) as memories:
        found = await memories.search(words, limit=limit, scopes=scopes)
    return _told(found, as_json, scores=True)


async def add(
    place: Where,
    content: str,
    *,
    kind: MemoryKind,
    scope: MemoryScope,
    importance: float,
    tags: Sequence[str],
    id_: str | None,
    as_json: bool,
) -> int:
    async with _memories(place, make=True) as memories:
        kept = await memories.remember(content, kind=kind, scope=scope, importance=importance, tags=tags, id=id_)
    if as_json:
        write_json(kept)
    else:
        print(kept.id)
    return DONE


async def forget(place: Where, ids: Sequence[str], *, as_json: bool) -> int:
    """Fails when one of them is not there."""
    if not ids:
        raise CliError("this needs the ids of memories", hint="godwit memory list shows them")
    code = DONE
    async with _memories(place) as memories:
        for one in ids:
            gone = await memories.forget(one)
            code = code if gone else NOT_FOUND
            if as_json:
                write_json({"id": one, "forgotten": gone})
            else:
                print(f"{clean(one)} is forgotten" if gone else f"there is no memory {clean(one)!r}", file=sys.stderr)
    return code


async def prune(place: Where, policy: PrunePolicy, *, scopes: Sequence[MemoryScope] | None, as_json: bool) -> int:
    async with _memories(place) as memories:
        deleted = await memories.prune(policy, scopes=scopes or ("user", "project"))
    if as_json:
        write_json({"deleted": deleted})
    else:
        print(f"{deleted} {'memory was' if deleted == 1 else 'memories were'} deleted")
    return DONE


def _told(found: Sequence[FoundMemory], as_json: bool, *, scores: bool = False) -> int:
    for one in found:
        if as_json:
            write_json(_shown(one, scores))
        else:
            print(_line(one.memory))
    if not found and not as_json:
        print("nothing is remembered that fits", file=sys.stderr)
    return DONE if found or not scores else 1


def _shown(one: FoundMemory, scores: bool) -> Any:
    return one if scores else one.memory


def _line(memory: Memory) -> str:
    tags = f"  #{' #'.join(clean(tag) for tag in memory.tags)}" if memory.tags else ""
    told = " ".join(clean(memory.content).split())
    about = f"{memory.place.scope:<7}  {memory.kind:<10}  {memory.importance:.1f}"
    return f"{clean(memory.id)}  {date_of(memory.updated_ms)}  {about}  {told}{tags}"
