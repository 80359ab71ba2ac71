"""Session files of imp (JSONL, version 1): a header, then messages, compactions and custom entries in a tree, labels
and names beside it.

There the results of calls are written before the answer that asked for them, and what an answer cost behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from ...core.ids import CallId
from ...core.messages import AgentBlock, Opaque, ProviderBlock, StopReason, Text, Thinking, ToolCall, Usage
from .content import block_of, blocks, mapping, money, number, results, text
from .entries import Answered, Changed, Charged, Companion, Entry, Item, Labelled, Left, Returned, Said, Sketch, Summed
from .lines import UNREADABLE, Lines, Source, moment_ms, parsed

NAME = "imp"
_STOPS: dict[str, StopReason] = {
    "endturn": "end_turn",
    "stop": "end_turn",
    "tooluse": "tool_use",
    "maxtokens": "max_tokens",
    "length": "max_tokens",
    "stopsequence": "stop_sequence",
    "refusal": "refusal",
    "contentfilter": "refusal",
    "error": "error",
    "cancelled": "interrupted",
    "aborted": "interrupted",
    "interrupted": "interrupted",
}


class _Line(msgspec.Struct):
    id: str | None = None
    parent_id: str | None = None
    first_kept_id: str | None = None
    entry_id: str | None = None


_decoder = msgspec.json.Decoder(_Line)


class Imp:
    """See `entries.Format`."""

    name = NAME
    loose = False

    def recognises(self, first: dict[str, Any]) -> bool:
        return first.get("type") == "header" and "created_at" in first

    def sketch(self, source: Source) -> Sketch:
        digest = hashlib.sha256()
        # The session is known by the name of its file alone.
        sketch = Sketch(source.name.removesuffix(".jsonl"), "")
        before: str | None = None
        for number_, line in enumerate(Lines(source)):
            digest.update(line + b"\n")
            if number_ == 0:
                head = next(iter(Lines(source).objects()), {})
                sketch.cwd, sketch.began_ms = text(head.get("cwd")) or None, moment_ms(head.get("created_at"))
                continue
            found = _line(line)
            if found is None:
                continue
            if found.id:
                if found.parent_id and found.parent_id != before:
                    sketch.needed.add(found.parent_id)
                before = found.id
            sketch.needed.update(one for one in (found.first_kept_id, found.entry_id) if one)
        sketch.digest = digest.hexdigest()
        return sketch

    def companions(self, source: Source, sketch: Sketch) -> list[Companion]:
        return []

    def entries(self, lines: Lines, sketch: Sketch) -> Iterator[Entry]:
        for index, found in enumerate(lines.objects()):
            if index == 0:
                continue
            message = mapping(found.get("message"))
            at_ms = moment_ms(message.get("timestamp"))
            yield Entry(_items(found, message), text(found.get("id")) or None, text(found.get("parent_id")) or None, at_ms)


def _line(line: bytes) -> _Line | None:
    try:
        return _decoder.decode(line)
    except UNREADABLE:
        found = parsed(line)
    if found is None:
        return None
    return _Line(*(text(found.get(key)) or None for key in ("id", "parent_id", "first_kept_id", "entry_id")))


def _items(found: dict[str, Any], message: dict[str, Any]) -> list[Item]:
    match found.get("type"):
        case "message":
            return _message(message)
        case "compaction":
            before, after = number(found.get("tokens_before")), number(found.get("tokens_after"))
            return [Summed(text(found.get("summary")), text(found.get("first_kept_id")) or None, before, after)]
        case "label" if text(found.get("entry_id")):
            data = {"entry_id": found["entry_id"], "label": found.get("label")}
            return [Labelled(found["entry_id"], text(found.get("label")) or None, data)]
        case "session-meta":
            rest = {key: value for key, value in found.items() if key not in ("type", "version", "name") and value}
            named: list[Item] = [Changed(name=found["name"])] if text(found.get("name")) else []
            return [*named, *([Left("session-meta", rest)] if rest else [])]
        case "custom":
            kind = text(found.get("custom_type")) or "custom"
            data = mapping(found.get("data"))
            cost = _cost(data)
            charged: list[Item] = [Charged(cost)] if cost is not None and "usage" in kind else []
            return [*charged, Left(kind, found.get("data"))]
        case kind:
            rest = {key: value for key, value in found.items() if key not in ("type", "id", "parent_id")}
            return [Left(text(kind) or "unknown", rest)]


def _cost(data: dict[str, Any]) -> float | None:
    cost = data.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total")
    return money(cost if cost is not None else data.get("cost_usd", data.get("total_cost")))


def _message(message: dict[str, Any]) -> list[Item]:
    match message.get("role"):
        case "user":
            content, strange = blocks(message.get("content"))
            return [Said(content), *([Left("content of a user message", strange)] if strange else [])]
        case "assistant":
            return [_answer(message)]
        case "tool_result" | "toolResult":
            details = message.get("details")
            return [
                Returned(
                    text(message.get("tool_call_id") or message.get("toolCallId")),
                    text(message.get("tool_name") or message.get("toolName")),
                    results(message.get("content")),
                    message.get("is_error") is True,
                    details if isinstance(details, dict) else {} if details is None else {"details": details},
                )
            ]
        case role:
            return [Left(f"message of {text(role) or 'nobody'}", message)]


def _answer(message: dict[str, Any]) -> Answered:
    content: list[AgentBlock] = []
    calls: dict[str, str] = {}
    given = message.get("content")
    for one in given if isinstance(given, list) else []:
        block = _block(mapping(one))
        if isinstance(block, ToolCall):
            calls[block.id] = block.id
        content.append(block)
    told = message.get("stop_reason")
    named = told if isinstance(told, str) else next(iter(mapping(told)), "") or text(mapping(told).get("type"))
    stop = _STOPS.get(named.replace("_", "").replace("-", "").lower(), "other")
    error = None
    if stop in ("error", "interrupted"):
        error = text(next(iter(mapping(told).values()), "")) or text(message.get("error")) or "It did not come to its end."
    usage = mapping(message.get("usage"))
    read, write = number(usage.get("cache_read_tokens")), number(usage.get("cache_write_tokens"))
    used = Usage(
        number(usage.get("input_tokens")) + read + write,
        number(usage.get("output_tokens")),
        read,
        write,
        requests=1,
        cost_usd=_cost(usage),
    )
    return Answered(tuple(content), text(message.get("model")), stop, error is None, used, error=error, calls=calls)


def _block(one: dict[str, Any]) -> AgentBlock:
    match str(one.get("type")).replace("_", "").lower():
        case "text":
            return Text(text(one.get("text")))
        case "thinking":
            signature = text(one.get("signature")) or None
            opaque = Opaque("anthropic", None, {"named": True}) if signature is not None else None
            return Thinking(text(one.get("text") or one.get("thinking")), signature, opaque=opaque)
        case "toolcall" | "tooluse":
            arguments = one.get("arguments", one.get("input"))
            malformed = None
            if not isinstance(arguments, dict):
                malformed = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
                arguments = {}
            return ToolCall(CallId(text(one.get("id"))), text(one.get("name")), arguments, malformed)
        case "image" if (image := block_of({**one, "type": "image"})) is not None:
            return image
        case _:
            return ProviderBlock(NAME, text(one.get("type")) or "unknown", one)
