"""Tracing: OpenTelemetry spans and metrics of sessions, made from their logs alone.

A follower like any other: a slow or failing exporter never slows a session, and what it emits has the times of the events.
It uses the OpenTelemetry API only; without an SDK set up by the program (or by the command line, from `OTEL_*`), all of it
goes nowhere at almost no cost. Names are those of the GenAI semantic conventions:

    invoke_agent <agent>          one run, as far as this process drove it
      chat <model>                a model step
      execute_tool <tool>         a call, from its start to its result

A run that is taken over by another process, or parked and continued, has one such span per stretch of work, all with the
same `godwit.run.id`: each process tells what it did itself, so nothing is told twice. Where these stand, below each other
and below those of a parent, is `trace_places.py`'s. Contents (prompts, answers, arguments,
results) are left out unless asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from ..contracts import BeginTrace, EventStore
from ..core.errors import GodwitError, NotFound
from ..core.events import (
    AgentMessage,
    BudgetExceeded,
    Event,
    HookBlocked,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunParked,
    RunRetrying,
    RunYielded,
    SessionCreated,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    UsageRecorded,
    VerificationReported,
)
from ..core.ids import CallId, RunId, Seq, SessionId
from ..core.messages import Usage, text_of
from ..engine.receiver import EventReceiver
from .trace_places import TracePlaces

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

logger = logging.getLogger("godwit")

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
TEXT_LIMIT = 16_384
"""Characters of a content attribute, where contents are traced at all."""

Attributes = dict[str, Any]


@dataclass
class _Stretch:
    """The part of a run that this process drives: its span and what is open in it."""

    span: Span
    context: Any
    claimed: RunClaimed
    model: tuple[Span, str, int] | None = None
    tools: dict[CallId, Span] = field(default_factory=dict)


@dataclass(frozen=True)
class TracingSettings:
    """Where traces go and what stands in them. `contents`: prompts, answers, arguments and results as well.

    `tracers`, `meters`: in place of the process' own providers.
    """

    contents: bool = False
    tracers: TracerProvider | None = None
    meters: MeterProvider | None = None


class Tracing:
    """Follows sessions and emits what they do."""

    def __init__(self, store: EventStore, owner: str, settings: TracingSettings) -> None:
        from opentelemetry import metrics, trace

        self._store = store
        self._owner = owner
        self._contents = settings.contents
        self._tracer = trace.get_tracer("godwit", tracer_provider=settings.tracers, schema_url=SCHEMA_URL)
        meter = metrics.get_meter("godwit", meter_provider=settings.meters, schema_url=SCHEMA_URL)
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}", description="Tokens used.")
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", unit="s", description="Duration of model and tool steps."
        )
        self._cost = meter.create_counter("godwit.cost", unit="{USD}", description="What models cost, where it is known.")
        self._runs = meter.create_counter("godwit.runs", unit="{run}", description="Runs that ended, by outcome.")
        self._followers: dict[SessionId, asyncio.Task[None]] = {}
        self._places = TracePlaces(store, self.start_stretch)

    async def place(self, session: SessionId, run: RunId) -> BeginTrace:
        """See `godwit.contracts.Traces.place`."""
        return await self._places.place(session, run)

    def begun(self, session: SessionId, trace: str | None) -> Span | None:
        """The span that was begun as a run was claimed here."""
        return self._places.take(session, trace)

    def start_stretch(
        self, session: SessionId, created: SessionCreated, run: RunId, attempt: int, at_ms: int, below: Context
    ) -> Span:
        """Begin the span of a stretch of work."""
        attributes = {
            **base_of(session, created),
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": created.agent.name,
            "gen_ai.agent.version": str(created.agent.version),
            "godwit.run.id": run,
            "godwit.run.attempt": attempt,
        }
        return self._tracer.start_span(
            f"invoke_agent {created.agent.name}", context=below, attributes=attributes, start_time=_ns(at_ms)
        )

    def follow(self, session: SessionId, after: Seq) -> None:
        """Emit what happens behind this seq. Once per session, however often it is asked."""
        if session not in self._followers:
            task = asyncio.create_task(self._follow(session, after), name=f"trace {session}")
            self._followers[session] = task

    async def leave(self, session: SessionId) -> None:
        """Emit what is there already, and follow it no more."""
        task = self._followers.pop(session, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._places.forget(session)

    async def close(self) -> None:
        """Emit what is there already, of all sessions. The store must still be open."""
        for session in list(self._followers):
            await self.leave(session)

    async def _follow(self, session: SessionId, after: Seq) -> None:
        receiver = EventReceiver(self._store, session, after)
        try:
            created = (await self._store.read(session, 0, limit=1))[0].data
            assert isinstance(created, SessionCreated)
            emitter = SessionSpans(self, session, created)
        except NotFound:
            return
        except Exception:
            logger.exception("tracing session %s failed", session)
            return
        try:
            async for event in receiver:
                self._take(emitter, event)
        except asyncio.CancelledError:
            # What is stored is told, and what is open ends where this process leaves it.
            with contextlib.suppress(GodwitError):
                while (last := await receiver.next_stored()) is not None:
                    self._take(emitter, last)
            raise
        except NotFound:
            pass
        except Exception:
            logger.exception("tracing session %s failed", session)
        finally:
            emitter.close()

    def _take(self, emitter: SessionSpans, event: Event) -> None:
        try:
            emitter.take(event)
        except Exception:
            # An SDK may be anybody's; what it does with one event must not cost the others.
            logger.exception("tracing event %s of session %s failed", event.seq, event.session)


class SessionSpans:
    """Turns one session's events, in order, into spans and measurements."""

    def __init__(self, tracing: Tracing, session: SessionId, created: SessionCreated) -> None:
        self._t = tracing
        self._session = session
        self._created = created
        self._agent = created.agent
        self._base = base_of(session, created)
        self._open: _Stretch | None = None
        self._own: dict[CallId, Span] = {}
        self._last_ms = 0

    def take(self, event: Event) -> None:
        self._last_ms = event.at_ms
        data = event.data
        stretch = self._open
        match data:
            case RunClaimed() if stretch is not None and stretch.claimed == data:
                pass  # after a model that failed: the stretch goes on
            case RunClaimed():
                self._end_stretch(event.at_ms)
                if data.worker == self._t._owner:
                    self._begin_stretch(data, event)
            case ToolStarted() if data.origin != "model":
                if data.owner == self._t._owner:
                    self._own[data.call] = self._tool(data, event, None)
            case ToolFinished() if data.origin != "model":
                span = self._own.pop(data.call, None)
                if span is not None:
                    self._end_tool(span, data, event)
            case _ if stretch is None:
                pass
            case ModelStarted():
                self._begin_model(stretch, data, event)
            case AgentMessage():
                self._end_model(stretch, data, event)
            case RunRetrying():
                if stretch.model is not None:
                    span, model, since_ms = stretch.model
                    _failed(span, data.error.code, data.error.message)
                    span.end(_ns(event.at_ms))
                    measured = self._measured(model, "chat")
                    self._t._duration.record((event.at_ms - since_ms) / 1000, {**measured, "error.type": data.error.code})
                    stretch.model = None
            case UsageRecorded():
                self._usage(data.usage, self._measured(data.model, "chat"))
            case ToolStarted():
                stretch.tools[data.call] = self._tool(data, event, stretch)
            case ToolAsked():
                span = stretch.tools.pop(data.call, None)
                if span is not None:
                    span.set_attribute("godwit.questions", len(data.questions))
                    span.end(_ns(event.at_ms))
            case ToolFinished():
                span = stretch.tools.pop(data.call, None)
                if span is not None:
                    self._end_tool(span, data, event)
            case HookBlocked():
                stretch.span.add_event("godwit.hook.blocked", {"godwit.hook": data.hook}, _ns(event.at_ms))
            case BudgetExceeded():
                stretch.span.add_event("godwit.budget.exceeded", {"godwit.resource": data.resource}, _ns(event.at_ms))
            case VerificationReported():
                checks = {"godwit.checks": len(data.report.checks)}
                stretch.span.add_event("godwit.verification.reported", checks, _ns(event.at_ms))
            case RunParked() | RunYielded():
                self._end_stretch(event.at_ms, outcome="parked" if isinstance(data, RunParked) else "yielded")
            case RunFinished():
                usage = data.usage
                stretch.span.set_attributes(_tokens_of(usage))
                if data.error is not None and data.outcome == "failed":
                    _failed(stretch.span, data.error.code, data.error.message)
                self._t._runs.add(1, {"gen_ai.agent.name": self._agent.name, "godwit.run.outcome": data.outcome})
                self._end_stretch(event.at_ms, outcome=data.outcome)
            case _:
                pass

    def close(self) -> None:
        """End what is open where it was last heard of."""
        self._end_stretch(self._last_ms, outcome="left")
        for span in self._own.values():
            span.end(_ns(self._last_ms))
        self._own.clear()

    def _begin_stretch(self, data: RunClaimed, event: Event) -> None:
        from opentelemetry import trace

        span = self._t.begun(self._session, data.trace)
        if span is None:
            alone = trace.set_span_in_context(trace.INVALID_SPAN)
            span = self._t.start_stretch(self._session, self._created, data.run, data.attempt, event.at_ms, alone)
        self._open = _Stretch(span, trace.set_span_in_context(span), data)

    def _end_stretch(self, at_ms: int, outcome: str = "lost") -> None:
        stretch, self._open = self._open, None
        if stretch is None:
            return
        for span in [*stretch.tools.values(), *([stretch.model[0]] if stretch.model is not None else [])]:
            _failed(span, "lost" if outcome == "lost" else "interrupted", "it did not end here")
            span.end(_ns(at_ms))
        stretch.span.set_attribute("godwit.run.outcome", outcome)
        stretch.span.end(_ns(at_ms))

    def _begin_model(self, stretch: _Stretch, data: ModelStarted, event: Event) -> None:
        from opentelemetry.trace import SpanKind

        if stretch.model is not None:
            stretch.model[0].end(_ns(event.at_ms))
        name = data.model.partition(":")[2] or data.model
        span = self._t._tracer.start_span(
            f"chat {name}",
            context=stretch.context,
            kind=SpanKind.CLIENT,
            attributes={**self._base, **self._measured(data.model, "chat")},
            start_time=_ns(event.at_ms),
        )
        stretch.model = span, data.model, event.at_ms

    def _end_model(self, stretch: _Stretch, data: AgentMessage, event: Event) -> None:
        if stretch.model is None:
            return
        span, asked, since_ms = stretch.model
        stretch.model = None
        message = data.message
        attributes: Attributes = {
            "gen_ai.response.model": message.model.partition(":")[2] or message.model,
            "gen_ai.response.finish_reasons": (message.stop,),
            **_tokens_of(message.usage),
        }
        if message.response_id is not None:
            attributes["gen_ai.response.id"] = message.response_id
        if message.usage.cost_usd is not None:
            attributes["godwit.cost.usd"] = message.usage.cost_usd
        if self._t._contents:
            attributes["gen_ai.output.messages"] = _cut(msgspec.json.encode(message.content).decode())
        span.set_attributes(attributes)
        measured = self._measured(asked, "chat")
        if not message.complete:
            _failed(span, message.stop, "the answer was cut")
            measured["error.type"] = message.stop
        span.end(_ns(event.at_ms))
        self._t._duration.record((event.at_ms - since_ms) / 1000, measured)
        self._usage(message.usage, measured)

    def _usage(self, usage: Usage, measured: Attributes) -> None:
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if count:
                self._t._tokens.record(count, {**measured, "gen_ai.token.type": kind})
        if usage.cost_usd:
            self._t._cost.add(usage.cost_usd, measured)

    def _tool(self, data: ToolStarted, event: Event, stretch: _Stretch | None) -> Span:
        from opentelemetry import trace

        attributes = {
            **self._base,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": data.name,
            "gen_ai.tool.call.id": data.call,
            "gen_ai.tool.type": "function",
            "godwit.tool.origin": data.origin,
        }
        if self._t._contents:
            attributes["gen_ai.tool.call.arguments"] = _cut(msgspec.json.encode(data.arguments).decode())
        return self._t._tracer.start_span(
            f"execute_tool {data.name}",
            context=trace.set_span_in_context(trace.INVALID_SPAN) if stretch is None else stretch.context,
            attributes=attributes,
            start_time=_ns(event.at_ms),
        )

    def _end_tool(self, span: Span, data: ToolFinished, event: Event) -> None:
        measured = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": data.name}
        exit_code = data.metadata.get("exit_code")
        if isinstance(exit_code, int):
            span.set_attribute("process.exit.code", exit_code)
        if self._t._contents:
            span.set_attribute("gen_ai.tool.call.result", _cut(text_of(data.content)))
        if data.status != "ok":
            # The text may quote anything, so only the kind of failure is told.
            _failed(span, data.status, None)
            measured["error.type"] = data.status
        span.end(_ns(event.at_ms))
        if data.duration_ms is not None:
            self._t._duration.record(data.duration_ms / 1000, measured)

    def _measured(self, model: str, operation: str) -> Attributes:
        provider, _, name = model.partition(":")
        return {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": name or model,
        }


