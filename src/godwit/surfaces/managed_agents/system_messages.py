"""System messages: what a client tells the model on its own behalf, right behind a person's message or a tool's result.

godwit has no such input. It goes as a block of text of the message that it stands behind, or of a message of its own behind
a result, and is known again by who that says it is from. Rule: the text that the model is given is what the client said,
and a note that it is from the application.
"""

from __future__ import annotations

from typing import Final

from ...core.events import UserMessage
from ...core.messages import Text, UserBlock

SENDER: Final = "managed_agents.system"
_NOTE: Final = "[From the application, not from the person]\n"


def block_of(text: str) -> Text:
    """The text as the model is given it."""
    return Text(f"{_NOTE}{text}")


def system_block(message: UserMessage) -> Text | None:
    """The system message that this one carries, as its last block."""
    last = message.content[-1] if message.content else None
    return last if message.sender == SENDER and isinstance(last, Text) else None


def text_in(block: Text) -> str:
    """What the client said."""
    return block.text.removeprefix(_NOTE)


def without(content: tuple[UserBlock, ...], block: Text | None) -> tuple[UserBlock, ...]:
    """The rest of the message."""
    return content if block is None else tuple(one for one in content if one != block)
