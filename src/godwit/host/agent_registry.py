"""AgentRegistry: the agents of a tenant, whichever protocol they were made in.

An agent's id is the name of its spec, its versions are the store's; what surfaces keep with a version stands in the spec as
well, so one write makes a version or nothing does. A document per agent says whose it is and when its versions were made.
Leaves out what a wire calls all this. Rules: a version once made never changes; the spec is stored before the document, so
what a crash leaves between them is seen by nobody; of two who change one version, one is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from ..contracts import Store
from ..core.agent import AgentRef, AgentSpec, variant_name
from ..core.document import Document, encode_body
from ..core.errors import (
    AgentNotFound,
    Conflict,
    DocumentExists,
    DocumentNotFound,
    InvalidArgument,
    KeyReused,
    RevisionConflict,
)
from ..core.ids import AgentName, Clock, IdSource, RandomIds, SystemClock

KIND = "agent"
"""Of the documents."""
_TRIES = 20
_encoder = msgspec.json.Encoder(order="deterministic")


class StoredAgent(msgspec.Struct, frozen=True):
    """One version of an agent. `newest`: the number of its newest version. Times in ms: the agent was made, this version
    was made, the agent was archived."""

    id: str
    version: int
    spec: AgentSpec
    tenant: str | None
    newest: int
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None

    @property
    def ref(self) -> AgentRef:
        return AgentRef(AgentName(self.id), self.version)

    @property
    def title(self) -> str:
        """What people call it; its id when nobody has said."""
        return self.spec.title or self.id

    def extension(self, surface: str) -> dict[str, Any] | None:
        """What this surface keeps with the version; None when the version was made by another."""
        return self.spec.extensions.get(surface)


Change = Callable[[AgentSpec], AgentSpec]


class AgentRegistry:
    """A tenant sees its own agents alone: for all others AgentNotFound, in the words for what is not there."""

    def __init__(self, store: Store, *, ids: IdSource | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._ids = ids or RandomIds()
        self._clock = clock or SystemClock()

    async def create(self, spec: AgentSpec, *, tenant: str | None, agent: str | None = None) -> StoredAgent:
        """A new agent, of version 1. The spec's name gives way to a new id; its `title` is what people read.

        `agent`: an id that follows from what asks for it (`core.ids.derived_id`). When that has been done before, wholly or
        in part, the agent of then is the answer; KeyReused when that was another spec.
        """
        name = AgentName(agent or self._ids.new("agent"))
        named = msgspec.structs.replace(spec, name=name)
        try:
            await self._store.put_agent(named, expect=0)
        except RevisionConflict:
            if agent is None:
                raise
            if (await self._store.get_agent(agent, 1))[1] != named:
                raise KeyReused("another agent was made under this idempotency key: take a new one", agent=agent) from None
        body = encode_body({"made_ms": [self._clock.now_ms()]})
        try:
            (document,) = await self._store.put_documents([Document(KIND, name, body, tenant)])
        except DocumentExists:
            return await self.get(name, 1, tenant=tenant)
        return await self._stored(document, 1)

    async def get(self, agent: str, version: int | None = None, *, tenant: str | None) -> StoredAgent:
        """That version, or the newest. AgentNotFound."""
        return await self._stored(await self._document(agent, tenant), version)

    async def update(
        self, agent: str, change: AgentSpec | Change, *, tenant: str | None, expect: int | None = None
    ) -> StoredAgent:
        """The next version: this spec, or what the function makes of the newest one's. One that comes out the same stays
        the version it is.

        `expect`: RevisionConflict unless that is the newest version. AgentNotFound; Conflict for an archived agent.
        """
        for _ in range(_TRIES):
            document = await self._document(agent, tenant)
            if document.archived_ms is not None:
                raise Conflict(f"agent {agent!r} is archived and stays as it is", agent=agent)
            ref, old = await self._store.get_agent(agent)
            if expect is not None and expect != ref.version:
                text = f"agent {agent!r} was changed meanwhile: its newest version is {ref.version}, not {expect}"
                raise RevisionConflict(text, agent=agent, version=ref.version)
            new = msgspec.structs.replace(change(old) if callable(change) else change, name=AgentName(agent))
            if new == old:
                return await self._stored(document, ref.version)
            try:
                made = await self._store.put_agent(new, expect=ref.version)
            except RevisionConflict:
                continue  # somebody else was first; with `expect` the next look says so
            document = await self._note(agent, tenant, made.version)
            return await self._stored(document, made.version)
        raise RevisionConflict(f"agent {agent!r} is being changed by others all the time", agent=agent)

    async def versions(
        self, agent: str, *, tenant: str | None, limit: int = 50, before: int | None = None
    ) -> list[StoredAgent]:
        """The newest first; `before`: only those of a lower number. AgentNotFound."""
        document = await self._document(agent, tenant)
        refs = await self._store.agent_versions(agent)
        numbers = [ref.version for ref in reversed(refs) if before is None or ref.version < before]
        return [await self._stored(document, number) for number in numbers[:limit]]

    async def archive(self, agent: str, *, tenant: str | None) -> StoredAgent:
        """No new session of it is to start from now on; those there are go on. Doing it again changes nothing."""
        for _ in range(_TRIES):
            document = await self._document(agent, tenant)
            if document.archived_ms is not None:
                return await self._stored(document, None)
            try:
                (document,) = await self._store.put_documents(
                    [document.changed(document.data(), archived_ms=self._clock.now_ms())]
                )
            except RevisionConflict:
                continue
            return await self._stored(document, None)
        raise RevisionConflict(f"agent {agent!r} is being changed by others all the time", agent=agent)

    async def delete(self, agent: str, *, tenant: str | None) -> bool:
        """Forget it; False when there is none. Sessions of it go on, for its versions stay in the store."""
        return await self._store.delete_document(KIND, agent, tenant=tenant)

    async def variant(self, agent: StoredAgent, spec: AgentSpec) -> AgentRef:
        """What sessions start with that need this version with something changed. The same change gives the same variant.

        Without a change it is the version itself.
        """
        if msgspec.structs.replace(spec, name=agent.spec.name) == agent.spec:
            return agent.ref
        plain = msgspec.structs.replace(spec, name=AgentName(agent.id))
        digest = hashlib.sha256(_encoder.encode(plain)).hexdigest()[:16]
        return await self._store.put_agent(msgspec.structs.replace(spec, name=variant_name(agent.ref, digest)))

    async def _document(self, agent: str, tenant: str | None) -> Document:
        try:
            return await self._store.get_document(KIND, agent, tenant=tenant)
        except DocumentNotFound:
            raise AgentNotFound(f"there is no agent {agent!r}", agent=agent) from None

    async def _note(self, agent: str, tenant: str | None, version: int) -> Document:
        """Write down when this version was made."""
        now = self._clock.now_ms()
        for _ in range(_TRIES):
            document = await self._document(agent, tenant)
            times = list(document.data()["made_ms"])
            if len(times) < version:
                times += [now] * (version - len(times))  # also of versions whose maker died before it could write
            try:
                return (await self._store.put_documents([document.changed({"made_ms": times})]))[0]
            except RevisionConflict:
                continue
        raise RevisionConflict(f"agent {agent!r} is being changed by others all the time", agent=agent)

    async def _stored(self, document: Document, version: int | None) -> StoredAgent:
        if version is not None and version < 1:
            raise InvalidArgument(f"version {version} is less than 1", version=version)
        newest, spec = await self._store.get_agent(document.id)
        if version is not None and version > newest.version:  # which may be more than a database can look for
            raise AgentNotFound(
                f"there is no version {version} of agent {document.id!r}", agent=document.id, version=version
            )
        if version is not None and version != newest.version:
            _, spec = await self._store.get_agent(document.id, version)
        number = newest.version if version is None else version
        times: list[int] = document.data()["made_ms"]
        return StoredAgent(
            document.id,
            number,
            spec,
            document.tenant,
            newest.version,
            document.created_ms,
            times[number - 1] if number <= len(times) else document.updated_ms,
            document.archived_ms,
        )

    async def list(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
        archived: bool | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
    ) -> list[StoredAgent]:
        """The newest version of each, those made last first unless `ascending`; else like `DocumentStore.documents`."""
        found = await self._store.documents(
            KIND,
            tenant=tenant,
            limit=limit,
            after=after,
            ascending=ascending,
            archived=archived,
            created_from_ms=created_from_ms,
            created_to_ms=created_to_ms,
        )
        return [await self._stored(document, None) for document in found]


__all__ = ["AgentRegistry", "StoredAgent"]
