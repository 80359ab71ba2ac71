"""The HTTP status of each error. A dialect chooses its own words, and its own status where its protocol has another."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ...core import errors as e

STATUS: dict[type[e.GodwitError], int] = {
    e.InvalidArgument: 400,
    e.NotFound: 404,
    e.Conflict: 409,
    e.Unauthenticated: 401,
    e.PermissionDenied: 403,
    e.TooMany: 429,
    e.TooLarge: 413,
    e.NotSupported: 501,
    e.Refused: 403,
    e.StoreFull: 507,
    e.StoreLocked: 503,
    e.StoreClosed: 503,
    e.RateLimited: 429,
    e.ModelError: 502,
    e.ToolFailed: 400,
    e.CheckpointFailed: 409,
    e.McpServerFailed: 502,
    e.McpInputRequired: 409,
    e.McpLoginFailed: 502,
}


def status_of(error: e.GodwitError) -> int:
    """The status of the nearest class of the error's that has one; 500 for what is our own fault."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def plain(error: e.GodwitError, status: int | None = None) -> Response:
    """An error where no dialect has words for it. `status`: in place of its own."""
    content = {"error": {"code": error.code, "message": error.message}}
    return JSONResponse(content, status_of(error) if status is None else status)
