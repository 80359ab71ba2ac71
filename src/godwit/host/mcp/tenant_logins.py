"""TenantLogins: logins to MCP servers of the users of tenants, sealed in the store, for each user apart.

Owns where they stand; leaves out sealing (`secrets.py`) and that a token is renewed once across processes
(`token_renewal.py`, of which this is a `Holder`). They are no credentials of a vault: whoever may name a vault of the tenant
may use it, and a login is one user's. Rule: a user's login is found by tenant, user and address together, and by nothing
less."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import msgspec

from ...contracts import DocumentStore, SecretStore
from ...core.document import Document
from ...core.errors import DocumentExists, DocumentNotFound, NotFound, RevisionConflict
from ...core.ids import Clock
from ..credentials import Credential, CredentialBody, Secret, body_of
from ..oauth import RefreshFailed
from ..token_renewal import TokenRenewal
from .login_words import KeptLogin, is_final, login_ended, login_place
from .owner import Owner

if TYPE_CHECKING:
    from ...tools.fetch import Fetcher

KIND = "mcp.login"
"""Of documents and of what is sealed."""
_TRIES = 20


class TenantLogins:
    """Is `login_words.KeptLogins`, and `token_renewal.Holder`. `fetcher`: asks token endpoints."""

    def __init__(self, store: DocumentStore, secrets: SecretStore, fetcher: Fetcher, clock: Clock) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._renewal = TokenRenewal(self, store, fetcher, clock)

    async def find(self, owner: Owner, url: str, /) -> KeptLogin | None:
        found = await self._found(owner, url)
        if found is None:
            return None
        document, body = found
        secret = await self.secret_of(document)
        assert body.client is not None
        return KeptLogin(
            body.client,
            secret["access_token"],
            secret.get("refresh_token"),
            secret.get("client_secret"),
            body.expires_ms,
        )

    async def keep(self, owner: Owner, url: str, login: KeptLogin, /) -> None:
        place = login_place(url)
        body = CredentialBody(owner.user or "", "oauth", url, place, expires_ms=login.expires_ms, client=login.client)
        secret = {
            "access_token": login.access_token,
            "refresh_token": login.refresh_token,
            "client_secret": login.client_secret,
        }
        kept = {name: value for name, value in secret.items() if value}
        for _ in range(_TRIES):
            found = await self._found(owner, url)
            document = Document(KIND, _id(owner, place), b"{}", owner.tenant) if found is None else found[0]
            with contextlib.suppress(RevisionConflict, DocumentExists):
                await self.put(msgspec.structs.replace(document, keys={}), body, kept)
                return
        raise RevisionConflict("the login is being changed by others all the time")

    async def forget(self, owner: Owner, url: str, /) -> bool:
        found = await self._found(owner, url)
        if found is None:
            return False
        name = found[0].id
        gone = [(KIND, name), self._secrets.kept_in(KIND, name)]
        await self._store.put_documents([], remove=gone, tenant=owner.tenant)
        return True

    async def token(self, owner: Owner, url: str, /, *, refused: str | None = None) -> str | None:
        found = await self._found(owner, url)
        if found is None:
            return None
        document, body = found
        access = (await self.secret_of(document))["access_token"]
        if access != refused and not self._renewal.has_ended(body):
            return access
        new = await self._renewal.renewed(body.vault, document.id, owner.tenant, refused=refused)
        over = body.expires_ms is not None and body.expires_ms <= self._clock.now_ms()
        if isinstance(new, str):
            return new
        if isinstance(new, RefreshFailed) and is_final(new):
            await self._give_up(owner, url, body)
        if access != refused and not over:
            return access
        if new is None and access == refused and not over:
            return None  # the server has refused it, and there is no other
        raise login_ended(body.url, new, refused=access == refused)

    async def close(self) -> None:
        await self._renewal.close()

    # --- Holder -------------------------------------------------------------------------------------------------------

    async def found(self, vault: str, credential: str, tenant: str | None) -> tuple[Document, CredentialBody]:
        """`vault`: the user. NotFound."""
        try:
            document = await self._store.get_document(KIND, credential, tenant=tenant)
        except DocumentNotFound:
            raise NotFound("there is no such login") from None
        body = body_of(document)
        if body.vault != vault:
            raise NotFound("there is no such login")
        return document, body

    async def secret_of(self, document: Document) -> dict[str, str]:
        packed = await self._secrets.get(KIND, document.id, tenant=document.tenant)
        return msgspec.json.decode(packed, type=dict[str, str])

    async def put(self, document: Document, body: CredentialBody, secret: Secret | None) -> Credential:
        documents = [msgspec.structs.replace(document, body=msgspec.json.encode(body))]
        if secret is not None:
            packed = msgspec.json.encode(dict(secret))
            documents.append(await self._secrets.seal(KIND, document.id, packed, tenant=document.tenant))
        (made, *_) = await self._store.put_documents(documents)
        return Credential(
            made.id, body.vault, body.method, body.url, None, {}, made.created_ms, made.updated_ms, None, made.revision
        )

    # --- within -------------------------------------------------------------------------------------------------------

    async def _found(self, owner: Owner, url: str) -> tuple[Document, CredentialBody] | None:
        try:
            return await self.found(owner.user or "", _id(owner, login_place(url)), owner.tenant)
        except NotFound:
            return None

    async def _give_up(self, owner: Owner, url: str, used: CredentialBody) -> None:
        """Its refresh token is asked with no more, unless the user has logged in meanwhile."""
        with contextlib.suppress(RevisionConflict, DocumentNotFound):
            if (found := await self._found(owner, url)) is not None and found[1] == used:
                document, body = found
                secret = await self.secret_of(document)
                secret.pop("refresh_token", None)
                await self.put(document, body, secret)


def _id(owner: Owner, place: str) -> str:
    # The document is the tenant's; within it no text can be another user's and another address's.
    return "mcpl_" + hashlib.sha256(f"{len(owner.user or '')} {owner.user or ''} {place}".encode()).hexdigest()[:40]


__all__ = ["KIND", "TenantLogins"]
