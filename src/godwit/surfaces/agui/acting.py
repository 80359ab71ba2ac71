"""Acting: what an input does to its session, before anything of it is streamed.

Rules a change must keep: an input that comes again does nothing again; while a person's answer is missing, nothing is done
that is not such an answer, and nothing is taken for abandoned; what cannot be done is refused before any of it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import msgspec

from ...contracts import SessionRow
from ...core.errors import (
    ActionNotFound,
    AlreadyAnswered,
    AttachmentRefused,
    ConfigurationError,
    Conflict,
    InvalidArgument,
    KeyReused,
    NoOpenRun,
    SessionArchived,
    SessionBusy,
    SessionNotFound,
)
from ...core.events import ActionOpened, UserAnswer, UserMessage as Said
from ...core.ids import ActionId, InputId, Seq
from ...core.messages import Document, Image, ResultBlock, Text, UserBlock
from ...core.questions import filled
from ...core.senders import free_name
from ...engine.session import Session
from ..server.caller import Caller
from .content import blocks_of
from .conversation import Conversation, Conversations, Kept, keep, kept_in, wire_id
from .inputs import AnyMessage, AssistantMessage, Options, ResumeEntry, RunAgentInput, Tool, ToolMessage, UserMessage
from .interrupts import answer_in, approval_in, give, opened
from .snapshots import is_ghost
from .telling import told_of

logger = logging.getLogger("godwit.server")

TRIES = 5
_ANY = InputId("")
_MADE_HERE = "in_"
"""How ids of messages begin that came without one of a front end's."""
_NOTES: dict[type, str] = {
    Image: "[an image that the model does not read]",
    Document: "[a file that the model does not read]",
}


@dataclass
class Done:
    """What an input has come to. `row`: the session as it stood before; `warnings`: what of it was passed over."""

    row: SessionRow
    warnings: list[str] = field(default_factory=list)
    acted: bool = False
    """Something was sent to the session."""
    sent: Seq = 0
    """Where the first message of what was sent stands."""


