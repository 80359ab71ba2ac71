"""Trace: what a session has done, compactly: one line per step, with sizes and names and never a value.

Derived from the log, so it needs no store of its own and is the same for everybody who reads it. A rule a change must keep:
nothing a model, a tool or a person has said stands in it, only names of tools, models, checks and arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..contracts import EventStore
from ..core.errors import InvalidArgument
from ..core.events import AgentMessage, Event, ModelStarted, ToolFinished, ToolStarted, VerificationReported
from ..core.facts import TraceEvent
from ..core.ids import ArtifactRef, CallId, MessageId, SessionId
from ..core.messages import Text

TYPES = ("model.started", "agent.message", "tool.started", "tool.finished", "verification.reported")


def trace_of(events: Iterable[Event]) -> Iterator[TraceEvent]:
    """The trace of these events, which are in order; others than `TYPES` may be left out."""
    keys: dict[CallId, tuple[str, ...]] = {}
    asked: dict[MessageId, tuple[str, int]] = {}
    for event in events:
        match event.data:
            case ModelStarted(message=message, model=model):
                asked[message] = model, event.at_ms
            case AgentMessage(message=message):
                model, since_ms = asked.pop(message.id, (message.model, event.at_ms))
                keys.update((c.id, tuple(sorted(c.arguments))) for c in message.calls)
                yield TraceEvent(
                    "model_step",
                    model,
                    message.complete,
                    event.at_ms,
                    event.seq,
                    event.run,
                    duration_ms=max(0, event.at_ms - since_ms),
                    output_bytes=sum(len(b.text.encode()) for b in message.content if isinstance(b, Text)),
                    status=message.stop,
                )
            case ToolStarted() as started:
                keys[started.call] = tuple(sorted(started.arguments))
            case ToolFinished() as finished:
                code = finished.metadata.get("exit_code")
                yield TraceEvent(
                    "tool_execution",
                    finished.name,
                    finished.status == "ok",
                    event.at_ms,
                    event.seq,
                    event.run,
                    exit_code=code if isinstance(code, int) else None,
                    duration_ms=finished.duration_ms,
                    output_bytes=sum(len(b.text.encode()) for b in finished.content if isinstance(b, Text)),
                    argument_keys=keys.pop(finished.call, ()),
                    artifacts=tuple(dict.fromkeys(_artifacts(finished.metadata))),
                    status=finished.status,
                    origin=finished.origin,
                )
            case VerificationReported(report=report):
                status = report.status
                evidence = [e for c in report.checks for e in c.evidence]
                yield TraceEvent(
                    "verification",
                    report.source,
                    status == "passed",
                    event.at_ms,
                    event.seq,
                    event.run,
                    artifacts=tuple(dict.fromkeys(_artifacts(evidence))),
                    status=status,
                    origin="verification",
                )
            case _:
                pass


async def read_trace(store: EventStore, session: SessionId, *, limit: int | None = None) -> list[TraceEvent]:
    """The session's trace; with `limit` the last so many steps. InvalidArgument, SessionNotFound."""
    if limit is not None and limit < 0:
        raise InvalidArgument(f"limit={limit} must be 0 or more", limit=limit)
    found = list(trace_of(await store.read(session, types=TYPES)))
    return found if limit is None else found[len(found) - limit :] if limit else []


def _artifacts(value: Any) -> Iterator[ArtifactRef]:
    """The artifact refs anywhere in this JSON."""
    match value:
        case str():
            if value.startswith("sha256:") and len(value) == 71:
                yield ArtifactRef(value)
        case dict():
            for inner in value.values():
                yield from _artifacts(inner)
        case list() | tuple():
            for inner in value:
                yield from _artifacts(inner)
        case _:
            pass
