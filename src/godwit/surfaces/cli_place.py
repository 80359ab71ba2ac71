"""Where the command line works: the database, the runtime on it, and sessions by what a person types for them.

Opening makes the folder of the database only for commands that write; one that only looks finds nothing and leaves nothing
behind. Imports the engine and the store when a runtime is opened, providers never.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import SessionNotFound
from ..core.ids import SessionId
from .cli_exit import NOT_FOUND, CliError

if TYPE_CHECKING:
    from ..contracts import EventStore, ModelRegistry, SessionRow
    from ..host.runtime import Runtime

DEFAULT_DATABASE = Path(".godwit") / "godwit.db"
IGNORED = "*\n!config.toml\n!commands/\n!commands/**\n"
"""What of the folder is kept out of version control: all but its configuration and command files."""
NEWEST = "last"
"""What may be typed for the id of the newest session."""


def program() -> str:
    """What a person types to call this command line again: `godwit`, unless the shell would not find this one by it.

    A wrapper that calls it says its own name in `GODWIT_PROGRAM`.
    """
    named = os.environ.get("GODWIT_PROGRAM")
    if named:
        return named
    called = sys.argv[0] if sys.argv else ""
    found = shutil.which("godwit")
    if not os.path.isfile(called) or os.path.basename(called) != "godwit":
        return "godwit" if found or not sys.executable else f"{shlex.quote(sys.executable)} -m godwit"
    if found is not None and os.path.samefile(found, called):
        return "godwit"
    near = os.path.relpath(called)
    return near if len(near) < len(os.path.abspath(called)) and not near.startswith("..") else os.path.abspath(called)


@dataclass(frozen=True)
class Place:
    """`database`: the file; `named`: it was chosen by flag, so hints must repeat the flag. `hooks`: files of hooks that hold
    for every session driven here."""

    database: Path
    named: bool = False
    verbose: bool = False
    hooks: tuple[Path, ...] = ()

    def command(self, *words: str) -> str:
        """A command line for this place, to be shown to a person."""
        chosen = ["--db", os.fspath(self.database)] if self.named else []
        return f"{program()} {shlex.join([*chosen, *words])}"

    @asynccontextmanager
    async def open(
        self, *, make: bool = False, models: ModelRegistry | None = None, options: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Runtime]:
        """A runtime on the database. Without `make` a missing one is an error. `options`: more of `Runtime.open`."""
        from ..host.config import load as load_config
        from ..host.hook_settings import read_hooks
        from ..host.runtime import Runtime

        hooks = read_hooks(self.hooks)
        if not self.database.exists():
            if not make:
                raise CliError(
                    f"there is no database at {self.database}, so there are no sessions",
                    hint='godwit run "..." starts one; --db or GODWIT_DB chooses another database',
                    code=SessionNotFound.code,
                    exit_code=NOT_FOUND,
                )
            self.make_folder()
        providers = tracing_providers()
        try:
            given: dict[str, Any] = {"models": models, "tracing": bool(providers), "config": load_config, **(options or {})}
            runtime = await Runtime.open(self.database, **given, hooks=[*hooks, *given.pop("hooks", ())])
            try:
                yield runtime
            finally:
                await runtime.close()
        finally:
            for provider in providers:
                provider.shutdown()

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[EventStore]:
        """The store alone, for who only lists: that loads no tools and no models. The database must exist."""
        from ..stores.sqlite import SqliteStore

        async with SqliteStore.open(self.database) as store:
            yield store

    def make_folder(self) -> None:
        """The default folder, kept out of version control but for command files; a named one must exist, since it may be
        mistyped. CliError."""
        folder = self.database.parent
        if folder.is_dir():
            return
        if folder.name != DEFAULT_DATABASE.parent.name or not folder.parent.is_dir():
            raise CliError(f"the folder of the database {os.fspath(self.database)!r} does not exist", hint="make it first")
        try:
            folder.mkdir(exist_ok=True)
            (folder / ".gitignore").write_text(IGNORED)
        except OSError as error:
            raise CliError(
                f"the folder {os.fspath(folder)!r} cannot be made: {error.strerror}",
                hint="choose a database elsewhere: godwit --db PATH ...",
            ) from error


def tracing_providers() -> list[Any]:
    """What OpenTelemetry's own variables ask for: with an OTLP endpoint set, what is done here is traced there.

    ConfigurationError when they do and the SDK is not installed.
    """
    wanted = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", "TRACES_", "METRICS_"))
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    from ..host.tracing import providers_from_environment

    return list(providers_from_environment())


async def find(runtime: Runtime, typed: str) -> SessionRow:
    """The session whose id is, or alone begins with, what was typed; `last` is the newest. SessionNotFound, CliError."""
    if typed == NEWEST:
        rows = await runtime.sessions(limit=1, include_archived=False)
        if not rows:
            raise SessionNotFound("this database has no session yet")
        return rows[0]
    try:
        return await runtime.store.session(SessionId(typed))
    except SessionNotFound:
        pass
    prefix = typed if typed.startswith("ses_") else f"ses_{typed}"
    rows = [*await runtime.sessions(prefix=typed, limit=4)]
    if prefix != typed:
        rows += await runtime.sessions(prefix=prefix, limit=4)
    if not rows:
        raise SessionNotFound(f"no session's id begins with {typed!r}", session=typed)
    if len(rows) > 1:
        shown = ", ".join(row.id for row in rows[:3]) + (" ..." if len(rows) > 3 else "")
        raise CliError(f"{typed!r} begins several sessions' ids: {shown}", hint="type more of it", code="ambiguous")
    return rows[0]


async def newest_of(runtime: Runtime, folder: str | os.PathLike[str]) -> SessionRow | None:
    """The newest session that works in this folder."""
    rows = await runtime.sessions(workspace=str(Path(folder).resolve()), limit=1, include_archived=False)
    return rows[0] if rows else None
