"""Secrets: small things that who has the database alone must not read, kept as documents.

Envelope encryption: each secret is sealed with a key of its own (AES-256-GCM), that one with the current key of `Keys`,
whose id is stored. Both are bound to the tenant, the kind and the id, so what is sealed opens in its own place alone. To
rotate is to seal the keys of secrets anew, not the secrets. Leaves out where keys come from (`secret_keys.py`).
"""

from __future__ import annotations

import base64
import os
from typing import Any

import msgspec

from ..contracts import DocumentStore
from ..core.document import Document, encode_body
from ..core.errors import DocumentExists, DocumentNotFound, RevisionConflict, SecretUnreadable
from .secret_keys import KEY_BYTES, Keys, SecretKey

KIND = "secret"
"""Of the documents."""
_NONCE = 12
_TRIES = 20


class Rotation(msgspec.Struct, frozen=True):
    """`key`: the id of the current key. `sealed`: how many secrets were sealed with it anew."""

    key: str
    sealed: int


class Secrets:
    """Implements `contracts.SecretStore`."""

    def __init__(self, store: DocumentStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def seal(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """See `SecretStore.seal`."""
        name = _name(kind, id)
        try:
            before = await self._store.get_document(KIND, name, tenant=tenant)
        except DocumentNotFound:
            before = Document(KIND, name, b"{}", tenant)
        own, bound = os.urandom(KEY_BYTES), _bound(kind, id, tenant)
        body = {"secret": _shut(own, secret, bound, b"secret")}
        return _with_key(before, body, own, bound, self._keys.all()[0])

    def kept_in(self, kind: str, id: str) -> tuple[str, str]:  # noqa: A002 - as above
        """See `SecretStore.kept_in`."""
        return KIND, _name(kind, id)

    async def put(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> None:  # noqa: A002 - as above
        """See `SecretStore.put`."""
        for _ in range(_TRIES):
            try:
                await self._store.put_documents([await self.seal(kind, id, secret, tenant=tenant)])
            except (RevisionConflict, DocumentExists):
                continue
            return
        raise RevisionConflict(f"the secret of {kind} {id!r} is being changed by others all the time", kind=kind, id=id)

    async def get(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """See `SecretStore.get`."""
        document = await self._store.get_document(KIND, _name(kind, id), tenant=tenant)
        body, bound = document.data(), _bound(kind, id, tenant)
        own = self._own_key(document, body, bound)
        return _opened(own, body.get("secret"), bound, b"secret", f"{kind} {id!r}")

    async def delete(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """See `SecretStore.delete`."""
        return await self._store.delete_document(KIND, _name(kind, id), tenant=tenant)

    async def rotate(self) -> Rotation:
        """Make a new key the current one and seal all secrets with it, of all tenants. It may be cut off and done again.

        Keys from outside are not made here: the first of them counts as the new one. In a file, the key before stays until
        the next rotation, for processes that have just sealed something with it; older ones that nothing needs go.
        SecretUnreadable names the first secret that does not open; delete it, or set it anew.
        """
        used = [key.id for key in self._keys.all() if await self._sealed_with(key) is not None]
        current = self._keys.renew(used)
        sealed = 0
        for key in self._keys.all():
            while key.id != current.id and (document := await self._sealed_with(key)) is not None:
                kind, _, id_ = document.id.partition("/")
                body, bound = document.data(), _bound(kind, id_, document.tenant)
                own = self._own_key(document, body, bound)
                try:
                    await self._store.put_documents([_with_key(document, body, own, bound, current)])
                    sealed += 1
                except (RevisionConflict, DocumentNotFound):
                    continue  # it was changed or deleted meanwhile: the next look says how it stands
        return Rotation(current.id, sealed)

    async def _sealed_with(self, key: SecretKey) -> Document | None:
        return await self._store.find_document(KIND, "key", key.id)

    def _own_key(self, document: Document, body: dict[str, Any], bound: bytes) -> bytes:
        what = document.id.replace("/", " ", 1)
        keys = self._keys.all()
        key = next((one for one in keys if one.id == body.get("key")), None)
        if key is None:
            raise SecretUnreadable(
                f"the secret of {what} was sealed with {body.get('key')}, which is not among the keys here "
                f"({', '.join(one.id for one in keys)}): put that key back, or set the secret anew",
                key=body.get("key"),
            )
        return _opened(key.raw, body.get("own_key"), bound, b"key", what)


def _with_key(document: Document, body: dict[str, Any], own: bytes, bound: bytes, key: SecretKey) -> Document:
    body = {**body, "key": key.id, "own_key": _shut(key.raw, own, bound, b"key")}
    return msgspec.structs.replace(document, body=encode_body(body), keys={"key": key.id})


def _shut(key: bytes, content: bytes, bound: bytes, what: bytes) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, what + b"\0" + bound)).decode()


def _opened(key: bytes, sealed: Any, bound: bytes, what: bytes, name: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        raw = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], what + b"\0" + bound)
    except (InvalidTag, ValueError, TypeError):
        raise SecretUnreadable(
            f"the secret of {name} does not open here: it was moved from elsewhere, or changed: set it anew"
        ) from None


def _name(kind: str, id_: str) -> str:
    return f"{kind}/{id_}"


def _bound(kind: str, id_: str, tenant: str | None) -> bytes:
    return msgspec.json.encode([tenant, kind, id_])
