"""Driver: what one drive of a session works with: its log, agent, tools, tokens, and the ear for what arrives meanwhile.

`Parts` is what the host hands in once; a `Driver` lives from a claim to its release. It holds no truth: all of that is
in the log, and another driver could start from there at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec

from ..contracts import (
    BeginTrace,
    BlobStore,
    Checkpoints,
    ContextSource,
    EventStore,
    HookHandler,
    Lease,
    ModelRegistry,
    OutputTypes,
    ServedSession,
    ServerTools,
    ShellParser,
    Subagents,
    TaskQueue,
    Tool,
    ToolServers,
    Traces,
    Workspace,
)
from ..core.agent import AgentRef, AgentSpec, Limits, Permissions, base_of
from ..core.errors import ConfigurationError, SessionNotFound, SessionOwned, StaleEpoch, StoreError, ToolNotFound
from ..core.events import Delta, SessionCompacted, UserInterrupt
from ..core.hooks import CONTINUE, HookPoint, HookResult
from ..core.ids import Clock, IdSource, RunId, SessionId
from ..core.mcp import RESOURCE_TOOLS, McpServer, server_and_tool
from ..core.modes import BUILD, PLAN, Mode, modes_of
from ..core.sandbox import SandboxPolicy
from ..core.state import State
from ..core.tool_search import TOOL_SEARCH
from .budget import Budgets, Guards
from .call_ids import CallIds
from .cancel import Cancel
from .context import info_of, models_now
from .deferral import Deferral, MakeSearch
from .hooks import Hooks
from .lanes import Lanes
from .log import Log, load_state
from .memory import MemoryAccess
from .permissions import Judgement, Narrowed, Policy, Standing, merged, mode_policy, policy_of, saved_permissions
from .run_servers import RunServers
from .task_progress import KnownSteps

LEASE_TTL_S = 30.0
"""How long a silent driver keeps its session when it cannot be seen to have died."""
GRACE_S = 2.0
"""Seconds an interrupted tool gets to end by itself."""
FORCED_GRACE_S = 0.2
"""What even a forced interrupt gives, to say what had been done."""
LISTEN_RETRY_S = 0.2


def time_left_s(state: State, limits: Limits, clock: Clock) -> float | None:
    """Seconds until the open run's wall time is over; None without such a limit."""
    if state.run is None or limits.max_duration_s is None:
        return None
    return max(0.0, limits.max_duration_s - (clock.now_ms() - state.run.started_ms) / 1000)


