"""Imports of other tools' session files: a log is built of each conversation in them (`builder`)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ...contracts import Loading
from ...core.agent import AgentRef
from ...core.errors import SessionExists
from ...core.events import SessionCreated, SessionImported
from ...core.facts import ImportReport
from ...core.ids import SessionId, derived_id
from ...core.messages import ToolCall
from .builder import LogBuilder
from .entries import Companion, Entry, Format, Returned, Sketch
from .lines import Lines, Source
from .shared import PAGE_BYTES, Importing, Log, Progress, Wanted, discard, folder, named, pages, report, skipped
from .turns import Child

PAGE_ENTRIES = 500


@dataclass
class _Building:
    log: Log
    builder: LogBuilder
    agent: str = ""
    call: str | None = None


class _Made:
    """What is being made of one file and those that belong to it: a log for each conversation."""

    def __init__(
        self, format_: Format, sketch: Sketch, session: SessionId, agent: AgentRef, folder: str | None, wanted: Wanted
    ) -> None:
        self.format = format_
        self.lanes: dict[str, _Building] = {}
        self._sketch = sketch
        self._session = session
        self._agent = agent
        self._folder = folder
        self._wanted = wanted
        self._taken: set[str] = set()
        self._prompts = {prompt: lane for lane, prompt in sketch.lanes.items() if prompt}

    def begin(self, lane: str | None, sketch: Sketch, companion: Companion | None = None) -> _Building:
        """A new log: of the main conversation, or of one beside it."""
        session = self._session if lane is None else SessionId(derived_id("ses", self._session, lane))
        parent = None if lane is None else self._session
        created = SessionCreated(
            self._agent, self._folder, labels=self._wanted.labels, parent=parent, root=parent, depth=0 if lane is None else 1
        )
        builder = LogBuilder(
            session,
            created,
            sketch.began_ms or self._sketch.began_ms or 0,
            needed=sketch.needed,
            loose=self.format.loose,
            find_child=self._find if lane is None else None,
        )
        built = _Building(Log(session), builder)
        if companion is not None:
            built.agent, built.call = companion.agent, companion.call
        if lane is not None:
            self.lanes[lane] = built
        return built

    def take_page(self, entries: Iterator[Entry], main: _Building) -> bool:
        """Read on until there is a page to be stored; False at the end of the file."""
        for number, entry in enumerate(entries, 1):
            built = main
            if entry.lane is not None:
                known = self.lanes.get(entry.lane)
                built = known if known is not None else self.begin(entry.lane, self._sketch)
            built.builder.take(entry)
            if number >= PAGE_ENTRIES or built.builder.pending_bytes >= PAGE_BYTES:
                return True
        return False

    def children(self) -> tuple[SessionId, ...]:
        return tuple(one.log.session for one in self.lanes.values())

    def _find(self, call: ToolCall, result: Returned) -> Child | None:
        """The conversation that did this call."""
        lane = result.agent if result.agent in self.lanes else None
        if lane is None:
            lane = next((name for name, one in self.lanes.items() if one.call == call.id), None)
        if lane is None and isinstance(prompt := call.arguments.get("prompt"), str):
            lane = self._prompts.get(prompt[:65_536])
        built = self.lanes.get(lane or "")
        if lane is None or built is None or lane in self._taken:
            return None
        self._taken.add(lane)
        built.builder.end()
        told = call.arguments.get("subagent_type")
        agent = built.agent or (told if isinstance(told, str) else "") or "subagent"
        return Child(built.log.session, agent, built.builder.seq, built.builder.usage, built.builder.turns)


class ForeignImport(Importing):
    """Sees one through."""

    async def bring_foreign(
        self, source: Source, format_: Format, wanted: Wanted, progress: Progress | None
    ) -> ImportReport:
        sketch = await asyncio.to_thread(format_.sketch, source)
        companions = await asyncio.to_thread(format_.companions, source, sketch)
        sketches = [await asyncio.to_thread(format_.sketch, one.source) for one in companions]
        digest = hashlib.sha256("".join([sketch.digest, *(one.digest for one in sketches)]).encode()).hexdigest()
        session = named(wanted, format_.name, sketch.origin, digest)
        known = await self._known(session, source)
        if known is not None:
            return known
        agent = await self._agent(wanted, sketch.model)
        made = _Made(format_, sketch, session, agent, folder(wanted, sketch.cwd), wanted)
        loading = await self._store.load()
        try:
            for companion, beside in zip(companions, sketches, strict=True):
                await self._companion(loading, made, companion, beside, progress)
            lines = Lines(source)
            main = await self._read(loading, made, made.begin(None, sketch), lines, sketch, progress)
            for lane in made.lanes.values():
                await self._finish(loading, lane)
            imported = SessionImported(
                format_.name,
                sketch.origin,
                digest,
                source.name,
                self._clock.now_ms(),
                dict(main.builder.counts),
                dict(main.builder.kept),
                dict(main.builder.adapted),
                skipped(lines),
            )
            children = made.children()
            if wanted.name is not None:
                main.builder.name_it(wanted.name)
            model = await self._model(wanted, main.builder.model, agent)
            if model is not None:
                main.builder.settle_model(model)
            main.builder.emit(imported)
            await self._store_page(loading, main)
            await loading.commit()
        except BaseException as error:
            await discard(loading)
            if isinstance(error, SessionExists) and (known := await self._known(session, source)) is not None:
                return known
            raise
        await self._snapshot(main.log)
        return report(session, source, imported, main.log.state.seq, True, children)

    async def _companion(
        self, loading: Loading, made: _Made, companion: Companion, sketch: Sketch, progress: Progress | None
    ) -> None:
        built = made.begin(companion.id, sketch, companion)
        await self._read(loading, made, built, Lines(companion.source), sketch, progress)
        await self._finish(loading, built)

    async def _read(
        self, loading: Loading, made: _Made, main: _Building, lines: Lines, sketch: Sketch, progress: Progress | None
    ) -> _Building:
        entries = made.format.entries(lines, sketch)
        more = True
        while more:
            more = await asyncio.to_thread(made.take_page, entries, main)
            for built in [main, *made.lanes.values()]:
                if built.builder.drafts:
                    await self._store_page(loading, built)
            if progress is not None:
                progress(lines.read)
        main.builder.end()
        await self._store_page(loading, main)
        return main

    async def _finish(self, loading: Loading, built: _Building) -> None:
        built.builder.end()
        await self._store_page(loading, built)

    async def _store_page(self, loading: Loading, built: _Building) -> None:
        drafts, built.builder.drafts, built.builder.pending_bytes = built.builder.drafts, [], 0
        for page in pages(drafts):
            await asyncio.to_thread(built.log.check, page)
            await loading.add(built.log.session, page)
