"""Inputs: what a client sends, checked, and as godwit's own.

A request is taken whole or not at all: its shape, the calls it names and what the session can take are checked before
anything is done, and all of it that can is stored in one append. Only what follows an interrupt waits for the run to end.

A message is a follow-up: it is handled when what came before it is, and starts a run when nothing is under way. What a run
left waiting when it was interrupted, failed or met a limit is dropped, as this protocol has it, when something new is sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ...core.errors import (
    ActionNotFound,
    AlreadyAnswered,
    GodwitError,
    HeadMoved,
    InputNotFound,
    InvalidArgument,
    KeyReused,
    NoOpenRun,
    NotSupported,
    RunFailed,
)
from ...core.events import ActionOpened, Decision, Delivery, UserAnswer, UserInterrupt, UserMessage
from ...core.ids import InputId, Seq, SessionId
from ...core.messages import Text, UserBlock, text_of, user_content
from ...core.principal import Principal
from ...core.questions import needed
from ...core.senders import free_name
from ...core.state import State
from ...engine.approvals import question_answer
from ...engine.inbox import accepted_id
from ...engine.log import load_state
from ...engine.session import Session
from ..server.money import go_on_as_set
from ..server.questions import is_form
from ..server.service import Service
from .budgets import used_up
from .calls import Asked, asked_by, handed_out
from .content import Files, a_text, an_object, an_optional_flag, an_optional_text, only, read_blocks, written
from .event_ids import event_id, thread_id
from .query import moment
from .system_messages import SENDER, block_of

MOST: Final = 1000
_TRIES: Final = 50
"""How often a message is tried to be put behind what the session had become when it was looked at."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """`system`: the system message behind it; without content, it stands behind a result."""

    content: tuple[UserBlock, ...]
    system: str | None = None


@dataclass(frozen=True)
class System:
    """A system message, as it was sent: it becomes part of what it stands behind."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    thread: str | None = None


@dataclass(frozen=True)
class Confirmation:
    """`arguments` (`input` on the wire) is godwit's own: what the call is to be run with."""

    tool_use: str
    allow: bool
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    thread: str | None = None


@dataclass(frozen=True)
class Result:
    """`custom`: of one of the client's own tools, else of a built-in one that a worker has run."""

    tool_use: str
    custom: bool
    content: tuple[UserBlock, ...]
    is_error: bool
    thread: str | None = None


Given = Message | Interrupt | Confirmation | Result


def read_inputs(given: object, at: str = "events", *, most: int = MOST, files: Files = MappingProxyType({})) -> list[Given]:
    """The inputs of a request. `files`: those that its content names. InvalidArgument names the first thing that is wrong;
    NotSupported."""
    if not isinstance(given, list) or not given:
        raise InvalidArgument(f"{at}: a list with at least one event is needed", at=at)
    if len(given) > most:
        raise InvalidArgument(f"{at}: {len(given)} events are more than {most}", at=at)
    inputs = _joined([_read(one, f"{at}.{number}", files) for number, one in enumerate(given)], at)
    named: set[str] = set()
    interrupted = False
    for number, one in enumerate(inputs):
        interrupted = interrupted or isinstance(one, Interrupt)
        if isinstance(one, Confirmation | Result):
            if one.tool_use in named:
                raise InvalidArgument(f"{at}.{number}: {one.tool_use!r} is answered twice in one request", id=one.tool_use)
            if interrupted:
                raise InvalidArgument(f"{at}.{number}: an interrupt before it ends what it would answer", id=one.tool_use)
            named.add(one.tool_use)
    return inputs


