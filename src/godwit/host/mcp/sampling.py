"""Sampling: what a server wants to ask the session's model, as people judge it, and how the model is asked.

Source: https://modelcontextprotocol.io/specification/2025-11-25/client/sampling. Leaves out whether it may (`legs.py`).
Rules: the model is the session's own, budgeted and recorded as what its tools ask; it gets no tools; what a server says goes
to it as what a user says, or as it was changed by who approved it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ...core.agent import ModelSettings
from ...core.errors import InvalidArgument
from ...core.ids import MessageId
from ...core.media import image_type
from ...core.messages import Assistant, Image, Message, Text, User, text_of
from .forms import CannotAsk, plain

if TYPE_CHECKING:
    from mcp_types import CreateMessageRequestParams, CreateMessageResult

    from .within import Within

MOST_MESSAGES = 200
TEXT_BYTES = 512 * 1024
"""Of all texts of a request."""
IMAGE_BYTES = 5 * 1024 * 1024
"""Of all images of a request."""
MOST_TOKENS = 32_000
"""Of an answer; a server that wants more gets this."""
_STOPS = {"end_turn": "endTurn", "max_tokens": "maxTokens", "stop_sequence": "stopSequence"}


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of a message."""

    role: Literal["user", "assistant"]
    text: str | None = None
    image: bytes | None = None


class SampleAsk(msgspec.Struct, frozen=True, tag="sample", omit_defaults=True):
    """`hints`: names of models that the server would like, which are shown and not followed."""

    messages: tuple[Said, ...]
    max_tokens: int
    system: str = ""
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def sample_of(params: CreateMessageRequestParams) -> SampleAsk:
    """CannotAsk."""
    if params.tools or params.tool_choice is not None:
        raise CannotAsk("it wants to give the model tools, which is not supported")
    if len(params.messages) > MOST_MESSAGES:
        raise CannotAsk(f"it wants to say {len(params.messages)} messages to the model, and {MOST_MESSAGES} are the most")
    messages = tuple(_said(one.role, block) for one in params.messages for block in one.content_as_list)
    system, stop = params.system_prompt or "", tuple(params.stop_sequences or ())
    size = sum(len(text.encode(errors="replace")) for text in (*(m.text or "" for m in messages), system, *stop))
    if size > TEXT_BYTES:
        raise CannotAsk(f"it wants to say {size} bytes to the model, and {TEXT_BYTES} are the most")
    size = sum(len(m.image or b"") for m in messages)
    if size > IMAGE_BYTES:
        raise CannotAsk(f"it wants to show images of {size} bytes to the model, and {IMAGE_BYTES} are the most")
    preferred = params.model_preferences
    hints = [hint.name for hint in (preferred.hints if preferred is not None else None) or [] if hint.name]
    ask = SampleAsk(
        messages,
        max(1, min(params.max_tokens, MOST_TOKENS)),
        system,
        params.temperature,
        stop,
        tuple(plain(name)[:100] for name in hints[:10]),
    )
    _check(ask)
    return ask


def arguments_of(ask: SampleAsk, server: str) -> dict[str, Any]:
    """As people judge it; they may change all of it but the images."""
    shown: list[dict[str, Any]] = []
    for at, one in enumerate(ask.messages):
        if one.image is not None:
            media_type = image_type(one.image) or "image"
            shown.append({"role": one.role, "image": at, "about": f"{media_type}, {len(one.image)} bytes"})
        else:
            shown.append({"role": one.role, "text": one.text or ""})
    made: dict[str, Any] = {"server": server, "messages": shown, "max_tokens": ask.max_tokens}
    if ask.system:
        made["system"] = ask.system
    if ask.temperature is not None:
        made["temperature"] = ask.temperature
    if ask.stop:
        made["stop_sequences"] = list(ask.stop)
    if ask.hints:
        made["models"] = list(ask.hints)
    return made


class _Shown(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    text: str | None = None
    image: int | None = None
    about: str | None = None


class _Changed(msgspec.Struct):
    messages: list[_Shown]
    max_tokens: int
    system: str = ""
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()


def changed(ask: SampleAsk, arguments: dict[str, Any]) -> SampleAsk:
    """The request as it was approved. InvalidArgument."""
    try:
        given = msgspec.convert(arguments, _Changed)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"what was approved to be asked of the model cannot be read: {error}") from None
    messages: list[Said] = []
    for one in given.messages:
        image = None
        if one.image is not None:
            image = ask.messages[one.image].image if 0 <= one.image < len(ask.messages) else None
            if image is None:
                raise InvalidArgument(
                    f"what was approved to be asked of the model names an image {one.image}: there is none"
                )
        messages.append(Said(one.role, one.text, image))
    most = max(1, min(given.max_tokens, MOST_TOKENS))
    made = SampleAsk(tuple(messages), most, given.system, given.temperature, given.stop_sequences, ask.hints)
    try:
        _check(made)
    except CannotAsk as error:
        raise InvalidArgument(f"what was approved to be asked of the model: {error}") from None
    return made


async def sampled(ask: SampleAsk, within: Within, server: str) -> CreateMessageResult:
    """What the session's model answers. What `Within.ask_model_with` raises."""
    from mcp_types import CreateMessageResult, TextContent

    answer = await within.ask_model_with(
        _messages(ask),
        instructions=ask.system,
        settings=ModelSettings(ask.max_tokens, ask.temperature, stop_sequences=ask.stop),
        purpose=f"mcp:{server}",
    )
    return CreateMessageResult(
        role="assistant",
        content=TextContent(text=text_of(answer.content)),
        model=answer.model,
        stop_reason=_STOPS.get(answer.stop, answer.stop),
    )


def _said(role: Any, block: Any) -> Said:
    match block.type:
        case "text":
            return Said(role, block.text.encode(errors="replace").decode())
        case "image":
            try:
                image = base64.b64decode(block.data, validate=True)
            except (binascii.Error, ValueError):
                image = b""
            if role != "user" or image_type(image) is None:
                raise CannotAsk("it wants to show the model an image that is none")
            return Said(role, image=image)
        case other:
            raise CannotAsk(f"it wants to say {str(other)[:50]} to the model: text and images are taken")


def _check(ask: SampleAsk) -> None:
    if not ask.messages or ask.messages[-1].role != "user":
        raise CannotAsk("it wants to ask the model nothing: the last message has to be the user's")
    if not any(one.image is not None or (one.text or "").strip() for one in ask.messages):
        raise CannotAsk("it wants to ask the model nothing: its messages are empty")


def _messages(ask: SampleAsk) -> list[Message]:
    """Pieces of one role in a row are one message."""
    made: list[Message] = []
    place = 0
    while place < len(ask.messages):
        role = ask.messages[place].role
        blocks: list[Text | Image] = []
        while place < len(ask.messages) and ask.messages[place].role == role:
            one = ask.messages[place]
            place += 1
            if one.image is not None:
                blocks.append(Image(image_type(one.image) or "image/png", one.image))
            elif one.text:
                blocks.append(Text(one.text))
        if blocks:
            made.append(User(tuple(blocks)) if role == "user" else Assistant(MessageId(f"said{place}"), tuple(blocks)))
    return made


__all__ = ["SampleAsk", "Said", "arguments_of", "changed", "sample_of", "sampled"]
