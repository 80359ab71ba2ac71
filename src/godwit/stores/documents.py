"""Documents in SQLite: implements `DocumentStore`, as a part of `SqliteStore`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from ..core.document import Document
from ..core.errors import DocumentExists, DocumentNotFound, InvalidArgument, RevisionConflict
from ..core.feed import DOCUMENT, Change, encode_change
from ..core.ids import SessionId
from .batch import Unit
from .part import StorePart
from .requests import Call

_END = (1 << 62) - 1
_keys_decoder = msgspec.json.Decoder(list[tuple[str, str, bool]])


class DocumentsPart(StorePart):
    """What `SqliteStore` does with documents."""

    async def put_documents(
        self,
        documents: Sequence[Document],
        *,
        contents: Mapping[str, bytes] | None = None,
        remove: Sequence[tuple[str, str]] = (),
        tenant: str | None = None,
        ahead: bool = False,
    ) -> list[Document]:
        """See `DocumentStore.put_documents`."""

        async def put(transaction: Unit) -> list[Document]:
            now = self._clock.now_ms()
            stored = [await _put(transaction, document, now) for document in documents]
            for document in documents:
                if contents is not None and document.id in contents:
                    parameters = {**_name(document.kind, document.id, document.tenant), "content": contents[document.id]}
                    await transaction.do("put_document_content", parameters)
            for kind, id_ in remove:
                await _remove(transaction, kind, id_, tenant, now)
            return stored

        async def apply(transaction: Unit) -> list[Document]:
            # Others commit in the same transaction, so what is refused takes back only its own.
            await transaction.do("begin_part")
            try:
                return await put(transaction)
            except BaseException:
                await transaction.do("undo_part")
                raise
            finally:
                await transaction.do("end_part")

        return await self._writer.do(Call(apply), ahead=ahead)

    async def get_document(self, kind: str, id: str, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """See `DocumentStore.get_document`."""
        found = await self._select("get_document", {**_name(kind, id, tenant), "now": self._clock.now_ms()})
        if not found:
            raise _no_document(kind, id)
        return _document(found[0])

    async def document_content(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """See `DocumentStore.document_content`."""
        found = await self._select("get_document_content", {**_name(kind, id, tenant), "now": self._clock.now_ms()})
        if not found:
            raise _no_document(kind, id)
        return bytes(found[0][0] or b"")

    async def find_document(self, kind: str, key: str, value: str) -> Document | None:
        """See `DocumentStore.find_document`."""
        found = await self._select("find_document", {"kind": kind, "key": key, "value": value, "now": self._clock.now_ms()})
        return _document(found[0]) if found else None

    async def find_documents(
        self, kind: str, key: str, value: str, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[Document]:
        """See `DocumentStore.find_documents`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        at_ms, at_id = after or (-1, "")
        parameters = {"kind": kind, "key": key, "value": value, "limit": limit, "at_ms": at_ms, "at_id": at_id}
        found = await self._select("find_documents", {**parameters, "now": self._clock.now_ms()})
        return [_document(one) for one in found]

    async def documents(
        self,
        kind: str,
        *,
        tenant: str | None,
        keys: Mapping[str, str] | None = None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
        archived: bool | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
    ) -> list[Document]:
        """See `DocumentStore.documents`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        at_ms, at_id = after or ((-1, "") if ascending else (_END, ""))
        parameters = {
            "kind": kind,
            "tenant": tenant or "",
            "keys": None if not keys else msgspec.json.encode(list(keys.items())).decode(),
            "count": len(keys or ()),
            "limit": limit,
            "at_ms": at_ms,
            "at_id": at_id,
            "archived": archived,
            "from_ms": created_from_ms,
            "to_ms": created_to_ms,
            "now": self._clock.now_ms(),
        }
        found = await self._select("list_documents" if ascending else "list_documents_newest_first", parameters)
        return [_document(one) for one in found]

    async def delete_document(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """See `DocumentStore.delete_document`."""

        async def apply(transaction: Unit) -> bool:
            return await _remove(transaction, kind, id, tenant, self._clock.now_ms())

        return await self._writer.do(Call(apply))

    async def purge_documents(self) -> int:
        """See `DocumentStore.purge_documents`."""

        async def apply(transaction: Unit) -> int:
            expired = await transaction.all("expired_documents", (self._clock.now_ms(),))
            return sum([await _delete(transaction, kind, id_, tenant or None) for tenant, kind, id_ in expired])

        return await self._writer.do(Call(apply))

    async def stray_documents(self, before_ms: int, *, limit: int = 50) -> list[Document]:
        """See `DocumentStore.stray_documents`."""
        if limit < 0:
            raise InvalidArgument(f"limit {limit} is negative", limit=limit)
        return [_document(one) for one in await self._select("stray_documents", {"before_ms": before_ms, "limit": limit})]

    async def count_documents(self, kind: str, key: str) -> int:
        """See `DocumentStore.count_documents`."""
        return int((await self._select("count_documents", {"kind": kind, "key": key, "now": self._clock.now_ms()}))[0][0])

    async def document_bytes(self, tenant: str | None, *, leave_out: Collection[str] = ()) -> int:
        """See `DocumentStore.document_bytes`."""
        parameters = {"tenant": tenant or "", "leave_out": msgspec.json.encode(list(leave_out)).decode()}
        return int((await self._select("document_bytes", parameters))[0][0])


async def _put(transaction: Unit, document: Document, now: int) -> Document:
    name = _name(document.kind, document.id, document.tenant)
    found = await transaction.one("document_revision", name)
    if found is not None and found[3] is not None and found[3] <= now:
        await _delete(transaction, document.kind, document.id, document.tenant)
        found = None
    if document.revision == 0 and found is not None:
        raise DocumentExists(f"there is a {document.kind} {document.id!r} already", kind=document.kind, id=document.id)
    if document.revision > 0 and found is None:
        raise _no_document(document.kind, document.id)
    if found is not None and found[1] != document.revision:
        text = f"{document.kind} {document.id!r} was changed meanwhile: it has revision {found[1]}, not {document.revision}"
        raise RevisionConflict(text, kind=document.kind, id=document.id, revision=found[1])
    created = now if found is None else found[2]
    stored = msgspec.structs.replace(document, revision=document.revision + 1, created_ms=created, updated_ms=now)
    parameters = {
        **name,
        "revision": stored.revision,
        "created_ms": stored.created_ms,
        "updated_ms": stored.updated_ms,
        "archived_ms": stored.archived_ms,
        "expires_ms": stored.expires_ms,
        "body": stored.body,
        "session": stored.session,
    }
    if found is None:
        (key,) = await transaction.first("insert_document", parameters)
    else:
        key = found[0]
        await transaction.do("update_document", parameters)
        await transaction.do("delete_document_keys", (key,))
    for values, unique in ((stored.keys, 0), (stored.unique, 1)):
        for one, value in values.items():
            row = {"tenant": name["tenant"], "kind": name["kind"], "name": one, "value": value}
            if unique:
                holder = await transaction.one("unique_holder", {**row, "now": now})
                if holder is not None:
                    text = f"there is a {document.kind} with {one} {value!r} already: {holder[0]}"
                    raise DocumentExists(text, kind=document.kind, id=holder[0], key=one, value=value)
            await transaction.do("insert_document_key", {**row, "document": key, "only": unique})
    if (type_ := DOCUMENT + stored.kind) in transaction.fed:
        archived = stored.archived_ms is not None and (found is None or found[4] is None)
        change: Change = "created" if found is None else "archived" if archived else "changed"
        body = encode_change(change, dict(stored.keys))
        await transaction.feed_document(type_, stored.id, stored.tenant, stored.revision, now, body)
    return stored


async def delete_documents_of(transaction: Unit, session: SessionId, now: int) -> None:
    """Remove what goes with a session, in the transaction that deletes it."""
    for tenant, kind, id_ in await transaction.all("documents_of_session", (session,)):
        await _remove(transaction, kind, id_, tenant or None, now)


async def _remove(transaction: Unit, kind: str, id_: str, tenant: str | None, now: int) -> bool:
    """Delete it, which is told to who follows the feed."""
    found = await transaction.one("document_revision", _name(kind, id_, tenant))
    if found is not None and (type_ := DOCUMENT + kind) in transaction.fed:
        body = encode_change("deleted", dict(await transaction.all("document_keys", (found[0],))))
        await transaction.feed_document(type_, id_, tenant, found[1], now, body)
    return await _delete(transaction, kind, id_, tenant)


async def _delete(transaction: Unit, kind: str, id_: str, tenant: str | None) -> bool:
    found = await transaction.one("document_revision", _name(kind, id_, tenant))
    if found is None:
        return False
    for query in ("delete_document_keys", "delete_document_content", "delete_document"):
        await transaction.do(query, (found[0],))
    return True


def _name(kind: str, id_: str, tenant: str | None) -> dict[str, Any]:
    return {"kind": kind, "id": id_, "tenant": tenant or ""}


def _document(row: Sequence[Any]) -> Document:
    kind, id_, body, tenant, revision, created, updated, archived, expires, session, packed = row
    keys = _keys_decoder.decode(packed) if packed else []
    return Document(
        kind,
        id_,
        bytes(body),
        tenant or None,
        revision,
        created,
        updated,
        archived,
        expires,
        {name: value for name, value, only in keys if not only},
        {name: value for name, value, only in keys if only},
        session,
    )


def _no_document(kind: str, id_: str) -> DocumentNotFound:
    return DocumentNotFound(f"there is no {kind} {id_!r}", kind=kind, id=id_)


__all__ = ["DocumentsPart", "delete_documents_of"]
