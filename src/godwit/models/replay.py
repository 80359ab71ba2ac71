"""Recordings: `Recorder` writes what a model answers, `RecordedModel` answers from that without a network.

A recording is one file of JSON lines that `Recorder` writes while it passes a real model's stream through: a header, then
one line per exchange, durable when the exchange is over. So a recording that was killed is good up to there.

An answer is chosen by what the request holds (`position.py`), never by how often was asked. Only where one request was
asked several times (a provider's error, then the answer) does a count decide, and it begins anew in each process.

Left out: retries, and anything that knows a provider's wire. Rule to keep: `_normalised` decides what makes two requests
equal; whatever it drops can differ between a recording and its replay without anyone noticing.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..contracts import Model, ModelAnswer, ModelChunk, ModelRequest, SupportsPrice
from ..core.errors import ConfigurationError, ModelError, ReplayMismatch
from ..core.ids import Clock, SystemClock
from ..core.messages import Message, Usage
from ..core.transcript import Entry
from .position import position

# --- the recording's format -----------------------------------------------------------------------------------------

FORMAT = 1
Match = Literal["exact", "results_vary"]
"""How closely a request must equal the recorded one.

`exact`: in all that the model gets to see. `results_vary`: likewise, but the content of tool results may be another, as
that of commands which print times; which tools gave results, in which order and with which status, must be the same.
"""


class Header(msgspec.Struct, frozen=True, tag="recording", tag_field="type"):
    """The first line. `match` is what a replay takes by default; `seed` and `meta` are the host's, to set the scene."""

    godwit: str
    format: int
    model: str
    match: Match = "exact"
    seed: str = ""
    meta: dict[str, Any] = {}


class RecordedError(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    message: str
    retryable: bool = False
    retry_after_s: float | None = None
    details: dict[str, Any] = {}


class RecordedRequest(msgspec.Struct, frozen=True):
    """A request by the digests of its parts."""

    instructions: str
    tools: str
    settings: str
    messages: tuple[str, ...]


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True, tag="exchange", tag_field="type"):
    """One request and what came back. `parts`: what digests stand for, as far as earlier lines have not said so.

    `chunks` each with the ms that passed before it. Without an answer at their end there is an `error`, or the stream was
    `cut` by who read it.
    """

    position: int
    turn: int
    session: str
    request: RecordedRequest
    parts: dict[str, Any] = {}
    chunks: tuple[tuple[int, ModelChunk], ...] = ()
    error: RecordedError | None = None
    cut: bool = False


_line_decoder = msgspec.json.Decoder(Header | Exchange)
# Details of an error may hold what JSON cannot say; a recording is no reason to lose the error itself.
_line_encoder = msgspec.json.Encoder(enc_hook=str)
_DRAWER = "recording"


def _digest(part: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(part, order="sorted"), digest_size=9).hexdigest()


