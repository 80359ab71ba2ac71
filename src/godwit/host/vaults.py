"""Vaults: credentials of a tenant for services that its sessions use, whichever protocol they were given in.

A vault and a credential are a document each, what is secret of a credential is kept by `contracts.SecretStore`. Owns which
credential fits an address; leaves out that tokens are renewed in time (`token_renewal.py`) and what a wire calls all this.
Rules: nothing here gives out a secret but `bearer_for`, for the one request to the one address; of an archived credential
the secret is gone, in the same commit; so is all that is in a vault with the vault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..contracts import DocumentStore, SecretStore
from ..core.document import Document, encode_body
from ..core.errors import (
    Conflict,
    DocumentExists,
    DocumentNotFound,
    InvalidArgument,
    NotFound,
    RevisionConflict,
    ToolFailed,
)
from ..core.ids import Clock, IdSource
from ..tools.fetch import Fetcher
from ..tools.url import parse
from .credentials import CREDENTIAL, Credential, CredentialBody, Method, Secret, body_of, current_token
from .oauth import Client, RefreshFailed
from .session_tokens import PREFIX, SessionTokens
from .slots import SLOT, free_slot
from .token_renewal import TokenRenewal

VAULT = "vault"
"""Kind of documents."""
MOST = 20
"""Credentials of one vault that are not archived."""
_TRIES = 20


class Vault(msgspec.Struct, frozen=True):
    """`revision`: grows with each change. Times in ms."""

    id: str
    title: str
    metadata: dict[str, str]
    created_ms: int
    updated_ms: int
    archived_ms: int | None
    revision: int


class Vaults:
    """`fetcher`: asks token endpoints."""

    def __init__(self, store: DocumentStore, secrets: SecretStore, fetcher: Fetcher, ids: IdSource, clock: Clock) -> None:
        self._store = store
        self._secrets = secrets
        self._ids = ids
        self._clock = clock
        self._renewal = TokenRenewal(self, store, fetcher, clock)
        self.of_sessions = SessionTokens(store, secrets)

    async def close(self) -> None:
        """Let the renewals under way end."""
        await self._renewal.close()

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
        """It and its credentials can be used no more, and their secrets are gone, all in one commit. NotFound."""
        for _ in range(_TRIES):
            old, live = await self._vault(vault, tenant), await self._all(vault, tenant, archived=False)
            if old.archived_ms is not None and not live:
                return _vault(old)
            now = self._clock.now_ms()
            changed = [one.changed(one.data(), archived_ms=now, unique={}) for one in live]
            if old.archived_ms is None:
                changed.insert(0, old.changed(old.data(), archived_ms=now))
            with contextlib.suppress(RevisionConflict, DocumentNotFound):
                gone = [self._secrets.kept_in(CREDENTIAL, one.id) for one in live]
                await self._store.put_documents(changed, remove=gone, tenant=tenant)
            # Once more, for what was added just before that commit.
        raise RevisionConflict(f"vault {vault!r} is being changed by others all the time", vault=vault)

    async def delete(self, vault: str, *, tenant: str | None) -> None:
        """With all its credentials, in one commit. NotFound."""
        await self._vault(vault, tenant)
        gone: list[tuple[str, str]] = [(VAULT, vault)]
        while gone:
            gone += [name for one in await self._all(vault, tenant) for name in self._names(one.id)]
            await self._store.put_documents([], remove=gone, tenant=tenant)
            # Once more, for what was added just before that commit.
            gone = [name for one in await self._all(vault, tenant) for name in self._names(one.id)]

    def _names(self, credential: str) -> list[tuple[str, str]]:
        """The documents of a credential: what it is, and its secret."""
        return [(CREDENTIAL, credential), self._secrets.kept_in(CREDENTIAL, credential)]

    async def _all(self, vault: str, tenant: str | None, *, archived: bool | None = None) -> list[Document]:
        """The documents of its credentials."""
        found: list[Document] = []
        after: tuple[int, str] | None = None
        while True:
            page = await self._store.documents(
                CREDENTIAL, tenant=tenant, keys={"vault": vault}, limit=100, after=after, archived=archived
            )
            found += page
            if len(page) < 100:
                return found
            after = (page[-1].created_ms, page[-1].id)

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
        new = Document(CREDENTIAL, credential or self._ids.new("vcrd"), b"{}", tenant)
        made = await self._take_slot(new, body, secret)
        try:
            await self._vault(vault, tenant, usable=True)
        except (NotFound, InvalidArgument):  # archived or deleted just now, without this one
            await self._store.put_documents([], remove=self._names(made.id), tenant=tenant)
            raise
        return made

    async def _take_slot(self, new: Document, body: CredentialBody, secret: Secret) -> Credential:
        """Of two that want the last slot of the vault, one gets it. InvalidArgument without a free one; Conflict."""
        while True:
            taken = await self._all(body.vault, new.tenant, archived=False)
            slot = free_slot(taken, MOST, f"{body.vault} ")
            if slot is None:
                text = f"vault {body.vault!r} has {MOST} credentials, and no more fit: archive one"
                raise InvalidArgument(text, vault=body.vault)
            try:
                return await self.put(msgspec.structs.replace(new, unique={SLOT: slot}), body, secret)
            except DocumentExists as error:
                if error.details.get("key") != SLOT:
                    raise

    async def credential(self, vault: str, credential: str, *, tenant: str | None) -> Credential:
        """NotFound, also for one of another vault."""
        return _credential(*await self.found(vault, credential, tenant))

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
        return [_credential(one, body_of(one)) for one in found]

    async def change(
        self, vault: str, credential: str, secret: Secret, *, tenant: str | None, expect: int | None = None, **fields: Any
    ) -> Credential:
        """Set these parts of the secret, and these fields: `title`, `metadata`, `expires_ms`, `client`. `expect`: the
        revision that this changes.

        NotFound; InvalidArgument when it is archived; RevisionConflict.
        """
        document, body = await self.found(vault, credential, tenant)
        _expected(document, expect)
        if document.archived_ms is not None:
            raise InvalidArgument(f"credential {credential!r} is archived: add another", credential=credential)
        body = msgspec.structs.replace(body, **fields)
        whole = {**await self.secret_of(document), **secret} if secret else None
        return await self.put(document, body, whole)

    async def archive_credential(self, vault: str, credential: str, *, tenant: str | None) -> Credential:
        """Its secret is gone, and another may take its address. NotFound."""
        document, body = await self.found(vault, credential, tenant)
        if document.archived_ms is None:
            changed = document.changed(document.data(), archived_ms=self._clock.now_ms(), unique={})
            secret = self._secrets.kept_in(CREDENTIAL, credential)
            (document,) = await self._store.put_documents([changed], remove=[secret], tenant=tenant)
        return _credential(document, body)

    async def delete_credential(self, vault: str, credential: str, *, tenant: str | None) -> None:
        """NotFound."""
        await self.found(vault, credential, tenant)
        await self._store.put_documents([], remove=self._names(credential), tenant=tenant)

    # --- using them ---

    async def bearer_for(self, url: str, vaults: Sequence[str], *, tenant: str | None) -> str | None:
        """The token for a request to just this address, from the first of these vaults that has one; None without any.

        A token that has ended is renewed where it can be, once for all who ask; ToolFailed when that fails. A vault that is
        gone or archived has none. SecretUnreadable.
        """
        found = await self._fitting(url, vaults, tenant)
        return found if found is None or isinstance(found, str) else await self._token(*found)

    async def bearer_after(self, url: str, vaults: Sequence[str], refused: str, *, tenant: str | None) -> str | None:
        """The token in place of one that was refused although it had not ended: what somebody else got meanwhile, else a new
        one, once for all who ask; None where there is no way to one. ToolFailed when the token endpoint gives none."""
        found = await self._fitting(url, vaults, tenant)
        if found is None or isinstance(found, str):
            return None if found == refused else found
        document, body = found
        current = current_token(body.method, await self.secret_of(document))
        if current != refused:
            return current
        new = await self._renewal.renewed(body.vault, document.id, tenant, refused=refused)
        if isinstance(new, RefreshFailed):
            raise ToolFailed(f"the token for {body.url} is refused, and cannot be renewed: {new.message}")
        return new

    async def _fitting(
        self, url: str, vaults: Sequence[str], tenant: str | None
    ) -> str | tuple[Document, CredentialBody] | None:
        """The first credential of these vaults for just this address; a token that the session was given is itself."""
        place = place_of(url)
        for vault in vaults:
            if vault.startswith(PREFIX):
                own = await self.of_sessions.token_for(place, vault, tenant=tenant)
                if own is not None:
                    return own
                continue
            try:
                await self._vault(vault, tenant, usable=True)
            except (NotFound, InvalidArgument):
                continue
            for document in await self._store.documents(
                CREDENTIAL, tenant=tenant, keys={"vault": vault}, limit=MOST, archived=False
            ):
                body = body_of(document)
                if body.place == place:
                    return document, body
        return None

    async def token(self, vault: str, credential: str, *, tenant: str | None) -> str:
        """The token as it is now, ended or not: for who finds out whether it is taken. NotFound, SecretUnreadable."""
        document, body = await self.found(vault, credential, tenant)
        return current_token(body.method, await self.secret_of(document))

    async def renew(self, vault: str, credential: str, *, tenant: str | None) -> str | RefreshFailed | None:
        """Get a new token from the token endpoint and keep it; None when there is no way to. NotFound, SecretUnreadable."""
        await self.found(vault, credential, tenant)
        return await self._renewal.renewed(vault, credential, tenant, always=True)

    async def _token(self, document: Document, body: CredentialBody) -> str:
        if self._renewal.has_ended(body):
            found = await self._renewal.renewed(body.vault, document.id, document.tenant)
            if isinstance(found, RefreshFailed):
                raise ToolFailed(f"the token for {body.url} has ended and cannot be renewed: {found.message}")
            if found is not None:
                return found
        return current_token(body.method, await self.secret_of(document))

    # --- within ---

    async def put(self, document: Document, body: CredentialBody, secret: Secret | None) -> Credential:
        """Both, or neither."""
        made = msgspec.structs.replace(
            document,
            body=msgspec.json.encode(body),
            keys={"vault": body.vault},
            unique={**document.unique, "place": f"{body.vault} {body.place}"},
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

    async def secret_of(self, document: Document) -> dict[str, str]:
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

    async def found(self, vault: str, credential: str, tenant: str | None) -> tuple[Document, CredentialBody]:
        await self._vault(vault, tenant)
        try:
            found = await self._store.get_document(CREDENTIAL, credential, tenant=tenant)
        except DocumentNotFound:
            found = None
        if found is None or found.keys.get("vault") != vault:
            raise NotFound(f"vault {vault!r} has no credential {credential!r}", vault=vault, credential=credential)
        return found, body_of(found)


def place_of(url: str, what: str = "the address") -> str:
    """An address as it is compared. InvalidArgument."""
    try:
        return parse(url).full
    except ToolFailed as error:
        raise InvalidArgument(f"{what}: {error.message}") from None


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
