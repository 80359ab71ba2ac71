"""Vaults: credentials of a tenant for services that its sessions use, whichever protocol they were given in.

A vault and a credential are a document each, what is secret of a credential is kept by `contracts.SecretStore`. Owns which
credential fits an address and that tokens are renewed in time (`oauth.py` says how); leaves out what a wire calls all this.
Rules: nothing here gives out a secret but `bearer_for`, for the one request to the one address; of an archived credential
the secret is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from ..contracts import DocumentStore, SecretStore
from ..core.document import Document, encode_body
from ..core.errors import (
    Conflict,
    DocumentExists,
    DocumentNotFound,
    GodwitError,
    InvalidArgument,
    NotFound,
    RevisionConflict,
    ToolFailed,
)
from ..core.ids import Clock, IdSource
from ..tools.fetch import Fetcher
from ..tools.url import parse
from .oauth import Client, Refreshed, RefreshFailed, refresh

logger = logging.getLogger("godwit")

VAULT, CREDENTIAL = "vault", "credential"
"""Kinds of documents."""
MOST = 20
"""Credentials of one vault that are not archived."""
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

Method = Literal["bearer", "oauth"]
Secret = Mapping[str, str]


class Vault(msgspec.Struct, frozen=True):
    """`revision`: grows with each change. Times in ms."""

    id: str
    title: str
    metadata: dict[str, str]
    created_ms: int
    updated_ms: int
    archived_ms: int | None
    revision: int


class Credential(msgspec.Struct, frozen=True):
    """What may be shown of it. `url`: of the server it is for. `client`: how a token is renewed, if it can be. `revision`:
    grows with each change."""

    id: str
    vault: str
    method: Method
    url: str
    title: str | None
    metadata: dict[str, str]
    created_ms: int
    updated_ms: int
    archived_ms: int | None
    revision: int
    expires_ms: int | None = None
    client: Client | None = None


class CredentialBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A credential's document. `place`: the address as it is compared."""

    vault: str
    method: Method
    url: str
    place: str
    title: str | None = None
    metadata: dict[str, str] = {}
    expires_ms: int | None = None
    client: Client | None = None


