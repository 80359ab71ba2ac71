"""A session as Markdown: what was said, with calls and their results folded where a reader of Markdown can fold."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from ...contracts import EventStore
from ...core.ids import SessionId
from ...core.messages import Text, Thinking, ToolCall
from . import words
from .story import Answered, Call, Direct, Passage, Said, Story, Told

_TICKS = re.compile("`{3,}")


async def markdown(store: EventStore, session: SessionId, heads: dict[SessionId, int], title: str) -> AsyncIterator[bytes]:
    """Piece by piece; `heads`: which sessions, the first one first, and up to which event."""
    story = Story(store, session, heads[session])
    yield f"# {words.one_line(title)}\n\n> {words.SECRETS}\n\n".encode()
    async for piece in _conversation(story):
        yield piece.encode()
    yield _totals(story).encode()
    for child in list(heads)[1:]:
        below = Story(store, child, heads[child])
        yield f"# Subagent {child}\n\n".encode()
        async for piece in _conversation(below):
            yield piece.encode()
        yield _totals(below).encode()


async def _conversation(story: Story) -> AsyncIterator[str]:
    left = False
    async for passage in story.passages():
        if passage.left != left:
            yield "</details>\n\n" if left else "<details><summary>A branch that the conversation left</summary>\n\n"
        left = passage.left
        yield _passage(passage)
    if left:
        yield "</details>\n\n"


def _passage(passage: Passage) -> str:
    match passage:
        case Said():
            who = "User" if passage.sender is None else f"User, by {passage.sender}"
            body = "\n\n".join(words.block_name(block) for block in passage.content)
            return f"## {who}\n\n_{words.moment(passage.at_ms)} UTC_\n\n{body}\n\n"
        case Answered():
            return _answer(passage)
        case Direct():
            return f"{_call(passage.call)}"
        case Told():
            line, more = words.told(passage)
            return f"_{line}_\n\n" + (f"{_fenced(more)}\n\n" if more else "")
        case _:
            return ""


def _answer(passage: Answered) -> str:
    calls = {call.call.id: call for call in passage.calls}
    parts = [f"## {passage.message.model or 'Agent'}\n\n"]
    for block in passage.message.content:
        match block:
            case Text():
                parts.append(f"{block.text.strip()}\n\n" if block.text.strip() else "")
            case Thinking():
                thought = block.text or "(hidden)"
                parts.append("".join(f"> {line}\n" for line in thought.split("\n")) + "\n")
            case ToolCall():
                parts.append(_call(calls[block.id]))
            case _:
                parts.append(f"_[{type(block).__name__}]_\n\n")
    if not passage.message.complete:
        parts.append("_The answer was cut here._\n\n")
    return "".join(parts)


def _call(call: Call) -> str:
    head = words.heading(call).replace("`", "'")
    named = f"`{head}` " if head else ""
    parts = [f"**{call.call.name}** {named}{words.outcome(call)}\n\n"]
    diff = words.diff_of(call)
    arguments = words.arguments_of(call)
    if diff is not None:
        parts.append(f"{_fenced(diff, 'diff')}\n\n")
    elif arguments not in ("", "{}"):
        parts.append(f"{_fenced(arguments)}\n\n")
    for question in call.questions:
        asked, said = words.put(question)
        parts.append("".join(f"> {line}  \n" for text in (asked, *said) for line in text.split("\n")) + "\n")
    result = "\n".join(words.block_name(block) for block in (() if call.result is None else call.result.content))
    if result:
        parts.append(f"<details><summary>result</summary>\n\n{_fenced(result)}\n\n</details>\n\n")
    return "".join(parts)


def _fenced(text: str, kind: str = "") -> str:
    """Between fences longer than any in the text."""
    longest = max((len(found) for found in _TICKS.findall(text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def _totals(story: Story) -> str:
    return "---\n\n" + "".join(f"- {name}: {value}\n" for name, value in words.totals(story.total)) + "\n"
