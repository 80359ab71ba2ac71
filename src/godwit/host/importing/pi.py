"""Session files of pi (JSONL, versions 1 to 3), and of the tools that write as it does.

The first line is the session, each other one an entry. In version 1 the entries have no ids and follow each other; from 2 on
they are a tree. Version 3 calls `custom` what was `hookMessage`. Everything is read tolerantly: what an entry lacks is left
out, and what is not known is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from ...core.agent import ThinkingLevel
from ...core.ids import CallId
from ...core.messages import AgentBlock, Opaque, ProviderBlock, StopReason, Text, Thinking, ToolCall, Usage
from .content import block_of, blocks, mapping, money, number, results, text
from .entries import (
    Answered,
    Changed,
    Companion,
    Entry,
    Item,
    Labelled,
    Left,
    Ran,
    Returned,
    Said,
    Sketch,
    Summed,
    ordered_levels,
)
from .lines import UNREADABLE, Lines, Source, moment_ms, parsed

NAME = "pi"
_BEFORE_BRANCH = "The following is a summary of a branch that this conversation came back from:\n\n<summary>\n"
_STOPS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "toolUse": "tool_use",
    "error": "error",
    "aborted": "interrupted",
}
_PROVIDERS = {"google-gemini-cli": "google", "google-vertex": "google", "google-antigravity": "google"}


class _Message(msgspec.Struct):
    provider: str | None = None
    model: str | None = None


class _Line(msgspec.Struct):
    """What the tree is made of. A line of another shape is looked at again as a whole."""

    type: str = ""
    id: str | None = None
    timestamp: str | None = None
    message: _Message | None = None
    parent: str | None = msgspec.field(name="parentId", default=None)
    kept: str | None = msgspec.field(name="firstKeptEntryId", default=None)
    target: str | None = msgspec.field(name="targetId", default=None)
    kept_index: int | None = msgspec.field(name="firstKeptEntryIndex", default=None)


_decoder = msgspec.json.Decoder(_Line)


class Pi:
    """See `entries.Format`."""

    name = NAME
    loose = False

    def recognises(self, first: dict[str, Any]) -> bool:
        return first.get("type") == "session" and isinstance(first.get("id"), str)

    def sketch(self, source: Source) -> Sketch:
        digest = hashlib.sha256()
        sketch = Sketch("", "")
        before: str | None = None
        version, index = 1, 0
        for line in Lines(source):
            digest.update(line + b"\n")
            if not index:
                head = next(iter(Lines(source).objects()), {})
                version = number(head.get("version")) or 1
                sketch.origin, sketch.cwd = text(head.get("id")), text(head.get("cwd")) or None
                sketch.began_ms = moment_ms(head.get("timestamp"))
                sketch.parent = text(head.get("parentSession")) or None
                index = 1
                continue
            found = _line(line)
            if found is None:
                continue
            if index == 1 and (first_ms := moment_ms(found.timestamp)) is not None:
                # The header may have been written behind what was said first.
                sketch.began_ms = min(sketch.began_ms or first_ms, first_ms)
            if version >= 2:
                if found.parent and found.parent != before:
                    sketch.needed.add(found.parent)
                before = found.id or before
                sketch.needed.update(one for one in (found.kept, found.target) if one)
            if found.kept_index is not None:
                sketch.needed.add(str(found.kept_index))
            if found.message is not None and found.message.model:
                sketch.model = _model(found.message.provider, found.message.model)
            index += 1
        sketch.digest = digest.hexdigest()
        return sketch

    def companions(self, source: Source, sketch: Sketch) -> list[Companion]:
        return []

    def entries(self, lines: Lines, sketch: Sketch) -> Iterator[Entry]:
        version, index = 1, -1
        before: str | None = None
        for found in lines.objects():
            index += 1
            at_ms = moment_ms(found.get("timestamp"))
            if index == 0:
                version = number(found.get("version")) or 1
                yield Entry(_header(found))
                continue
            if version >= 2:
                id_, parent = text(found.get("id")) or None, text(found.get("parentId")) or None
            else:
                id_, parent = str(index), before
            yield Entry(_items(found, at_ms), id_, parent if id_ is not None else before, at_ms)
            before = id_ or before


def _line(line: bytes) -> _Line | None:
    try:
        return _decoder.decode(line)
    except UNREADABLE:
        found = parsed(line)
    if found is None:
        return None
    index = found.get("firstKeptEntryIndex")
    return _Line(
        text(found.get("type")),
        text(found.get("id")) or None,
        None,
        None,
        text(found.get("parentId")) or None,
        text(found.get("firstKeptEntryId")) or None,
        text(found.get("targetId")) or None,
        index if isinstance(index, int) else None,
    )


def _header(found: dict[str, Any]) -> list[Item]:
    """What version 1 says of the model before anything else."""
    known = {"type", "version", "id", "timestamp", "cwd", "parentSession", "provider", "modelId", "thinkingLevel"}
    items: list[Item] = []
    if "modelId" in found or "thinkingLevel" in found:
        items.append(Changed(_model(found.get("provider"), found.get("modelId")), _level(found.get("thinkingLevel"))))
    if rest := {key: value for key, value in found.items() if key not in known or key == "parentSession"}:
        items.append(Left("session header", rest))
    return items


def _items(found: dict[str, Any], at_ms: int | None) -> list[Item]:
    match found.get("type"):
        case "message":
            return _message(mapping(found.get("message")), at_ms)
        case "model_change":
            return [Changed(model=_model(found.get("provider"), found.get("modelId")))]
        case "thinking_level_change" if (level := _level(found.get("thinkingLevel"))) is not None:
            return [Changed(thinking=level)]
        case "compaction":
            return _compaction(found)
        case "branch_summary" if text(found.get("summary")).strip():
            said = Said((Text(f"{_BEFORE_BRANCH}{found['summary']}</summary>"),), "branch summary")
            return [said, *_beside("branch_summary", found, "fromId", "details", "fromHook")]
        case "custom_message":
            return _custom(found)
        case "label" if text(found.get("targetId")):
            return [Labelled(found["targetId"], text(found.get("label")) or None, _bare(found))]
        case "session_info" if text(found.get("name")):
            return [Changed(name=found["name"])]
        case kind:
            return [Left(text(kind) or "unknown", _bare(found))]


def _bare(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("type", "id", "parentId", "timestamp")}


def _beside(kind: str, found: dict[str, Any], *keys: str) -> list[Item]:
    """What of an entry has no place in the message that it became."""
    rest = {key: found[key] for key in keys if found.get(key) not in (None, False)}
    return [Left(f"{kind} details", rest)] if rest else []


def _compaction(found: dict[str, Any]) -> list[Item]:
    kept = text(found.get("firstKeptEntryId")) or None
    if kept is None and isinstance(found.get("firstKeptEntryIndex"), int):
        kept = str(found["firstKeptEntryIndex"])
    details = mapping(found.get("details"))
    read, changed = (
        tuple(one for one in details.get(key) or () if isinstance(one, str)) if isinstance(details.get(key), list) else ()
        for key in ("readFiles", "modifiedFiles")
    )
    summed = Summed(text(found.get("summary")), kept, number(found.get("tokensBefore")), 0, read, changed)
    rest = {key: value for key, value in details.items() if key not in ("readFiles", "modifiedFiles")}
    return [summed, *_beside("compaction", {**found, "details": rest or None}, "details", "fromHook")]


def _custom(found: dict[str, Any]) -> list[Item]:
    content, strange = blocks(found.get("content"))
    kind = text(found.get("customType")) or "extension"
    more = {"customType": found.get("customType"), "display": found.get("display"), "details": found.get("details")}
    if strange:
        more["content"] = strange
    return [Said(content, f"extension {kind}"), Left("custom_message details", more)]


def _message(message: dict[str, Any], at_ms: int | None) -> list[Item]:
    match message.get("role"):
        case "user":
            content, strange = blocks(message.get("content"))
            return [Said(content), *([Left("content of a user message", strange)] if strange else [])]
        case "assistant":
            return [_answer(message, at_ms)]
        case "toolResult":
            metadata = message.get("details")
            return [
                Returned(
                    text(message.get("toolCallId")),
                    text(message.get("toolName")),
                    results(message.get("content")),
                    message.get("isError") is True,
                    metadata if isinstance(metadata, dict) else {} if metadata is None else {"details": metadata},
                )
            ]
        case "bashExecution":
            return [_bash(message)]
        case "custom" | "hookMessage":
            return _custom(message)
        case "branchSummary" if text(message.get("summary")).strip():
            return [Said((Text(f"{_BEFORE_BRANCH}{message['summary']}</summary>"),), "branch summary")]
        case "compactionSummary" if text(message.get("summary")).strip():
            return [Summed(message["summary"], None, number(message.get("tokensBefore")))]
        case role:
            return [Left(f"message of {text(role) or 'nobody'}", message)]


def _answer(message: dict[str, Any], at_ms: int | None) -> Answered:
    api = text(message.get("api"))
    provider = _provider(message.get("provider"))
    content: list[AgentBlock] = []
    calls: dict[str, str] = {}
    given = message.get("content")
    for one in [{"type": "text", "text": given}] if isinstance(given, str) else given if isinstance(given, list) else []:
        block = _block(mapping(one), api, provider)
        if isinstance(block, ToolCall):
            calls[text(mapping(one).get("id"))] = block.id
        content.append(block)
    stop = _STOPS.get(text(message.get("stopReason")), "other")
    error = text(message.get("errorMessage")) or None
    cut = stop in ("error", "interrupted")
    if cut and error is None:
        error = "It ended with an error." if stop == "error" else "It was interrupted."
    return Answered(
        tuple(content),
        _model(message.get("provider"), message.get("model")) or "",
        stop,
        not cut,
        _usage(mapping(message.get("usage"))),
        text(message.get("responseId")) or None,
        error if cut else None,
        calls=calls,
        began_ms=moment_ms(message.get("timestamp")) or at_ms,
    )


def _block(one: dict[str, Any], api: str, provider: str) -> AgentBlock:
    match one.get("type"):
        case "text":
            signature = one.get("textSignature")
            return Text(
                text(one.get("text")), None if signature is None else Opaque(provider, None, {"signature": signature})
            )
        case "thinking":
            return _thinking(one, api, provider)
        case "toolCall":
            return _call(one, api, provider)
        case "image" if (image := block_of(one)) is not None:
            return image
        case kind:
            return ProviderBlock(NAME, text(kind) or "unknown", one)


def _thinking(one: dict[str, Any], api: str, provider: str) -> Thinking:
    signature = text(one.get("thinkingSignature")) or None
    redacted = one.get("redacted") is True
    if signature is not None and signature.startswith("{") and api.startswith("openai"):
        # The whole item of the Responses API.
        try:
            item = msgspec.json.decode(signature)
        except UNREADABLE:
            item = None
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            return Thinking(
                text(one.get("thinking")), text(item.get("encrypted_content")) or None, False, Opaque("openai", item["id"])
            )
    if signature is None:
        return Thinking(text(one.get("thinking")))
    own = "redacted_thinking" if redacted and provider == "anthropic" else None
    return Thinking(
        text(one.get("thinking")), signature, redacted, Opaque(provider, own, {} if own is not None else {"named": True})
    )


def _call(one: dict[str, Any], api: str, provider: str) -> ToolCall:
    id_, opaque = text(one.get("id")), None
    if api.startswith("openai") and "|" in id_:
        # The call's id, and that of the item it came in.
        id_, _, item = id_.partition("|")
        opaque = Opaque("openai", item)
    if (signature := one.get("thoughtSignature")) is not None:
        opaque = Opaque(provider, None, {"part": {"thought_signature": signature}})
    arguments = one.get("arguments")
    malformed = None
    if not isinstance(arguments, dict):
        malformed, arguments = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode(), {}
    return ToolCall(CallId(id_), text(one.get("name")), arguments, malformed, opaque)


def _usage(usage: dict[str, Any]) -> Usage:
    read, write = number(usage.get("cacheRead")), number(usage.get("cacheWrite"))
    return Usage(
        number(usage.get("input")) + read + write,
        number(usage.get("output")),
        read,
        write,
        requests=1,
        cost_usd=money(mapping(usage.get("cost")).get("total")),
    )


def _bash(message: dict[str, Any]) -> Ran:
    command, output, code = text(message.get("command")), text(message.get("output")), message.get("exitCode")
    said = f"Ran `{command}`\n" + (f"```\n{output}\n```" if output else "(no output)")
    if message.get("cancelled") is True:
        said += "\n\n(command cancelled)"
    elif isinstance(code, int) and code != 0:
        said += f"\n\nCommand exited with code {code}"
    if message.get("truncated") is True and text(message.get("fullOutputPath")):
        said += f"\n\n[Output truncated. Full output: {message['fullOutputPath']}]"
    metadata = {"exit_code": code} if isinstance(code, int) else {}
    metadata |= {key: message[key] for key in ("cancelled", "truncated", "fullOutputPath") if message.get(key)}
    shown = () if message.get("excludeFromContext") is True else (Text(said),)
    wrong = message.get("cancelled") is True or (isinstance(code, int) and code != 0)
    return Ran("bash", {"command": command}, (Text(output),) if output else (), wrong, metadata, shown)


def _provider(value: Any) -> str:
    return _PROVIDERS.get(text(value), text(value))


def _model(provider: Any, model: Any) -> str | None:
    if not text(model):
        return None
    return f"{_provider(provider)}:{model}" if text(provider) else str(model)


def _level(value: Any) -> ThinkingLevel | None:
    return cast("ThinkingLevel", value) if value in ordered_levels() else None
