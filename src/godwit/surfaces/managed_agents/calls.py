"""Calls: from the id of an event that shows a call to what the session asks about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ...contracts import EventStore
from ...core.errors import InvalidArgument
from ...core.events import (
    ActionKind,
    ActionOpened,
    AgentMessage,
    Event,
    ModelStarted,
    ToolFinished,
    ToolStarted,
    UserAnswer,
)
from ...core.ids import ActionId, CallId, Seq, SessionId
from ..server.money import is_budget_question
from ..server.questions import is_form
from .event_fields import BUILT_IN
from .event_ids import call_number, is_handed_out, place_of_id

_PAGE: Final = 256


HANDED_OUT_S: Final = 10.0
"""How long the result of a call that was allowed just now may have to wait until the call is handed out."""


@dataclass(frozen=True)
class Asked:
    """What is asked about a call, or by one (`opened.asking`), and where; `custom`: its tool is the client's own, or it is
    a form, which is shown as such."""

    action: ActionId
    kind: ActionKind
    name: str
    custom: bool
    call: CallId | None
    seq: Seq
    opened: ActionOpened


async def asked_by(store: EventStore, session: SessionId, event: str) -> Asked:
    """What was asked last about the call that this event shows. InvalidArgument when the id is none of such an event's."""
    place = place_of_id(session, event)
    if place is None or place[0] < 1:
        raise InvalidArgument(f"session {session!r} has no event {event!r}", id=event)
    seq, index = place
    number = call_number(index)
    found = await _question(store, session, seq) if number is None else await _about(store, session, seq, number)
    opened = None if found is None else found.data
    if found is None or not isinstance(opened, ActionOpened):
        raise InvalidArgument(f"event {event!r} is no call that waits, or waited, for an answer", id=event)
    custom = opened.call is not None and opened.kind != "approval" and opened.name not in BUILT_IN
    if opened.asking:
        custom = is_form(opened)
    if number is not None and is_handed_out(index) and not custom:
        raise InvalidArgument(f"event {event!r} is no call that waits, or waited, for an answer", id=event)
    return Asked(opened.action, opened.kind, opened.name, custom, opened.call, found.seq, opened)


async def handed_out(store: EventStore, session: SessionId, event: str) -> Asked:
    """As `asked_by`, for a result: a worker that was waiting for a call to be allowed may answer sooner than it is handed
    out, which is waited for."""
    asked = await asked_by(store, session, event)
    deadline = asyncio.get_running_loop().time() + HANDED_OUT_S
    while asked.kind == "approval" and asked.call is not None:
        behind = await store.read(session, asked.seq, types=("user.answer", "tool.started", "tool.finished"))
        allowed = any(isinstance(e.data, UserAnswer) and _allows(e.data, asked.action) for e in behind)
        begun = any(isinstance(e.data, ToolStarted | ToolFinished) and e.data.call == asked.call for e in behind)
        left_s = deadline - asyncio.get_running_loop().time()
        if not allowed or begun or left_s <= 0:
            break
        head = (await store.session(session)).head
        asked = await asked_by(store, session, event)
        if asked.kind == "approval":
            await store.wait(session, head, left_s)
            asked = await asked_by(store, session, event)
    return asked


def _allows(answer: UserAnswer, action: ActionId) -> bool:
    return answer.action == action and answer.decision == "approve"


async def _question(store: EventStore, session: SessionId, seq: Seq) -> Event | None:
    """The question of a run's own, or of a call that has begun, that was opened there."""
    found = await store.read(session, Seq(seq - 1), to_seq=seq)
    data = found[0].data if found else None
    if not isinstance(data, ActionOpened) or (data.call is not None and not data.asking):
        return None
    if data.call is None and is_budget_question(data.name, data.arguments):
        return None
    return found[0]


async def _about(store: EventStore, session: SessionId, request: Seq, number: int) -> Event | None:
    """The last action about this call of the answer to the model request that began there."""
    found = await store.read(session, Seq(request - 1), types=("model.started", "agent.message"), limit=2)
    if len(found) < 2 or found[0].seq != request:
        return None
    started, answer = found[0].data, found[1].data
    if not isinstance(started, ModelStarted) or not isinstance(answer, AgentMessage):
        return None
    calls = answer.message.calls
    if answer.message.id != started.message or number >= len(calls):
        return None
    return await _last(store, session, found[1].seq, calls[number].id)


async def _last(store: EventStore, session: SessionId, after: Seq, call: CallId) -> Event | None:
    last: Event | None = None
    while True:
        events = await store.read(session, after, types=("action.opened", "turn.finished"), limit=_PAGE)
        for event in events:
            if event.type == "turn.finished":
                return last
            if isinstance(event.data, ActionOpened) and event.data.call == call and not event.data.asking:
                last = event
        if len(events) < _PAGE:
            return last
        after = events[-1].seq
