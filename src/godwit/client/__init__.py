"""The remote client: sessions of a server under the very handle that they have in its process (`contracts.SessionHandle`).

    runtime = godwit.connect("http://127.0.0.1:8642")
    session = await runtime.start_session(godwit.Agent("coder", model="anthropic:claude-sonnet-4-5", tools=["files"]))
    result = await session.send("Fix the failing test.")

What was promised in process holds here: an input is durable before its call returns, a stream misses no event and repeats
none, also when the connection breaks, and nothing that is sent is done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .following import RemoteEvents
    from .runtime import RemoteRuntime, connect
    from .session import RemoteRun, RemoteSession
    from .worker import Worker

_HOMES = {
    "RemoteEvents": ".following",
    "RemoteRun": ".session",
    "RemoteRuntime": ".runtime",
    "RemoteSession": ".session",
    "Worker": ".worker",
    "connect": ".runtime",
}

__all__ = ["RemoteEvents", "RemoteRun", "RemoteRuntime", "RemoteSession", "Worker", "connect"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(_HOMES[name], __name__), name)
