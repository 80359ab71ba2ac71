"""Created agents: what a runtime stores of agents, once it has checked that they can work here, and what it keeps beside.

Rule: what cannot work is told when an agent is created, and not when its first run fails.
"""

from __future__ import annotations

import asyncio
import os

import msgspec

from ..contracts import ListsModels, SupportsModelInfo, Tool
from ..core.agent import AgentRef, AgentSpec
from ..core.errors import ModelNotFound
from ..core.model_info import ModelInfo
from ..core.narrowing import INHERIT
from .agent_tools import AgentTools
from .agents import Agent
from .hooks import HOOK_KIT
from .output_types import TypedOutputs
from .registered_agents import RegisteredAgents
from .workspaces import existing_folder


class CreatedAgents(RegisteredAgents):
    """What a runtime does with agents that it stores."""

    outputs: TypedOutputs
    _tools: AgentTools
    _check_models: bool

    async def create(self, agent: Agent | AgentSpec, *, workspace: str | os.PathLike[str] | None = None) -> AgentRef:
        """Store the agent: a new immutable version, or the newest one when nothing changed.

        `workspace`: an existing folder that its sessions are to work in, whose configuration files count for what is checked
        here; it is not stored. ModelNotFound, AuthenticationFailed (a model's key is missing; see `open`'s `check_models`),
        ToolNotFound, InvalidArgument (no such folder); ConfigurationError when a pattern of its hooks cannot be used, or the
        sandbox it demands cannot be had.
        """
        return await self._create(agent, existing_folder(workspace))

    async def _create(self, agent: Agent | AgentSpec, folder: str | None) -> AgentRef:
        spec = agent.spec if isinstance(agent, Agent) else agent
        for hook in spec.hooks:
            HOOK_KIT.matcher(hook)
        if isinstance(agent, Agent):
            self._bring(agent)
            for below in agent.subagents:
                await self._create(below, folder)
        spec = self._with_registered(spec)
        for own in spec.subagent_specs.values():
            await self.check_subagent(own, folder)
        spec = self._with_canonical_models(spec)
        self._check_models_of(spec)
        self.tools_of(spec, folder)
        await self._check_sandbox(spec, folder)
        ref = await self.store.put_agent(spec)
        await self.subagents.known(spec)
        return ref

    async def check_subagent(self, spec: AgentSpec, folder: str | None) -> None:
        """See `engine.handle.Home.check_subagent`."""
        for hook in spec.hooks:
            HOOK_KIT.matcher(hook)
        if spec.output is not None:
            self.outputs.spec(spec.output)
        self._check_models_of(spec)
        self.tools_of(spec, folder)
        await self._check_sandbox(spec, folder)
        await self.subagents.known(spec)
        for own in spec.subagent_specs.values():
            await self.check_subagent(own, folder)

    def _with_canonical_models(self, spec: AgentSpec) -> AgentSpec:
        """The agent as it is stored: a hint means the same model for as long as this version lives. What means no model is
        left as it is, and told when it is checked or asked."""
        if not isinstance(self.models, SupportsModelInfo):
            return spec
        known = self.models.canonical

        def canonical(name: str) -> str:
            try:
                return name if name == INHERIT else known(name)
            except ModelNotFound:
                return name

        models = tuple(canonical(name) for name in spec.models)
        own = {name: self._with_canonical_models(one) for name, one in spec.subagent_specs.items()}
        return msgspec.structs.replace(spec, models=models, subagent_specs=own)

    def _check_models_of(self, spec: AgentSpec) -> None:
        if self._check_models and spec.models != (INHERIT,):
            for model in spec.models:
                self.check_model(model)

    async def _check_sandbox(self, spec: AgentSpec, folder: str | None) -> None:
        if self._places is not None:
            await self._places.check(spec.sandbox, folder)

    def _bring(self, agent: Agent) -> None:
        """What of an agent is Python and not in the database."""
        for below in agent.subagents:
            self._bring(below)
        self._tools.bring(agent.name, agent.functions)
        if agent.output_type is not None:
            self.outputs.spec(agent.output_type)
        self._agent_commands[agent.name] = agent.commands
        self._hook_handlers[agent.name] = dict(agent.hook_handlers)
        self.guards.bring(agent.name, agent.budget_guard)

    def tools_of(self, spec: AgentSpec, folder: str | None = None) -> list[Tool]:
        """The agent's tools for a session in this folder, in fixed order. ToolNotFound, ConfigurationError when a name is
        there twice."""
        return self._tools.of(spec, folder)

    def _tools_named(self, name: str, folder: str | None = None) -> list[str]:
        """See `RuntimeHome._tools_named`."""
        return [tool.definition.name for tool in self._tools.named(name, folder)]

    def find_tool(self, name: str, folder: str | None = None) -> Tool | None:
        """A tool of the runtime's own by its name, whichever agents may use it, as a session in this folder has it."""
        return next((t for t in self._tools.named(name, folder) if t.definition.name == name), None)

    # --- models ------------------------------------------------------------------------------------------------

    async def list_models(
        self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False
    ) -> list[ModelInfo]:
        """See `Registry.list`, off the event loop. Nothing is listed of a registry that does not know its models."""
        if not isinstance(self.models, ListsModels):
            return []
        return list(await asyncio.to_thread(self.models.list, provider, ready=ready, deprecated=deprecated))

    async def find_model(self, hint: str) -> ModelInfo:
        """What is known of the model that this hint means. ModelNotFound."""
        if not isinstance(self.models, SupportsModelInfo):
            self.models.resolve(hint)
            return ModelInfo(hint, hint.partition(":")[0], origin="guessed")
        return await asyncio.to_thread(self.models.find, hint)
