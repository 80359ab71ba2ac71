"""Keys: API keys, made, listed, taken back, and told from anything else.

A key is `gw_`, 43 letters and digits (256 bits of chance), and 6 of a checksum, by which a mistyped or cut off one is told
without a look at the store, and secret scanners tell a real one. It is shown once, when it is made.

Only its SHA-256 is kept. A slow hash protects what people choose, which can be guessed; 256 bits of chance cannot, so it
would cost each request and win nothing. Found by its hash: what a look in an index tells by its time is about the hash of
what was sent, which says nothing of another key. Rule: no key and no part of one is in a log, an error or a document.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from collections.abc import Sequence
from typing import get_args

import msgspec

from ..contracts import Store
from ..core.document import Document
from ..core.errors import DocumentNotFound, GodwitError, InvalidArgument, RevisionConflict, Unauthenticated
from ..core.ids import Clock, IdSource
from ..core.principal import NAME_LENGTH, Principal, Scope, names_somebody

KIND = "api_key"
PREFIX = "gw_"
USED_MS = 10 * 60 * 1000
"""How exact the time of the last use is: at most one write in so long."""
LONGEST_MS = 100 * 366 * 86_400_000
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHANCE, _CHECK = 43, 6
_PAGE = 200


class ApiKey(msgspec.Struct, frozen=True):
    """A key as it is listed: all but the key. `tenant`: None for what belongs to none. Times in ms since 1970 UTC."""

    id: str
    name: str
    tenant: str | None
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int | None = None
    last_used_ms: int | None = None
    revoked_ms: int | None = None

    def state(self, now_ms: int) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "active"


class ApiKeys:
    """The keys in one store."""

    def __init__(self, store: Store, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def create(
        self, name: str, *, tenant: str | None, scopes: Sequence[str], expires_ms: int | None = None
    ) -> tuple[str, ApiKey]:
        """A new key, and how it is listed. InvalidArgument."""
        known = get_args(Scope)
        if not scopes or any(scope not in known for scope in scopes):
            raise InvalidArgument(f"scopes {list(scopes)!r}: name at least one of {', '.join(known)}", scopes=list(scopes))
        for what, text in (("key", name), ("tenant", tenant)):
            if text is not None and not names_somebody(text):
                problem = f"a {what} needs a name of 1 to {NAME_LENGTH} characters that can be printed"
                raise InvalidArgument(problem, **{what: text[:NAME_LENGTH]})
        now = self._clock.now_ms()
        if expires_ms is not None and expires_ms <= now:
            raise InvalidArgument("a key that has expired already is of no use", expires_ms=expires_ms)
        if expires_ms is not None and expires_ms - now > LONGEST_MS:
            raise InvalidArgument("a key expires within 100 years, or never: leave it out for that", expires_ms=expires_ms)
        given = [scope for scope in known if scope in scopes]
        key = new_key()
        made = ApiKey(self._ids.new("key"), name, tenant, tuple(given), now, expires_ms)
        document = Document(
            *(KIND, made.id, msgspec.json.encode(made)), keys={"tenant": tenant or ""}, unique={"hash": hash_of(key)}
        )
        await self._store.put_documents([document])
        return key, made

    async def list(self, *, tenants: Sequence[str | None] | None = None) -> list[ApiKey]:
        """Those of these tenants, or all, the newest first."""
        found: list[ApiKey] = []
        for keys in [None] if tenants is None else [{"tenant": tenant or ""} for tenant in tenants]:
            after: tuple[int, str] | None = None
            while True:
                page = await self._store.documents(KIND, tenant=None, keys=keys, limit=_PAGE, after=after)
                found += [_key(document) for document in page]
                if len(page) < _PAGE:
                    break
                after = (page[-1].created_ms, page[-1].id)
        return found

    async def get(self, key_id: str) -> ApiKey:
        """DocumentNotFound."""
        return _key(await self._store.get_document(KIND, key_id, tenant=None))

    async def revoke(self, key_id: str) -> ApiKey:
        """From now on it is not taken. It stays listed. DocumentNotFound."""
        while True:
            document = await self._store.get_document(KIND, key_id, tenant=None)
            found = _key(document)
            if found.revoked_ms is not None:
                return found
            revoked = msgspec.structs.replace(found, revoked_ms=self._clock.now_ms())
            try:
                await self._store.put_documents([document.changed(msgspec.to_builtins(revoked))])
            except RevisionConflict:
                continue
            return revoked

    async def any_active(self) -> bool:
        """Whether somebody could get in."""
        now = self._clock.now_ms()
        return any(key.state(now) == "active" for key in await self.list())

    async def principal(self, key: str) -> Principal:
        """Whose key this is. Unauthenticated."""
        if not well_formed(key):
            raise Unauthenticated("this is no API key of godwit's, or not all of it")
        hashed = hash_of(key)
        document = await self._store.find_document(KIND, "hash", hashed)
        if document is None or not hmac.compare_digest(document.unique.get("hash", ""), hashed):
            raise Unauthenticated("this API key is not known")
        found, now = _key(document), self._clock.now_ms()
        state = found.state(now)
        if state != "active":
            raise Unauthenticated(f"this API key is {state}")
        if found.last_used_ms is None or now - found.last_used_ms >= USED_MS:
            used = msgspec.structs.replace(found, last_used_ms=now)
            try:
                await self._store.put_documents([document.changed(msgspec.to_builtins(used))])
            except (RevisionConflict, DocumentNotFound):
                return await self.principal(key)  # changed meanwhile: it may have been taken back
            except GodwitError:
                pass  # a full disk is no reason to let nobody read
        return Principal(found.id, found.tenant, frozenset(found.scopes))


def new_key() -> str:
    """A key that nobody has."""
    chance = _digits(int.from_bytes(os.urandom(32), "big"), _CHANCE)
    return PREFIX + chance + _check(chance)


def well_formed(key: str) -> bool:
    """Whether it can be a key at all."""
    chance, check = key[len(PREFIX) : -_CHECK], key[-_CHECK:]
    if not key.startswith(PREFIX) or len(chance) != _CHANCE or not key.isascii():
        return False
    return hmac.compare_digest(check, _check(chance))


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _check(chance: str) -> str:
    return _digits(zlib.crc32(chance.encode()), _CHECK)


def _digits(number: int, length: int) -> str:
    out = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        out = _DIGITS[digit] + out
    return out


def _key(document: Document) -> ApiKey:
    return msgspec.json.decode(document.body, type=ApiKey)
