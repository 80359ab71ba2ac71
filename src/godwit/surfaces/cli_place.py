"""Where the command line works: the database, the runtime on it, and sessions by what a person types for them.

Opening makes the folder of the database only for commands that write; one that only looks finds nothing and leaves nothing
behind. Imports the engine and the store when a runtime is opened, providers never.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.errors import ConfigurationError, DocumentNotFound, SessionNotFound
from ..core.events import RunFinished, RunOutcome
from ..core.ids import SessionId
from ..stores.opening import opened, without_secret
from .cli_exit import NOT_FOUND, CliError

if TYPE_CHECKING:
    from ..contracts import EventStore, FoundText, Memories, ModelRegistry, SessionHandle, SessionRow
    from ..core.agent import AgentSpec
    from ..core.facts import ExportFormat, ImportReport
    from ..core.gate import Status
    from ..core.ids import Seq
    from ..core.lanes import DeadLetter
    from ..core.model_info import ModelInfo
    from ..host.agents import Agent
    from ..host.runtime import Runtime
    from ..stores.postgres.store import PostgresStore
    from ..stores.sqlite import SqliteStore

DEFAULT_DATABASE = Path(".godwit") / "godwit.db"
IGNORED = "*\n!config.toml\n!commands/\n!commands/**\n!agents/\n!agents/**\n"
"""What of the folder is kept out of version control: all but its configuration, command and agent files."""
PAGE = 500
"""Sessions read at a time."""
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


class KnowsModels(Protocol):
    """Who can say which models there are."""

    async def list_models(
        self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False
    ) -> list[ModelInfo]: ...
    async def find_model(self, hint: str) -> ModelInfo: ...


class FolderMemories(Protocol):
    """Who can say what is remembered for a folder."""

    def of(self, *, project: str) -> Memories: ...


class Host(KnowsModels, Protocol):
    """What commands ask of where they work: a runtime here, or one on a server."""

    async def start_session(
        self, agent: Agent | AgentSpec | str, *, workspace: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> SessionHandle: ...
    async def open_session(self, session: str, *, drive: bool = True) -> SessionHandle: ...
    async def sessions(
        self,
        *,
        limit: int = 50,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
        parent: str | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]: ...
    @property
    def memory(self) -> FolderMemories: ...
    async def search(
        self, query: str, *, workspace: str | os.PathLike[str] | None = None, limit: int = 20
    ) -> list[FoundText]: ...
    async def row(self, session: str) -> SessionRow: ...
    async def dead_letters(self) -> list[DeadLetter]: ...
    async def head(self, session: str) -> Seq: ...
    async def archive(self, session: str) -> None: ...
    async def delete_session(self, session: str) -> None: ...
    async def import_session(
        self,
        file: str | os.PathLike[str] | bytes,
        *,
        format: str = "auto",  # noqa: A002 - what a person calls it
        agent: AgentSpec | str | None = None,
        workspace: str | os.PathLike[str] | None = None,
        name: str | None = None,
        model: str | None = None,
        file_name: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport: ...
    def export_session(
        self,
        session: str,
        format: ExportFormat = "html",  # noqa: A002 - what a person calls it
        *,
        children: bool = True,
    ) -> AsyncIterator[bytes]: ...


class Shelf(Protocol):
    """Sessions to be listed."""

    async def rows(self, *, limit: int | None, parent: str | None = None) -> list[SessionRow]:
        """The newest ones that work for no other, or for `parent`; all, archived ones too, without a limit."""
        ...

    async def outcome(self, row: SessionRow) -> RunOutcome | None:
        """How the last run ended, of a session without an open one."""
        ...


class Where(Protocol):
    """Where the command line works: on a database here (`Place`), or with a server (`cli_server.ServerPlace`)."""

    @property
    def verbose(self) -> bool: ...
    @property
    def served(self) -> bool:
        """Whether a server drives the sessions."""
        ...

    def command(self, *words: str) -> str:
        """A command line for this place, to be shown to a person."""
        ...

    def missing(self) -> str | None:
        """Why there can be no session here, if that can be told at once."""
        ...

    def reach(self, *, make: bool = False, models: ModelRegistry | None = None) -> AbstractAsyncContextManager[Host]:
        """The host. Without `make` one that is not there yet is an error. `models`: what it asks, when it is here."""
        ...

    def shelf(self) -> AbstractAsyncContextManager[Shelf]:
        """The host, for who only lists: that loads as little as possible."""
        ...


@dataclass(frozen=True)
class Place:
    """`database`: the file; `address`: a PostgreSQL database in place of it; `named`: it was chosen by flag, so hints must
    repeat the flag. `hooks`: files of hooks that hold for every session driven here. `folder_files`: whether these are told
    what context files and skills say."""

    database: Path
    named: bool = False
    verbose: bool = False
    hooks: tuple[Path, ...] = ()
    folder_files: bool = True
    address: str | None = None

    def exists(self) -> bool:
        """Whether there is a database. What is at an address shows when it is opened."""
        return self.address is not None or self.database.exists()

    @property
    def shown(self) -> str:
        """The database, as people may see it."""
        return os.fspath(self.database) if self.address is None else without_secret(self.address)

    @property
    def file(self) -> Path:
        """The database's file. CliError where it has none."""
        if self.address is not None:
            raise CliError("this works on a SQLite file only", hint="for PostgreSQL use its own tools, as pg_dump")
        return self.database

    def command(self, *words: str) -> str:
        """A command line for this place, to be shown to a person."""
        chosen = ["--db", self.shown] if self.named else []
        return f"{program()} {shlex.join([*chosen, *words])}"

    @property
    def served(self) -> bool:
        return False

    def missing(self) -> str | None:
        return None if self.exists() else f"no database at {self.database}"

    @asynccontextmanager
    async def reach(self, *, make: bool = False, models: ModelRegistry | None = None) -> AsyncIterator[Host]:
        """`open`, as commands know it that work with a server as well."""
        async with self.open(make=make, models=models) as runtime:
            yield runtime

    @asynccontextmanager
    async def shelf(self) -> AsyncIterator[Shelf]:
        async with self.open_store() as store:
            yield _StoreShelf(store)

    @asynccontextmanager
    async def open(
        self, *, make: bool = False, models: ModelRegistry | None = None, options: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Runtime]:
        """A runtime on the database. Without `make` a missing one is an error. `options`: more of `Runtime.open`."""
        from ..host.folder_context import FolderFiles
        from ..host.hook_settings import read_hooks
        from ..host.runtime import Runtime
        from .cli_settings import load as load_config, trusts

        hooks = read_hooks(self.hooks)
        if not self.exists():
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
            given: dict[str, Any] = {
                "models": models,
                "tracing": bool(providers),
                "config": load_config,
                **_of_process(),
                "folder_files": FolderFiles() if self.folder_files else None,
                "trusts": trusts,
                **(options or {}),
            }
            runtime = await Runtime.open(self.address or self.database, **given, hooks=[*hooks, *given.pop("hooks", ())])
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
        async with await opened(self.address or self.database) as store:
            yield store

    @asynccontextmanager
    async def open_documents(self, *, make: bool = False) -> AsyncIterator[SqliteStore | PostgresStore]:
        """The store alone, for who works on what belongs to no session. Without `make` a missing database is an error."""
        if make and not self.exists():
            self.make_folder()
        elif not make:
            self.require_database()
        async with await opened(self.address or self.database) as store:
            yield store

    def require_database(self) -> None:
        """CliError when there is none."""
        if not self.exists():
            raise CliError(
                f"there is no database at {self.database}",
                hint="--db or GODWIT_DB chooses another database",
                code=DocumentNotFound.code,
                exit_code=NOT_FOUND,
            )

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


