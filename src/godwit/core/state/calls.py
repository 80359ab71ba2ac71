"""The calls of an open turn: the table of their lives, and the only code that moves one."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ..errors import IllegalEvent
from ..events import EventData, ToolAsked, ToolFinished, ToolStarted, type_of
from ..ids import ActionId, CallId
from ..messages import ToolStatus
from .shape import Call, CallPhase, Turn

CALL_TABLE: dict[CallPhase, dict[type, CallPhase]] = {
    "requested": {ToolStarted: "started", ToolFinished: "finished"},
    "started": {ToolStarted: "started", ToolAsked: "asking", ToolFinished: "finished"},
    "asking": {ToolStarted: "started", ToolFinished: "finished"},
    "finished": {},
}
NEEDS_START: frozenset[ToolStatus] = frozenset(("ok", "unknown"))


def need_turn(turn: Turn | None, data: EventData) -> Turn:
    """IllegalEvent when none is open."""
    if turn is None:
        raise IllegalEvent(f"{type_of(data)} needs an open turn", type=type_of(data))
    return turn


def call_named(turn: Turn | None, data: EventData, call_id: CallId) -> Call:
    """The call with this id. IllegalEvent."""
    for call in need_turn(turn, data).calls:
        if call.id == call_id:
            return call
    raise IllegalEvent(f"{type_of(data)}: the open turn has no call {call_id!r}", call=call_id)


def call_of(turn: Turn | None, data: EventData, action: ActionId) -> Call:
    """The call that waits for this action. IllegalEvent."""
    for call in need_turn(turn, data).calls:
        if call.action == action:
            return call
    raise IllegalEvent(f"{type_of(data)}: no call of the open turn has action {action!r}", action=action)


def with_changed(turn: Turn | None, call: Call) -> Turn:
    """The turn with this call in place of the one of its id."""
    assert turn is not None
    return msgspec.structs.replace(turn, calls=tuple(call if c.id == call.id else c for c in turn.calls))


def with_moved(turn: Turn | None, data: EventData, call_id: CallId, *, phase: CallPhase, **changes: Any) -> Turn:
    """The turn with this call moved on to `phase`, as the table allows. IllegalEvent."""
    call = call_named(turn, data, call_id)
    if CALL_TABLE[call.phase].get(type(data)) != phase:
        raise IllegalEvent(f"{type_of(data)} cannot happen to a call that is {call.phase}", call=call_id)
    return with_changed(turn, msgspec.structs.replace(call, phase=phase, **changes))


def signature_of(name: str, arguments: dict[str, Any], malformed: str | None) -> str:
    """By what two calls are known to be the same."""
    body = msgspec.json.encode([name, arguments, malformed], order="sorted")
    return hashlib.blake2b(body, digest_size=12).hexdigest()
