"""The store of logs: append-only, one per session, with the leases and snapshots that belong to them.

It keeps the agents and the saved permission rules as well. Leaves out when an event may be appended: that is `core.gate`,
which a store asks within its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ..core.agent import AgentRef, AgentSpec
from ..core.budget import Spent
from ..core.events import Delta, Draft, Event, Labels
from ..core.gate import Status
from ..core.ids import AgentName, RunId, Seq, SessionId
from ..core.rules import Verdict


class Appended(msgspec.Struct, frozen=True):
    """Events `first` to `last` were stored. `duplicate`: the idempotency key was known, these are the earlier ones."""

    first: Seq
    last: Seq
    duplicate: bool = False


class Lease(msgspec.Struct, frozen=True):
    """The exclusive right to drive a session. `epoch` fences: every later lease has a greater one."""

    session: SessionId
    epoch: int
    owner: str
    ttl_s: float


class SessionRow(msgspec.Struct, frozen=True):
    """A session as the index lists it. `owner`: the process that drives it now, if any; `run`: the open run, if any;
    `parent`: the session it works for, if any; `origin`: the one it was forked from, if any, which may be gone."""

    id: SessionId
    status: Status
    head: Seq
    created_ms: int
    updated_ms: int
    agent: AgentRef
    workspace: str | None = None
    name: str | None = None
    labels: Labels = Labels()
    owner: str | None = None
    run: RunId | None = None
    epoch: int = 0
    queued: int = 0
    actions: int = 0
    first_prompt: str = ""
    parent: SessionId | None = None
    origin: SessionId | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """A stored fold: `state` as `encode_state` packed it, at `seq`, of `version` (core.state.SNAPSHOT_VERSION)."""

    seq: Seq
    version: int
    state: bytes


class SavedRule(msgspec.Struct, frozen=True):
    """A permission rule that a person's answer has left behind. `saved_ms`: when it got this verdict."""

    verdict: Verdict
    rule: str
    saved_ms: int


