"""Snapshots: all messages of a session and of those that work for it, and whether a front end has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...contracts import Store
from ...core.errors import SessionNotFound
from ...core.events import SubagentStarted
from ...core.ids import Seq, SessionId, TaskId
from .conversation import Body, Conversations
from .inputs import (
    ActivityMessage,
    AnyMessage,
    AssistantMessage,
    DeveloperMessage,
    ReasoningMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

_OURS = ("msg_", "msg-")
"""How ids of answers begin here."""


class Snapshots:
    """Reads them from a store."""

    def __init__(self, store: Store, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def messages(self, session: SessionId, heads: Mapping[SessionId, Seq]) -> list[Body]:
        """All messages as they stand at `heads`: a subagent's stand behind the message that calls it and the results there,
        for clients put results right behind their calls."""
        seq = heads[session]
        bodies = (await self._conversations.at(session, seq)).bodies()
        return await self._with_children(session, seq, bodies, heads, None, {session})

    async def _with_children(
        self,
        session: SessionId,
        seq: Seq,
        bodies: list[Body],
        heads: Mapping[SessionId, Seq],
        tag: TaskId | None,
        seen: set[SessionId],
    ) -> list[Body]:
        begun: dict[str | None, list[SubagentStarted]] = {}
        for event in await self._store.read(session, types=("subagent.started",), to_seq=seq):
            if isinstance(event.data, SubagentStarted):
                begun.setdefault(event.data.call, []).append(event.data)
        if not begun:
            return bodies if tag is None else [tagged(body, tag) for body in bodies]
        found: list[Body] = []
        below: list[Body] = []
        for body in bodies:
            if below and body["role"] != "tool":
                found += below
                below = []
            found.append(tagged(body, tag))
            for call in body.get("toolCalls", ()):
                for task in begun.pop(call["id"], ()):
                    below += await self._of_task(task, heads, seen)
        found += below
        for left in begun.values():
            for task in left:
                found += await self._of_task(task, heads, seen)
        return found

    async def _of_task(self, task: SubagentStarted, heads: Mapping[SessionId, Seq], seen: set[SessionId]) -> list[Body]:
        if task.child not in heads:
            return []
        seq = heads[task.child]
        try:
            bodies = (await self._conversations.at(task.child, seq)).bodies_of(task.task)
            if task.child in seen:
                return [tagged(body, task.task) for body in bodies]
            return await self._with_children(task.child, seq, bodies, heads, task.task, {*seen, task.child})
        except SessionNotFound:
            return []  # not made yet, run by the host its own way, or deleted

    async def heads(self, session: SessionId, seq: Seq) -> dict[SessionId, Seq]:
        """How far the log of each session goes that works for this one; its own goes to `seq`."""
        found = {session: seq}
        for child in await self._store.descendants(session):
            try:
                found[child] = (await self._store.session(child)).head
            except SessionNotFound:
                continue
        return found


def tagged(body: Body, tag: TaskId | None) -> Body:
    """A message as that of a subagent's work."""
    if tag is None:
        return body
    made = {**body, "subagentRunId": tag}
    if "toolCalls" in body:
        made["toolCalls"] = [{**call, "id": f"{tag}/{call['id']}"} for call in body["toolCalls"]]
    if body["role"] == "tool":
        made["id"], made["toolCallId"] = f"{tag}/{body['id']}", f"{tag}/{body['toolCallId']}"
    return made


def merged(ours: Sequence[Body], theirs: Sequence[AnyMessage], raw: Sequence[Mapping[str, Any]]) -> list[Body]:
    """Our messages, with those of the front end that are no business of ours, and those that it brings: what it alone has
    would be gone from its screen otherwise. `raw`: `theirs` as they came."""
    known = {body["id"] for body in ours}
    reasons = any(body["role"] == "reasoning" for body in ours)
    first: list[Body] = []
    last: list[Body] = []
    for message, body in zip(theirs, raw, strict=True):
        if message.id in known or isinstance(message, ActivityMessage):
            continue
        if is_ghost(message, known):
            # Where a snapshot has no reasoning, clients keep theirs: emptied, it is filled anew by what comes.
            if isinstance(message, ReasoningMessage) and not reasons:
                last.append({"id": message.id, "role": "reasoning", "content": ""})
            continue
        (first if isinstance(message, SystemMessage | DeveloperMessage) else last).append(dict(body))
    return [*first, *ours, *last]


def is_ghost(message: AnyMessage, known: Iterable[str]) -> bool:
    """Whether it was an answer of ours of which nothing has come: one that was asked for again under another id, or that is
    still on its way."""
    return (
        isinstance(message, AssistantMessage | ReasoningMessage) and message.id.startswith(_OURS) and message.id not in known
    )


def differs(ours: Sequence[Body], theirs: Sequence[AnyMessage]) -> bool:
    """Whether a front end has to be told of our messages. What it has beside them is its own."""
    known = {body["id"] for body in ours}
    has: dict[str, AnyMessage] = {}
    has_reasoning = False
    for message in theirs:
        has[message.id] = message
        has_reasoning = has_reasoning or isinstance(message, ReasoningMessage)
        if message.id not in known and is_ghost(message, known):
            return True
    for body in ours:
        same = has.get(body["id"])
        if same is None:
            if body["role"] == "reasoning" and not has_reasoning:
                continue  # clients need not send it back
            return True
        if not _same(body, same):
            return True
    return False


def _same(body: Body, message: AnyMessage) -> bool:
    match message:
        case AssistantMessage():
            calls = [call["id"] for call in body.get("toolCalls", ())]
            return (body.get("content") or "") == (message.content or "") and calls == [
                call.id for call in message.tool_calls or ()
            ]
        case ToolMessage():
            return bool(body["role"] == "tool")
        case UserMessage():
            return bool(body["role"] == "user")
        case _:
            return True


__all__ = ["Snapshots", "differs", "is_ghost", "merged", "tagged"]
