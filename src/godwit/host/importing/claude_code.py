"""Transcripts of Claude Code (`~/.claude/projects/*/*.jsonl`). The format is documented nowhere; this follows what
files hold.

Entries are a tree by `uuid` and `parentUuid`, in which an answer takes several lines, one for each of its blocks, that share
`message.id`; the results of its calls refer to any of them. Conversations of subagents stand in the same file
(`isSidechain`, older versions) or in files beside it (`agent-*.jsonl`). A compaction begins a new root, whose
`logicalParentUuid` says where it belongs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...core.ids import CallId
from ...core.messages import AgentBlock, Opaque, ProviderBlock, StopReason, Text, Thinking, ToolCall, Usage, text_of
from .content import block_of, blocks, mapping, money, number, results, text
from .entries import Answered, Changed, Companion, Entry, Item, Left, Returned, Said, Sketch, Summed
from .lines import UNREADABLE, FileSource, Lines, Source, moment_ms, parsed

NAME = "claude-code"
_STOPS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_TYPES = frozenset(
    ("user", "assistant", "system", "summary", "progress", "attachment", "file-history-snapshot", "queue-operation", "mode")
)
_ENVELOPE = frozenset(
    ("type", "uuid", "parentUuid", "sessionId", "timestamp", "isSidechain", "userType", "cwd", "version", "gitBranch")
)
_REMEMBERED = 10_000
"""Entries of sidechains whose conversation is known at a time."""
_PROMPT = 65_536
"""Characters of a subagent's prompt by which it is known again."""


class _Line(msgspec.Struct):
    type: str = ""
    uuid: str | None = None
    parent: str | None = msgspec.field(name="parentUuid", default=None)
    logical: str | None = msgspec.field(name="logicalParentUuid", default=None)
    subtype: str | None = None
    side: bool | None = msgspec.field(name="isSidechain", default=None)
    agent: str | None = msgspec.field(name="agentId", default=None)
    session: str | None = msgspec.field(name="sessionId", default=None)
    cwd: str | None = None
    timestamp: str | None = None
    summary: str | None = None
    leaf: str | None = msgspec.field(name="leafUuid", default=None)


_decoder = msgspec.json.Decoder(_Line)


class _Lanes:
    """Tells the conversations of a file apart: the main one, and those of subagents in it."""

    def __init__(self, main: str | None = None) -> None:
        self._of: OrderedDict[str, str] = OrderedDict()
        self._main = main

    def lane(self, uuid: str | None, parent: str | None, side: bool, agent: str | None) -> str | None:
        """None for the main one: of a file of a subagent's, that is the subagent's."""
        if uuid is None or not side:
            return None
        lane = agent or self._of.get(parent or "") or uuid
        self._of[uuid] = lane
        if len(self._of) > _REMEMBERED:
            self._of.popitem(last=False)
        return None if lane == self._main else lane


