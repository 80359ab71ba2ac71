"""The SQL of the PostgreSQL store, read from the `.sql` files beside this one.

`query(name)` gives a named query of `queries.sql` as the server takes it, `bound` the values for it in order; `MIGRATIONS`
the scripts of the numbered migrations: the table `godwit_schema` says how many of them a database has seen. A released
migration is never changed; `schema.sql` is their sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent
_PLACE = re.compile(r"(?<!:):([a-z_]+)|\?")


class Query(NamedTuple):
    """`names`: of its parameters, in order; empty where they go by their order."""

    text: str
    names: tuple[str, ...]


def parsed(text: str) -> Query:
    """`:name`, or `?` in order, as the server counts its parameters."""
    names: list[str] = []
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            count += 1
            return f"${count}"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return Query(_PLACE.sub(number, code).strip().removesuffix(";"), tuple(names))


def _load_queries() -> dict[str, Query]:
    parts = re.split(r"^-- name: (\w+)\n", (_HERE / "queries.sql").read_text("utf-8"), flags=re.MULTILINE)
    return {name: parsed(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


_QUERIES = _load_queries()
MIGRATIONS: tuple[str, ...] = tuple(path.read_text("utf-8") for path in sorted((_HERE / "migrations").glob("*.sql")))


def schema() -> str:
    """What makes a new database in one go."""
    return (_HERE / "schema.sql").read_text("utf-8")


def query(name: str) -> str:
    """The query's text. KeyError when there is none, which is a bug."""
    return _QUERIES[name].text


def bound(name: str, parameters: Any = ()) -> Sequence[Any]:
    """The values of the query's parameters. A text of this server cannot hold the character 0: another stands for it."""
    names = _QUERIES[name].names
    values = [parameters[one] for one in names] if names else list(parameters)
    for number, value in enumerate(values):
        if isinstance(value, str) and "\0" in value:
            values[number] = value.replace("\0", "\ufffd")
    return values


def names() -> list[str]:
    """The names of all queries."""
    return list(_QUERIES)


__all__ = ["MIGRATIONS", "Query", "bound", "names", "parsed", "query", "schema"]
