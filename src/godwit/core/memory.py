"""Memory: what is known beyond one session: notes of four kinds, and to whom they belong. Data and rules, pure.

A memory belongs to one place: a user of a tenant, a folder of a tenant (`project`), or the tenant. Who asks is a
`MemoryReach`, and sees the memories of its own places alone. Leaves out how they are kept (`contracts.MemoryStore`) and
found (`memory_ranking`). Rule: an id means a memory within its place, so nobody can touch another's by guessing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import msgspec

from .errors import ConfigurationError, InvalidArgument
from .principal import LOCAL

MemoryKind = Literal["episodic", "semantic", "procedural", "working"]
"""`episodic`: what happened. `semantic`: what is so. `procedural`: how something is done. `working`: what matters for the
work at hand, and is soon of no use."""
MemoryScope = Literal["user", "project", "tenant"]
KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
SCOPES: tuple[MemoryScope, ...] = get_args(MemoryScope)
CONTENT_CHARACTERS = 8_000
TAGS = 32
TAG_CHARACTERS = 100
METADATA_BYTES = 8_192
ID_CHARACTERS = 200
MOST_DAYS = 1_000_000


class HasWho(Protocol):
    """Labels of a session, as far as they say who works in it."""

    @property
    def principal(self) -> str | None: ...
    @property
    def tenant(self) -> str | None: ...


class MemoryPlace(msgspec.Struct, frozen=True):
    """To whom memories belong. `owner`: the user or the folder; empty for a tenant, and for who has no name."""

    scope: MemoryScope
    owner: str = ""
    tenant: str | None = None


class MemoryReach(msgspec.Struct, frozen=True):
    """Who asks: a user (None: who has no name) of a tenant, in a folder or in none."""

    user: str | None = None
    project: str | None = None
    tenant: str | None = None

    def place(self, scope: MemoryScope) -> MemoryPlace:
        """Where its memories of this scope are. InvalidArgument: a project's without a folder."""
        if scope not in SCOPES:
            raise InvalidArgument(f"{scope!r} is no scope of memories: {', '.join(SCOPES)}", scope=scope)
        if scope == "project" and not self.project:
            raise InvalidArgument(
                "there is no folder here whose memories these could be: take the scope 'user'", scope=scope
            )
        owner = {"user": self.user, "project": self.project, "tenant": None}[scope]
        return MemoryPlace(scope, owner or "", self.tenant)

    def places(self, scopes: Sequence[MemoryScope] | None = None) -> tuple[MemoryPlace, ...]:
        """Its places of these scopes, by default all it has: the nearest first."""
        wanted = SCOPES if scopes is None else tuple(dict.fromkeys(scopes))
        return tuple(self.place(scope) for scope in wanted if scope != "project" or self.project)


def user_of(principal: str | None, tenant: str | None) -> str | None:
    """Whose memories a principal's are. Whoever works on this machine without a key has none, on a server as without one."""
    return None if tenant is None and principal == LOCAL.id else principal


def reach_of(labels: HasWho, workspace: str | None) -> MemoryReach:
    """What a session with these labels in this folder reaches."""
    return MemoryReach(user_of(labels.principal, labels.tenant), workspace, labels.tenant)


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """One memory. `importance`: 0 to 1. `session`: in which it was made. Times and `access_count` are the store's: it was
    last changed at `updated_ms`, and last given to somebody who looked for it at `accessed_ms`. InvalidArgument."""

    id: str
    content: str
    kind: MemoryKind = "episodic"
    place: MemoryPlace = MemoryPlace("user")
    importance: float = 0.5
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    session: str | None = None
    created_ms: int = 0
    updated_ms: int = 0
    accessed_ms: int | None = None
    access_count: int = 0

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > ID_CHARACTERS or not self.id.isprintable():
            raise InvalidArgument(f"{self.id[:80]!r} is no id of a memory: 1 to {ID_CHARACTERS} characters to be printed")
        if not self.content.strip() or len(self.content) > CONTENT_CHARACTERS:
            text = f"a memory has 1 to {CONTENT_CHARACTERS:,} characters, not {len(self.content):,}: keep what matters of it"
            raise InvalidArgument(text, characters=len(self.content))
        try:
            "".join((self.id, self.content, *self.tags)).encode()
        except UnicodeEncodeError:
            raise InvalidArgument("a memory is Unicode: there is half of a surrogate pair in it") from None
        if self.kind not in KINDS:
            raise InvalidArgument(f"{self.kind!r} is no kind of memory: {', '.join(KINDS)}", kind=self.kind)
        if not 0 <= self.importance <= 1:
            raise InvalidArgument(f"importance {self.importance!r} must be from 0 to 1", importance=self.importance)
        if len(self.tags) > TAGS or any(not t.strip() or len(t) > TAG_CHARACTERS for t in self.tags):
            raise InvalidArgument(
                f"a memory has at most {TAGS} tags of 1 to {TAG_CHARACTERS} characters", tags=list(self.tags)
            )
        if self.metadata and len(msgspec.json.encode(self.metadata)) > METADATA_BYTES:
            raise InvalidArgument(f"the metadata of a memory has at most {METADATA_BYTES:,} bytes as JSON")


