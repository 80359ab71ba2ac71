"""Which methods an address takes, for the answer to one that it does not (405, RFC 9110 section 15.5.6).

A framework knows them by route, and an address has one for each method: each route by itself names only its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute, Match

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def allowed(request: Request, routes: Iterable[BaseRoute]) -> str:
    """Those of all routes that this path has, as the header `Allow` lists them."""
    known = list(routes)
    asked = ((method, {**request.scope, "method": method}) for method in METHODS)
    return ", ".join(method for method, scope in asked if any(r.matches(scope)[0] is Match.FULL for r in known))
