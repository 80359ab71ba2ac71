"""A session as a session file of pi (JSONL, version 3), to go on with it there: its messages, its tree, its compactions.

What pi has no entry for is left out; what an import from pi had kept as data is put back as the entry it was.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...contracts import EventStore
from ...core.attachments import is_text_file
from ...core.events import (
    EntryKept,
    RunFinished,
    SessionCompacted,
    SessionConfigured,
    SessionImported,
    SessionLabelled,
    SessionRewound,
    UserMessage,
)
from ...core.ids import Seq, SessionId
from ...core.messages import AgentBlock, Document, Image, ResultBlock, StopReason, Text, Thinking, ToolCall, UserBlock
from .story import Answered, Direct, Passage, Said, Story, Told
from .words import block_name

_STOPS: dict[StopReason, str] = {
    "end_turn": "stop",
    "tool_use": "toolUse",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "refusal": "stop",
    "pause": "stop",
    "interrupted": "aborted",
    "error": "error",
    "other": "stop",
}
_APIS = {"anthropic": "anthropic-messages", "openai": "openai-responses", "google": "google-generative-ai"}
_OWN = frozenset(("custom", "label"))
"""Entries of pi's that an import keeps whole."""


_Place = tuple[Seq, str, str]
"""The seq that a message came in with, the entry it begins with and the one it ends with."""


async def pi_file(store: EventStore, session: SessionId, head: Seq) -> AsyncIterator[bytes]:
    """Line by line."""
    imported = await store.read(session, types=("session.imported",), newest_first=True, limit=1)
    from_pi = bool(imported) and isinstance(imported[0].data, SessionImported) and imported[0].data.format == "pi"
    created = (await store.read(session, limit=1))[0]
    story = Story(store, session, head)
    writer = _Writer(from_pi)
    started = False
    cut: list[dict[str, Any]] = []
    async for passage in story.passages():
        if not started:
            cwd = (story.created.workspace if story.created is not None else None) or ""
            yield _line({"type": "session", "version": 3, "id": session, "timestamp": _time(created.at_ms), "cwd": cwd})
            started = True
        # Why an answer was cut is known where its run ends, and pi has it in the answer.
        if cut and isinstance(passage, Told) and isinstance(passage.data, RunFinished) and passage.data.error is not None:
            cut[0]["message"]["errorMessage"] = passage.data.error.message
        for entry in cut:
            yield _line(entry)
        entries = writer.entries(passage)
        cut = entries if isinstance(passage, Answered) and not passage.message.complete else []
        for entry in entries if not cut else ():
            yield _line(entry)
    for entry in cut:
        yield _line(entry)
    if not started:
        yield _line({"type": "session", "version": 3, "id": session, "timestamp": _time(created.at_ms), "cwd": ""})