def _joined(read: Sequence[Given | System], at: str) -> list[Given]:
    """A system message goes with the message that it stands behind, or is one of its own behind a result."""
    inputs: list[Given] = []
    for number, one in enumerate(read):
        if not isinstance(one, System):
            inputs.append(one)
            continue
        before = inputs[-1] if inputs else None
        if number != len(read) - 1 or not isinstance(before, Message | Result):
            raise InvalidArgument(
                f"{at}.{number}: a system.message stands last in a request, right behind a user.message or a tool's result",
                at=at,
            )
        if isinstance(before, Message):
            inputs[-1] = Message(before.content, one.text)
        else:
            inputs.append(Message((), one.text))
    return inputs


def _system(fields: Body, at: str) -> System:
    only(fields, at, "type", "content")
    content = read_blocks(fields.get("content"), f"{at}.content", files={})
    texts = [block.text for block in content if isinstance(block, Text)]
    if len(texts) != len(content) or not "".join(texts).strip():
        raise InvalidArgument(f"{at}.content: a system.message has text, and nothing else", at=at)
    return System("\n".join(texts))


def _read(given: object, at: str, files: Files) -> Given | System:
    fields = an_object(given, at)
    match fields.get("type"):
        case "user.message":
            only(fields, at, "type", "content")
            content = read_blocks(fields.get("content"), f"{at}.content", files=files)
            try:
                return Message(user_content(content))
            except InvalidArgument as error:
                raise InvalidArgument(f"{at}.content: {error.message}", at=at) from None
        case "user.interrupt":
            only(fields, at, "type", "session_thread_id")
            return Interrupt(an_optional_text(fields, at, "session_thread_id"))
        case "user.tool_confirmation":
            return _confirmation(fields, at)
        case "user.custom_tool_result":
            only(fields, at, "type", "custom_tool_use_id", "content", "is_error", "session_thread_id")
            return _result(fields, at, "custom_tool_use_id", custom=True, files=files)
        case "user.tool_result":
            only(fields, at, "type", "tool_use_id", "content", "is_error", "session_thread_id")
            return _result(fields, at, "tool_use_id", custom=False, files=files)
        case "system.message":
            return _system(fields, at)
        case "user.define_outcome" as kind:
            raise NotSupported(f"{at}.type: godwit has no {kind} events", type=kind)
        case other:
            raise InvalidArgument(f"{at}.type: {other!r} is none of {', '.join(KINDS)}", at=at, value=repr(other))


KINDS: Final = (
    "user.message",
    "system.message",
    "user.interrupt",
    "user.tool_confirmation",
    "user.custom_tool_result",
    "user.tool_result",
)


def _confirmation(fields: Body, at: str) -> Confirmation:
    only(fields, at, "type", "tool_use_id", "result", "deny_message", "input", "session_thread_id")
    result, reason = fields.get("result"), an_optional_text(fields, at, "deny_message")
    if result not in ("allow", "deny"):
        raise InvalidArgument(f"{at}.result: {result!r} is neither allow nor deny", at=at, value=repr(result))
    if reason is not None and result != "deny":
        raise InvalidArgument(f"{at}.deny_message: it goes with deny", at=at)
    edited = fields.get("input")
    if edited is not None:
        an_object(edited, f"{at}.input")
        if result != "allow":
            raise InvalidArgument(f"{at}.input: other arguments go with allow", at=at)
    thread = an_optional_text(fields, at, "session_thread_id")
    return Confirmation(a_text(fields, at, "tool_use_id"), result == "allow", reason, edited, thread)


def _result(fields: Body, at: str, name: str, *, custom: bool, files: Files) -> Result:
    given = fields.get("content")
    content = () if given is None else read_blocks(given, f"{at}.content", results=True, files=files)
    thread = an_optional_text(fields, at, "session_thread_id")
    return Result(a_text(fields, at, name), custom, content, an_optional_flag(fields, at, "is_error"), thread)


