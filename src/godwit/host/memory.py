"""Where a runtime's memory is: in its store, in a file of its own, or in a store of somebody else's.

Rule: memory that cannot be opened is a warning and nothing more: sessions work without it, and say so (`init_warning`).
"""

from __future__ import annotations

import logging
import os
from typing import Literal

from ..contracts import Embedder, MemoryStore, Store
from ..core.errors import StoreError
from ..core.ids import Clock, IdSource
from ..engine.memory import MemoryAccess

MemoryGiven = MemoryStore | str | os.PathLike[str] | Literal[False] | None
_logger = logging.getLogger("godwit.memory")


class RuntimeMemory(MemoryAccess):
    """The memory of a runtime, which closes the file that it opened for it."""

    _own: Store | None = None

    @property
    def file(self) -> str | None:
        """The database's file that it opened."""
        return getattr(self._own, "file", None)

    async def close(self) -> None:
        if self._own is not None:
            await self._own.close()


def memory_of(
    given: MemoryGiven,
    store: Store,
    *,
    ids: IdSource,
    clock: Clock,
    durability: Literal["memory", "process", "disk"] = "disk",
    embedder: Embedder | None = None,
) -> RuntimeMemory:
    """`given`: see `Runtime.open`."""
    if given is False:
        return RuntimeMemory(ids=ids, embedder=embedder)
    if isinstance(given, str | os.PathLike):
        from ..stores.sqlite import SqliteStore

        try:
            own = SqliteStore.open(os.fspath(given), durability=durability, clock=clock)
        except (StoreError, OSError) as error:
            return _without(f"memory cannot be opened: {error}", ids, embedder)
        made = RuntimeMemory(own, ids=ids, embedder=embedder)
        made._own = own
        return made
    kept = store if given is None else given
    if not isinstance(kept, MemoryStore):
        return _without(
            f"there is no memory: {type(kept).__name__} keeps none (godwit.contracts.MemoryStore)", ids, embedder
        )
    return RuntimeMemory(kept, ids=ids, embedder=embedder)


def _without(warning: str, ids: IdSource, embedder: Embedder | None) -> RuntimeMemory:
    _logger.warning("%s; sessions work without it", warning)
    return RuntimeMemory(ids=ids, embedder=embedder, warning=warning)


__all__ = ["MemoryGiven", "RuntimeMemory", "memory_of"]
