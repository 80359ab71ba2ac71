"""Subscriptions: which resources of one connection's server sessions want to hear of, and how often each is told.

Leaves out what is said to the server for it (`listening.py`) and what is told (`engine/live_contents.py`). Rules: a server
may say all the time that something has changed, and may say it of anything: what nobody asked for is not told, the same
resource again only after a wait that doubles up to a minute, and of all of them no more than `PER_ROUND` in a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable

from ...contracts import ToldOfResource
from ...core.errors import ToolFailed
from ...core.ids import SessionId

logger = logging.getLogger("godwit")

MOST = 100
"""Resources of one server that one session is told of."""
MOST_OF_ALL = 1000
"""Resources that all sessions of one connection are told of."""
WAIT_S = (1.0, 60.0)
"""Between two tellings of the same resource: the first wait and the longest."""
PER_ROUND = 10
MOST_WAITING = 200
"""Changed resources that wait to be told: those below a resource that was asked for are told as that one, where they are
more."""

Subscriber = tuple[SessionId, str]
"""A session, and what it calls the server."""


class Subscriptions:
    """`changed`: is called when other resources are to be listened to."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._wanted: dict[str, dict[Subscriber, ToldOfResource]] = {}
        self._waiting: dict[str, float] = {}  # when each is to be told
        self._told: dict[str, tuple[float, float]] = {}  # when each was, and how long it waits now
        self._telling: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._wanted)

    @property
    def uris(self) -> tuple[str, ...]:
        """What somebody wants to hear of."""
        return tuple(self._wanted)

    def add(self, who: Subscriber, uri: str, tell: ToldOfResource) -> bool:
        """False when this one is told of it already. ToolFailed when there are too many."""
        if who in self._wanted.get(uri, {}):
            self._wanted[uri][who] = tell
            return False
        if sum(who in those for those in self._wanted.values()) >= MOST:
            raise ToolFailed(f"the session is told of {MOST} resources of this MCP server, and of no more at once")
        if uri not in self._wanted and len(self._wanted) >= MOST_OF_ALL:
            raise ToolFailed(f"the connection to the MCP server tells of {MOST_OF_ALL} resources, and of no more at once")
        self._wanted.setdefault(uri, {})[who] = tell
        if len(self._wanted[uri]) == 1:
            self._changed()
        return True

    def remove(self, who: Subscriber, uri: str) -> bool:
        """False when this one is not told of it."""
        those = self._wanted.get(uri, {})
        found = those.pop(who, None) is not None
        if found and not those:
            del self._wanted[uri]
            self._changed()
        return found

    def leave(self, session: SessionId, server: str | None = None) -> None:
        """The session wants to hear of nothing more; of this one server."""
        for uri, those in list(self._wanted.items()):
            for who in list(those):
                if who[0] == session and server in (None, who[1]):
                    self.remove(who, uri)

    def heard(self, uri: str) -> None:
        """The server says that this has changed."""
        about = [wanted for wanted in self._wanted if _is_about(wanted, uri)]
        if not about:
            return
        if uri not in self._wanted and len(self._waiting) >= MOST_WAITING:
            uri = about[0]
        if uri in self._waiting:
            return
        now = _now()
        at, wait_s = self._told.get(uri, (float("-inf"), 0.0))
        self._waiting[uri] = max(now, at + wait_s)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_all(), name="mcp resources", context=contextvars.Context())

    def heard_all(self) -> None:
        """What has changed is not known: the server was away, or its stream was."""
        for uri in self._wanted:
            self.heard(uri)

    def close(self) -> None:
        self._wanted.clear()
        if self._telling is not None:
            self._telling.cancel()

    async def _tell_all(self) -> None:
        try:
            while self._waiting and self._wanted:
                await asyncio.sleep(max(0.0, min(self._waiting.values()) - _now()))
                due = sorted((at, uri) for uri, at in self._waiting.items() if at <= _now())[:PER_ROUND]
                for _, uri in due:
                    del self._waiting[uri]
                    self._note(uri)
                    await self._tell(uri)
                if len(due) == PER_ROUND:
                    await asyncio.sleep(1.0)
        finally:
            self._waiting.clear()
            self._telling = None

    def _note(self, uri: str) -> None:
        now, (first, longest) = _now(), WAIT_S
        at, wait_s = self._told.get(uri, (float("-inf"), 0.0))
        again = now - at < 2 * max(first, wait_s)
        self._told[uri] = now, min(longest, wait_s * 2) if again else first
        if len(self._told) > 2 * MOST_OF_ALL:
            self._told = {one: said for one, said in self._told.items() if now - said[0] < 2 * longest}

    async def _tell(self, uri: str) -> None:
        for wanted, those in list(self._wanted.items()):
            for who, tell in list(those.items()) if _is_about(wanted, uri) else ():
                try:
                    if not await tell(uri):
                        self.remove(who, wanted)
                except Exception:
                    logger.exception("session %s cannot be told of a changed resource", who[0])


def _is_about(wanted: str, uri: str) -> bool:
    """Whether it is that resource, or one below it."""
    return uri == wanted or uri.startswith(wanted if wanted.endswith("/") else f"{wanted}/")


def _now() -> float:
    return asyncio.get_running_loop().time()
