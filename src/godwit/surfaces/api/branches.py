"""Routes of a conversation's tree: shown, labelled, gone about in, and forked off."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from ...core.branches import SessionTree
from ...core.checkpoint import RewindResult
from ...core.errors import InvalidArgument, PermissionDenied, SessionExists
from ...core.ids import derived_id
from ...engine.session import Session
from ...host.session_folders import folder_of
from .calls import Controlled, Driven, Host, KeyHeader, Watched, Who
from .files import shown_changes
from .operations import PREFIX, operation
from .sessions import own_folder, view
from .shapes.branches import ForkBody, LabelBody, NavigateBody
from .shapes.sessions import SessionView
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["sessions"])


@router.get("/branches")
@operation(gives=SessionTree)
async def branches(session: Watched) -> Response:
    """Every message there ever was, what came before each, and where the conversation stands now."""
    return answer(await session.tree())


@router.post("/label")
@operation(takes=LabelBody)
async def label(session: Controlled, sent: Annotated[LabelBody, Depends(body(LabelBody))]) -> Response:
    """Name a place of the tree; null takes the name away."""
    await session.label(sent.seq, sent.label)
    return nothing()


@router.post("/navigate")
@operation(takes=NavigateBody, gives=RewindResult)
async def navigate(session: Driven, sent: Annotated[NavigateBody, Depends(body(NavigateBody))]) -> Response:
    """Go to any place there ever was in the conversation, on whatever branch."""
    done = await session.navigate(
        sent.to, files=sent.files, on_conflict=sent.on_conflict, summary=sent.summary, focus=sent.focus
    )
    return answer(dataclasses.replace(done, changes=shown_changes(done.changes)))


@router.post("/fork")
@operation(takes=ForkBody, gives=SessionView)
async def fork(
    service: Host, who: Who, session: Driven, sent: Annotated[ForkBody, Depends(body(ForkBody))], key: KeyHeader
) -> Response:
    """A new session that begins as this one did. Of one that works in a folder of its own, the fork does too, with the files
    of then. With an idempotency key, and none given, its id follows from the key."""
    if sent.workspace is not None and not who.may("admin"):
        raise PermissionDenied("choosing a folder of the server needs the scope 'admin': use own_workspace", scope="admin")
    if sent.workspace is not None and sent.own_workspace:
        raise InvalidArgument("workspace names a folder and own_workspace asks for a new one: give one of them")
    derived = None
    if key is not None and sent.session is None:
        derived = derived_id("ses", f"{who.tenant or ''} fork {session.id}", key)
    name = sent.session or derived or service.new_id("ses")
    own = sent.own_workspace
    if own is None and sent.workspace is None:
        own = await folder_of(service.store, session.id, tenant=who.tenant) is not None
    folder = await own_folder(service, name, tenant=who.tenant) if own else sent.workspace
    try:
        made = await session.fork(sent.at, workspace=folder, name=sent.name, metadata=sent.metadata, session=name)
    except SessionExists:
        if derived is None:
            raise
        await service.row(who, name)
        made = await service.session(who, name)
    except BaseException:
        if own:
            await service.folders.remove(name, tenant=who.tenant)
        raise
    assert isinstance(made, Session)
    service.runtime.desk.keep(made)
    return answer(await view(service, made))
