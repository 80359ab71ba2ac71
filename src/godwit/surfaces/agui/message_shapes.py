"""Whether what events carry is well formed: messages, content parts, the input of a run, patches.

The events hold these as plain data, as they are on the wire (`events.py`), and clients refuse a stream for one field of the
wrong type in them. A field that may be left out is never null. Members that are not named here are let through.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Id = Annotated[str, msgspec.Meta(min_length=1)]
Pointer = Annotated[str, msgspec.Meta(pattern=r"^(?:/(?:[^/~]|~[01])*)*\Z")]
"""RFC 6901."""

_Text = str | UnsetType
_Owner = Annotated[str, msgspec.Meta(min_length=1)] | UnsetType
_Metadata = dict[str, Any] | UnsetType


class _Shape(msgspec.Struct, kw_only=True, rename="camel"):
    """Base of all of these."""


# --- patches -------------------------------------------------------------------------------------------------------------


class _Operation(_Shape, kw_only=True, tag_field="op"):
    path: Pointer


class _Add(_Operation, kw_only=True, tag="add"):
    value: Any


class _Remove(_Operation, kw_only=True, tag="remove"):
    pass


class _Replace(_Operation, kw_only=True, tag="replace"):
    value: Any


class _Test(_Operation, kw_only=True, tag="test"):
    value: Any


class _Move(_Operation, kw_only=True, tag="move"):
    from_: Pointer = msgspec.field(name="from")


class _Copy(_Operation, kw_only=True, tag="copy"):
    from_: Pointer = msgspec.field(name="from")


Patch = list[_Add | _Remove | _Replace | _Test | _Move | _Copy]


# --- messages ------------------------------------------------------------------------------------------------------------


class _Data(_Shape, kw_only=True, tag="data", tag_field="type"):
    value: str
    mime_type: str


class _Url(_Shape, kw_only=True, tag="url", tag_field="type"):
    value: str
    mime_type: _Text = UNSET


class _File(_Shape, kw_only=True, tag="file", tag_field="type"):
    value: str
    provider: _Text = UNSET
    mime_type: _Text = UNSET


class _Part(_Shape, kw_only=True, tag_field="type"):
    id: _Text = UNSET
    metadata: Any = UNSET


class _TextPart(_Part, kw_only=True, tag="text"):
    text: str


class _Media(_Part, kw_only=True):
    source: _Data | _Url | _File


class _Image(_Media, kw_only=True, tag="image"):
    pass


class _Audio(_Media, kw_only=True, tag="audio"):
    pass


class _Video(_Media, kw_only=True, tag="video"):
    pass


class _Document(_Media, kw_only=True, tag="document"):
    pass


Parts = list[_TextPart | _Image | _Audio | _Video | _Document]


class _Function(_Shape, kw_only=True):
    name: str
    arguments: str


class _ToolCall(_Shape, kw_only=True):
    id: Id
    type: Literal["function"]
    function: _Function
    encrypted_value: _Text = UNSET
    metadata: _Metadata = UNSET


class _Message(_Shape, kw_only=True, tag_field="role"):
    id: Id
    subagent_run_id: _Owner = UNSET
    metadata: _Metadata = UNSET


class _Said(_Message, kw_only=True):
    name: _Text = UNSET
    encrypted_value: _Text = UNSET


class _Developer(_Said, kw_only=True, tag="developer"):
    content: str


class _System(_Said, kw_only=True, tag="system"):
    content: str


class _Assistant(_Said, kw_only=True, tag="assistant"):
    content: _Text = UNSET
    tool_calls: list[_ToolCall] | UnsetType = UNSET


class _User(_Said, kw_only=True, tag="user"):
    content: str | Parts


class _Tool(_Message, kw_only=True, tag="tool"):
    content: str | Parts
    tool_call_id: str
    error: _Text = UNSET
    encrypted_value: _Text = UNSET


class _Activity(_Message, kw_only=True, tag="activity"):
    activity_type: str
    content: dict[str, Any]


class _Reasoning(_Message, kw_only=True, tag="reasoning"):
    content: str
    encrypted_value: _Text = UNSET


Messages = list[_Developer | _System | _Assistant | _User | _Tool | _Activity | _Reasoning]


# --- the input of a run --------------------------------------------------------------------------------------------------


class _ToolOffered(_Shape, kw_only=True):
    name: str
    description: str
    parameters: Any = UNSET
    metadata: _Metadata = UNSET


class _Context(_Shape, kw_only=True):
    description: str
    value: str


class _Answer(_Shape, kw_only=True):
    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = UNSET
    metadata: _Metadata = UNSET


class _RunInput(_Shape, kw_only=True):
    thread_id: Id
    run_id: Id
    messages: Messages
    protocol_version: _Text = UNSET
    parent_run_id: _Text = UNSET
    tools: list[_ToolOffered] | UnsetType = UNSET
    context: list[_Context] | UnsetType = UNSET
    forwarded_props: Any = UNSET
    resume: list[_Answer] | UnsetType = UNSET


# --- checks --------------------------------------------------------------------------------------------------------------


def check_parts(parts: object) -> None:
    """Whether these are content parts. msgspec.ValidationError, as from all of these."""
    for part in msgspec.convert(parts, Parts):
        _not_null("metadata", part.metadata)


def check_messages(messages: object) -> None:
    """Whether these are messages."""
    _check_messages(msgspec.convert(messages, Messages))


def check_input(given: object) -> None:
    """Whether this is what a run is asked with."""
    read = msgspec.convert(given, _RunInput)
    _check_messages(read.messages)
    _not_null("forwardedProps", read.forwarded_props)
    for tool in read.tools or ():
        _not_null("parameters", tool.parameters)
    for answer in read.resume or ():
        _not_null("payload", answer.payload)


def check_patch(patch: object) -> None:
    """Whether this is a JSON patch (RFC 6902), apart from what it would be applied to."""
    for index, operation in enumerate(msgspec.convert(patch, Patch)):
        if isinstance(operation, _Move) and operation.path.startswith(f"{operation.from_}/"):
            raise msgspec.ValidationError(f"{operation.from_!r} cannot be moved into itself - at `$[{index}]`")


def _check_messages(messages: Messages) -> None:
    for message in messages:
        if isinstance(message, _User | _Tool) and not isinstance(message.content, str):
            for part in message.content:
                _not_null("metadata", part.metadata)


def _not_null(name: str, value: object) -> None:
    """What holds any value and may be left out is not null either."""
    if value is None:
        raise msgspec.ValidationError(f"{name} is null; leave it out")
