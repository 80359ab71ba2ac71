"""LaneState: one lane, while this process lives: who waits in which line, who runs, what its rate allows, and counts.

Which lane goes next, and what lanes share, is decided by `lanes`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from ..core.ids import SessionId
from ..core.lanes import LaneConfig, LaneMetrics, LaneStats, RateLimit, Times
from .ticket import Outcome, Ticket

_ROUNDING = 1e-9


class LaneState:
    """Those who wait, in the order they came, those who run, and counts."""

    def __init__(self, config: LaneConfig, now_s: float) -> None:
        assert config.priority is not None
        self.config = config
        self.priority = config.priority
        self.bucket = None if config.rate is None else _Bucket(config.rate, now_s)
        self.waiting = 0
        self.active = 0
        self.retrying = 0
        self.pressed = False
        self.within: OrderedDict[Ticket, None] = OrderedDict()  # what waits within other steps, of the lane's own room alone
        self.running: set[Ticket] = set()
        self.tenants: dict[str | None, int] = {}
        self.submitted = self.completed = self.failed = self.timed_out = self.cancelled = 0
        self.retried = self.dead = 0
        self.wait, self.run = Times(), Times()
        # Of each tenant in a line of its own where each has room of its own, else all in one.
        self._lines: dict[str | None, OrderedDict[Ticket, None]] = {}
        self._heads: list[tuple[int, int, str | None]] = []  # (order, entry, tenant); who is no head any more is passed over
        self._entries = itertools.count()

    def _line(self, ticket: Ticket) -> str | None:
        return ticket.tenant if self.config.per_tenant is not None else None

    def put(self, ticket: Ticket) -> None:
        self.waiting += 1
        if not ticket.shares:
            self.within[ticket] = None
            return
        name = self._line(ticket)
        line = self._lines.setdefault(name, OrderedDict())
        line[ticket] = None
        if len(line) == 1:
            self._offer(name)

    def head(self) -> Ticket | None:
        """Who came first of those whose tenant has room."""
        while self._heads:
            order, _, name = self._heads[0]
            line = self._lines.get(name)
            first = next(iter(line)) if line else None
            if first is not None and first.order == order and self._open(name):
                return first
            heapq.heappop(self._heads)
        return None

    def drop(self, ticket: Ticket) -> None:
        self.waiting -= 1
        if not self.waiting:
            self.pressed = False
        if not ticket.shares:
            del self.within[ticket]
            return
        name = self._line(ticket)
        line = self._lines[name]
        was_first = next(iter(line)) is ticket
        del line[ticket]
        if not line:
            del self._lines[name]
        elif was_first:
            self._offer(name)

    def freed(self, tenant: str | None) -> None:
        left = self.tenants[tenant] - 1
        if left:
            self.tenants[tenant] = left
        else:
            del self.tenants[tenant]
        if tenant in self._lines:
            self._offer(tenant)

    def all_waiting(self) -> Iterator[Ticket]:
        return iter([*self.within, *(ticket for line in self._lines.values() for ticket in line)])

    def count(self, outcome: Outcome) -> None:
        match outcome:
            case "completed":
                self.completed += 1
            case "failed":
                self.failed += 1
            case "timed_out":
                self.timed_out += 1
            case "cancelled":
                self.cancelled += 1

    def stats(self, session: SessionId | None) -> LaneStats:
        pending, active = self.waiting, self.active
        if session is not None:
            pending = sum(ticket.session == session for ticket in self.all_waiting())
            active = sum(ticket.session == session for ticket in self.running)
        config = self.config
        retrying = self.retrying if session is None else 0
        return LaneStats(config.name, pending, active, retrying, 0, config.concurrency, config.mode)

    def metrics(self) -> LaneMetrics:
        return LaneMetrics(
            self.config.name,
            self.submitted,
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.retried,
            self.dead,
            self.waiting + self.retrying,
            self.active,
            self.wait.percentiles(),
            self.run.percentiles(),
        )

    def _open(self, name: str | None) -> bool:
        most = self.config.per_tenant
        return most is None or self.tenants.get(name, 0) < most

    def _offer(self, name: str | None) -> None:
        if self._open(name):
            heapq.heappush(self._heads, (next(iter(self._lines[name])).order, next(self._entries), name))


class _Bucket:
    """Tokens that grow with the time up to what a rate allows at once; a step takes one."""

    __slots__ = ("_at_s", "_most", "_per_s", "_tokens")

    def __init__(self, rate: RateLimit, now_s: float) -> None:
        self._most = float(rate.steps)
        self._per_s = rate.steps / rate.per_s
        self._tokens = self._most
        self._at_s = now_s

    def has(self, steps: int, now_s: float) -> bool:
        return self._have(now_s) >= steps - _ROUNDING

    def take(self, now_s: float) -> None:
        """Take one. A step that passes by the limits of its lane may leave less than none."""
        self._tokens, self._at_s = self._have(now_s) - 1, now_s

    def left_s(self, now_s: float) -> float:
        """How long until there is one."""
        return max(0.0, (1 - self._have(now_s)) / self._per_s)

    def _have(self, now_s: float) -> float:
        return min(self._most, self._tokens + (now_s - self._at_s) * self._per_s)
