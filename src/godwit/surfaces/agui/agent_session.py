"""A session of an agent towards a front end: runs that start and end, over any producer of events.

Each event is checked, then sent, then taken in, one after the other. So one that may not come leaves the session and the
front end as they were, and so does one that could not be sent: the run goes on, and it can be tried again. A run ends once.
"""

from __future__ import annotations

import asyncio
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, cast

import msgspec

from .authoring import Author
from .events import (
    PROTOCOL_VERSION,
    AnyEvent,
    Cancelled,
    Event,
    Interrupt,
    Interrupted,
    RunError,
    RunFinished,
    RunStarted,
    StateDelta,
    StateSnapshot,
    SubagentFinished,
    SubagentSuspended,
    Success,
    TokenUsage,
)
from .fields import check_fields
from .items import new_id
from .open_items import Open
from .patches import create_patch
from .producer import EventProducer
from .profiles import PAYLOAD, Profile, adapt
from .seed_events import SeedInterrupt, SeedRunFinished
from .state import TypedStateManager, to_json
from .verifier import Verifier

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    P = TypeVar("P", bound=EventProducer)
    S = TypeVar("S", default=Any)
else:  # Python 3.11 has no defaults of these, and only type checkers read them
    P, S = typing.TypeVar("P"), typing.TypeVar("S")

INPUT_REQUIRED = "input_required"
"""Why a run is interrupted where nothing else is said, in the protocol's words."""


class AgentSession(Author, Generic[P, S]):
    """One thread. `state`: what is shared with the front end, JSON (an empty object by default) or of a type of yours."""

    def __init__(
        self,
        producer: P,
        thread_id: str | None = None,
        *,
        state: S | None = None,
        profile: Profile = "1.0",
    ) -> None:
        self.producer = producer
        self.thread_id = thread_id or new_id()
        self.profile: Profile = profile
        self._verifier = Verifier()
        self._lock = asyncio.Lock()
        self.state: SessionState[S] = SessionState(self, cast("S", {} if state is None else state))

    @classmethod
    def with_thread_id(cls, producer: P, thread_id: str) -> AgentSession[P, Any]:
        return cls(producer, thread_id)

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str | None:
        """The run that is open."""
        return self._verifier.run_id if self.is_running else None

    @property
    def is_running(self) -> bool:
        return self._verifier.running

    @property
    def is_connected(self) -> bool:
        """The producer still reaches somebody."""
        return self.producer.is_connected

    @property
    def open(self) -> tuple[Open, ...]:
        """What has begun in this run and not ended; as texts they are for people."""
        return self._verifier.open

    def _speaks_through(self) -> EventProducer:
        return self

    # --- events ------------------------------------------------------------------------------------------------------

    async def emit(self, event: Event) -> None:
        """Sends an event. IllegalStream where it may not come now; what the producer raises where it could not be sent."""
        async with self._lock:
            await self._send(event)

    async def emit_many(self, events: Sequence[Event]) -> None:
        """Sends events in order, and no other between them, up to the first that fails."""
        async with self._lock:
            for event in events:
                await self._send(event)

    async def _send(self, event: Event, sent: list[Event] | None = None) -> None:
        """Within the lock. `sent`: what goes out in its place."""
        given = cast("AnyEvent", event)  # the verifier refuses what is none
        self._verifier.check(given)
        sent = adapt(given, self.profile) if sent is None else sent
        if len(sent) == 1:
            await self.producer.emit(sent[0])
        elif sent:
            await self.producer.emit_many(sent)
        self._verifier.apply(given)

    # --- runs --------------------------------------------------------------------------------------------------------

    async def start_run(
        self,
        run_id: str | None = None,
        *,
        parent_run_id: str | None = None,
        input: dict[str, Any] | None = None,  # noqa: A002  the protocol's name
    ) -> str:
        """Starts a run and gives its id, one at random where none is given. `input`: what it was asked with, to be told
        back. IllegalStream while another is running."""
        run_id = run_id or new_id()
        event = RunStarted(
            thread_id=self.thread_id,
            run_id=run_id,
            protocol_version=PROTOCOL_VERSION,
            parent_run_id=parent_run_id,
            input=input,
        )
        async with self._lock:
            await self._send(event)
            self.state._begin()
        return run_id

    async def finish_run(
        self,
        result: Any = None,
        *,
        usage: Sequence[TokenUsage] | None = None,
        pending_tool_call_ids: Sequence[str] | None = None,
        close: bool = False,
    ) -> None:
        """Ends the run as done; does nothing where none is open. What is still open within it is refused by name, or ended
        first with `close`. `pending_tool_call_ids`: calls that the front end is to answer."""
        outcome = Success(pending_tool_call_ids=list(pending_tool_call_ids)) if pending_tool_call_ids else None
        await self._finish(lambda: self._finished(outcome, usage, result), close=close)

    async def cancel_run(self, *, usage: Sequence[TokenUsage] | None = None, close: bool = True) -> None:
        """Ends the run as stopped, which is no success and no failure; does nothing where none is open. What is open within
        it is ended first, unless `close` is False."""
        await self._finish(lambda: self._finished(Cancelled(), usage), close=close)

    async def run_error(self, message: str, *, usage: Sequence[TokenUsage] | None = None) -> None:
        """Ends the run as failed; does nothing where none is open."""
        await self._fail(message, None, usage)

    async def run_error_with_code(self, message: str, code: str, *, usage: Sequence[TokenUsage] | None = None) -> None:
        """The same, with what programs tell it by."""
        await self._fail(message, code, usage)

    async def _fail(self, message: str, code: str | None, usage: Sequence[TokenUsage] | None) -> None:
        used = None if usage is None else list(usage)
        await self._finish(lambda: RunError(message=message, code=code, usage=used), close=False)

    # --- interrupts --------------------------------------------------------------------------------------------------

    async def interrupt(self, reason: str | None = None, payload: Any = None, *, close: bool = False) -> str | None:
        """Ends the run because it needs something from outside, and gives the id that an answer names; does nothing where
        none is open. `payload`: what the front end needs to ask for it."""
        return await self._interrupt(None, reason, payload, close)

    async def interrupt_with_id(
        self, interrupt_id: str, reason: str | None = None, payload: Any = None, *, close: bool = False
    ) -> str | None:
        """The same under an id of yours."""
        return await self._interrupt(interrupt_id, reason, payload, close)

    async def interrupt_all(
        self, interrupts: Sequence[Interrupt], *, usage: Sequence[TokenUsage] | None = None, close: bool = False
    ) -> None:
        """The same for several at once, each with its own schema of an answer. Subagents that `close` ends are suspended, by
        the interrupts that are theirs."""
        await self._finish(lambda: self._finished(Interrupted(interrupts=list(interrupts)), usage), close=close)

    async def _interrupt(self, interrupt_id: str | None, reason: str | None, payload: Any, close: bool) -> str | None:
        if not self.is_running:
            return None
        one = Interrupt(
            id=new_id() if interrupt_id is None else interrupt_id,
            reason=INPUT_REQUIRED if reason is None else reason,
            metadata=None if payload is None else {PAYLOAD: payload},
        )
        # the seed's shape tells what was given, and nothing that was made up for it
        given = SeedInterrupt(id=interrupt_id, reason=reason, payload=payload) if self.profile == "seed" else None
        await self._finish(lambda: self._finished(Interrupted(interrupts=[one]), None), close=close, interrupt=given)
        return one.id

    # --- inside ------------------------------------------------------------------------------------------------------

    def _finished(
        self, outcome: Success | Interrupted | Cancelled | None, usage: Sequence[TokenUsage] | None, result: Any = None
    ) -> RunFinished:
        return RunFinished(
            thread_id=self.thread_id,
            run_id=self.run_id or "",
            result=result,
            outcome=outcome,
            usage=None if usage is None else list(usage),
        )

    async def _finish(
        self, make: Callable[[], RunFinished | RunError], *, close: bool, interrupt: SeedInterrupt | None = None
    ) -> None:
        async with self._lock:
            if not self.is_running:
                return
            event = make()
            if close:
                check_fields(event)  # before anything is ended for it
                for end in _suspended(self._verifier.closing(), event):
                    await self._send(end)
            if interrupt is None:
                await self._send(event)
            else:
                run_id = self.run_id or ""
                one = SeedRunFinished(thread_id=self.thread_id, run_id=run_id, outcome="INTERRUPT", interrupt=interrupt)
                await self._send(event, [one])


