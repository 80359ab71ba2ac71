"""RemoteReading: the part of a remote handle that tells how the session stands, and what was done."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..core.errors import RunNotFound
from ..core.events import Delta, Event
from ..core.facts import ExportFormat, SlashCommand, TraceEvent
from ..core.gate import Status
from ..core.ids import RunId, Seq
from ..core.messages import Message
from ..core.record import ActiveTool, RunPage, RunSnapshot
from ..core.state import State
from ..core.tool_search import DeferredTool
from .connection import segment
from .following import Feed, RemoteEvents, RemoteTree, watch
from .handle import RemoteHandle
from .shapes import EventsListed, Listed, PageOfRun, RunsListed

PAGE = 1000


class RemoteReading(RemoteHandle):
    """Facts of one session; all can be asked of a handle that was closed. See `engine.reading.Reading`."""

    async def status(self) -> Status:
        return (await self._row()).status

    async def state(self) -> State:
        """The fold of the log as it stands."""
        return await self._get("/state", State)

    async def is_running(self) -> bool:
        """True while a run is open, parked ones included."""
        return (await self._row()).run is not None

    async def history(self) -> tuple[Message, ...]:
        """The session's own messages as they stand now."""
        return tuple((await self._get("/history", Listed[Message])).data)

    async def export(self, format: ExportFormat = "html", *, children: bool = True) -> bytes:  # noqa: A002
        """The session as it stands now, see `engine.session.Session.export`."""
        return await self._get("/export", bytes, format=format, children=children)

    async def events(self, from_seq: Seq = 0) -> list[Event]:
        """The stored events with a greater seq."""
        found: list[Event] = []
        while True:
            page = await self._get("/events", EventsListed, from_seq=from_seq, limit=PAGE)
            found += self._labelled(page.data)
            if len(page.data) < PAGE:
                return found
            from_seq = found[-1].seq

    def follow(self, from_seq: Seq = 0) -> RemoteEvents:
        """Stored events with a greater seq and then each new one, without gap or repeat. Never ends by itself."""
        return self._follow(from_seq)

    def follow_tree(self, cursor: str | None = None) -> RemoteTree:
        """The events of the session and of all that works for it by tasks, and then each new one, as one stream without gap
        or repeat; `Event.session` says whose one is. Never ends by itself; `aclose` it.

        `cursor`: where an earlier reader stood; from the beginning without one.
        """
        tree = RemoteTree(self._connection, self.id, cursor or "", self.labels)
        self._followers.add(tree)
        return tree

    async def watch(self, from_seq: Seq | None = None) -> AsyncIterator[Event | Delta]:
        """`follow` with the deltas between the events; from now on unless `from_seq` is given."""
        if from_seq is None:
            from_seq = (await self._row()).head
        async for item in watch(Feed(self._connection, self.id, from_seq, deltas=True), self.labels):
            yield item

    def event_rx(self, from_seq: Seq | None = None) -> RemoteEvents:
        """A receiver of its own, to wait on beside other things; from this handle's opening unless told (seed 002)."""
        return self._follow(self._opened_at if from_seq is None else from_seq)

    async def recv_event(self) -> Event | None:
        """The next event this handle has not returned yet, from its opening on; None when the session rests and all are
        taken (seed 002)."""
        if self._receiver is None:
            self._receiver = self._follow(self._opened_at)
        return await self._receiver.recv()

    async def runs(self, *, limit: int | None = None) -> list[RunSnapshot]:
        """The session's runs, oldest first; with `limit` the newest so many."""
        return (await self._get("/runs", RunsListed, limit=limit)).data

    async def run_count(self) -> int:
        """How many runs there have been, whatever the limits are."""
        return (await self._get("/runs", RunsListed, limit=0)).count

    async def run_snapshot(self, run: RunId | str) -> RunSnapshot | None:
        """None when the session has no such run, or limits leave it out."""
        try:
            return await self._get(f"/runs/{segment(run)}", RunSnapshot)
        except RunNotFound:
            return None

    async def run_events(self, run: RunId | str) -> list[Event]:
        """The run's events from its prompt to its end; [] when the session has no such run, or limits leave it out."""
        found: list[Event] = []
        after = 0
        while True:
            try:
                page = await self.run_page(run, after, limit=PAGE)
            except RunNotFound:
                return found
            found += page.events
            if not page.has_more:
                return found
            after = page.next_after

    async def run_start(self, run: RunId | str) -> Seq:
        """The seq behind which the run's events begin, for `follow`. RunNotFound."""
        page = await self.run_page(run, limit=1)
        return (page.first_available_seq or page.latest_seq + 1) - 1

    async def run_page(self, run: RunId | str, after: Seq = 0, *, limit: int = 100) -> RunPage:
        """The run's next events behind the seq `after`, at most `limit` of them (1 to 1000), and where to go on."""
        page = await self._get(f"/runs/{segment(run)}/events", PageOfRun, after=after, limit=limit)
        told = {name: getattr(page, name) for name in RunPage.__struct_fields__}
        return RunPage(**{**told, "events": tuple(self._labelled(page.events))})

    async def active_tools(self) -> list[ActiveTool]:
        """Calls under way in the open run."""
        return (await self._get("/active_tools", Listed[ActiveTool])).data

    async def deferred_tools(self) -> list[DeferredTool]:
        """The tools that the model has to look for with `tool_search`, and which of them it has found."""
        return (await self._get("/deferred_tools", Listed[DeferredTool])).data

    async def trace_events(self, *, limit: int | None = None) -> list[TraceEvent]:
        """What was done, step by step: names, sizes and times, never a value; with `limit` the last steps."""
        return (await self._get("/trace", Listed[TraceEvent], limit=limit)).data

    async def slash_commands(self) -> list[SlashCommand]:
        """The session's slash commands by name, those of files as they are now."""
        return (await self._get("/commands", Listed[SlashCommand])).data
