"""Access: one line of JSON in the log for each request, `godwit.access`. It names the route's template and the caller's
id, and never a query, a header, a body or a key."""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import msgspec

from .exchange import Exchange

logger = logging.getLogger("godwit.access")
_encoder = msgspec.json.Encoder()


def log_request(exchange: Exchange, ms: float, error: str | None) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    who = exchange.principal
    line: dict[str, Any] = {
        "id": exchange.id,
        "client_id": exchange.client_id,
        "dialect": exchange.dialect,
        "method": exchange.method,
        "route": exchange.route,
        "path": exchange.path[:500],
        "status": exchange.status,
        "ms": round(ms, 1),
        "bytes": exchange.sent,
        "stream": exchange.streamed,
        "replayed": exchange.replayed,
        "tenant": None if who is None else who.tenant,
        "principal": None if who is None else who.id,
        "peer": exchange.peer,
        "error": error,
    }
    logger.info("request", extra={"request": line})


class JsonLines(logging.Formatter):
    """Each record as one JSON object: `at` (UTC), `level`, `logger`, `message`, and of a request its fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        line |= {k: v for k, v in getattr(record, "request", {}).items() if v is not None and v is not False}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _encoder.encode(line).decode()


def log_as_json(stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """All of this process's log as JSON lines on standard error, or the stream."""
    import time

    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonLines()
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("godwit", "uvicorn"):
        logging.getLogger(name).setLevel(level)
    # Its own lines say nothing beside ours, and what clients send wrong is no warning.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
