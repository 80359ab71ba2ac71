"""Cancelled: what becomes of a run when the call that waits for it is cancelled.

A client that says `notifications/cancelled` wants the work to end, and so the run is interrupted. A connection that just
closes, as on a network that breaks or a client that dies, ends no run: it is a session, which somebody may come back to.
Each can be told otherwise with the call. Over HTTP the newer protocol knows
only the closing: the work goes on, unless it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from ...core.errors import GodwitError
from ..server.caller import Caller
from .shapes import Cancelled

logger = logging.getLogger("godwit.server")

KEPT = 1024
"""Calls that were cancelled and whose notification may still come."""
_SESSION_HEADER = "mcp-session-id"
REASON = "its call was cancelled"


@dataclass
class Call:
    """`session`, `run`: what it waits for; None until that has begun."""

    caller: Caller
    when: Cancelled | None
    session: str | None = None
    run: str | None = None
    told: bool = False

    def waits_for(self, session: str, run: str) -> None:
        self.session, self.run = session, run


class Calls:
    """The calls that wait for runs, and those that lately did."""

    def __init__(self, ending: Callable[[], bool]) -> None:
        self._calls: OrderedDict[tuple[str, str], Call] = OrderedDict()
        self._ending = ending
        self._interrupts: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def of(self, ctx: ServerRequestContext[Any, Any], caller: Caller, when: Cancelled | None) -> Iterator[Call]:
        """Within, the call waits."""
        key, call = _key(ctx, ctx.request_id), Call(caller, when)
        self._calls[key] = call
        try:
            yield call
        except asyncio.CancelledError:
            # The notification that says why may come behind the cancelling itself, so the call is known for a while yet.
            while len(self._calls) > KEPT:
                self._calls.popitem(last=False)
            if when == "interrupt" and not self._ending():
                self._interrupt(call)
            raise
        except BaseException:
            self._drop(key, call)
            raise
        else:
            self._drop(key, call)

    def _drop(self, key: tuple[str, str], call: Call) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]

    async def middleware(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Hears what clients say."""
        if ctx.request_id is None and ctx.method == "notifications/cancelled" and ctx.params is not None:
            call = self._calls.pop(_key(ctx, ctx.params.get("requestId")), None)
            if call is not None and call.when != "continue":
                self._interrupt(call)
        return await call_next(ctx)

    def _interrupt(self, call: Call) -> None:
        if call.told or call.session is None or not call.caller.principal.may("operate"):
            return
        call.told = True
        task = asyncio.ensure_future(_interrupt(call))
        self._interrupts.add(task)
        task.add_done_callback(self._interrupts.discard)

    async def close(self) -> None:
        """When what was told to end is stored."""
        await asyncio.gather(*self._interrupts, return_exceptions=True)


async def _interrupt(call: Call) -> None:
    assert call.session is not None
    try:
        await call.caller.service.runtime.interrupt(call.session, run=call.run, reason=REASON)
    except GodwitError as error:
        logger.warning("session %s cannot be interrupted: %s", call.session, error.message)


def _key(ctx: ServerRequestContext[Any, Any], request: Any) -> tuple[str, str]:
    """Ids of requests are unique within a connection."""
    headers = getattr(ctx.request, "headers", None)
    return (headers.get(_SESSION_HEADER, "") if headers is not None else "", str(request))
