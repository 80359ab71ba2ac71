"""Started sessions: how sessions of a runtime begin, how handles open on them, and which there are.

Owns the first append of a session, where it stands below the one it works for, and what is put in place in this process when
a handle opens. Leaves out who drives (`dispatch`) and what handles ask (`home`). Rules: all that can be refused is refused
before anything is stored; a handle that does not drive puts nothing in place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..contracts import SessionHandle, SessionRow
from ..core.agent import AgentRef, AgentSpec
from ..core.errors import InvalidArgument, SubagentLimit
from ..core.events import Labels, SessionCreated
from ..core.gate import Status
from ..core.ids import IdSource, SessionId
from ..core.lanes import DeadLetter
from ..core.record import RecordLimits
from ..engine.direct import close_lost_calls
from ..engine.handles import id_of
from ..engine.log import create_log, load_state
from ..engine.session import Session
from ..engine.todos import new_goal
from .agents import Agent
from .configured import Configs, hooks_of
from .created_agents import CreatedAgents
from .home import base_name
from .lane_tasks import LaneTasks
from .transfers import Transfers
from .workspaces import existing_folder

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class StartedSessions(CreatedAgents, Transfers):
    """What a runtime does to start sessions, open and list them."""

    ids: IdSource
    records: RecordLimits
    external_tasks: LaneTasks
    _config: Configs

    async def start_session(
        self,
        agent: Agent | AgentSpec | AgentRef | str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Labels | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        parent: SessionHandle | str | None = None,
        parent_depth: int | None = None,
        vaults: Sequence[str] = (),
        goal: str | None = None,
        drive: bool = True,
    ) -> Session:
        """A new session of the agent, its status queued until it first runs.

        `workspace`: an existing folder; `environment`: variables for its commands. `session`: an id of your own.
        `parent`: the session this one works for, or its id; its budgets for its tree count here as well. `parent_depth`: in
        its place, how deep somebody elsewhere stands whom this one works for; SubagentLimit when that is too deep. `vaults`:
        whose credentials its MCP servers may be given. `goal`: what it is to come to, as for `Session.set_goal`.
        AgentNotFound, SessionExists, SessionNotFound (no such parent), InvalidArgument (no such folder, or a parent that is
        no session), ToolNotFound, ConfigurationError (the sandbox that the agent demands cannot be had here); what `create`
        raises for an agent that is given whole, or is to be driven here.
        """
        folder = existing_folder(workspace)
        ref, spec = await self._stored(agent, folder)
        if drive:
            self._check_models_of(spec)
        await self._check_sandbox(spec, folder)
        session_id = self.new_session_id(session)
        self.parts.standing(folder)  # a wrong file is told before anything is stored
        above, root, depth = None, None, 0
        if parent is not None:
            above, root, depth, labels = await self._below(id_of(parent), labels)
        elif parent_depth is not None:
            depth = parent_depth + 1
            if depth > spec.limits.max_depth:
                raise SubagentLimit(
                    f"a session at depth {depth} would be deeper than the limit of {spec.limits.max_depth}",
                    depth=depth,
                    limit=spec.limits.max_depth,
                )
        created = SessionCreated(
            ref,
            folder,
            dict(environment or {}),
            labels or Labels(),
            name,
            dict(metadata or {}),
            above,
            root,
            depth,
            vaults=tuple(vaults),
        )
        set_goal = [] if goal is None else [new_goal(goal, self.tools_of(spec, folder), self.ids)]
        await create_log(self.store, session_id, [created, *set_goal], self.clock)
        return await self._handle(session_id, spec, drive, source="startup")

    async def _stored(self, agent: Agent | AgentSpec | AgentRef | str, folder: str | None) -> tuple[AgentRef, AgentSpec]:
        """See `Transfers._stored`."""
        if isinstance(agent, AgentRef):
            return await self.store.get_agent(agent.name, agent.version)
        if isinstance(agent, str):
            return await self.store.get_agent(agent)
        ref = await self._create(agent, folder)
        return await self.store.get_agent(ref.name, ref.version)

    def new_session_id(self, given: str | None) -> SessionId:
        """See `ForkHome.new_session_id`."""
        if given is not None and not _SESSION_ID.fullmatch(given):
            raise InvalidArgument(
                f"session id {given!r}: letters, digits and . _ : - only, 1 to 128 of them, a letter or digit first",
                session=given,
            )
        return SessionId(given or self.ids.new("ses"))

    def fork_folder(self, given: str | os.PathLike[str]) -> str:
        """See `ForkHome.fork_folder`."""
        folder = existing_folder(given)
        assert folder is not None
        return folder

    async def open_fork(self, session: SessionId, *, drive: bool) -> Session:
        """See `ForkHome.open_fork`."""
        return await self.open_session(session, drive=drive)

    async def _below(self, parent: SessionId, labels: Labels | None) -> tuple[SessionId, SessionId, int, Labels]:
        """Where a session stands that works for this one: its parent, the first in the line, its depth, its labels.

        SessionNotFound; SubagentLimit when it would be too deep; InvalidArgument for a session of another tenant.
        """
        state = await load_state(self.store, parent)
        given = state.labels if labels is None else labels
        if given.tenant != state.labels.tenant:
            raise InvalidArgument(f"session {parent!r} is of another tenant", parent=parent)
        assert state.agent is not None
        _, spec = await self.store.get_agent(state.agent.name, state.agent.version)
        if state.depth + 1 > spec.limits.max_depth:
            raise SubagentLimit(
                f"a session at depth {state.depth + 1} would be deeper than the limit of {spec.limits.max_depth}",
                depth=state.depth + 1,
                limit=spec.limits.max_depth,
            )
        return parent, state.root or parent, state.depth + 1, given

    async def open_session(
        self, session: str, *, agent: Agent | None = None, drive: bool = True, context: Any = None
    ) -> Session:
        """A handle for a stored session. An open run goes on here at once, unless a living process drives it.

        `agent`: brings its function tools and commands into this process. `drive=False`: only watch and control it.
        `context`: the value for function tools of the run that goes on. SessionNotFound, ToolNotFound, ConfigurationError
        (the sandbox that the agent demands cannot be had here).
        """
        session_id = SessionId(session)
        row = await self.store.session(session_id)
        if agent is not None:
            self._bring(agent)
        _, spec = await self.store.get_agent(row.agent.name, row.agent.version)
        if drive:
            self.tools_of(spec, row.workspace)
            await self._check_sandbox(spec, row.workspace)
        handle = await self._handle(session_id, spec, drive, context)
        if drive:
            self.wake(session_id)
        return handle

    async def _handle(
        self, session: SessionId, spec: AgentSpec, drive: bool, context: Any = None, *, source: str = "resume"
    ) -> Session:
        state = await load_state(self.store, session)
        hooks = self.hooks(session)
        if state.parent is not None:
            await self._inherit(session, state.parent, keep=drive)
        if drive and state.gate.tasks:
            self.subagents.look(session)
        if drive and state.own_calls:
            await close_lost_calls(self.store, session, state, self.clock, self.parts.owner)
        handle = Session(self, session, state, spec, drives=drive)
        del hooks  # until here nobody else may have held them
        if drive:
            self.guards.opened(session, base_name(spec))
            for spec_of_file in hooks_of(self._config, state.workspace):
                self.hooks(session).register(spec_of_file)
            await self.hooks(session).opened(source, agent=spec.name, model=handle.model)
            self.external_tasks.look_after(state)
            self._dispatcher.open(session, handle.session_cancel_token, context, None if state.run is None else state.run.id)
            if state.parent is not None:
                self.subagents.ancestors.follow(session, state.parent)
            for part in (self._tracing, *self._attendants):
                if part is not None:
                    part.follow(session, state.seq)
        return handle

    async def dead_letters(self) -> list[DeadLetter]:
        """Calls of all sessions, of whatever tenant, whose last try outside failed, the oldest first. What is done about one
        is its session's: `Session.requeue_dead_letter`, `drop_dead_letter`."""
        tenants = {row.labels.tenant for row in await self.sessions(limit=1 << 30)}
        found = [one for tenant in tenants for one in await self.external_tasks.dead_letters(tenant=tenant)]
        return sorted(found, key=lambda letter: letter.failed_ms)

    async def sessions(
        self,
        *,
        limit: int = 50,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        tenant: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
        parent: str | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """Sessions by newest activity. `parent`: only those that work for this one themselves; `top_level`: only
        those that work for none. InvalidArgument for both."""
        return await self.store.sessions(
            limit=limit,
            statuses=statuses,
            workspace=workspace,
            tenant=tenant,
            prefix=prefix,
            include_archived=include_archived,
            parent=None if parent is None else SessionId(parent),
            top_level=top_level,
        )
