"""Session: the handle a person or a surface holds. It delegates: inputs to the inbox, facts to the log, work to a driver.

A handle holds no truth. Any number of them, in any number of processes, may stand for one session at a time; closing one
ends its work and refuses further calls on it, and a new handle opens the session again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, get_args

from ..contracts import EventStore, HookHandler, Tool, Workspace
from ..core.agent import AgentRef, AgentSpec, SteerMode, ThinkingLevel, ToolDefinition
from ..core.errors import (
    ActionNotFound,
    Fault,
    InvalidArgument,
    KeyReused,
    NoOpenRun,
    RunFailed,
    SessionClosed,
    SessionNotFound,
    ToolNotFound,
)
from ..core.events import (
    Delta,
    Event,
    Labels,
    Remember,
    RunFinished,
    RunOutcome,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from ..core.gate import Status
from ..core.hooks import HookSpec
from ..core.ids import Clock, IdSource, InputId, RunId, Seq, SessionId
from ..core.messages import Message, Usage, UserBlock, user_content
from ..core.record import RecordLimits, RunPage
from ..core.rules import ApprovalPolicy, Permissions
from ..core.state import State
from .approvals import Approvals, PendingAction
from .artifacts import Artifacts
from .budget import Budgets
from .cancel import WITHIN, Cancel
from .commands import Command, CommandRegistry, CommandResult, as_prompt
from .direct import DirectCalls, HostCalls
from .driver import Parts
from .hooks import Hook, Hooks
from .inbox import Inbox
from .log import load_state, load_transcript, record_reports
from .purse import Guarded, Purse
from .queue import Queue
from .receiver import EventReceiver, watch
from .rewind import HostRewinds, Rewinds
from .runs import ActiveTool, RunHandle, RunResult, Runs, RunSnapshot
from .trace import TraceEvent, read_trace
from .typed_commands import TypedCommands
from .verification import HostVerification, Verifications

OWN_RUNS = 16
"""Runs whose beginning a handle keeps in mind, so that waiting for them needs no search."""
OWNER_LOOK_S = 1.0
"""How often a handle that waits for another process looks whether that one is alive."""
FORCE_AFTER_S = 2.0
"""How long a forced interrupt waits for a driver to answer before the session is taken from it."""

Prompt = str | UserBlock | list[UserBlock] | tuple[UserBlock, ...]


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
    def give_context(self, session: SessionId, run: RunId, context: Any) -> None: ...
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
    async def settle(self, session: SessionId, *, force: bool = False) -> None:
        """Return when no drive of this session is under way here; with `force`, take the session over first."""
        ...

    async def do_once(self, session: SessionId) -> None:
        """Do what is due in a session that nobody drives: end an interrupted run, put files back."""
        ...

    def leave(self, session: SessionId, handle: Cancel) -> None:
        """The handle of this token was closed."""
        ...

    def check_model(self, name: str) -> None:
        """Raise what asking this model would raise at once: ModelNotFound, AuthenticationFailed."""
        ...

    def tools_of(self, spec: AgentSpec, folder: str | None = None) -> list[Tool]: ...
    def find_tool(self, name: str) -> Tool | None:
        """A tool that this process knows by name, whoever may use it."""
        ...

    def hooks(self, session: SessionId, *, keep: bool = False) -> Hooks:
        """The session's hooks in this process; with `keep`, also while nobody uses them."""
        ...

    def commands_for(self, spec: AgentSpec, workspace: str | None) -> CommandRegistry:
        """The slash commands of a session of this agent in this folder, as a registry of its own."""
        ...

    async def command_context(self, session: Session, commands: CommandRegistry, sender: str | None) -> Any:
        """What a slash command of this session is given now."""
        ...


@dataclass
class SessionConfig:
    """The settings in force for the next run."""

    agent: AgentRef
    spec: AgentSpec
    model: str
    thinking: ThinkingLevel | None
    steer_mode: SteerMode
    workspace: str | None
    environment: dict[str, str] = field(default_factory=dict)


