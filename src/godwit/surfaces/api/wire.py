"""Wire: values of the engine as JSON and back, strictly. Bodies are read as msgspec types, which are what the engine has; a
field that nobody knows is refused, at any depth, since it is a mistake that would go unseen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import GodwitError, InvalidArgument
from ..server.errors import status_of

T = TypeVar("T")
JSON = "application/json"

_encoder = msgspec.json.Encoder(enc_hook=repr)


def encode(value: object) -> bytes:
    """The value as JSON."""
    return _encoder.encode(value)


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode(value), status, media_type=JSON)


def nothing() -> Response:
    """The answer where nothing is to be told."""
    return Response(None, 204)


def error(found: GodwitError, request_id: str, status: int | None = None) -> Response:
    """An error in the shape of this API. What only some errors have stands in `details`, by its name."""
    details = dict(found.details)
    for name in ("retryable", "retry_after_s"):
        value = getattr(found, name, None)
        if value is not None:
            details[name] = value
    body = {"error": {"code": found.code, "message": found.message, "details": details}, "request_id": request_id}
    after = details.get("retry_after_s")
    headers = {"retry-after": str(max(1, round(after)))} if isinstance(after, int | float) else None
    try:
        data = encode(body)
    except (UnicodeEncodeError, ValueError, RecursionError):
        # A detail may quote what was sent, and that need not be something that can be sent back.
        data = encode({**body, "error": {"code": found.code, "message": ascii(found.message), "details": {}}})
    return Response(data, status or status_of(found), headers=headers, media_type=JSON)


def body(shape: type[T]) -> Callable[[Request], Awaitable[T]]:
    """What a route depends on for a body of this type. InvalidArgument names what does not fit, and where."""
    decoder = msgspec.json.Decoder(shape)

    async def read(request: Request) -> T:
        sent = await request.body()
        try:
            made = decoder.decode(sent or b"{}")
            unknown = unknown_field(msgspec.json.decode(sent or b"{}"), made)
            encode(made)  # what is no Unicode would be found out too late
        except GodwitError:
            raise
        except (msgspec.DecodeError, RecursionError, UnicodeError, OverflowError, ValueError) as wrong:
            raise InvalidArgument(f"the body cannot be used: {wrong}") from None
        if unknown is not None:
            raise InvalidArgument(f"the body cannot be used: there is no field `{unknown}`", field=unknown)
        return made

    return read


def unknown_field(sent: Any, made: Any, at: str = "") -> str | None:
    """Where in what was sent there is a field that what was made of it does not have; None when all were understood."""
    found: list[str | None] = []
    if isinstance(sent, Mapping):
        if isinstance(made, msgspec.Struct):
            known = set(made.__struct_fields__)
            tag = made.__struct_config__.tag_field
            extra = [name for name in sent if name not in known and name != tag]
            found = [f"{at}{extra[0]}"] if extra else []
            found += [unknown_field(sent[name], getattr(made, name), f"{at}{name}.") for name in sent if name in known]
        elif is_dataclass(made):
            known = {one.name for one in fields(made)}
            found = [f"{at}{name}" for name in sent if name not in known]
            found += [unknown_field(sent[name], getattr(made, name), f"{at}{name}.") for name in sent if name in known]
        elif isinstance(made, Mapping):
            found = [unknown_field(sent[name], made[name], f"{at}{name}.") for name in sent if name in made]
    elif isinstance(sent, Sequence) and isinstance(made, Sequence) and not isinstance(sent, str):
        found = [unknown_field(a, b, f"{at}{i}.") for i, (a, b) in enumerate(zip(sent, made, strict=False))]
    return next((one for one in found if one is not None), None)
