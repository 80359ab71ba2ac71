"""Errors as this protocol says them: `{"error": {"message", "type", "code", "param"}}`.

Official clients send a request again after 409 and from 500 on, so what would be refused in the same way is marked with
`x-should-retry: false`. A GodwitError's detail `param` names the field it is about; no other detail leaves here.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from ...core import errors as e
from ..server.errors import status_of

TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    501: "not_supported_error",
}
"""`error.type` by status; `invalid_request_error` below 500 and `server_error` from there on for all others."""

_STATUS: Mapping[type[e.GodwitError], int] = {e.IllegalEvent: 400, e.AlreadyAnswered: 400, e.ActionNotFound: 400}
_AGAIN = (e.RevisionConflict, e.HeadMoved, e.StoreError, e.TooMany, e.SessionOwned)
"""What may go well when it is tried again."""


class UnknownCall(e.InvalidArgument):
    """No function call of this id waits for its result."""

    code = "invalid_request_error"

    def __init__(self, call: str) -> None:
        # Official clients look for just these words and this code: they post a result as soon as they see its call.
        super().__init__(f"Unknown pending tool call: {call}", param="call_id")


def envelope(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Response:
    """An error's answer."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return JSONResponse({"error": {"message": message, "type": kind, "code": code, "param": param}}, status)


def render(error: e.GodwitError, request_id: str) -> Response:
    """A GodwitError as this protocol says it."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None) or status_of(error)
    response = envelope(status, error.message, code=error.code, param=error.details.get("param"))
    response.headers["x-request-id"] = request_id
    if not isinstance(error, _AGAIN):
        response.headers["x-should-retry"] = "false"
    if isinstance(error, e.TooMany) and error.retry_after_s is not None:
        response.headers["retry-after"] = str(max(0, round(error.retry_after_s)))
    return response
