"""Routes of sessions that come from elsewhere and go there: imports and exports."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...core.errors import Conflict, InvalidArgument
from ...core.events import Labels
from ...core.facts import ExportFormat, ImportReport
from .agents import Registered
from .calls import Host, Row, Who
from .operations import PREFIX, operation
from .wire import answer

router = APIRouter(prefix=PREFIX, tags=["sessions"])

_MEDIA: dict[ExportFormat, str] = {
    "html": "text/html; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "jsonl": "application/jsonl",
    "pi": "application/jsonl",
}
_ENDS: dict[ExportFormat, str] = {"html": "html", "md": "md", "jsonl": "jsonl", "pi": "pi.jsonl"}


@router.post("/imports")
@operation(gives=ImportReport, upload=True)
async def import_session(
    request: Request,
    service: Host,
    who: Who,
    names: Registered,
    format: Annotated[  # noqa: A002 - what a person calls it
        Literal["auto", "godwit", "pi", "imp", "claude-code"],
        Query(description="What it is; by default what it looks like."),
    ] = "auto",
    agent: Annotated[str | None, Query(description="Whose session it becomes; by default one that only reads.")] = None,
    name: Annotated[str | None, Query(description="The session's.")] = None,
    model: Annotated[str | None, Query(description="What is asked from now on.")] = None,
    file_name: Annotated[str, Query(max_length=255, description="What the file is called.")] = "",
) -> Response:
    """Make a session of the body, a session file of another tool or an export. The same file again is the same session, and
    `new` is false."""
    ref = None
    if agent is not None:
        found = await names.find(agent, None, tenant=who.tenant)
        if found.archived_ms is not None:
            raise Conflict(f"agent {agent!r} is archived: no session of it starts any more", agent=agent)
        ref = found.ref
    content = await request.body()
    if not content:
        raise InvalidArgument("an import needs a body: the file as it is")
    report = await service.runtime.import_session(
        content, format=format, agent=ref, labels=Labels(who.tenant, who.id), name=name, model=model, file_name=file_name
    )
    return answer(report)


@router.get("/sessions/{session}/export")
@operation(gives=bytes, media=("text/html", "text/markdown", "application/jsonl"), waits=True)
async def export_session(
    row: Row,
    service: Host,
    format: Annotated[ExportFormat, Query(description="Which one.")] = "html",  # noqa: A002 - what a person calls it
    children: Annotated[bool, Query(description="With the sessions that work for it.")] = True,
) -> Response:
    """The session as it stands now, as a page, as Markdown, as the log itself, or as a session file of pi. It holds what the
    log holds, secrets too."""
    pieces = service.runtime.export_session(row.id, format, children=children)
    headers = {
        "content-disposition": f'attachment; filename="{row.id}.{_ENDS[format]}"',
        "x-content-type-options": "nosniff",
        # A page from here must have no rights of this address, should a browser show it all the same.
        "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    }
    return StreamingResponse(pieces, media_type=_MEDIA[format], headers=headers)