def base_of(session: SessionId, created: SessionCreated) -> Attributes:
    """What stands on each span of a session."""
    base: Attributes = {"gen_ai.conversation.id": session}
    labels = created.labels
    for name, value in (("tenant", labels.tenant), ("principal", labels.principal), ("correlation", labels.correlation)):
        if value is not None:
            base[f"godwit.{name}"] = value
    return base


_PROVIDERS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "google": "gcp.gemini",
    "deepseek": "deepseek",
    "mistral": "mistral_ai",
    "groq": "groq",
}
"""Our names of providers, as the conventions spell them; others as they are."""


def _tokens_of(usage: Usage) -> Attributes:
    attributes: Attributes = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.cache_read_tokens:
        attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        attributes["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
    if usage.thinking_tokens:
        attributes["gen_ai.usage.reasoning.output_tokens"] = usage.thinking_tokens
    return attributes


def _failed(span: Span, kind: str, why: str | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, why))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}…"


def _ns(at_ms: int) -> int:
    return at_ms * 1_000_000


def providers_from_environment() -> Iterator[Any]:
    """Set up the SDK's providers as `OTEL_*` says; yields what is to be shut down. ConfigurationError without the SDK."""
    from ..core.errors import ConfigurationError

    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigurationError("tracing needs the SDK: pip install 'godwit[otel]'", missing=error.name) from error
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    yield tracers
    meters = MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    metrics.set_meter_provider(meters)
    yield meters