class Vaults:
    """`fetcher`: asks token endpoints."""

    def __init__(self, store: DocumentStore, secrets: SecretStore, fetcher: Fetcher, ids: IdSource, clock: Clock) -> None:
        self._store = store
        self._secrets = secrets
        self._fetcher = fetcher
        self._ids = ids
        self._clock = clock
        self._renewing: dict[tuple[str | None, str], asyncio.Task[str | RefreshFailed | None]] = {}

    async def close(self) -> None:
        """Let the renewals under way end: what a token endpoint answers now is the only way to the next token."""
        if self._renewing:
            await asyncio.wait(self._renewing.values(), timeout=CLOSE_S)

    # --- vaults ---

    async def create(
        self, title: str, metadata: Mapping[str, str], *, tenant: str | None, vault: str | None = None
    ) -> Vault:
        """`vault`: its id, for who may ask again; one that is there is left as it is."""
        body = encode_body({"title": title, "metadata": dict(metadata)})
        new = Document(VAULT, vault or self._ids.new("vlt"), body, tenant)
        try:
            (made,) = await self._store.put_documents([new])
        except DocumentExists:
            return await self.get(new.id, tenant=tenant)
        return _vault(made)

    async def get(self, vault: str, *, tenant: str | None) -> Vault:
        """NotFound, also for one of another tenant."""
        return _vault(await self._vault(vault, tenant))

    async def page(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
        archived: bool | None = None,
    ) -> list[Vault]:
        found = await self._store.documents(
            VAULT, tenant=tenant, limit=limit, after=after, ascending=ascending, archived=archived
        )
        return [_vault(one) for one in found]

    async def update(
        self, vault: str, title: str, metadata: Mapping[str, str], *, tenant: str | None, expect: int | None = None
    ) -> Vault:
        """`expect`: the revision that this changes. NotFound; InvalidArgument when it is archived; RevisionConflict."""
        old = _expected(await self._vault(vault, tenant, usable=True), expect)
        data = {"title": title, "metadata": dict(metadata)}
        return _vault(old if data == old.data() else (await self._store.put_documents([old.changed(data)]))[0])

    async def archive(self, vault: str, *, tenant: str | None) -> Vault:
        """It and its credentials can be used no more, and their secrets are gone."""
        old = await self._vault(vault, tenant)
        if old.archived_ms is None:
            (old,) = await self._store.put_documents([old.changed(old.data(), archived_ms=self._clock.now_ms())])
        for one in await self.credentials(vault, tenant=tenant, limit=10 * MOST, archived=False):
            await self.archive_credential(vault, one.id, tenant=tenant)
        return _vault(old)

    async def delete(self, vault: str, *, tenant: str | None) -> None:
        """With all its credentials. NotFound."""
        await self._vault(vault, tenant)
        while found := await self.credentials(vault, tenant=tenant, limit=100):
            for one in found:
                await self.delete_credential(vault, one.id, tenant=tenant)
        await self._store.delete_document(VAULT, vault, tenant=tenant)

    async def check(self, vaults: Sequence[str], *, tenant: str | None) -> None:
        """Whether a session may be made with these: NotFound, or InvalidArgument for one that is archived or named twice."""
        for number, vault in enumerate(vaults):
            if vault in vaults[:number]:
                raise InvalidArgument(f"vault {vault!r} is named twice", vault=vault)
            await self._vault(vault, tenant, usable=True)

    # --- credentials ---

    async def add(
        self,
        vault: str,
        method: Method,
        url: str,
        secret: Secret,
        *,
        tenant: str | None,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_ms: int | None = None,
        client: Client | None = None,
        credential: str | None = None,
    ) -> Credential:
        """`secret`: `token` of a bearer; of oauth `access_token`, and `refresh_token` and `client_secret` where there are.
        `credential`: its id, for who may ask again; one that is there is left as it is.

        NotFound; InvalidArgument for an archived vault, an address that is none, or one credential too many; Conflict when
        the vault has one for this address.
        """
        await self._vault(vault, tenant, usable=True)
        if client is not None:
            place_of(client.token_endpoint, "the token endpoint")
        body = CredentialBody(vault, method, url, place_of(url), title, dict(metadata or {}), expires_ms, client)
        if credential is not None:
            with contextlib.suppress(NotFound):
                return await self.credential(vault, credential, tenant=tenant)
        if len(await self.credentials(vault, tenant=tenant, limit=MOST, archived=False)) >= MOST:
            raise InvalidArgument(f"vault {vault!r} has {MOST} credentials, and no more fit: archive one", vault=vault)
        new = Document(CREDENTIAL, credential or self._ids.new("vcrd"), b"{}", tenant)
        return await self._put(new, body, secret)

    async def credential(self, vault: str, credential: str, *, tenant: str | None) -> Credential:
        """NotFound, also for one of another vault."""
        return _credential(*await self._credential(vault, credential, tenant))

    async def credentials(
        self,
        vault: str,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
        archived: bool | None = None,
    ) -> list[Credential]:
        """NotFound."""
        await self._vault(vault, tenant)
        found = await self._store.documents(
            CREDENTIAL,
            tenant=tenant,
            keys={"vault": vault},
            limit=limit,
            after=after,
            ascending=ascending,
            archived=archived,
        )
        return [_credential(one, _decoder.decode(one.body)) for one in found]

    async def change(
        self, vault: str, credential: str, secret: Secret, *, tenant: str | None, expect: int | None = None, **fields: Any
    ) -> Credential:
        """Set these parts of the secret, and these fields: `title`, `metadata`, `expires_ms`, `client`. `expect`: the
        revision that this changes.

        NotFound; InvalidArgument when it is archived; RevisionConflict.
        """
        document, body = await self._credential(vault, credential, tenant)
        _expected(document, expect)
        if document.archived_ms is not None:
            raise InvalidArgument(f"credential {credential!r} is archived: add another", credential=credential)
        body = msgspec.structs.replace(body, **fields)
        whole = {**await self._secret(document), **secret} if secret else None
        return await self._put(document, body, whole)

    async def archive_credential(self, vault: str, credential: str, *, tenant: str | None) -> Credential:
        """Its secret is gone, and another may take its address. NotFound."""
        document, body = await self._credential(vault, credential, tenant)
        if document.archived_ms is None:
            changed = document.changed(document.data(), archived_ms=self._clock.now_ms(), unique={})
            (document,) = await self._store.put_documents([changed])
        await self._secrets.delete(CREDENTIAL, credential, tenant=tenant)
        return _credential(document, body)

    async def delete_credential(self, vault: str, credential: str, *, tenant: str | None) -> None:
        """NotFound."""
        await self._credential(vault, credential, tenant)
        await self._secrets.delete(CREDENTIAL, credential, tenant=tenant)
        await self._store.delete_document(CREDENTIAL, credential, tenant=tenant)

    # --- using them ---

    async def bearer_for(self, url: str, vaults: Sequence[str], *, tenant: str | None) -> str | None:
        """The token for a request to just this address, from the first of these vaults that has one; None without any.

        A token that has ended is renewed where it can be, once for all who ask; ToolFailed when that fails. A vault that is
        gone or archived has none. SecretUnreadable.
        """
        place = place_of(url)
        for vault in vaults:
            try:
                await self._vault(vault, tenant, usable=True)
            except (NotFound, InvalidArgument):
                continue
            for document in await self._store.documents(
                CREDENTIAL, tenant=tenant, keys={"vault": vault}, limit=MOST, archived=False
            ):
                body = _decoder.decode(document.body)
                if body.place == place:
                    return await self._token(document, body)
        return None

    async def token(self, vault: str, credential: str, *, tenant: str | None) -> str:
        """The token as it is now, ended or not: for who finds out whether it is taken. NotFound, SecretUnreadable."""
        document, body = await self._credential(vault, credential, tenant)
        return _current(body.method, await self._secret(document))

    async def renew(self, vault: str, credential: str, *, tenant: str | None) -> str | RefreshFailed | None:
        """Get a new token from the token endpoint and keep it; None when there is no way to. NotFound, SecretUnreadable."""
        await self._credential(vault, credential, tenant)
        return await self._renewed(vault, credential, tenant, always=True)

    async def _token(self, document: Document, body: CredentialBody) -> str:
        if self._has_ended(body):
            found = await self._renewed(body.vault, document.id, document.tenant)
            if isinstance(found, RefreshFailed):
                raise ToolFailed(f"the token for {body.url} has ended and cannot be renewed: {found.message}")
            if found is not None:
                return found
        return _current(body.method, await self._secret(document))

    def _has_ended(self, body: CredentialBody) -> bool:
        return body.expires_ms is not None and body.expires_ms <= self._clock.now_ms() + SOON_S * 1000

    async def _renewed(
        self, vault: str, credential: str, tenant: str | None, *, always: bool = False
    ) -> str | RefreshFailed | None:
        """Once for all who want it, and to its end whoever stops waiting: many endpoints take a refresh token once, take a
        second use of it for a theft, and answer with the only one that is good from then on."""
        place = (tenant, credential)
        renewing = self._renewing.get(place)
        if renewing is None:
            renewing = asyncio.create_task(self._renew(vault, credential, tenant, always), name=f"renew {credential}")
            self._renewing[place] = renewing
            renewing.add_done_callback(lambda ended: self._renewal_ended(place, ended))
        return await asyncio.shield(renewing)

    def _renewal_ended(self, place: tuple[str | None, str], ended: asyncio.Task[str | RefreshFailed | None]) -> None:
        del self._renewing[place]
        if not ended.cancelled() and (error := ended.exception()) is not None:
            logger.info("the token of %s was not renewed: %s", place[1], error)  # those who wait are told as well

    async def _renew(self, vault: str, credential: str, tenant: str | None, always: bool) -> str | RefreshFailed | None:
        async with self._alone(credential, tenant):
            document, body = await self._credential(vault, credential, tenant)
            secret = await self._secret(document)
            if not always and not self._has_ended(body):
                return _current(body.method, secret)  # somebody else was faster
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
                await self._put(document, msgspec.structs.replace(body, expires_ms=until), {**secret, **new})
                break
            except RevisionConflict:
                document, body = await self._credential(body.vault, document.id, document.tenant)
                if document.archived_ms is not None:
                    break
                secret = await self._secret(document)
                if secret.get("refresh_token") != used:
                    return _current(body.method, secret)
        return found.access_token

    # --- within ---

    async def _put(self, document: Document, body: CredentialBody, secret: Secret | None) -> Credential:
        """Both, or neither."""
        made = msgspec.structs.replace(
            document,
            body=msgspec.json.encode(body),
            keys={"vault": body.vault},
            unique={"place": f"{body.vault} {body.place}"},
        )
        documents = [made]
        if secret is not None:
            packed = msgspec.json.encode(dict(secret))
            documents.append(await self._secrets.seal(CREDENTIAL, document.id, packed, tenant=document.tenant))
        try:
            stored = (await self._store.put_documents(documents))[0]
        except DocumentExists as error:
            if error.details.get("key") != "place":
                raise
            text = f"vault {body.vault!r} has a credential for {body.url} already: change or archive it"
            raise Conflict(text, vault=body.vault, credential=error.details.get("id")) from None
        return _credential(stored, body)

    async def _secret(self, document: Document) -> dict[str, str]:
        packed = await self._secrets.get(CREDENTIAL, document.id, tenant=document.tenant)
        return msgspec.json.decode(packed, type=dict[str, str])

    async def _vault(self, vault: str, tenant: str | None, *, usable: bool = False) -> Document:
        try:
            found = await self._store.get_document(VAULT, vault, tenant=tenant)
        except DocumentNotFound:
            raise NotFound(f"there is no vault {vault!r}", vault=vault) from None
        if usable and found.archived_ms is not None:
            raise InvalidArgument(f"vault {vault!r} is archived", vault=vault)
        return found

    async def _credential(self, vault: str, credential: str, tenant: str | None) -> tuple[Document, CredentialBody]:
        await self._vault(vault, tenant)
        try:
            found = await self._store.get_document(CREDENTIAL, credential, tenant=tenant)
        except DocumentNotFound:
            found = None
        if found is None or found.keys.get("vault") != vault:
            raise NotFound(f"vault {vault!r} has no credential {credential!r}", vault=vault, credential=credential)
        return found, _decoder.decode(found.body)


