"""Runtime: what a program opens to work with sessions. It puts the parts together and holds no behaviour of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from ..contracts import (
    BudgetGuard,
    Checkpoints,
    Embedder,
    HookHandler,
    Model,
    ModelRegistry,
    ServedSession,
    Store,
    Tool,
    Workspace,
)
from ..core.agent import AgentSpec
from ..core.artifact import ArtifactLimits
from ..core.budget import Price
from ..core.errors import InvalidArgument
from ..core.hooks import HookSpec
from ..core.ids import Clock, IdSource, RandomIds, SessionId, SystemClock
from ..core.lanes import LaneConfig, LaneSettings
from ..core.mcp import McpServer, McpStatus
from ..core.memory import MemoryReach
from ..core.record import RecordLimits
from ..core.sandbox import SandboxPolicy
from ..engine.commands import Command, checked_commands
from ..engine.driver import GRACE_S, LEASE_TTL_S, Parts
from ..engine.hook import Hook
from ..engine.hooks import Hooks
from ..engine.lanes import Lanes
from ..engine.log import record_reports
from ..engine.memory import ReachedMemories
from .agent_tools import AgentTools, tool_search
from .artifacts import LimitedBlobs
from .auth_store import AuthStore, auth_of
from .command_files import FOLDERS, checked_folders
from .configured import (
    Configs,
    context_of,
    embedder_of,
    held_of,
    lanes_of,
    link_reach_of,
    mcp_of,
    memory_file_of,
    registry_of,
    sandbox_of,
    search_of,
    servers_of,
    standing_of,
)
from .desk import Desk
from .dispatch import EmbeddedDispatcher
from .folder_context import FolderContexts, FolderFiles
from .guards import BudgetGuards
from .home import Attendant as Attendant
from .hooks import HOOK_KIT
from .lane_tasks import LaneTasks
from .late_shell import LateShell
from .link_fetching import LinkFetcher
from .mcp.opened import Show, connections_of, log_in
from .mcp.settings import McpSettings
from .memory import MemoryGiven, RuntimeMemory, memory_of
from .output_types import TypedOutputs
from .retention import Retention
from .search import Searching
from .secret_keys import keys_of
from .secrets import Secrets
from .started_sessions import StartedSessions
from .subagents import SubagentHost
from .tracing import Tracing, TracingSettings
from .workspaces import LocalWorkspaces, database_files, file_checkpoints

if TYPE_CHECKING:
    from ..tools.fetch import Fetcher
    from ..tools.toolbox import Toolbox
    from .oauth_callback import Ask
    from .vaults import Vaults


class Runtime(StartedSessions, Retention):
    """Starts, opens, lists and ends sessions. Use `Runtime.open`, as an async context manager or with `close`.

    One runtime serves any number of asyncio tasks of one event loop at once.
    """

    def __init__(
        self,
        *,
        store: Store,
        models: ModelRegistry,
        toolbox: Toolbox,
        budget_guard: BudgetGuard | None = None,
        workspace: Callable[[SessionId, str, Mapping[str, str], SandboxPolicy], Workspace],
        clock: Clock,
        ids: IdSource,
        lease_ttl_s: float = LEASE_TTL_S,
        grace_s: float = GRACE_S,
        commands: Sequence[Command] = (),
        command_folders: Sequence[str | os.PathLike[str]] = FOLDERS,
        tracing: TracingSettings | None = None,
        hooks: Sequence[Hook | HookSpec] = (),
        artifacts: ArtifactLimits | None = None,
        records: RecordLimits | None = None,
        config: Configs = None,
        checkpoints: Checkpoints | None = None,
        secret_keys: Sequence[str] | None = None,
        max_runs: int | None = None,
        lanes: LaneSettings | None = None,
        check_models: bool = True,
        mcp: McpSettings | None = None,
        folder_files: FolderFiles | None = None,
        trusts: Callable[[str | None], bool] = lambda _: True,
        auth: AuthStore | None = None,
        memory: RuntimeMemory | None = None,
        link_reach: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.secrets = Secrets(store, keys_of(store, secret_keys))
        self.records = records or RecordLimits()
        self.clock = clock
        self.ids = ids
        self.models = models
        self.auth = auth_of(models, auth)
        """The keys of providers that are stored on this machine."""
        self._folder_contexts = None if folder_files is None else FolderContexts(context_of(config, folder_files), trusts)
        self._trusts = trusts
        self._tools = AgentTools(Searching(toolbox, search_of(config)), self._folder_contexts)
        self._registered: dict[str, AgentSpec] = {}
        # An idle session costs nothing for them, unless something was registered on it.
        self._hooks: WeakValueDictionary[SessionId, Hooks] = WeakValueDictionary()
        self._kept_hooks: dict[SessionId, Hooks] = {}
        self._hooks_of_all = tuple(hooks)
        for hook in hooks:
            HOOK_KIT.matcher(hook if isinstance(hook, HookSpec) else hook.spec)
        self._hook_handlers: dict[str, dict[str, HookHandler]] = {}
        self.guards = BudgetGuards(budget_guard)
        self._commands = checked_commands(commands, "Runtime")
        self._command_folders = checked_folders(command_folders)
        self._agent_commands: dict[str, tuple[Command, ...]] = {}
        self._grace_s = grace_s
        settings = lanes or LaneSettings()
        self.external_tasks = LaneTasks(store, ids, clock, dead_letters=settings.dead_letters)
        self._reach: tuple[str, ...] = (mcp or McpSettings()).reach
        self.mcp = connections_of(self, mcp or McpSettings())
        self.outputs = TypedOutputs()
        self._memory = memory or memory_of(None, store, ids=ids, clock=clock)
        self.parts = Parts(
            store=store,
            blobs=store if artifacts is None else LimitedBlobs(store, artifacts),
            models=models,
            tools=self.tools_of,
            workspace=workspace,
            clock=clock,
            ids=ids,
            owner=store.owner,
            lease_ttl_s=lease_ttl_s,
            grace_s=grace_s,
            hooks=self.hooks,
            hook_handlers=self._handlers_of,
            checkpoints=checkpoints,
            find_tool=self.find_tool,
            shell=LateShell(),
            standing=standing_of(config),
            held=held_of(config),
            servers=servers_of(config),
            guards=self.guards.of,
            lanes=Lanes(settings, clock=clock.monotonic),
            task_queue=self.external_tasks,
            tool_servers=self.mcp,
            folder_context=self._folder_contexts,
            outputs=self.outputs,
            memory=self._memory,
            tool_search=tool_search,
        )
        self.subagents = self.parts.subagents = SubagentHost(self)
        self._config = config
        self._check_models = check_models
        self._dispatcher = EmbeddedDispatcher(self.parts, max_runs, self.subagents.rested)
        self._places = workspace if isinstance(workspace, LocalWorkspaces) else None
        self._tracing = self.parts.traces = None if tracing is None else Tracing(store, store.owner, tracing)
        self._links = LinkFetcher(link_reach)
        self._attendants: list[Attendant] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self.desk = Desk(self)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str] = "godwit.db",
        *,
        store: Store | None = None,
        models: ModelRegistry | Mapping[str, Model] | None = None,
        tools: Sequence[Tool] = (),
        prices: Mapping[str, Price] | None = None,
        budget_guard: BudgetGuard | None = None,
        durability: Literal["memory", "process", "disk"] = "disk",
        clock: Clock | None = None,
        ids: IdSource | None = None,
        lease_ttl_s: float = LEASE_TTL_S,
        grace_s: float = GRACE_S,
        commands: Sequence[Command] = (),
        command_folders: Sequence[str | os.PathLike[str]] = FOLDERS,
        tracing: TracingSettings | bool = False,
        hooks: Sequence[Hook | HookSpec] = (),
        artifacts: ArtifactLimits | None = None,
        records: RecordLimits | None = None,
        config: Configs = None,
        sandbox: SandboxPolicy | None = None,
        checkpoints: Checkpoints | None = None,
        secret_keys: Sequence[str] | None = None,
        max_runs: int | None = None,
        lanes: LaneSettings | Sequence[LaneConfig] | None = None,
        check_models: bool = True,
        mcp: McpSettings | None = None,
        folder_files: FolderFiles | None = None,
        trusts: Callable[[str | None], bool] = lambda _: True,
        auth: AuthStore | None = None,
        memory: MemoryGiven = None,
        embedder: Embedder | str | None = None,
        link_reach: Sequence[str] | None = None,
    ) -> Runtime:
        """Open the sessions kept in the SQLite file at `path` (made when missing; `":memory:"` keeps nothing), or in
        PostgreSQL, at an address as `postgresql://user@host/name` (docs/postgres.md).

        `models`: a registry, or models by name beside the providers'. `tools`: available to every agent by name; one
        of godwit's own classes, as a `WebFetch` with other settings, takes the place of the built-in one.
        `prices`: what models cost, by name, in place of what is listed for them. `budget_guard`: is asked before each step
        of every session whose agent brings none of its own.
        `durability`: of a file: `disk` survives power loss, `process` survives the process, `memory` neither.
        `commands`: slash commands of every session. `command_folders`: where command files are looked for, relative ones in
        the session's folder; `()` for nowhere.
        `checkpoints`: where the workspaces' files are kept, by default in the folder `<path>.files`, and in a temporary one
        where the store has no file.
        `tracing`: emit OpenTelemetry spans and metrics of what this process drives.
        `hooks`: of every session that is driven here, beside the agents' own.
        `artifacts`: how many large outputs are kept, of what this process stores. `records`: how much of its runs a handle
        gives out.
        `sandbox`: how commands of all sessions are confined here, in place of what their agents say.
        `config`: what holds beside the agents' own rules, for all folders or, as a function, for each. No file is read by
        itself: `config=godwit.host.config.load` reads the person's and the folder's.
        `lanes`: how many steps of each kind run at once in this process, by default as many as there are.
        `secret_keys`: what seals the secrets in the store, the current one first; see `host.secret_keys.keys_for`.
        `max_runs`: how many runs this process drives at once, by default as many as are open. The others wait, the one that
        was started first comes next, and `waiting_runs` lists them; a run that a tool asks for works in its own run's place.
        `check_models`: agents are created, and sessions of them started, only if all their models can be asked here. A host
        that stores agents for others to drive says False: then a run fails whose model is not there.
        `folder_files`: tells agents what AGENTS.md and skills of their folders and of this person say, see `FolderFiles`; by
        default nothing of the kind is read.
        `trusts`: whether commands and skills of a session's own folder count; by default those of every folder do, since
        they run nothing and grant nothing. `host.brought.trusts` asks what this person has said (`godwit trust`). Hooks and
        settings of a folder are `config`'s.
        `mcp`: which MCP servers may be reached that are not public, and tokens for some; by default what `config` says of
        no folder, as for `memory` and `embedder`.
        `link_reach`: hosts and networks beside public ones that addresses of attachments may lead to, as `intranet.example`;
        by default what `config` says of them.
        `auth`: where keys of providers are stored, by default this machine's store; see `Registry` for which key counts.
        `memory`: where what is remembered beyond sessions is kept: by default in this store, else in the SQLite file of this
        path, or in a `MemoryStore`; False for nowhere. What cannot be opened is a warning: see `init_warning`. `embedder`:
        makes vectors of memories, by which they are found beside their words; or the `provider:model` that does.
        Raises StoreError's leaves; ConfigurationError for a key that is none.
        """
        from ..stores.opening import opened
        from ..tools.toolbox import default_toolbox

        # Before there is a store to be closed.
        toolbox = default_toolbox(own=tools)
        commands, command_folders = checked_commands(commands, "Runtime"), checked_folders(command_folders)
        clock = clock or SystemClock()
        registry: ModelRegistry
        if models is None or isinstance(models, Mapping):
            own = registry_of(config, prices=prices)
            for name, model in (models or {}).items():
                own.register(name, model)
            registry = own
        else:
            registry = models
            if prices:
                raise InvalidArgument("prices belong to the registry: give them to it, as Registry(prices=...)")
        kept: Store = store or await opened(path, durability=durability, clock=clock)
        ids = ids or RandomIds()
        memory = memory_file_of(config) if memory is None else memory
        makes = embedder_of(embedder, config, registry)
        remembers = memory_of(memory, kept, ids=ids, clock=clock, durability=durability, embedder=makes)
        return cls(
            store=kept,
            models=registry,
            toolbox=toolbox,
            budget_guard=budget_guard,
            workspace=LocalWorkspaces(
                sandbox, (*database_files(getattr(kept, "file", None)), *database_files(remembers.file)), sandbox_of(config)
            ),
            clock=clock,
            ids=ids,
            lease_ttl_s=lease_ttl_s,
            grace_s=grace_s,
            commands=commands,
            command_folders=command_folders,
            tracing=TracingSettings() if tracing is True else tracing or None,
            hooks=hooks,
            artifacts=artifacts,
            records=records,
            config=config,
            checkpoints=checkpoints or file_checkpoints(kept, durability, clock),
            secret_keys=secret_keys,
            max_runs=max_runs,
            lanes=lanes_of(config, lanes),
            check_models=check_models,
            mcp=mcp or mcp_of(config),
            folder_files=folder_files,
            trusts=trusts,
            auth=auth,
            memory=remembers,
            link_reach=link_reach_of(config) if link_reach is None else link_reach,
        )

    async def __aenter__(self) -> Runtime:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let open runs yield at a checkpoint, to be gone on with by the next process, and close the store."""
        await self.subagents.close()
        await self.desk.close(self._grace_s)
        known = [hooks for hooks in self._hooks.values() if self._dispatcher.hosts(hooks.session)]
        await self._dispatcher.close(self._grace_s)
        await self.mcp.close()
        if "vaults" in self.__dict__:
            await self.vaults.close()
        self.lanes.close()
        await self.external_tasks.close()
        for part in (self._tracing, *self._attendants):
            if part is not None:
                await part.close()
        await asyncio.gather(*(hooks.closed("shutdown") for hooks in known))
        for hooks in known:
            await record_reports(self.store, hooks.session, hooks, self.clock)
        left = [task for hooks in known for task in hooks.cut_off()]
        if left:
            await asyncio.wait(left, timeout=self._grace_s)
        self._kept_hooks.clear()
        await self.auth.close()
        close = getattr(self.models, "close", None)
        if close is not None:
            await close()
        while self._leaving:
            await asyncio.wait(self._leaving)
        if self._places is not None:
            await self._places.close()
        if self.parts.checkpoints is not None:
            await self.parts.checkpoints.close()
        await self._memory.close()
        await self.store.close()

    @cached_property
    def memory(self) -> ReachedMemories:
        """What is remembered for who has no name, in no folder and of no tenant; `memory.of` for somebody else."""
        return ReachedMemories(self._memory, MemoryReach())

    @property
    def init_warning(self) -> str | None:
        """Why something that was asked for is not there, though all else works; None when all is well."""
        return self._memory.warning

    @property
    def lanes(self) -> Lanes:
        """In which the steps of this process wait for room."""
        return self.parts.lanes

    @cached_property
    def fetcher(self) -> Fetcher:
        """Goes out to the servers that agents and clients name: MCP servers and those that renew tokens."""
        from ..tools.address import AddressGuard
        from ..tools.fetch import Fetcher

        return Fetcher(AddressGuard(self._reach, setting="reach of [server] or of McpSettings"))

    @cached_property
    def vaults(self) -> Vaults:
        """The credentials of all tenants."""
        from .vaults import Vaults

        return Vaults(self.store, self.secrets, self.fetcher, self.ids, self.clock)

    async def mcp_login(
        self, server: McpServer, show: Show, *, ask: Ask | None = None, scopes: Sequence[str] = ()
    ) -> McpStatus:
        """Log in to an MCP server, for all sessions of no tenant on this machine, and say how it is with it then.

        `show`: is given the address that a person is to go to with a browser, if a login is needed; the browser comes back
        to this machine. `ask`: gets a line that the person types, where the browser is elsewhere: the address that it was
        sent to. `scopes`: beside those that are asked for anyway. NotSupported for a server that nobody logs in to;
        McpLoginFailed; NotFound when nobody came back in ten minutes; ConfigurationError.
        """
        return await log_in(self.mcp, server, show, ask=ask, scopes=scopes)

    async def mcp_logout(self, server: McpServer) -> bool:
        """Forget the login of this machine to an MCP server; False when there is none. ConfigurationError."""
        return await self.mcp.logout(server, ServedSession(SessionId("ses_login")))

    def allow_reach(self, places: Sequence[str]) -> None:
        """From now on `fetcher` reaches these hosts and networks too, see `McpSettings.reach`. ConfigurationError."""
        new = tuple(place for place in places if place not in self._reach)
        if "fetcher" in self.__dict__:
            self.fetcher.allow(new)
        self._reach = (*self._reach, *new)

    def limit_runs(self, most: int | None) -> None:
        """Drive no more runs than that at once from now on, see `open`'s `max_runs`; those under way go on. None: no limit.
        InvalidArgument."""
        self._dispatcher.limit_runs(most)

    def waiting_runs(self) -> list[SessionId]:
        """The sessions here whose runs wait for a place among those that are driven at once, the next one first."""
        return list(self._dispatcher.waiting)

    @property
    def driven_runs(self) -> int:
        """How many runs this process drives now."""
        return self._dispatcher.driven

    def attend(self, attendant: Attendant) -> None:
        """Tell it of every session that is driven here from now on."""
        self._attendants.append(attendant)
