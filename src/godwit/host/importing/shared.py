"""What every import does, of whatever format: its agent, its folder, its checks, and what it tells in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...contracts import Loading, ModelRegistry, Snapshot, Store
from ...core.agent import AgentRef, AgentSpec
from ...core.errors import Conflict, GodwitError, InvalidArgument, SessionNotFound
from ...core.events import Draft, Event, Labels, SessionCompacted, SessionImported, SessionLabelled, SessionRewound
from ...core.facts import ImportReport
from ...core.ids import AgentName, Clock, SessionId, derived_id
from ...core.narrowing import INHERIT
from ...core.state import SNAPSHOT_VERSION, State, encode_state, fold
from .lines import Lines, Source

PAGE_BYTES = 1 << 20
PAGE_EVENTS = 1000
PAGE_ENTRIES = 500

IMPORTED = AgentName("imported")
"""The agent of a session that was imported without one. It reads and changes nothing."""
READS = ("read", "ls", "glob", "grep")

Progress = Callable[[int], None]
"""Told how many bytes of the file were read, from time to time."""


@dataclass(frozen=True)
class Wanted:
    """What an import is to come to. `agent`: whose sessions they are; None: one that only reads. `folder`: where they work;
    None: where they did, if `here`. `model`: asked from now on."""

    agent: AgentRef | None = None
    folder: str | None = None
    here: bool = True
    labels: Labels = field(default_factory=Labels)
    name: str | None = None
    model: str | None = None


@dataclass
class Log:
    """One log on its way into the store."""

    session: SessionId
    state: State = field(default_factory=State)

    def check(self, drafts: Iterable[Draft]) -> None:
        """Fold them. InvalidArgument for one that cannot have happened."""
        for draft in drafts:
            seq = self.state.seq + 1
            _check_place(draft, seq)
            event = Event(self.session, seq, draft.at_ms, draft.run, draft.type, draft.body, draft.data)
            try:
                self.state = fold(self.state, event)
            except (GodwitError, AssertionError) as error:
                why = error.message if isinstance(error, GodwitError) else "it belongs to nothing that is open"
                raise InvalidArgument(f"event {seq} ({draft.type}) cannot have happened: {why}", seq=seq) from None


def _check_place(draft: Draft, seq: int) -> None:
    """What a store asks of an event and a fold does not."""
    data, why = draft.data, None
    if isinstance(data, SessionRewound) and not 0 < data.to < seq:
        why = f"there is no event {data.to} before it"
    elif isinstance(data, SessionLabelled) and data.target >= seq:
        why = f"there is no event {data.target} before it"
    elif isinstance(data, SessionCompacted) and data.kept_from > seq:
        why = f"there is no event {data.kept_from} to keep messages from"
    if why is not None:
        raise InvalidArgument(f"event {seq} ({draft.type}) cannot have happened: {why}", seq=seq)


class Importing:
    """An import into a store. `models`: where it is looked up whether a session's model can be asked here."""

    def __init__(self, store: Store, models: ModelRegistry, clock: Clock) -> None:
        self._store = store
        self._models = models
        self._clock = clock

    async def _known(self, session: SessionId, source: Source) -> ImportReport | None:
        """What an earlier import of the same came to."""
        try:
            events = await self._store.read(session, types=("session.imported",), newest_first=True, limit=1)
            row = await self._store.session(session)
        except SessionNotFound:
            return None
        if not events or not isinstance(imported := events[0].data, SessionImported):
            raise Conflict(f"session {session!r} is there and was not imported", session=session)
        children = tuple(await self._store.descendants(session))
        return report(session, source, imported, row.head, False, children)

    async def _agent(self, wanted: Wanted, model: str | None) -> AgentRef:
        if wanted.agent is not None:
            return wanted.agent
        asked = wanted.model or model or INHERIT
        spec = AgentSpec(
            IMPORTED, (asked,), description="Goes on with an imported session; reads, changes nothing.", tools=READS
        )
        return await self._store.put_agent(spec)

    async def _model(self, wanted: Wanted, last: str | None, agent: AgentRef) -> str | None:
        """What the next run asks: the model that answered last, or the agent's where that one cannot be asked here."""
        if wanted.model is not None or last is None:
            return wanted.model
        if wanted.agent is None or self._askable(last):
            return last
        first = (await self._store.get_agent(agent.name, agent.version))[1].models[0]
        return last if first == INHERIT else first

    def _askable(self, model: str) -> bool:
        try:
            self._models.resolve(model)
        except GodwitError:
            return False
        return True

    async def _snapshot(self, log: Log) -> None:
        """So that opening a long one need not fold it again."""
        snapshot = Snapshot(log.state.seq, SNAPSHOT_VERSION, encode_state(log.state))
        await self._store.put_snapshot(log.session, snapshot)


def named(wanted: Wanted, format_: str, origin: str, digest: str) -> SessionId:
    return SessionId(derived_id("ses", wanted.labels.tenant or "", format_, origin, digest))


def folder(wanted: Wanted, cwd: str | None) -> str | None:
    """The folder asked for, or the one it worked in, if that is here and the import may say so. A file may name any folder,
    so one that holds the person's home is none: agents would write in all of it."""
    if wanted.folder is not None or not wanted.here or cwd is None:
        return wanted.folder
    try:
        place, home = Path(cwd).resolve(), Path.home().resolve()
        return cwd if Path(cwd).is_absolute() and place.is_dir() and not home.is_relative_to(place) else None
    except (OSError, ValueError, RuntimeError):
        return None


def skipped(lines: Lines) -> dict[str, int]:
    found = Counter({"lines that are no JSON object": lines.junk, "last line torn": lines.torn})
    return {what: number for what, number in found.items() if number}


def report(
    session: SessionId,
    source: Source,
    imported: SessionImported,
    head: int,
    new: bool,
    children: tuple[SessionId, ...],
) -> ImportReport:
    return ImportReport(
        session,
        imported.format,
        imported.origin,
        source.name,
        new,
        head,
        imported.counts,
        imported.kept,
        imported.adapted,
        imported.skipped,
        children,
    )


def pages(drafts: list[Draft]) -> Iterator[list[Draft]]:
    page: list[Draft] = []
    size = 0
    for draft in drafts:
        page.append(draft)
        size += len(draft.body)
        if len(page) >= PAGE_EVENTS or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


async def discard(loading: Loading) -> None:
    """Also when the import was cancelled: what is left would take room until the process ends."""
    await asyncio.shield(asyncio.ensure_future(loading.discard()))
