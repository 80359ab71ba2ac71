"""Shapes of what is answered whenever something is refused."""

from __future__ import annotations

from typing import Any

from .common import Shape


class ErrorDetail(Shape, frozen=True):
    """`code`: stable, see docs/errors.md. `details` by the names that the exception has."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorBody(Shape, frozen=True):
    """What is answered whenever something is refused. `request_id`: also the header `request-id`."""

    error: ErrorDetail
    request_id: str
