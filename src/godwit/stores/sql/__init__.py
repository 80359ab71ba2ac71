"""The SQL of the SQLite store, read from the `.sql` files beside this one.

`query(name)` gives a named query of `queries.sql`; `MIGRATIONS` the statements of each numbered migration, in order: the
database's `user_version` is how many of them it has seen. A released migration is never changed; `schema.sql` is their sum.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

_HERE = Path(__file__).parent


def statements(script: str) -> list[str]:
    """The single statements of a script."""
    found, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return found


def _load_queries() -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)\n", (_HERE / "queries.sql").read_text("utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


_QUERIES = _load_queries()
MIGRATIONS: tuple[list[str], ...] = tuple(
    statements(path.read_text("utf-8")) for path in sorted((_HERE / "migrations").glob("*.sql"))
)


def schema() -> list[str]:
    """The statements that make a new database in one go."""
    return statements((_HERE / "schema.sql").read_text("utf-8"))


def query(name: str) -> str:
    """The query's text. KeyError when there is none, which is a bug."""
    return _QUERIES[name]


def names() -> list[str]:
    """The names of all queries."""
    return list(_QUERIES)