class Inputs:
    """Sends what clients say to the sessions of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    async def send(
        self, principal: Principal, session: str, given: Sequence[Given], *, key: str | None = None
    ) -> list[Body]:
        """Do all of it; returns the events as they were taken. SessionNotFound, InvalidArgument, PermissionDenied,
        TooMany, InboxFull."""
        row = await self._service.row(principal, session)
        if any(isinstance(one, Message | Interrupt) for one in given):
            principal.require("operate")
        if row.status == "archived":
            raise InvalidArgument(f"session {session!r} is archived: nothing can be sent to it any more", session=session)
        for one in given:
            if not isinstance(one, Message) and one.thread not in (None, thread_id(row.id)):
                raise InvalidArgument(f"session_thread_id: session {session!r} has no thread {one.thread!r}", id=one.thread)
        asked = await self._asked(row.id, given, key)
        if row.run is None and any(isinstance(one, Message) for one in given):
            await self._service.tenants.room(principal, "runs")
        handle = await self._service.runtime.desk.session(row.id)
        shown: list[Body] = []
        group: list[tuple[Given, UserMessage | UserAnswer]] = []
        part = 0
        for number, one in enumerate(given):
            if isinstance(one, Interrupt):
                if group:
                    shown += await self._append(handle, group, _part(key, part))
                    group, part = [], part + 1
                done = key is not None and await self._went_on(row.id, given[number + 1 :], f"{key}/{part}")
                own = None if key is None else f"{key}/interrupt {number}"
                shown.append(await self._interrupt(handle, own, last=number == len(given) - 1, done=done))
            else:
                group.append((one, _own(one, asked, principal)))
        if group:
            shown += await self._append(handle, group, _part(key, part))
        return shown

    async def _asked(self, session: SessionId, given: Sequence[Given], key: str | None) -> dict[str, Asked]:
        """What the answers are about. InvalidArgument when they are about nothing, or come too late.

        With a key, what was answered before is left to the store, which knows whether it was by this very request.
        """
        named = [one for one in given if isinstance(one, Confirmation | Result)]
        if not named:
            return {}
        found: dict[str, Asked] = {}
        for one in named:
            look = handed_out if isinstance(one, Result) else asked_by
            asked = await look(self._store, session, one.tool_use)
            _check(one, asked)
            state = await load_state(self._store, session)
            if key is None and not any(a.id == asked.action and not a.answered for a in state.gate.actions):
                raise _too_late(one.tool_use)
            found[one.tool_use] = asked
        return found

    async def _append(
        self, handle: Session, group: Sequence[tuple[Given, UserMessage | UserAnswer]], key: str | None
    ) -> list[Body]:
        """Store these inputs together."""
        says = any(isinstance(own, UserMessage) for _, own in group)
        for tries in range(_TRIES):
            state = await load_state(self._store, handle.id)
            if says and not await self._may_say(handle, state):
                continue
            try:
                appended = await handle.send_events(
                    [own for _, own in group], key=key, expect=state.seq if says and tries < _TRIES - 1 else None
                )
                break
            except HeadMoved:
                continue
            except (AlreadyAnswered, ActionNotFound) as error:
                late = next((one for one, own in group if _is_about(own, error.details.get("action"))), None)
                raise _too_late(late.tool_use if isinstance(late, Confirmation | Result) else "") from None
        else:
            raise HeadMoved(f"session {handle.id!r} changed too fast to put a message behind it: send it again", again=True)
        events = await self._store.read(handle.id, appended.first - 1, to_seq=appended.last)
        stored = [e for e in events if isinstance(e.data, UserMessage | UserAnswer)]
        return [body for (one, _), e in zip(group, stored, strict=True) for body in _taken(handle.id, one, e.seq, e.at_ms)]

    async def _may_say(self, handle: Session, state: State) -> bool:
        """Whether a message can be put behind this state; False: it has been changed, look again. InvalidArgument."""
        run = state.run
        assert state.agent is not None
        _, spec = await self._store.get_agent(state.agent.name, state.agent.version)
        problem = used_up(state, spec)
        if problem is not None:
            if await go_on_as_set(self._service, handle):
                return False
            raise InvalidArgument(problem)
        if run is not None and run.interrupt is not None:
            with contextlib.suppress(RunFailed):
                await handle.wait(run.id)
            return False
        if run is None and state.gate.queue:
            for waiting in state.gate.queue:
                await self._drop(handle, waiting.id)
            return False
        return True

    async def _drop(self, handle: Session, input_id: InputId) -> None:
        with contextlib.suppress(InputNotFound):
            await handle.queue.withdraw(input_id)

    async def _went_on(self, session: SessionId, rest: Sequence[Given], key: str) -> bool:
        """Whether a message behind an interrupt was stored: the request is done again, and the open run may be that
        message's own. `key`: of what is stored together behind the interrupt."""
        for place, one in enumerate(rest):
            if isinstance(one, Interrupt):
                break
            if isinstance(one, Message):
                wanted = accepted_id(session, key, place)
                lately = await self._store.read(session, types=("user.message",), newest_first=True, limit=MOST)
                return any(isinstance(e.data, UserMessage) and e.data.id == wanted for e in lately)
        return False

    async def _interrupt(self, handle: Session, key: str | None, *, last: bool, done: bool) -> Body:
        """End the open run, if there is one; what follows in the request waits until it has ended. `done`: it was ended
        before, by this same request."""
        session, run = handle.id, (await self._store.session(handle.id)).run
        if run is not None and not done:
            try:
                appended = await handle.send_events([UserInterrupt(run)], key=key)
            except (NoOpenRun, KeyReused):
                pass
            else:
                if not last:
                    with contextlib.suppress(RunFailed):
                        await handle.wait(run)
                (stored,) = await self._store.read(session, Seq(appended.first - 1), to_seq=appended.first)
                return _shown(event_id(session, stored.seq, 0), "user.interrupt", stored.at_ms)
        # There was nothing to end, and nothing is recorded of it.
        return _shown(self._service.new_id("sevt"), "user.interrupt", self._service.now_ms())


