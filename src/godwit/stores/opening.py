"""Opening the store that a path or an address means: a SQLite file, or a PostgreSQL database. No store is imported before
that.

Leaves out what is known only once it is open: that stands in the stores.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..core.errors import ConfigurationError
from ..core.ids import Clock

if TYPE_CHECKING:
    from .database import Durability
    from .postgres.store import PostgresStore
    from .sqlite import SqliteStore

_SCHEMES = ("postgresql://", "postgres://")


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether it is the address of a PostgreSQL database."""
    return isinstance(path, str) and path.startswith(_SCHEMES)


def without_secret(address: str) -> str:
    """The address as people may see it."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


async def opened(
    path: str | os.PathLike[str], *, durability: Durability = "disk", clock: Clock | None = None
) -> SqliteStore | PostgresStore:
    """Open it. `durability`: of a file. StoreError's leaves; ConfigurationError where the program for it is missing."""
    if not is_address(path):
        from .sqlite import SqliteStore

        return SqliteStore.open(os.fspath(path), durability=durability, clock=clock)
    try:
        from .postgres.store import PostgresStore
    except ImportError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError("PostgreSQL needs the package asyncpg: pip install 'godwit[postgres]'") from error
    return await PostgresStore.open(os.fspath(path), clock=clock)


__all__ = ["is_address", "opened", "without_secret"]
