"""History: reads of a log what projections are made of, so that nobody folds more of it than is asked for.

A projection begins between two runs; what stands there is found from the folded state and the few events that changed it
since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec

from ...contracts import Store
from ...core.agent import AgentRef
from ...core.events import (
    AgentMessage,
    Event,
    InputDelivered,
    RunStarted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    UsageRecorded,
    UserMessage,
)
from ...core.ids import ActionId, InputId, RunId, Seq, SessionId
from ...core.messages import Usage, UserBlock
from ...engine.log import load_state
from ..server.settings import ServerSettings
from .ids import Place
from .projection import PROJECTED, Projection
from .views import Facts, ShownAgent, Turn, shown_in_session

PAGE = 256
FACT_TYPES = ("session.created", "session.forked", "session.configured")
"""What says which agent a session has, and where it works."""
"""Events read at a time."""


class Told(msgspec.Struct, frozen=True):
    """A turn, and its items in their order."""

    turn: Turn
    items: Sequence[tuple[Place, dict[str, Any]]]


class History:
    """Reads one session's log."""

    def __init__(self, store: Store, session: SessionId, settings: ServerSettings) -> None:
        self._store = store
        self._session = session
        self._settings = settings
        self.agents: dict[AgentRef, ShownAgent] = {}
        """Those that were met, as projections show them."""
        self.at: Seq = 0
        """Where the newest projection began."""

    # --- agents --------------------------------------------------------------------------------------------------

    async def know(self, event: Event) -> None:
        """See to it that the agent which this event names can be shown."""
        data = event.data
        if isinstance(data, SessionCreated | SessionForked | SessionConfigured) and data.agent is not None:
            await self._know(data.agent)

    async def _know(self, ref: AgentRef) -> None:
        if ref not in self.agents:
            _, spec = await self._store.get_agent(ref.name, ref.version)
            self.agents[ref] = shown_in_session(ref, spec, self._settings)

    # --- projections ---------------------------------------------------------------------------------------------

    async def boundary(self, at: Seq) -> Seq:
        """The last place between two runs that is not behind `at`."""
        started = await self._store.read(self._session, types=("run.started",), to_seq=at, newest_first=True, limit=1)
        return started[-1].seq - 1 if started else 0

    async def begin(self, at: Seq) -> Projection:
        """A projection that has taken in what is there up to `at`, a place between two runs."""
        self.at = at
        if at == 0:
            return Projection(self._session, self.agents)
        store, session = self._store, self._session
        state = await load_state(store, session)
        facts: Facts | None = None
        for event in await store.read(session, types=FACT_TYPES, to_seq=at):
            await self.know(event)
            data = event.data
            if isinstance(data, SessionCreated | SessionForked):
                hosted = data.workspace is not None
                facts = Facts(0, event.at_ms, event.at_ms, data.agent, hosted, data.metadata, vaults=data.vaults)
            elif isinstance(data, SessionConfigured) and facts is not None:
                facts = msgspec.structs.replace(
                    facts,
                    agent=data.agent or facts.agent,
                    metadata=facts.metadata if data.metadata is None else data.metadata,
                    budgets=facts.budgets if data.budgets is None else data.budgets,
                )
        assert facts is not None, "a log begins with session.created"
        (last,) = await store.read(session, at - 1, to_seq=at)
        usage = state.usage
        for event in await store.read(
            session, max(at, state.forked_at), types=("agent.message", "usage.recorded"), to_seq=state.seq
        ):
            data = event.data
            if isinstance(data, AgentMessage):
                usage = _without(usage, data.message.usage)
            elif isinstance(data, UsageRecorded):
                usage = _without(usage, data.usage)
        archived = state.gate.archived and at >= state.seq
        facts = msgspec.structs.replace(facts, seq=at, active_ms=last.at_ms, usage=usage, archived=archived)
        waiting = await self._waiting(at, state.seq, [q.id for q in state.gate.queue])
        return Projection(session, self.agents, facts, waiting)

    async def _waiting(
        self, at: Seq, to: Seq | None, queued: Iterable[InputId] = ()
    ) -> dict[InputId, tuple[UserBlock, ...]]:
        """The messages that were accepted up to `at` and delivered behind it up to `to`, or are `queued`."""
        wanted = set(queued)
        for event in await self._store.read(self._session, at, types=("input.delivered", "user.message"), to_seq=to):
            if isinstance(event.data, InputDelivered):
                wanted.add(event.data.id)
        for event in await self._store.read(self._session, at, types=("user.message",), to_seq=to):
            if isinstance(event.data, UserMessage):
                wanted.discard(event.data.id)
        found: dict[InputId, tuple[UserBlock, ...]] = {}
        before = at
        while wanted and before > 0:
            page = await self._store.read(
                self._session, types=("user.message",), to_seq=before, newest_first=True, limit=PAGE
            )
            for event in page:
                if isinstance(event.data, UserMessage) and event.data.id in wanted:
                    wanted.discard(event.data.id)
                    found[event.data.id] = event.data.content
            if len(page) < PAGE:
                break
            before = page[-1].seq - 1
        return found

    async def events(self, *, to: Seq) -> AsyncIterator[Event]:
        """What follows where the newest projection began, up to `to`; the agents it names are known."""
        seq = self.at
        while seq < to:
            events = await self._store.read(self._session, seq, limit=PAGE, to_seq=to)
            for event in events:
                await self.know(event)
                yield event
                seq = event.seq
            if len(events) < PAGE:
                return

    async def feed(self, projection: Projection, to: Seq) -> None:
        """Let the projection take in what is stored up to `to`."""
        async for event in self.events(to=to):
            if event.seq > projection.seq:
                projection.apply(event)

    async def now(self) -> Projection:
        """The session as it stands."""
        row = await self._store.session(self._session)
        projection = await self.begin(row.head if row.run is None else await self.boundary(row.head))
        await self.feed(projection, row.head)
        return projection

    # --- turns ---------------------------------------------------------------------------------------------------

    async def starts(self, *, ascending: bool, behind: Seq | None = None, limit: int | None = None) -> list[Event]:
        """The beginnings of runs, from one end of the log or from behind a seq."""
        if ascending:
            return await self._store.read(self._session, behind or 0, types=("run.started",), limit=limit)
        to = None if behind is None else behind - 1
        return await self._store.read(self._session, types=("run.started",), to_seq=to, newest_first=True, limit=limit)

    async def start_of(self, run: str) -> Event | None:
        """The beginning of the run of this id."""
        before: Seq | None = None
        while True:
            page = await self.starts(ascending=False, behind=before, limit=PAGE)
            for event in page:
                if isinstance(event.data, RunStarted) and event.data.run == RunId(run):
                    return event
            if len(page) < PAGE:
                return None
            before = page[-1].seq

    async def turn(self, start: Event) -> Told:
        """The turn that begins with this event, as far as it has come. Its items are in the order in which they began."""
        projection = await self._turn(start)
        assert projection.turn is not None
        return Told(projection.turn, sorted(projection.items.items()))

    async def action_of(self, turn: str, call: str) -> ActionId | None:
        """The action by which that turn asked for this function's result, answered or not."""
        start = await self.start_of(turn)
        return None if start is None else (await self._turn(start)).results.get(call)

    async def _turn(self, start: Event) -> Projection:
        projection = await self._begin_turn(start)
        follows = await self._store.read(self._session, start.seq, types=("run.finished", "run.started"), limit=1)
        to = follows[0].seq if follows else (await self._store.session(self._session)).head
        while projection.seq < to:
            events = await self._store.read(self._session, projection.seq, limit=PAGE, to_seq=to, types=PROJECTED)
            for event in events:
                await self.know(event)
                projection.apply(event)
            if len(events) < PAGE:
                break
        return projection

    async def _begin_turn(self, start: Event) -> Projection:
        """A projection for the items of one turn alone: what the session has used before does not matter to them."""
        at = start.seq - 1
        refs = await self._store.read(self._session, types=FACT_TYPES, to_seq=at)
        agent: AgentRef | None = None
        hosted = False
        for event in refs:
            if isinstance(event.data, SessionCreated | SessionForked):
                agent, hosted = event.data.agent, event.data.workspace is not None
            elif isinstance(event.data, SessionConfigured):
                agent = event.data.agent or agent
        assert agent is not None, "a log begins with session.created"
        await self._know(agent)
        facts = Facts(at, 0, 0, agent, hosted)
        follows = await self._store.read(self._session, start.seq, types=("run.started",), limit=1)
        waiting = await self._waiting(start.seq, follows[0].seq if follows else None)
        return Projection(self._session, self.agents, facts, waiting)


def _without(usage: Usage, later: Usage) -> Usage:
    """What was used before these."""
    return Usage(
        usage.input_tokens - later.input_tokens,
        usage.output_tokens - later.output_tokens,
        usage.cache_read_tokens - later.cache_read_tokens,
        usage.cache_write_tokens - later.cache_write_tokens,
        usage.thinking_tokens - later.thinking_tokens,
        usage.requests - later.requests,
        None if usage.cost_usd is None else max(0.0, usage.cost_usd - (later.cost_usd or 0.0)),
    )
