"""Names of agents: unique within a tenant here, while the registry of agents knows ids.

A document per name says which agent it means. The name also stands in the versions that were put under it, so that a session
can tell what its agent is called. An agent that was made elsewhere is named by its id.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ...core.agent import AgentRef, AgentSpec
from ...core.document import Document, encode_body
from ...core.errors import AgentNotFound, DocumentExists, DocumentNotFound, InvalidArgument
from ...core.ids import AgentName
from ...host.agent_registry import AgentRegistry, StoredAgent
from ...host.builtin_agents import ALIASES, BUILTIN_AGENTS
from ..server.service import Service

KIND = "agent_name"
SURFACE = "godwit"
"""Whose extension of a version the name stands in."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def name_of(spec: AgentSpec) -> str:
    """What the agent of this spec is called here."""
    return str(spec.extensions.get(SURFACE, {}).get("name") or spec.name)


def named(spec: AgentSpec) -> AgentSpec:
    """The spec as it was put, under its name and without what surfaces keep."""
    return msgspec.structs.replace(spec, name=AgentName(name_of(spec)), extensions={}, title="", subagent_ids={})


def ref_of(ref: AgentRef, spec: AgentSpec) -> AgentRef:
    """The reference as it is told here."""
    return AgentRef(AgentName(name_of(spec)), ref.version)


class Names:
    """The names of one server's agents."""

    def __init__(self, service: Service) -> None:
        self._store = service.store
        self.agents = AgentRegistry(service.store, ids=service.runtime.ids, clock=service.runtime.clock)

    async def find(self, agent: str, version: int | None = None, *, tenant: str | None) -> StoredAgent:
        """By name or id. AgentNotFound."""
        try:
            document = await self._store.get_document(KIND, agent, tenant=tenant)
        except DocumentNotFound:
            return await self.agents.get(agent, version, tenant=tenant)
        return await self.agents.get(str(document.data()["agent"]), version, tenant=tenant)

    async def subagent_ids(self, spec: AgentSpec, *, tenant: str | None) -> dict[str, str]:
        """Which agents of this tenant's the subagents of this one are; built-in ones have no id. AgentNotFound."""
        found: dict[str, str] = {}
        for name in spec.subagents:
            if name in spec.subagent_specs:
                continue
            try:
                found[name] = (await self.find(name, tenant=tenant)).id
            except AgentNotFound:
                if ALIASES.get(name, name) not in BUILTIN_AGENTS:
                    raise AgentNotFound(
                        f"there is no agent {name!r} that could be a subagent of {spec.name!r}: put it first", agent=name
                    ) from None
        return found

    async def put(self, name: str, make: Callable[[], AgentSpec], *, tenant: str | None) -> StoredAgent:
        """Make the agent of this name, or its next version; without a change, the newest one. InvalidArgument."""
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} cannot be an agent's name: letters, digits and . _ - only, 1 to 100 of them, a letter or digit"
                " first",
                name=name,
            )
        spec = msgspec.structs.replace(make(), title=name, extensions={SURFACE: {"name": name}})
        while True:
            try:
                before = await self.find(name, tenant=tenant)
            except AgentNotFound:
                made = await self._made(name, spec, tenant)
                if made is not None:
                    return made
            else:
                return await self.agents.update(before.id, spec, tenant=tenant)

    async def _made(self, name: str, spec: AgentSpec, tenant: str | None) -> StoredAgent | None:
        """The new agent; None when somebody else has taken the name meanwhile."""
        await self._forget_lost(name, tenant)
        made = await self.agents.create(spec, tenant=tenant)
        try:
            await self._store.put_documents([Document(KIND, name, encode_body({"agent": made.id}), tenant)])
        except DocumentExists:
            await self.agents.delete(made.id, tenant=tenant)
            return None
        return made

    async def _forget_lost(self, name: str, tenant: str | None) -> None:
        """A name whose agent was deleted elsewhere is free."""
        try:
            document = await self._store.get_document(KIND, name, tenant=tenant)
            await self.agents.get(str(document.data()["agent"]), tenant=tenant)
        except DocumentNotFound:
            return
        except AgentNotFound:
            await self._store.delete_document(KIND, name, tenant=tenant)

    async def delete(self, agent: str, *, tenant: str | None) -> None:
        """Forget the agent and its name; its sessions go on. AgentNotFound."""
        found = await self.find(agent, tenant=tenant)
        await self.agents.delete(found.id, tenant=tenant)
        await self._store.delete_document(KIND, name_of(found.spec), tenant=tenant)
