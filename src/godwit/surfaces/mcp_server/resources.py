"""Resources: sessions to be read: the list of them, and of each its transcript, its events and its large outputs."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from mcp_types import (
    BlobResourceContents,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from ...contracts import SessionRow
from ...core.errors import ArtifactNotFound, InvalidArgument
from ...core.ids import SessionId
from ..server.caller import Caller
from . import shapes, uris
from .calls import events, transcript

PAGE = 50
EVENTS = 500
"""Events that are read at once, the newest."""
_TEMPLATES = (
    ("session", "Transcript of a session", uris.TRANSCRIPT, "text/markdown", "What was said and done in it."),
    ("events", "Events of a session", uris.EVENTS, "application/json", "The newest events of its log."),
    ("artifacts", "Large outputs of a session", uris.ARTIFACTS, "application/json", "Which large outputs it holds."),
    ("artifact", "A large output", uris.ARTIFACT, "text/plain", "The whole of an output that was too large for the model."),
)


async def listed(caller: Caller, cursor: str | None) -> ListResourcesResult:
    """The list of sessions, then the sessions, newest activity first. InvalidArgument for a cursor that is none."""
    caller.principal.require("read")
    rows = await caller.service.store.sessions(
        limit=PAGE + 1, before=_place(cursor), tenant=caller.principal.tenant, top_level=True, include_archived=False
    )
    found = [] if cursor else [Resource(uri=uris.SESSIONS, name="sessions", title="Sessions", mime_type="application/json")]
    found += [_resource(row) for row in rows[:PAGE] if row.labels.tenant == caller.principal.tenant]
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return ListResourcesResult(resources=found, next_cursor=None if last is None else _cursor(last))


def _resource(row: SessionRow) -> Resource:
    title = row.name or " ".join(row.first_prompt.split())[:80] or str(row.id)
    return Resource(
        uri=uris.TRANSCRIPT.format(session=row.id),
        name=str(row.id),
        title=title,
        description=f"Session {row.id}, {row.status}.",
        mime_type="text/markdown",
    )


def _cursor(row: SessionRow) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((row.updated_ms, row.id))).decode()


def _place(cursor: str | None) -> tuple[int, SessionId] | None:
    if cursor is None:
        return None
    try:
        at_ms, session = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[int, str])
    except (ValueError, msgspec.DecodeError):
        raise InvalidArgument("this cursor was not given by a list of resources") from None
    return at_ms, SessionId(session)


def templates() -> ListResourceTemplatesResult:
    return ListResourceTemplatesResult(
        resource_templates=[
            ResourceTemplate(name=name, title=title, uri_template=uri, mime_type=kind, description=about)
            for name, title, uri, kind, about in _TEMPLATES
        ]
    )


async def read(caller: Caller, uri: str) -> ReadResourceResult:
    """NotFound, also for what is another tenant's."""
    caller.principal.require("read")
    if uri == uris.SESSIONS:
        rows = await caller.service.store.sessions(limit=200, tenant=caller.principal.tenant, top_level=True)
        views = [
            shapes.session_view(row, str(row.agent.name)) for row in rows if row.labels.tenant == caller.principal.tenant
        ]
        return _json(uri, shapes.SessionList(views))
    named = uris.parsed(uri)
    if named.part == "transcript":
        return _text(uri, "text/markdown", await transcript(caller, named.session))
    if named.part == "events":
        row = await caller.row(named.session)
        return _json(uri, await events(caller, named.session, max(0, row.head - EVENTS), EVENTS))
    handle = await caller.watched(named.session)
    if named.part == "artifacts":
        return _json(uri, await handle.artifacts.list())
    # Only what this session holds: what another one does is not to be had by whoever knows its hash.
    ref = await handle.artifacts.find(named.artifact)
    held = next((one for one in await handle.artifacts.list() if one.ref == ref), None)
    if held is None:
        raise ArtifactNotFound(f"session {named.session} holds no artifact {named.artifact!r}", ref=named.artifact)
    content, kind = await handle.artifacts.get(held.ref), held.media_type
    try:
        return _text(uri, kind, content.decode())
    except UnicodeDecodeError:
        blob = base64.b64encode(content).decode()
        return ReadResourceResult(contents=[BlobResourceContents(uri=uri, mime_type=kind, blob=blob)])


def _json(uri: str, value: Any) -> ReadResourceResult:
    return _text(uri, "application/json", msgspec.json.encode(value).decode())


def _text(uri: str, kind: str, text: str) -> ReadResourceResult:
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind, text=text)])
