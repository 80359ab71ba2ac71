"""What a webhook is sent to in tests: a site on loopback that keeps what came and checks it with the public library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from standardwebhooks import Webhook
from tests.parts.web_site import Request, Site, page


class Inbox:
    """`answers`: the statuses of the next tries, then 204. `hold`: while set, none is answered."""

    def __init__(self, here: Site, path: str = "/hook") -> None:
        self.url = here.url(path)
        self.requests: list[Request] = []
        self.answers: list[bytes] = []
        self.always: bytes | None = None
        self.hold = False
        self._came = asyncio.Condition()
        here.answers[path] = self._answer

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._came:
            self.requests.append(request)
            self._came.notify_all()
        if self.hold:
            await reader.read()  # until the other side goes
            return
        writer.write(self.answers.pop(0) if self.answers else self.always or page("", status="204 No Content"))
        await writer.drain()

    async def until(self, enough: Callable[[list[Request]], bool], timeout_s: float = 30.0) -> list[Request]:
        """What came, once it is enough."""
        async with asyncio.timeout(timeout_s), self._came:
            await self._came.wait_for(lambda: enough(self.requests))
        return list(self.requests)

    def types(self) -> list[str]:
        return [json.loads(one.body)["data"]["type"] for one in self.requests]

    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.requests]


def verified(request: Request, secret: str) -> Any:
    """The body; raises when the signature does not fit."""
    return Webhook(secret).verify(request.body, request.headers)
