"""Errors of requests that begin no stream."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse, Response

from ...core import errors as e
from ..server.errors import status_of


def render(error: e.GodwitError, status: int | None = None) -> Response:
    """What was wrong, with the error's own code. `status`: in place of the error's."""
    told = {"code": error.code, "message": error.message}
    response = JSONResponse({"error": told}, status or status_of(error))
    if isinstance(error, e.Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    if isinstance(error, e.TooMany) and error.retry_after_s is not None:
        response.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    return response


__all__ = ["render"]
