"""Who asks, as what a route depends on, and whether they may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from ...core.principal import Principal, Scope
from ..server.service import principal_of


def may(scope: Scope) -> Callable[[Request], Principal]:
    """The caller, if this scope was given to them. PermissionDenied."""

    def check(request: Request) -> Principal:
        principal = principal_of(request)
        principal.require(scope)
        return principal

    return check


Reader = Annotated[Principal, Depends(may("read"))]
Operator = Annotated[Principal, Depends(may("operate"))]
