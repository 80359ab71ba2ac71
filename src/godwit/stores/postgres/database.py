"""One PostgreSQL database: how it is reached, its migrations, and asyncpg's errors in godwit's words.

Holds no connection of the store's own; its parts take theirs from here. Rules: every connection is set up in `connect`; an
error of asyncpg leaves this package only as a GodwitError, through `translate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]

from ...core.errors import (
    ConfigurationError,
    GodwitError,
    InvalidArgument,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
)
from . import sql

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_LOST = ("08", "57P01", "57P02", "57P03", "53300", "25P03")
"""Codes, or how they begin, of a server that is not there now."""
_STARTING = "57P03"
"""It is there, and about to answer."""
_AGAIN = ("40001", "40P01", "23505")
"""Two that got into each other's way; the next try finds what the other has done."""


class Database:
    """`url`: as `postgresql://user@host/name?schema=godwit`; what else it has after `?` is asyncpg's. `wait_s`: how long to
    try to reach a server that is not there, and to wait for others' locks."""

    def __init__(self, url: str, *, wait_s: float) -> None:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.schema = given.pop("schema", "godwit")
        if parts.scheme not in ("postgresql", "postgres"):
            raise ConfigurationError(f"{parts.scheme or url!r} is no PostgreSQL address: postgresql://user@host/name")
        if not _NAME.fullmatch(self.schema):
            raise ConfigurationError(
                f"{self.schema!r} is no name for a schema: small letters, digits and _", schema=self.schema
            )
        self.wait_s = wait_s
        self._url = urlunsplit(parts._replace(query=urlencode(given)))
        where = parts.netloc.rpartition("@")[2] or given.get("host", "localhost")
        self.shown = f"postgresql://{where}{parts.path}?schema={self.schema}"
        """Without what is secret in it."""

    def __str__(self) -> str:
        return self.shown

    async def connect(self, **settings: str) -> asyncpg.Connection[Any]:
        """Another connection. StoreError's leaves."""
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                return await asyncpg.connect(self._url, **self.options(**settings))
            except Exception as error:
                if _code(error) != _STARTING or time.monotonic() > deadline:
                    raise self.translate(error) from error
            await asyncio.sleep(0.05)

    def options(self, **settings: str) -> dict[str, Any]:
        """How connections are set up, whoever makes them."""
        return {
            "timeout": self.wait_s,
            "statement_cache_size": 512,
            "max_cached_statement_lifetime": 0,
            "server_settings": {
                "search_path": self.schema,
                "application_name": "godwit",
                "lock_timeout": f"{int(self.wait_s * 1000)}ms",
                # A process that was stopped in the middle holds nobody up for long.
                "idle_in_transaction_session_timeout": f"{int(self.wait_s * 1000)}ms",
                **settings,
            },
        }

    @property
    def address(self) -> str:
        """For who makes connections; it may have a password in it."""
        return self._url

    async def migrate(self) -> None:
        """The database has the newest schema afterwards. StoreTooNew, and StoreError's other leaves."""
        db = await self.connect(lock_timeout="0")
        try:
            newest = len(sql.MIGRATIONS)
            if await self._version(db) == newest:
                return
            # Processes that start together wait here for the first.
            await db.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", f"{self.schema} migrate")
            async with db.transaction():
                await db.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
                await db.execute("CREATE TABLE IF NOT EXISTS godwit_schema (version integer NOT NULL)")
                version = await self._version(db)
                for script in sql.MIGRATIONS[version:]:
                    await db.execute(script)
                await db.execute("DELETE FROM godwit_schema")
                await db.execute("INSERT INTO godwit_schema VALUES ($1)", newest)
        except GodwitError:
            raise
        except Exception as error:
            raise self.translate(error) from error
        finally:
            with contextlib.suppress(Exception):
                await db.close(timeout=self.wait_s)

    async def _version(self, db: asyncpg.Connection[Any]) -> int:
        if await db.fetchval("SELECT to_regclass('godwit_schema')") is None:
            return 0
        version = int(await db.fetchval("SELECT max(version) FROM godwit_schema") or 0)
        if version > len(sql.MIGRATIONS):
            raise StoreTooNew(
                f"{self} has schema {version}, this godwit knows {len(sql.MIGRATIONS)}: upgrade godwit", version=version
            )
        return version

    def translate(self, error: Exception) -> GodwitError:
        """In godwit's words. What is the fault of a value that was given is InvalidArgument."""
        if isinstance(error, GodwitError):
            return error
        details = {"database": self.shown, "postgres": str(error) or type(error).__name__}
        said = details["postgres"]
        code = _code(error)
        if lost(error):
            return StoreUnreachable(f"{self} cannot be reached ({said}): is the server there?", **details)
        if code.startswith("22") or isinstance(error, asyncpg.DataError):
            return InvalidArgument(f"PostgreSQL cannot keep a value: {said}", **details)
        match code:
            case "53100":
                return StoreFull(
                    f"no space is left for {self}: free some and go on; nothing acknowledged was lost", **details
                )
            case "25006":
                return StoreReadOnly(f"{self} can only be read: is it a replica?", **details)
            case "55P03" | "57014" | "40001" | "40P01":
                return StoreLocked(f"others held what was to be written in {self} for {self.wait_s:g} s", **details)
            case "XX001" | "XX002":
                return StoreCorrupt(f"{self} is damaged ({said}): restore it from a backup", **details)
            case "42501":
                return StoreError(f"{self}: {said}: give its user the right to make and use the schema", **details)
            case _:
                return StoreError(f"{self}: {said}", **details)


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def lost(error: BaseException) -> bool:
    """Whether the server, or the way to it, went away."""
    if isinstance(error, StoreUnreachable | OSError | TimeoutError | asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error) or "released" in str(error)
    return isinstance(error, asyncpg.PostgresError) and _code(error).startswith(_LOST)


def again(error: BaseException) -> bool:
    """Whether the next try may succeed, because only others were in the way."""
    return isinstance(error, asyncpg.PostgresError) and _code(error) in _AGAIN


__all__ = ["Database", "again", "lost"]
