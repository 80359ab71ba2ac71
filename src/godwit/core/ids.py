"""Typed ids, and the two sources through which time and chance enter: `Clock` and `IdSource`.

Nothing else in godwit may read a clock or draw a random number for something that lands in a log; so a test or a
replay that brings its own two sources gets the same log again. The real sources are set by the host.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import NewType, Protocol

SessionId = NewType("SessionId", str)
RunId = NewType("RunId", str)
InputId = NewType("InputId", str)
MessageId = NewType("MessageId", str)
CallId = NewType("CallId", str)
ActionId = NewType("ActionId", str)
AgentName = NewType("AgentName", str)
ArtifactRef = NewType("ArtifactRef", str)
TaskId = NewType("TaskId", str)
"""`sha256:<hex>`, the hash of the content."""
Seq = int
"""Position of an event in its session's log, from 1, without gaps. 0 stands before the first."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the number, no look-alikes


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall time in milliseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class IdSource(Protocol):
    def new(self, kind: str) -> str:
        """A fresh id `<kind>_<something>`; never the same twice from one source."""
        ...

    def scoped(self, session: SessionId, at: Seq) -> IdSource:
        """The source for a session whose log has its head at `at` when it is opened.

        A source that draws no chance mixes both in, so a process that takes over after a crash draws other ids than
        the one that died, while an undisturbed replay draws the recorded ones again.
        """
        ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = float(now_ms)
        self._monotonic = 0.0

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now_ms += seconds * 1000
        self._monotonic += seconds


class RandomIds:
    """`kind_` and 26 characters: 48 bits of time, 82 of chance, sorting by time."""

    def new(self, kind: str) -> str:
        number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
        return f"{kind}_{_base32(number, 26)}"

    def scoped(self, session: SessionId, at: Seq) -> IdSource:
        return self


class SequentialIds:
    """`run-test-0`, `run-test-1`, ... for tests: one counter per kind."""

    def __init__(self, name: str = "test") -> None:
        self._name = name
        self._next: dict[str, int] = {}

    def new(self, kind: str) -> str:
        number = self._next.get(kind, 0)
        self._next[kind] = number + 1
        return f"{kind}-{self._name}-{number}"

    def scoped(self, session: SessionId, at: Seq) -> IdSource:
        return self if at == 0 else SequentialIds(f"{self._name}@{at}")


class SeededIds:
    """Ids that follow from a seed, so that a recording replayed draws the same ones again."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._next: dict[str, int] = {}

    def new(self, kind: str) -> str:
        number = self._next.get(kind, 0)
        self._next[kind] = number + 1
        return derived_id(kind, self._seed, str(number))

    def scoped(self, session: SessionId, at: Seq) -> IdSource:
        return SeededIds(f"{self._seed}\0{session}\0{at}")


def derived_id(kind: str, *parts: str) -> str:
    """The id that follows from these parts: an input sent again under its idempotency key gets the same one."""
    digest = hashlib.sha256("\0".join((kind, *parts)).encode()).digest()
    return f"{kind}_{_base32(int.from_bytes(digest[:16], 'big'), 26)}"


def _base32(number: int, width: int) -> str:
    chars = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        chars.append(_ALPHABET[digit])
    return "".join(reversed(chars))
