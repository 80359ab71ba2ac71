"""Where runs stand in traces: a run, what continues it, and all that works for it are one trace.

The place of a stretch of work is a part of the event by which its run is claimed, so whoever drives next finds it in the
log, in this process or another. A run that is gone on with stands below its first stretch; the run of a task below the
stretch in which its parent handed the task out. Leaves out what is told of a run (`tracing.py`). Rules: a run that belongs
to no other begins a trace of its own; a span is begun here and told, with its steps, by who follows the log; nothing here
fails or waits for an exporter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..contracts import BeginTrace, EventStore
from ..core.errors import GodwitError
from ..core.events import RunClaimed, SessionCreated, SubagentFinished, SubagentStarted
from ..core.ids import RunId, Seq, SessionId

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

logger = logging.getLogger("godwit")

StartSpan = Callable[[SessionId, SessionCreated, RunId, int, int, "Context"], "Span"]
"""Session, how it was created, run, attempt, time in ms, what it stands below."""


class TracePlaces:
    """Implements `godwit.contracts.Traces`. `start`: begins the span of a stretch."""

    def __init__(self, store: EventStore, start: StartSpan) -> None:
        self._store = store
        self._start = start
        self._begun: dict[SessionId, dict[str, Span]] = {}

    async def place(self, session: SessionId, run: RunId) -> BeginTrace:
        """See `Traces.place`."""
        above, created = None, None
        try:
            first = (await self._store.read(session, 0, limit=1))[0].data
            created = first if isinstance(first, SessionCreated) else None
            above = await self._continued(session, run)
            if above is None and created is not None and created.parent is not None:
                above = await self._handed_out(session, created.parent)
        except GodwitError as error:
            logger.warning("where run %s stands in a trace cannot be read: %s", run, error.message)

        def begin(attempt: int, at_ms: int) -> str | None:
            if created is None:
                return None
            try:
                span = self._start(session, created, run, attempt, at_ms, _below(above))
                told = _traceparent(span)
            except Exception:
                # An SDK may be anybody's, and a run is more than what is told of it.
                logger.exception("the trace of run %s cannot be begun", run)
                return None
            if told is not None:
                self._begun.setdefault(session, {})[told] = span
            return told

        return begin

    def take(self, session: SessionId, trace: str | None) -> Span | None:
        """The span that was begun at this place, once."""
        return None if trace is None else self._begun.get(session, {}).pop(trace, None)

    def forget(self, session: SessionId) -> None:
        """What was begun of it and never claimed is told nobody."""
        self._begun.pop(session, None)

    async def _continued(self, session: SessionId, run: RunId) -> str | None:
        """The first stretch of this run, whoever drove it."""
        started = await self._store.read(session, types=("run.started",), newest_first=True, limit=1)
        after: Seq = started[0].seq if started else 0
        for event in await self._store.read(session, after, types=("run.claimed",), limit=1):
            if isinstance(event.data, RunClaimed) and event.data.run == run:
                return event.data.trace
        return None

    async def _handed_out(self, session: SessionId, parent: SessionId) -> str | None:
        """The stretch of the parent in which this session was given its task, or, without one, in which the parent works
        now. None when the parent was in no run then: what a host hands out between runs belongs to none."""
        upto: Seq | None = None
        for event in await self._store.read(parent, types=("subagent.started", "subagent.finished"), newest_first=True):
            data = event.data
            if isinstance(data, SubagentStarted | SubagentFinished) and data.child == session:
                if isinstance(data, SubagentFinished):
                    return None
                upto = event.seq
                break
        types = ("run.claimed", "run.finished")
        for event in await self._store.read(parent, to_seq=upto, types=types, newest_first=True, limit=1):
            return event.data.trace if isinstance(event.data, RunClaimed) else None
        return None


def _below(traceparent: str | None) -> Context:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    nothing = trace.set_span_in_context(trace.INVALID_SPAN)
    if traceparent is None:
        return nothing
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, nothing)


def _traceparent(span: Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


__all__ = ["TracePlaces"]
