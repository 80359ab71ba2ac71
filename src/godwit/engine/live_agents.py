"""Live agents: the part of a session's handle that gives it further subagents.

Owns how they become a part of the session: its agent goes on as a variant that has them, so that they are known wherever
and whenever the session is opened. Leaves out reading files, and what a worker's kind means. Rule: a drive
keeps the tools it began its run with, so that the model's prompt stays the same; `Session.tasks` takes new ones at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..core.agent import AgentSpec, with_subagents
from ..core.worker_agents import WorkerAgentSpec
from .agent_changes import AgentChanges


class LiveAgents(AgentChanges):
    """Subagents that are added while a session lives (seed 001)."""

    async def register_agents(self, agents: Iterable[AgentSpec | WorkerAgentSpec]) -> list[AgentSpec]:
        """Have this session know these agents as subagents, in place of those of their names; returns them as it knows them.

        Its model is told of them when the session is next driven, from the next run on at the latest; `Session.tasks` takes
        them at once. They are stored with the session.
        None is registered unless all can be: ConfigurationError, ModelNotFound, AuthenticationFailed, ToolNotFound.
        """
        self._check_open()
        made = [one.agent() if isinstance(one, WorkerAgentSpec) else one for one in agents]
        if self._drives:
            for one in made:
                await self._home.check_subagent(one, self.workspace)
        await self._change_agent(lambda spec: with_subagents(spec, made))
        return made

    async def register_worker_agent(self, worker: WorkerAgentSpec) -> AgentSpec:
        """Have this session know the agent that this comes to, see `register_agents`."""
        return (await self.register_agents([worker]))[0]

    async def register_worker_agents(self, workers: Iterable[WorkerAgentSpec]) -> list[AgentSpec]:
        """The same for several, all of them or none."""
        return await self.register_agents(workers)

    async def register_agent_dir(self, folder: str | os.PathLike[str]) -> int:
        """Have this session know the agents of the files in this folder (`*.md`, `*.yaml`, `*.yml`) and those below it;
        returns how many. A folder that is not there holds none.

        What is wrong with a file is logged with its line, and the others are taken; `host.agent_files.load` tells it to
        programs. Errors: those of `register_agents`.
        """
        self._check_open()
        found = await self._home.agents_in(folder, self.workspace)
        return len(await self.register_agents(found)) if found else 0


__all__ = ["LiveAgents"]
