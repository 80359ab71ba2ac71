"""Handle: what the parts of a session's handle share, and what they ask of the process they live in.

Owns the handle's state: whether it is open, which session it is for, what it has seen. Leaves out everything a person asks
for: that is in the parts (`reading`, `sending`, `control`, `answers`, `live_hooks`), which `session` puts together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

from ..contracts import EventStore, ServedSession, Tool, Workspace
from ..core.agent import AgentRef, AgentSpec
from ..core.attachments import Link
from ..core.errors import SessionClosed
from ..core.events import Event, Labels, RunFinished
from ..core.facts import ExportFormat
from ..core.ids import Clock, IdSource, RunId, Seq, SessionId
from ..core.messages import Message, UserBlock
from ..core.record import RecordLimits
from ..core.state import State
from .cancel import WITHIN, Cancel
from .commands import CommandRegistry
from .driver import Parts
from .hooks import Hooks
from .inbox import Inbox
from .purse import Guarded
from .receiver import EventReceiver
from .runs import Runs


class Home(Protocol):
    """What a handle asks of the process it lives in."""

    @property
    def store(self) -> EventStore: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def parts(self) -> Parts:
        """The parts this process is built of."""
        ...

    @property
    def records(self) -> RecordLimits:
        """How much of its runs a handle gives out."""
        ...

    def wake(self, session: SessionId) -> None: ...
    def started(self, session: SessionId, run: RunId, context: Any) -> None:
        """A handle of this process has started that run. `context`: the value for its function tools, if any."""
        ...

    def cut(self, session: SessionId, run: RunId) -> None:
        """End that run if it is the open one, as the token of a handle does."""
        ...

    @property
    def guards(self) -> Guarded:
        """Who guards which session in this process."""
        ...

    def drives(self, session: SessionId) -> bool:
        """True while a drive of this session is under way in this process."""
        ...

    def failure(self, session: SessionId) -> BaseException | None:
        """Why the last drive of this session broke off, if it did."""
        ...

    def on_failure(self, session: SessionId, call: Callable[[], None]) -> Callable[[], None]: ...
    async def settle(self, session: SessionId, *, force: bool = False, run: RunId | None = None) -> None:
        """Return when no drive of this session is under way here; with `force`, take the session over first. `run`: when
        none of that run is, since others may begin the next one at once, again and again."""
        ...

    async def do_once(self, session: SessionId, *, force: bool = False) -> None:
        """Do what is due in a session that nobody drives: end an interrupted run, put files back. With `force`, also take
        it from a driver that does not answer."""
        ...

    def leave(self, session: SessionId, handle: Cancel) -> None:
        """The handle of this token was closed."""
        ...

    def leave_at_rest(self, session: SessionId, handle: Cancel) -> None:
        """The same, once what is under way here is over; until then all is as with the handle."""
        ...

    def check_model(self, name: str) -> str:
        """The name to store for this name or hint; raises what asking the model would raise at once: ModelNotFound,
        AuthenticationFailed."""
        ...

    async def fetched(self, content: Sequence[UserBlock | Link]) -> tuple[UserBlock, ...]:
        """The content with what stands at its links in their places. AttachmentRefused."""
        ...

    async def check_content(self, model: str, content: Sequence[UserBlock], before: Iterable[Message]) -> None:
        """AttachmentRefused when it is known that the model cannot take something of this, or its provider not so much
        beside the files of the messages `before`."""
        ...

    def tools_of(self, spec: AgentSpec, folder: str | None = None) -> list[Tool]: ...
    def find_tool(self, name: str, folder: str | None = None) -> Tool | None:
        """A tool that this process knows by name, whoever may use it."""
        ...

    async def check_subagent(self, spec: AgentSpec, folder: str | None) -> None:
        """Raise what keeps this agent from working for another one in this folder: ModelNotFound, AuthenticationFailed,
        ToolNotFound, ConfigurationError."""
        ...

    async def agents_in(self, folder: str | os.PathLike[str], workspace: str | None) -> list[AgentSpec]:
        """The agents of a folder's files, as a session in this workspace has their tools."""
        ...

    def hooks(self, session: SessionId, *, keep: bool = False) -> Hooks:
        """The session's hooks in this process; with `keep`, also while nobody uses them."""
        ...

    def export_session(
        self,
        session: str,
        format: ExportFormat = "html",  # noqa: A002 - what a person calls it
        *,
        children: bool = True,
    ) -> AsyncIterator[bytes]:
        """The session as it stands now, in pieces."""
        ...

    def commands_for(self, spec: AgentSpec, workspace: str | None) -> CommandRegistry:
        """The slash commands of a session of this agent in this folder, as a registry of its own."""
        ...


