"""Delta: what is on its way. No event: it carries no seq and is never stored."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..ids import CallId, Seq, SessionId

DeltaKind = Literal["text", "thinking", "tool_arguments", "tool_output", "discard", "progress"]


class Delta(msgspec.Struct, frozen=True, omit_defaults=True, tag="delta", tag_field="type"):
    """A fragment shown live. `id`: the message or call it grows; `offset`: characters before it.

    A reader that knows less than `offset` characters of `id` has missed some and waits for the stored event.
    `block` tells content blocks of one message apart. `discard`: what was shown of message `id` is void.
    `after`: the log's head when it was shown, so that a reader can put it between the right events. `call`: whose arguments
    these are, where its id is known before the answer is there; it stands in the first delta of its block, as `name` does.
    """

    session: SessionId
    kind: DeltaKind
    id: str
    offset: int = 0
    text: str = ""
    block: int = 0
    name: str | None = None
    after: Seq = 0
    call: CallId | None = None