def place_of(url: str, what: str = "the address") -> str:
    """An address as it is compared. InvalidArgument."""
    try:
        return parse(url).full
    except ToolFailed as error:
        raise InvalidArgument(f"{what}: {error.message}") from None


def _current(method: Method, secret: Secret) -> str:
    return secret["token" if method == "bearer" else "access_token"]


_decoder = msgspec.json.Decoder(CredentialBody)


def _expected(document: Document, revision: int | None) -> Document:
    """RevisionConflict unless it has this revision, or any will do."""
    if revision is not None and document.revision != revision:
        text = f"{document.kind} {document.id!r} was changed meanwhile: it has revision {document.revision}, not {revision}"
        raise RevisionConflict(text, kind=document.kind, id=document.id, revision=document.revision)
    return document


def _vault(document: Document) -> Vault:
    data = document.data()
    return Vault(
        document.id,
        data["title"],
        data["metadata"],
        document.created_ms,
        document.updated_ms,
        document.archived_ms,
        document.revision,
    )


def _credential(document: Document, body: CredentialBody) -> Credential:
    return Credential(
        document.id,
        body.vault,
        body.method,
        body.url,
        body.title,
        body.metadata,
        document.created_ms,
        document.updated_ms,
        document.archived_ms,
        document.revision,
        body.expires_ms,
        body.client,
    )
