"""Whether an MCP server takes a token: the first steps of its streamable HTTP transport, as far as their status.

Source: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports. Leaves out all else of MCP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import ToolFailed
from ...tools.fetch import Answer, Fetcher
from ...tools.url import parse
from ..oauth import ShownAnswer, shown_answer

VERSION = "2025-06-18"


class FailedStep(msgspec.Struct, frozen=True):
    """`method`: of the step that failed. `answer`: None when the server could not be reached."""

    method: str
    answer: ShownAnswer | None

    @property
    def refused(self) -> bool:
        """The server does not take the token."""
        return self.answer is not None and self.answer.status in (401, 403)


async def probe(fetcher: Fetcher, url: str, token: str) -> FailedStep | None:
    """The first step that the server answers with an error; None when it takes the token for all of them."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    about = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "godwit", "version": "1"}}
    steps: list[dict[str, Any]] = [
        {"method": "initialize", "id": 1, "params": about},
        {"method": "notifications/initialized"},
        {"method": "tools/list", "id": 2},
    ]
    for step in steps:
        try:
            answer = await _post(fetcher, url, headers, {"jsonrpc": "2.0", **step})
        except ToolFailed:
            return FailedStep(step["method"], None)
        if not _well(answer):
            return FailedStep(step["method"], shown_answer(answer, [token]))
        session = answer.headers.get("mcp-session-id")
        if session is not None:
            headers["Mcp-Session-Id"] = session
        headers["MCP-Protocol-Version"] = VERSION
    return None


async def _post(fetcher: Fetcher, url: str, headers: Mapping[str, str], message: Mapping[str, Any]) -> Answer:
    # A stream of events may stay open, and its status says enough.
    body = msgspec.json.encode(message)
    return await fetcher.send("POST", parse(url), headers=headers, body=body, look=lambda answer: not _well(answer))


def _well(answer: Answer) -> bool:
    return 200 <= answer.status < 300
