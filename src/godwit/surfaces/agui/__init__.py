"""AG-UI: the protocol by which front ends follow an agent and answer it.

Two things: what any program needs to produce its streams, without the rest of godwit (`AgentSession`, `verify`, the events);
and the sessions of a server in it (`app.py`). Everything is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import events
    from .agent_session import AgentSession, SessionState
    from .authoring import Author, Subagent
    from .events import AnyEvent, Event, Interrupt, TokenUsage, decode, encode, event_of
    from .items import Activity, MessageStream, Step, ThinkingMessageStream, ThinkingStep, ToolCallStream
    from .patches import Patch, PatchBuilder, apply_patch, can_apply, create_patch, merge_patches
    from .producer import EventProducer
    from .profiles import Profile, adapt, profile_of, wire
    from .senders import SseSender, SseStream, format_sse_event, sse_channel
    from .state import StateManager, TypedStateManager
    from .verifier import Verifier, verified, verify
    from .websocket_senders import WebSocketHandler, WebSocketSender, websocket_channel

_HOMES = {
    "Activity": "items",
    "AgentSession": "agent_session",
    "AnyEvent": "events",
    "Author": "authoring",
    "Event": "events",
    "EventProducer": "producer",
    "Interrupt": "events",
    "MessageStream": "items",
    "Patch": "patches",
    "PatchBuilder": "patches",
    "Profile": "profiles",
    "SessionState": "agent_session",
    "SseSender": "senders",
    "SseStream": "senders",
    "StateManager": "state",
    "Step": "items",
    "Subagent": "authoring",
    "ThinkingMessageStream": "items",
    "ThinkingStep": "items",
    "TokenUsage": "events",
    "ToolCallStream": "items",
    "TypedStateManager": "state",
    "Verifier": "verifier",
    "WebSocketHandler": "websocket_senders",
    "WebSocketSender": "websocket_senders",
    "adapt": "profiles",
    "apply_patch": "patches",
    "can_apply": "patches",
    "create_patch": "patches",
    "decode": "events",
    "encode": "events",
    "event_of": "events",
    "format_sse_event": "senders",
    "merge_patches": "patches",
    "profile_of": "profiles",
    "sse_channel": "senders",
    "verified": "verifier",
    "verify": "verifier",
    "websocket_channel": "websocket_senders",
    "wire": "profiles",
}

__all__ = [
    "Activity",
    "AgentSession",
    "AnyEvent",
    "Author",
    "Event",
    "EventProducer",
    "Interrupt",
    "MessageStream",
    "Patch",
    "PatchBuilder",
    "Profile",
    "SessionState",
    "SseSender",
    "SseStream",
    "StateManager",
    "Step",
    "Subagent",
    "ThinkingMessageStream",
    "ThinkingStep",
    "TokenUsage",
    "ToolCallStream",
    "TypedStateManager",
    "Verifier",
    "WebSocketHandler",
    "WebSocketSender",
    "adapt",
    "apply_patch",
    "can_apply",
    "create_patch",
    "decode",
    "encode",
    "event_of",
    "events",
    "format_sse_event",
    "merge_patches",
    "profile_of",
    "sse_channel",
    "verified",
    "verify",
    "websocket_channel",
    "wire",
]


def __getattr__(name: str) -> Any:
    if name == "events":
        return import_module(f"{__name__}.events")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
