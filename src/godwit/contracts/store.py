"""A store as a runtime takes it: the contracts of logs, blobs, documents, the feed, the search and what imports bring in
one object."""

from __future__ import annotations

from typing import Protocol

from .blobs import BlobStore
from .documents import DocumentStore
from .event_store import EventStore
from .feed import Feed
from .loading import LogLoader
from .search import Search


class Store(EventStore, BlobStore, DocumentStore, Feed, LogLoader, Search, Protocol):
    """All in one, as a runtime takes it."""
