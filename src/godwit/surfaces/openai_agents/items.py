"""Items: what a turn is made of on the wire, as plain JSON.

A call is shown by what it is: a function of the application's, a command, a search, or (any other tool of godwit's) a call
to a tool of the server `godwit`, for which the protocol has the words of MCP.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ...core.ids import CallId
from ...core.mcp import server_and_tool
from ...core.messages import Block, Document, Image, Text, ToolStatus, text_of

SERVER = "godwit"
"""`server_label` of godwit's own tools."""
COMMAND, SEARCH = "bash", "web_search"

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]
CallStatus = Literal["in_progress", "completed", "failed", "incomplete"]
CALL_STATUS: dict[ToolStatus, CallStatus] = {
    "ok": "completed",
    "error": "failed",
    "denied": "failed",
    "invalid": "failed",
    "skipped": "incomplete",
    "unknown": "incomplete",
}


class Result(msgspec.Struct, frozen=True):
    """What a call came to."""

    status: ToolStatus
    content: tuple[Block, ...]
    exit_code: int | None = None
    duration_ms: int | None = None


class Call(msgspec.Struct, frozen=True):
    """A call as an item shows it. `id`: the item's; `wire`: what a function's result is sent with."""

    id: str
    wire: str
    own: CallId
    name: str
    arguments: Any
    external: bool
    output_index: int
    result: Result | None = None


def user_message(id: str, turn: str, content: Sequence[Block]) -> dict[str, Any]:  # noqa: A002 - the field's name
    return {
        "id": id,
        "type": "message",
        "role": "user",
        "status": "completed",
        "phase": None,
        "content": [input_part(block) for block in content],
        "turn_id": turn,
    }


def message(id: str, turn: str, text: str | None, status: ItemStatus, phase: Phase | None) -> dict[str, Any]:  # noqa: A002
    """An answer's text; without a `text` it is only announced."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "phase": phase,
        "content": [] if text is None else [output_text(text)],
        "turn_id": turn,
    }


def reasoning(id: str, turn: str, text: str, status: ItemStatus) -> dict[str, Any]:  # noqa: A002
    return {
        "id": id,
        "type": "reasoning",
        "status": status,
        "summary": [summary_text(text)] if text else [],
        "turn_id": turn,
    }


def call_item(call: Call, turn: str) -> dict[str, Any]:
    """The call, with its result once there is one."""
    result = call.result
    status: CallStatus = "in_progress" if result is None else CALL_STATUS[result.status]
    text = None if result is None else text_of(result.content)
    if call.external:
        return {
            "id": call.id,
            "type": "function_call",
            "call_id": call.wire,
            "name": call.name,
            "arguments": call.arguments,
            "status": status,
            "turn_id": turn,
        }
    if call.name == COMMAND:
        return {
            "id": call.id,
            "type": "command_execution",
            "command": _argument(call, "command"),
            "cwd": None,
            "output": text,
            "exit_code": None if result is None else result.exit_code,
            "duration_ms": None if result is None else result.duration_ms,
            "status": status,
            "turn_id": turn,
        }
    if call.name == SEARCH:
        return {
            "id": call.id,
            "type": "web_search_call",
            "action": {"type": "search", "query": _argument(call, "query"), "queries": None},
            "status": "incomplete" if status == "failed" else status,
            "turn_id": turn,
        }
    failed = result is not None and result.status != "ok"
    server, name = server_and_tool(call.name) or (SERVER, call.name)
    return {
        "id": call.id,
        "type": "mcp_call",
        "server_label": server,
        "name": name,
        "arguments": call.arguments,
        "output": None if failed else text,
        "error": text if failed else None,
        "status": status,
        "turn_id": turn,
    }


def function_output(id: str, call: Call, turn: str) -> dict[str, Any]:  # noqa: A002
    """The result of a function, as an item of its own."""
    result = call.result
    assert result is not None
    ok = result.status == "ok"
    return {
        "id": id,
        "type": "function_call_output",
        "call_id": call.wire,
        "output": output_of(result.content) if ok else None,
        "error": None if ok else text_of(result.content),
        "status": CALL_STATUS[result.status],
        "turn_id": turn,
    }


def output_of(content: Sequence[Block]) -> str | list[dict[str, Any]]:
    if all(isinstance(block, Text) for block in content):
        return text_of(tuple(content))
    return [input_part(block) for block in content]


def output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text}


def summary_text(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def input_part(block: Block) -> dict[str, Any]:
    """What was said to the agent. A document, for which there is no word, is named."""
    match block:
        case Text():
            return {"type": "input_text", "text": block.text}
        case Image(url=str(url)):
            return {"type": "input_image", "image_url": url}
        case Image(data=bytes(data)):
            return {
                "type": "input_image",
                "image_url": f"data:{block.media_type};base64,{base64.b64encode(data).decode()}",
            }
        case Document():
            return {"type": "input_text", "text": f"[document {block.name or block.url or ''} ({block.media_type})]"}
        case _:
            return {"type": "input_text", "text": f"[{type(block).__name__}]"}


def _argument(call: Call, name: str) -> str:
    """An argument that is text; the whole as it came when the call cannot be read."""
    if isinstance(call.arguments, dict):
        value = call.arguments.get(name, "")
        return value if isinstance(value, str) else str(value)
    return str(call.arguments)
