"""What is looked at and not changed: the sessions, a session's log, its queue."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import msgspec

from ..core.errors import InputNotFound
from ..core.events import Delta, Event, RunOutcome
from .cli_exit import DONE, CliError
from .cli_place import Shelf, Where, find
from .cli_view import log_line, write_json
from .cli_words import age, one_line

if TYPE_CHECKING:
    from ..contracts import SessionHandle, SessionRow
    from ..core.ids import SessionId

SHOWN = 20


async def sessions(place: Where, *, everything: bool, children: bool = False, as_json: bool) -> int:
    """The newest sessions that work for no other, or all of them; with `children` each with those below it."""
    missing = place.missing()
    if missing is not None:
        if not as_json:
            print(f'no sessions yet ({missing}); start one: godwit run "..."')
        return DONE
    async with place.shelf() as shelf:
        rows = await shelf.rows(limit=None if everything else SHOWN + 1)
        more = not everything and len(rows) > SHOWN
        rows = rows if everything else rows[:SHOWN]
        depths = {row.id: 0 for row in rows}
        if children:
            rows = [below for row in rows for below in await _tree(shelf, row, depths)]
        outcomes = {row.id: await last_outcome(shelf, row) for row in rows}
    if as_json:
        for row in rows:
            write_json({**msgspec.structs.asdict(row), "cut_off": cut_off(row), "last_outcome": outcomes[row.id]})
        return DONE
    if not rows:
        print('no sessions yet; start one: godwit run "..."')
        return DONE
    _table(rows, outcomes, depths)
    if more:
        print("older ones: godwit ls --all", file=sys.stderr)
    return DONE


async def _tree(shelf: Shelf, row: SessionRow, depths: dict[SessionId, int]) -> list[SessionRow]:
    """The session and those that work for it, each before its own, the oldest first; `depths` gets how deep they lie."""
    found = [row]
    below = await shelf.rows(limit=None, parent=row.id)
    for child in sorted(below, key=lambda child: (child.created_ms, child.id)):
        depths[child.id] = depths[row.id] + 1
        found += await _tree(shelf, child, depths)
    return found


def cut_off(row: SessionRow) -> bool:
    """Whether a run is open that should go on, and no living process drives it."""
    return row.run is not None and row.owner is None and row.status in ("queued", "running", "retrying")


async def last_outcome(shelf: Shelf, row: SessionRow) -> RunOutcome | None:
    """How the last run ended, of a session without an open one."""
    return None if row.run is not None or row.status == "queued" else await shelf.outcome(row)


def status_text(row: SessionRow, outcome: RunOutcome | None = None) -> str:
    """The status for a person: who looks for what needs care finds it there."""
    if cut_off(row):
        return "cut off"
    # No host has opened it yet; nothing waits in it, as "queued" would have a person think.
    status = "new" if row.status == "queued" and row.run is None else row.status
    if row.owner is not None:
        return f"{status}*"
    return f"{status}, {outcome}" if outcome not in (None, "done") else status


def say_cut_off(place: Where, row: SessionRow) -> None:
    """A word on stderr when nobody drives what is open."""
    if cut_off(row):
        print(f"cut off: no process drives its run; it goes on with: {place.command('resume', row.id)}", file=sys.stderr)


def _table(rows: list[SessionRow], outcomes: Mapping[SessionId, RunOutcome | None], depths: Mapping[SessionId, int]) -> None:
    """Columns as wide as they need; on a terminal the last one ends where the window does."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    cells = [("ID", "STATUS", "AGE", "EVENTS", "WHAT")]
    for row in rows:
        what = row.name or row.first_prompt or "(no prompt yet)"
        waits = "".join(f" [{n} {word}]" for n, word in ((row.actions, "to answer"), (row.queued, "queued")) if n)
        cells.append(
            (
                "  " * depths[row.id] + row.id,
                status_text(row, outcomes[row.id]),
                age(row.updated_ms),
                str(row.head),
                one_line(what, 80) + waits,
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    for line in cells:
        text = "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=False)) + "  " + line[4]
        print((text[: width - 1] + "…" if width and len(text) > width else text).rstrip())
    if any(row.owner is not None for row in rows):
        print("* driven by a process now", file=sys.stderr)
    if any(cut_off(row) for row in rows):
        print("cut off: no process drives it; godwit resume ID goes on with it", file=sys.stderr)


async def log(place: Where, typed: str, *, follow: bool, from_seq: int, deltas: bool, as_json: bool) -> int:
    """The stored events, and with `follow` those to come."""
    if deltas and not follow:
        raise CliError("--deltas shows what is on its way, so it needs --follow")
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        show = _json if as_json else Lines().show
        if not follow:
            if from_seq < row.head:
                async for event in handle.follow(from_seq):
                    show(event)
                    if event.seq >= row.head:
                        break
            if not as_json:
                say_cut_off(place, row)
            return DONE
        if not deltas:
            async for event in handle.follow(from_seq):
                show(event)
                sys.stdout.flush()
        async with aclosing(cast("AsyncGenerator[Event | Delta]", handle.watch(from_seq))) as items:
            async for item in items:
                show(item)
                sys.stdout.flush()
    return DONE


def _json(item: Event | Delta) -> None:
    write_json(item.frame() if isinstance(item, Event) else msgspec.json.encode(item))


class Lines:
    """Events as lines for people, in colour on a terminal."""

    def __init__(self) -> None:
        self._console = None
        if sys.stdout.isatty():
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def show(self, item: Event | Delta, whose: str = "") -> None:
        """`whose`: whose it is, where it is one of several sessions'."""
        if isinstance(item, Delta):
            text, style = f"{'~':>5} {item.kind} {item.id} +{item.offset}: {one_line(item.text)}", "dim"
        else:
            text, style = log_line(item, whose)
        if self._console is None:
            print(text)
        else:
            self._console.print(text, style=style or None)


async def queue(handle: SessionHandle, *, everything: bool, as_json: bool) -> int:
    entries = await handle.queue.list(all=everything)
    for entry in entries:
        if as_json:
            fields = ("id", "delivery", "status", "text", "seq", "at_ms")
            write_json({"session": handle.id, **{name: getattr(entry, name) for name in fields}})
        else:
            status = f" {entry.status}" if everything else ""
            print(
                f"{entry.id}  {entry.delivery.replace('_', '-'):<9}{status}  {age(entry.at_ms):>6}  {one_line(entry.text)}"
            )
    if not entries and not as_json:
        print("nothing waits in the queue")
    return DONE


async def input_of(handle: SessionHandle, typed: str) -> str:
    """The waiting input whose id is or alone begins with this. InputNotFound."""
    found = [entry.id for entry in await handle.queue.list() if entry.id.startswith(typed)]
    if len(found) != 1:
        which = "no waiting input's id begins" if not found else f"{len(found)} waiting inputs' ids begin"
        raise InputNotFound(f"{which} with {typed!r}", input=typed)
    return found[0]
