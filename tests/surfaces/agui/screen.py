"""What a front end has on its screen: the messages that come of events, as clients of AG-UI make them.

A second opinion on the reducer of the official client, in few lines; the tests with that client say the same of real ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from godwit.surfaces.agui import events as e

Json = dict[str, Any]


class Screen:
    """`messages`: as they stand, those the front end had before first."""

    def __init__(self, messages: Iterable[Json] = ()) -> None:
        self.messages: list[Json] = copy.deepcopy(list(messages))

    def take(self, event: e.Event) -> None:
        match event:
            case e.TextMessageStart(message_id=name, role=role):
                if self._find(name) is None:
                    self._add({"id": name, "role": role, "content": ""}, event)
            case (
                e.TextMessageContent(message_id=name, delta=delta) | e.ReasoningMessageContent(message_id=name, delta=delta)
            ):
                message = self._find(name)
                assert message is not None
                message["content"] = (message.get("content") or "") + delta
            case e.ReasoningMessageStart(message_id=name):
                if self._find(name) is None:
                    self._add({"id": name, "role": "reasoning", "content": ""}, event)
            case e.ToolCallStart(tool_call_id=call, tool_call_name=tool, parent_message_id=parent):
                if self._call(call) is None:
                    message = self._find(parent or call)
                    if message is None:
                        message = self._add({"id": parent or call, "role": "assistant"}, event)
                    made = {"id": call, "type": "function", "function": {"name": tool, "arguments": ""}}
                    message.setdefault("toolCalls", []).append(made)
            case e.ToolCallArgs(tool_call_id=call, delta=delta):
                found = self._call(call)
                assert found is not None
                found["function"]["arguments"] += delta
            case e.ToolCallResult(message_id=name, tool_call_id=call, content=content):
                self._add({"id": name, "role": "tool", "toolCallId": call, "content": content}, event)
            case e.MessagesSnapshot(messages=messages):
                told = {one["id"]: one for one in messages}
                reasoned = any(one["role"] == "reasoning" for one in messages)
                kept = [
                    told.get(one["id"], one)
                    for one in self.messages
                    if one["id"] in told or (one["role"] == "reasoning" and not reasoned)
                ]
                has = {one["id"] for one in kept}
                self.messages = [dict(one) for one in [*kept, *(one for one in messages if one["id"] not in has)]]
            case _:
                pass

    def _add(self, message: Json, event: e.Event) -> Json:
        owner = getattr(event, "subagent_run_id", None)
        if owner is not None:
            message["subagentRunId"] = owner
        self.messages.append(message)
        return message

    def _find(self, name: str) -> Json | None:
        return next((one for one in self.messages if one["id"] == name), None)

    def _call(self, call: str) -> Json | None:
        return next((c for one in self.messages for c in one.get("toolCalls", ()) if c["id"] == call), None)


def said(messages: Iterable[Json]) -> dict[str, Any]:
    """What is said in them, by their ids: the order of messages that several send at once is not the same for all. What is
    empty says nothing."""
    found: dict[str, Any] = {}
    for one in messages:
        content = one.get("content") or ""
        if isinstance(content, list) and one["role"] == "user":
            content = "\n\n".join(part["text"] for part in content if part["type"] == "text")
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in one.get("toolCalls", ())]
        if content or calls or one["role"] == "tool":
            found[one["id"]] = (one["role"], content, calls, one.get("toolCallId"))
    return found
