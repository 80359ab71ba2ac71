"""Reading: the part of a session's handle that tells how the session stands, what was done, and what is done next."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..contracts import Tool
from ..core.agent import AgentRef, ThinkingLevel, ToolDefinition
from ..core.events import Delta, Event
from ..core.facts import ExportFormat, SessionConfig, TraceEvent
from ..core.gate import Status
from ..core.ids import RunId, Seq
from ..core.messages import Message
from ..core.record import ActiveTool, RunPage, RunSnapshot
from ..core.state import State
from ..core.tool_search import DeferredTool
from .cancel import Cancel
from .context import info_of
from .deferral import Deferral
from .handle import Handle
from .log import load_state, load_transcript
from .permissions import policy_of, saved_permissions
from .receiver import EventReceiver, watch
from .trace import read_trace
from .tree import TreeReceiver


class Reading(Handle):
    """Facts of one session. Nothing here changes it, and all of it can be asked of a handle that was closed."""

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def session_cancel_token(self) -> Cancel:
        """Every run's token derives from it. Cancelling it ends the open run, recorded as interrupted, and refuses new
        ones on this handle; `close` is the graceful way (seed 001)."""
        return self._token

    async def status(self) -> Status:
        return (await self._store.session(self.id)).status

    async def state(self) -> State:
        """The fold of the log as it stands."""
        return await load_state(self._store, self.id)

    async def is_running(self) -> bool:
        """True while a run is open, parked ones included."""
        return (await self._store.session(self.id)).run is not None

    async def history(self) -> tuple[Message, ...]:
        """The session's own messages as they stand now."""
        return (await load_transcript(self._store, self.id)).own_messages

    async def events(self, from_seq: Seq = 0) -> list[Event]:
        """The stored events with a greater seq."""
        return self._labelled(await self._store.read(self.id, from_seq))

    async def export(self, format: ExportFormat = "html", *, children: bool = True) -> bytes:  # noqa: A002
        """The session as it stands now: as a page (`html`) or Markdown (`md`) to be read, as the log itself (`jsonl`) for
        `Runtime.import_session`, or as a session file of pi (`pi`). `children`: with the sessions that work for it.

        It holds what the log holds, secrets too. InvalidArgument. `Runtime.export_session` gives it in pieces.
        """
        return b"".join([piece async for piece in self._home.export_session(self.id, format, children=children)])

    def follow(self, from_seq: Seq = 0) -> EventReceiver:
        """Stored events with a greater seq and then each new one, without gap or repeat. Never ends by itself."""
        return EventReceiver(self._store, self.id, from_seq, labels=self.labels)

    def follow_tree(self, cursor: str | None = None) -> TreeReceiver:
        """The events of the session and of all that works for it by tasks, and then each new one, as one stream without gap
        or repeat; `Event.session` says whose one is. Never ends by itself.

        `cursor`: where an earlier reader stood (`TreeReceiver.cursor`); from the beginning without one. A child's events
        come behind its parent's `subagent.started`, and those that its task has made before `subagent.finished`.
        """
        return TreeReceiver(self._store, self.id, cursor, labels=self.labels)

    async def watch(self, from_seq: Seq | None = None) -> AsyncIterator[Event | Delta]:
        """`follow` with the deltas between the events; from now on unless `from_seq` is given."""
        if from_seq is None:
            from_seq = (await self._store.session(self.id)).head
        async for item in watch(self._store, self.id, from_seq, labels=self.labels):
            yield item

    def event_rx(self, from_seq: Seq | None = None) -> EventReceiver:
        """A receiver of its own, to wait on beside other things; from this handle's opening unless told (seed 002)."""
        return EventReceiver(self._store, self.id, self._opened_at if from_seq is None else from_seq, labels=self.labels)

    async def recv_event(self) -> Event | None:
        """The next event this handle has not returned yet, from its opening on; None when the session rests and all are
        taken (seed 002)."""
        return await self._receiver.recv()

    async def runs(self, *, limit: int | None = None) -> list[RunSnapshot]:
        """The session's runs, oldest first; with `limit` the newest so many. See `RecordLimits` for what is left out."""
        return await self._runs.all(limit)

    async def run_count(self) -> int:
        """How many runs there have been, whatever the limits are."""
        return await self._runs.count()

    async def run_snapshot(self, run: RunId | str) -> RunSnapshot | None:
        """None when the session has no such run, or limits leave it out."""
        return await self._runs.snapshot(run)

    async def run_events(self, run: RunId | str) -> list[Event]:
        """The run's events from its prompt to its end, the newest of them under a limit; [] when the session has no such
        run, or limits leave it out."""
        return self._labelled(await self._runs.events(run))

    async def run_start(self, run: RunId | str) -> Seq:
        """The seq behind which the run's events begin, for `follow`. RunNotFound."""
        return await self._runs.before(RunId(run))

    async def run_page(self, run: RunId | str, after: Seq = 0, *, limit: int = 100) -> RunPage:
        """The run's next events behind the seq `after`, at most `limit` of them (1 to 1000), and where to go on.

        RunNotFound, also when limits leave the run out; InvalidArgument.
        """
        page = await self._runs.page(run, after, limit)
        self._labelled(list(page.events))
        return page

    async def active_tools(self) -> list[ActiveTool]:
        """Calls under way in the open run."""
        return await self._runs.active_tools()

    async def trace_events(self, *, limit: int | None = None) -> list[TraceEvent]:
        """What was done, step by step: names, sizes and times, never a value; with `limit` the last steps (seed 001)."""
        return await read_trace(self._store, self.id, limit=limit)

    def tool_definitions(self) -> list[ToolDefinition]:
        """What there is to know of the session's tools, those included that its model has to look for; of MCP servers, those
        that are connected."""
        return [t.definition for t in self._tools_known()]

    async def deferred_tools(self) -> list[DeferredTool]:
        """The tools that the model has to look for with `tool_search`, and which of them it has found; none where it is told
        of all. Of MCP servers, those that are connected to this process."""
        parts = self._home.parts
        state = await load_state(self._store, self.id)
        spec = self._with_servers(parts.held(self._spec, self.workspace))
        saved = saved_permissions(await self._store.rules(workspace=self.workspace, tenant=self.labels.tenant))
        policy = policy_of(spec.permissions, parts.standing(self.workspace), saved, state.permissions, shell=parts.shell)
        info = await info_of(parts.models, self.model)
        window = spec.context.window or (None if info is None else info.context_window)
        deferral = Deferral(parts.tool_search)
        deferral.take(RunId(""), spec, self._tools_known(), policy, window)
        return deferral.deferred(policy, await load_transcript(self._store, self.id)) if deferral.active else []

    def _tools_known(self) -> list[Tool]:
        tools = {t.definition.name: t for t in self._home.tools_of(self._spec, self.workspace)}
        servers, spec = self._home.parts.tool_servers, self._with_servers(self._spec)
        if servers is not None and spec.mcp_servers:
            found = servers.known(spec, self._served())
            for tool in (*found.tools, *found.common):
                tools.setdefault(tool.definition.name, tool)
        return list(tools.values())

    def tool_names(self) -> list[str]:
        return [d.name for d in self.tool_definitions()]

    @property
    def agent(self) -> AgentRef:
        return self._agent

    @property
    def model(self) -> str:
        """The model of the next run, as far as this handle has set or read it."""
        return self._settings[0] or self._spec.models[0]

    @property
    def thinking(self) -> ThinkingLevel | None:
        return self._settings[1] or self._spec.settings.thinking

    @property
    def config(self) -> SessionConfig:
        return SessionConfig(
            self._agent, self._spec, self.model, self.thinking, self._settings[2], self.workspace, dict(self._environment)
        )

    @property
    def cwd(self) -> str | None:
        """The workspace's folder (seed 002)."""
        return self.workspace

    @property
    def tenant_id(self) -> str | None:
        return self.labels.tenant

    @property
    def principal(self) -> str | None:
        return self.labels.principal

    @property
    def agent_template_id(self) -> str | None:
        return self.labels.agent_template

    @property
    def correlation_id(self) -> str | None:
        return self.labels.correlation
