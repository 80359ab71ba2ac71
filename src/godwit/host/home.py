"""What the handles of sessions ask of the runtime that opened them: who drives, which hooks, guards and commands there are,
and what happens when a handle is let go of.

Leaves out opening handles (`runtime`) and driving (`dispatch`). Rule: what was registered for a session in this process ends
when nobody here drives it any more, and not before.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from ..contracts import HookHandler, ModelRegistry, SessionRow, Store, SupportsModelInfo
from ..core.agent import AgentRef, AgentSpec, base_of
from ..core.attachments import Link, check_attachments
from ..core.errors import AttachmentRefused, SessionNotFound
from ..core.hooks import HookSpec
from ..core.ids import Clock, RunId, Seq, SessionId
from ..core.messages import Document, Image, Message, UserBlock
from ..core.model_info import left_out
from ..engine.builtin_commands import CommandContext
from ..engine.cancel import WITHIN, Cancel
from ..engine.commands import Command, CommandRegistry
from ..engine.context import info_of
from ..engine.driver import Parts
from ..engine.hook import Hook
from ..engine.hooks import Hooks
from ..engine.log import load_state
from ..engine.permissions import policy_of, saved_permissions
from ..engine.session import Session
from ..models.attachment_limits import limits_for
from .command_files import registry_of
from .desk import Desk
from .dispatch import EmbeddedDispatcher
from .folder_context import FolderContexts
from .guards import BudgetGuards
from .hooks import HOOK_KIT
from .link_fetching import LinkFetcher
from .skill_commands import SkillCommands
from .subagents import SubagentHost
from .tracing import Tracing
from .trust import own_only
from .workspaces import LocalWorkspaces

if TYPE_CHECKING:
    from .mcp.connections import McpConnections


class Attendant(Protocol):
    """Does something beside each session that this process drives."""

    def follow(self, session: SessionId, after: Seq) -> None:
        """It is driven here; its log up to `after` is known. Said again for each handle that drives it."""
        ...

    async def leave(self, session: SessionId) -> None:
        """Nobody here drives it any more."""
        ...

    async def close(self) -> None:
        """The runtime closes; its store is still open."""
        ...


class RuntimeHome(ABC):
    """What a runtime is to the handles of its sessions (`engine.session.SessionHome`); it sets the parts this works with."""

    store: Store
    desk: Desk
    models: ModelRegistry
    parts: Parts
    clock: Clock
    guards: BudgetGuards
    subagents: SubagentHost
    mcp: McpConnections
    _dispatcher: EmbeddedDispatcher
    _commands: tuple[Command, ...]
    _agent_commands: dict[str, tuple[Command, ...]]
    _command_folders: tuple[str, ...]
    _folder_contexts: FolderContexts | None
    _trusts: Callable[[str | None], bool]
    _hooks: WeakValueDictionary[SessionId, Hooks]
    _kept_hooks: dict[SessionId, Hooks]
    _hooks_of_all: tuple[Hook | HookSpec, ...]
    _hook_handlers: dict[str, dict[str, HookHandler]]
    _places: LocalWorkspaces | None
    _tracing: Tracing | None
    _links: LinkFetcher
    _attendants: list[Attendant]
    _leaving: set[asyncio.Task[None]]

    @abstractmethod
    async def start_session(self, *args: Any, **how: Any) -> Session:
        """See `Runtime.start_session`."""

    @abstractmethod
    async def check_subagent(self, spec: AgentSpec, folder: str | None) -> None:
        """Raise what creating this agent as a subagent would raise."""

    @abstractmethod
    def _tools_named(self, name: str, folder: str | None = None) -> list[str]:
        """The tools that this name of a tool or toolset stands for."""

    def wake(self, session: SessionId) -> None:
        self._dispatcher.wake(session, nested=WITHIN.get() not in (None, session))

    def started(self, session: SessionId, run: RunId, context: Any) -> None:
        self._dispatcher.started(session, run, context)

    def cut(self, session: SessionId, run: RunId) -> None:
        self._dispatcher.cut(session, run)

    def check_model(self, name: str) -> str:
        canonical = self.models.canonical(name) if isinstance(self.models, SupportsModelInfo) else name
        self.models.resolve(canonical)
        return canonical

    async def fetched(self, content: Sequence[UserBlock | Link]) -> tuple[UserBlock, ...]:
        return await self._links.content(content)

    async def check_content(self, model: str, content: Sequence[UserBlock], before: Iterable[Message]) -> None:
        if not any(isinstance(block, Image | Document) for block in content):
            return
        info = await info_of(self.models, model)
        for adjustment in left_out(info, content):
            raise AttachmentRefused(
                f"{model} takes no {adjustment.what}s: say it in words, or use another model",
                model=model,
                attachment=adjustment.what,
                count=adjustment.count,
            )
        images = sum(isinstance(block, Image) for message in before for block in message.content)
        # Off the event loop: the pages of large PDFs are counted.
        await asyncio.to_thread(check_attachments, content, limits_for(info), images)

    def commands_for(self, spec: AgentSpec, workspace: str | None) -> CommandRegistry:
        own = (*self._commands, *self._agent_commands.get(base_name(spec), ()))
        contexts = self._folder_contexts
        skills = [] if contexts is None else [SkillCommands(workspace, lambda: contexts.skill_folders(workspace))]
        folders = self._command_folders
        if not self._trusts(workspace):
            folders = own_only(folders)
        return registry_of(workspace, own, folders, skills)

    async def command_context(self, session: Session, commands: CommandRegistry, sender: str | None) -> CommandContext:
        state = await load_state(self.store, session.id)
        saved = saved_permissions(await self.store.rules(workspace=session.workspace, tenant=session.labels.tenant))
        agent, standing = session.config.spec.permissions, self.parts.standing(session.workspace)
        policy = policy_of(agent, standing, saved, state.permissions, shell=self.parts.shell)
        return CommandContext(session, commands, state, policy, sender)

    def recovers(self, session: SessionId, run: RunId) -> None:
        self._dispatcher.recover(session, run)

    def hosts(self, session: SessionId) -> bool:
        return self._dispatcher.hosts(session)

    def drives(self, session: SessionId) -> bool:
        return self._dispatcher.drives(session)

    def failure(self, session: SessionId) -> BaseException | None:
        return self._dispatcher.failure(session)

    def on_failure(self, session: SessionId, call: Callable[[], None]) -> Callable[[], None]:
        return self._dispatcher.on_failure(session, call)

    async def settle(self, session: SessionId, *, force: bool = False, run: RunId | None = None) -> None:
        await self._dispatcher.settle(session, force=force, run=run)

    def _handlers_of(self, spec: AgentSpec) -> Mapping[str, HookHandler]:
        return self._hook_handlers.get(base_name(spec), {})

    def hooks(self, session: SessionId, *, keep: bool = False) -> Hooks:
        """The hooks of a session in this process; the same for all its handles. `keep`: also while nobody uses them."""
        found = self._hooks.get(session)
        if found is None:
            found = self._hooks[session] = Hooks(session, HOOK_KIT)
            for hook in self._hooks_of_all:
                found.register(hook)
        if keep:
            self._kept_hooks[session] = found
        return found

    async def _inherit(self, session: SessionId, parent: SessionId, *, keep: bool) -> None:
        """Have the hooks of the sessions above called for this one as well; those that were deleted have none. `keep`: also
        while no handle uses them."""
        try:
            state = await load_state(self.store, parent)
        except SessionNotFound:
            return
        assert state.agent is not None
        _, spec = await self.store.get_agent(state.agent.name, state.agent.version)
        above = self.hooks(parent)
        above.labels, above.workspace = state.labels, state.workspace
        above.adopt(spec.hooks, self._handlers_of(spec))
        above.asked_below = True
        self.hooks(session, keep=keep).above = above
        if state.parent is not None:
            await self._inherit(parent, state.parent, keep=False)

    def _forget_hooks(self, session: SessionId) -> None:
        """Nobody here drives the session any more: what was registered in this process ends with it."""
        if not self._dispatcher.hosts(session):
            self._kept_hooks.pop(session, None)
            self.guards.forget(session)
            hooks = self._hooks.get(session)
            if hooks is not None and not hooks.asked_below:
                del self._hooks[session]
                hooks.cut_off()
            # Else those that work for it may still ask it, and whoever opens it again is to find the same.

    async def do_once(self, session: SessionId, *, force: bool = False) -> None:
        await self._dispatcher.do_once(session, force=force)
        self._forget_hooks(session)

    def leave(self, session: SessionId, handle: Cancel) -> None:
        self._dispatcher.leave(session, handle)
        self._left(session)

    def leave_at_rest(self, session: SessionId, handle: Cancel) -> None:
        if not self._dispatcher.works(session):
            self.leave(session, handle)
            return

        async def leave() -> None:
            # Its hooks, guards and tools are needed until then, and go with the last handle.
            await self._dispatcher.settle(session)
            self.leave(session, handle)

        self._leave_beside(leave())

    def _leave_beside(self, work: Coroutine[Any, Any, None]) -> None:
        leaving = asyncio.create_task(work)
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _left(self, session: SessionId) -> None:
        self._forget_hooks(session)
        if self._dispatcher.hosts(session):
            return
        self.subagents.ancestors.leave(session)
        self.mcp.leave_session(session)
        for part in (self._tracing, self._places, *self._attendants):
            if part is not None:
                self._leave_beside(part.leave(session))

    async def row(self, session: str) -> SessionRow:
        """The session as it is listed. SessionNotFound."""
        return await self.store.session(SessionId(session))

    async def head(self, session: str) -> Seq:
        return (await self.store.session(SessionId(session))).head


def base_name(spec: AgentSpec) -> str:
    """What an agent's functions are kept under: those of one that was narrowed for another are the same."""
    return base_of(AgentRef(spec.name, 0)).name
