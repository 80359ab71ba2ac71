"""ModelInfo: what is known of one model, beside how to ask it; and what that means for a request.

Leaves out where it is known from (`models/catalogue.py`). Rule to keep: what is not known is None and never a guess; a
request is changed only where it is known that the model cannot take it, and every change is told as an `Adjustment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from .agent import ThinkingLevel
from .attachments import is_text_file
from .budget import Price
from .messages import Block, Document, Image

THINKING_LEVELS: tuple[ThinkingLevel, ...] = get_args(ThinkingLevel)
"""From least to most."""

Origin = Literal["listed", "configured", "guessed"]
"""`listed`: its provider is known to have it. `configured`: a user's entry names it. `guessed`: only its name is known."""


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a model; None where nothing is.

    `name`: `provider:model`, or the name of a registered model. `aliases`: other names that mean it. `context_window`:
    tokens of a request and its answer together; `max_output`: tokens of an answer, thinking included. `price`: the plain
    one; `tiered`: long requests cost more. `images`, `documents`: whether it takes them; documents are PDFs.
    `parallel_tools`: several calls in one answer. `structured_output`: an answer by a JSON Schema. `thinking`: the levels
    it can tell apart, from least to most; one that is not among them is asked for as its nearest. `ready`: it can be asked
    here; if not, `missing` names the variables of which one has to hold a key.
    """

    name: str
    provider: str
    title: str = ""
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_output: int | None = None
    price: Price | None = None
    tiered: bool = False
    images: bool | None = None
    documents: bool | None = None
    tools: bool | None = None
    parallel_tools: bool | None = None
    structured_output: bool | None = None
    thinking: tuple[ThinkingLevel, ...] | None = None
    deprecated: bool = False
    ready: bool = True
    missing: tuple[str, ...] = ()
    origin: Origin = "listed"


class Adjustment(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something of a request that the model cannot take, and what was done. `what`: the level that was asked for and the one
    that is sent (`asked`, `sent`), or how many blocks are told of in words instead (`count`)."""

    what: Literal["thinking", "image", "document"]
    text: str
    asked: str | None = None
    sent: str | None = None
    count: int = 0


def nearest_level(asked: ThinkingLevel, offered: Sequence[ThinkingLevel]) -> ThinkingLevel:
    """The level of these that is nearest to the asked one, of two equally near the lower. Nothing is nearer to `off` than
    what thinks least, and `off` is near to nothing else: whoever asks for thinking gets some, if there is any."""
    if asked in offered or not offered:
        return asked
    thinking = [level for level in offered if level != "off"]
    if asked == "off" or not thinking:
        return thinking[0] if thinking else "off"
    place = THINKING_LEVELS.index(asked)
    return min(thinking, key=lambda level: (abs(THINKING_LEVELS.index(level) - place), THINKING_LEVELS.index(level)))


def thinking_for(info: ModelInfo | None, asked: ThinkingLevel | None) -> tuple[ThinkingLevel | None, Adjustment | None]:
    """The level to send when this one is asked for; with what is to be told when it is another one."""
    if asked is None or info is None or info.thinking is None:
        return asked, None
    sent = nearest_level(asked, info.thinking)
    if sent == asked:
        return asked, None
    offers = ", ".join(info.thinking) or "none"
    text = f"{info.name} has no thinking level {asked} (it has {offers}): {sent} is sent"
    return sent, Adjustment("thinking", text, asked, sent)


def not_taken(info: ModelInfo | None, content: Iterable[Block]) -> list[Image | Document]:
    """The blocks of which it is known that the model cannot take them."""
    if info is None or (info.images is not False and info.documents is not False):
        return []
    return [
        block
        for block in content
        if (isinstance(block, Image) and info.images is False)
        or (isinstance(block, Document) and info.documents is False and not is_text_file(block))
    ]


def left_out(info: ModelInfo | None, content: Iterable[Block]) -> list[Adjustment]:
    """What is to be told of the blocks that the model cannot take and is told of in words."""
    blocks = not_taken(info, content)
    found: list[Adjustment] = []
    kinds: tuple[tuple[Literal["image", "document"], type[Image] | type[Document]], ...] = (
        ("image", Image),
        ("document", Document),
    )
    for what, kind in kinds:
        count = sum(isinstance(block, kind) for block in blocks)
        if count and info is not None:
            them = f"1 {what} is" if count == 1 else f"{count} {what}s are"
            found.append(Adjustment(what, f"{info.name} takes no {what}s: {them} named in words instead", count=count))
    return found


__all__ = [
    "THINKING_LEVELS",
    "Adjustment",
    "ModelInfo",
    "Origin",
    "left_out",
    "nearest_level",
    "not_taken",
    "thinking_for",
]
