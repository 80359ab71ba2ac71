"""A bounded line of frames from who sends events to the one connection that reads them, within one event loop.

The sender encodes. What cannot be encoded becomes a RUN_ERROR and ends the line, since what follows it would make no sense
to a front end; its own sender is told. When the reader is gone, or the sender has closed, nothing more is taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from ...core.errors import ChannelClosed, ChannelFull, InvalidArgument
from .events import EVENT_TYPES, AnyEvent, Event, RunError, encode
from .profiles import Profile, adapt

Frame = bytes
NOT_SENT = "serialization"
"""Code of the RUN_ERROR in place of an event that cannot be written as JSON."""


class Line:
    """The line itself: what both ends share."""

    def __init__(self, buffer: int) -> None:
        if buffer < 1:
            raise InvalidArgument(f"a buffer of {buffer} events holds none: give 1 or more")
        self._buffer = buffer
        self._frames: deque[Frame] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self.ended = False
        self.abandoned = False
        self.over = asyncio.Event()
        """The reader is gone, or has read all there was."""

    @property
    def full(self) -> bool:
        return len(self._frames) >= self._buffer

    def put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._filled.set()

    def end(self) -> None:
        """The sender sends no more; the reader gets what is left."""
        self.ended = True
        self._filled.set()
        self._emptied.set()

    def abandon(self) -> None:
        """The reader is gone."""
        self.abandoned = True
        self.over.set()
        self._frames.clear()
        self._filled.set()
        self._emptied.set()

    async def room(self) -> None:
        """Waits until it is not full, or until nothing may be sent any more."""
        while self.full and not self.ended and not self.abandoned:
            self._emptied.clear()
            await self._emptied.wait()

    async def take(self) -> Frame | None:
        """The next frame, or None at the end. Cancelling it loses none."""
        while not self._frames:
            if self.ended or self.abandoned:
                return None
            self._filled.clear()
            await self._filled.wait()
        frame = self._frames.popleft()
        self._emptied.set()
        return frame


class Sender:
    """The end that events are given to; a producer for a session. `close()` it when there is no more to say."""

    def __init__(self, line: Line, profile: Profile, write: Callable[[Event, bytes], Frame]) -> None:
        self._line = line
        self._profile: Profile = profile
        self._write = write

    @property
    def is_closed(self) -> bool:
        """Nothing can be sent any more: the reader is gone, or this was closed."""
        return self._line.ended or self._line.abandoned

    @property
    def is_connected(self) -> bool:
        return not self.is_closed

    async def send(self, event: Event) -> None:
        """Sends an event, and waits for room. ChannelClosed; InvalidArgument for what is no JSON."""
        for frame in self._frames(event):
            await self._line.room()
            self._check_open()
            self._line.put(frame)

    async def send_many(self, events: Sequence[Event]) -> None:
        """Sends events in order, up to the first that cannot be sent."""
        for event in events:
            await self.send(event)

    def try_send(self, event: Event) -> None:
        """Sends an event at once or not at all. ChannelFull, ChannelClosed."""
        self._check_open()
        if self._line.full:
            raise ChannelFull()
        for frame in self._frames(event):
            self._line.put(frame)

    async def emit(self, event: Event) -> None:
        await self.send(event)

    async def emit_many(self, events: Sequence[Event]) -> None:
        await self.send_many(events)

    def close(self) -> None:
        """Sends no more. The reader gets what is left, and then its end."""
        self._line.end()

    async def wait_gone(self) -> None:
        """Waits until the reader is gone: it left, or it has read all until the end."""
        await self._line.over.wait()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ChannelClosed()

    def _frames(self, event: Event) -> list[Frame]:
        self._check_open()
        # what a session has adapted already is of a type that only older peers know
        ours = EVENT_TYPES.get(event.type) is type(event)
        try:
            events = adapt(cast("AnyEvent", event), self._profile) if ours else [event]
            return [self._write(one, encode(one)) for one in events]
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            failed = RunError(message=f"An event of type {event.type} could not be written as JSON.", code=NOT_SENT)
            self._line.put(self._write(failed, encode(failed)))
            self._line.end()
            raise InvalidArgument(f"{event.type} cannot be written as JSON: {error}") from error
