"""RemoteAgents: the part of a remote handle that gives its session further subagents.

Leaves out what becomes of them (`engine.live_agents`, on the server). Rule: a folder of agents is one of this machine, read
here, since the caller knows it; what its files say is sent, and no file.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable

from ..core.agent import AgentSpec
from ..core.worker_agents import WorkerAgentSpec
from .handle import RemoteHandle
from .shapes import Listed

logger = logging.getLogger("godwit")


class RemoteAgents(RemoteHandle):
    """Subagents that are added while a session lives; see `engine.live_agents.LiveAgents`."""

    async def register_agents(self, agents: Iterable[AgentSpec | WorkerAgentSpec]) -> list[AgentSpec]:
        """Have the session know these agents as subagents, in place of those of their names; returns them as it knows them.

        None is registered unless all can be: ConfigurationError, ModelNotFound, AuthenticationFailed, ToolNotFound;
        PermissionDenied for one with commands as hooks, or a sandbox of its own, without the scope `admin`.
        """
        made = [one.agent() if isinstance(one, WorkerAgentSpec) else one for one in agents]
        return (await self._post("/subagents", Listed[AgentSpec], {"agents": made})).data

    async def register_worker_agent(self, worker: WorkerAgentSpec) -> AgentSpec:
        """Have the session know the agent that this comes to, see `register_agents`."""
        return (await self.register_agents([worker]))[0]

    async def register_worker_agents(self, workers: Iterable[WorkerAgentSpec]) -> list[AgentSpec]:
        """The same for several, all of them or none."""
        return await self.register_agents(workers)

    async def register_agent_dir(self, folder: str | os.PathLike[str]) -> int:
        """Have the session know the agents of the files in this folder of this machine; returns how many. A folder that is
        not there holds none.

        What is wrong with a file is logged with its line, and the others are taken. Errors: those of `register_agents`.
        """
        from ..host.agent_files import load

        self._check_open()
        found = await asyncio.to_thread(load, os.path.abspath(os.path.expanduser(os.fspath(folder))))
        for problem in found.problems:
            logger.log(logging.WARNING if problem.fatal else logging.INFO, "agent file %s", problem)
        return len(await self.register_agents(found.specs)) if found.specs else 0


__all__ = ["RemoteAgents"]
