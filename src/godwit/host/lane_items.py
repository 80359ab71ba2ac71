"""TaskItem: a call that waits for a worker, as a document of the store, and the list of them.

Leaves out what is done with one, and when (`lane_tasks`). A change of an item is a conditional write: whoever has read an
old one gets RevisionConflict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec

from ..contracts import Store
from ..core.document import Document
from ..core.errors import DocumentNotFound
from ..core.ids import ActionId
from ..core.lanes import DeadLetter, ExternalTask, RetryPolicy
from ..core.messages import ResultBlock, Text

KIND = "task"
"""Of the documents."""
DEAD = "dead"
"""The key of dead letters."""
KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a dead letter can be looked at."""
_PAGE = 100


class TaskItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`token`: proves that a lease is the newest. `begun`: its worker has said that it lives. `ready_ms`: it is handed out
    from then on. `content`, `is_error`, `metadata`, `dead`: how it ended, once it is `ending`. `again`: a dead letter that
    was put back: its result is told as a follow-up."""

    task: ExternalTask
    lease_s: float
    retry: RetryPolicy
    after: tuple[ActionId, ...] = ()
    state: Literal["live", "ending", "dead"] = "live"
    token: str | None = None
    ready_ms: int = 0
    begun: bool = False
    content: tuple[ResultBlock, ...] = ()
    is_error: bool = False
    metadata: dict[str, Any] = {}
    dead: str | None = None
    failed_ms: int = 0
    again: bool = False

    @property
    def free_ms(self) -> int:
        """From when on there is something to do about it."""
        if self.state != "live":
            return 0
        free = self.ready_ms if self.task.state == "queued" else self.task.lease_ms or 0
        return free if self.task.expires_ms is None else min(free, self.task.expires_ms)

    def put_in(self, document: Document) -> Document:
        """The document with this body, found by what the queue looks for."""
        task = self.task
        keys: dict[str, str] = {"session": task.session}
        if self.state == "dead":
            keys[DEAD] = DEAD
            expires: int | None = self.failed_ms + KEPT_MS
        else:
            keys |= {"live": task.lane, "alive": task.session}
            expires = None
        body: dict[str, Any] = msgspec.to_builtins(self)
        return document.changed(body, keys=keys, expires_ms=expires)

    @property
    def text(self) -> tuple[Text, ...]:
        """What it came to, as the model is told of it later."""
        return tuple(b for b in self.content if isinstance(b, Text)) or (Text("(no output)"),)

    @property
    def letter(self) -> DeadLetter:
        """What is told of it once it is dead."""
        task = self.task
        return DeadLetter(
            task.id,
            task.session,
            task.lane,
            task.command_type,
            self.dead or "",
            task.attempt,
            self.failed_ms,
            task.payload,
            task.worker,
        )


class Leased(msgspec.Struct, frozen=True):
    """A task that a worker has, and the token it proves that with. `key`: the call's idempotency key."""

    task: ExternalTask
    token: str
    lease_s: float
    key: str


class TaskItems:
    """The items of a store, each with its document."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, task: str, tenant: str | None) -> tuple[Document, TaskItem] | None:
        try:
            document = await self._store.get_document(KIND, task, tenant=tenant)
        except DocumentNotFound:
            return None
        return document, _item_of(document)

    async def all(self, keys: dict[str, str], tenant: str | None) -> AsyncIterator[tuple[Document, TaskItem]]:
        """Those with these keys, the oldest first."""
        after: tuple[int, str] | None = None
        while True:
            page = await self._store.documents(KIND, tenant=tenant, keys=keys, limit=_PAGE, after=after, ascending=True)
            for document in page:
                yield document, _item_of(document)
            if len(page) < _PAGE:
                return
            after = (page[-1].created_ms, page[-1].id)

    async def put(self, document: Document, item: TaskItem) -> Document:
        """RevisionConflict, DocumentNotFound, DocumentExists."""
        return (await self._store.put_documents([item.put_in(document)]))[0]

    async def delete(self, task: str, tenant: str | None) -> bool:
        return await self._store.delete_document(KIND, task, tenant=tenant)


def _item_of(document: Document) -> TaskItem:
    return msgspec.convert(document.data(), TaskItem)


__all__ = ["DEAD", "KIND", "Leased", "TaskItem", "TaskItems"]