class _StoreShelf:
    """Of a store, page by page."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def rows(self, *, limit: int | None, parent: str | None = None) -> list[SessionRow]:
        found: list[SessionRow] = []
        above = None if parent is None else SessionId(parent)
        while True:
            before = (found[-1].updated_ms, found[-1].id) if found else None
            page = await self._store.sessions(
                limit=limit or PAGE,
                before=before,
                include_archived=limit is None,
                parent=above,
                top_level=above is None,
            )
            found += page
            if limit is not None or len(page) < PAGE:
                return found

    async def outcome(self, row: SessionRow) -> RunOutcome | None:
        # It stands near the log's end, so this is quick.
        for event in await self._store.read(row.id, types=("run.finished",), newest_first=True, limit=1):
            if isinstance(event.data, RunFinished):
                return event.data.outcome
        return None


def _of_process() -> dict[str, Any]:
    """What the files say of a process that is started in this folder, as options of `Runtime.open`. Of files that cannot be
    read whoever uses them tells: many commands do not."""
    from ..core.lanes import LaneSettings
    from ..host.configured import link_reach_of, mcp_of, memory_file_of
    from .cli_settings import load

    try:
        config = load(Path.cwd())
    except ConfigurationError:
        return {"lanes": LaneSettings()}
    return {
        "lanes": config.lanes or LaneSettings(),
        "mcp": mcp_of(config),
        "link_reach": link_reach_of(config),
        "memory": memory_file_of(config),
        "embedder": config.memory.embedder,
    }


def tracing_providers() -> list[Any]:
    """What OpenTelemetry's own variables ask for: with an OTLP endpoint set, what is done here is traced there.

    ConfigurationError when they do and the SDK is not installed.
    """
    wanted = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", "TRACES_", "METRICS_"))
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    from ..host.tracing import providers_from_environment

    return list(providers_from_environment())


async def find(runtime: Host, typed: str) -> SessionRow:
    """The session whose id is, or alone begins with, what was typed; `last` is the newest that works for no other.
    SessionNotFound, CliError."""
    if typed == NEWEST:
        rows = await runtime.sessions(limit=1, include_archived=False, top_level=True)
        if not rows:
            raise SessionNotFound("there is no session yet")
        return rows[0]
    try:
        return await runtime.row(typed)
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


async def newest_of(runtime: Host, folder: str | os.PathLike[str]) -> SessionRow | None:
    """The newest session that works in this folder, and for no other."""
    rows = await runtime.sessions(workspace=str(Path(folder).resolve()), limit=1, include_archived=False, top_level=True)
    return rows[0] if rows else None
