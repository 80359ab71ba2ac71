"""Routes of going back, the conversation and with it the workspace's files, and of making room in it.

Paths are told as text, see `shown_path`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from ...core.checkpoint import Checkpoint, FileChange, FileDiff, RewindPreview, RewindResult, shown_path
from ...core.facts import Compaction
from .calls import MOST, Driven, Watched
from .operations import PREFIX, operation
from .shapes.files import CheckpointList, CompactBody, RedoBody, RewindBody, TurningList
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["files"])


def shown_changes(changes: Iterable[FileChange]) -> tuple[FileChange, ...]:
    """With paths as text."""
    return tuple(msgspec.structs.replace(one, path=shown_path(one.path)) for one in changes)


@router.post("/rewind")
@operation(takes=RewindBody, gives=RewindResult)
async def rewind(session: Driven, sent: Annotated[RewindBody, Depends(body(RewindBody))]) -> Response:
    """Go back to where the conversation stood at `seq`, with `files` also to what the workspace was then."""
    done = await session.rewind(sent.seq, files=sent.files, on_conflict=sent.on_conflict)
    return answer(dataclasses.replace(done, changes=shown_changes(done.changes)))


@router.get("/preview_rewind")
@operation(gives=RewindPreview)
async def preview_rewind(session: Driven, seq: Annotated[int, Query(ge=-MOST, le=MOST)]) -> Response:
    """What going back to `seq` would do to the files; does nothing."""
    found = await session.preview_rewind(seq)
    return answer(dataclasses.replace(found, changes=shown_changes(found.changes)))


@router.post("/redo")
@operation(takes=RedoBody, gives=RewindResult)
async def redo(session: Driven, sent: Annotated[RedoBody, Depends(body(RedoBody))]) -> Response:
    """Take the last rewind back that is not taken back yet."""
    done = await session.redo(on_conflict=sent.on_conflict)
    return answer(dataclasses.replace(done, changes=shown_changes(done.changes)))


@router.get("/preview_redo")
@operation(gives=RewindPreview)
async def preview_redo(session: Driven) -> Response:
    """What `redo` would do to the files; does nothing."""
    found = await session.preview_redo()
    return answer(dataclasses.replace(found, changes=shown_changes(found.changes)))


@router.post("/compact")
@operation(takes=CompactBody, gives=Compaction)
async def compact(session: Driven, sent: Annotated[CompactBody, Depends(body(CompactBody))]) -> Response:
    """Have the session's model write a summary that stands for the older messages from here on."""
    return answer(await session.compact(sent.focus, keep_tokens=sent.keep_tokens))


@router.get("/turnings")
@operation(gives=TurningList)
async def turnings(session: Watched) -> Response:
    """The messages of users that the conversation holds, each with the seq to rewind to before it."""
    return answer(TurningList(await session.turnings()))


@router.get("/checkpoints")
@operation(gives=CheckpointList)
async def list_checkpoints(session: Watched) -> Response:
    """The checkpoints of files that the log names, oldest first."""
    return answer(CheckpointList(await session.checkpoints()))


@router.post("/checkpoints")
@operation(gives=Checkpoint)
async def take_checkpoint(session: Driven) -> Response:
    """Keep the files as they are now."""
    return answer(await session.checkpoint())


@router.get("/diff")
@operation(gives=FileDiff)
async def diff(
    session: Driven,
    start: Annotated[str | None, Query(description="A seq, or a checkpoint's ref; else since the first.")] = None,
    end: Annotated[str | None, Query(description="Likewise; else until now.")] = None,
    paths: Annotated[list[str] | None, Query(description="Only these.")] = None,
) -> Response:
    """What changed in the files between two moments."""
    found = await session.diff(_moment(start), _moment(end), paths=paths)
    return answer(msgspec.structs.replace(found, changes=shown_changes(found.changes)))


def _moment(given: str | None) -> int | str | None:
    if given is not None and given.isascii() and given.isdigit() and len(given) < 16:
        return int(given)
    return given
