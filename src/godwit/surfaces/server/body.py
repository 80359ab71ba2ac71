"""Body: a request's body, bounded in size and in time, and read ahead where it must be known before its dialect sees it."""

from __future__ import annotations

import asyncio

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from ...core.errors import InvalidArgument, TooLarge
from .rule import Rule
from .settings import ServerSettings


def bounded(request: HTTPConnection, receive: Receive, rule: Rule, settings: ServerSettings) -> Receive:
    """Receives the body up to the limit of its kind. TooLarge, at once when the length is told; InvalidArgument when no more
    comes for `body_s`."""
    limit = settings.max_upload if rule.upload else settings.max_body
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told) > limit:
        raise TooLarge(f"the body has {told} bytes; at most {limit} are taken", limit=limit)
    taken, whole = 0, False

    async def receive_bounded() -> Message:
        nonlocal taken, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(settings.body_s):
                message = await receive()
        except TimeoutError:
            raise InvalidArgument(f"no more of the body came for {settings.body_s:g} s: send it faster") from None
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge(f"the body has more than {limit} bytes", limit=limit)
        return message

    return receive_bounded


async def read_ahead(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a `receive` that gives it once more. InvalidArgument when the client leaves before its end."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidArgument("the client left before its request was whole")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again
