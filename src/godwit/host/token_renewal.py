"""Token renewal: a token that has ended is got anew from its token endpoint, once for all who want it, and kept.

Owns that of all tasks and processes one asks, and that what the endpoint answers is kept whoever stops waiting: many take a
refresh token once. Leaves out the request itself (`oauth.py`) and where credentials are (`vaults.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..contracts import DocumentStore
from ..core.document import Document
from ..core.errors import DocumentExists, GodwitError, RevisionConflict
from ..core.ids import Clock
from .credentials import Credential, CredentialBody, Secret, current_token
from .oauth import Refreshed, RefreshFailed, refresh

if TYPE_CHECKING:
    from ..tools.fetch import Fetcher

logger = logging.getLogger("godwit")

SOON_S = 60
"""A token that ends within this is renewed before it is used."""
RENEWAL = "credential.renewal"
"""Kind of the document that says that a process renews a credential."""
RENEWAL_S = 120.0
"""After so long the process that renewed it has surely died: the fetcher's time is shorter."""
REFRESH_FAILED = "failed"
"""The key `refresh` of a credential's document while its token could not be renewed."""
CLOSE_S = 10.0
"""How long `close` waits."""
_TRIES = 20


class Holder(Protocol):
    """Where credentials are."""

    async def found(self, vault: str, credential: str, tenant: str | None) -> tuple[Document, CredentialBody]:
        """NotFound."""
        ...

    async def secret_of(self, document: Document) -> dict[str, str]:
        """SecretUnreadable."""
        ...

    async def put(self, document: Document, body: CredentialBody, secret: Secret | None) -> Credential:
        """Both in one commit. RevisionConflict."""
        ...


class TokenRenewal:
    """`vaults`: where the credentials are. `fetcher`: asks token endpoints."""

    def __init__(self, vaults: Holder, store: DocumentStore, fetcher: Fetcher, clock: Clock) -> None:
        self._vaults = vaults
        self._store = store
        self._fetcher = fetcher
        self._clock = clock
        self._renewing: dict[tuple[str | None, str], asyncio.Task[str | RefreshFailed | None]] = {}

    async def close(self) -> None:
        """Let the renewals under way end: what a token endpoint answers now is the only way to the next token."""
        if self._renewing:
            await asyncio.wait(self._renewing.values(), timeout=CLOSE_S)

    def has_ended(self, body: CredentialBody) -> bool:
        return body.expires_ms is not None and body.expires_ms <= self._clock.now_ms() + SOON_S * 1000

    async def renewed(
        self, vault: str, credential: str, tenant: str | None, *, always: bool = False, refused: str | None = None
    ) -> str | RefreshFailed | None:
        """`always`: also a token that has not ended. `refused`: also this one, while it is still the credential's.

        Once for all who want it, and to its end whoever stops waiting: many endpoints take a refresh token once, take a
        second use of it for a theft, and answer with the only one that is good from then on."""
        place = (tenant, credential)
        renewing = self._renewing.get(place)
        if renewing is None:
            renewing = asyncio.create_task(
                self._renew(vault, credential, tenant, always, refused), name=f"renew {credential}"
            )
            self._renewing[place] = renewing
            renewing.add_done_callback(lambda ended: self._renewal_ended(place, ended))
        return await asyncio.shield(renewing)

    def _renewal_ended(self, place: tuple[str | None, str], ended: asyncio.Task[str | RefreshFailed | None]) -> None:
        del self._renewing[place]
        if not ended.cancelled() and (error := ended.exception()) is not None:
            logger.info("the token of %s was not renewed: %s", place[1], error)  # those who wait are told as well

    async def _renew(
        self, vault: str, credential: str, tenant: str | None, always: bool, refused: str | None
    ) -> str | RefreshFailed | None:
        async with self._alone(credential, tenant):
            document, body = await self._vaults.found(vault, credential, tenant)
            secret = await self._vaults.secret_of(document)
            current = current_token(body.method, secret)
            if not always and not self.has_ended(body) and current != refused:
                return current  # somebody else was faster
            if body.client is None or not secret.get("refresh_token"):
                return None
            found = await refresh(self._fetcher, body.client, secret["refresh_token"], secret.get("client_secret"))
            if isinstance(found, Refreshed):
                return await self._keep(document, body, secret, found)
            if document.keys.get("refresh") != REFRESH_FAILED:
                keys = {**document.keys, "refresh": REFRESH_FAILED}
                with contextlib.suppress(RevisionConflict):  # it was changed meanwhile, and may be well again
                    await self._store.put_documents([document.changed(document.data(), keys=keys)])
            return found

    @contextlib.asynccontextmanager
    async def _alone(self, credential: str, tenant: str | None) -> AsyncIterator[None]:
        """Of several processes one renews a credential, and the others wait for it."""
        wait_s = 0.01
        while True:
            until_ms = self._clock.now_ms() + int(RENEWAL_S * 1000)
            try:
                await self._store.put_documents([Document(RENEWAL, credential, b"{}", tenant, expires_ms=until_ms)])
                break
            except DocumentExists:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 0.5)
        try:
            yield
        finally:
            with contextlib.suppress(GodwitError):
                await self._store.delete_document(RENEWAL, credential, tenant=tenant)

    async def _keep(self, document: Document, body: CredentialBody, secret: Secret, found: Refreshed) -> str:
        """Keep what came, also when the credential was changed meanwhile; unless its secret was, or is gone."""
        used = secret["refresh_token"]
        until = None if found.expires_s is None else self._clock.now_ms() + int(found.expires_s * 1000)
        new = {"access_token": found.access_token}
        if found.refresh_token is not None:
            new["refresh_token"] = found.refresh_token
        for _ in range(_TRIES):
            try:
                await self._vaults.put(document, msgspec.structs.replace(body, expires_ms=until), {**secret, **new})
                break
            except RevisionConflict:
                document, body = await self._vaults.found(body.vault, document.id, document.tenant)
                if document.archived_ms is not None:
                    break
                secret = await self._vaults.secret_of(document)
                if secret.get("refresh_token") != used:
                    return current_token(body.method, secret)
        return found.access_token