def _normalised(message: Message) -> dict[str, Any]:
    """What of a message makes a difference to a model: no ids of ours or the provider's, no usage, no model's name."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    for name in ("id", "usage", "response_id", "model", "call_id"):
        plain.pop(name, None)
    for block in plain["content"]:
        if block["type"] == "tool_call":
            del block["id"]
        if isinstance(block.get("data"), str):  # an inline image: its hash tells as much and keeps the file small
            block["data"] = "blake2b:" + _digest(block["data"])
    return plain


class _Asked:
    """A request taken apart into its parts and their digests."""

    __slots__ = ("_parts", "position", "request", "session", "turn")

    def __init__(self, request: ModelRequest) -> None:
        self.position = position(request)
        self.turn = request.turn
        self.session = request.session
        fixed = (request.instructions, msgspec.to_builtins(request.tools), msgspec.to_builtins(request.settings))
        digests = [_digest(part) for part in fixed]
        self._parts: dict[str, Any] = dict(zip(digests, fixed, strict=True))
        messages = []
        for entry in request.entries:
            digest = _entry_digest(entry)
            self._parts[digest] = entry.message
            messages.append(digest)
        self.request = RecordedRequest(digests[0], digests[1], digests[2], tuple(messages))

    def part(self, digest: str) -> Any:
        """As it stands in a recording: lists instead of tuples, so that the two compare."""
        found = self._parts[digest]
        return msgspec.json.decode(msgspec.json.encode(_normalised(found) if isinstance(found, Message) else found))

    def new_parts(self, known: set[str]) -> dict[str, Any]:
        return {digest: self.part(digest) for digest in self._parts if digest not in known}


def _entry_digest(entry: Entry) -> str:
    digest = entry.encoded.get(_DRAWER)
    if digest is None:
        digest = entry.encoded[_DRAWER] = _digest(_normalised(entry.message))
    return str(digest)


def _read(path: Path) -> tuple[Header, list[Exchange], int]:
    """The file's lines and the length in bytes of those that are whole: a killed recording may end within one."""
    body = path.read_bytes()
    size = body.rfind(b"\n") + 1
    header: Header | None = None
    exchanges: list[Exchange] = []
    for number, line in enumerate(body[:size].splitlines(), 1):
        try:
            read = _line_decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{path}, line {number}: this is no line of a recording: {error}") from error
        if isinstance(read, Exchange) and header is not None:
            exchanges.append(read)
        elif isinstance(read, Header) and header is None:
            if read.format > FORMAT:
                raise ConfigurationError(
                    f"{path} was recorded by godwit {read.godwit} in format {read.format}; this one reads up to {FORMAT}",
                    format=read.format,
                )
            header = read
        else:
            raise ConfigurationError(f"{path}, line {number}: a recording begins with its header, once")
    if header is None:
        raise ConfigurationError(f"{path} is no recording: it has no header")
    return header, exchanges, size


# --- recording ------------------------------------------------------------------------------------------------------