class ClaudeCode:
    """See `entries.Format`."""

    name = NAME
    loose = True

    def recognises(self, first: dict[str, Any]) -> bool:
        if "sessionId" in first and first.get("type") in _TYPES:
            return True
        return first.get("type") == "summary" and "leafUuid" in first

    def sketch(self, source: Source) -> Sketch:
        digest = hashlib.sha256()
        sketch = Sketch("", "")
        lanes = _Lanes()
        before: dict[str | None, str | None] = {}
        leaves: dict[str, str] = {}
        first: str | None = None
        alone = True
        for line in Lines(source):
            digest.update(line + b"\n")
            found = _line(line)
            if found is None:
                continue
            side, agent = found.side is True, found.agent
            sketch.origin = sketch.origin or found.session or ""
            sketch.cwd = sketch.cwd or found.cwd
            if sketch.began_ms is None:
                sketch.began_ms = moment_ms(found.timestamp)
            if found.type == "summary" and found.leaf and found.summary:
                leaves[found.leaf] = found.summary
            if found.uuid is None:
                continue
            if found.uuid in leaves:
                sketch.name = leaves[found.uuid]
            lane = lanes.lane(found.uuid, found.parent, side, agent)
            alone = alone and lane is not None
            first = first or lane
            if lane is not None and lane not in sketch.lanes:
                sketch.lanes[lane] = _prompt(line)
            parent = found.parent
            if parent is not None and parent != before.get(lane):
                sketch.needed.add(parent)
            if found.subtype == "compact_boundary" and (kept := _kept(parsed(line) or {})) is not None:
                sketch.needed.add(kept)
            if found.type == "assistant" and b'"<synthetic>"' not in line:
                answered = mapping(mapping((parsed(line) or {}).get("message")))
                sketch.model = f"anthropic:{answered['model']}" if text(answered.get("model")) else sketch.model
            before[lane] = found.uuid
        sketch.origin = sketch.origin or source.name.removesuffix(".jsonl")
        if alone and first is not None:
            sketch.main, sketch.origin = first, first
            del sketch.lanes[first]
        sketch.digest = digest.hexdigest()
        return sketch

    def companions(self, source: Source, sketch: Sketch) -> list[Companion]:
        path = source.path
        if path is None or path.name.startswith("agent-"):
            return []
        own = sorted((path.parent / path.stem / "subagents").rglob("agent-*.jsonl"))
        return [_companion(one) for one in [*own, *_beside(path, sketch.origin)]]

    def entries(self, lines: Lines, sketch: Sketch) -> Iterator[Entry]:
        lanes = _Lanes(sketch.main)
        tokens: dict[str | None, tuple[int, str | None]] = {}
        before: dict[str | None, str | None] = {}
        titled = False
        if sketch.name is not None:
            yield Entry([Changed(name=sketch.name)])
        for found in lines.objects():
            uuid, parent = text(found.get("uuid")) or None, text(found.get("parentUuid")) or None
            lane = lanes.lane(uuid, parent, found.get("isSidechain") is True, text(found.get("agentId")) or None)
            at_ms = moment_ms(found.get("timestamp"))
            items: list[Item]
            if found.get("subtype") == "compact_boundary":
                # It is a root of its own, but belongs behind what it sums up.
                parent = before.get(lane)
                told = mapping(found.get("compactMetadata"))
                tokens[lane] = (number(told.get("preTokens")), _kept(found))
                items = [Left("system compact_boundary", _bare(found))]
            elif found.get("isCompactSummary") is True:
                count, kept = tokens.pop(lane, (0, None))
                said, _ = blocks(mapping(found.get("message")).get("content"))
                items = [Summed(text_of(said), kept, count)]
            elif found.get("type") in ("custom-title", "ai-title"):
                named = text(found.get("customTitle"))
                items = [Left(text(found["type"]), _bare(found))]
                if named or not titled:
                    items.append(Changed(name=named or text(found.get("aiTitle")) or None))
                titled = titled or bool(named)
            else:
                items = _items(found)
            yield Entry(items, uuid, parent, at_ms, lane)
            if uuid is not None:
                before[lane] = uuid


def _line(line: bytes) -> _Line | None:
    try:
        return _decoder.decode(line)
    except UNREADABLE:
        found = parsed(line)
    if found is None:
        return None
    words = ("uuid", "parentUuid", "logicalParentUuid", "subtype")
    uuid, parent, logical, subtype = (text(found.get(key)) or None for key in words)
    side = found.get("isSidechain") is True
    return _Line(text(found.get("type")), uuid, parent, logical, subtype, side, text(found.get("agentId")) or None)


def _kept(found: dict[str, Any]) -> str | None:
    """The first entry that stays behind a compaction, where some do."""
    segment = mapping(mapping(found.get("compactMetadata")).get("preservedSegment"))
    return text(segment.get("headUuid")) or None


def _prompt(line: bytes) -> str:
    content, _ = blocks(mapping((parsed(line) or {}).get("message")).get("content"))
    return text_of(content)[:_PROMPT]


def _beside(path: Path, origin: str) -> list[Path]:
    """Files of subagents beside the session's, as older versions keep them."""
    found = []
    for one in sorted(path.parent.glob("agent-*.jsonl")):
        first = next(iter(Lines(FileSource(one)).objects()), {})
        if first.get("sessionId") == origin:
            found.append(one)
    return found


