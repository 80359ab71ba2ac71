"""Session: the handle a person or a surface holds. It delegates: inputs to the inbox, facts to the log, work to a driver.

A handle holds no truth. Any number of them, in any number of processes, may stand for one session at a time; closing one
ends its work and refuses further calls on it, and a new handle opens the session again. Its parts stand in modules of their
own; here they are put together, and made when they are used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

from ..contracts import Appended, ServerTools, SessionHandle, Tool, Workspace
from ..core.agent import AgentSpec
from ..core.errors import ActionNotFound, NoOpenRun, SessionNotFound, ToolNotFound
from ..core.events import UserAnswer, UserInterrupt, UserMessage
from ..core.facts import Prompt, SessionConfig
from ..core.ids import Seq, SessionId
from ..core.json_values import input_metadata
from ..core.memory import reach_of
from ..core.messages import user_content
from ..core.record import RunResult
from ..core.state import State
from .answers import Answers
from .artifacts import Artifacts
from .budget import Budgets
from .commands import CommandRegistry
from .compaction import Compactions, HostCompaction
from .direct import DirectCalls, HostCalls
from .handle import Home
from .inbox import Inbox
from .lane_work import LaneWork
from .live_agents import LiveAgents
from .live_contents import LiveContents
from .live_hooks import LiveHooks
from .live_tools import LiveTools
from .log import record_reports
from .memory import ReachedMemories, reached
from .prompt_commands import PromptCommands
from .purse import Purse
from .queue import Queue
from .rewind import Rewinds
from .runs import RunHandle
from .sending import Sending
from .session_rewind import HostRewinds
from .session_tree import ForkHome, HostTree, Trees
from .session_verification import HostVerification, Verifications
from .shared_state import HostSharedState
from .summary import Summaries, of_session
from .tasks import SessionTasks
from .todos import HostTodos
from .typed_commands import TypedCommands


class CommandSender:
    """Sends commands to one session; any number of them are as good as one."""

    __slots__ = ("_session",)

    def __init__(self, session: SessionHandle) -> None:
        self._session = session

    async def send(self, command: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None:
        """See `Session.send_event`."""
        await self._session.send_event(command, key=key)


class SessionHome(Home, ForkHome, Protocol):
    """What a session's handle asks besides, for its slash commands."""

    async def command_context(self, session: Session, commands: CommandRegistry, sender: str | None) -> Any:
        """What a slash command of this session is given now."""
        ...


