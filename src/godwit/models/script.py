"""A model for tests that answers from a script, and the words a script is written with.

    ScriptedModel([call("bash", command="pytest -q"), think("Green.") + say("All is well.")])

A turn of the script is chosen by what the request holds (`position.py`), never by how often was asked. Only where one
place is asked several times (`tries`) does a count decide, and it begins anew in each process.

Left out: recordings (`replay.py`), retries, and anything that knows a provider's wire. Rule to keep: a script streams as a
provider does, in deltas, and lets others run between them; ids of calls follow from their place alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec

from ..contracts import ModelAnswer, ModelChunk, ModelRequest, TextDelta, ThinkingDelta, ToolCallDelta
from ..core.budget import Price
from ..core.errors import ConfigurationError, ModelError, ModelRefused
from ..core.ids import CallId, MessageId
from ..core.messages import AgentBlock, Assistant, Message, StopReason, Text, Thinking, ToolCall, Usage, text_of
from ..core.transcript import Entry
from .position import position

_WORDS = "scripted words"
"""The drawer of an entry in which its words are counted, once."""


class Hold(msgspec.Struct, frozen=True):
    """The stream stands still until `release` is set; `reached` is set when it has come here."""

    release: asyncio.Event
    reached: asyncio.Event | None = None


class Reply(msgspec.Struct, frozen=True):
    """One scripted answer: its blocks, and by number of deltas before them, where it waits or fails.

    A place of None means "where it stands": behind the blocks written before it. Replies are joined with `+`.
    """

    blocks: tuple[AgentBlock, ...] = ()
    marks: tuple[tuple[int | None, int, Hold | Exception], ...] = ()
    stop: StopReason | None = None
    usage: Usage | None = None

    def __add__(self, other: Reply | str) -> Reply:
        after = say(other) if isinstance(other, str) else other
        shift = len(self.blocks)
        return Reply(
            (*self.blocks, *after.blocks),
            (*self.marks, *((deltas, blocks + shift, mark) for deltas, blocks, mark in after.marks)),
            after.stop or self.stop,
            after.usage or self.usage,
        )


class Tries(msgspec.Struct, frozen=True):
    """One place of the script that is asked several times: each time the next reply, the last one from then on."""

    replies: tuple[Reply, ...]


def say(text: str) -> Reply:
    """Answer with text."""
    return Reply((Text(text),))


def think(text: str, *, signature: str | None = None) -> Reply:
    """Reason before the answer: `think("...") + say("...")`."""
    return Reply((Thinking(text, signature),))


def call(name: str, /, *, id: str | None = None, **arguments: Any) -> Reply:  # noqa: A002 - the word tests read best
    """Call a tool. Without an `id` it gets one that follows from its place, the same in every process."""
    return Reply((ToolCall(CallId(id or ""), name, arguments),))


def malformed(name: str, text: str, *, id: str | None = None) -> Reply:  # noqa: A002
    """Call a tool with arguments that are no JSON object."""
    return Reply((ToolCall(CallId(id or ""), name, {}, malformed=text),))


def fail(error: Exception, after: int | None = None) -> Reply:
    """Raise `error` after that many deltas, or where it stands: alone, before the first one."""
    return Reply(marks=((after, 0, error),))


def hold(release: asyncio.Event, after: int | None = None, *, reached: asyncio.Event | None = None) -> Reply:
    """Wait for `release` after that many deltas, or where it stands. `reached` tells the test that it waits now."""
    return Reply(marks=((after, 0, Hold(release, reached)),))


def end(stop: StopReason | None = None, *, usage: Usage | None = None) -> Reply:
    """How the answer ends, unless by the default: `say("and so") + end("max_tokens")`."""
    return Reply(stop=stop, usage=usage)


def tries(*replies: Reply | str | Exception) -> Tries:
    """What is answered when one place is asked again: `tries(RateLimited(), "here it is")`."""
    return Tries(tuple(_reply(r) for r in replies))


ScriptTurn = Reply | Tries | str | Exception
Script = Sequence[ScriptTurn | Callable[[ModelRequest], ScriptTurn]]


class ScriptedModel:
    """A model for tests that says what `turns` say.

    A turn is a string, a `Reply` put together from `say think call malformed fail hold end`, an exception to raise,
    `tries(...)`, or a function of the request that gives one of these. Turn 0 answers a request without assistant
    messages, turn 1 one with a single assistant message, and so on; `offset` messages are not counted (a history that
    was handed in), and `select` chooses the place in another way. Raises ModelRefused when the script has no such turn.

    Text is streamed by words, or by `chunk` characters. `price`: what it costs; without one its price is unknown.
    `requests` holds what was asked, `cut` the ids of answers whose stream was closed before its end.
    """

    wire = "scripted"

    def __init__(
        self,
        turns: Script,
        name: str = "scripted:test",
        *,
        chunk: int | None = None,
        offset: int = 0,
        select: Callable[[ModelRequest], int] | None = None,
        price: Price | None = None,
    ) -> None:
        self.price = price
        self.name = name
        self.requests: list[ModelRequest] = []
        self.cut: list[MessageId] = []
        self._turns = list(turns)
        self._chunk = chunk
        self._select = select or (lambda request: position(request) - offset)
        self._asked: dict[tuple[str, int], int] = {}

    def cost_usd(self, usage: Usage) -> float | None:
        """What this usage costs; None without a `price`."""
        return None if self.price is None else self.price.of(usage)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        # The transcript lends its list and goes on growing it; what was asked now must not change afterwards.
        request = msgspec.structs.replace(request, entries=tuple(request.entries))
        self.requests.append(request)
        place = self._select(request)
        reply = self._reply(request, place)
        ended = False
        try:
            async for chunk in self._play(reply, request, place):
                yield chunk
            ended = True
        except ModelError:
            ended = True
            raise
        finally:
            if not ended:
                self.cut.append(request.message)

    def _reply(self, request: ModelRequest, place: int) -> Reply:
        if not 0 <= place < len(self._turns):
            raise ModelRefused(
                f"the script of {self.name!r} has {len(self._turns)} turns and was asked for number {place} (from 0)",
                turn=place,
                turns=len(self._turns),
            )
        turn = self._turns[place]
        if callable(turn):
            turn = turn(request)
        if not isinstance(turn, Tries):
            return _reply(turn)
        again = self._asked.get((request.session, place), 0)
        self._asked[request.session, place] = again + 1
        return turn.replies[min(again, len(turn.replies) - 1)]

    async def _play(self, reply: Reply, request: ModelRequest, place: int) -> AsyncIterator[ModelChunk]:
        content = tuple(_with_id(b, place, n) for n, b in enumerate(reply.blocks))
        deltas: list[ModelChunk] = []
        starts = []
        for number, block in enumerate(content):
            starts.append(len(deltas))
            deltas.extend(_deltas(number, block, self._chunk))
        starts.append(len(deltas))
        marks = sorted(
            ((starts[blocks] if count is None else count, mark) for count, blocks, mark in reply.marks), key=lambda m: m[0]
        )
        for count, delta in enumerate([*deltas, None]):
            while marks and (marks[0][0] <= count or delta is None):
                mark = marks.pop(0)[1]
                if isinstance(mark, Exception):
                    raise mark
                if mark.reached is not None:
                    mark.reached.set()
                await mark.release.wait()
            await asyncio.sleep(0)  # a provider's stream lets others run between its chunks; so must this one
            if delta is not None:
                yield delta
        stop: StopReason = reply.stop or ("tool_use" if any(isinstance(b, ToolCall) for b in content) else "end_turn")
        usage = reply.usage or Usage(sum(map(_words_in, request.entries)), _words(_as_message(content)), requests=1)
        yield ModelAnswer(content, stop, usage, self.name)


def _reply(turn: Reply | str | Exception | Tries) -> Reply:
    match turn:
        case str():
            return say(turn)
        case Exception():
            return fail(turn)
        case Reply():
            return turn
        case Tries():
            raise ConfigurationError("tries(...) cannot stand within tries(...)")


def _with_id(block: AgentBlock, place: int, number: int) -> AgentBlock:
    if isinstance(block, ToolCall) and not block.id:
        return msgspec.structs.replace(block, id=CallId(f"call_{place}_{number}"))
    return block


def _deltas(number: int, block: AgentBlock, size: int | None) -> Iterator[ModelChunk]:
    match block:
        case Text():
            yield from (TextDelta(number, piece) for piece in _pieces(block.text, size))
        case Thinking():
            yield from (ThinkingDelta(number, piece) for piece in _pieces(block.text, size))
        case ToolCall():
            text = msgspec.json.encode(block.arguments).decode() if block.malformed is None else block.malformed
            first, *rest = _pieces(text, size) or [""]
            yield ToolCallDelta(number, first, block.id, block.name)
            yield from (ToolCallDelta(number, piece) for piece in rest)
        case _:
            return


def _pieces(text: str, size: int | None) -> list[str]:
    if size is None:
        return re.findall(r"\s*\S+\s*", text) or ([text] if text else [])
    return [text[i : i + size] for i in range(0, len(text), size)]


def _as_message(content: tuple[AgentBlock, ...]) -> Assistant:
    return Assistant(MessageId(""), content)


def _words_in(entry: Entry) -> int:
    words = entry.encoded.get(_WORDS)
    if words is None:
        words = entry.encoded[_WORDS] = _words(entry.message)
    return int(words)


def _words(message: Message) -> int:
    return len(text_of(message.content).split())
