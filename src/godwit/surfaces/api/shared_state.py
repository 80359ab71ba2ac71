"""Routes of the shared state: the one JSON value that a session's client and its agent both read and change."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from .calls import Controlled, KeyHeader, Watched
from .operations import PREFIX, operation
from .shapes.shared_state import PatchStateBody, SetStateBody, SharedStateView
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}/shared_state", tags=["shared state"])


@router.get("")
@operation(gives=SharedStateView)
async def get_shared_state(session: Watched) -> Response:
    """The value as it is now; an empty object while there is none."""
    return answer(SharedStateView(await session.shared_state()))


@router.put("")
@operation(takes=SetStateBody, gives=SharedStateView)
async def set_shared_state(
    session: Controlled, sent: Annotated[SetStateBody, Depends(body(SetStateBody))], key: KeyHeader
) -> Response:
    """Put a value in its place; the same one again changes nothing."""
    done = await session.set_shared_state(sent.value, sender=sent.sender, key=sent.key or key, tell=sent.tell)
    return answer(SharedStateView(done))


@router.patch("")
@operation(takes=PatchStateBody, gives=SharedStateView)
async def patch_shared_state(
    session: Controlled, sent: Annotated[PatchStateBody, Depends(body(PatchStateBody))], key: KeyHeader
) -> Response:
    """Change it by a JSON Patch (RFC 6902), all of it or nothing; the answer has the whole value."""
    done = await session.patch_shared_state(sent.operations, sender=sent.sender, key=sent.key or key, tell=sent.tell)
    return answer(SharedStateView(done))
