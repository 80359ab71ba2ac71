"""Inbox: the one door in. Every input becomes an event that is durable before its call returns.

The checks (busy, paused, archived, full, unknown or answered twice) are the gate's, made by the store in the append's own
transaction; nothing here looks first and appends later, except to give an input its default. One is made here: nobody
outside sends under a name of godwit's own (`core.senders`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..contracts import Appended, EventStore
from ..core.agent import AgentRef, SteerMode, ThinkingLevel
from ..core.budget import Budget
from ..core.errors import ActionNotFound, AlreadyAnswered, IllegalEvent, SessionPaused as SessionIsPaused
from ..core.events import (
    ActionOpened,
    CommandExecuted,
    Decision,
    EventData,
    InputReordered,
    InputWithdrawn,
    Remember,
    RunStarted,
    SessionConfigured,
    SessionPaused,
    SessionResumed,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from ..core.ids import ActionId, Clock, IdSource, InputId, RunId, Seq, SessionId, TaskId, derived_id
from ..core.json_values import input_metadata
from ..core.lanes import LaneHandler
from ..core.messages import Message, ResultBlock, UserBlock
from ..core.output import OutputSpec
from ..core.rules import ApprovalPolicy, Permissions
from ..core.senders import by_task, check_sender
from .log import append_outside, rewound_to


def accepted_id(session: SessionId, key: str, place: int) -> InputId:
    """The id that `Inbox.accept` gives to the message at this place under this key: to find out whether it was stored."""
    return InputId(derived_id("in", session, _key_at(key, place)))


def _key_at(key: str, place: int) -> str:
    return f"{key}\0{place}"


class Inbox:
    """Accepts what reaches one session from outside."""

    __slots__ = ("_clock", "_ids", "_session", "_store")

    def __init__(self, store: EventStore, session: SessionId, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._ids = ids

    def of(self, session: SessionId) -> Inbox:
        """That of another session, which this one's host sees to as well."""
        return Inbox(self._store, session, self._clock, self._ids)

    async def _append(
        self, *data: EventData, run: RunId | None = None, key: str | None = None, expect: Seq | None = None
    ) -> Appended:
        return await append_outside(self._store, self._session, data, self._clock, run=run, key=key, expect=expect)

    async def prompt(
        self,
        content: tuple[UserBlock, ...],
        *,
        history: tuple[Message, ...] | None = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        model: str | None = None,
        output: OutputSpec | None = None,
        before: Sequence[EventData] = (),
        task: TaskId | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[RunId, Appended]:
        """A message that starts a run. SessionBusy while one is open, InboxFull, SessionArchived, InvalidArgument.

        `model`: the one for this run alone. `output`: the form of its answer.
        `before`: recorded in front of it, a slash command among it names the run. `task`: who asks, in place of a sender.
        """
        check_sender(sender)
        run, input_id = RunId(self._id("run", key)), InputId(self._id("in", key))
        by = sender if task is None else by_task(task)
        message = UserMessage(input_id, content, "prompt", sender=by, metadata=input_metadata(metadata))
        started = RunStarted(run, input_id, history=history, unattended=unattended, model=model, output=output)
        given = [msgspec.structs.replace(d, starts=run) if isinstance(d, CommandExecuted) else d for d in before]
        return run, await self._append(*given, message, started, run=run, key=key)

    def command_id(self, key: str | None) -> str:
        """An id for a slash command; the same one for the same key."""
        return self._id("cmd", key)

    async def command(self, executed: CommandExecuted, *before: EventData, key: str | None = None) -> Appended:
        """Record a slash command that has been answered, and in front of it what came before. SessionArchived."""
        return await self._append(*before, executed, key=key)

    async def resume_run(
        self, resumes: RunStarted, *, rewind_to: Seq | None, prompt: tuple[UserBlock, ...] | None
    ) -> Appended:
        """Start the run that continues another's checkpoint, going back to it first when the session has moved on."""
        data: list[EventData] = []
        if rewind_to is not None:
            data.append(await rewound_to(self._store, self._session, rewind_to))
        if prompt is not None:
            assert resumes.input is not None
            data.append(UserMessage(resumes.input, prompt, "prompt"))
        return await self._append(*data, resumes, run=resumes.run)

    async def steer(
        self,
        content: tuple[UserBlock, ...],
        mode: SteerMode,
        *,
        key: str | None = None,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[InputId, Appended]:
        """A message for the open run. NoOpenRun when there is none, InvalidArgument."""
        check_sender(sender)
        input_id = InputId(self._id("in", key))
        message = UserMessage(input_id, content, "steer", mode, sender, input_metadata(metadata))
        return input_id, await self._append(message, key=key)

    async def follow_up(
        self,
        content: tuple[UserBlock, ...],
        *,
        key: str | None = None,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[InputId, Appended]:
        """A message for when nothing else is left to do; without an open run that is now: the store starts one with it.
        InvalidArgument."""
        check_sender(sender)
        input_id = InputId(self._id("in", key))
        message = UserMessage(input_id, content, "follow_up", sender=sender, metadata=input_metadata(metadata))
        return input_id, await self._append(message, key=key)

    async def interrupt(self, run: RunId, *, force: bool = False, reason: str | None = None, key: str | None = None) -> None:
        """End that run. NoOpenRun when it is not the open one; KeyReused when the key was used to end another."""
        own = None if key is None else f"{key}\0interrupt"
        await self._append(UserInterrupt(run, force, reason), run=run, key=own)

    async def answer(
        self,
        action: ActionId,
        decision: Decision,
        *,
        reason: str | None = None,
        arguments: dict[str, Any] | None = None,
        content: tuple[ResultBlock, ...] = (),
        is_error: bool = False,
        sender: str | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Answer a pending action. False when it had been answered before; ActionNotFound when there never was one,
        InvalidArgument."""
        check_sender(sender)
        answer = UserAnswer(action, decision, reason, arguments, content, is_error, sender, remember, rule, metadata or {})
        try:
            await self._append(answer)
        except AlreadyAnswered:
            return False
        except ActionNotFound:
            if await self._was_opened(action):
                return False
            raise
        return True

    async def accept(
        self,
        inputs: Sequence[UserMessage | UserInterrupt | UserAnswer],
        *,
        key: str | None = None,
        expect: Seq | None = None,
    ) -> tuple[list[RunId], Appended]:
        """Several inputs, all of them or none; the runs that prompts among them start. Each message gets its own id here,
        and one that follows from its place for the same key. The gate's errors, AlreadyAnswered among them; InvalidArgument;
        HeadMoved when the log does not end at `expect`.
        """
        data: list[EventData] = []
        runs: list[RunId] = []
        for place, given in enumerate(inputs):
            if not isinstance(given, UserInterrupt):
                check_sender(given.sender)
            if isinstance(given, UserAnswer):
                data.append(msgspec.structs.replace(given, metadata=input_metadata(given.metadata)))
                continue
            if isinstance(given, UserInterrupt):
                data.append(given)
                continue
            own = None if key is None else _key_at(key, place)
            message = msgspec.structs.replace(
                given, id=InputId(self._id("in", own)), metadata=input_metadata(given.metadata)
            )
            data.append(message)
            if message.delivery == "prompt":
                runs.append(RunId(self._id("run", own)))
                data.append(RunStarted(runs[-1], message.id))
        return runs, await self._append(*data, run=runs[0] if runs else None, key=key, expect=expect)

    async def withdraw(self, input_id: InputId) -> None:
        """Take a queued input back. InputNotFound when it was delivered or withdrawn already."""
        await self._append(InputWithdrawn(input_id))

    async def reorder(self, order: tuple[InputId, ...]) -> None:
        """Put all queued follow-ups into this order. InputNotFound when it does not name each of them once."""
        await self._append(InputReordered(order))

    async def pause(self, reason: str | None = None) -> bool:
        """False when it was paused already."""
        try:
            await self._append(SessionPaused(reason))
        except SessionIsPaused:
            return False
        return True

    async def resume(self) -> bool:
        """False when it was not paused."""
        try:
            await self._append(SessionResumed())
        except IllegalEvent:
            return False
        return True

    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
        agent: AgentRef | None = None,
        permissions: Permissions | None = None,
        approvals: ApprovalPolicy | None = None,
        budgets: tuple[Budget, ...] | None = None,
        metadata: dict[str, str] | None = None,
        lanes: dict[str, LaneHandler] | None = None,
        mode: str | None = None,
        expect: Seq | None = None,
    ) -> None:
        """Settings for the runs that start from now on; rules and the approval policy hold at once. `expect`: HeadMoved
        unless that is the last event."""
        configured = SessionConfigured(
            model,
            thinking,
            steer_mode,
            name,
            agent,
            permissions,
            approvals,
            budgets,
            metadata=metadata,
            lanes=lanes,
            mode=mode,
        )
        await self._append(configured, expect=expect)

    async def _was_opened(self, action: ActionId) -> bool:
        events = await self._store.read(self._session, types=("action.opened",), newest_first=True)
        return any(isinstance(e.data, ActionOpened) and e.data.action == action for e in events)

    def _id(self, kind: str, key: str | None) -> str:
        return self._ids.new(kind) if key is None else derived_id(kind, self._session, key)
