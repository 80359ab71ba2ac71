"""The floor: the least that does the same work, written by hand on httpx2 and json, without a framework.

`Floor` is a tool loop over one growing list of messages. With a database it appends each message as a row and commits it
before it goes on, as a durable loop must. No retries, no followers, no recovery: what is missing here is what a runtime is
for, and what it may cost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from .provider import TOOL

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
DESCRIPTION = "Add two numbers."
TOOLS = [{"type": "function", "function": {"name": TOOL, "description": DESCRIPTION, "parameters": SCHEMA}}]


class FloorTable:
    """Messages of many sessions, one row each. FULL: a committed row survives a power loss."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS events (session, seq INTEGER, body, PRIMARY KEY (session, seq)) WITHOUT ROWID"
        )

    def append(self, session: str, first: int, messages: list[dict[str, Any]]) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for seq, message in enumerate(messages, first):
            db.execute("INSERT INTO events VALUES (?, ?, ?)", (session, seq, json.dumps(message)))
        db.execute("COMMIT")

    def read(self, session: str) -> list[dict[str, Any]]:
        return [
            json.loads(body)
            for (body,) in self._db.execute("SELECT body FROM events WHERE session = ? ORDER BY seq", (session,))
        ]

    def close(self) -> None:
        self._db.close()


class Floor:
    """One conversation."""

    def __init__(
        self, client: httpx2.AsyncClient, url: str, model: str, *, table: FloorTable | None = None, session: str = ""
    ) -> None:
        self._client = client
        self._url = f"{url}/chat/completions"
        self._model = model
        self._table = table
        self._session = session
        self.mark: Callable[[], None] = lambda: None
        """Called in each tool call."""
        self.messages: list[dict[str, Any]] = [] if table is None else table.read(session)

    async def turn(self, prompt: str) -> str:
        """From a prompt to the answer without calls."""
        self._add({"role": "user", "content": prompt})
        while True:
            text, calls = await self._ask()
            answer: dict[str, Any] = {"role": "assistant", "content": text or None}
            if calls:
                answer["tool_calls"] = calls
            self._add(answer)
            if not calls:
                return text
            for call in calls:
                self.mark()
                arguments = json.loads(call["function"]["arguments"])
                result = str(arguments["a"] + arguments["b"])
                self._add({"role": "tool", "tool_call_id": call["id"], "content": result})

    async def close(self) -> None:
        self.messages = []

    def _add(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if self._table is not None:
            self._table.append(self._session, len(self.messages), [message])

    async def _ask(self) -> tuple[str, list[dict[str, Any]]]:
        body = {
            "model": self._model,
            "messages": self.messages,
            "tools": TOOLS,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        request = json.dumps(body).encode()
        async with self._client.stream("POST", self._url, content=request, headers=_HEADERS) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                choices = json.loads(line[6:])["choices"]
                delta = choices[0]["delta"] if choices else {}
                if piece := delta.get("content"):
                    texts.append(piece)
                for part in delta.get("tool_calls", ()):
                    if "id" in part:
                        calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
                    else:
                        calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
        return "".join(texts), calls


_HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}
