"""`godwit log --tree`: the events of a session and of all that works for it, each with the agents that lead there.

Leaves out the order in which they come while one follows (`follow_tree`). Rule: without `--follow` it ends with what is
there as it begins, whatever is written meanwhile.
"""

from __future__ import annotations

import heapq
import sys
from typing import TYPE_CHECKING

import msgspec

from ..core.agent import base_of
from ..core.errors import SessionNotFound
from ..core.events import Event, SubagentStarted
from ..core.ids import SessionId
from . import cli_tasks
from .cli_exit import DONE, CliError
from .cli_list import Lines, say_cut_off
from .cli_place import find
from .cli_view import write_json

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from .cli_place import Host, Where

Path = tuple[str, ...]


async def log(place: Where, typed: str, *, follow: bool, whole: bool, as_json: bool) -> int:
    """The stored events of all of them in the order of time, and with `follow` those to come. `whole`: nothing else was
    asked for."""
    if not whole:
        raise CliError("--tree shows whole logs of stored events: leave --from and --deltas out")
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        paths = _Paths(runtime, handle.id)
        lines = Lines()

        async def show(event: Event) -> None:
            path = await paths.of(event)
            if as_json:
                write_json({"path": path, **msgspec.json.decode(event.frame())})
            else:
                lines.show(event, " > ".join(path))

        if follow:
            async for event in handle.follow_tree():
                await show(event)
                sys.stdout.flush()
        for event in await _there(runtime, handle):
            await show(event)
        if not as_json:
            say_cut_off(place, row)
    return DONE


async def _there(runtime: Host, handle: SessionHandle) -> list[Event]:
    logs = [await handle.events()]
    for session in dict.fromkeys(record.session for record, _ in await cli_tasks.below(runtime, handle)):
        try:
            logs.append(await (await runtime.open_session(session, drive=False)).events())
        except SessionNotFound:
            continue  # it has not begun, or runs elsewhere
    # Of two at the same time the parent's comes first, which is what made the child's.
    return list(heapq.merge(*logs, key=lambda event: event.at_ms))


class _Paths:
    """Which agents lead to a session: nothing for the first one."""

    def __init__(self, runtime: Host, first: SessionId) -> None:
        self._runtime = runtime
        self._known: dict[SessionId, Path] = {first: ()}

    async def of(self, event: Event) -> Path:
        """That of the event's session. Those below it are learned from the event."""
        path = await self._of(event.session)
        if isinstance(event.data, SubagentStarted):
            self._known.setdefault(event.data.child, (*path, event.data.agent))
        return path

    async def _of(self, session: SessionId) -> Path:
        found = self._known.get(session)
        if found is None:
            row = await self._runtime.row(session)
            above = () if row.parent is None else await self._of(row.parent)
            found = self._known[session] = (*above, base_of(row.agent).name)
        return found
