"""Child sessions: which agents a session may ask, as what they then work, and how the session of one is made.

Leaves out when one is made and asked (`subagents`). Rule: a child may never do more than those it works for: its agent is
narrowed as it is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..core.agent import AgentRef, AgentSpec, variant_of
from ..core.errors import AgentNotFound, ConfigurationError, GodwitError, SessionExists
from ..core.events import SessionCreated, SubagentStarted
from ..core.ids import AgentName, SessionId
from ..core.narrowing import narrowed
from ..core.state import State
from ..core.tasks import TaskRequest
from ..engine.context import models_now
from ..engine.log import create_log
from ..tools.schema import Schema
from .builtin_agents import ALIASES, BUILTIN_AGENTS
from .descendants import check_number, check_room
from .subagent_part import Host, SubagentPart

logger = logging.getLogger("godwit")


class ChildSessions(SubagentPart):
    """Makes the children of sessions."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._making = asyncio.Lock()

    async def known(self, spec: AgentSpec) -> Mapping[AgentName, AgentSpec]:
        """See `Subagents.known`. One of its own name goes before a built-in one."""
        found: dict[AgentName, AgentSpec] = {AgentName(name): own for name, own in spec.subagent_specs.items()}
        for name in spec.subagents:
            if name in found:
                continue
            try:
                found[AgentName(name)] = (await self._store.get_agent(spec.subagent_ids.get(name, name)))[1]
            except AgentNotFound:
                builtin = BUILTIN_AGENTS.get(ALIASES.get(name, name))
                if builtin is None:
                    raise
                found[AgentName(name)] = builtin
        return found

    async def check(self, session: SessionId, spec: AgentSpec, depth: int, requests: Sequence[TaskRequest]) -> None:
        """See `Subagents.check`."""
        strangers = sorted({r.agent for r in requests} - set(spec.subagents) - set(spec.subagent_specs))
        if strangers:
            raise AgentNotFound(
                f"there is no subagent {strangers[0]!r}. Subagents: {', '.join(sorted(spec.subagents)) or 'none'}",
                agent=strangers[0],
            )
        await self.known(spec)
        for request in requests:
            if request.output_schema is not None:
                _schema(request.output_schema)
        await self.room(session, spec, depth, sum(r.continues is None for r in requests))

    async def room(self, session: SessionId, spec: AgentSpec, depth: int, more: int) -> None:
        """Whether a session at this depth may have that many children more. SubagentLimit."""
        await check_room(self._store, session, spec, depth, more)

    async def _make(self, parent: SessionId, state: State, spec: AgentSpec, started: SubagentStarted) -> None:
        """The child's session, under the id that follows from the task."""
        known = await self.known(spec)
        wanted = known.get(started.agent)
        if wanted is None:
            raise AgentNotFound(f"there is no subagent {started.agent!r} any more", agent=started.agent)
        ref = await self._narrowed(wanted, spec, started.max_turns, models=models_now(state, spec))
        async with self._making:
            await check_number(self._store, parent, state, spec, 1)
            await self._create(parent, state, started, ref)

    async def _create(self, parent: SessionId, state: State, started: SubagentStarted, ref: AgentRef) -> None:
        created = SessionCreated(
            ref,
            state.workspace,
            state.environment,
            state.labels,
            started.description or None,
            {},
            parent,
            state.root or parent,
            started.depth,
            started.task,
            state.vaults,
        )
        # Somebody else, or a process before this one, may have made it.
        with contextlib.suppress(SessionExists):
            await create_log(self._store, started.child, [created], self._parts.clock)

    async def narrow(self, wanted: AgentSpec, above: AgentSpec, state: State) -> AgentRef:
        """The agent as it may work for a session of this one, stored. ConfigurationError when the two sandboxes contradict
        each other."""
        return await self._narrowed(wanted, above, None, models=models_now(state, above))

    async def _narrowed(
        self, wanted: AgentSpec, spec: AgentSpec, max_turns: int | None, *, models: tuple[str, ...]
    ) -> AgentRef:
        """The agent as it may work for this one, as a version that is stored. `models`: for one that inherits them."""
        above = msgspec.structs.replace(spec, models=models)
        made = narrowed(wanted, above, home=os.path.expanduser("~"), max_turns=max_turns)
        if left_out := {s.name for s in wanted.mcp_servers} - {s.name for s in made.mcp_servers}:
            names = ", ".join(sorted(left_out))
            logger.warning(
                "agent %s works for %s, which has not these MCP servers, by this name and address: it goes without %s",
                wanted.name,
                spec.name,
                names,
            )
        ref, stored = AgentRef(wanted.name, 0), wanted
        if wanted.name not in spec.subagent_specs:  # else an agent of that name is another one
            with contextlib.suppress(AgentNotFound):
                ref, stored = await self._store.get_agent(wanted.name)
        if made == stored and ref.version:
            return ref
        return await self._store.put_agent(variant_of(ref, made))


def _schema(given: dict[str, Any]) -> Schema:
    try:
        return Schema(given)
    except GodwitError as error:
        raise ConfigurationError(f"output_schema: {error.message}") from None
    except Exception as error:  # a model has written it: it may be anything
        raise ConfigurationError(f"output_schema is no JSON schema: {error}") from None
