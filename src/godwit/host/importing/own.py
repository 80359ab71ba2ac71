"""Imports of godwit's own exports: events as they are (`godwit_log`), and what ends a log that was cut off."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator

import msgspec

from ...contracts import Loading
from ...core.agent import AgentRef
from ...core.errors import InvalidArgument, SessionExists, SessionNotFound
from ...core.events import Draft, EventData, SessionArchived, SessionConfigured, SessionImported
from ...core.facts import ImportReport
from ...core.ids import SessionId, derived_id
from .endings import given_back, next_ending
from .godwit_log import NAME, Artifact, LogReader, Outline, outline
from .lines import Lines, Source
from .shared import PAGE_BYTES, PAGE_EVENTS, Importing, Log, Progress, Wanted, discard, folder, named, report, skipped


class OwnImport(Importing):
    """Sees one through."""

    async def bring_own(self, source: Source, wanted: Wanted, progress: Progress | None) -> ImportReport:
        found = await asyncio.to_thread(outline, source)
        here = await self._same(found, wanted.labels.tenant)
        if here is not None:
            return here
        session = named(wanted, NAME, found.origin, found.digest)
        known = await self._known(session, source)
        if known is not None:
            return known
        names = {one: SessionId(derived_id("ses", session, one)) for one in found.sessions}
        names[found.origin] = session
        agent = await self._agent(wanted, found.model)
        lines = Lines(source)
        reader = LogReader(lines, found, names, agent, wanted.labels, folder(wanted, found.cwd))
        logs = {name: Log(name) for name in names.values()}
        held: dict[SessionId, Draft] = {}
        loading = await self._store.load()
        try:
            async for page, artifacts in _own_pages(iter(reader)):
                for name, drafts in page.items():
                    if isinstance(drafts[-1].data, SessionArchived):
                        held[name] = drafts.pop()  # nothing can follow it
                    if drafts:
                        await asyncio.to_thread(logs[name].check, drafts)
                        await loading.add(name, drafts)
                for one in artifacts:
                    await loading.add_artifact(one.session, one.content, one.media_type)
                if progress is not None:
                    progress(lines.read)
            lost = {**skipped(lines), **({} if found.ended else {"end of the export": 1})}
            imported = SessionImported(
                NAME,
                found.origin,
                found.digest,
                source.name,
                self._clock.now_ms(),
                dict(reader.counts),
                skipped=lost,
            )
            for name, log in logs.items():
                mark = imported if name == session else None
                ended = await self._end_own(loading, log, mark, wanted, held.get(name), agent, found.model)
                if mark is not None:
                    imported = msgspec.structs.replace(imported, adapted=ended)
            await loading.commit()
        except BaseException as error:
            await discard(loading)
            if isinstance(error, SessionExists) and (known := await self._known(session, source)) is not None:
                return known
            raise
        await self._snapshot(logs[session])
        children = tuple(name for name in names.values() if name != session)
        return report(session, source, imported, logs[session].state.seq, True, children)

    async def _end_own(
        self,
        loading: Loading,
        log: Log,
        imported: SessionImported | None,
        wanted: Wanted,
        held: Draft | None,
        agent: AgentRef,
        last: str | None,
    ) -> dict[str, int]:
        """End what is open, say where it came from, and store that; what was adapted."""
        if log.state.seq == 0:
            raise InvalidArgument(f"nothing but the end of session {log.session} is in the file")
        drafts: list[Draft] = []
        at_ms = log.state.updated_ms

        def emit(data: EventData) -> None:
            run = None if log.state.run is None else log.state.run.id
            drafts.append(Draft(data, at_ms=at_ms, run=run))
            log.check(drafts[-1:])

        ended = 0
        while (ending := next_ending(log.state)) is not None:
            emit(ending)
            ended += 1
        adapted = {"events that ended what was open": ended} if ended else {}
        back = given_back(log.state)
        if back is not None:
            emit(back)
        if imported is not None:
            model = await self._model(wanted, log.state.model or last, agent)
            model = None if model == log.state.model else model
            if model is not None or wanted.name is not None:
                emit(SessionConfigured(model, name=wanted.name))
            emit(msgspec.structs.replace(imported, adapted=adapted))
        if held is not None:
            log.check([held])
            drafts.append(held)
        if drafts:
            await loading.add(log.session, drafts)
        return adapted

    async def _same(self, found: Outline, tenant: str | None) -> ImportReport | None:
        """The very session that was exported, if it is in this store and has not gone on since."""
        try:
            row = await self._store.session(found.origin)
        except SessionNotFound:
            return None
        if row.head != found.own_head or row.labels.tenant != tenant:
            return None
        digest, seq = hashlib.sha256(), 0
        while seq < row.head and (page := await self._store.read(row.id, seq, limit=PAGE_EVENTS)):
            for event in page:
                digest.update(event.frame() + b"\n")
            seq = page[-1].seq
        if digest.hexdigest() != found.own_digest:
            return None
        return ImportReport(row.id, NAME, found.origin, "", False, row.head)


async def _own_pages(
    found: Iterator[tuple[SessionId, Draft] | Artifact],
) -> AsyncIterator[tuple[dict[SessionId, list[Draft]], list[Artifact]]]:
    """Events by session, each in order, and artifacts, as many as may be held at a time."""

    def read() -> tuple[dict[SessionId, list[Draft]], list[Artifact]]:
        page: dict[SessionId, list[Draft]] = {}
        artifacts: list[Artifact] = []
        size = 0
        for number, one in enumerate(found, 1):
            if isinstance(one, Artifact):
                artifacts.append(one)
                size += len(one.content)
            else:
                page.setdefault(one[0], []).append(one[1])
                size += len(one[1].body)
            if number >= PAGE_EVENTS or size >= PAGE_BYTES:
                break
        return page, artifacts

    while True:
        page, artifacts = await asyncio.to_thread(read)
        if not page and not artifacts:
            return
        yield page, artifacts