class Parts:
    """The parts a host was built of, as the engine uses them.

    What depends on a folder is asked with it: `tools` of an agent, `standing` rules, `held`, the agent as it is held to
    what the host's configuration says of its budgets and checkpoints, and the MCP `servers` that this names.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        blobs: BlobStore,
        models: ModelRegistry,
        tools: Callable[[AgentSpec, str | None], list[Tool]],
        workspace: Callable[[SessionId, str, Mapping[str, str], SandboxPolicy], Workspace],
        clock: Clock,
        ids: IdSource,
        owner: str,
        lease_ttl_s: float = LEASE_TTL_S,
        grace_s: float = GRACE_S,
        hooks: Callable[[SessionId], Hooks] = Hooks,
        hook_handlers: Callable[[AgentSpec], Mapping[str, HookHandler]] = lambda _: {},
        checkpoints: Checkpoints | None = None,
        find_tool: Callable[[str], Tool | None] = lambda _: None,
        guards: Guards = lambda *_: (),
        shell: ShellParser | None = None,
        standing: Callable[[str | None], Standing] = lambda _: Standing(),
        held: Callable[[AgentSpec, str | None], AgentSpec] = lambda spec, _: spec,
        servers: Callable[[str | None], tuple[McpServer, ...]] = lambda _: (),
        lanes: Lanes | None = None,
        subagents: Subagents | None = None,
        task_queue: TaskQueue | None = None,
        tool_servers: ToolServers | None = None,
        folder_context: ContextSource | None = None,
        outputs: OutputTypes,
        memory: MemoryAccess | None = None,
        traces: Traces | None = None,
        tool_search: MakeSearch | None = None,
    ) -> None:
        self.store = store
        self.blobs = blobs
        self.models = models
        self.tools = tools
        self.workspace = workspace
        self.clock = clock
        self.ids = ids
        self.owner = owner
        self.lease_ttl_s = lease_ttl_s
        self.grace_s = grace_s
        self.hooks = hooks
        self.hook_handlers = hook_handlers
        self.checkpoints = checkpoints
        self.find_tool = find_tool
        self.guards = guards
        self.shell = shell
        self.standing = standing
        self.held = held
        self.servers = servers
        self.lanes = lanes or Lanes(clock=clock.monotonic)
        self.task_queue = task_queue
        self.tool_servers = tool_servers
        self.folder_context = folder_context
        self.memory = memory
        self.traces = traces
        self.tool_search = tool_search
        self.steps = KnownSteps()
        self.subagents = subagents
        self.outputs = outputs

    def served(self, spec: AgentSpec, workspace: str | None, *, tenant: str | None, parent: SessionId | None) -> AgentSpec:
        """The agent with the servers of the host's configuration, beside those of its own of the same names. They are the
        person's: no tenant's session has them, nor one that works for another, which has what its own agent names."""
        if tenant is not None or parent is not None or self.tool_servers is None:
            return spec
        own = {server.name for server in spec.mcp_servers}
        more = tuple(server for server in self.servers(workspace) if server.name not in own)
        return msgspec.structs.replace(spec, mcp_servers=(*spec.mcp_servers, *more)) if more else spec


async def rules_above(
    store: EventStore, parent: SessionId
) -> tuple[tuple[Permissions, Permissions | None, Mode | None], ...]:
    """The rules of the sessions that one works for, nearest first: each agent's, what was set and answered there, and the
    mode it is in."""
    found: list[tuple[Permissions, Permissions | None, Mode | None]] = []
    above: SessionId | None = parent
    while above is not None:
        try:
            state = await load_state(store, above)
        except SessionNotFound:
            break
        assert state.agent is not None
        _, spec = await store.get_agent(state.agent.name, state.agent.version)
        found.append((spec.permissions, state.permissions, mode_of(state, spec)))
        above = state.parent
    return tuple(found)


def mode_of(state: State, spec: AgentSpec) -> Mode | None:
    """The mode that the session is in; None where it takes nothing away. One that the agent no longer has is the
    strictest."""
    mode = None if state.mode is None else modes_of(spec.modes).get(state.mode, PLAN)
    return None if mode is None or mode == BUILD else mode


class MakesRoom(Protocol):
    """What keeps the conversation within what the model reads (`room.Room`)."""

    async def before_turn(self) -> bool: ...
    async def after_overflow(self) -> bool: ...


class Driver:
    """One drive of one session. Use as an async context manager: it claims, listens, and lets go."""

    def __init__(self, parts: Parts, log: Log, *, context: Any = None, force: bool = False) -> None:
        self.parts = parts
        self.log = log
        self.session: SessionId = log.session
        self.clock = parts.clock
        self.ids = parts.ids.scoped(log.session, log.seq)
        self.token = Cancel()
        self.context = context
        self.changed = asyncio.Event()
        self.token.on_cancel(self.changed.set)
        self.spec: AgentSpec
        self.tools: list[Tool] = []
        self.summary_seen: SessionCompacted | None = None
        """The compaction after which it was looked what files say."""
        self._own_tools: list[Tool] = []
        self.servers = RunServers()
        self._servers_of: AgentRef | None = None
        self.deferral = Deferral(parts.tool_search)
        self.call_ids = CallIds()
        self.hooks = parts.hooks(log.session)
        self.workspace: Workspace | None = None
        self.budget = Budgets(parts, log.session, self.token, state=lambda: self.state, spec=lambda: self.spec, asks=True)
        self.shutdown = False
        self.trace: str | None = None
        """Where what it does stands in a trace, once the run is claimed."""
        self._trace_place: BeginTrace | None = None
        self.room: MakesRoom | None = None
        self._force = force
        self._guard_until = 0.0
        self._background: list[asyncio.Task[None]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._agent: Any = None
        self._standing = Standing()
        self._saved = Permissions()
        self._above: tuple[tuple[Permissions, Permissions | None, Mode | None], ...] = ()
        self._policy: Policy | None = None
        self._policy_of: tuple[Permissions | None, str | None] | None = None
        self._policy_for: list[Tool] | None = None

    @property
    def state(self) -> State:
        return self.log.state

    async def __aenter__(self) -> Driver:
        parts = self.parts
        before = parts.clock.monotonic()
        lease = await parts.store.claim(self.session, parts.owner, parts.lease_ttl_s, force=self._force)
        if lease is None:
            raise SessionOwned(session=self.session)
        self.log.lease = lease
        self._guard_until = before + lease.ttl_s
        try:
            await self.log.sync()
            await self.log.load_transcript()
            await self.load_agent()
            await self.load_rules()
        except BaseException:
            await parts.store.release(lease)
            raise
        self._background = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep(lease))]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        lease, self.log.lease = self.log.lease, None
        if lease is not None:
            # What is not released runs out, or is seen to belong to a process that died.
            with contextlib.suppress(StoreError):
                await self.parts.store.release(lease)

    @property
    def agent_is_old(self) -> bool:
        """Whether the session goes on as another agent than the one that is loaded."""
        return bool(self._agent != self.log.state.agent)

    async def place_trace(self) -> None:
        """Look where the open run stands in a trace, before it is claimed."""
        traces, run = self.parts.traces, self.state.run
        self._trace_place = None if traces is None or run is None else await traces.place(self.session, run.id)

    def begin_trace(self, attempt: int, at_ms: int) -> str | None:
        """The run is claimed now."""
        self.trace = None if self._trace_place is None else self._trace_place(attempt, at_ms)
        return self.trace

    async def load_agent(self) -> None:
        """Read the session's agent version, unless it is loaded, and find its tools."""
        state = self.log.state
        assert state.agent is not None
        if not self.agent_is_old:
            return
        _, stored = await self.parts.store.get_agent(state.agent.name, state.agent.version)
        held = self.parts.held(stored, state.workspace)
        self.spec = self.parts.served(held, state.workspace, tenant=state.labels.tenant, parent=state.parent)
        if state.restoring is not None:
            return  # putting files back needs no tools and no sandbox: any process can do it
        try:
            self.tools = self.parts.tools(self.spec, state.workspace)
        except ToolNotFound:
            # A run that only has to be ended needs no tools, so any process can end it.
            if state.run is None or state.run.interrupt is None:
                raise
            self.tools = []
        self._own_tools = self.tools
        if state.workspace is not None:
            try:
                self.workspace = self.parts.workspace(self.session, state.workspace, state.environment, self.spec.sandbox)
            except ConfigurationError:
                # Nor does it need the sandbox that the agent demands, or the folder.
                if state.run is None or state.run.interrupt is None:
                    raise
                self.workspace = None
        self.hooks.labels, self.hooks.workspace = state.labels, state.workspace
        self.hooks.adopt(self.spec.hooks, self.parts.hook_handlers(self.spec))
        self._agent, self._policy = state.agent, None
        self._servers_of = state.agent

    def _served(self) -> ServedSession:
        state = self.state
        labels = state.labels
        return ServedSession(self.session, labels.tenant, tuple(state.vaults), state.workspace, labels.principal)

    async def connect_servers(self) -> bool:
        """See to it that the tools of the agent's MCP servers are among the session's, as far as they can be had in a few
        seconds, and stage what has to be told of those that cannot. False when it waited: look at the state again."""
        servers, run = self.parts.tool_servers, self.state.run
        if run is None or run.interrupt is not None:
            return True
        if servers is None:
            await self._defer(run.id, self._own_tools)
            return True
        of = self._served()
        if await self._took_servers(servers, of):
            return False
        if not self.spec.mcp_servers:
            await self._defer(run.id, self._own_tools)
            return True
        found: ServerTools | None = servers.known(self.spec, of)
        assert found is not None
        if waited := found.due:
            await self.log.commit()
            found = await self._connected(servers.tools(self.spec, of))
            if found is None:
                return False
        new = self.servers.take(run.id, found)
        await self._defer(run.id, self.servers.tools(self.spec, self._own_tools))
        if waited:
            await self.log.commit(*new)
        else:
            self.log.stage(*new)
        return not waited

    async def _took_servers(self, servers: ToolServers, of: ServedSession) -> bool:
        """Take up the MCP servers that the session was given since its agent was loaded, and leave those that were taken
        from it; whether there were any. What else of the agent has changed counts from the next run on, and so does all of
        another agent."""
        agent = self.state.agent
        if agent is None or agent == self._servers_of:
            return False
        self._servers_of = agent
        if base_of(agent) != base_of(self._agent):
            return False
        await self.log.commit()
        _, stored = await self.parts.store.get_agent(agent.name, agent.version)
        state = self.state
        now = self.parts.served(stored, state.workspace, tenant=state.labels.tenant, parent=state.parent).mcp_servers
        before = self.spec.mcp_servers
        self.spec = msgspec.structs.replace(self.spec, mcp_servers=now)
        for gone in before:
            if gone in now:
                continue
            self.servers.forget(gone.name)
            if gone.link not in {server.link for server in now}:
                await servers.leave(gone, of)
        return before != now

    async def _defer(self, run: RunId, tools: list[Tool]) -> None:
        """These are the session's tools now: see which of them its model has to look for."""
        spec, deferral = self.spec, self.deferral
        if deferral.settled(run, spec, tools):
            self.tools = deferral.tools
            return
        window = spec.context.window
        if window is None and any(spec.tool_search.is_for(t.definition.name, spec.mcp_servers) for t in tools):
            info = await info_of(self.parts.models, models_now(self.state, spec)[0])
            window = None if info is None else info.context_window
        self.tools = deferral.take(run, spec, tools, self.policy, window)

    def told_tools(self) -> list[Tool]:
        """The tools that the next request tells the model of, in its order."""
        return self.deferral.told(self.policy, self.log.transcript)

    def has_to_look_for(self, tool: str) -> bool:
        """Whether the model has been told nothing of this tool of the session."""
        return self.deferral.is_unknown(tool, self.log.transcript)

    async def _connected(self, work: Coroutine[Any, Any, ServerTools]) -> ServerTools | None:
        """What it comes to; None when the run is to end, or the host stops, before that."""
        task = asyncio.create_task(work)
        try:
            while not task.done() and not self.token.cancelled and not self.shutdown:
                self.changed.clear()
                change = asyncio.create_task(self.changes())
                await asyncio.wait((task, change), return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
            return task.result() if task.done() else None
        finally:
            task.cancel()

    def tool(self, name: str) -> Tool | None:
        return next((t for t in self.tools if t.definition.name == name), None)

    def tool_at_hand(self, name: str) -> Tool | None:
        """The same, also of a server that this drive has not looked for; it is not connected for that."""
        tool, servers = self.tool(name), self.parts.tool_servers
        if tool is not None or servers is None or (server_and_tool(name) is None and name not in RESOURCE_TOOLS):
            return tool
        found = servers.known(self.spec, self._served())
        return next((one for one in (*found.tools, *found.common) if one.definition.name == name), None)

    def spare_tool(self, name: str) -> Tool | None:
        """A tool of a server that no model is told of now, for a call of it that has asked something."""
        servers = self.parts.tool_servers
        if servers is None or server_and_tool(name) is None:
            return None
        found = servers.known(self.spec, self._served())
        return next((one for one in found.spare if one.definition.name == name), None)

    def read_only(self) -> frozenset[str]:
        """The agent's tools that change nothing; looked for only where somebody asks, at a run's end."""
        if self.spec.verification is None:
            return frozenset()
        looking = frozenset(t.definition.name for t in self.tools if t.traits.read_only)
        return looking | {TOOL_SEARCH}

    async def ask_hooks(
        self,
        point: HookPoint,
        payload: Callable[[], dict[str, Any]],
        *,
        ended: RunId | None = None,
        cancel: Cancel | None = None,
    ) -> HookResult:
        """What the hooks of this point come to; see `Hooks.fire`. Costs nothing where there is none.

        What is staged is committed first, since a hook may take long; look at the state again afterwards. An interrupt cuts
        the hooks off. When one wants the run to end, it is interrupted. `ended`: the run that has just ended, whose hooks
        are asked; `cancel`: cuts them off in place of the driver's token.
        """
        if not self.hooks.wants(point):
            return CONTINUE
        await self.log.commit()
        run = self.state.run
        result = await self.hooks.fire(
            point,
            payload(),
            run=ended or (run.id if run is not None else None),
            cancel=cancel or self.token,
        )
        await self.log.commit(*self.hooks.take_reports())
        run = self.state.run
        if result.end_run and ended is None and run is not None and run.interrupt is None:
            await self.log.commit(UserInterrupt(run.id, reason=result.reason or f"hook {result.hook} ended the run"))
            self.token.cancel()
        return result

    @property
    def policy(self) -> Policy:
        """The rules of all layers: the agent's, the host's configuration, saved ones, the session's own."""
        own, mode = self.state.permissions, mode_of(self.state, self.spec)
        made_of = (own, self.state.mode)
        if self._policy is None or self._policy_of != made_of or self._policy_for is not self.tools:
            shell = self.parts.shell
            made = policy_of(self.spec.permissions, self._standing, self._saved, own, shell=shell)
            above = [
                policy_of(agent, self._standing, self._saved, merged(theirs, own), shell=shell)
                for agent, theirs, _ in self._above
            ]
            modes = [one for one in (mode, *(theirs for _, _, theirs in self._above)) if one is not None]
            if above or modes:
                made = Narrowed(made, above, [mode_policy(one, self.tools, shell) for one in modes])
            self._policy, self._policy_of, self._policy_for = made, made_of, self.tools
        return self._policy

    async def load_rules(self) -> None:
        """Read the rules that do not stand in this session's log, which others may have changed."""
        state = self.state
        standing = self.parts.standing(state.workspace)
        saved = await self.parts.store.rules(workspace=state.workspace, tenant=state.labels.tenant)
        permissions = saved_permissions(saved)
        if (standing, permissions) != (self._standing, self._saved):
            self._standing, self._saved, self._policy = standing, permissions, None
        if state.parent is not None:
            above = await rules_above(self.parts.store, state.parent)
            if above != self._above:
                self._above, self._policy = above, None

    def judge(self, tool: Tool, arguments: dict[str, Any]) -> Judgement:
        """What the rules say of this call."""
        return self.policy.judge(tool, arguments, self.workspace.root if self.workspace is not None else None)

    def suggest(self, tool: Tool, arguments: dict[str, Any]) -> tuple[str, ...]:
        """Rules that may be remembered with an approval of this call, the one to take first first."""
        return self.policy.suggest(tool, arguments, self.workspace.root if self.workspace is not None else None)

    def guard(self) -> None:
        """Raise StaleEpoch when the lease may have run out. Called directly before each effect: a driver that was
        stopped for too long must not begin anything, although nobody has told it so yet."""
        if self.clock.monotonic() >= self._guard_until:
            raise StaleEpoch(session=self.session)

    def arm_deadline(self) -> None:
        """Cancel the work in hand when the run's time is over."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        left_s = time_left_s(self.state, self.spec.limits, self.clock)
        if left_s is not None:
            self._deadline = asyncio.get_running_loop().call_later(left_s, self.token.cancel)

    def out_of_time(self) -> bool:
        return time_left_s(self.state, self.spec.limits, self.clock) == 0.0

    def grace_s(self) -> float:
        """Seconds that what is under way gets to end by itself, now."""
        run = self.state.run
        forced = run is not None and run.interrupt is not None and run.interrupt.force
        return FORCED_GRACE_S if forced else self.parts.grace_s

    def show(self, delta: Delta) -> None:
        self.parts.store.publish(delta)

    async def changes(self) -> None:
        """Wait until something has arrived since `changed` was last cleared."""
        await self.changed.wait()

    def stop(self) -> None:
        """Take no further step: the host shuts down."""
        self.shutdown = True
        self.changed.set()

    async def _listen(self) -> None:
        """Fold what arrives from outside as it arrives, and let it stop the work in hand where it must."""
        store, log = self.parts.store, self.log
        seen = log.seq
        while True:
            try:
                seen = await store.wait(self.session, max(seen, log.seq))
                # The store wakes this before the driver's own commit has returned; those events are none from outside.
                arrived = seen > log.seq and await log.sync(seen)
            except StoreError:
                # The ear must outlive a store that fails now and then.
                await asyncio.sleep(LISTEN_RETRY_S)
                seen, arrived = log.seq, True
            state = log.state
            # Also where nothing is new: a commit of the driver's own has folded in what came just before it.
            if state.run is not None and state.run.interrupt is not None:
                self.token.cancel()
            if arrived:
                self.changed.set()

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease well before it ends; without it, stop."""
        while True:
            await asyncio.sleep(lease.ttl_s / 4)
            before = self.clock.monotonic()
            try:
                renewed = await self.parts.store.renew(lease)
            except StoreError:
                # Tried again until the guard forbids further effects.
                continue
            if renewed:
                self._guard_until = before + lease.ttl_s
            else:
                self._guard_until = 0.0
                self.token.cancel()
                return