class FoundMemory(msgspec.Struct, frozen=True):
    """A memory that was looked for. `score`: 0 to 1, comparable within one search."""

    memory: Memory
    score: float


class PrunePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which memories are deleted: those not touched for `max_age_days` that matter less than `min_importance`; working ones
    not touched for `working_days`, whatever they matter; then the least of a place while it has more than `max_items` (None:
    any number). ConfigurationError."""

    max_age_days: float = 90.0
    min_importance: float = 0.5
    working_days: float = 7.0
    max_items: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_importance <= 1:
            raise ConfigurationError(f"prune min_importance={self.min_importance!r} must be from 0 to 1")
        if not (0 <= self.max_age_days <= MOST_DAYS and 0 <= self.working_days <= MOST_DAYS):
            raise ConfigurationError(f"prune max_age_days and working_days must be from 0 to {MOST_DAYS:,}")
        if self.max_items is not None and self.max_items < 0:
            raise ConfigurationError(f"prune max_items={self.max_items!r} must be 0 or more")


class MemoryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent does with memory by itself.

    `recall`: at the start of a run, the memories that fit its prompt are given to the model with it: at most `max_items`, of
    about `max_tokens` together. `scopes`: whose memories those are. `writes`: to which places the tools of its model may
    write. `record`: which runs leave a memory of how they went. `scope`: where that, and what a model remembers without
    saying where, belongs. `prune`: done at the end of each run. ConfigurationError.
    """

    recall: bool = True
    max_tokens: int = 1_000
    max_items: int = 5
    scopes: tuple[MemoryScope, ...] = SCOPES
    writes: tuple[MemoryScope, ...] = ("user", "project")
    record: tuple[Literal["success", "failure"], ...] = ()
    scope: MemoryScope = "user"
    prune: PrunePolicy | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_items"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"memory {name}={getattr(self, name)!r} must be at least 1")
        for name in ("scopes", "writes"):
            if unknown := [one for one in getattr(self, name) if one not in SCOPES]:
                raise ConfigurationError(f"memory {name}={unknown!r}: there are {', '.join(SCOPES)}")
        if unknown := [one for one in self.record if one not in ("success", "failure")]:
            raise ConfigurationError(f"memory record={unknown!r}: there are success and failure")
        if self.writes and self.scope not in self.writes:
            raise ConfigurationError(f"memory scope={self.scope!r} is none of those it writes to: {', '.join(self.writes)}")


class MemoryStats(msgspec.Struct, frozen=True):
    """How many memories there are in reach, and of which kinds and scopes."""

    total: int
    kinds: dict[str, int] = {}
    scopes: dict[str, int] = {}


__all__ = [
    "CONTENT_CHARACTERS", "KINDS", "SCOPES",
    "FoundMemory", "Memory", "MemoryKind", "MemoryPlace", "MemoryPolicy", "MemoryReach", "MemoryScope", "MemoryStats",
    "PrunePolicy", "reach_of", "user_of",
]  # fmt: skip