class Handle:
    """One session, as one holder of it in one process sees it. `drives`: whether this process works on it."""

    def __init__(self, home: Home, session: SessionId, state: State, spec: AgentSpec, *, drives: bool = True) -> None:
        assert state.agent is not None
        self.id = session
        self.labels: Labels = state.labels
        self.workspace = state.workspace
        self._home = home
        self._store = home.store
        self._spec = spec
        self._agent: AgentRef = state.agent
        self._drives = drives
        self._guards = home.guards
        self._clock = home.clock
        self._closed = False
        self._token = Cancel()
        self._inbox = Inbox(home.store, session, home.clock, home.ids)
        self._opened_at = state.seq
        self._receiver = EventReceiver(home.store, session, state.seq, labels=state.labels)
        self._runs = Runs(home.store, session, home.records)
        self._settings = (state.model, state.thinking, state.steer_mode)
        self._environment = state.environment
        self._vaults = state.vaults
        self._parent = state.parent
        self._own_runs: dict[RunId, Seq] = {}
        self._place: Workspace | None = None
        self._hooks = home.hooks(session)
        self._hooks.labels, self._hooks.workspace = state.labels, state.workspace
        if not self._hooks.adopted:
            self._hooks.adopt(spec.hooks, home.parts.hook_handlers(spec))

    def __repr__(self) -> str:
        return f"<Session {self.id}{' closed' if self._closed else ''}>"

    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""
        if self._closed:
            raise SessionClosed(session=self.id)
        if self._token.cancelled:
            raise SessionClosed("this handle's cancel token was cancelled: open the session again", session=self.id)

    def _served(self) -> ServedSession:
        """What its MCP servers are connected for."""
        return ServedSession(self.id, self.labels.tenant, tuple(self._vaults), self.workspace, self.labels.principal)

    def _with_servers(self, spec: AgentSpec) -> AgentSpec:
        """The agent with the MCP servers that the host's configuration adds. ConfigurationError."""
        return self._home.parts.served(spec, self.workspace, tenant=self.labels.tenant, parent=self._parent)

    def _wake(self) -> None:
        if self._drives:
            self._home.wake(self.id)

    def _within(self) -> bool:
        """True when a tool of this session is asking."""
        return WITHIN.get() == self.id

    def _labelled(self, events: list[Event]) -> list[Event]:
        for event in events:
            event.labels = self.labels
        return events

    async def _finished(self, run: RunId, after: Seq) -> Event:
        """The event that ends `run`, once it is there."""
        receiver = EventReceiver(self._store, self.id, after)
        failed = asyncio.Event()
        stop = self._home.on_failure(self.id, failed.set)

        async def find() -> Event:
            while True:
                event = await anext(receiver)
                if event.type == "run.finished" and isinstance(event.data, RunFinished) and event.data.run == run:
                    return event

        finding = asyncio.ensure_future(find())
        failing = asyncio.ensure_future(failed.wait())
        try:
            while not finding.done():
                failure = self._home.failure(self.id)
                if failure is not None and (self._drives or isinstance(failure, SessionClosed)):
                    raise failure
                if failing.done():
                    failed.clear()
                    failing = asyncio.ensure_future(failed.wait())
                await asyncio.wait([finding, failing], return_when=asyncio.FIRST_COMPLETED)
            return finding.result()
        finally:
            stop()
            for task in (finding, failing):
                task.cancel()
            await asyncio.gather(finding, failing, return_exceptions=True)
