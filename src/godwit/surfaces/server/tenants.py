"""Tenants: what each of them uses right now, against what it may. Rates and streams are counted in memory, for this process;
what is kept and what runs is the store's to tell, for all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from ...contracts import Store
from ...core.errors import TooMany
from ...core.ids import Clock
from ...core.principal import LOCAL, Principal
from .settings import TenantLimits

KNOWN = 4096
"""Tenants whose rates are remembered; one that is forgotten may begin with a full burst."""
OWN = ("audit", "reply")
"""Kinds of documents that the server keeps for itself."""
DOCUMENTS_S = 10.0
"""For how long a count of the bytes of documents is used. Those of logs the store knows without counting."""


class _Bucket:
    __slots__ = ("at_s", "tokens")

    def __init__(self, tokens: float, at_s: float) -> None:
        self.tokens = tokens
        self.at_s = at_s


class Tenants:
    """Who asks for no key (`LOCAL`) is never limited."""

    def __init__(self, limits: TenantLimits, store: Store, clock: Clock) -> None:
        self._limits = limits
        self._store = store
        self._clock = clock
        self._buckets: OrderedDict[str | None, _Bucket] = OrderedDict()
        self._streams: dict[str | None, int] = {}
        self._ends: set[Callable[[], None]] = set()
        self._waits: set[Callable[[], None]] = set()
        self._documents: dict[str | None, tuple[float, int]] = {}
        self.ending = False

    @property
    def open_streams(self) -> int:
        return len(self._ends)

    def take(self, principal: Principal) -> None:
        """One request. TooMany, with when the next one may come."""
        rate = self._limits.requests_per_s
        if rate is None or principal is LOCAL:
            return
        now = self._clock.monotonic()
        bucket = self._buckets.get(principal.tenant)
        if bucket is None:
            bucket = self._buckets[principal.tenant] = _Bucket(self._limits.burst, now)
            if len(self._buckets) > KNOWN:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(principal.tenant)
        bucket.tokens = min(float(self._limits.burst), bucket.tokens + (now - bucket.at_s) * rate)
        bucket.at_s = now
        if bucket.tokens < 1:
            text = f"more than {rate:g} requests in a second: send fewer"
            raise TooMany(text, retry_after_s=(1 - bucket.tokens) / rate, limit="requests_per_s")
        bucket.tokens -= 1

    def stream(self, principal: Principal, end: Callable[[], None]) -> Callable[[], None]:
        """One more stream is open, which `end` ends; returns what to call when it has ended. TooMany."""
        limit = None if principal is LOCAL else self._limits.streams
        open_now = self._streams.get(principal.tenant, 0)
        if limit is not None and open_now >= limit:
            raise TooMany(f"{open_now} streams are open, and that is the limit: close some", limit="streams")
        self._streams[principal.tenant] = open_now + 1
        self._ends.add(end)
        if self.ending:
            end()

        def ended() -> None:
            if end not in self._ends:
                return
            self._ends.discard(end)
            left = self._streams.get(principal.tenant, 1) - 1
            if left > 0:
                self._streams[principal.tenant] = left
            else:
                self._streams.pop(principal.tenant, None)

        return ended

    def until_end(self, end: Callable[[], None]) -> Callable[[], None]:
        """Call `end` when the server ends, for a request that waits and is no stream; returns what takes it back."""
        self._waits.add(end)
        if self.ending:
            end()
        return lambda: self._waits.discard(end)

    def end_streams(self) -> None:
        """End all of them, and from now on each one at once; and whatever else waits."""
        self.ending = True
        for end in [*self._ends, *self._waits]:
            end()

    async def room(self, principal: Principal, what: Literal["runs", "documents"], size: int = 0) -> None:
        """Whether one more run may begin, or something more may be kept: of `size` bytes, which count from now on, or of
        some that are not known yet. TooMany."""
        if principal is LOCAL:
            return
        await self._has_room(principal.tenant, size)  # what is said is kept as well
        limit = self._limits.runs
        if what == "runs" and limit is not None:
            used = await self._store.working_sessions(principal.tenant)
            if used >= limit:
                text = f"{used} runs are open, and that is the limit: wait for one to end"
                raise TooMany(text, retry_after_s=5.0, limit="runs")

    async def _has_room(self, tenant: str | None, more: int) -> None:
        limit = self._limits.storage
        if limit is None:
            return
        now = self._clock.monotonic()
        at_s, documents = self._documents.get(tenant, (now - DOCUMENTS_S, 0))
        if now - at_s >= DOCUMENTS_S:
            at_s, documents = now, await self._store.document_bytes(tenant, leave_out=OWN)
            self._documents[tenant] = (at_s, documents)
            if len(self._documents) > KNOWN:
                del self._documents[next(iter(self._documents))]
        kept = documents + await self._store.log_bytes(tenant)
        if kept >= limit or kept + more > limit:
            to_come = f", {more} more were to come" if more else ""
            raise TooMany(f"{kept} bytes are kept{to_come}, and {limit} is the limit: delete something", limit="storage")
        if more:
            self._documents[tenant] = (at_s, documents + more)