def _part(key: str | None, part: int) -> str | None:
    return None if key is None else f"{key}/{part}"


def _is_about(own: UserMessage | UserAnswer, action: object) -> bool:
    return isinstance(own, UserAnswer) and own.action == action


def _too_late(tool_use: str) -> InvalidArgument:
    return InvalidArgument(f"{tool_use!r} waits for no answer any more", id=tool_use)


def _check(given: Confirmation | Result, asked: Asked) -> None:
    """Whether it is answered in the way it is asked."""
    id_, name = given.tool_use, asked.name
    if asked.opened.asking:
        _check_question(given, asked.opened)
    elif isinstance(given, Confirmation):
        if asked.kind != "approval":
            kind = "user.custom_tool_result" if asked.custom else "user.tool_result"
            raise InvalidArgument(f"{id_!r} is a call of {name!r} that waits for its result: send {kind}", id=id_)
    elif asked.kind == "approval":
        raise InvalidArgument(f"{id_!r} is a call of {name!r} that has to be confirmed first", id=id_)
    elif given.custom != asked.custom:
        kind = "custom tool: send user.custom_tool_result" if asked.custom else "built-in tool: send user.tool_result"
        raise InvalidArgument(f"{id_!r} is a call of {name!r}, a {kind}", id=id_)


def _check_question(given: Confirmation | Result, opened: ActionOpened) -> None:
    id_ = given.tool_use
    if isinstance(given, Confirmation):
        if is_form(opened):
            wanted = ", ".join(needed(opened.schema))
            raise InvalidArgument(
                f"{id_!r} is a question of {opened.name!r} that is filled in: send user.custom_tool_result with a JSON"
                f" object of its fields{f' ({wanted} at least)' if wanted else ''}, or with is_error to decline",
                id=id_,
            )
        if given.arguments is not None and opened.kind != "approval":
            raise InvalidArgument(f"{id_!r} is a question of {opened.name!r} without an input", id=id_)
    elif not is_form(opened) or not given.custom:
        kind = "user.custom_tool_result" if is_form(opened) else "user.tool_confirmation"
        raise InvalidArgument(f"{id_!r} is a question of {opened.name!r}: send {kind}", id=id_)