class CommandSender:
    """Sends commands to one session; any number of them are as good as one."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    async def send(self, command: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None:
        """See `Session.send_event`."""
        await self._session.send_event(command, key=key)


class Session(HostCalls, HostVerification, HostRewinds, Purse):
    """One durable conversation with an agent. Get one from `Runtime.start_session` or `Runtime.open_session`."""

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
        self._own_runs: dict[RunId, Seq] = {}
        self._place: Workspace | None = None
        self._hooks = home.hooks(session)
        self._hooks.labels, self._hooks.workspace = state.labels, state.workspace
        if not self._hooks.adopted:
            self._hooks.adopt(spec.hooks, home.parts.hook_handlers(spec))

    # What only some handles use is made when it is used: most sessions of a host rest.

    @cached_property
    def queue(self) -> Queue:
        """The inputs that wait."""
        return Queue(self._store, self.id, self._inbox)

    @cached_property
    def approvals(self) -> Approvals:
        """What the session waits for, and the answers."""
        return Approvals(self._store, self.id, self._inbox, self._home.clock)

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
            any_tool=home.find_tool,
            workspace=self._folder,
            hooks=self._hooks,
            budget=self._budgets,
            model=lambda: self.model,
            retries=lambda: self._spec.limits.max_model_retries,
            labels=self.labels,
            token=self._token,
            checks=lambda token: self.checks.for_tool(token),
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
    def _typed(self) -> TypedCommands:
        home = self._home
        commands = home.commands_for(self._spec, self.workspace)
        return TypedCommands(
            self._store,
            self.id,
            self._inbox,
            commands,
            self._hooks,
            self._token,
            context=lambda sender: home.command_context(self, commands, sender),
            check_model=home.check_model if self._drives else lambda _: None,
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

    def __repr__(self) -> str:
        return f"<Session {self.id}{' closed' if self._closed else ''}>"

    # --- sending -----------------------------------------------------------------------------------------------

    async def send(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> RunResult:
        """Send a prompt and wait for the run to end.

        `history`: run on these messages instead of the session's own, which stay as they are. `context`: a value for
        function tools. `key`: an idempotency key; sending again under it joins the run it started. `unattended`: nobody can
        be asked meanwhile, so calls that need an approval are denied.
        A plain text without `history` that begins with a slash and a name is a command, see `command`: no model is asked,
        and the result's `text` is what it answered, `run` its id. `commands=False` sends every text as it is.
        Raises SessionBusy while a run is open, SessionClosed, SessionArchived, InboxFull, and RunFailed (with the
        result) when the run fails. Interrupted and limited runs are results, not errors; so is a command that failed.
        """
        if commands and isinstance(prompt, str) and history is None:
            executed = await self.command(prompt, context=context, key=key, sender=sender, unattended=unattended)
            if executed is not None:
                return _command_result(executed) if executed.run is None else await self.wait(executed.run)
            prompt = as_prompt(prompt)
        run = await self.prompt(prompt, history=history, context=context, key=key, sender=sender, unattended=unattended)
        return await self.wait(run)

    async def prompt(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> RunId:
        """Send a prompt and return the run's id at once; the work goes on beside. Errors as for `send`.

        What begins with a slash is a prompt here like any other.
        """
        self._check_open()
        given = None if history is None else tuple(history)
        run, appended = await self._inbox.prompt(
            user_content(prompt), history=given, key=key, sender=sender, unattended=unattended
        )
        self._started(run, appended.first - 1, context)
        return run

    def _started(self, run: RunId, after: Seq, context: Any) -> None:
        """A run was started here, by events behind `after`."""
        self._own_runs[run] = after
        while len(self._own_runs) > OWN_RUNS:
            del self._own_runs[next(iter(self._own_runs))]
        self._home.guards.begin(self.id, run)
        if context is not None:
            self._home.give_context(self.id, run, context)
        self._wake()

    async def prompt_and_wait(self, prompt: Prompt, *, context: Any = None) -> RunResult:
        """`send` without slash commands, under the name of seed 002. Events stay readable, however many and whether or not
        anyone reads."""
        return await self.send(prompt, context=context, commands=False)

    async def command(
        self,
        text: str,
        *,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> CommandResult | None:
        """Run the slash command that this text is; None when it is a prompt, and then nothing was done.

        The model is never asked, also not for an unknown name, which is answered with help. A command that turns into a
        prompt (one from a Markdown file, say) has started a run when this returns. What it answered is recorded as
        `command.executed` and stays out of the transcript. `key`: under a key that was used, the first answer comes again.
        SessionBusy while a run is open, unless the command is safe then; SessionClosed, SessionArchived.
        """
        self._check_open()
        done = await self._typed.run(text, key=key, sender=sender, unattended=unattended)
        if done is not None and done.run is not None:
            self._started(done.run, done.seq - 1, context)
        return done

    def command_registry(self) -> CommandRegistry:
        """The session's slash commands, as a copy: changing it changes nothing here (seed 001). Its `refresh` reads command
        files again."""
        return self._typed.registry.copy()

    def register_command(self, command: Command) -> None:
        """Add a slash command to this handle; one of the same name is replaced. SessionClosed."""
        self._check_open()
        self._typed.registry.register(command)

    def unregister_command(self, name: str) -> Command | None:
        """Take a registered command out and return it, None when there is none. SessionClosed."""
        self._check_open()
        return self._typed.registry.unregister(name)

    async def stream(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> AsyncIterator[Event | Delta]:
        """Send a prompt and yield the run's events, with deltas between them, until it ends.

        Leaving the loop does not stop the run. A failed run ends with its `run.finished`; nothing is raised for it.
        A slash command, see `send`, yields one delta with the whole of its text and then its event.
        """
        run: RunId | None = None
        if commands and isinstance(prompt, str) and history is None:
            executed = await self.command(prompt, context=context, key=key, sender=sender, unattended=unattended)
            if executed is not None and executed.run is None:
                yield Delta(self.id, "text", executed.id, text=executed.text, after=executed.seq - 1)
                for event in self._labelled(await self._store.read(self.id, executed.seq - 1, to_seq=executed.seq)):
                    yield event
                return
            run = None if executed is None else executed.run
            prompt = as_prompt(prompt)
        if run is None:
            run = await self.prompt(prompt, history=history, context=context, key=key, sender=sender, unattended=unattended)
        async for item in self.watch(self._own_runs.pop(run)):
            yield item
            if isinstance(item, Event) and isinstance(item.data, RunFinished) and item.data.run == run:
                return

    async def wait(self, run: RunId | str | None = None) -> RunResult:
        """Wait until that run, or the open one, has ended; at once when it has. NoOpenRun when there never was any,
        RunNotFound for an id the session does not know.

        Raises RunFailed for a failed run, and whatever stopped this process from driving it (a full disk, say); waiting
        again tries again.
        """
        if self._drives and self._home.failure(self.id) is not None:
            self._wake()
        if run is None:
            run = (await self._store.session(self.id)).run or (await load_state(self._store, self.id)).last_run
        if run is None:
            raise NoOpenRun("this session has not run yet")
        start = self._own_runs.pop(RunId(run), None)
        if start is None:
            start = await self._runs.start_of(RunId(run))
        result = await self._runs.result(await self._finished(RunId(run), start), start)
        if result.outcome == "failed":
            fault = result.error
            raise RunFailed(fault.message if fault else None, result=result, reason=fault.code if fault else "unknown")
        return result

    async def steer(
        self, message: Prompt, *, mode: SteerMode | None = None, key: str | None = None, sender: str | None = None
    ) -> InputId:
        """Put a message into the open run at its next boundary. NoOpenRun when none is open.

        `mode`: `skip` skips the turn's calls that have not started, `batch` lets them all run first; by default as
        configured (`skip` unless changed).
        """
        self._check_open()
        content = user_content(message)
        chosen = mode or (await load_state(self._store, self.id)).steer_mode
        try:
            input_id, _ = await self._inbox.steer(content, chosen, key=key, sender=sender)
        except KeyReused:
            if mode is not None:
                raise
            # The same call under the same key stays the same, also when the default has changed in between.
            other: SteerMode = "batch" if chosen == "skip" else "skip"
            input_id, _ = await self._inbox.steer(content, other, key=key, sender=sender)
        self._wake()
        return input_id

    async def follow_up(self, message: Prompt, *, key: str | None = None, sender: str | None = None) -> InputId:
        """Queue a message for when nothing else is left to do. On an idle session that is now."""
        self._check_open()
        input_id, _ = await self._inbox.follow_up(user_content(message), key=key, sender=sender)
        self._wake()
        return input_id

    async def resume_run(self, run: RunId | str) -> RunResult:
        """Continue a run that was interrupted, failed or met a limit, from its last checkpoint, as a new run; wait for it.

        Usage, turns and tool calls so far are carried over. The session is rewound to the checkpoint when it has moved
        on since. CheckpointNotFound when there is no such run, or it is done; SessionBusy while a run is open.
        """
        self._check_open()
        new = await self._runs.resume(RunId(run), self._inbox, self._home.ids)
        self._wake()
        return await self.wait(new)

    # --- control -----------------------------------------------------------------------------------------------

    async def interrupt(self, *, run: RunId | str | None = None, force: bool = False, reason: str | None = None) -> bool:
        """End the open run at once, keeping what was streamed; returns when it has ended, and the session is usable.

        Running tools get a grace to end by themselves; `force` gives none, and takes the session from a driver that
        does not answer. `run`: only if that one is open. False when there was nothing to end. A tool that interrupts its
        own session does not wait for the end.
        """
        row = await self._store.session(self.id)
        if row.run is None or (run is not None and row.run != run):
            return False
        target, head = row.run, row.head
        try:
            await self._inbox.interrupt(target, force=force, reason=reason)
        except NoOpenRun:
            return False
        self._wake()
        if self._within():
            return True
        ended = asyncio.ensure_future(self._finished(target, head))
        try:
            if not self._drives:
                await self._until_ended(ended, target)
            elif force:
                await asyncio.wait([ended], timeout=FORCE_AFTER_S)
                if not ended.done() and self._drives:
                    await self._home.settle(self.id, force=True)
            await ended
        finally:
            ended.cancel()
        if self._drives:
            await self._home.settle(self.id)
        return True

    async def _until_ended(self, ended: asyncio.Future[Event], run: RunId) -> None:
        """Wait for the driver to end the run; without a living one, end it here, although this handle does not drive."""
        while not ended.done():
            row = await self._store.session(self.id)
            if row.owner is None and row.run == run:
                await self._home.do_once(self.id)
            await asyncio.wait([ended], timeout=OWNER_LOOK_S)

    async def cancel(self) -> bool:
        """`interrupt` under the name of seeds 001 and 002."""
        return await self.interrupt()

    async def abort(self) -> bool:
        """`interrupt(force=True)` under the name of seed 002."""
        return await self.interrupt(force=True)

    async def cancel_run(self, run: RunId | str) -> bool:
        """Interrupt that run only while it is the open one: an old id changes nothing (seed 001)."""
        return await self.interrupt(run=run)

    async def pause(self, reason: str | None = None) -> bool:
        """Stop at the next checkpoint: the step in hand ends, then nothing more is taken, by any process.

        Inputs are accepted and wait. False when it was paused already. Returns when it has come to rest here.
        """
        self._check_open()
        paused = await self._inbox.pause(reason)
        if self._drives and not self._within():
            await self._home.settle(self.id)
        return paused

    async def resume(self) -> bool:
        """Go on from the checkpoint, in this process. False when it was not paused."""
        self._check_open()
        resumed = await self._inbox.resume()
        self._wake()
        return resumed

    async def set_model(self, model: str) -> None:
        """Use this model from the next prompt on; an open run keeps its own. ModelNotFound, AuthenticationFailed."""
        if self._drives:
            self._home.check_model(model)
        await self.configure(model=model)

    async def set_thinking(self, level: ThinkingLevel) -> None:
        """Use this thinking level from the next prompt on."""
        await self.configure(thinking=level)

    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
        permissions: Permissions | None = None,
        approvals: ApprovalPolicy | None = None,
    ) -> None:
        """Change settings for the runs that start from now on; None leaves one as it is.

        `permissions`: the session's own rules, beside the agent's; they and `approvals` hold from the next call on.
        """
        self._check_open()
        if thinking is not None and thinking not in get_args(ThinkingLevel):
            known = ", ".join(get_args(ThinkingLevel))
            raise InvalidArgument(f"thinking level {thinking!r} is none of {known}", thinking=thinking)
        if steer_mode is not None and steer_mode not in get_args(SteerMode):
            raise InvalidArgument(f"steer mode {steer_mode!r} is neither skip nor batch", steer_mode=steer_mode)
        await self._inbox.configure(
            model=model,
            thinking=thinking,
            steer_mode=steer_mode,
            name=name,
            permissions=permissions,
            approvals=approvals,
        )
        before = self._settings
        self._settings = (model or before[0], thinking or before[1], steer_mode or before[2])

    async def send_event(self, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None:
        """Send an input as its event: a message (prompt, steer or follow-up), an interrupt, or an answer. Its own id is
        replaced; checks and errors are those of the method for it (seed 003)."""
        self._check_open()
        match event:
            case UserMessage(delivery="prompt"):
                await self.prompt(event.content, key=key, sender=event.sender)
            case UserMessage(delivery="steer"):
                await self.steer(event.content, mode=event.mode, key=key, sender=event.sender)
            case UserMessage():
                await self.follow_up(event.content, key=key, sender=event.sender)
            case UserInterrupt():
                await self._inbox.interrupt(event.run, force=event.force, reason=event.reason)
            case UserAnswer():
                if event.decision == "approve" and event.arguments is not None:
                    await self.approvals.check_arguments(event.action, event.arguments)
                await self._inbox.answer(
                    event.action,
                    event.decision,
                    reason=event.reason,
                    arguments=event.arguments,
                    content=event.content,
                    is_error=event.is_error,
                    sender=event.sender,
                    remember=event.remember,
                    rule=event.rule,
                )
        self._wake()

    def command_tx(self) -> CommandSender:
        """The raw way to send commands, from any task of this event loop (seed 002)."""
        return CommandSender(self)

    async def cancel_confirmations(self) -> int:
        """Deny every pending approval with the reason "cancelled"; returns how many there were (seed 001)."""
        return sum([await self.deny(p.id, "cancelled") for p in await self.pending_confirmations()])

    async def confirm_tool_use(self, tool_id: str, approved: bool, reason: str | None = None) -> bool:
        """Approve or deny the pending call of this id (seed 001). False when it is not pending."""
        try:
            if approved:
                return await self._answered(self.approvals.approve(tool_id))
            return await self._answered(self.approvals.deny(tool_id, reason))
        except ActionNotFound:
            return False

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `Approvals.approve`; wakes the session here."""
        given = self.approvals.approve(action, arguments=arguments, remember=remember, rule=rule, sender=sender)
        return await self._answered(given)

    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `Approvals.deny`; wakes the session here."""
        return await self._answered(self.approvals.deny(action, reason, remember=remember, rule=rule, sender=sender))

    async def answer(self, action: str, result: str, *, is_error: bool = False) -> bool:
        """See `Approvals.answer`; wakes the session here."""
        return await self._answered(self.approvals.answer(action, result, is_error=is_error))

    def register_hook(self, hook: HookSpec | Hook, handler: HookHandler | None = None) -> HookSpec | None:
        """Call this hook from now on (seed 001); returns the one of the same id that it replaces.

        Hooks live in this process and are shared by the session's handles in it; they end when the last of these is closed.
        A hook without handler and command lets everything pass. ConfigurationError when it cannot be used, InvalidArgument
        on a handle that only watches; then nothing has changed.
        """
        return self._live_hooks().register(hook, handler)

    def unregister_hook(self, hook_id: str) -> HookSpec | None:
        """Call the hook of this id no more; returns it, or None when there is none. Its handler stays (seed 001)."""
        return self._live_hooks().unregister(hook_id)

    def register_hook_handler(self, hook_id: str, handler: HookHandler) -> None:
        """The function behind the hook of this id, in place of the one before; it may come before the hook (seed 001)."""
        self._live_hooks().register_handler(hook_id, handler)

    def unregister_hook_handler(self, hook_id: str) -> None:
        """The hook of this id has no function any more. Nothing happens when it had none (seed 001)."""
        self._live_hooks().unregister_handler(hook_id)

    def hook_count(self) -> int:
        """How many hooks are registered in this process, the agent's included (seed 001)."""
        return self._hooks.count

    def hooks(self) -> list[HookSpec]:
        """The registered hooks, the agent's included, in the order in which they are called."""
        return self._hooks.list()

    async def save(self) -> None:
        """Return when all that was appended so far is as durable as the store's level promises."""
        await self._store.flush()

    async def close(self) -> None:
        """End the open run with its questions, unless another process drives it, then refuse further calls on this handle.

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
                        await self._home.settle(self.id)
            await self._hooks.closed("closed")
            await record_reports(self._store, self.id, self._hooks, self._home.clock)
            self._home.leave(self.id, self._token)
        self._token.cancel()

    async def detach(self) -> None:
        """Let go of the session without ending anything: this handle refuses further calls, an open run goes on where a
        driving handle is left, and otherwise where the session is opened next. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        if self._drives:
            await record_reports(self._store, self.id, self._hooks, self._home.clock)
            self._home.leave(self.id, self._token)

    # --- reading -----------------------------------------------------------------------------------------------

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

    def follow(self, from_seq: Seq = 0) -> EventReceiver:
        """Stored events with a greater seq and then each new one, without gap or repeat. Never ends by itself."""
        return EventReceiver(self._store, self.id, from_seq, labels=self.labels)

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

    async def run_page(self, run: RunId | str, after: Seq = 0, *, limit: int = 100) -> RunPage:
        """The run's next events behind the seq `after`, at most `limit` of them (1 to 1000), and where to go on.

        RunNotFound, also when limits leave the run out; InvalidArgument.
        """
        page = await self._runs.page(run, after, limit)
        self._labelled(list(page.events))
        return page

    async def current_run(self) -> RunHandle | None:
        """The open run, if any."""
        run = (await self._store.session(self.id)).run
        return None if run is None else RunHandle(run, self._runs, self.wait, self.cancel_run)

    async def active_tools(self) -> list[ActiveTool]:
        """Calls under way in the open run."""
        return await self._runs.active_tools()

    async def trace_events(self, *, limit: int | None = None) -> list[TraceEvent]:
        """What was done, step by step: names, sizes and times, never a value; with `limit` the last steps (seed 001)."""
        return await read_trace(self._store, self.id, limit=limit)

    async def pending_confirmations(self) -> list[PendingAction]:
        """Approvals that wait for an answer, oldest first (seed 001)."""
        return [p for p in await self.approvals.pending() if p.kind == "approval"]

    def tool_definitions(self) -> list[ToolDefinition]:
        """What the model is told of the session's tools."""
        return [t.definition for t in self._home.tools_of(self._spec, self.workspace)]

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

    # --- inside ------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(session=self.id)
        if self._token.cancelled:
            raise SessionClosed("this handle's cancel token was cancelled: open the session again", session=self.id)

    def _live_hooks(self) -> Hooks:
        self._check_open()
        if not self._drives:
            raise InvalidArgument("this handle only watches: hooks are called by the process that drives the session")
        return self._home.hooks(self.id, keep=True)

    def _labelled(self, events: list[Event]) -> list[Event]:
        for event in events:
            event.labels = self.labels
        return events

    def _within(self) -> bool:
        """True when a tool of this session is asking."""
        return WITHIN.get() == self.id

    def _tools_here(self) -> list[Tool]:
        """The agent's tools; none when this process does not have all of them."""
        try:
            return self._home.tools_of(self._spec, self.workspace)
        except ToolNotFound:
            return []

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

    def _wake(self) -> None:
        if self._drives:
            self._home.wake(self.id)

    async def _answered(self, answer: Any) -> bool:
        answered: bool = await answer
        self._wake()
        return answered

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


def _command_result(executed: CommandResult) -> RunResult:
    """A command's answer in the shape of a run's."""
    fault = None if executed.error is None else Fault(executed.error, executed.text)
    outcome: RunOutcome = "done" if fault is None else "failed"
    return RunResult(RunId(executed.id), outcome, executed.text, None, Usage(), 0, 0, fault, executed.seq)


__all__ = ["CommandSender", "Prompt", "RunResult", "Session", "SessionConfig"]
