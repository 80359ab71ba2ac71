"""Bodies: those of requests are JSON, read strictly, as the shape a route asks for; those of answers are written here where
no FastAPI does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import pydantic
from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import InvalidArgument

T = TypeVar("T", bound=pydantic.BaseModel)

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def body(shape: type[T]) -> Callable[[Request], Awaitable[T]]:
    """What a route depends on for a body of this shape. InvalidArgument names the first field that does not fit."""

    async def read(request: Request) -> T:
        return fit(shape, decoded(await request.body()))

    return read


def decoded(raw: bytes) -> Any:
    """The JSON, of which we can be sure that it can be written again. InvalidArgument."""
    if not raw:
        raise InvalidArgument("the body is empty: send a JSON object")
    try:
        data = _decoder.decode(raw)
        _encoder.encode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError, OverflowError, ValueError) as error:
        raise InvalidArgument(f"the body is not JSON that can be read: {error}") from None
    return data


def answer(data: Any) -> Response:
    """The data as JSON."""
    return Response(_encoder.encode(data), media_type="application/json")


def fit(shape: type[T], data: Any, at: Sequence[str | int] = ()) -> T:
    """The data as this shape; `at`: where in the body it stands."""
    try:
        return shape.model_validate(data)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # Of several ways to read one field, the one that came furthest says most.
        first = max((one for one in found if one["loc"][:1] == found[0]["loc"][:1]), key=lambda one: len(one["loc"]))
        where = ".".join(str(part) for part in (*at, *_place(first["loc"], data, first["type"] == "missing")))
        raise InvalidArgument(f"{where}: {first['msg']}" if where else f"the body: {first['msg']}") from None


def _place(loc: Sequence[str | int], data: Any, missing: bool) -> list[str | int]:
    """The place in the data, without the names of ways to read it."""
    place: list[str | int] = []
    for number, part in enumerate(loc):
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            data = data[part]
        elif not (missing and number == len(loc) - 1):
            continue
        place.append(part)
    return place