class _Writer:
    """Gives entries ids, and finds the parents of those behind a rewind."""

    def __init__(self, from_pi: bool) -> None:
        self._from_pi = from_pi
        self._last: str | None = None
        self._count = 0
        self._places: list[_Place] = []
        self._all: list[_Place] = []
        self._paths: list[tuple[Seq, list[_Place]]] = []

    def entries(self, passage: Passage) -> list[dict[str, Any]]:
        match passage:
            case Said():
                content = [_block(block) for block in passage.content]
                message = {"role": "user", "content": content, "timestamp": passage.at_ms}
                return [self._entry(passage, "message", self._own(passage.id, "in_"), message=message)]
            case Answered():
                return self._answer(passage)
            case Direct():
                return []
            case Told(data=UserMessage(sender=str(sender)) as data):
                content = [_block(block) for block in data.content]
                fields = {"customType": f"godwit-{sender}", "content": content, "display": True}
                return [self._entry(passage, "custom_message", self._own(data.id, "in_"), **fields)]
            case Told(data=SessionRewound() as data):
                left = self._last
                self._rewind(passage.seq, data.to)
                if not data.summary:
                    return []
                return [self._entry(passage, "branch_summary", None, fromId=left or "root", summary=data.summary)]
            case Told(data=SessionLabelled() as data):
                target = next((last for seq, _, last in reversed(self._all) if seq == data.target), None)
                if target is None:
                    return []
                label = {} if data.label is None else {"label": data.label}
                return [self._entry(passage, "label", None, targetId=target, **label)]
            case Told(data=SessionCompacted() as data):
                kept = next((first for seq, first, _ in self._places if seq >= data.kept_from), "")
                details = {"readFiles": list(data.files_read), "modifiedFiles": list(data.files_changed)}
                fields = {"summary": data.summary, "firstKeptEntryId": kept, "tokensBefore": data.tokens_before}
                return [self._entry(passage, "compaction", None, **fields, details=details)]
            case Told(data=SessionConfigured() as data):
                found = []
                if data.model is not None:
                    provider, _, model = data.model.partition(":")
                    found.append(self._entry(passage, "model_change", None, provider=provider, modelId=model))
                if data.thinking is not None:
                    level = "off" if data.thinking == "default" else data.thinking
                    found.append(self._entry(passage, "thinking_level_change", None, thinkingLevel=level))
                return found
            case Told(data=EntryKept() as data) if self._from_pi and data.kind in _OWN and isinstance(data.data, dict):
                return [self._entry(passage, data.kind, data.id, **data.data)]
            case _:
                return []

    def _answer(self, passage: Answered) -> list[dict[str, Any]]:
        message = passage.message
        provider, _, model = message.model.partition(":")
        usage = message.usage
        fresh = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
        cost = usage.cost_usd or 0.0
        body = {
            "role": "assistant",
            "content": [_answered(block) for block in message.content],
            "api": _APIS.get(provider, "openai-completions"),
            "provider": provider,
            "model": model,
            "usage": {
                "input": fresh,
                "output": usage.output_tokens,
                "cacheRead": usage.cache_read_tokens,
                "cacheWrite": usage.cache_write_tokens,
                "totalTokens": usage.total_tokens,
                "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": cost},
            },
            "stopReason": _STOPS[message.stop] if message.complete or message.stop == "error" else "aborted",
            "timestamp": max(0, passage.at_ms - passage.duration_ms),
        }
        entries = [self._entry(passage, "message", self._own(message.id, "msg_"), message=body)]
        for call in passage.calls:
            result = call.result
            if result is None or (not message.complete and result.status == "skipped"):
                continue
            told = {
                "role": "toolResult",
                "toolCallId": call.call.id,
                "toolName": call.call.name,
                "content": [_block(block) for block in result.content],
                "isError": result.status != "ok",
                "timestamp": passage.at_ms,
                **({"details": result.metadata} if result.metadata else {}),
            }
            entries.append(self._entry(passage, "message", None, message=told))
        # Of a turn nothing stands alone: it is one place, from the answer to its last result.
        self._places[-len(entries) :] = [(passage.seq, entries[0]["id"], entries[-1]["id"])]
        self._all[-len(entries) :] = self._places[-1:]
        return entries

    def _entry(self, passage: Passage, type_: str, id_: str | None, **fields: Any) -> dict[str, Any]:
        self._count += 1
        own = id_ or f"{self._count:08x}"
        entry = {"type": type_, "id": own, "parentId": self._last, "timestamp": _time(passage.at_ms), **fields}
        self._last = own
        self._places.append((passage.seq, own, own))
        self._all.append(self._places[-1])
        return entry

    def _own(self, id_: str | None, prefix: str) -> str | None:
        """The id that an entry had in the file it was imported from."""
        if id_ is None or not self._from_pi or not id_.startswith(prefix) or len(id_) > 40:
            return None
        return id_.removeprefix(prefix)

    def _rewind(self, seq: Seq, to: Seq) -> None:
        stood_on = next((places for left, places in self._paths if to < left), self._places)
        self._paths.append((seq, self._places))
        self._places = [place for place in stood_on if place[0] <= to]
        self._last = self._places[-1][2] if self._places else None


def _answered(block: AgentBlock) -> dict[str, Any]:
    match block:
        case Thinking():
            signature = {} if block.signature is None else {"thinkingSignature": block.signature}
            return {
                "type": "thinking",
                "thinking": block.text,
                **signature,
                **({"redacted": True} if block.redacted else {}),
            }
        case ToolCall():
            return {"type": "toolCall", "id": block.id, "name": block.name, "arguments": block.arguments}
        case Text():
            return {"type": "text", "text": block.text}
        case _:
            return {"type": "text", "text": f"[{type(block).__name__}]"}


def _block(block: UserBlock | ResultBlock) -> dict[str, Any]:
    if isinstance(block, Image) and block.data is not None:
        return {"type": "image", "data": base64.b64encode(block.data).decode(), "mimeType": block.media_type}
    if isinstance(block, Document) and is_text_file(block):
        text = (block.data or b"").decode("utf-8", "replace")
        return {"type": "text", "text": f"{block_name(block)}\n{text}"}
    return {"type": "text", "text": block_name(block)}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
