"""Errors of requests that never reach the protocol's server, as it would say them: JSON-RPC, without an id."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ...core import errors as e
from ..server.errors import status_of

_CODE = -32000
"""Of the server's own."""


def render(error: e.GodwitError, status: int | None = None) -> Response:
    """`status`: in place of the error's own."""
    told = {"code": _CODE, "message": error.message, "data": {"code": error.code}}
    response = JSONResponse({"jsonrpc": "2.0", "id": None, "error": told}, status or status_of(error))
    if isinstance(error, e.Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    return response
