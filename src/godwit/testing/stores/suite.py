"""What each part of the suite of stores is given: a store, and another on the same data."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from ...contracts import BlobStore, DocumentStore, EventStore, Feed, LogLoader, Search


class Store(EventStore, BlobStore, DocumentStore, Feed, LogLoader, Search, Protocol):
    """What the suite tests: the contracts in one object."""


class StoreSuite:
    """Makes and closes the stores under test. Its subclasses hold the promises, one idea each."""

    async def make_store(self) -> Store:
        """A new, empty store."""
        raise AssertionError("a subclass of StoreConformance says how its store is made")

    async def make_second(self, store: Store) -> Store | None:
        """Another store on the same data, as another process would open it; None when there can be none."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        store = await self.make_store()
        try:
            yield store
        finally:
            await store.close()
