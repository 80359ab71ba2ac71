"""Dialect: one wire protocol, as the front sees it."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp

from ...core.errors import GodwitError


class Dialect(Protocol):
    """Translates between a protocol and the `Service` it was made with."""

    @property
    def name(self) -> str:
        """For logs and metrics."""
        ...

    @property
    def app(self) -> ASGIApp:
        """Answers the requests; the front has authenticated them and bounded their bodies."""
        ...

    def claims(self, request: HTTPConnection) -> bool:
        """Whether this request is of this protocol. The first dialect that says so gets it."""
        ...

    def error(self, error: GodwitError, request_id: str) -> Response:
        """What is answered in this protocol's own shape when something is refused."""
        ...