class Session(
    Sending,
    LiveAgents,
    LiveContents,
    LiveTools,
    Answers,
    HostTodos,
    HostSharedState,
    LiveHooks,
    HostCalls,
    HostVerification,
    HostRewinds,
    HostTree,
    HostCompaction,
    Purse,
    LaneWork,
):
    """One durable conversation with an agent. Get one from `Runtime.start_session` or `Runtime.open_session`."""

    _home: SessionHome

    def __init__(self, home: SessionHome, session: SessionId, state: State, spec: AgentSpec, *, drives: bool = True) -> None:
        super().__init__(home, session, state, spec, drives=drives)

    # What only some handles use is made when it is used: most sessions of a host rest.

    @cached_property
    def queue(self) -> Queue:
        """The inputs that wait."""
        return Queue(self._store, self.id, self._inbox)

    @cached_property
    def tasks(self) -> SessionTasks:
        """What it has handed to subagents."""
        return SessionTasks(self._home.parts, self.id)

    @cached_property
    def memory(self) -> ReachedMemories:
        """What it remembers beyond itself: of its user, its folder and its tenant."""
        home, reach = self._home, reach_of(self.labels, self.workspace)
        ids = home.ids
        return reached(home.parts.memory, self._spec.memory, reach, self.id, ids=ids, check=self._check_open)

    @property
    def init_warning(self) -> str | None:
        """Why something it should have is not there, though it works without; None when all is well (seed 001)."""
        memory = self._home.parts.memory
        return None if memory is None or memory.available else memory.warning

    @cached_property
    def artifacts(self) -> Artifacts:
        """Its large outputs."""
        return Artifacts(self._home.parts.blobs, self.id)

    @cached_property
    def calls(self) -> DirectCalls:  # type: ignore[override]  # made when first used
        home = self._home
        return DirectCalls(
            home.parts,
            self.id,
            tools=self._tools_here,
            any_tool=lambda name: home.find_tool(name, self.workspace),
            workspace=self._folder,
            hooks=self._hooks,
            budget=self._budgets,
            model=lambda: self.model,
            retries=lambda: self._spec.limits.max_model_retries,
            labels=self.labels,
            token=self._token,
            checks=lambda token: self.checks.for_tool(token),
            servers=self._servers_here,
            memory=lambda: self.memory,
        )

    @cached_property
    def checks(self) -> Verifications:  # type: ignore[override]  # made when first used
        return Verifications(
            self._store,
            self.id,
            self._home.clock,
            calls=self.calls,
            hooks=self._hooks,
            workspace=self._folder,
            policy=self._spec.verification,
            token=self._token,
        )

    @cached_property
    def _typed(self) -> TypedCommands:  # type: ignore[override]  # made when first used
        home = self._home
        commands = home.commands_for(self._spec, self.workspace)
        if home.parts.tool_servers is not None:
            commands.beside(PromptCommands(self, connect=self._drives))
        return TypedCommands(
            self._store,
            self.id,
            self._inbox,
            commands,
            self._hooks,
            self._token,
            context=lambda sender: home.command_context(self, commands, sender),
            check_model=home.check_model if self._drives else str,
            room=lambda: home.parts.lanes.ask("control", session=self.id, tenant=self.labels.tenant),
        )

    @cached_property
    def _rewinds(self) -> Rewinds:  # type: ignore[override]  # made when first used
        return Rewinds(
            self._home.parts,
            self.id,
            spec=self._held,
            workspace=self.workspace,
            finish=self._finish_restoring,
            hooks=self._hooks,
        )

    def _fork_home(self) -> ForkHome:
        return self._home

    @cached_property
    def _trees(self) -> Trees:  # type: ignore[override]  # made when first used
        return Trees(
            self._home.parts,
            self.id,
            rewinds=lambda: self._rewinds,
            summaries=lambda: self._summaries,
            model=lambda: self.model,
        )

    @cached_property
    def _compactions(self) -> Compactions:  # type: ignore[override]  # made when first used
        return Compactions(
            self._home.parts,
            self.id,
            summaries=self._summaries,
            model=lambda: self.model,
            tools=self._tools_here,
            hooks=self._hooks,
            token=self._token,
        )

    @cached_property
    def _summaries(self) -> Summaries:
        return of_session(
            self._home.parts,
            self.id,
            budget=self._budgets,
            retries=lambda: self._spec.limits.max_model_retries,
            token=self._token,
        )

    async def current_run(self) -> RunHandle | None:
        """The open run, if any."""
        run = (await self._store.session(self.id)).run
        return None if run is None else RunHandle(run, self._runs, self.wait, self.cancel_run)

    async def send_event(self, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None:
        """Send an input as its event: a message (prompt, steer or follow-up), an interrupt, or an answer. Its own id is
        replaced; checks and errors are those of the method for it (seed 003)."""
        self._check_open()
        match event:
            case UserMessage(delivery="prompt"):
                await self.prompt(event.content, key=key, sender=event.sender, metadata=event.metadata)
            case UserMessage(delivery="steer"):
                await self.steer(event.content, mode=event.mode, key=key, sender=event.sender, metadata=event.metadata)
            case UserMessage():
                await self.follow_up(event.content, key=key, sender=event.sender, metadata=event.metadata)
            case UserInterrupt():
                await self._inbox.interrupt(event.run, force=event.force, reason=event.reason)
            case UserAnswer():
                if event.decision == "approve" and event.arguments is not None:
                    await self.approvals.check_arguments(event.action, event.arguments)
                inbox = await self._answered_at(event.action)
                await inbox.answer(
                    event.action,
                    event.decision,
                    reason=event.reason,
                    arguments=event.arguments,
                    content=event.content,
                    is_error=event.is_error,
                    sender=event.sender,
                    remember=event.remember,
                    rule=event.rule,
                    metadata=input_metadata(event.metadata),
                )
        self._wake()

    async def _answered_at(self, action: str) -> Inbox:
        """Where this action is open: here, as the inbox itself says, or in a session below."""
        try:
            return await self.approvals._inbox_of(action)
        except ActionNotFound:
            return self._inbox

    async def send_events(
        self,
        events: Sequence[UserMessage | UserInterrupt | UserAnswer],
        *,
        key: str | None = None,
        expect: Seq | None = None,
    ) -> Appended:
        """Send several inputs at once, all of them or none, in one append; returns where they stand. Ids of messages are
        replaced; the errors are those of the method for each, and of an answer that was given before AlreadyAnswered.
        `expect`: only if the log ends there, else HeadMoved.
        """
        self._check_open()
        for event in events:
            if isinstance(event, UserMessage):
                await self._check_content(user_content(event.content), open_run=event.delivery != "prompt")
            elif isinstance(event, UserAnswer) and event.decision == "approve" and event.arguments is not None:
                await self.approvals.check_arguments(event.action, event.arguments)
        runs, appended = await self._inbox.accept(events, key=key, expect=expect)
        for run in runs:
            self._started(run, appended.first - 1, None)
        self._wake()
        return appended

    def command_tx(self) -> CommandSender:
        """The raw way to send commands, from any task of this event loop (seed 002)."""
        return CommandSender(self)

    async def save(self) -> None:
        """Return when all that was appended so far is as durable as the store's level promises."""
        await self._store.flush()

    async def close(self) -> None:
        """End the open run with its questions and its tasks, unless another process drives it, then refuse further calls on
        this handle.

        The hooks of after_session are told, for a few seconds at most. Other handles of the session stay usable. Safe to
        repeat.
        """
        if self._closed:
            return
        self._closed = True
        if self._drives:
            with contextlib.suppress(NoOpenRun, SessionNotFound):
                row = await self._store.session(self.id)
                ours = row.owner is None or self._home.drives(self.id)
                if row.run is not None and ours and row.status != "archived":
                    await self._inbox.interrupt(row.run, reason="the session was closed")
                    self._wake()
                    if not self._within():
                        await self._finished(row.run, row.head)
                        await self._home.settle(self.id, run=row.run)
            with contextlib.suppress(SessionNotFound):
                await self.tasks.cancel_all("the session was closed")
            await self._hooks.closed("closed")
            await record_reports(self._store, self.id, self._hooks, self._home.clock)
            self._home.leave(self.id, self._token)
        self._token.cancel()

    async def detach(self) -> None:
        """Let go of the session without ending anything: this handle refuses further calls. Safe to repeat.

        What is under way here goes on until the session rests, as long as the runtime is open. A parked or paused run goes
        on where a driving handle is left, and otherwise where the session is opened next.
        """
        if self._closed:
            return
        self._closed = True
        if self._drives:
            await record_reports(self._store, self.id, self._hooks, self._home.clock)
            self._home.leave_at_rest(self.id, self._token)

    def _tools_here(self) -> list[Tool]:
        """The agent's tools; none when this process does not have all of them."""
        try:
            return self._home.tools_of(self._spec, self.workspace)
        except ToolNotFound:
            return []

    async def _servers_here(self) -> ServerTools:
        """The tools of the agent's MCP servers, as far as they can be had in a few seconds."""
        servers = self._home.parts.tool_servers
        # As the session is now: another handle may have given it servers.
        spec = self._with_servers(await self._agent_now())
        if servers is None or not spec.mcp_servers:
            return ServerTools()
        return await servers.tools(spec, self._served())

    def _held(self) -> AgentSpec:
        return self._home.parts.held(self._spec, self.workspace)

    def _budgets(self, state: Callable[[], State]) -> Budgets:
        spec = self._held()
        return Budgets(self._home.parts, self.id, self._token, state=state, spec=lambda: spec)

    def _folder(self) -> Workspace | None:
        if self._place is None and self.workspace is not None:
            self._place = self._home.parts.workspace(self.id, self.workspace, self._environment, self._spec.sandbox)
        return self._place

    async def _finish_restoring(self) -> None:
        if not self._drives:
            await self._home.do_once(self.id)
            return
        self._wake()
        await self._home.settle(self.id)
        failure = self._home.failure(self.id)
        if failure is not None:
            raise failure


__all__ = ["CommandSender", "Home", "Prompt", "RunResult", "Session", "SessionConfig", "SessionHome"]
