"""Metrics: what a server counts, as Prometheus reads it. Labels are templates of routes and never ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from ...core.lanes import LaneMetrics, MetricsSnapshot, Percentiles
from ...host.lane_tasks import DEAD, KIND as TASK
from ...host.work_item import HELD, KIND as WORK, WAITS
from .exchange import Exchange

if TYPE_CHECKING:
    from .service import Service

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""All others are counted as `-`: a client may call a method what it likes, and each would be a counter of its own."""
STATUSES = ("queued", "idle", "running", "waiting", "retrying", "paused", "archived")
RUNS = ("queued", "running", "retrying", "waiting")


class Metrics:
    """One server's. Its registry is its own: two servers in a process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "godwit_http_requests",
            "Requests answered.",
            ["dialect", "method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "godwit_http_request_seconds",
            "Seconds until a request was answered; streams are left out.",
            ["dialect", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._replayed = Counter(
            "godwit_http_replayed", "Requests answered from a kept answer.", ["dialect"], registry=self.registry
        )
        self._refused = Counter(
            "godwit_http_refused", "Requests refused before a dialect saw them.", ["code"], registry=self.registry
        )
        self._streams = Gauge("godwit_http_streams", "Streams that are open.", registry=self.registry)
        self._sessions = Gauge("godwit_sessions", "Sessions in the store.", ["status"], registry=self.registry)
        self._runs = Gauge(
            "godwit_runs_open",
            "Runs in the store that have not ended; paused ones are left out.",
            ["status"],
            registry=self.registry,
        )
        self._work = Gauge(
            "godwit_work_items",
            "Sessions in the work queues of all environments: queued for a worker, or held by one.",
            ["state"],
            registry=self.registry,
        )
        self._dead = Gauge("godwit_dead_letters", "Calls whose last try by a worker failed.", registry=self.registry)
        self.registry.register(_Lanes(self))
        self._handles = Gauge("godwit_sessions_open", "Sessions this process holds open.", registry=self.registry)
        self._driven = Gauge("godwit_runs_driven", "Runs this process drives.", registry=self.registry)
        self._waiting = Gauge(
            "godwit_runs_waiting", "Runs that wait for a place among those driven at once.", registry=self.registry
        )
        self._recovered = Counter(
            "godwit_runs_recovered", "Runs of others that this process went on with.", registry=self.registry
        )

        self.lanes: MetricsSnapshot | None = None

    def request(self, exchange: Exchange, seconds: float) -> None:
        method = exchange.method if exchange.method in METHODS else "-"
        self._requests.labels(exchange.dialect, method, exchange.route, str(exchange.status)).inc()
        if not exchange.streamed:
            self._seconds.labels(exchange.dialect, exchange.route).observe(seconds)
        if exchange.replayed:
            self._replayed.labels(exchange.dialect).inc()

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def recovered(self, runs: int) -> None:
        self._recovered.inc(runs)

    async def text(self, service: Service) -> bytes:
        """All of them now."""
        self._streams.set(service.tenants.open_streams)
        self._handles.set(len(service.runtime.desk))
        self._driven.set(service.runtime.driven_runs)
        self._waiting.set(len(service.runtime.waiting_runs()))
        counts = {str(status): count for status, count in (await service.store.session_counts()).items()}
        for status in STATUSES:
            self._sessions.labels(status).set(counts.get(status, 0))
        runs = {str(status): count for status, count in (await service.store.open_runs()).items()}
        for status in RUNS:
            self._runs.labels(status).set(runs.get(status, 0))
        for state, key in (("queued", WAITS), ("held", HELD)):
            self._work.labels(state).set(await service.store.count_documents(WORK, key))
        self.lanes = service.runtime.lanes.metrics()
        self._dead.set(await service.store.count_documents(TASK, DEAD))
        found: bytes = generate_latest(self.registry)
        return found


class _Lanes(Collector):
    """What the lanes of the server count, which they do themselves."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        snapshot = self._metrics.lanes
        lanes: list[LaneMetrics] = [] if snapshot is None else list(snapshot.lanes.values())
        tasks = CounterMetricFamily("godwit_lane_tasks", "Steps of a lane, by what became of them.", labels=["lane", "what"])
        for lane in lanes:
            for what in ("submitted", "completed", "failed", "timed_out", "cancelled", "retried", "dead"):
                tasks.add_metric([lane.lane, what], getattr(lane, what))
        yield tasks
        for name, text, field in (("depth", "Steps that wait.", "depth"), ("active", "Steps under way.", "active")):
            gauge = GaugeMetricFamily(f"godwit_lane_{name}", text, labels=["lane"])
            for lane in lanes:
                gauge.add_metric([lane.lane], getattr(lane, field))
            yield gauge
        for name, text in (("wait", "Seconds until a step began."), ("run", "Seconds from then until it ended.")):
            yield from _summary(f"godwit_lane_{name}_seconds", text, [(lane.lane, getattr(lane, name)) for lane in lanes])


def _summary(name: str, text: str, lanes: list[tuple[str, Percentiles]]) -> Iterator[Metric]:
    family = Metric(name, text, "summary")
    for lane, times in lanes:
        for quantile in ("0.5", "0.9", "0.95", "0.99"):
            value = getattr(times, f"p{float(quantile) * 100:g}_ms") / 1000
            family.add_sample(name, {"lane": lane, "quantile": quantile}, value)
        family.add_sample(f"{name}_sum", {"lane": lane}, times.total_ms / 1000)
        family.add_sample(f"{name}_count", {"lane": lane}, times.count)
    yield family
