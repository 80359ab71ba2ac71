"""Finding sessions by what was said in them, and letting old ones go, on the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_exit import DONE, INTERRUPTED, CliError
from .cli_keyboard import Keyboard, interactive
from .cli_place import Place, Where
from .cli_view import write_json
from .cli_words import age, clean, counted_as, one_line

if TYPE_CHECKING:
    from ..contracts import FoundText, SessionRow

_UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "m": 30 * 86_400, "y": 365 * 86_400}
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


async def search(place: Where, query: str, *, here: Path | None, limit: int, as_json: bool) -> int:
    """Print the places where the words were said."""
    async with place.reach() as runtime:
        found = await runtime.search(query, workspace=here, limit=limit)
        for one in found:
            if as_json:
                write_json(one)
                continue
            print(f"{one.session}  {one.seq or 'name':>6} {age(one.at_ms):>5}  {_shown(one)}")
        if not as_json and not found:
            print("nothing was found", file=sys.stderr)
        elif not as_json:
            print(f"go on with one: {place.command('resume', found[0].session)}", file=sys.stderr)
        return DONE if found else 1


def _shown(one: FoundText) -> str:
    """The words around, in one line; those that were looked for bold on a terminal."""
    if not sys.stdout.isatty():
        return one_line(clean(one.text), 160)
    text, at = "", 0
    for begin, end in one.marks:
        text += clean(one.text[at:begin]) + "\033[1m" + clean(one.text[begin:end]) + "\033[0m"
        at = end
    return " ".join((text + clean(one.text[at:])).split())


async def prune(
    place: Where, *, older_than: str | None, max_size: str | None, archived: bool, yes: bool, dry_run: bool, as_json: bool
) -> int:
    """Delete old sessions, after showing how many and asking."""
    if not isinstance(place, Place):
        raise CliError("sessions are pruned where the database is", hint="[server] archived_days prunes a server's")
    older_than_s = None if older_than is None else _seconds(older_than)
    max_bytes = None if max_size is None else _bytes(max_size)
    async with place.open() as runtime:
        if older_than_s is not None and max_bytes is None:
            due = await runtime.prune_sessions(older_than_s=older_than_s, archived_only=archived, dry_run=True)
            if dry_run or not due:
                return _pruned(due, "would be deleted", as_json=as_json)
            question = f"delete {counted_as(len(due), 'session')} that nothing was done in for {older_than}? [y]es  [n]o: "
        else:
            if dry_run:
                raise CliError("--dry-run cannot tell what deleting would free: leave --max-size out")
            question = "delete the oldest sessions until that is so? [y]es  [n]o: "
        if not yes:
            if as_json or not interactive():
                raise CliError("sessions would be deleted, and nobody can be asked here", hint="--yes does it")
            if not ((await Keyboard().line(question)) or "").strip().lower().startswith("y"):
                print("nothing was deleted")
                return INTERRUPTED
        gone = await runtime.prune_sessions(older_than_s=older_than_s, max_bytes=max_bytes, archived_only=archived)
        return _pruned(gone, "deleted", as_json=as_json)


def _pruned(rows: list[SessionRow], what: str, *, as_json: bool) -> int:
    if as_json:
        for row in rows:
            write_json(row)
        return DONE
    print(f"{counted_as(len(rows), 'session')} {what}")
    return DONE


def _seconds(typed: str) -> float:
    found = re.fullmatch(r"(\d+)([hdwmy])", typed.strip().lower())
    if found is None:
        raise CliError(f"{typed!r} is no age", hint="a number of hours, days, weeks, months or years: 12h, 90d, 8w, 6m, 1y")
    return int(found[1]) * _UNITS_S[found[2]]


def _bytes(typed: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([kmg]?)i?b?", typed.strip().lower())
    if found is None:
        raise CliError(f"{typed!r} is no size", hint="a number of bytes, or with K, M or G behind it: 500M, 2G")
    return int(found[1]) * _SIZES[found[2]]
