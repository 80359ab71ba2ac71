"""Opening: how a session is made. All that can be refused is, before anything is stored; what breaks off leaves nothing.

Its document is put first, then its folder is made, then its log. So when the process dies on the way, what it has left is
found by documents (`Service.sweep`), or made whole when the client asks for the same again.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from ...core.errors import DocumentExists, GodwitError, InvalidArgument, SessionExists, SessionNotFound
from ...core.events import Labels
from ...core.principal import Principal
from ...host.agent_registry import StoredAgent
from ..server.money import limit_money
from ..server.service import Service
from .agent_shapes import Definition, check_absent, definition_of, shown_model, with_tools
from .agents import registry_of
from .content import Files
from .environments import environment_of
from .files import named_files
from .inputs import Given, Inputs, Message, read_inputs
from .mounts import PLACES
from .resources import check_files, mount_all, read_resources, shown_mount
from .session_record import KIND, Kept
from .session_shapes import INITIAL, AgentReference, AgentWithOverrides, SessionCreate, usd_of
from .shapes import metadata_of
from .translation import placed, respelled
from .vaults import check_vaults


class Opening:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = registry_of(service)
        self._folders = service.folders
        self._inputs = Inputs(service)

    async def open(self, principal: Principal, given: SessionCreate, *, again: str | None = None) -> str:
        """The new session's id. `again`: the one it has when this is not asked for the first time.

        AgentNotFound, NotFound (the environment), InvalidArgument, NotSupported, TooMany.
        """
        service = self._service
        metadata_of(given.metadata)
        messages = _messages(given, await named_files(service, principal, given.initial_events))
        session = again or service.new_id("ses")
        made = again is None or not await self._is_there(principal, session)
        if made:
            await service.tenants.room(principal, "documents")
            if messages:
                await service.tenants.room(principal, "runs")
            await self._make(principal, given, session)
        try:
            if given.budget is not None:
                await limit_money(await service.runtime.desk.session(session), usd_of(given.budget), "ask")
            if messages:
                await self._inputs.send(principal, session, messages, key=None if again is None else "initial events")
        except GodwitError:
            if made:
                await self._undo(principal, session)
            raise
        return session

    async def _undo(self, principal: Principal, session: str) -> None:
        """Take away what was made of a session."""
        with contextlib.suppress(SessionNotFound):
            await self._service.runtime.delete_session(session)
        await self._folders.remove(session, tenant=principal.tenant)
        await self._service.store.delete_document(KIND, session, tenant=principal.tenant)

    async def _make(self, principal: Principal, given: SessionCreate, session: str) -> None:
        service = self._service
        agent = await self._agent(principal, given.agent)
        environment = await environment_of(service, principal, given.environment_id)
        if environment.archived_ms is not None:
            raise InvalidArgument(
                f"environment_id: environment {environment.id!r} is archived", error_code="environment_archived"
            )
        config: dict[str, Any] = environment.data()["config"]
        definition = definition_of(agent)
        spec = agent.spec
        if isinstance(given.agent, AgentWithOverrides):
            definition = _overridden(definition, given.agent)
            spec = respelled(service, spec, definition)
        spec = placed(service, spec, definition, config, self._folders.root)
        vault_ids = given.vault_ids or []
        await check_vaults(service, principal, vault_ids)
        mounts = read_resources(given.resources, config["type"])
        await check_files(service, principal, mounts)
        resources = [shown_mount(service, mount, service.new_id("sesrsc")) for mount in mounts]
        document = Kept(environment.id, config, vault_ids, resources).document(session, principal.tenant)
        try:
            with contextlib.suppress(DocumentExists):  # when this was begun before, and broke off
                await service.store.put_documents([document])
            folder = None
            if config["type"] == "cloud":
                folder = await self._folders.make(session, tenant=principal.tenant, places=PLACES, again=True)
            if folder is not None:
                await mount_all(service, principal, folder, mounts)
            await service.runtime.start_session(
                await self._registry.variant(agent, spec),
                workspace=folder,
                labels=Labels(principal.tenant, principal.id, agent.id),
                name=given.title,
                metadata=given.metadata,
                session=session,
                vaults=vault_ids,
                drive=False,  # the desk does, from when it is asked for
            )
        except SessionExists:
            raise  # somebody else's, and not to be taken away
        except BaseException:
            await self._undo(principal, session)
            raise

    async def _is_there(self, principal: Principal, session: str) -> bool:
        try:
            await self._service.row(principal, session)
        except SessionNotFound:
            return False
        return True

    async def _agent(self, principal: Principal, given: str | AgentReference | AgentWithOverrides) -> StoredAgent:
        name, version = (given, None) if isinstance(given, str) else (given.id, given.version)
        agent = await self._registry.get(name, version, tenant=principal.tenant)
        if agent.archived_ms is not None:
            raise InvalidArgument(f"agent: agent {name!r} is archived, and no new session of it can be made")
        return agent


def _overridden(definition: Definition, given: AgentWithOverrides) -> Definition:
    """The agent's definition with what was given in its place."""
    check_absent(given.skills, None, None)
    changes: dict[str, Any] = {}
    if given.has("model"):
        changes["model"] = shown_model(given.model)
    if given.has("system"):
        changes["system"] = given.system or None
    return with_tools(msgspec.structs.replace(definition, **changes), given)


def _messages(given: SessionCreate, files: Files) -> list[Given]:
    """What the session is to begin with. InvalidArgument, NotSupported."""
    if not given.initial_events:
        return []
    inputs = read_inputs(given.initial_events, "initial_events", most=INITIAL, files=files)
    for number, one in enumerate(inputs):
        if not isinstance(one, Message):
            raise InvalidArgument(f"initial_events.{number}.type: a session begins with user.message events alone")
    return inputs
