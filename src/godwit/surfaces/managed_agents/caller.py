"""Who asks, as what a route depends on, whether they may, and whether they have asked before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from ...core.ids import derived_id
from ...core.principal import Principal, Scope
from ..server.service import key_of, principal_of


def may(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """The caller, if this scope was given to them. PermissionDenied."""

    # Async though it awaits nothing: FastAPI takes anything else to a thread, for each request.
    async def check(request: Request) -> Principal:
        principal = principal_of(request)
        principal.require(scope)
        return principal

    return check


Reader = Annotated[Principal, Depends(may("read"))]
Answerer = Annotated[Principal, Depends(may("answer"))]
Operator = Annotated[Principal, Depends(may("operate"))]


def id_of(request: Request, kind: str) -> str | None:
    """The id of what this request makes, the same when its client sends it again; None when it cannot be sent again."""
    key = key_of(request)
    return None if key is None else derived_id(kind, principal_of(request).tenant or "", key)