class EventStore(Protocol):
    """Append-only logs, one per session, and what belongs to them.

    Promises every implementation keeps, proven by `godwit.testing.StoreConformance`:

    * seqs of a session are 1, 2, 3 ... without a gap; an append is all or nothing and durable when it returns.
    * Every event passes `core.gate.admit` against the session's gate inside the append's own transaction; what
      `consequence` adds is stored right behind its cause. A refusal stores nothing.
    * With `epoch`, the writer is the driver and must hold the newest epoch, else StaleEpoch. Without, only
      what is `core.events.from_outside` is accepted (IllegalEvent).
    * `expect`: HeadMoved unless the head is exactly that.
    * `key`: an idempotency key; the same key again with the same event types and bodies stores nothing and returns the
      first `Appended` with `duplicate=True`; with others it raises KeyReused.
    * Many processes may use one store; one that appends wakes the others' `wait`.

    Errors: SessionNotFound, SessionExists, the conflicts of `admit`, StaleEpoch, HeadMoved, KeyReused, and StoreError's
    leaves (full, read-only, locked, corrupt, closed). After any of them the store is as usable as its disk allows.
    """

    @property
    def owner(self) -> str:
        """This process's name for `claim`, by which others can see whether it is alive."""
        ...

    async def create(self, session: SessionId, events: Sequence[Draft], *, key: str | None = None) -> Appended:
        """A new log beginning with `events`, the first of them `session.created`. SessionExists when there is one,
        SessionNotFound when there is none of the parent's name."""
        ...

    async def fork(
        self, session: SessionId, origin: SessionId, at: Seq, events: Sequence[Draft], *, key: str | None = None
    ) -> Appended:
        """A new log that begins with the events of `origin` up to `at`, which are not copied, and goes on with `events`, the
        first of them `session.forked`.

        It holds the origin's artifacts as well, and works for whom the origin works for if the first event names a parent.
        Whatever becomes of the origin, what the fork begins with stays.
        SessionExists, SessionNotFound (no such origin), InvalidArgument (it has no event `at`), IllegalEvent (another
        tenant's).
        """
        ...

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended: ...

    async def read(
        self,
        session: SessionId,
        from_seq: Seq = 0,
        *,
        limit: int | None = None,
        types: Sequence[str] | None = None,
        to_seq: Seq | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events with `seq > from_seq` (and `<= to_seq`), in order. SessionNotFound."""
        ...

    async def wait(self, session: SessionId, after: Seq, timeout_s: float | None = None) -> Seq:
        """Return the head as soon as it is greater than `after`, or when the time is over."""
        ...

    async def session(self, session: SessionId) -> SessionRow: ...

    async def sessions(
        self,
        *,
        limit: int = 50,
        before: tuple[int, SessionId] | None = None,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        tenant: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
        parent: SessionId | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """Newest activity first. `before`: (updated_ms, id) of the last row of the page before. `prefix`: of the id.

        `parent`: only those that work for this session themselves; `top_level`: only those that work for none.
        InvalidArgument for both at once.
        """
        ...

    async def session_page(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, SessionId] | None = None,
        ascending: bool = False,
        statuses: Sequence[Status] | None = None,
        agent: AgentName | None = None,
        agent_version: int | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
        include_archived: bool = True,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """Sessions of just this tenant (None: of none) in the order they were made, the newest first unless `ascending`.

        `after`: (created_ms, id) of the last row of the page before. The times are inclusive. `agent`: with those of its
        variants (`core.agent.variant_name`). `top_level`: only those that work for no other. InvalidArgument.
        """
        ...

    async def sessions_with_tasks(self) -> list[SessionId]:
        """The sessions of which a task has not ended, of all tenants."""
        ...

    async def descendants(self, session: SessionId, *, created_from_ms: int | None = None) -> list[SessionId]:
        """All sessions that work for this one, and for those, parents before their children; empty where there are none.
        `created_from_ms`: only those made then or later, whenever what they work for was made."""
        ...

    async def spent(self, session: SessionId) -> Spent:
        """What the session and all its descendants have used up, counted as `core.meter` does in the transaction of each
        append; descendants that were deleted still count. SessionNotFound."""
        ...

    async def delete(self, session: SessionId) -> None:
        """Remove the log, all that only it used, and the documents that go with it. SessionOwned while a live process drives
        it.

        Its children go on as those of its own parent.
        """
        ...

    async def alive(self, owner: str) -> bool:
        """Whether this owner may still be at work. False only when it can be seen to have ended."""
        ...

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        """A lease with a new epoch, or None while another live owner holds one; `force` takes it anyway.

        An owner is dead when its lease ran out by the store's clock, or when it can be seen to have died.
        """
        ...

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""
        ...

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None: ...
    async def get_snapshot(self, session: SessionId) -> Snapshot | None: ...

    async def put_agent(self, spec: AgentSpec, *, expect: int | None = None) -> AgentRef:
        """A new immutable version, or the newest one when it equals `spec`.

        `expect`: RevisionConflict unless that is the newest version now; 0 for none at all.
        """
        ...

    async def get_agent(self, name: str, version: int | None = None) -> tuple[AgentRef, AgentSpec]:
        """That version, or the newest. AgentNotFound."""
        ...

    async def agents(self) -> list[AgentRef]:
        """The newest version of each agent, by name."""
        ...

    async def agent_versions(self, name: str) -> list[AgentRef]: ...

    async def save_rule(
        self, verdict: Verdict, rule: str, *, workspace: str | None = None, tenant: str | None = None
    ) -> None:
        """Keep a permission rule for the sessions of this tenant in this folder. One rule has one verdict: the last one.

        ConfigurationError when it cannot be read.
        """
        ...

    async def rules(self, *, workspace: str | None = None, tenant: str | None = None) -> list[SavedRule]:
        """The rules saved for just this folder and tenant, oldest first."""
        ...

    async def delete_rule(self, rule: str, *, workspace: str | None = None, tenant: str | None = None) -> bool:
        """Forget the rule; False when there is none."""
        ...

    async def session_counts(self) -> dict[Status, int]:
        """How many sessions there are by their status, of all tenants; those of a status that none has are left out."""
        ...

    async def working_sessions(self, tenant: str | None) -> int:
        """How many sessions of just this tenant work or wait for a driver; parked and paused ones do not."""
        ...

    async def open_runs(self) -> dict[Status, int]:
        """How many sessions of all tenants have a run that is queued, running, retrying or waiting. Left out are those that
        were made and not used, and paused ones."""
        ...

    async def log_bytes(self, tenant: str | None) -> int:
        """Bytes of what is in the logs of just this tenant's sessions: bodies of events, but for the last
        16 KiB of each. As cheap as a look at one row."""
        ...

    def has_ended(self, owner: str) -> bool:
        """True when `owner` was a process with this store (its own `owner`) and has surely ended."""
        ...

    async def others(self) -> frozenset[str]:
        """A name for each other process that drives sessions of this store, as far as that can be told. When one is missing
        that was there before, what it drove may be gone on with. Cheap: it reads nothing of what is stored."""
        ...

    async def flush(self) -> None:
        """Return when everything appended before is as durable as the store's level promises."""
        ...

    def publish(self, delta: Delta) -> None:
        """Show a delta to whoever watches the session now, in this process and others. Never blocks, may drop."""
        ...

    def watch(self, session: SessionId, show: Callable[[Delta], None]) -> Callable[[], None]:
        """Call `show` with each delta of the session from now on; what is on its way is first shown from its beginning.

        Returns the function that ends it. `show` runs on the event loop and must not block.
        """
        ...

    async def close(self) -> None: ...
