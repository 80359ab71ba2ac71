"""Runtime: what a program opens to work with sessions. It puts the parts together and holds no behaviour of its own."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from ..contracts import (
    BudgetGuard,
    Checkpoints,
    Embedder,
    HookHandler,
    Model,
    ModelRegistry,
    SessionHandle,
    SessionRow,
    ShellCommand,
    ShellParser,
    Store,
    Tool,
    Workspace,
)
from ..core.agent import AgentRef, AgentSpec
from ..core.artifact import ArtifactLimits
from ..core.budget import Price
from ..core.errors import InvalidArgument, SubagentLimit
from ..core.events import Labels, SessionCreated
from ..core.gate import Status
from ..core.hooks import HookSpec
from ..core.ids import Clock, IdSource, RandomIds, SessionId, SystemClock
from ..core.lanes import DeadLetter, LaneConfig, LaneSettings
from ..core.memory import MemoryReach
from ..core.record import RecordLimits
from ..core.sandbox import SandboxPolicy
from ..engine.commands import Command, checked_commands
from ..engine.direct import close_lost_calls
from ..engine.driver import GRACE_S, LEASE_TTL_S, Parts
from ..engine.handles import id_of
from ..engine.hook import Hook
from ..engine.hooks import Hooks
from ..engine.lanes import Lanes
from ..engine.log import create_log, load_state, record_reports
from ..engine.memory import ReachedMemories
from ..engine.session import Session
from ..engine.todos import new_goal
from .agent_tools import AgentTools
from .agents import Agent
from .artifacts import LimitedBlobs
from .auth_store import AuthStore, auth_of
from .command_files import FOLDERS, checked_folders
from .configured import (
    Configs,
    context_of,
    embedder_of,
    held_of,
    hooks_of,
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
from .created_agents import CreatedAgents
from .desk import Desk
from .dispatch import EmbeddedDispatcher
from .folder_context import FolderContexts, FolderFiles
from .guards import BudgetGuards
from .home import Attendant as Attendant, base_name
from .hooks import HOOK_KIT
from .lane_tasks import LaneTasks
from .link_fetching import LinkFetcher
from .mcp.connections import McpConnections, McpSettings
from .mcp.tokens import McpTokens
from .memory import MemoryGiven, RuntimeMemory, memory_of
from .output_types import TypedOutputs
from .retention import Retention
from .search import Searching
from .secret_keys import keys_for
from .secrets import Secrets
from .subagents import SubagentHost
from .tracing import Tracing, TracingSettings
from .transfers import Transfers
from .workspaces import LocalWorkspaces, database_files, existing_folder

if TYPE_CHECKING:
    from ..tools.fetch import Fetcher
    from ..tools.toolbox import Toolbox
    from .vaults import Vaults

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class Runtime(CreatedAgents, Transfers, Retention):
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
        self.secrets = Secrets(store, keys_for(getattr(store, "file", None), secret_keys))
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
        tokens = McpTokens(lambda: self.vaults, (mcp or McpSettings()).tokens)
        self.mcp = McpConnections(mcp or McpSettings(), lambda: self.fetcher, tokens, self.auth)
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
        """Open the sessions kept in the SQLite file at `path` (made when missing; `":memory:"` keeps nothing).

        `models`: a registry, or models by name beside the providers'. `tools`: available to every agent by name; one
        of godwit's own classes, as a `WebFetch` with other settings, takes the place of the built-in one.
        `prices`: what models cost, by name, in place of what is listed for them. `budget_guard`: is asked before each step
        of every session whose agent brings none of its own.
        `durability`: `disk` survives power loss, `process` survives the process, `memory` neither.
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
        from ..stores.sqlite import SqliteStore
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
        kept: Store = store or SqliteStore.open(os.fspath(path), durability=durability, clock=clock)
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
            checkpoints=checkpoints or _file_checkpoints(kept, durability, clock),
            secret_keys=secret_keys,
            max_runs=max_runs,
            lanes=_lane_settings(lanes, config),
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

    def allow_reach(self, places: Sequence[str]) -> None:
        """From now on `fetcher` reaches these hosts and networks too, see `McpSettings.reach`. ConfigurationError."""
        new = tuple(place for place in places if place not in self._reach)
        if "fetcher" in self.__dict__:
            self.fetcher.allow(new)
        self._reach = (*self._reach, *new)

    # --- sessions ----------------------------------------------------------------------------------------------

    async def start_session(
        self,
        agent: Agent | AgentSpec | AgentRef | str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Labels | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        parent: SessionHandle | str | None = None,
        parent_depth: int | None = None,
        vaults: Sequence[str] = (),
        goal: str | None = None,
        drive: bool = True,
    ) -> Session:
        """A new session of the agent, its status queued until it first runs.

        `workspace`: an existing folder; `environment`: variables for its commands. `session`: an id of your own.
        `parent`: the session this one works for, or its id; its budgets for its tree count here as well. `parent_depth`: in
        its place, how deep somebody elsewhere stands whom this one works for; SubagentLimit when that is too deep. `vaults`:
        whose credentials its MCP servers may be given. `goal`: what it is to come to, as for `Session.set_goal`.
        AgentNotFound, SessionExists, SessionNotFound (no such parent), InvalidArgument (no such folder, or a parent that is
        no session), ToolNotFound, ConfigurationError (the sandbox that the agent demands cannot be had here); what `create`
        raises for an agent that is given whole, or is to be driven here.
        """
        folder = existing_folder(workspace)
        ref, spec = await self._stored(agent, folder)
        if drive:
            self._check_models_of(spec)
        await self._check_sandbox(spec, folder)
        session_id = self.new_session_id(session)
        self.parts.standing(folder)  # a wrong file is told before anything is stored
        above, root, depth = None, None, 0
        if parent is not None:
            above, root, depth, labels = await self._below(id_of(parent), labels)
        elif parent_depth is not None:
            depth = parent_depth + 1
            if depth > spec.limits.max_depth:
                raise SubagentLimit(
                    f"a session at depth {depth} would be deeper than the limit of {spec.limits.max_depth}",
                    depth=depth,
                    limit=spec.limits.max_depth,
                )
        created = SessionCreated(
            ref,
            folder,
            dict(environment or {}),
            labels or Labels(),
            name,
            dict(metadata or {}),
            above,
            root,
            depth,
            vaults=tuple(vaults),
        )
        set_goal = [] if goal is None else [new_goal(goal, self.tools_of(spec, folder), self.ids)]
        await create_log(self.store, session_id, [created, *set_goal], self.clock)
        return await self._handle(session_id, spec, drive, source="startup")

    async def _stored(self, agent: Agent | AgentSpec | AgentRef | str, folder: str | None) -> tuple[AgentRef, AgentSpec]:
        """See `Transfers._stored`."""
        if isinstance(agent, AgentRef):
            return await self.store.get_agent(agent.name, agent.version)
        if isinstance(agent, str):
            return await self.store.get_agent(agent)
        ref = await self._create(agent, folder)
        return await self.store.get_agent(ref.name, ref.version)

    def new_session_id(self, given: str | None) -> SessionId:
        """See `ForkHome.new_session_id`."""
        if given is not None and not _SESSION_ID.fullmatch(given):
            raise InvalidArgument(
                f"session id {given!r}: letters, digits and . _ : - only, 1 to 128 of them, a letter or digit first",
                session=given,
            )
        return SessionId(given or self.ids.new("ses"))

    def fork_folder(self, given: str | os.PathLike[str]) -> str:
        """See `ForkHome.fork_folder`."""
        folder = existing_folder(given)
        assert folder is not None
        return folder

    async def open_fork(self, session: SessionId, *, drive: bool) -> Session:
        """See `ForkHome.open_fork`."""
        return await self.open_session(session, drive=drive)

    async def _below(self, parent: SessionId, labels: Labels | None) -> tuple[SessionId, SessionId, int, Labels]:
        """Where a session stands that works for this one: its parent, the first in the line, its depth, its labels.

        SessionNotFound; SubagentLimit when it would be too deep; InvalidArgument for a session of another tenant.
        """
        state = await load_state(self.store, parent)
        given = state.labels if labels is None else labels
        if given.tenant != state.labels.tenant:
            raise InvalidArgument(f"session {parent!r} is of another tenant", parent=parent)
        assert state.agent is not None
        _, spec = await self.store.get_agent(state.agent.name, state.agent.version)
        if state.depth + 1 > spec.limits.max_depth:
            raise SubagentLimit(
                f"a session at depth {state.depth + 1} would be deeper than the limit of {spec.limits.max_depth}",
                depth=state.depth + 1,
                limit=spec.limits.max_depth,
            )
        return parent, state.root or parent, state.depth + 1, given

    async def open_session(
        self, session: str, *, agent: Agent | None = None, drive: bool = True, context: Any = None
    ) -> Session:
        """A handle for a stored session. An open run goes on here at once, unless a living process drives it.

        `agent`: brings its function tools and commands into this process. `drive=False`: only watch and control it.
        `context`: the value for function tools of the run that goes on. SessionNotFound, ToolNotFound, ConfigurationError
        (the sandbox that the agent demands cannot be had here).
        """
        session_id = SessionId(session)
        row = await self.store.session(session_id)
        if agent is not None:
            self._bring(agent)
        _, spec = await self.store.get_agent(row.agent.name, row.agent.version)
        if drive:
            self.tools_of(spec, row.workspace)
            await self._check_sandbox(spec, row.workspace)
        handle = await self._handle(session_id, spec, drive, context)
        if drive:
            self.wake(session_id)
        return handle

    async def _handle(
        self, session: SessionId, spec: AgentSpec, drive: bool, context: Any = None, *, source: str = "resume"
    ) -> Session:
        state = await load_state(self.store, session)
        hooks = self.hooks(session)
        if state.parent is not None:
            await self._inherit(session, state.parent, keep=drive)
        if drive and state.gate.tasks:
            self.subagents.look(session)
        if drive and state.own_calls:
            await close_lost_calls(self.store, session, state, self.clock, self.parts.owner)
        handle = Session(self, session, state, spec, drives=drive)
        del hooks  # until here nobody else may have held them
        if drive:
            self.guards.opened(session, base_name(spec))
            for spec_of_file in hooks_of(self._config, state.workspace):
                self.hooks(session).register(spec_of_file)
            await self.hooks(session).opened(source, agent=spec.name, model=handle.model)
            self.external_tasks.look_after(state)
            self._dispatcher.open(session, handle.session_cancel_token, context, None if state.run is None else state.run.id)
            if state.parent is not None:
                self.subagents.ancestors.follow(session, state.parent)
            for part in (self._tracing, *self._attendants):
                if part is not None:
                    part.follow(session, state.seq)
        return handle

    async def dead_letters(self) -> list[DeadLetter]:
        """Calls of all sessions, of whatever tenant, whose last try outside failed, the oldest first. What is done about one
        is its session's: `Session.requeue_dead_letter`, `drop_dead_letter`."""
        tenants = {row.labels.tenant for row in await self.sessions(limit=1 << 30)}
        found = [one for tenant in tenants for one in await self.external_tasks.dead_letters(tenant=tenant)]
        return sorted(found, key=lambda letter: letter.failed_ms)

    async def sessions(
        self,
        *,
        limit: int = 50,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        tenant: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
        parent: str | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """Sessions by newest activity. `parent`: only those that work for this one themselves; `top_level`: only
        those that work for none. InvalidArgument for both."""
        return await self.store.sessions(
            limit=limit,
            statuses=statuses,
            workspace=workspace,
            tenant=tenant,
            prefix=prefix,
            include_archived=include_archived,
            parent=None if parent is None else SessionId(parent),
            top_level=top_level,
        )

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


def _lane_settings(given: LaneSettings | Sequence[LaneConfig] | None, config: Configs) -> LaneSettings | None:
    if given is None:
        return lanes_of(config)
    return given if isinstance(given, LaneSettings) else LaneSettings(tuple(given))


def _file_checkpoints(store: Store, durability: Literal["memory", "process", "disk"], clock: Clock) -> Checkpoints:
    from ..workspaces.checkpoints import FileCheckpoints

    file: str | None = getattr(store, "file", None)
    if file is None:
        return FileCheckpoints(None, durability="memory", clock=clock)
    return FileCheckpoints(f"{file}.files", own=[file], durability=durability, clock=clock)


class LateShell:
    """The parser of shell commands, made when the first one is judged."""

    def __init__(self) -> None:
        self._shell: ShellParser | None = None

    def parse(self, command: str) -> ShellCommand:
        if self._shell is None:
            from ..workspaces.shell import Shell

            self._shell = Shell()
        return self._shell.parse(command)
