"""The page that a browser comes back to from a login to an MCP server, at the address that `ServerSettings.public_url` says.

Leaves out the login (`host/mcp/login_waiting.py`). Rules: it asks for no key, since a browser has none: what counts is the
state that only the login that was begun knows, once; it leads nowhere else, shows nothing of what came, and tells its own
address, which has a code in it, to nobody.
"""

from __future__ import annotations

import html
import logging
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ...core.errors import GodwitError

if TYPE_CHECKING:
    from ...host.runtime import Runtime

logger = logging.getLogger("godwit")

LOGIN_PATH = "/mcp/callback"
_MOST = 16_384


async def came_back(runtime: Runtime, request: Request) -> Response:
    """Finish the login that this is the answer to, and say so."""
    query = request.url.query
    given = dict(request.query_params) if len(query) <= _MOST else {}
    try:
        server = await runtime.mcp.logins.came(given)
    except GodwitError as error:
        logger.info("a login to an MCP server was not finished: %s", error.message)
        return _page("This login came to nothing. Go back and begin it again.", 400)
    return _page(f"You are logged in to {server}. You can close this window.", 200)


def _page(text: str, status: int) -> Response:
    headers = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    body = f"<!doctype html><meta charset=utf-8><title>godwit</title><p>{html.escape(text)}</p>"
    return HTMLResponse(body, status, headers=headers)


__all__ = ["LOGIN_PATH", "came_back"]
