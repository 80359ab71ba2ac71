"""Inputs: what is sent to a session, as the events of ours that say it.

A message to a session at rest starts a turn; one to a turn that is open steers it, after the calls that are under way. A
request's events are accepted together or not at all. Only a cancellation stands apart: what follows it in a request is for
the time when the turn has ended.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import pydantic

from ...contracts import SessionRow
from ...core.errors import ActionNotFound, AlreadyAnswered, InvalidArgument, KeyReused, NoOpenRun, NotSupported, SessionBusy
from ...core.events import ActionOpened, UserAnswer, UserMessage
from ...core.ids import ActionId, InputId, RunId, derived_id
from ...core.messages import Image, Text, UserBlock
from ...core.principal import Principal
from ...core.senders import free_name
from ...engine.approvals import question_answer
from ...engine.session import Session
from ..server.service import Service
from .body import Shape
from .errors import UnknownCall
from .history import History

ANY = InputId("")
TRIES = 5
"""How often it is looked again whether a turn is open, when that has changed in between."""


class InputText(Shape):
    type: Literal["input_text"]
    text: str


class InputImage(Shape):
    type: Literal["input_image"]
    image_url: str


Content = Annotated[InputText | InputImage, pydantic.Field(discriminator="type")]


class Message(Shape):
    type: Literal["message"] = "message"
    role: Literal["user"]
    content: Annotated[list[Content], pydantic.Field(min_length=1)]


class MessageInput(Shape):
    type: Literal["agent.session.input.message"]
    input: Annotated[list[Message], pydantic.Field(min_length=1)]


class CancelInput(Shape):
    type: Literal["agent.session.input.cancel"]


class ToolResultInput(Shape):
    type: Literal["agent.session.input.tool_result"]
    call_id: str
    turn_id: str
    success: bool
    output: str | list[Content] | None = None
    error: str | None = None


class McpDecision(Shape):
    type: Literal["mcp_tool_call"]
    decision: Literal["approve", "deny", "cancel"]


class McpApprovalInput(Shape):
    type: Literal["agent.session.input.mcp_approval_request_result"]
    request_id: str
    response: McpDecision


class ComputerApprovalInput(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    type: Literal["agent.session.input.computer_use_approval_request_result"]


Input = Annotated[
    MessageInput | CancelInput | ToolResultInput | McpApprovalInput | ComputerApprovalInput,
    pydantic.Field(discriminator="type"),
]


class EventsCreate(Shape):
    events: Annotated[list[Input], pydantic.Field(min_length=1, max_length=256)]


Said = tuple[UserBlock, ...]


def said_in(messages: Sequence[Message], at: str) -> list[Said]:
    """The messages as content of ours. InvalidArgument."""
    return [_content(message.content, f"{at}.{n}.content") for n, message in enumerate(messages)]


def _content(parts: Sequence[Content], at: str) -> Said:
    return tuple(_block(part, f"{at}.{n}") for n, part in enumerate(parts))


def _block(part: Content, at: str) -> Text | Image:
    if isinstance(part, InputText):
        return Text(part.text)
    url = part.image_url
    if not url.startswith("data:"):
        if not url.startswith(("https://", "http://")):
            raise InvalidArgument(f"{at}.image_url: neither an http address nor a data URL", param=f"{at}.image_url")
        kind, _ = mimetypes.guess_type(url.partition("?")[0])
        return Image(kind if kind is not None and kind.startswith("image/") else "image/jpeg", url=url)
    head, comma, data = url[len("data:") :].partition(",")
    media_type, _, coding = head.partition(";")
    if not comma or coding != "base64" or not media_type.startswith("image/"):
        raise InvalidArgument(f"{at}.image_url: no data URL of an image in base64", param=f"{at}.image_url")
    try:
        return Image(media_type, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{at}.image_url: it is no base64", param=f"{at}.image_url") from None


async def accept(service: Service, principal: Principal, row: SessionRow, events: Sequence[Input], key: str | None) -> None:
    """Send them to the session, which this process drives from now on. UnknownCall, InvalidArgument, NotSupported, and what
    `Session.send_events` raises."""
    answers_only = all(isinstance(event, ToolResultInput | McpApprovalInput) for event in events)
    principal.require("answer" if answers_only else "operate")
    before, after = _parted(events)
    answers = await _answers(service, row, before, again=key is not None)
    messages = [_messages(part) for part in (before, after)]
    if any(messages) and row.run is None:
        await service.tenants.room(principal, "runs")
    session = await service.session(principal, row.id)
    sender = free_name(principal.id)
    cancels = len(before) < len(events)
    if messages[0] or answers:
        first = key if key is None or not cancels else f"{key}\0before"
        try:
            await say(session, messages[0], [answer for answer, _ in answers], key=first, sender=sender)
        except (AlreadyAnswered, ActionNotFound) as error:
            raise next(refusal for answer, refusal in answers if answer.action == error.details["action"]) from None
    if cancels:
        await session.interrupt(reason="cancelled by the application", key=key)
    if messages[1]:
        await say(session, messages[1], [], key=key, sender=sender)


def _parted(events: Sequence[Input]) -> tuple[Sequence[Input], Sequence[Input]]:
    """What stands before the first cancellation, and what behind it."""
    first = next((n for n, event in enumerate(events) if isinstance(event, CancelInput)), len(events))
    after = [event for event in events[first + 1 :] if not isinstance(event, CancelInput)]
    if any(not isinstance(event, MessageInput) for event in after):
        raise InvalidArgument("events: what the turn waits for cannot be answered behind its cancellation", param="events")
    return events[:first], after


def _messages(events: Sequence[Input]) -> list[Said]:
    found: list[Said] = []
    for n, event in enumerate(events):
        if isinstance(event, MessageInput):
            found += said_in(event.input, f"events.{n}.input")
    return found


async def _answers(
    service: Service, row: SessionRow, events: Sequence[Input], *, again: bool
) -> list[tuple[UserAnswer, InvalidArgument]]:
    """The answers, each with what is said when nothing waits for it any more. UnknownCall, InvalidArgument.

    `again`: it may have been sent before. Then what was answered is found as well, for the engine to tell by the key.
    """
    if any(isinstance(event, ComputerApprovalInput) for event in events):
        raise NotSupported("events: there is no computer use, so nothing asks for its approval", param="events")
    if not any(isinstance(event, ToolResultInput | McpApprovalInput) for event in events):
        return []
    history = History(service.store, row.id, service.settings)
    waiting = (await history.now()).actions
    calls = {(a["call_id"], a["turn_id"]): own for own, a in waiting.items() if a["type"] == "function_call"}
    approvals = {own for own, a in waiting.items() if a["type"] == "mcp_approval_request"}
    found: list[tuple[UserAnswer, InvalidArgument]] = []
    for n, event in enumerate(events):
        if isinstance(event, ToolResultInput):
            action = calls.pop((event.call_id, event.turn_id), None)
            if action is None and again:
                action = await history.action_of(event.turn_id, event.call_id)
            unknown: InvalidArgument = UnknownCall(event.call_id)
            if action is None:
                raise unknown
            opened = await _question(service, row, action)
            if opened is None:
                found.append((_result(action, event, f"events.{n}.output"), unknown))
            else:
                found.append((_form(opened, event, f"events.{n}.output"), unknown))
        elif isinstance(event, McpApprovalInput):
            what = f"Unknown pending approval request: {event.request_id}"
            unknown = InvalidArgument(what, param=f"events.{n}.request_id")
            if event.request_id not in approvals and not again:
                raise unknown
            approvals.discard(ActionId(event.request_id))
            found.append((_decision(event, await _question(service, row, ActionId(event.request_id))), unknown))
    return found


def _result(action: ActionId, event: ToolResultInput, at: str) -> UserAnswer:
    if not event.success:
        return UserAnswer(action, "result", content=(Text(event.error or "The function failed."),), is_error=True)
    if event.output is None:
        return UserAnswer(action, "result")
    given = (Text(event.output),) if isinstance(event.output, str) else _content(event.output, at)
    return UserAnswer(action, "result", content=given)


async def _question(service: Service, row: SessionRow, action: ActionId) -> ActionOpened | None:
    """The action, if a call that has begun asks it."""
    for event in await service.store.read(row.id, types=("action.opened",), newest_first=True):
        if isinstance(event.data, ActionOpened) and event.data.action == action:
            return event.data if event.data.asking else None
    return None


def _form(opened: ActionOpened, event: ToolResultInput, at: str) -> UserAnswer:
    """A form that was filled in, or declined. InvalidArgument, naming the field, when it does not fit."""
    if not event.success:
        why = event.error or "The question was declined."
        return UserAnswer(opened.action, "deny", why, content=(Text(why),))
    output = event.output if event.output is not None else "{}"
    try:
        if isinstance(output, str):
            return question_answer(opened, output)
        return question_answer(opened, tuple(one for one in _content(output, at) if isinstance(one, Text)))
    except InvalidArgument as error:
        raise InvalidArgument(f"{at}: {error.message}", **{**error.details, "param": at}) from None


def _decision(event: McpApprovalInput, question: ActionOpened | None) -> UserAnswer:
    action = ActionId(event.request_id)
    if question is not None and question.kind == "question" and event.response.decision != "deny":
        if event.response.decision == "approve":
            return question_answer(question, "done")
        return UserAnswer(action, "result", content=(Text("[the request was dismissed]"),), is_error=True)
    match event.response.decision:
        case "approve":
            return UserAnswer(action, "approve")
        case "deny":
            return UserAnswer(action, "deny")
        case "cancel":
            return UserAnswer(action, "deny", "the request was dismissed")


async def say(
    session: Session, messages: Sequence[Said], answers: Sequence[UserAnswer], *, key: str | None, sender: str | None
) -> None:
    """Give the answers and say the messages, all in one append; sent again under its key it changes nothing."""
    given = [_sent_by(answer, sender) for answer in answers]
    for left in reversed(range(TRIES)):
        try:
            await session.send_events([*given, *await _to_say(session, messages, sender)], key=key)
            return
        except KeyReused:
            # The same request again reads otherwise once its first message has started a turn.
            if not await _was_said(session, messages, len(given), key):
                raise
            return
        except (SessionBusy, NoOpenRun):
            if not left:
                raise


def _sent_by(answer: UserAnswer, sender: str | None) -> UserAnswer:
    return msgspec.structs.replace(answer, sender=sender)


async def _to_say(session: Session, messages: Sequence[Said], sender: str | None) -> list[UserMessage]:
    """The messages for the session as it stands: the first starts a turn where none is open, the others steer."""
    if not messages:
        return []
    run = await _open_run(session)
    made: list[UserMessage] = []
    for content in messages:
        if run is None and not made:
            made.append(UserMessage(ANY, content, "prompt", sender=sender))
        else:
            made.append(UserMessage(ANY, content, "steer", "batch", sender=sender))
    return made


async def _open_run(session: Session) -> RunId | None:
    """The run that a message may steer. One that was cancelled is waited for: what is said now is not for it."""
    state = await session.state()
    if state.run is None or not state.gate.interrupted:
        return None if state.run is None else state.run.id
    async for event in session.follow(state.seq):
        if event.type == "run.finished":
            return None
    return None


async def _was_said(session: Session, messages: Sequence[Said], ahead: int, key: str | None) -> bool:
    """Whether these messages were accepted under this key before."""
    wanted: dict[str, Said] = {
        derived_id("in", session.id, f"{key}\0{ahead + n}"): content for n, content in enumerate(messages)
    }
    found = [e.data for e in await session.events() if isinstance(e.data, UserMessage) and e.data.id in wanted]
    return bool(wanted) and len(found) == len(wanted) and all(wanted[m.id] == m.content for m in found)