class Acting:
    """Does what inputs say, for one caller."""

    def __init__(self, caller: Caller, conversations: Conversations) -> None:
        self._caller = caller
        self._conversations = conversations
        self._sender = free_name(caller.principal.id)

    async def act(self, row: SessionRow, given: RunAgentInput, options: Options) -> Done:
        """What the input says is done, or refused: InvalidArgument, Conflict, SessionArchived, PermissionDenied and the
        like."""
        if row.status == "archived":
            raise SessionArchived(f"thread {given.thread_id!r} is archived: begin another one", session=row.id)
        done = Done(row)
        await self._resume(row, given, done)
        if not await self._may_act(row, done):
            return done
        if options.regenerate:
            await self._regenerate(row, given, done)
            return done
        for left in reversed(range(TRIES)):
            try:
                await self._say(given, options, done)
                return done
            except (SessionBusy, NoOpenRun, KeyReused, AlreadyAnswered, ActionNotFound):
                # Somebody else has done something at the same moment: look again.
                if not left:
                    raise
        return done

    # --- answers ------------------------------------------------------------------------------------------------------

    async def _resume(self, row: SessionRow, given: RunAgentInput, done: Done) -> None:
        if not given.resume:
            return
        session, store = await self._caller.driven(row.id), self._caller.service.store
        waiting = {str(one.id): one for one in await session.approvals.pending() if one.kind != "external"}
        named: dict[str, ResumeEntry] = {}
        for entry in given.resume:
            if entry.interrupt_id in named:
                raise InvalidArgument(f"resume names {entry.interrupt_id!r} twice", param="resume")
            named[entry.interrupt_id] = entry
        done.warnings += [f"nothing waits for {name!r} any more" for name in named if name not in waiting]
        if any(name not in named for name in waiting):
            return  # not all are answered, and so none is
        answers = [(await opened(store, waiting[name]), entry) for name, entry in named.items() if name in waiting]
        for action, entry in answers:
            check(action, entry)
            if (edited := edited_in(action, entry)) is not None:
                await session.approvals.check_arguments(action.action, edited)
        if answers:
            await self._caller.changes("answer")
            await self._set_state(session, given)
        for action, entry in answers:
            if await give(session, action, entry, self._sender):
                done.acted = True
            else:
                done.warnings.append(f"nothing waits for {action.action!r} any more")  # answered at the same moment

    async def _may_act(self, row: SessionRow, done: Done) -> bool:
        """Whether nobody's answer is missing."""
        handle = await self._caller.watched(row.id)
        return all(one.kind == "external" for one in await handle.approvals.pending())

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _say(self, given: RunAgentInput, options: Options, done: Done) -> None:
        row = await self._caller.row(done.row.id)
        conversation = await self._conversations.at(row.id, row.head)
        known, context = {body["id"] for body in conversation.bodies()}, conversation.context
        before = brought(conversation, given, known)
        results = self._results(conversation, given)
        new = await self._not_handed_on(row, new_messages(conversation, given.messages[len(before) :]))
        if not (new or results):
            return
        waiting = row.status == "waiting"
        await self._caller.changes("operate" if new else "answer")
        if row.run is None:
            await self._caller.service.tenants.room(self._caller.principal, "runs")
        session = await self._caller.driven(row.id)
        note, digest = told_of(given, () if known else before)
        if digest == (context or "") and (known or not before):
            note = None
        inputs: list[Said | UserAnswer] = list(self._answers(results, note if not new else None, digest, done))
        inputs += self._messages(new, row, options, note, digest, waiting, done)
        if row.run is None:
            await self._set_tools(session, given.tools or (), done)
        await self._set_state(session, given)
        try:
            appended = await session.send_events(inputs, key=_key(new, results))
        except AttachmentRefused as refused:
            done.warnings.append(refused.message)
            plain = [_without_files(one) if isinstance(one, Said) else one for one in inputs]
            appended = await session.send_events(plain, key=_key(new, results))
        done.acted, done.sent = True, appended.first

    async def _regenerate(self, row: SessionRow, given: RunAgentInput, done: Done) -> None:
        """Go back to before the last message and say it once more. Conflict while a run is open, or where that message did
        not begin one; InvalidArgument where there is none that the session knows."""
        last = next((one for one in reversed(given.messages) if isinstance(one, UserMessage)), None)
        said = None if last is None else await self._said_as(row, last.id)
        if last is None or said is None:
            raise InvalidArgument("regenerate: the thread has no such message: send it without regenerate", param="messages")
        seq, message = said
        kept = kept_in(message.metadata)
        if kept is not None and kept.again == given.run_id:
            return  # this very request has come before
        if row.run is not None:
            raise Conflict("regenerate: a run of this thread is under way: wait for its end, or stop it", run=row.run)
        if message.delivery != "prompt":
            raise Conflict(f"regenerate: message {last.id!r} was said within a run and began none", said=last.id)
        await self._caller.changes()
        await self._caller.service.tenants.room(self._caller.principal, "runs")
        session = await self._caller.driven(row.id)
        await self._set_tools(session, given.tools or (), done)
        await session.rewind(seq - 1)
        await self._set_state(session, given)
        again = Kept(last.id, None if kept is None else kept.shown, None if kept is None else kept.context, given.run_id)
        said_again = Said(_ANY, message.content, "prompt", sender=self._sender, metadata=keep(again))
        await session.send_events([said_again], key=f"agui again\0{last.id}\0{given.run_id}")
        done.acted = True

    async def _said_as(self, row: SessionRow, name: str) -> tuple[Seq, Said] | None:
        """The newest message of this id, and where it stands."""
        for event in await self._caller.service.store.read(row.id, types=("user.message",), newest_first=True):
            if isinstance(event.data, Said) and wire_id(event.data) == name:
                return event.seq, event.data
        return None

    async def _not_handed_on(self, row: SessionRow, new: list[UserMessage]) -> list[UserMessage]:
        """The messages without those that were said to subagents: front ends send back all that they were told, and some of
        them leave out whose it was."""
        if not any(one.id.startswith(_MADE_HERE) for one in new):
            return new
        store, theirs = self._caller.service.store, set[str]()
        for child in await store.descendants(row.id):
            try:
                theirs |= (await self._conversations.at(child, (await store.session(child)).head)).ids
            except SessionNotFound:
                continue  # deleted meanwhile
        return [one for one in new if one.id not in theirs]

    def _messages(
        self,
        new: Sequence[UserMessage],
        row: SessionRow,
        options: Options,
        note: Text | None,
        digest: str,
        waiting: bool,
        done: Done,
    ) -> list[Said]:
        if new and row.run is not None and options.delivery == "refuse":
            raise Conflict("a run of this thread is under way: wait for its end, or let the message correct it", run=row.run)
        made: list[Said] = []
        for message in new:
            blocks, left = blocks_of(message.content)
            done.warnings += [f"{one} was left out of message {message.id!r}" for one in left]
            if not blocks:
                blocks = [Text("[a message with nothing in it that can be used]")]
            shown, context = len(blocks), None
            if note is not None:
                blocks, note, context = [*blocks, note], None, digest
            metadata = keep(Kept(message.id, shown if context is not None else None, context))
            content = tuple(blocks)
            if row.run is None and not made:
                made.append(Said(_ANY, content, "prompt", sender=self._sender, metadata=metadata))
            elif options.delivery == "follow_up" and row.run is not None:
                made.append(Said(_ANY, content, "follow_up", sender=self._sender, metadata=metadata))
            else:
                # Calls that wait for the front end are given up by a message that comes in place of their results.
                mode: Any = "skip" if waiting else "batch"
                made.append(Said(_ANY, content, "steer", mode, self._sender, metadata))
        return made

    def _results(self, conversation: Conversation, given: RunAgentInput) -> list[tuple[ActionId, ToolMessage]]:
        """Results of calls that wait for them."""
        open_calls: dict[str, ActionId] = {call: action for action, call in conversation.front.items()}
        found = []
        for message in given.messages:
            if isinstance(message, ToolMessage) and message.tool_call_id in open_calls:
                found.append((open_calls.pop(message.tool_call_id), message))
        return found

    def _answers(
        self, results: Sequence[tuple[ActionId, ToolMessage]], note: Text | None, digest: str, done: Done
    ) -> list[UserAnswer]:
        made: list[UserAnswer] = []
        for action, message in results:
            blocks: list[UserBlock] = []
            if not isinstance(message.content, str) or message.content.strip():
                blocks, left = blocks_of(message.content)
                done.warnings += [f"{one} was left out of message {message.id!r}" for one in left]
            shown, context = len(blocks), None
            if note is not None and (action, message) == results[-1]:
                blocks, context = [*blocks, note], digest
            if message.error is not None and not blocks:
                blocks, shown = [Text(message.error)], 1
            content: tuple[ResultBlock, ...] = tuple(blocks)
            metadata = keep(Kept(message.id, shown if context is not None else None, context))
            made.append(
                UserAnswer(
                    action,
                    "result",
                    content=content,
                    is_error=message.error is not None,
                    sender=self._sender,
                    metadata=metadata,
                )
            )
        return made

    async def _set_state(self, session: Session, given: RunAgentInput) -> None:
        """The front end's state, where it has one: what it has never had takes nobody else's away."""
        if given.state is not None and given.state != {}:
            await session.set_shared_state(given.state, sender=self._sender, tell=True)

    async def _set_tools(self, session: Session, tools: Sequence[Tool], done: Done) -> None:
        """The front end's tools, but for those that go by a name which the agent has already: it keeps its own."""
        wanted: dict[str, Tool] = {}
        for tool in tools:
            wanted.setdefault(tool.name, tool)
        for _ in range(2):
            try:
                await session.set_external_tools([_definition(tool) for tool in wanted.values()])
                return
            except ConfigurationError as error:
                taken = [name for name in error.details.get("names", ()) if name in wanted]
                if not taken:
                    raise
                done.warnings += [f"the tool {name!r} is the agent's own: the application's is not used" for name in taken]
                for name in taken:
                    del wanted[name]


