"""Content blocks and the three kinds of message a model sees.

They are trees of frozen values, so the garbage collector need not look at them (`gc=False`): long histories cost it nothing.

A block that a provider wants back unchanged carries what it needs in `opaque`: godwit stores it and hands it to the
same provider again, and never looks inside.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .errors import InvalidArgument
from .ids import CallId, MessageId


class Opaque(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one provider must get back with a block: its own id for it and its own details (JSON)."""

    provider: str
    id: str | None = None
    details: dict[str, Any] = {}


class Block(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="type"):
    """Base of all content blocks."""


class Text(Block, frozen=True, tag="text"):
    text: str
    opaque: Opaque | None = None


class Image(Block, frozen=True, tag="image"):
    """An image, either inline (`data`) or by `url`; `media_type` such as `image/png`. With both, `url` is where it was."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    name: str | None = None


class Document(Block, frozen=True, tag="document"):
    """A file for the model to read, inline or by `url`, a PDF or a text. With both, `url` is where it was."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    name: str | None = None


class Thinking(Block, frozen=True, tag="thinking"):
    """Reasoning. `signature` proves to the provider that it is its own; `redacted` means the text is hidden."""

    text: str = ""
    signature: str | None = None
    redacted: bool = False
    opaque: Opaque | None = None


class ToolCall(Block, frozen=True, tag="tool_call"):
    """A call the model asks for. `malformed` holds the raw text when it was no JSON object; `arguments` is then {}."""

    id: CallId
    name: str
    arguments: dict[str, Any] = {}
    malformed: str | None = None
    opaque: Opaque | None = None


class ProviderBlock(Block, frozen=True, tag="provider"):
    """A block only its provider understands (a server-side tool call, an encrypted item): kept whole, sent back."""

    provider: str
    kind: str
    data: dict[str, Any] = {}


UserBlock = Text | Image | Document
ResultBlock = Text | Image | Document
AgentBlock = Text | Thinking | ToolCall | ProviderBlock | Image | Document

StopReason = Literal[
    "end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "pause", "interrupted", "error", "other"
]
ToolStatus = Literal["ok", "error", "denied", "skipped", "invalid", "unknown"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens of one or more model steps. `input_tokens` includes cached ones. `cost_usd` is None when no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    requests: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        known = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.thinking_tokens + other.thinking_tokens,
            self.requests + other.requests,
            sum(known) if known else None,
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class User(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="role", tag="user"):
    content: tuple[UserBlock, ...]

    @property
    def text(self) -> str:
        return text_of(self.content)


class Assistant(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="role", tag="assistant"):
    """What a model answered. `complete` is False when it was cut: only what had arrived is kept."""

    id: MessageId
    content: tuple[AgentBlock, ...]
    model: str = ""
    stop: StopReason = "end_turn"
    complete: bool = True
    usage: Usage = Usage()
    response_id: str | None = None

    @property
    def text(self) -> str:
        return text_of(self.content)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(b for b in self.content if isinstance(b, ToolCall))


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="role", tag="tool"):
    call_id: CallId
    name: str
    content: tuple[ResultBlock, ...]
    status: ToolStatus = "ok"

    @property
    def text(self) -> str:
        return text_of(self.content)


Message = User | Assistant | ToolResult


def text_of(content: tuple[Block, ...]) -> str:
    """All text blocks joined by nothing."""
    return "".join(b.text for b in content if isinstance(b, Text))


def user_content(prompt: str | UserBlock | list[UserBlock] | tuple[UserBlock, ...]) -> tuple[UserBlock, ...]:
    """A prompt in any of its accepted forms as blocks.

    InvalidArgument when there is nothing in it, when it is of another type, or when its text is no Unicode.
    """
    if isinstance(prompt, str):
        content: tuple[UserBlock, ...] = (Text(prompt),)
    elif isinstance(prompt, list | tuple):
        content = tuple(prompt)
    else:
        content = (prompt,)
    for block in content:
        if not isinstance(block, Text | Image | Document):
            raise InvalidArgument(
                f"a message is text, an image or a document, or several of them, not {type(block).__name__}",
                type=type(block).__name__,
            )
        if isinstance(block, Text):
            try:
                block.text.encode()
            except UnicodeEncodeError as error:
                raise InvalidArgument(
                    f"the text is no Unicode: character {error.start} is half of a surrogate pair", at=error.start
                ) from None
    if not any(not isinstance(b, Text) or b.text.strip() for b in content):
        raise InvalidArgument("a message needs content: providers refuse an empty one")
    return content
