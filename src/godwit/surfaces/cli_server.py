"""A server as the place where the command line works: the same verbs, with the runtime on the other side.

The address comes from `--server` or GODWIT_SERVER, the key from GODWIT_KEY alone: what stands on a command line can be read
by others. The server drives what is sent to it, whether or not somebody watches.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.events import RunFinished, RunOutcome
from .cli_place import Host, Shelf, program

if TYPE_CHECKING:
    from ..client import RemoteRuntime
    from ..contracts import ModelRegistry, SessionHandle, SessionRow
    from ..core.agent import AgentSpec
    from ..host.agents import Agent

KEY = "GODWIT_KEY"
"""The variable with the key for the server."""
PATIENCE_S = 15.0
"""How long a person waits for a server that does not answer any more, such as one that is started anew."""
FIRST_S = 5.0
"""The same for one that has not answered at all."""


@dataclass(frozen=True)
class ServerPlace:
    """`url`: where the server is; `named`: it was chosen by flag, so hints must repeat the flag."""

    url: str
    named: bool = False
    verbose: bool = False

    @property
    def served(self) -> bool:
        return True

    def command(self, *words: str) -> str:
        chosen = ["--server", self.url] if self.named else []
        return f"{program()} {shlex.join([*chosen, *words])}"

    def missing(self) -> str | None:
        return None

    @asynccontextmanager
    async def reach(self, *, make: bool = False, models: ModelRegistry | None = None) -> AsyncIterator[Host]:
        """The server. What it has and asks is its own business, so `make` and `models` mean nothing here."""
        async with self._connected() as runtime:
            yield _Server(runtime)

    @asynccontextmanager
    async def shelf(self) -> AsyncIterator[Shelf]:
        async with self._connected() as runtime:
            yield _ServerShelf(runtime)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[RemoteRuntime]:
        from ..client import RemoteRuntime
        from ..client.connection import Connection

        key = os.environ.get(KEY) or None
        connection = Connection(
            self.url,
            key,
            patience_s=PATIENCE_S,
            first_patience_s=FIRST_S,
            silent=self._silent if sys.stderr.isatty() else None,
        )
        async with RemoteRuntime(connection) as runtime:
            yield runtime

    def _silent(self) -> None:
        print(f"no answer from {self.url} yet; trying for {FIRST_S:.0f} s", file=sys.stderr)


class _Server:
    """A server as commands know a runtime: a session without a folder gets one of its own there."""

    def __init__(self, runtime: RemoteRuntime) -> None:
        self._runtime = runtime

    async def start_session(
        self, agent: Agent | AgentSpec | str, *, workspace: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> SessionHandle:
        return await self._runtime.start_session(agent, workspace=workspace, own_workspace=workspace is None, name=name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


class _ServerShelf:
    def __init__(self, runtime: RemoteRuntime) -> None:
        self._runtime = runtime

    async def rows(self, *, limit: int | None, parent: str | None = None) -> list[SessionRow]:
        return await self._runtime.sessions(
            limit=limit or 1 << 30, include_archived=limit is None, parent=parent, top_level=parent is None
        )

    async def outcome(self, row: SessionRow) -> RunOutcome | None:
        last = await self._runtime.last_event(row.id, "run.finished")
        return last.data.outcome if last is not None and isinstance(last.data, RunFinished) else None
