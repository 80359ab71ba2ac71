"""Whether an event has what its class says, and what its JSON says: an event made in Python may hold anything.

`check_fields` looks at one event, without what came before it; `from_wire` makes one of what is on the wire. Both are
stricter than clients in one thing: an id is never empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ...core.errors import IllegalStream, InvalidArgument
from .events import (
    EVENT_TYPES,
    ActivityDelta,
    ActivitySnapshot,
    AnyEvent,
    Event,
    Given,
    Interrupt,
    Interrupted,
    MessagesSnapshot,
    Outcome,
    ReasoningMessageStart,
    RunError,
    RunFinished,
    RunStarted,
    StateDelta,
    SubagentError,
    SubagentFinished,
    SubagentStarted,
    SubagentSuccess,
    SubagentSuspended,
    Success,
    TokenUsage,
    ToolCallResult,
    event_of,
)
from .message_shapes import check_input, check_messages, check_parts, check_patch

LARGEST = 2**53 - 1
"""Of the whole numbers that clients read."""


class _Field(msgspec.Struct, frozen=True):
    name: str
    wire: str
    optional: bool
    id: bool


def _strings(cls: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """The fields of `cls` that are text."""
    return tuple(
        _Field(f.name, f.encode_name, not f.required and f.default is None, f.name == "id" or f.name.endswith("_id"))
        for f in msgspec.structs.fields(cls)
        if f.type in (str, str | None)
    )


_STRINGS: dict[type[msgspec.Struct], tuple[_Field, ...]] = {cls: _strings(cls) for cls in EVENT_TYPES.values()}
_STRINGS[Interrupt] = _strings(Interrupt)
_CHOICES = {
    cls: tuple((f.name, f.type) for f in msgspec.structs.fields(cls) if f.name in ("role", "subtype", "replace"))
    for cls in EVENT_TYPES.values()
}
_WITH_PARTS = {
    *(StateDelta, ActivityDelta, ToolCallResult, ActivitySnapshot, MessagesSnapshot, RunStarted, RunFinished, RunError),
    SubagentFinished,
}
"""What has more in it than texts and numbers. Most events of a stream have not, so these are looked up first."""
_COUNTS = tuple(f.name for f in msgspec.structs.fields(TokenUsage) if f.type == int | None)


def check_fields(event: AnyEvent) -> None:
    """IllegalStream: `shape` for a field of the wrong type, `id` for an empty id, `patch`, `interrupts`."""
    if type(event) not in _STRINGS:
        raise IllegalStream(f"{event!r} is no event of AG-UI", event=str(type(event).__name__), id=None, rule="shape")
    try:
        _check(event)
    except msgspec.ValidationError as error:
        raise _wrong(event, "shape", str(error)) from None


def _check(event: AnyEvent) -> None:
    _check_strings(event, event)
    for name, kind in _CHOICES[type(event)]:
        msgspec.convert(getattr(event, name), kind)
    if event.timestamp is not None:
        _whole(event, "timestamp", event.timestamp, -LARGEST)
    if event.metadata is not None:
        msgspec.convert(event.metadata, dict[str, Any])
    if type(event) in _WITH_PARTS:
        _check_parts(event)


def _check_parts(event: AnyEvent) -> None:
    match event:
        case StateDelta(delta=patch) | ActivityDelta(patch=patch):
            try:
                check_patch(patch)
            except msgspec.ValidationError as error:
                raise _wrong(event, "patch", str(error)) from None
        case ToolCallResult(content=content) if not isinstance(content, str):
            check_parts(content)
        case ActivitySnapshot(content=content):
            msgspec.convert(content, dict[str, Any])
        case MessagesSnapshot(messages=messages):
            check_messages(messages)
        case RunStarted(input=given) if given is not None:
            check_input(given)
        case RunFinished() | RunError():
            for usage in msgspec.convert(event.usage, list[TokenUsage] | None) or ():
                for name in _COUNTS:
                    if (count := getattr(usage, name)) is not None:
                        _whole(event, name, count, 0)
            if isinstance(event, RunFinished):
                _check_outcome(event)
        case SubagentFinished(outcome=outcome):
            ended: SubagentSuccess | SubagentSuspended | None = msgspec.convert(
                outcome, SubagentSuccess | SubagentSuspended | None
            )
            if isinstance(ended, SubagentSuspended):
                msgspec.convert(ended.interrupt_ids, list[str] | None)
        case _:
            pass


def _check_strings(event: AnyEvent, part: AnyEvent | Interrupt) -> None:
    for field in _STRINGS[type(part)]:
        value = getattr(part, field.name)
        if value is None and field.optional:
            continue
        if not isinstance(value, str):
            raise _wrong(event, "shape", f"{field.wire} is {value!r}, and no text")
        if field.id and not value:
            raise _wrong(event, "id", f"{field.wire} is empty")


def _check_outcome(event: RunFinished) -> None:
    match msgspec.convert(event.outcome, Outcome | None):
        case Success(pending_tool_call_ids=ids):
            msgspec.convert(ids, list[str] | None)
        case Interrupted(interrupts=interrupts):
            if not interrupts:
                raise _wrong(event, "interrupts", "an interrupt outcome has one interrupt at least")
            for one in msgspec.convert(interrupts, list[Interrupt]):
                _check_strings(event, one)
                msgspec.convert(one.response_schema, dict[str, Any] | None)
                msgspec.convert(one.metadata, dict[str, Any] | None)
            ids = [one.id for one in interrupts]
            if twice := next((one for one in ids if ids.count(one) > 1), None):
                raise _wrong(event, "interrupts", f"two interrupts are {twice!r}")
        case _:
            pass


def _whole(event: AnyEvent, name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value <= LARGEST:
        raise _wrong(event, "shape", f"{name} is {value!r}, and no whole number from {least} to {LARGEST}")


def _wrong(event: Event, rule: str, why: str) -> IllegalStream:
    return IllegalStream(f"{event.type} cannot be sent: {why}", event=event.type, id=id_of(event), rule=rule)


def id_of(event: Event) -> str | None:
    """What the event is about, by the id of it that tells most."""
    for name in ("message_id", "tool_call_id", "entity_id", "step_name", "subagent_run_id", "run_id"):
        value = getattr(event, name, None)
        if isinstance(value, str):
            return value
    return None


# --- from the wire -------------------------------------------------------------------------------------------------------


def from_wire(given: Given) -> AnyEvent:
    """The event that this is: one of ours, a mapping as the wire has it, or a model of the package `ag-ui-protocol`.
    IllegalStream for what is none, and for a null where the protocol has a field left out."""
    if isinstance(given, Mapping):
        kind = given.get("type")
        cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
        null = next(_nulls(given, cls), None) if cls is not None else None
        if null is not None:
            raise IllegalStream(f"{kind} cannot be sent: {null} is null; leave it out", event=kind, id=None, rule="null")
        # No field of these, but looked at.
        if cls in (SubagentStarted, SubagentError) and not _is_outcome(given.get("outcome")):
            raise IllegalStream(f"{kind} cannot be sent: its outcome is none", event=kind, id=None, rule="shape")
        if cls is ReasoningMessageStart and "role" not in given:  # ours has it always, and the protocol asks for it
            raise IllegalStream(f"{kind} cannot be sent: it has no role", event=kind, id=None, rule="shape")
    try:
        return event_of(given)
    except InvalidArgument as error:
        kind = str(given.get("type")) if isinstance(given, Mapping) else type(given).__name__
        raise IllegalStream(f"{kind} cannot be sent: {error.message}", event=kind, id=None, rule="shape") from None


def _is_outcome(given: object) -> bool:
    """Whether this may stand as the outcome of a subagent, where anything does."""
    if given is None:
        return True
    if not isinstance(given, Mapping) or given.get("type") not in ("success", "suspended"):
        return False
    ids = given.get("interruptIds", [])
    return ids is not None and (not isinstance(ids, list) or all(isinstance(one, str) for one in ids))


def _nulls(data: Mapping[str, Any], cls: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """Where `data` has a null for a field of `cls` that may be left out."""
    if not path and data.get("subagentRunId", "") is None:
        yield "subagentRunId"  # also where it would be no field at all
    for field in msgspec.structs.fields(cls):
        if field.encode_name not in data:
            continue
        value = data[field.encode_name]
        if value is None and not field.required:
            yield path + field.encode_name
        for inner, within, where in _within(cls, field.name, value):
            yield from _nulls(inner, within, f"{path}{where}.")


def _within(cls: type, name: str, value: object) -> Iterator[tuple[Mapping[str, Any], type[msgspec.Struct], str]]:
    """The parts of a field's value that have fields of their own."""
    if name == "outcome" and isinstance(value, Mapping):
        known: dict[str, type[msgspec.Struct]] = {"success": Success, "interrupt": Interrupted}
        kinds = {"suspended": SubagentSuspended} if cls is SubagentFinished else known
        if inner := kinds.get(str(value.get("type"))):
            yield value, inner, name
    elif name in ("usage", "interrupts") and isinstance(value, list):
        part = TokenUsage if name == "usage" else Interrupt
        yield from ((one, part, f"{name}[{i}]") for i, one in enumerate(value) if isinstance(one, Mapping))
