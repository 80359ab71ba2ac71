"""Operations: what a route takes and gives, for the OpenAPI document; and what a caller needs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from ...core.principal import Scope

F = TypeVar("F", bound=Callable[..., Any])
_NAME = "__godwit_operation__"
PREFIX = "/godwit/v1"
"""Where all operations lie."""


class Operation(NamedTuple):
    """`takes`: the type of the body. `gives`: that of the answer, None for none; `media` when it is not JSON, several where
    the request chooses. `also`: other answers by their status. `scope`: None for `read` where the method is GET, else
    `operate`. `waits`: it may take as long as it takes. `upload`: its body is a file, as it is.
    """

    takes: type | None = None
    gives: Any = None
    status: int = 200
    media: str | tuple[str, ...] = "application/json"
    also: Mapping[int, Any] = MappingProxyType({})
    scope: Scope | None = None
    waits: bool = False
    upload: bool = False


def operation(
    *,
    takes: type | None = None,
    gives: Any = None,
    media: str | tuple[str, ...] = "application/json",
    also: dict[int, Any] | None = None,
    scope: Scope | None = None,
    waits: bool = False,
    upload: bool = False,
) -> Callable[[F], F]:
    """Say it of the function below. Without `gives` the answer is 204."""

    def keep(function: F) -> F:
        status = 204 if gives is None else 200
        setattr(function, _NAME, Operation(takes, gives, status, media, also or {}, scope, waits, upload))
        return function

    return keep


def operation_of(function: object) -> Operation:
    """What was said of it."""
    found = getattr(function, _NAME)
    assert isinstance(found, Operation)
    return found
