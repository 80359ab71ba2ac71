"""Service: what every dialect is given. Whatever a dialect does for a caller goes through here, so that no tenant meets
another's sessions or documents: a thing of somebody else's is not there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from ...contracts import SessionRow, Store
from ...core.errors import SessionNotFound
from ...core.ids import SessionId
from ...core.principal import Principal
from ...host.session_folders import KIND as FOLDER, Folders, folders_for, named_in, remove_folder
from ...host.webhook_queue import Source
from ...host.webhook_sending import Sender
from ...host.webhooks import Webhooks
from .exchange import exchange_of
from .settings import ServerSettings
from .tenants import Tenants

if TYPE_CHECKING:
    from ...engine.session import Session
    from ...host.runtime import Runtime
    from ...host.vaults import Vaults
    from ...tools.fetch import Fetcher

STRAY_MS = 3_600_000
"""How long a session may take to be made."""


@dataclass(frozen=True)
class Service:
    """`store` holds documents as well; pass `principal.tenant` to whatever takes a tenant. `sources`: what each protocol
    tells webhooks."""

    runtime: Runtime
    settings: ServerSettings
    sources: tuple[Source, ...] = ()

    @cached_property
    def tenants(self) -> Tenants:
        """What each tenant uses. Ask `room` before a run begins and before something large is kept."""
        return Tenants(self.settings.tenant, self.store, self.runtime.clock)

    @property
    def fetcher(self) -> Fetcher:
        """Goes out to the servers that clients name."""
        return self.runtime.fetcher

    @property
    def vaults(self) -> Vaults:
        return self.runtime.vaults

    @cached_property
    def sender(self) -> Sender:
        """Sends to webhooks."""
        return Sender(self.settings.reach, self.settings.webhooks, self.runtime.clock)

    @cached_property
    def webhooks(self) -> Webhooks:
        """The endpoints of all tenants."""
        runtime = self.runtime
        return Webhooks(runtime.store, runtime.secrets, self.sender, self.sources, runtime.ids, runtime.clock)

    @cached_property
    def folders(self) -> Folders:
        """Where sessions work that were given no folder."""
        return folders_for(self.store, self.settings.folder)

    @property
    def store(self) -> Store:
        return self.runtime.store

    def now_ms(self) -> int:
        return self.runtime.clock.now_ms()

    def new_id(self, kind: str) -> str:
        return self.runtime.ids.new(kind)

    async def sweep(self) -> int:
        """Remove what processes that died have left of sessions they were about to make, folders as well; returns how many
        documents."""
        before_ms, swept = self.now_ms() - STRAY_MS, 0
        while strays := await self.store.stray_documents(before_ms):
            for document in strays:
                if document.kind == FOLDER:
                    await remove_folder(named_in(self.store, document))
                await self.store.delete_document(document.kind, document.id, tenant=document.tenant)
                swept += 1
        return swept

    async def row(self, principal: Principal, session: str) -> SessionRow:
        """The session as it is listed. SessionNotFound, also for one of another tenant."""
        row = await self.store.session(SessionId(session))
        if row.labels.tenant != principal.tenant:
            raise SessionNotFound(f"there is no session {session!r}", session=session)
        return row

    async def session(self, principal: Principal, session: str) -> Session:
        """A handle that drives it here; do not close it. Errors as for `row` and `Runtime.open_session`."""
        await self.row(principal, session)
        return await self.runtime.desk.session(session)


def principal_of(request: HTTPConnection) -> Principal:
    """Who asks; the front has found it out before a dialect is called."""
    principal: Principal = request.scope["godwit.principal"]
    return principal


def request_id_of(request: HTTPConnection) -> str:
    """The id of this request, also sent as the header `request-id`."""
    request_id: str = request.scope["godwit.request_id"]
    return request_id


def key_of(request: HTTPConnection) -> str | None:
    """An idempotency key for what this request does, the same when its client sends it again; pass it to whatever takes a
    key, with a number behind it when the request does several things. None when nobody may ask again."""
    exchange = exchange_of(request.scope)
    return None if exchange is None else exchange.key


def tells_secret(request: HTTPConnection) -> None:
    """The answer holds a secret that is told this once: it is not kept for who asks again, for whom it is done again."""
    exchange = exchange_of(request.scope)
    if exchange is not None:
        exchange.secret = True
