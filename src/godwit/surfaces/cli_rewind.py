"""Going back on the command line: rewind, redo, what changed, which checkpoints there are; and making room.

A person sees what would become of the files, as a diff, and which of it somebody else has changed as well, before anything
is done; where nobody can be asked, files are put back only with `--yes`. Leaves out what is put back: the session knows.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.checkpoint import FileChange, LeftAlone, shown_path
from .cli_exit import DONE, INTERRUPTED, CliError
from .cli_keyboard import Keyboard, interactive
from .cli_place import Where, find
from .cli_view import write_json
from .cli_words import age, clean, counted_as, one_line

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from ..core.checkpoint import OnConflict, RewindPreview, RewindResult, Turning

SHOWN_LINES = 200
"""Lines of a diff that are shown before a question."""
_STEPS = re.compile(r"-\d+")
_COLOURS = {"+": "32", "-": "31", "@": "36", "d": "1"}


async def rewind(
    place: Where,
    typed: str,
    where: str | None,
    *,
    files: bool,
    preview: bool,
    on_conflict: OnConflict,
    yes: bool,
    as_json: bool,
) -> int:
    """Go back to a seq, or so many messages; without either, list where to. With `preview` only show what it would do."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        if where is None:
            return _places(place, handle, await handle.turnings(), as_json=as_json)
        to = await _seq(handle, where)
        if not (files or preview):
            return done(handle, await handle.rewind(to), "rewound", as_json=as_json)
        shown = await handle.preview_rewind(to)
        if preview:
            _show_preview(shown, as_json=as_json)
            return DONE
        chosen = await _asked(shown, on_conflict, yes=yes, as_json=as_json)
        if chosen is None:
            return INTERRUPTED
        return done(handle, await handle.rewind(to, files=True, on_conflict=chosen), "rewound", as_json=as_json)


async def redo(place: Where, typed: str, *, on_conflict: OnConflict, yes: bool, as_json: bool) -> int:
    """Take the last rewind back."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        shown = await handle.preview_redo()
        chosen: OnConflict | None = on_conflict
        if shown.changes:
            chosen = await _asked(shown, on_conflict, yes=yes, as_json=as_json)
        if chosen is None:
            return INTERRUPTED
        return done(handle, await handle.redo(on_conflict=chosen), "the rewind is taken back", as_json=as_json)


async def compact(place: Where, typed: str, focus: str | None, *, keep_tokens: int, as_json: bool) -> int:
    """Have a summary stand for the older messages."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        made = await handle.compact(focus, keep_tokens=keep_tokens)
        if as_json:
            write_json(made)
            return DONE
        print(clean(made.summary))
        before, after = counted_as(made.messages_before, "message"), counted_as(made.messages_after, "message")
        print(
            f"{before} of about {made.tokens_before:,} tokens became {after} of about {made.tokens_after:,}"
            + (", as soon as the open run ends" if made.waits else ""),
            file=sys.stderr,
        )
        print(f"back to before it: {place.command('rewind', handle.id)} {made.seq - 1}", file=sys.stderr)
        return DONE


async def diff(
    place: Where, typed: str, start: str | None, end: str | None, *, paths: list[str], stat: bool, as_json: bool
) -> int:
    """What changed in the files between two moments."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        found = await handle.diff(_moment(start), _moment(end), paths=paths or None)
        if as_json:
            for change in found.changes:
                write_json(_fact(change))
        elif stat:
            _print_changes(found.changes)
        else:
            _print_diff(found.text)
            if found.cut:
                print("the diff is longer: name paths with --path, or --stat lists all", file=sys.stderr)
        return DONE


async def checkpoints(place: Where, typed: str, *, take: bool, as_json: bool) -> int:
    """The checkpoints of a session, oldest first; with `take` keep the files as they are now."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        found = [await handle.checkpoint()] if take else await handle.checkpoints()
        for one in found:
            if as_json:
                write_json(one)
                continue
            when = one.when if one.turn is None else f"{one.when} turn {one.turn}"
            what = one_line(one.error or "not kept", 80) if one.ref is None else one.ref[:17]
            gone = "" if one.kept or one.ref is None else "  let go of"
            print(f"{one.seq:5} {time.strftime('%H:%M:%S', time.localtime(one.at_ms / 1000))} {when:<16} {what}{gone}")
        if not found and not as_json:
            print("no files were kept: no turn of this session has changed any")
        return DONE


# --- asking -----------------------------------------------------------------------------------------------------------