def _companion(path: Path) -> Companion:
    told: dict[str, Any] = {}
    meta = path.with_suffix(".meta.json")
    if meta.is_file() and meta.stat().st_size < 1 << 20:
        told = parsed(meta.read_bytes()) or {}
    id_ = path.stem.removeprefix("agent-")
    return Companion(id_, FileSource(path), text(told.get("agentType")), text(told.get("toolUseId")) or None)


def _bare(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in _ENVELOPE}


def _items(found: dict[str, Any]) -> list[Item]:
    kind, message = found.get("type"), mapping(found.get("message"))
    match kind:
        case "user":
            return _user(found, message)
        case "assistant" if found.get("isApiErrorMessage") is True or message.get("model") == "<synthetic>":
            return [Left("answer of no model", _bare(found))]
        case "assistant":
            return [_answer(found, message)]
        case "system":
            return [Left(f"system {text(found.get('subtype'))}".strip(), _bare(found))]
        case "progress":
            return [Left(f"progress {text(mapping(found.get('data')).get('type'))}".strip(), _bare(found))]
        case _:
            return [Left(text(kind) or "unknown", _bare(found))]


def _user(found: dict[str, Any], message: dict[str, Any]) -> list[Item]:
    given = message.get("content")
    items: list[Item] = []
    rest: list[Any] = []
    if isinstance(given, list):
        used = found.get("toolUseResult")
        for one in given:
            if mapping(one).get("type") != "tool_result":
                rest.append(one)
                continue
            metadata = used if isinstance(used, dict) else {} if used is None else {"toolUseResult": used}
            items.append(
                Returned(
                    text(one.get("tool_use_id")),
                    "",
                    results(one.get("content")),
                    one.get("is_error") is True,
                    metadata,
                    text(metadata.get("agentId")) or None,
                )
            )
            used = None
        given = rest
    content, strange = blocks(given)
    if content or not items:
        sender = "claude-code" if found.get("isMeta") is True else None
        items.append(Said(content, sender))
    if strange:
        items.append(Left("content of a user message", strange))
    return items


def _answer(found: dict[str, Any], message: dict[str, Any]) -> Answered:
    content: list[AgentBlock] = []
    given = message.get("content")
    for one in [{"type": "text", "text": given}] if isinstance(given, str) else given if isinstance(given, list) else []:
        content.append(_block(mapping(one)))
    calls = {str(block.id): str(block.id) for block in content if isinstance(block, ToolCall)}
    stop = _STOPS.get(text(message.get("stop_reason"))) or ("tool_use" if calls else "end_turn")
    usage = mapping(message.get("usage"))
    read, write = number(usage.get("cache_read_input_tokens")), number(usage.get("cache_creation_input_tokens"))
    used = Usage(
        number(usage.get("input_tokens")) + read + write,
        number(usage.get("output_tokens")),
        read,
        write,
        requests=1,
        cost_usd=money(found.get("costUSD")),
    )
    model = text(message.get("model"))
    id_ = text(message.get("id")) or None
    return Answered(tuple(content), f"anthropic:{model}" if model else "", stop, True, used, id_, group=id_, calls=calls)


def _block(one: dict[str, Any]) -> AgentBlock:
    match one.get("type"):
        case "text":
            return Text(text(one.get("text")))
        case "thinking":
            signature = text(one.get("signature")) or None
            opaque = Opaque("anthropic", None, {"named": True}) if signature is not None else None
            return Thinking(text(one.get("thinking")), signature, opaque=opaque)
        case "redacted_thinking":
            return Thinking("", text(one.get("data")), True, Opaque("anthropic", "redacted_thinking"))
        case "tool_use":
            arguments = one.get("input")
            malformed = None
            if not isinstance(arguments, dict):
                malformed = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
                arguments = {}
            return ToolCall(CallId(text(one.get("id"))), text(one.get("name")), arguments, malformed)
        case "image" | "document" if (media := block_of(one)) is not None:
            return media
        case kind:
            return ProviderBlock(NAME, text(kind) or "unknown", one)
