"""Bodies of requests: JSON, read strictly as the shape a route asks for. A field that nobody knows is refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import pydantic
from starlette.requests import Request

from ...core.errors import InvalidArgument

PAIRS, KEY, VALUE = 16, 64, 512
"""Limits of metadata: pairs, and characters of a key and of a value."""

T = TypeVar("T", bound=pydantic.BaseModel)

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Shape(pydantic.BaseModel):
    """Base of all bodies. `has` tells what was left out from what was given as null."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    def has(self, name: str) -> bool:
        """The field was given, be it as null."""
        return name in self.model_fields_set


def body(shape: type[T]) -> Callable[[Request], Awaitable[T]]:
    """What a route depends on for a body of this shape. InvalidArgument names the first field that does not fit."""

    async def read(request: Request) -> T:
        return fit(shape, decoded(await request.body()))

    return read


def decoded(raw: bytes) -> Any:
    """The JSON, of which we can be sure that it can be written again. InvalidArgument."""
    if not raw:
        return {}
    try:
        data = _decoder.decode(raw)
        _encoder.encode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError, OverflowError, ValueError) as error:
        raise InvalidArgument(f"the body is not JSON that can be read: {error}") from None
    return data


def fit(shape: type[T], data: Any) -> T:
    """The data as this shape. InvalidArgument."""
    try:
        return shape.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidArgument(f"{where or 'the body'}: {first['msg']}", param=where or None) from None


def metadata_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata within its limits. InvalidArgument."""
    pairs = dict(given or {})
    problem = None
    if len(pairs) > PAIRS:
        problem = f"{len(pairs)} pairs are more than {PAIRS}"
    for key, value in pairs.items():
        if not 0 < len(key) <= KEY:
            problem = f"key {key[:80]!r} does not have 1 to {KEY} characters"
        elif len(value) > VALUE:
            problem = f"the value of {key!r} has {len(value)} characters, more than {VALUE}"
    if problem is not None:
        raise InvalidArgument(f"metadata: {problem}", param="metadata")
    return pairs
