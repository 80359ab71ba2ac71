"""What routes are given: who asks, and the session that the path names, as far as that caller may see it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query
from starlette.requests import Request

from ...contracts import SessionRow
from ...core.errors import ConfigurationError, ToolNotFound
from ...core.principal import Principal
from ...engine.session import Session
from ..server.service import Service, principal_of

MOST = 1 << 53
"""The largest whole number that every client can read."""
KEY_LIMIT = 255

SessionPath = Annotated[str, Path(alias="session", description="The session's id.")]


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _service(request: Request) -> Service:
    return service_of(request)


async def _who(request: Request) -> Principal:
    return principal_of(request)


async def _row(request: Request, session: SessionPath) -> SessionRow:
    return await service_of(request).row(principal_of(request), session)


async def _watched(request: Request, session: SessionPath) -> Session:
    service = service_of(request)
    row = await service.row(principal_of(request), session)
    return await service.runtime.open_session(row.id, drive=False)


async def _driven(request: Request, session: SessionPath) -> Session:
    return await service_of(request).session(principal_of(request), session)


async def _controlled(request: Request, session: SessionPath) -> Session:
    try:
        return await _driven(request, session)
    except (ToolNotFound, ConfigurationError):
        return await _watched(request, session)


async def _key(
    idempotency_key: Annotated[
        str | None,
        Header(description="The same request again under the same key is done once.", min_length=1, max_length=KEY_LIMIT),
    ] = None,
) -> str | None:
    return idempotency_key


Host = Annotated[Service, Depends(_service)]
Who = Annotated[Principal, Depends(_who)]
Row = Annotated[SessionRow, Depends(_row)]
Watched = Annotated[Session, Depends(_watched)]
"""A handle to look with: nothing is driven because of it."""
Driven = Annotated[Session, Depends(_driven)]
"""The handle that drives the session on this server."""
Controlled = Annotated[Session, Depends(_controlled)]
"""The same; where this server cannot drive the session (a tool is missing), one that only controls it."""
KeyHeader = Annotated[str | None, Depends(_key)]
FromSeq = Annotated[int, Query(ge=0, le=MOST, description="Events with a greater seq.")]
