"""Connection: what is kept for one client's connection, and what is done when it ends.

The SDK has both for who handles requests, and no public name that leads there; so what is private of it is named here alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    return ctx.session._connection


def state_of(ctx: ServerRequestContext[Any, Any]) -> dict[str, Any]:
    """What lasts as long as the connection. In the newer protocol that is one request."""
    return connection_of(ctx).state


def at_end(ctx: ServerRequestContext[Any, Any], call: Callable[[], Awaitable[None]]) -> None:
    """Call this when the connection ends."""
    connection_of(ctx).exit_stack.push_async_callback(call)