async def _asked(shown: RewindPreview, on_conflict: OnConflict, *, yes: bool, as_json: bool) -> OnConflict | None:
    """What a person says to it: how conflicts are settled, or None for not at all."""
    if yes:
        return on_conflict
    if as_json or not interactive():
        raise CliError("files would be put back, and nobody can be asked here", hint="--preview shows them, --yes does it")
    _show_preview(shown, as_json=False)
    keyboard = Keyboard()
    if shown.conflicts and on_conflict == "refuse":
        question = "somebody has changed these since: [k]eep theirs  [o]verwrite  [n]othing: "
        answers: dict[str, OnConflict] = {"k": "keep", "o": "overwrite"}
    else:
        question, answers = "go back? [y]es  [n]o: ", {"y": on_conflict}
    said = (await keyboard.line(question) or "").strip().lower()
    chosen = answers.get(said[:1])
    if chosen is None:
        print("nothing was changed")
    return chosen


async def _seq(handle: SessionHandle, where: str) -> int:
    """The seq that was typed, or that before the last so many messages."""
    if _STEPS.fullmatch(where):
        steps = -int(where)
        turnings = await handle.turnings()
        if not 1 <= steps <= len(turnings):
            raise CliError(f"{where}: the conversation has {counted_as(len(turnings), 'message')}")
        return turnings[-steps].seq
    if not where.isdecimal():
        raise CliError(
            f"{where!r} is no place to go back to", hint="a seq as godwit log shows it, or -1 for one message back"
        )
    return int(where)


def _moment(typed: str | None) -> int | str | None:
    return int(typed) if typed is not None and typed.isdecimal() else typed


# --- showing ----------------------------------------------------------------------------------------------------------


def _places(place: Where, handle: SessionHandle, turnings: list[Turning], *, as_json: bool) -> int:
    for number, turning in enumerate(turnings):
        if as_json:
            write_json({"seq": turning.seq, "at_ms": turning.at_ms, "text": turning.text})
        else:
            steps = number - len(turnings)
            print(f"{steps:5} {turning.seq:6} {age(turning.at_ms):>5}  {one_line(turning.text, 80)}")
    if not as_json and turnings:
        print(f"go back before the last: {place.command('rewind', handle.id)} -1 --files", file=sys.stderr)
    elif not as_json:
        print("the conversation has no message to go back before")
    return DONE


def _show_preview(shown: RewindPreview, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "to": shown.to,
                "text": shown.text,
                "changes": [_fact(c) for c in shown.changes],
                "conflicts": shown.conflicts,
                "left": [msgspec.structs.asdict(one) for one in shown.left],
                "diff": shown.diff,
            }
        )
        return
    if shown.text is not None:
        print(f"taken back: {one_line(shown.text)}")
    lines = shown.diff.splitlines(keepends=True)
    _print_diff("".join(lines[:SHOWN_LINES]))
    if len(lines) > SHOWN_LINES or shown.cut:
        print(f"... {counted_as(len(lines) - SHOWN_LINES, 'line')} more; --preview --json has all")
    _print_changes(shown.changes)
    _print_left(shown.left)


def done(handle: SessionHandle, result: RewindResult, said: str, *, as_json: bool) -> int:
    """Say what came of it."""
    if as_json:
        facts: dict[str, Any] = {"session": handle.id, "to": result.to, "seq": result.seq, "text": result.text}
        facts["changes"] = [_fact(c) for c in result.changes]
        facts["left"] = [msgspec.structs.asdict(one) for one in result.left]
        write_json({**facts, "error": result.error})
        return DONE
    files = sum(not c.folder for c in result.changes)
    what = f", {counted_as(files, 'file')} put back" if result.changes else ""
    print(f"{handle.id}: {said} (to event {result.to}{what})")
    if result.error is not None:
        print(f"the files could not be put back: {result.error}", file=sys.stderr)
    _print_left(result.left)
    if result.text is not None:
        print(f"taken back: {one_line(result.text)}")
    return DONE


def _print_changes(changes: tuple[FileChange, ...]) -> None:
    for change in changes:
        if change.folder and change.change in ("added", "deleted") and _holds_another(change, changes):
            continue
        lines = f" +{change.added_lines} -{change.removed_lines}" if change.added_lines or change.removed_lines else ""
        notes = "".join(f"  ({word})" for word, is_so in (("changed since by somebody", change.conflict),) if is_so)
        name = shown_path(change.path) + ("/" if change.folder else "")
        print(f"{change.change:<9} {name}{lines}{'' if change.kept else '  (not kept)'}{notes}")


def _holds_another(folder: FileChange, changes: tuple[FileChange, ...]) -> bool:
    return any(c.path.startswith(f"{folder.path}/") for c in changes)


def _print_left(left: tuple[LeftAlone, ...]) -> None:
    for one in left:
        print(f"stays     {clean(one.path)}: {one.reason}")


def _print_diff(text: str) -> None:
    coloured = sys.stdout.isatty()
    for line in text.splitlines():
        safe = clean(line)
        colour = _COLOURS.get(line[:1]) if coloured else None
        print(f"\x1b[{colour}m{safe}\x1b[0m" if colour else safe)


def _fact(change: FileChange) -> dict[str, Any]:
    return {**msgspec.structs.asdict(change), "path": shown_path(change.path)}
