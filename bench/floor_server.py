"""The floor of a server: the least that answers the same requests with the same bytes, on Starlette and uvicorn as ours is.

It speaks the paths that are measured and no others. What is sent is a row, committed with `synchronous=FULL` before it is
answered; a page of events is rows put together; a stream has a queue for each follower. No callers, no limits, no agent, no
place to go on from: what is missing here is what a server of sessions is for, and what it may cost.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .pace import END, Pace, told, when

_CONTENT = '{"type":"text","text":"%s"}'
_DELTA = '{"type":"event_delta","event_id":"sevt_%s","delta":{"type":"content_delta","index":0,"content":' + _CONTENT + "}}"
TOGETHER = 20
"""How many are committed at once when they are stored without a pause."""


class FloorServer:
    """`url`: its address, while it is `served`."""

    url: str

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE events (session, seq INTEGER, body, PRIMARY KEY (session, seq)) WITHOUT ROWID")
        self._seq = itertools.count(1)
        self._queues: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._pacing: set[asyncio.Task[None]] = set()
        below = "/v1/sessions/{session}/events"
        self.app = Starlette(
            routes=[
                Route(below, self._send, methods=["POST"]),
                Route(below, self._list),
                Route(f"{below}/stream", self._stream),
            ]
        )

    def append(self, session: str, *bodies: str) -> int:
        """Commit these rows; the number of the last one."""
        db, seq = self._db, 0
        db.execute("BEGIN IMMEDIATE")
        for body in bodies:
            seq = next(self._seq)
            db.execute("INSERT INTO events VALUES (?, ?, ?)", (session, seq, body))
        db.execute("COMMIT")
        return seq

    async def store(self, session: str, pace: Pace) -> None:
        """So many rows at that pace, committed and then told to the followers."""
        waiting: list[str] = []
        number = 0
        async for due in when(pace, session):
            number += 1
            waiting.append(f'{{"id":"sevt_{session}","type":"session.updated","processed_at":"","title":"{told(due)}"}}')
            if pace.per_s or len(waiting) == TOGETHER or number == pace.count:
                last = self.append(session, *waiting)
                for seq, body in enumerate(waiting, last - len(waiting) + 1):
                    self._tell(session, _frame(body, seq))
                waiting = []
                await asyncio.sleep(0)

    async def settle(self, sessions: list[str]) -> None:
        pass

    async def seed(self, session: str, bodies: list[Any]) -> None:
        """Rows to be listed."""
        self.append(session, *(json.dumps(body, separators=(",", ":")) for body in bodies))

    def _tell(self, session: str, frame: bytes) -> None:
        for queue in self._queues.get(session, ()):
            queue.put_nowait(frame)

    async def _send(self, request: Request) -> Response:
        session = request.path_params["session"]
        (event,) = json.loads(await request.body())["events"]
        body = json.dumps({"id": "sevt_", **event, "processed_at": None}, separators=(",", ":"))
        self.append(session, body)
        pace = Pace.of(event["content"][0]["text"])
        if pace is not None:
            task = asyncio.create_task(self._pace(session, pace))
            self._pacing.add(task)
            task.add_done_callback(self._pacing.discard)
        return Response(f'{{"data":[{body}]}}', media_type="application/json")

    async def _pace(self, session: str, pace: Pace) -> None:
        async for due in when(pace, session):
            self._tell(session, _frame(_DELTA % (session, told(due))))
        body = f'{{"id":"sevt_{session}",{END.decode()}}}'
        self._tell(session, _frame(body, self.append(session, body)))

    async def _list(self, request: Request) -> Response:
        rows = self._db.execute(
            "SELECT body FROM events WHERE session = ? ORDER BY seq LIMIT ?",
            (request.path_params["session"], int(request.query_params["limit"])),
        )
        page = ",".join(body for (body,) in rows)
        return Response(f'{{"data":[{page}],"next_page":null}}', media_type="application/json")

    async def _stream(self, request: Request) -> Response:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        mine = self._queues.setdefault(request.path_params["session"], set())
        mine.add(queue)

        async def frames() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield await queue.get()
            finally:
                mine.discard(queue)

        return StreamingResponse(frames(), media_type="text/event-stream")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        config = uvicorn.Config(
            self.app, port=0, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield


def _frame(body: str, seq: int | None = None) -> bytes:
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}event: message\ndata: {body}\n\n".encode()
