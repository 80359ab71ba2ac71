"""Registered agents: those that a runtime knows beside the stored ones, from code and from files, and sessions of them.

Owns what is registered in this process, and how such an agent becomes a part of those that name it as a subagent: as it is
when they are created, so that a restart knows it. Leaves out how files are read (`agent_files`). Rules: a name that is
registered means the registered agent, before one that is stored or built in; nothing registered changes an agent that was
created before.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from ..core.agent import AgentRef, AgentSpec, variant_of
from ..core.errors import AgentNotFound, ConfigurationError
from ..core.narrowing import INHERIT
from ..core.worker_agents import WorkerAgentSpec
from ..engine.session import Session
from .agent_files import AgentFiles, load
from .builtin_agents import ALIASES, BUILTIN_AGENTS
from .by_id import SessionsById

logger = logging.getLogger("godwit")


class RegisteredAgents(SessionsById):
    """What a runtime does with agents that are stored nowhere yet."""

    _registered: dict[str, AgentSpec]

    async def register_agents(self, agents: Iterable[AgentSpec | WorkerAgentSpec]) -> list[AgentSpec]:
        """Know these agents by their names, in place of those of the same names; returns them as they are known.

        Agents that are created from now on may name them in `subagents`, and `session_for_agent` takes them. None is
        registered unless all can be: ConfigurationError, ModelNotFound, AuthenticationFailed, ToolNotFound.
        """
        made = [one.agent() if isinstance(one, WorkerAgentSpec) else one for one in agents]
        for one in made:
            await self.check_subagent(one, None)
        self._registered.update({one.name: one for one in made})
        return made

    async def register_worker_agent(self, worker: WorkerAgentSpec) -> AgentSpec:
        """The same for the agent that this comes to."""
        return (await self.register_agents([worker]))[0]

    async def register_worker_agents(self, workers: Iterable[WorkerAgentSpec]) -> list[AgentSpec]:
        """The same for several, all of them or none."""
        return await self.register_agents(workers)

    async def register_agent_dir(self, folder: str | os.PathLike[str]) -> int:
        """Know the agents of the files in this folder (`*.md`, `*.yaml`, `*.yml`) and those below it; returns how many. A
        folder that is not there holds none.

        What is wrong with a file is logged with its line, and the others are taken; `host.agent_files.load` tells it to
        programs. Errors: those of `register_agents`.
        """
        return len(await self.register_agents(await self.agents_in(folder, None)))

    def registered_agents(self) -> list[AgentSpec]:
        """Those that are registered, by their names."""
        return [self._registered[name] for name in sorted(self._registered)]

    async def session_for_agent(
        self,
        agent: str | AgentSpec,
        *,
        workspace: str | os.PathLike[str] | None = None,
        model: str | None = None,
        **more: Any,
    ) -> Session:
        """A new session of a registered, built-in or stored agent, or of this one.

        `model`: in place of the agent's; needed where it takes those of whoever it works for. `more`: as `start_session` has
        it. AgentNotFound, ConfigurationError without a model, and the errors of `start_session`.
        """
        spec = agent if isinstance(agent, AgentSpec) else await self._named(agent)
        if model is not None:
            spec = msgspec.structs.replace(spec, models=(model,))
        elif spec.models == (INHERIT,):
            raise ConfigurationError(f"agent {spec.name!r} has no model of its own: name one, as model=...", agent=spec.name)
        # Under a name of its own, so that no stored agent of this name becomes another.
        return await self.start_session(variant_of(AgentRef(spec.name, 0), spec), workspace=workspace, **more)

    async def session_for_worker(
        self,
        worker: WorkerAgentSpec,
        *,
        workspace: str | os.PathLike[str] | None = None,
        model: str | None = None,
        **more: Any,
    ) -> Session:
        """A new session of the agent that this comes to, see `session_for_agent`."""
        return await self.session_for_agent(worker.agent(), workspace=workspace, model=model, **more)

    async def _named(self, name: str) -> AgentSpec:
        if name in self._registered:
            return self._registered[name]
        try:
            return (await self.store.get_agent(name))[1]
        except AgentNotFound:
            builtin = BUILTIN_AGENTS.get(ALIASES.get(name, name))
            if builtin is None:
                raise
            return builtin

    def _with_registered(self, spec: AgentSpec) -> AgentSpec:
        """The agent with those of its subagents that are registered as a part of it."""
        own = {
            name: self._registered[name]
            for name in spec.subagents
            if name in self._registered and name not in spec.subagent_specs
        }
        if not own:
            return spec
        told = {name: what or own[name].description if name in own else what for name, what in spec.subagents.items()}
        shown = {name: msgspec.structs.replace(one, hidden=False) for name, one in own.items()}
        return msgspec.structs.replace(spec, subagents=told, subagent_specs={**spec.subagent_specs, **shown})

    async def agents_in(self, folder: str | os.PathLike[str], workspace: str | None) -> list[AgentSpec]:
        """See `engine.handle.Home.agents_in`."""
        whole = os.path.abspath(os.path.expanduser(os.fspath(folder)))

        def read() -> AgentFiles:
            return load(whole, tools=lambda name: self._tools_named(name, workspace))

        found = await asyncio.to_thread(read)
        for problem in found.problems:
            logger.log(logging.WARNING if problem.fatal else logging.INFO, "agent file %s", problem)
        return found.specs


__all__ = ["RegisteredAgents"]
