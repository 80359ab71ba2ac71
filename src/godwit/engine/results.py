"""Results: what a call came to, as the log can hold it: status, content cut to size, metadata as plain JSON.

Whatever a tool raised or returned becomes something that can be stored; a large text is kept whole as an artifact, of which
the beginning and the end are shown, and so are files that no model is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from ..contracts import BlobStore, KeptFile, ToolOutput
from ..core.errors import GodwitError, OutcomeUnknown
from ..core.events import ArtifactStored, EventData, GoalUpdated, Origin, TodosUpdated
from ..core.ids import CallId, SessionId
from ..core.messages import ResultBlock, Text, ToolStatus, text_of
from ..core.state import State

OUTPUT_LIMIT = 100 * 1024
"""Bytes of text a result may hold; more becomes an artifact of which head and tail are shown."""
SHOWN_HEAD = 24 * 1024
SHOWN_TAIL = 8 * 1024


def outcome(
    task: asyncio.Task[ToolOutput], *, timed_out_s: float | None = None
) -> tuple[ToolStatus, tuple[ResultBlock, ...], dict[str, Any]]:
    """What the call came to: status, content and metadata. `timed_out_s`: it was told to end after so long."""
    if timed_out_s is not None:
        late = (Text(f"[timed out after {timed_out_s:g} s]"),)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return "error", late, {"timed_out": True}
        content, metadata = _storable(task.result())
        return "error", (*content, *late), {**metadata, "timed_out": True}
    if task.cancelled():
        return "error", (Text("[cancelled]"),), {}
    error = task.exception()
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    if error is not None:
        return "unknown" if isinstance(error, OutcomeUnknown) else "error", (Text(clean(said(error))),), {}
    output = task.result()
    if not _is_output(output):
        return "error", (Text(f"The tool returned {type(output).__name__}, which is no tool output."),), {}
    content, metadata = _storable(output)
    return "error" if output.is_error else "ok", content, metadata


def cut_off(task: asyncio.Task[ToolOutput]) -> tuple[ResultBlock, ...]:
    """What a call that was interrupted had to say."""
    note = Text("[interrupted]")
    if task.cancelled() or task.exception() is not None:
        return (note,)
    output = task.result()
    blocks = output.content if _is_output(output) else ()
    whole = "".join(clean(b.text) for b in blocks if isinstance(b, Text)).encode()
    if not whole:
        return (note,)
    return (Text(whole[:SHOWN_HEAD].decode(errors="ignore") + "\n"), note)


def written_by(state: State, output: ToolOutput, call: CallId | None) -> list[EventData]:
    """What a tool's output makes of the list and of the goal. `call`: a model's. A goal that has ended meanwhile, or was
    replaced, stays as it is."""
    events: list[EventData] = []
    if output.todos is not None and output.todos != state.todos:
        events.append(TodosUpdated(output.todos, call))
    goal = state.goal
    if output.goal is not None and goal is not None and goal.open and goal.id == output.goal.id:
        events.append(GoalUpdated(output.goal, call))
    return events


async def shorten(
    blobs: BlobStore, session: SessionId, call: CallId, content: tuple[ResultBlock, ...], *, pinned: bool = False
) -> tuple[ArtifactStored | None, tuple[ResultBlock, ...]]:
    """Keep a large text as an artifact, whatever the limits are when it is `pinned`, and show its head and tail."""
    texts = [b for b in content if isinstance(b, Text)]
    size = sum(len(b.text.encode()) for b in texts)
    if size <= OUTPUT_LIMIT:
        return None, content
    whole = "".join(b.text for b in texts).encode()
    stored = await blobs.put_artifact(session, whole, "text/plain; charset=utf-8", pinned=pinned)
    head = whole[:SHOWN_HEAD].decode(errors="ignore")
    tail = whole[-SHOWN_TAIL:].decode(errors="ignore")
    left_out = len(whole) - len(head.encode()) - len(tail.encode())
    text = f"{head}\n[... {left_out} of {len(whole)} bytes left out; the whole is artifact {stored.ref} ...]\n{tail}"
    rest = tuple(b for b in content if not isinstance(b, Text))
    return ArtifactStored(stored.ref, stored.size, stored.media_type, call), (Text(text), *rest)


def files_of(task: asyncio.Task[ToolOutput]) -> tuple[KeptFile, ...]:
    """The files that the call brought, if it brought any."""
    if not task.done() or task.cancelled() or task.exception() is not None or not _is_output(task.result()):
        return ()
    return task.result().files


async def keep_files(
    blobs: BlobStore,
    session: SessionId,
    call: CallId,
    content: tuple[ResultBlock, ...],
    files: Sequence[KeptFile],
    *,
    pinned: bool = False,
) -> tuple[list[ArtifactStored], tuple[ResultBlock, ...]]:
    """Keep these files as artifacts, and say where they are named by which ref."""
    shown = list(content)
    events: list[ArtifactStored] = []
    for file in files:
        at = next((n for n, block in enumerate(shown) if isinstance(block, Text) and block.text == file.named), None)
        if at is None:
            continue
        stored = await blobs.put_artifact(session, file.content, file.media_type, pinned=pinned)
        events.append(ArtifactStored(stored.ref, stored.size, stored.media_type, call))
        shown[at] = Text(f"{file.named.removesuffix(']')}, kept as artifact {stored.ref}]")
    return events, tuple(shown)


def told(
    name: str,
    call: CallId,
    arguments: dict[str, Any],
    status: ToolStatus,
    content: tuple[ResultBlock, ...],
    metadata: dict[str, Any],
    duration_ms: int,
    origin: Origin,
) -> dict[str, Any]:
    """The payload of `after_tool`: `result` is the text, `content` all blocks as JSON."""
    return {
        "tool": name,
        "call": call,
        "arguments": arguments,
        "origin": origin,
        "status": status,
        "result": text_of(content),
        "content": msgspec.to_builtins(content),
        "exit_code": metadata.get("exit_code"),
        "duration_ms": duration_ms,
    }


def modified(
    content: tuple[ResultBlock, ...], payload: dict[str, Any], changed: dict[str, Any] | None
) -> tuple[ResultBlock, ...]:
    """The content as the hooks of `after_tool` left it (`core.hooks.applied` has seen to it that it is some)."""
    if changed is None or changed["content"] == payload["content"]:
        return content
    return msgspec.convert(changed["content"], tuple[ResultBlock, ...])


def as_json(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata as plain JSON; what cannot be is shown as text."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(metadata, enc_hook=repr))
        return plain
    except (TypeError, ValueError):
        return {"repr": clean(repr(metadata))}


def clean(text: str) -> str:
    """The text as JSON can hold it: what is no Unicode is shown with replacement characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def said(error: BaseException) -> str:
    return error.message if isinstance(error, GodwitError) else f"{type(error).__name__}: {error}"


def look_at(task: asyncio.Task[Any]) -> None:
    """Take note of how a call that was left to itself ended, so that nobody complains of it."""
    if not task.cancelled():
        task.exception()


def _is_output(output: object) -> bool:
    """A tool may be anybody's code: what it returned need not be what it promised."""
    return isinstance(output, ToolOutput) and isinstance(output.content, tuple)


def _storable(output: ToolOutput) -> tuple[tuple[ResultBlock, ...], dict[str, Any]]:
    content = tuple(Text(clean(b.text), b.opaque) if isinstance(b, Text) else b for b in output.content)
    return content, as_json(output.metadata)
