"""Logs that are loaded into SQLite: implements `Loading` and `LogLoader`. A part of `SqliteStore`.

The events of a log lie in `events` from the start, under a key that no session has; the row that makes it a session comes
with the commit. So a loading is as many short transactions as it has pages, and others write in between.

Rule: a key that a loading has is in `loads` until it is a session's, so that neither a new session nor another loading takes
it, and what a dead process had under it is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import IllegalEvent, InvalidArgument, SessionExists, SessionNotFound
from ..core.events import (
    Draft,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionLabelled,
    SessionRewound,
    UserMessage,
)
from ..core.gate import Gate, admit
from ..core.ids import ArtifactRef, Seq, SessionId
from ..core.messages import text_of
from ..core.meter import Meter, metered
from .artifacts import put_content
from .batch import PROMPT_CHARACTERS, Unit
from .part import StorePart
from .requests import Call

_NO_LIMIT = 1 << 31


class _Log:
    """A log that is being loaded, as far as it has come."""

    __slots__ = ("agent", "begin", "gate", "head", "key", "meter", "name", "prompt", "size", "updated_ms")

    def __init__(self, key: int, begin: Draft) -> None:
        self.key = key
        self.begin = begin
        self.head: Seq = 0
        self.gate = Gate()
        self.meter = Meter()
        self.size = 0
        self.updated_ms = begin.at_ms
        self.name: str | None = None
        self.agent: tuple[str, int] | None = None
        self.prompt: str | None = None

    def checked(self, events: Sequence[Draft]) -> tuple[Gate, Meter]:
        """Where its gate and its meter stand behind these events. The conflicts of `admit`."""
        gate, meter = self.gate, self.meter
        for seq, draft in enumerate(events, self.head + 1):
            data = draft.data
            if isinstance(data, SessionRewound) and not 0 < data.to < seq:
                raise IllegalEvent(f"there is no event {data.to} to rewind to", to=data.to, head=seq - 1)
            if isinstance(data, SessionLabelled) and data.target >= seq:
                raise IllegalEvent(f"there is no event {data.target} to label", target=data.target, head=seq - 1)
            if isinstance(data, SessionCompacted) and data.kept_from > seq:
                raise IllegalEvent(f"there is no event {data.kept_from} to keep messages from", kept_from=data.kept_from)
            phase = gate.phase
            gate = admit(gate, data, inbox_limit=_NO_LIMIT)
            # Of a log that was forked where it came from, only what the fork has spent counts, as there.
            forked = isinstance(data, SessionForked)
            meter = Meter() if forked else metered(meter, phase, gate.phase, data, draft.at_ms)
        return gate, meter

    def take(self, events: Sequence[Draft], gate: Gate, meter: Meter) -> None:
        for draft in events:
            self.size += len(draft.body)
            data = draft.data
            if isinstance(data, UserMessage) and not self.prompt:
                self.prompt = text_of(data.content)[:PROMPT_CHARACTERS]
            elif isinstance(data, SessionForked):
                self.name = data.name
            elif isinstance(data, SessionConfigured):
                self.name = self.name if data.name is None else data.name
                self.agent = self.agent if data.agent is None else (data.agent.name, data.agent.version)
        self.head += len(events)
        self.gate, self.meter, self.updated_ms = gate, meter, events[-1].at_ms


class LoadsPart(StorePart):
    """What `SqliteStore` does for imports."""

    async def load(self) -> LogLoading:
        """Begin to load logs; what others left that died meanwhile is removed first."""

        async def left(transaction: Unit) -> list[int]:
            self._owners.hold()  # until then others would take this process for dead
            return [key for key, owner in await transaction.all("loads") if self._owners.dead(owner)]

        for key in await self._writer.do(Call(left)):
            await self._writer.do(_removal(key))
        return LogLoading(self)


class LogLoading:
    """Implements `godwit.contracts.Loading`. For one task at a time."""

    def __init__(self, store: LoadsPart) -> None:
        self._writer = store._writer
        self._owner = store._owners.name
        self._clock = store._clock
        self._logs: dict[SessionId, _Log] = {}

    async def add(self, session: SessionId, events: Sequence[Draft]) -> Seq:
        """See `Loading.add`."""
        if not events:
            raise InvalidArgument("an append needs at least one event", session=session)

        log = self._logs.get(session)
        if log is None:
            if not isinstance(events[0].data, SessionCreated):
                raise IllegalEvent(f"a log begins with session.created, not {events[0].type}", session=session)
            log = _Log(0, events[0])
        gate, meter = log.checked(events)

        async def apply(transaction: Unit) -> int:
            if await transaction.find(session) is not None:
                raise SessionExists(f"session {session!r} exists already", session=session)
            key = log.key or int((await transaction.first("begin_load", (self._owner,)))[0])
            await transaction.put_events(key, log.head, list(events))
            return key

        log.key = await self._writer.do(Call(apply))
        log.take(events, gate, meter)
        self._logs[session] = log
        return log.head

    async def add_artifact(self, session: SessionId, content: bytes, media_type: str) -> ArtifactRef:
        """See `Loading.add_artifact`."""

        async def apply(transaction: Unit) -> ArtifactRef:
            log = self._logs.get(session)
            if log is None:
                raise SessionNotFound(f"no log of session {session!r} is being loaded here", session=session)
            return (await put_content(transaction, log.key, content, media_type, self._clock.now_ms()))[0]

        return await self._writer.do(Call(apply))

    async def commit(self) -> None:
        """See `Loading.commit`."""

        async def apply(transaction: Unit) -> None:
            for session, log in self._logs.items():
                if await transaction.find(session) is not None:
                    raise SessionExists(f"session {session!r} exists already", session=session)
                parent = _parent(log)
                if parent is not None and parent not in self._logs and await transaction.find(parent) is None:
                    raise SessionNotFound(f"there is no session {parent!r} to be the parent", session=parent)
            for session in self._parents_first():
                log = self._logs[session]
                row = transaction.create(session, log.begin, transaction.parent(log.begin), key=log.key)
                row.head, row.gate, row.meter, row.updated_ms = log.head, log.gate, log.meter, log.updated_ms
                row.name, row.agent, row.prompt, row.prompted = log.name, log.agent, log.prompt, bool(log.prompt)
                row.uncounted, row.changed = log.size, True
                await transaction.written_down()
                await transaction.do("end_load", (log.key,))
                transaction.feed_begin(row, log.begin)

        await self._writer.do(Call(apply))
        self._logs.clear()

    async def discard(self) -> None:
        """See `Loading.discard`."""
        while self._logs:
            _, log = self._logs.popitem()
            await self._writer.do(_removal(log.key))

    def _parents_first(self) -> list[SessionId]:
        ordered: dict[SessionId, None] = {}
        for session in self._logs:
            line = [session]
            while (above := _parent(self._logs[line[-1]])) in self._logs and above not in ordered and above not in line:
                assert above is not None
                line.append(above)
            ordered.update(dict.fromkeys(reversed(line)))
        return list(ordered)


def _parent(log: _Log) -> SessionId | None:
    assert isinstance(log.begin.data, SessionCreated)
    return log.begin.data.parent


def _removal(key: int) -> Call[None]:
    async def apply(transaction: Unit) -> None:
        await transaction.do("delete_artifacts", {"session": key})
        await transaction.do("delete_artifact_uses", (key,))
        await transaction.do("delete_events", {"session": key})
        await transaction.do("end_load", (key,))

    return Call(apply)


__all__ = ["LogLoading", "LoadsPart"]
