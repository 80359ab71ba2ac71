"""The conformance suite of stores: the promises of a store's contracts, a module for each idea."""

from __future__ import annotations

from .artifacts import Artifacts
from .documents import Documents
from .feed import Feeds
from .followers import Followers
from .forks import Forks
from .index import Index
from .kept import Kept
from .leases import Leases
from .loading import Loads
from .logs import Logs
from .search import Searches
from .spending import Spending
from .suite import Store
from .tasks import Tasks


class StoreConformance(
    Logs, Leases, Followers, Index, Artifacts, Kept, Spending, Documents, Feeds, Tasks, Loads, Forks, Searches
):
    """The promises of `EventStore`, `BlobStore`, `DocumentStore`, `Feed`, `LogLoader` and `Search`.

    Subclass it, and give `make_store`.
    """


__all__ = ["Store", "StoreConformance"]
