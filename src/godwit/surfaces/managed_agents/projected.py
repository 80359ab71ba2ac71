"""Projected events: what a projection puts out, each at its place, with its id and its time; and the status shown so far.

Rule: places grow. What is known late is put behind the place it belongs to (`Sink.behind`), before anything behind that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from ...core.events import Event
from ...core.ids import InputId, Seq, SessionId
from .event_ids import event_id, thread_id
from .query import moment

Place = tuple[Seq, int]
"""Where an event stands: behind our event of this seq, as the how-manieth from 0."""
Announced = Literal["idle", "running", "rescheduling", "terminated"]
Body = dict[str, Any]


class Projected(NamedTuple):
    """One of their events. `waiting`: it is a message that was not delivered then; `quiet`: it is not shown on a stream,
    since what it starts shows it at once; `last`: nothing follows in this session."""

    place: Place
    body: Body
    waiting: InputId | None = None
    quiet: bool = False
    last: bool = False


class Sink:
    """Where the events of one session are put out. `agent`: what people call its agent."""

    def __init__(self, session: SessionId, agent: str, announced: Announced) -> None:
        self.session = session
        self.seq: Seq = Seq(0)
        self.at_ms = 0
        self._announced = announced
        self._thread: Body = {"agent_name": agent, "session_thread_id": thread_id(session)}
        self._next = 0
        self._index = 0
        self._out: list[Projected] = []

    def begin(self, event: Event) -> None:
        """What is put out from here on comes from this event."""
        self.seq, self._next, self._index, self.at_ms = event.seq, 0, 0, event.at_ms

    @property
    def place(self) -> Place:
        """Of what comes next."""
        return self.seq, self._next

    @contextmanager
    def behind(self, place: Place, at_ms: int) -> Iterator[None]:
        """Put out there, as of then, what was not known before."""
        now = self.seq, self._next, self.at_ms
        (self.seq, self._next), self.at_ms = place, at_ms
        yield
        if now[0] != self.seq:
            self.seq, self._next, self.at_ms = now

    def taken(self) -> list[Projected]:
        """What was put out since this was asked last."""
        out, self._out = self._out, []
        return out

    def new_id(self) -> str:
        """The id of one more event that comes from ours."""
        id_ = event_id(self.session, self.seq, self._index)
        self._index += 1
        return id_

    def show(
        self,
        type: str,  # noqa: A002 - the field's name
        fields: Body,
        *,
        id: str | None = None,  # noqa: A002 - as above
        at_ms: int | None = None,
        waiting: InputId | None = None,
        quiet: bool = False,
        last: bool = False,
    ) -> str:
        """Put out one of their events, the next one of the present place; returns its id. `at_ms`: by default now."""
        if id is None:
            id = self.new_id()  # noqa: A001
        at = self.at_ms if at_ms is None else at_ms
        body = {"id": id, "type": type, "processed_at": moment(at), **fields}
        self._out.append(Projected(self.place, body, waiting, quiet, last))
        self._next += 1
        return id

    # --- status -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The session is shown as running from here on."""
        if self._announced != "running":
            self._announced = "running"
            self.show("session.status_running", {})
            self.show("session.thread_status_running", self._thread)

    def reschedule(self) -> None:
        if self._announced == "running":
            self._announced = "rescheduling"
            self.show("session.thread_status_rescheduled", self._thread)
            self.show("session.status_rescheduled", {})

    def idle(self, reason: Body, details: Body | None = None) -> None:
        self._announced = "idle"
        why: Body = {"stop_reason": reason}
        if details is not None:
            why["stop_details"] = details
        self.show("session.thread_status_idle", {**self._thread, **why})
        self.show("session.status_idle", why)

    def terminate(self) -> None:
        self._announced = "terminated"
        self.show("session.thread_status_terminated", self._thread)
        self.show("session.status_terminated", {}, last=True)
