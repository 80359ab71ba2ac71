"""Errors as this protocol says them: `{"type": "error", "error": {...}, "request_id"}` and the status that goes with each.

A GodwitError's detail `error_code`, where a route gives one, is sent as the protocol's own; no other detail leaves here.
Official clients send a request again after 409 and from 500 on, so what would be refused in the same way is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import JSONResponse, Response

from ...core import errors as e
from ..server.errors import status_of

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""`error.type` by status; `invalid_request_error` below 500 and `api_error` from there on for all others."""

_STATUS: Mapping[type[e.GodwitError], int] = {e.SessionArchived: 400, e.StoreFull: 529}
_AGAIN = (e.RevisionConflict, e.StoreError, e.TooMany, e.SessionOwned)
"""What may go well when it is tried again."""


def envelope(
    status: int,
    message: str,
    request_id: str,
    *,
    code: str | None = None,
    type: str | None = None,  # noqa: A002 - the field's name
    details: Mapping[str, Any] = MappingProxyType({}),
) -> Response:
    """An error's answer. `code`: the protocol's `error.details.error_code`; `details`: what else stands there."""
    kind = type or TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    error: dict[str, Any] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code, **details}
    return JSONResponse({"type": "error", "error": error, "request_id": request_id}, status)


def render(error: e.GodwitError, request_id: str) -> Response:
    """A GodwitError as this protocol says it."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None) or status_of(error)
    code = error.details.get("error_code")
    stale = isinstance(error, e.RevisionConflict)
    response = envelope(status, error.message, request_id, code=code, type="invalid_request_error" if stale else None)
    if stale or not isinstance(error, _AGAIN):
        response.headers["x-should-retry"] = "false"
    if isinstance(error, e.TooMany) and error.retry_after_s is not None:
        response.headers["retry-after"] = str(max(0, round(error.retry_after_s)))
    return response