class Recorder:
    """A model that passes another one's streams through and writes each exchange to the file at `path`.

    An exchange is durable before its last chunk is handed on. Opened on a file that exists, it goes on with it, after
    dropping a line that a crash left unfinished. `match`, `seed` and `meta` go into the header (see there); with a file
    that exists they are the file's. Raises ConfigurationError when the file is no recording, or one of another model.
    """

    def __init__(
        self,
        model: Model,
        path: str | os.PathLike[str],
        *,
        match: Match = "exact",
        seed: str = "",
        meta: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._model = model
        self._clock = clock or SystemClock()
        self._known: set[str] = set()
        path = Path(path)
        if path.exists() and path.stat().st_size:
            self.header, exchanges, size = _read(path)
            if self.header.model != model.name:
                raise ConfigurationError(
                    f"{path} is a recording of {self.header.model!r}, not of {model.name!r}: choose another file",
                    path=str(path),
                )
            self._known.update(digest for exchange in exchanges for digest in exchange.parts)
            os.truncate(path, size)
            self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        else:
            self.header = Header(_version(), FORMAT, model.name, match, seed, dict(meta or {}))
            self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
            self._append(self.header)

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def wire(self) -> str:
        return self._model.wire

    def cost_usd(self, usage: Usage) -> float | None:
        """What the recorded model says."""
        return self._model.cost_usd(usage) if isinstance(self._model, SupportsPrice) else None

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        asked = _Asked(request)
        chunks: list[tuple[int, ModelChunk]] = []
        last = self._clock.monotonic()
        written = False
        stream = self._model.stream(request)
        try:
            async for chunk in stream:
                now = self._clock.monotonic()
                chunks.append((round((now - last) * 1000), chunk))
                last = now
                if isinstance(chunk, ModelAnswer):
                    written = self._write(asked, chunks)
                yield chunk
        except ModelError as error:
            written = written or self._write(asked, chunks, error=_as_recorded(error))
            raise
        except (GeneratorExit, asyncio.CancelledError):
            # Written without awaiting anything: who cancels a stream does not wait for it.
            written = written or self._write(asked, chunks, cut=True)
            raise
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        self._file.close()

    def _write(
        self,
        asked: _Asked,
        chunks: list[tuple[int, ModelChunk]],
        *,
        error: RecordedError | None = None,
        cut: bool = False,
    ) -> bool:
        parts = asked.new_parts(self._known)
        self._append(Exchange(asked.position, asked.turn, asked.session, asked.request, parts, tuple(chunks), error, cut))
        self._known.update(parts)
        return True

    def _append(self, line: Header | Exchange) -> None:
        self._file.write(_line_encoder.encode(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _version() -> str:
    try:
        return importlib.metadata.version("godwit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _as_recorded(error: ModelError) -> RecordedError:
    return RecordedError(error.code, error.message, error.retryable, error.retry_after_s, error.details)


def _as_raised(error: RecordedError) -> ModelError:
    kinds: dict[str, type[ModelError]] = {cls.code: cls for cls in ModelError.__subclasses__()}
    kind = kinds.get(error.code, ModelError)
    raised = kind(error.message, retryable=error.retryable, retry_after_s=error.retry_after_s)
    raised.details.update(error.details)
    return raised


# --- replaying ------------------------------------------------------------------------------------------------------


class RecordedModel:
    """A model that answers from a recording, without a network.

    `match`: how closely requests must equal the recorded ones; None takes the recording's own default. `pace`: factor on the
    recorded pauses between chunks, or on `interval_s` seconds when that is given; 0 streams without pauses.
    `patience_s`: how long a stream that its reader cut in the recording waits to be cut again.

    A request that was not recorded raises ReplayMismatch, which says where it differs. Raises ConfigurationError when the
    file cannot be used.
    """

    wire = "recorded"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        match: Match | None = None,
        pace: float = 0,
        interval_s: float | None = None,
        patience_s: float = 30,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise ConfigurationError(f"there is no recording at {self._path}", path=str(self._path))
        self.header, exchanges, _ = _read(self._path)
        self._match = match or self.header.match
        self._pace = pace
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._sleep = sleep
        self._parts = {digest: part for exchange in exchanges for digest, part in exchange.parts.items()}
        self._exchanges = list(_without_lost(exchanges))
        self._asked: dict[tuple[str, int, int], int] = {}

    @property
    def name(self) -> str:
        return self.header.model

    @property
    def seed(self) -> str:
        return self.header.seed

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.header.meta

    def __len__(self) -> int:
        """How many exchanges the recording holds."""
        return len(self._exchanges)

    def cost_usd(self, usage: Usage) -> float | None:
        """Nothing: nobody is asked. An answer keeps the cost it was recorded with."""
        return 0.0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        exchange = self._choose(_Asked(request))
        for ms, chunk in exchange.chunks:
            await self._sleep(self._pace * (ms / 1000 if self._interval_s is None else self._interval_s))
            yield chunk
        if exchange.error is not None:
            raise _as_raised(exchange.error)
        if exchange.cut:
            # The recorded reader stopped here, so this one is about to: an error now would come before its interrupt.
            await self._sleep(self._patience_s)
            raise ReplayMismatch(
                f"{self._path.name}: the stream of turn {exchange.turn} was cut here in the recording and nobody cut it now"
            )

    def _choose(self, asked: _Asked) -> Exchange:
        due = [(n, e) for n, e in enumerate(self._exchanges, 1) if e.position == asked.position]
        if not due:
            last = max((e.position for e in self._exchanges), default=-1)
            raise ReplayMismatch(
                f"{self._path.name} ends after {last + 1} answers and was asked for number {asked.position + 1}",
                position=asked.position,
                recorded=last + 1,
            )
        fitting = [e for _, e in due if self._difference(e.request, asked) is None]
        if not fitting:
            raise self._mismatch(due, asked)
        # One request may stand there from several turns (a rewind) or sessions: its own is the one that is meant.
        fitting = [e for e in fitting if e.turn == asked.turn] or fitting
        fitting = [e for e in fitting if e.session == asked.session] or fitting
        key = (asked.session, asked.turn, asked.position)
        again = self._asked.get(key, 0)
        self._asked[key] = again + 1
        return fitting[min(again, len(fitting) - 1)]

    def _mismatch(self, due: list[tuple[int, Exchange]], asked: _Asked) -> ReplayMismatch:
        differences = [(number, self._difference(e.request, asked)) for number, e in due]
        # Of several that do not fit, the one that fits the longest is the one that was meant.
        number, found = max(differences, key=lambda d: d[1].place if d[1] else -1)
        assert found is not None
        return ReplayMismatch(
            f"{self._path.name}, exchange {number} (answer {asked.position + 1}): {found.path}: "
            f"recorded {found.expected}, got {found.got}",
            exchange=number,
            position=asked.position,
            path=found.path,
            expected=found.expected,
            got=found.got,
        )

    def _difference(self, recorded: RecordedRequest, asked: _Asked) -> _Difference | None:
        """Where the two part first, or None when they count as equal."""
        got = asked.request
        for place, name in enumerate(("instructions", "tools", "settings")):
            left, right = getattr(recorded, name), getattr(got, name)
            if left != right:
                return _Difference(place, *_first_difference(name, self._parts[left], asked.part(right)))
        for index, (left, right) in enumerate(zip(recorded.messages, got.messages, strict=False)):
            if left == right:
                continue
            expected, actual = self._parts[left], asked.part(right)
            if self._match == "results_vary" and expected["role"] == actual["role"] == "tool":
                expected, actual = expected | {"content": None}, actual | {"content": None}
                if expected == actual:
                    continue
            return _Difference(3 + index, *_first_difference(_title(index, actual), expected, actual))
        if len(recorded.messages) != len(got.messages):
            return _Difference(
                3 + min(len(recorded.messages), len(got.messages)),
                "number of messages",
                str(len(recorded.messages)),
                str(len(got.messages)),
            )
        return None


class _Difference(msgspec.Struct, frozen=True):
    """`place` grows with how far the two went together."""

    place: int
    path: str
    expected: str
    got: str


def _without_lost(exchanges: Sequence[Exchange]) -> Iterator[Exchange]:
    """Leave out answers that were asked for again within their turn: the process died before they were stored.

    What is asked beside the conversation belongs to no turn (its number is 0), and is never the same again by that.
    """
    last = {(exchange.session, exchange.turn): number for number, exchange in enumerate(exchanges)}
    for number, exchange in enumerate(exchanges):
        asked_again = exchange.turn > 0 and last[exchange.session, exchange.turn] > number
        lost = exchange.error is None and asked_again
        if not lost:
            yield exchange


def _title(index: int, message: dict[str, Any]) -> str:
    role = message["role"]
    return f"message {index} ({role} {message['name']!r})" if role == "tool" else f"message {index} ({role})"


def _first_difference(path: str, expected: Any, got: Any) -> tuple[str, str, str]:
    """The path down to the first difference, and both sides of it, shortened."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            if key not in expected or key not in got or expected[key] != got[key]:
                return _first_difference(f"{path}.{key}", expected.get(key), got.get(key))
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        for index, (left, right) in enumerate(zip(expected, got, strict=False)):
            if left != right:
                return _first_difference(f"{path}[{index}]", left, right)
        return f"{path}: length", str(len(expected)), str(len(got))
    if isinstance(expected, str) and isinstance(got, str):
        left_lines, right_lines = expected.split("\n"), got.split("\n")
        for number, (left, right) in enumerate(zip(left_lines, right_lines, strict=False), 1):
            if left != right:
                column = next(
                    (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
                )
                return f"{path}, line {number}", _short(left, column), _short(right, column)
        return f"{path}: number of lines", str(len(left_lines)), str(len(right_lines))
    return path, _short(repr(expected)), _short(repr(got))


def _short(text: str, around: int = 0, *, width: int = 80) -> str:
    start = max(0, around - width // 2) if len(text) > width else 0
    piece = text[start : start + width]
    return repr(("..." if start else "") + piece + ("..." if start + width < len(text) else ""))
