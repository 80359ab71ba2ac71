"""`godwit mcp serve`: the agents of a folder as an MCP server on the standard streams, for a client that starts it.

Owns which agents these are and what stands behind them: the one that the flags describe and those of files, held to the
flags as on the command line. The protocol is `mcp_server`'s. Rule: all that could keep it from working is told on standard
error before anything is said to the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import GodwitError
from ..core.events import Labels
from ..core.narrowing import INHERIT
from ..engine.commands import Command, Typed
from . import cli_commands, cli_trust
from .cli_agent import DEFAULT_AGENT, AgentFlags
from .cli_agents import counting, named
from .cli_exit import DONE, CliError
from .cli_place import DEFAULT_DATABASE, Place
from .cli_serve import setup_of
from .cli_words import clean

if TYPE_CHECKING:
    from ..contracts import SessionRow
    from ..core.agent import AgentSpec
    from ..engine.session import Session
    from ..host.runtime import Runtime
    from .mcp_server.wire import Wire
    from .server.caller import Caller

MADE_BY = "mcp"
"""How sessions are labelled that are made here: the next process that serves their folder goes on with them."""
_ABOUT = "A software engineer that works in {folder}: reads, searches and changes its files and runs commands there."


@dataclass(frozen=True)
class ServedAgents:
    """`flags`: what was typed of an agent; `names`: only these."""

    flags: AgentFlags
    names: Sequence[str] = ()


async def serve(place: Place, agents: ServedAgents, folder: Path, *, setup: str | None) -> int:
    """Until the client closes the streams, or the process is told to end."""
    from .mcp_server.wire import taken

    wire = taken()
    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    if not place.named:
        # Clients start us anywhere: what is kept belongs to the folder.
        place = replace(place, database=folder.resolve() / DEFAULT_DATABASE)
    place = replace(place, database=place.database.absolute())
    os.chdir(folder)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    await cli_trust.settle(folder, lambda text, _: print(clean(text), file=sys.stderr), given=False, asks=False)
    own = await setup_of(setup)
    async with place.open(make=True, options=own.options) as runtime:
        await own.register(runtime)
        roster = FolderRoster(runtime, agents, Path.cwd())
        roster.check()
        await _go_on(runtime)
        await _serve(runtime, roster, wire)
    return DONE


async def _serve(runtime: Runtime, roster: FolderRoster, wire: Wire) -> None:
    from .mcp_server.stdio import serve as serve_stdio
    from .server.service import Service
    from .server.settings import ServerSettings

    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, ending.set)
    await serve_stdio(Service(runtime, ServerSettings()), roster, FolderCommands(Path.cwd()), wire, ending)


async def _go_on(runtime: Runtime) -> None:
    """With the work that an earlier one of these has left, since its client counts on it; what was begun on the command line
    is left to whoever has begun it."""

    def ours(row: SessionRow) -> bool:
        return row.labels.correlation == MADE_BY

    await runtime.desk.recover(ours)


class FolderRoster:
    """Implements `server.roster.Roster`."""

    def __init__(self, runtime: Runtime, agents: ServedAgents, folder: Path) -> None:
        self._runtime = runtime
        self._agents = agents
        self._folder = folder

    def check(self) -> None:
        """CliError for an agent that is not there, or a model that cannot be asked."""
        if not self._specs(strict=True):
            raise CliError("there is no agent to serve", hint="name one with --agent, or choose a model with -m")

    async def offered(self, caller: Caller) -> list[FolderAgent]:
        return await asyncio.to_thread(self._specs)

    def _specs(self, *, strict: bool = False) -> list[FolderAgent]:
        flags, found = self._agents.flags, []
        if self._agents.names:
            wanted = [(name, True) for name in self._agents.names]
        else:
            wanted = [(spec.name, False) for spec in counting(self._folder).specs if not spec.hidden]
            model = self._model(None)
            spec = flags.agent(model, self._others()).spec
            about = _ABOUT.format(folder=self._folder)
            found.append(FolderAgent(self._runtime, self._folder, DEFAULT_AGENT, about, spec))
        for name, must in wanted:
            try:
                spec = named(name, self._folder)
                known = None if spec.models == (INHERIT,) else spec.models[0]
                made = flags.named(spec, self._model(known))
            except (CliError, GodwitError) as error:
                if must and strict:
                    raise
                print(clean(f"note: agent {name} is not served: {error}"), file=sys.stderr)
                continue
            found.append(FolderAgent(self._runtime, self._folder, name, spec.description, made))
        return found

    def _model(self, known: str | None) -> str:
        """The flag's, which holds GODWIT_MODEL, or the agent's own. CliError, ModelNotFound, AuthenticationFailed."""
        name = self._agents.flags.model or known
        if name is None:
            raise CliError(
                "no model is chosen", hint="use -m provider:model or set GODWIT_MODEL; godwit doctor lists providers"
            )
        return self._runtime.check_model(name)

    def _others(self) -> list[AgentSpec]:
        """The agents of files that the one of the flags may hand tasks to."""

        def usable(spec: AgentSpec) -> bool:
            try:
                return spec.models == (INHERIT,) or all(self._runtime.check_model(model) for model in spec.models)
            except GodwitError:
                return False

        return [spec for spec in counting(self._folder).specs if usable(spec)]


class FolderAgent:
    """Implements `server.roster.Offered`."""

    def __init__(self, runtime: Runtime, folder: Path, name: str, description: str, spec: AgentSpec) -> None:
        self.id = self.title = name
        self.description = description
        self._runtime = runtime
        self._folder = folder
        self.spec = spec

    async def start(self, caller: Caller, session: str) -> Session:
        labels = Labels(correlation=MADE_BY)
        return await self._runtime.start_session(self.spec, workspace=self._folder, labels=labels, session=session)


class FolderCommands:
    """Implements `mcp_server.prompts.Written`: the command files and skills that count in this folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def commands(self) -> Sequence[Command]:
        registry = await asyncio.to_thread(cli_commands.registry, self._folder)
        return [one for one in registry.commands() if one.source != "builtin"]

    async def filled(self, name: str, arguments: str) -> str:
        """InvalidArgument for a command that is no prompt, or cannot be one now."""
        from ..core.errors import InvalidArgument

        registry = await asyncio.to_thread(cli_commands.registry, self._folder)
        output = await registry.execute(Typed(name, arguments), _NoSession())
        if output.error is not None or not isinstance(output.prompt, str):
            raise InvalidArgument(output.text or f"/{name} is no prompt of words alone")
        return output.prompt


@dataclass(frozen=True)
class _NoSession:
    """What a command file needs of a context: without a workspace no file is put into the prompt, since the client's model
    reads its files itself."""

    workspace: str | None = None
    policy: Any = None


__all__ = ["FolderCommands", "FolderRoster", "ServedAgents", "serve"]
