"""The conformance suite of stores: the promises of `EventStore` and `BlobStore`, a module for each idea."""

from __future__ import annotations

from .artifacts import Artifacts
from .followers import Followers
from .index import Index
from .kept import Kept
from .leases import Leases
from .logs import Logs
from .spending import Spending
from .suite import Store


class StoreConformance(Logs, Leases, Followers, Index, Artifacts, Kept, Spending):
    """The promises of `EventStore` and `BlobStore`. Subclass it, and give `make_store`."""


__all__ = ["Store", "StoreConformance"]