def _answer_to(opened: ActionOpened, given: Confirmation | Result, sender: str) -> UserAnswer:
    """The answer to a question of a call, as ours. InvalidArgument, naming the field, when it does not fit the form."""
    if isinstance(given, Confirmation):
        if given.allow and opened.kind == "question":
            return question_answer(opened, "done", sender=sender)
        decision: Decision = "approve" if given.allow else "deny"
        return UserAnswer(opened.action, decision, given.reason, given.arguments, sender=sender)
    if given.is_error:
        return UserAnswer(opened.action, "deny", text_of(given.content) or None, content=given.content, sender=sender)
    try:
        answer = question_answer(opened, given.content, sender=sender)
    except InvalidArgument as error:
        raise InvalidArgument(f"{given.tool_use!r}: {error.message}", **{**error.details, "id": given.tool_use}) from None
    # As it was sent; the fields have the defaults as well.
    return msgspec.structs.replace(answer, content=given.content)


def _own(given: Given, asked: dict[str, Asked], principal: Principal) -> UserMessage | UserAnswer:
    """As ours; the id of a message is given to it when it is stored."""
    match given:
        case Message(content, None):
            return UserMessage(InputId(""), content, "follow_up")
        case Message(content, system):
            said = (*content, block_of(system or ""))
            # Behind a result it belongs to the run that waits for that; it is read with all results of its turn.
            delivery: Delivery = "follow_up" if content else "steer"
            return UserMessage(InputId(""), said, delivery, "skip" if content else "batch", SENDER)
        case Confirmation() | Result() if asked[given.tool_use].opened.asking:
            return _answer_to(asked[given.tool_use].opened, given, principal.id)
        case Confirmation():
            decision = "approve" if given.allow else "deny"
            return UserAnswer(
                asked[given.tool_use].action,
                "approve" if decision == "approve" else "deny",
                given.reason,
                given.arguments,
                sender=free_name(principal.id),
            )
        case Result():
            return UserAnswer(
                asked[given.tool_use].action,
                "result",
                content=given.content,
                is_error=given.is_error,
                sender=free_name(principal.id),
            )
        case Interrupt():
            raise GodwitError("an interrupt is not stored with others")


def _taken(session: SessionId, given: Given, seq: Seq, at_ms: int) -> list[Body]:
    """An input as it is answered: a message is not processed yet, all else is."""
    if isinstance(given, Message):
        kinds = [("user.message", given.content)] if given.content else []
        if given.system is not None:
            kinds.append(("system.message", (Text(given.system),)))
        return [
            {**_shown(event_id(session, seq, index), kind, None), "content": written(content)}
            for index, (kind, content) in enumerate(kinds)
        ]
    return [_done(session, given, seq, at_ms)]


def _done(session: SessionId, given: Confirmation | Result | Interrupt, seq: Seq, at_ms: int) -> Body:
    id_ = event_id(session, seq, 0)
    match given:
        case Confirmation():
            shown = _shown(id_, "user.tool_confirmation", at_ms)
            told = {} if given.allow else {"deny_message": given.reason}
            return {**shown, "tool_use_id": given.tool_use, "result": "allow" if given.allow else "deny", **told}
        case Result():
            kind, name = ("custom_tool_result", "custom_tool_use_id") if given.custom else ("tool_result", "tool_use_id")
            shown = _shown(id_, f"user.{kind}", at_ms)
            return {**shown, name: given.tool_use, "content": written(given.content), "is_error": given.is_error}
        case Interrupt():
            return _shown(id_, "user.interrupt", at_ms)


def _shown(id: str, type: str, at_ms: int | None) -> Body:  # noqa: A002 - the fields' names
    return {"id": id, "type": type, "processed_at": None if at_ms is None else moment(at_ms)}