class SessionState(Generic[S]):
    """The state of a session. In each run it is told as a whole first, for the front end may begin with another one, and as
    patches then. What could not be sent is not taken in."""

    def __init__(self, session: AgentSession[Any, S], state: S) -> None:
        self._session = session
        self._manager = TypedStateManager(state)
        self._told = False

    @property
    def current(self) -> S:
        """A copy of the state."""
        return self._manager.current

    @property
    def version(self) -> int:
        """How often it has changed."""
        return self._manager.version

    def snapshot(self) -> Any:
        """The state as JSON."""
        return self._manager.snapshot()

    async def update(self, state: S) -> None:
        """Takes a new state and tells it; nothing is sent where the front end has it already."""
        async with self._session._lock:
            await self._tell(state)

    async def update_with(self, change: Callable[[S], S | None]) -> None:
        """The same with what `change` makes of a copy of the state: what it returns, or the copy where it returns None."""
        async with self._session._lock:
            copy = self.current
            made = change(copy)
            await self._tell(copy if made is None else made)

    async def reset(self, state: S) -> None:
        """Takes a new state and tells it as a whole."""
        async with self._session._lock:
            await self._session._send(StateSnapshot(snapshot=to_json(state)))
            self._manager.reset(state)
            self._told = True

    async def _tell(self, state: S) -> None:
        new = to_json(state)
        if self._told:
            patch = create_patch(self._manager.as_json(), new)
            if not patch:
                return
            await self._session._send(StateDelta(delta=patch))
        else:
            await self._session._send(StateSnapshot(snapshot=new))
        self._manager.update(state)
        self._told = True

    def _begin(self) -> None:
        self._told = False


def _suspended(closing: list[AnyEvent], event: RunFinished | RunError) -> list[AnyEvent]:
    """The ends of subagents as suspensions, where the run ends with an interrupt."""
    if not isinstance(event, RunFinished) or not isinstance(event.outcome, Interrupted):
        return closing
    theirs: dict[str, list[str]] = {}
    for one in event.outcome.interrupts:
        if one.subagent_run_id is not None:
            theirs.setdefault(one.subagent_run_id, []).append(one.id)
    return [
        msgspec.structs.replace(end, outcome=SubagentSuspended(interrupt_ids=theirs.get(end.subagent_run_id)))
        if isinstance(end, SubagentFinished)
        else end
        for end in closing
    ]
