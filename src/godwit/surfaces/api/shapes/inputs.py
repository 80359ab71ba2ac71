"""Shapes of what is sent to a session, and of the inputs that wait in it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ....core.agent import SteerMode
from ....core.attachments import WireAttachment
from ....core.facts import CommandResult, InputEntry, SlashCommand
from ....core.messages import Message, UserBlock
from ....core.output import OutputSpec
from .common import Key, Shape

Content = str | Annotated[list[UserBlock], Meta(min_length=1)]
"""What may be sent as a message: a text, or blocks. Only beside attachments may the text be empty."""
Attached = Annotated[list[WireAttachment], Meta(max_length=1000)]
"""Files in front of the words: images and documents, or links to be fetched. A path means nothing here."""


class PromptBody(Shape, frozen=True):
    """`key`: in place of the header Idempotency-Key, as the engine's own key of the prompt.
    `output`: the form of the answer. `metadata`: kept with the message for people and followers, 16 KiB at most.
    """

    prompt: Content
    history: list[Message] | None = None
    sender: str | None = None
    unattended: bool = False
    output: OutputSpec | None = None
    key: Key | None = None
    attachments: Attached = []
    metadata: dict[str, Any] = {}


class SteerBody(Shape, frozen=True):
    message: Content
    mode: SteerMode | None = None
    sender: str | None = None
    key: Key | None = None
    attachments: Attached = []
    metadata: dict[str, Any] = {}


class FollowUpBody(Shape, frozen=True):
    message: Content
    sender: str | None = None
    key: Key | None = None
    attachments: Attached = []
    metadata: dict[str, Any] = {}


class CommandBody(Shape, frozen=True):
    text: str
    sender: str | None = None
    unattended: bool = False
    output: OutputSpec | None = None
    key: Key | None = None
    metadata: dict[str, Any] = {}


class Started(Shape, frozen=True):
    """A run that was started, or joined under its key. `after`: its first event stands behind this seq."""

    run: str
    after: int


class Accepted(Shape, frozen=True):
    """`input`: its id, by which the queue and the events name it."""

    input: str


class Commanded(Shape, frozen=True):
    """`executed`: None when the text is a prompt, and then nothing was done."""

    executed: CommandResult | None


class CommandList(Shape, frozen=True):
    data: list[SlashCommand]


class QueueList(Shape, frozen=True):
    data: list[InputEntry]


class OrderBody(Shape, frozen=True):
    order: list[str]
