"""The store of small secrets. How they are sealed, and with which keys, is the host's."""

from __future__ import annotations

from typing import Protocol

from ..core.document import Document


class SecretStore(Protocol):
    """Small secrets, such as tokens: who has the database alone cannot read them.

    A secret belongs to something of a tenant that has a kind and an id, and opens as that alone. What it is stands in no
    error, no log and no repr. SecretUnreadable when the key is not here, or what is stored was moved or changed.
    """

    async def seal(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """The secret as a document, in place of the one there is: for `put_documents`, together with what it belongs to."""
        ...

    def kept_in(self, kind: str, id: str) -> tuple[str, str]:  # noqa: A002 - as above
        """Kind and id of that document: for the `remove` of `put_documents`, together with what it belongs to."""
        ...

    async def put(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> None:  # noqa: A002 - as above
        """Keep it in place of the one there is."""
        ...

    async def get(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """DocumentNotFound, SecretUnreadable."""
        ...

    async def delete(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """Forget it; False when there is none."""
        ...
