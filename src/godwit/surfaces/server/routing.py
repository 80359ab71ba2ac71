"""Routing: the FastAPI app of a dialect, with little between a request and its route.

Owns how a route is found: among those of its method whose paths have as many parts, instead of by trying all there are.
Leaves out of FastAPI what a dialect behind the front has no use for: its answer to what nobody expected, its telemetry and
limits of bodies, and routers within routers, each of which looks for a route twice. Rule: what is not found here is looked
for as FastAPI does, which knows a path that is not there from a method that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_MOST_PARTS = 32
"""Paths of more parts are looked for together."""


class Table:
    """Finds routes among these, in their order."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, Route)]
        self._found: dict[tuple[str, int], tuple[Route, ...]] = {}

    def find(self, scope: Scope) -> tuple[Route, Scope] | None:
        """The route of this request, and what is to be put into its scope."""
        method, parts = scope["method"], min(scope["path"].count("/"), _MOST_PARTS)
        fitting = self._found.get((method, parts))
        if fitting is None:
            fitting = tuple(route for route in self._routes if method in (route.methods or ()) and _may_have(route, parts))
            if fitting:  # methods are the client's, and any number of them must not grow this
                self._found[method, parts] = fitting
        for route in fitting:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return route, found
        return None


def _may_have(route: Route, parts: int) -> bool:
    """Whether a path of so many parts may be this route's."""
    return ":path}" in route.path or route.path.count("/") == parts


class DialectApp(FastAPI):
    """Takes routes with `take`, then requests. `options`: what FastAPI takes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(redirect_slashes=False, docs_url=None, redoc_url=None, **options)
        self._table: Table | None = None

    def take(self, routes: APIRouter | Iterable[BaseRoute]) -> None:
        """Add these, behind those there are."""
        self.router.routes.extend(routes.routes if isinstance(routes, APIRouter) else routes)

    def build_middleware_stack(self) -> ASGIApp:
        """Called by Starlette, once, with the first request."""
        self._table = Table(self.router.routes)
        handlers: Any = self.exception_handlers
        return ExceptionMiddleware(AsyncExitStackMiddleware(self._route), handlers=handlers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._table is not None
        found = self._table.find(scope)
        if found is None:
            await self.router(scope, receive, send)
            return
        route, more = found
        scope.update(more)
        scope["route"] = route
        await route.handle(scope, receive, send)