def brought(conversation: Conversation, given: RunAgentInput, known: set[str]) -> list[AnyMessage]:
    """What was said in the thread before it came here: all up to the last answer of somebody else before anything that the
    session knows. It is history, and nothing of it is to be answered."""
    unknown = list(takewhile(lambda one: one.id not in known and one.id not in conversation.ids, given.messages))
    while unknown and not (isinstance(unknown[-1], AssistantMessage) and not is_ghost(unknown[-1], known)):
        unknown.pop()
    return unknown


def new_messages(conversation: Conversation, messages: Sequence[AnyMessage]) -> list[UserMessage]:
    """Those of users that the session does not know, in their order."""
    found: dict[str, UserMessage] = {}
    for message in messages:
        if isinstance(message, UserMessage) and message.id not in conversation.ids:
            found.setdefault(message.id, message)
    return list(found.values())


def check(action: ActionOpened, entry: ResumeEntry) -> None:
    """InvalidArgument for an answer that does not fit its question."""
    if entry.status == "cancelled":
        return
    if action.kind == "approval":
        if approval_in(entry.payload, action.action).remember is not None and not action.rules:
            raise InvalidArgument(f"resume: {action.action!r}: no rule is offered to be remembered", action=action.action)
        return
    said = answer_in(action, entry.payload)
    if isinstance(said, dict):
        filled(action.schema, said)


def edited_in(action: ActionOpened, entry: ResumeEntry) -> dict[str, Any] | None:
    """The arguments that an approval puts in place of the call's own."""
    if entry.status == "cancelled" or action.kind != "approval":
        return None
    said = approval_in(entry.payload, action.action)
    return said.edited_args if said.approved else None


def _definition(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters if isinstance(tool.parameters, dict) else {}
    schema = {"type": "object", "properties": {}, **parameters}
    return {"name": tool.name, "description": tool.description, "parameters": schema}


def _without_files(message: Said) -> Said:
    kept = tuple(one if isinstance(one, Text) else Text(_NOTES[type(one)]) for one in message.content)
    return msgspec.structs.replace(message, content=kept)


def _key(new: Sequence[UserMessage], results: Sequence[tuple[ActionId, ToolMessage]]) -> str:
    """The same for the same messages, whatever run they come with. Front ends may give results of many calls one id."""
    named = [[one.id for one in new], [action for action, _ in results]]
    return f"agui\0{hashlib.sha256(msgspec.json.encode(named)).hexdigest()}"


__all__ = ["Acting", "Done", "new_messages"]
