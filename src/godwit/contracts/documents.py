"""The store of what a host keeps beside its sessions. What a document is stands in `core.document`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ..core.document import Document


class DocumentStore(Protocol):
    """What a host keeps beside its sessions, see `core.document`.

    A tenant sees only its own; None sees those of no tenant. What has expired is not seen. Times are by the store's clock.
    Proven by `godwit.testing.StoreConformance`.
    """

    async def put_documents(
        self,
        documents: Sequence[Document],
        *,
        contents: Mapping[str, bytes] | None = None,
        remove: Sequence[tuple[str, str]] = (),
        tenant: str | None = None,
        ahead: bool = False,
    ) -> list[Document]:
        """Store all of them or none; returns them as stored. `contents`: bytes to keep beside a document, by its id.
        `remove`: kinds and ids of documents of `tenant` that are deleted in the same commit, if they are there.

        `ahead`: not for their own sake, but no later than whatever this store is asked to store next, or `flush`. Until then
        this may wait: it is for what must not be missing where the next thing is, and costs as good as nothing with it.

        DocumentExists when a new one's id, or a unique key, is taken; DocumentNotFound and RevisionConflict when a known one
        is gone, or has another revision than the given one.
        """
        ...

    async def get_document(self, kind: str, id: str, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """DocumentNotFound."""
        ...

    async def document_content(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """The bytes kept beside it; none when there are none. DocumentNotFound."""
        ...

    async def find_document(self, kind: str, key: str, value: str) -> Document | None:
        """The first with this key, of whatever tenant: for what tells who is asking."""
        ...

    async def find_documents(
        self, kind: str, key: str, value: str, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[Document]:
        """Those with this key, of all tenants, the oldest first: for what a host does for all of them. `after`: (created_ms,
        id) of the last one seen. InvalidArgument."""
        ...

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
        """Those with all of these keys, the newest first unless `ascending`; `after`: (created_ms, id) of the last one seen.

        `archived`: only those that are, or are not. The times are inclusive. InvalidArgument.
        """
        ...

    async def delete_document(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """Remove it and what is kept beside it; False when there is none."""
        ...

    async def purge_documents(self) -> int:
        """Remove what has expired; returns how many there were."""
        ...

    async def stray_documents(self, before_ms: int, *, limit: int = 50) -> list[Document]:
        """Those that go with a session that is not there, of all kinds and tenants, made before this time: what is left of a
        session that was never made whole. The oldest first. InvalidArgument."""
        ...

    async def count_documents(self, kind: str, key: str) -> int:
        """How many documents of this kind have this key, of all tenants."""
        ...

    async def document_bytes(self, tenant: str | None, *, leave_out: Collection[str] = ()) -> int:
        """Bytes of all that is kept for just this tenant, but for these kinds: bodies and what is kept beside them."""
        ...
