"""McpLog: what the server at the other end of a connection logs: the last of it kept, and all passed to Python's `logging`.

Rules: bounded in length and in rate, whatever a server does; what it was given secretly is hidden; nothing of it enters
the log of a session.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ...core.mcp import LogLevel
from ...core.mcp_contents import McpLogEntry

logger = logging.getLogger("godwit.mcp")

KEPT = 100
"""Messages."""
LONGEST = 2000
"""Characters of one."""
PER_S = 20.0
BURST = 100.0
"""How many are taken in a second, and how many at once."""

_LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}


class McpLog:
    """`name`: of the server; `hidden`: gives a text without secrets."""

    def __init__(self, name: str, hidden: Callable[[str], str]) -> None:
        self._name = name
        self._hidden = hidden
        self._entries: deque[McpLogEntry] = deque(maxlen=KEPT)
        self._room = BURST
        self._at = time.monotonic()
        self._left_out = 0

    @property
    def entries(self) -> Sequence[McpLogEntry]:
        """The last messages, oldest first."""
        return tuple(self._entries)

    def add(self, level: LogLevel, part: str | None, data: Any) -> None:
        """Take a message of the server's. `part`: which of its parts says so; `data`: whatever JSON can be."""
        now = time.monotonic()
        self._room, self._at = min(BURST, self._room + (now - self._at) * PER_S), now
        if self._room < 1:
            self._left_out += 1
            return
        self._room -= 1
        if self._left_out:
            self._take("warning", None, f"[{self._left_out} messages left out: it says too much at once]")
            self._left_out = 0
        self._take(level, part, data if isinstance(data, str) else _as_text(data))

    def _take(self, level: LogLevel, part: str | None, text: str) -> None:
        # Hidden before it is cut: half of a secret would not be found.
        text, part = self._kept(text, LONGEST), None if part is None else self._kept(part, 100)
        self._entries.append(McpLogEntry(time.time_ns() // 1_000_000, level, text, part))
        whole = f"{part}: {text}" if part else text
        logger.log(_LEVELS[level], "%s: %s", self._name, "".join(c if c.isprintable() else " " for c in whole))

    def _kept(self, text: str, most: int) -> str:
        text = self._hidden(text).encode(errors="replace").decode()
        return text if len(text) <= most else f"{text[:most]}…"


def _as_text(data: Any) -> str:
    try:
        return json.dumps(data, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"[data of type {type(data).__name__}]"
