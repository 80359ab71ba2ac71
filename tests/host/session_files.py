"""Session files of other tools, as tests write them: pi's, imp's and Claude Code's."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
T0 = "2026-03-01T10:00:{:02d}.000Z"


def write(path: Path, lines: list[Any], *, end: str = "\n") -> Path:
    """One JSON value per line; bytes are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = [one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode() for one in lines]
    path.write_bytes(b"".join(one + end.encode() for one in body))
    return path


class PiFile:
    """Entries of a pi session of version 3, each behind the one before unless it is told its parent."""

    def __init__(self, id_: str = "pi-session", cwd: str = "/nowhere", version: int | None = 3) -> None:
        head: dict[str, Any] = {"type": "session", "id": id_, "timestamp": T0.format(0), "cwd": cwd}
        self.lines: list[Any] = [head if version is None else {**head, "version": version}]
        self.last: str | None = None
        self._count = itertools.count(1)
        self.tree = version is not None and version >= 2

    def entry(self, type_: str, parent: str | None = "", **fields: Any) -> str:
        number = next(self._count)
        id_ = f"{number:08x}"
        place = {"id": id_, "parentId": self.last if parent == "" else parent} if self.tree else {}
        self.lines.append({"type": type_, **place, "timestamp": T0.format(number % 60), **fields})
        self.last = id_
        return id_

    def user(self, text: str | list[Any], parent: str | None = "") -> str:
        content = [{"type": "text", "text": text}] if isinstance(text, str) else text
        return self.entry("message", parent, message={"role": "user", "content": content})

    def answer(self, *content: Any, parent: str | None = "", **fields: Any) -> str:
        blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
        message = {
            "role": "assistant",
            "content": blocks,
            "api": "anthropic-messages",
            "provider": "anthropic",
            "model": "claude-sonnet-4-5",
            "usage": {"input": 10, "output": 5, "cacheRead": 100, "cacheWrite": 1, "cost": {"total": 0.25}},
            "stopReason": "toolUse" if any(b.get("type") == "toolCall" for b in blocks) else "stop",
            **fields,
        }
        return self.entry("message", parent, message=message)

    def result(self, call: str, text: str, name: str = "bash", parent: str | None = "", **fields: Any) -> str:
        content = [{"type": "text", "text": text}]
        message = {
            "role": "toolResult",
            "toolCallId": call,
            "toolName": name,
            "content": content,
            "isError": False,
            **fields,
        }
        return self.entry("message", parent, message=message)


def pi_call(id_: str, name: str = "bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "toolCall", "id": id_, "name": name, "arguments": arguments}


class ClaudeFile:
    """Entries of a Claude Code transcript."""

    def __init__(self, session: str = "claude-session", **common: Any) -> None:
        self.session = session
        self.lines: list[Any] = []
        self.last: str | None = None
        self._common = {"isSidechain": False, "cwd": "/nowhere", "version": "2.1.0", "userType": "external", **common}
        self._count = itertools.count(1)

    def entry(self, type_: str, parent: str | None = "", **fields: Any) -> str:
        number = next(self._count)
        id_ = fields.pop("uuid", None) or f"{self.session}-{number:04d}"
        self.lines.append(
            {
                "parentUuid": self.last if parent == "" else parent,
                **self._common,
                "sessionId": self.session,
                "type": type_,
                "uuid": id_,
                "timestamp": T0.format(number % 60),
                **fields,
            }
        )
        self.last = id_
        return id_

    def user(self, content: Any, parent: str | None = "", **fields: Any) -> str:
        return self.entry("user", parent, message={"role": "user", "content": content}, **fields)

    def answer(self, block: dict[str, Any] | str, message: str, parent: str | None = "", **fields: Any) -> str:
        one = {"type": "text", "text": block} if isinstance(block, str) else block
        usage = {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 7}
        body = {"id": message, "role": "assistant", "model": "claude-opus-4-5", "content": [one], "usage": usage}
        return self.entry("assistant", parent, message={**body, "stop_reason": None}, **fields)

    def result(self, call: str, content: Any, parent: str | None = "", **fields: Any) -> str:
        return self.user([{"type": "tool_result", "tool_use_id": call, "content": content}], parent, **fields)

    def bare(self, type_: str, **fields: Any) -> None:
        self.lines.append({"type": type_, "sessionId": self.session, **fields})


def use(id_: str, name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments}


def imp_lines() -> list[Any]:
    """A session of imp: the results of a turn before its answer, what that cost behind it, a compaction, a label, a name."""

    def message(id_: str, parent: str | None, **body: Any) -> dict[str, Any]:
        return {"type": "message", "id": id_, "parent_id": parent, "message": body}

    def said(text: str) -> list[Any]:
        return [{"type": "text", "text": text}]

    cost = {"cost": {"total": 0.0031}}
    call = {"type": "tool_call", "id": "c1", "name": "bash", "arguments": {"command": "ls"}}
    return [
        {"type": "header", "version": 1, "created_at": 1_772_359_200, "cwd": "/nowhere"},
        message("m1", None, role="user", content=said("What is here?"), timestamp=1_772_359_201),
        message("m2", "m1", role="tool_result", tool_call_id="c1", tool_name="bash", content=said("a.txt"), is_error=False,
                details={"exit_code": 0}, timestamp=1_772_359_203),
        message("m3", "m2", role="assistant", content=[{"type": "thinking", "text": "I look."}, call],
                timestamp=1_772_359_202,
                usage={"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 1},
                stop_reason="ToolUse"),
        {"type": "custom", "id": "u1", "parent_id": "m3", "custom_type": "usage-record", "data": cost},
        message("m4", "u1", role="assistant", content=said("One file."), timestamp=1_772_359_204, usage=None,
                stop_reason="EndTurn"),
        {"type": "compaction", "id": "k1", "parent_id": "m4", "summary": "They looked.", "first_kept_id": "m4",
         "tokens_before": 100, "tokens_after": 20},
        message("m5", "k1", role="user", content=said("Thanks."), timestamp=1_772_359_205),
        message("m6", "m4", role="user", content=said("Go on elsewhere."), timestamp=1_772_359_206),
        {"type": "label", "entry_id": "m3", "label": "here"},
        {"type": "session-meta", "version": 1, "name": "looking", "summary": "files"},
    ]  # fmt: skip
