"""How many tokens a request will have, before it is made: from what the last answer was counted as, and from characters.

What a budget is asked about a step is an estimate; what it cost is counted afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..core.attachments import is_text_file
from ..core.messages import Assistant, Document, Image, Message, Text, Thinking, ToolCall

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_FILE = 1500
"""What an image or a document counts as in an estimate."""


def estimated_tokens(messages: Sequence[Message], more: Iterable[Any], fixed: Callable[[], int], older: int = 0) -> int:
    """Tokens of a request: what the last answer was counted as, and a quarter of the characters that came since.

    `more`: blocks that are to be added. `fixed`: characters of what goes with each request, for the first one. `older`:
    how many messages, from the first, stood in another context when they were counted.
    """
    characters = sum(block_characters(block) for block in more)
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if place >= older and isinstance(message, Assistant) and message.complete and message.usage.input_tokens:
            return message.usage.total_tokens + characters // CHARACTERS_PER_TOKEN
        characters += characters_of(message)
    return (characters + fixed()) // CHARACTERS_PER_TOKEN


def characters_of(message: Message) -> int:
    """How long a message is; a file counts as much text as it costs about as many tokens as."""
    return sum(block_characters(block) for block in message.content)


def block_characters(block: object) -> int:
    match block:
        case Text() | Thinking():
            return len(block.text)
        case ToolCall():
            return len(block.name) + len(msgspec.json.encode(block.arguments))
        case Document() if is_text_file(block):
            return len(block.data or b"")
        case Image() | Document():
            return TOKENS_PER_FILE * CHARACTERS_PER_TOKEN
        case _:
            return 0
