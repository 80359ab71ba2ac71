"""Agents in SQLite, in immutable versions. A part of `SqliteStore`."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ..core.agent import AgentRef, AgentSpec
from ..core.errors import AgentNotFound, RevisionConflict
from ..core.ids import AgentName
from .batch import Unit
from .part import StorePart
from .requests import Call

SPECS = 256
"""Agent versions that are kept decoded."""

_spec_decoder = msgspec.json.Decoder(AgentSpec)


@lru_cache(maxsize=SPECS)
def _spec(stored: str) -> AgentSpec:
    """Found by the whole text, so it is right whoever wrote that. Shared: thousands of open sessions have few agents."""
    return _spec_decoder.decode(stored)


class AgentsPart(StorePart):
    """What `SqliteStore` does with agents."""

    async def put_agent(self, spec: AgentSpec, *, expect: int | None = None) -> AgentRef:
        """See `EventStore.put_agent`."""

        async def apply(transaction: Unit) -> AgentRef:
            newest = await transaction.one("newest_agent", (spec.name,))
            if expect is not None and expect != (found := 0 if newest is None else newest[0]):
                text = f"agent {spec.name!r} was changed meanwhile: its newest version is {found}, not {expect}"
                raise RevisionConflict(text, agent=spec.name, version=found)
            if newest is not None and _spec(newest[1]) == spec:
                return AgentRef(spec.name, newest[0])
            version = 1 if newest is None else newest[0] + 1
            await transaction.do("insert_agent", (spec.name, version, msgspec.json.encode(spec).decode()))
            return AgentRef(spec.name, version)

        return await self._writer.do(Call(apply))

    async def get_agent(self, name: str, version: int | None = None) -> tuple[AgentRef, AgentSpec]:
        """That version, or the newest. AgentNotFound."""
        parameters = (name,) if version is None else (name, version)
        found = await self._select("newest_agent" if version is None else "get_agent", parameters)
        if not found:
            which = f"agent {name!r}" if version is None else f"version {version} of agent {name!r}"
            raise AgentNotFound(f"there is no {which}", agent=name, version=version)
        return AgentRef(AgentName(name), found[0][0]), _spec(found[0][1])

    async def agents(self) -> list[AgentRef]:
        """The newest version of each agent, by name."""
        return [AgentRef(AgentName(name), version) for name, version in await self._select("list_agents")]

    async def agent_versions(self, name: str) -> list[AgentRef]:
        """All versions of the agent, oldest first. AgentNotFound."""
        found = await self._select("list_agent_versions", (name,))
        if not found:
            raise AgentNotFound(f"there is no agent {name!r}", agent=name)
        return [AgentRef(AgentName(name), version) for name, version in found]


__all__ = ["AgentsPart"]
