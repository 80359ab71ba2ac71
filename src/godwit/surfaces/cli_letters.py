"""`godwit dead-letters`: calls whose last try outside failed, of all sessions or of one; shown, put back, dropped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from ..core.errors import NotFound
from .cli_exit import DONE
from .cli_place import Where, find
from .cli_view import write_json
from .cli_words import age, clean, counted_as, one_line

if TYPE_CHECKING:
    from ..core.lanes import DeadLetter
    from .cli_place import Host


async def listed(place: Where, session: str | None, *, as_json: bool) -> int:
    """A line for each."""
    async with place.reach() as runtime:
        letters = await _letters(runtime, session)
        for letter in letters:
            if as_json:
                write_json(msgspec.to_builtins(letter))
            else:
                print(_line(letter))
        if not letters and not as_json:
            print("no call that was to be done outside has failed for good")
        return DONE


async def shown(place: Where, typed: str, session: str | None, *, as_json: bool) -> int:
    """One, with what was to be done."""
    async with place.reach() as runtime:
        letter = await _one(runtime, typed, session)
        if as_json:
            write_json(msgspec.to_builtins(letter))
            return DONE
        print(_line(letter), file=sys.stderr)
        print(f"  session {letter.session}", file=sys.stderr)
        print(clean(msgspec.json.format(msgspec.json.encode(letter.payload)).decode()))
        return DONE


async def put_back(place: Where, typed: str, session: str | None) -> int:
    """Hand it out again."""
    async with place.reach() as runtime:
        letter = await _one(runtime, typed, session)
        handle = await runtime.open_session(letter.session, drive=False)
        if not await handle.requeue_dead_letter(letter.id):
            raise _gone(letter.id)
        print(f"{letter.id} waits for a worker of lane {letter.lane}; its result comes to {letter.session} as a follow-up")
        return DONE


async def dropped(place: Where, typed: str, session: str | None) -> int:
    """Remove it."""
    async with place.reach() as runtime:
        letter = await _one(runtime, typed, session)
        handle = await runtime.open_session(letter.session, drive=False)
        if not await handle.drop_dead_letter(letter.id):
            raise _gone(letter.id)
        print(f"{letter.id} is removed")
        return DONE


async def _letters(runtime: Host, session: str | None) -> list[DeadLetter]:
    """Those of one session, or of all: of all tenants here, of the key's on a server."""
    if session is not None:
        row = await find(runtime, session)
        return await (await runtime.open_session(row.id, drive=False)).dead_letters()
    return await runtime.dead_letters()


async def _one(runtime: Host, typed: str, session: str | None) -> DeadLetter:
    """The one whose id is, or alone begins with, what was typed. NotFound."""
    letters = await _letters(runtime, session)
    exact = [letter for letter in letters if letter.id == typed]
    found = exact or [letter for letter in letters if letter.id.startswith((typed, f"act_{typed}"))]
    if len(found) != 1:
        which = "no dead letter's id begins" if not found else f"{len(found)} dead letters' ids begin"
        raise NotFound(f"{which} with {typed!r}", task=typed)
    return found[0]


def _gone(letter: str) -> NotFound:
    return NotFound(f"dead letter {letter} is gone: it was put back or removed meanwhile", task=letter)


def _line(letter: DeadLetter) -> str:
    what = one_line(msgspec.json.encode(letter.payload).decode(), 60)
    by = f", last by {clean(letter.worker)}" if letter.worker else ""
    about = f"{counted_as(letter.attempts, 'attempt')}{by}, {age(letter.failed_ms)} ago"
    return f"{letter.id}  {letter.lane:<8}  {clean(letter.command_type)} {what}: {one_line(letter.error)} ({about})"
