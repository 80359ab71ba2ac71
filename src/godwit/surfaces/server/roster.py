"""Roster: which agents a caller may use, each a tool, and how a session of one begins.

Rule: a tool's name stays what it is while its agent is there, whatever other agents come and go behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from ...core.agent import AgentSpec
from ...core.errors import AgentNotFound, SessionExists
from ...core.events import Labels
from ...core.narrowing import INHERIT
from ...engine.session import Session
from ...host.agent_registry import AgentRegistry, StoredAgent
from .caller import Caller

MOST = 128
"""Agents that are offered; clients put every tool before their model."""
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 40


class Offered(Protocol):
    """One agent. `id`: what tells it from others of its name."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def spec(self) -> AgentSpec: ...

    async def start(self, caller: Caller, session: str) -> Session:
        """A new session of it, under this id, driven here. The errors of `Runtime.start_session`."""
        ...


class Roster(Protocol):
    """The agents there are."""

    async def offered(self, caller: Caller) -> Sequence[Offered]:
        """Those the caller may use, as they are now, the oldest first."""
        ...


def by_tool(agents: Iterable[Offered], taken: Collection[str]) -> dict[str, Offered]:
    """The agents by the names of their tools, none of which is `taken`."""
    found: dict[str, Offered] = {}
    for agent in agents:
        name = _UNFIT.sub("_", agent.title).strip("_")[:_LONGEST] or "agent"
        if name in found or name in taken:
            name = f"{name}_{_UNFIT.sub('', agent.id)[-6:]}"
        number = 2
        whole = name
        while name in found or name in taken:
            name, number = f"{whole}_{number}", number + 1
        found[name] = agent
    return found


class StoredRoster:
    """The agents of a tenant, whichever protocol they were made in; a caller without a tenant has those as well that the
    host has registered."""

    async def offered(self, caller: Caller) -> Sequence[Offered]:
        runtime, tenant = caller.service.runtime, caller.principal.tenant
        registry = AgentRegistry(runtime.store, ids=runtime.ids, clock=runtime.clock)
        stored = await registry.list(tenant=tenant, limit=MOST, ascending=True, archived=False)
        found: list[Offered] = [_Stored(one) for one in stored if one.spec.models != (INHERIT,)]
        if tenant is None:
            found += [_Registered(spec) for spec in runtime.registered_agents() if _alone(spec)]
        return found[:MOST]


class _Stored:
    def __init__(self, agent: StoredAgent) -> None:
        self._agent = agent
        self.id = agent.id
        self.title = agent.title
        self.description = agent.spec.description
        self.spec = agent.spec

    async def start(self, caller: Caller, session: str) -> Session:
        service, tenant = caller.service, caller.principal.tenant
        folder = await service.folders.make(session, tenant=tenant, again=True)
        try:
            return await service.runtime.start_session(
                self._agent.ref, workspace=folder, labels=labels_of(caller), session=session
            )
        except SessionExists:
            raise  # somebody asked for the same at once: the folder is that one's
        except BaseException:
            await service.folders.remove(session, tenant=tenant)
            raise


class _Registered:
    def __init__(self, spec: AgentSpec) -> None:
        self.id = self.title = str(spec.name)
        self.description = spec.description
        self.spec = spec

    async def start(self, caller: Caller, session: str) -> Session:
        service, tenant = caller.service, caller.principal.tenant
        folder = await service.folders.make(session, tenant=tenant, again=True)
        try:
            return await service.runtime.session_for_agent(
                self.id, workspace=folder, labels=labels_of(caller), session=session
            )
        except SessionExists:
            raise  # somebody asked for the same at once: the folder is that one's
        except BaseException:
            await service.folders.remove(session, tenant=tenant)
            raise


def _alone(spec: AgentSpec) -> bool:
    """Whether it can work for nobody: it has a model of its own, and is no inner part of others."""
    return spec.models != (INHERIT,) and not spec.hidden


def labels_of(caller: Caller) -> Labels:
    """Of a session that is made for this caller."""
    return Labels(tenant=caller.principal.tenant, principal=caller.principal.id)


async def agent_named(roster: Roster, caller: Caller, name: str, taken: Collection[str]) -> Offered:
    """By its tool's name, its title or its id. AgentNotFound."""
    agents = by_tool(await roster.offered(caller), taken)
    found = agents.get(name) or next((one for one in agents.values() if name in (one.title, one.id)), None)
    if found is None:
        known = ", ".join(agents) or "none yet: PUT /godwit/v1/agents/NAME makes one"
        raise AgentNotFound(f"there is no agent {name!r}; there are: {known}", agent=name)
    return found
