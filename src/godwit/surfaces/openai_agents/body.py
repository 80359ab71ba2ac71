"""Bodies of requests: JSON, read strictly as the shape a route asks for. A field that nobody knows is refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import pydantic
from starlette.requests import Request

from ...core.errors import InvalidArgument
from ..server import shapes

T = TypeVar("T", bound=pydantic.BaseModel)

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Shape(shapes.Shape):
    """Base of all bodies; fields may be called by their own names as well as by those on the wire."""

    model_config = pydantic.ConfigDict(populate_by_name=True)


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
    problem = shapes.metadata_problem(pairs)
    if problem is not None:
        raise InvalidArgument(f"metadata: {problem}", param="metadata")
    return pairs
