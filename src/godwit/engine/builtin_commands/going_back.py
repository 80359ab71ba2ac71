"""Commands that move the transcript: going back, making room; and what tells where to and what of the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ...core.branches import place_typed
from ...core.checkpoint import FileChange, OnConflict, RewindResult, shown_path
from ...core.errors import InvalidArgument
from ...core.ids import Seq
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin, counted, line

FIRST: Seq = 1
"""Where every log begins: nothing has been said there."""


async def _clear(context: CommandContext) -> CommandOutput:
    count = await context.history_len()
    if not count:
        return CommandOutput("Cleared 0 messages.")
    await context.session.rewind(FIRST)
    return CommandOutput(
        f"Cleared {counted(count, 'message')}. The log stays, and /redo brings them back.", state_changed=True
    )


async def _rewind(arguments: str, context: CommandContext) -> CommandOutput:
    session = context.session
    if not arguments:
        places = await session.turnings()
        lines = [f"Places to go back to: {len(places)}"]
        lines += [f"  {place.seq}  before: {line(place.text)}" for place in places]
        return CommandOutput("\n".join([*lines, "/rewind SEQ goes there, /rewind SEQ files puts the files back as well."]))
    where, *words = arguments.split()
    files = words[:1] == ["files"]
    if words and not files:
        raise InvalidArgument(f"{line(words[0])!r} is nothing it does: type /rewind SEQ, or /rewind SEQ files")
    result = await session.rewind(await _place(where, context), files=files, on_conflict=_on_conflict(words[1:]))
    return CommandOutput(_went(f"Went back to event {result.to}.", result), state_changed=True)


async def _redo(arguments: str, context: CommandContext) -> CommandOutput:
    result = await context.session.redo(on_conflict=_on_conflict(arguments.split()))
    return CommandOutput(_went("The last rewind is taken back.", result), state_changed=True)


async def _compact(arguments: str, context: CommandContext) -> CommandOutput:
    done = await context.session.compact(arguments or None)
    return CommandOutput(
        f"{counted(done.messages_before, 'message')} of about {done.tokens_before:,} tokens became"
        f" {counted(done.messages_after, 'message')} of about {done.tokens_after:,}: a summary stands for the older ones."
        f" The log stays, and /rewind {done.seq - 1} brings them back.",
        state_changed=True,
    )


async def _tree(context: CommandContext) -> str:
    tree = await context.session.tree()
    lines = [f"Places of the conversation: {len(tree.nodes)}"]
    for node in tree.nodes:
        mark = "*" if node.seq == tree.head else "+" if node.current else "-"
        label = "" if node.label is None else f" [{line(node.label)}]"
        lines.append(f"  {mark} {node.seq}  {node.kind}: {line(node.text)}{label}")
    return "\n".join(
        [*lines, "/navigate SEQ goes to one of them, on whatever branch; + are on the way to where it stands, *."]
    )


async def _label(arguments: str, context: CommandContext) -> CommandOutput:
    seq, _, label = arguments.partition(" ")
    if not (seq.isascii() and seq.isdigit()):
        raise InvalidArgument(f"{line(arguments)!r}: type /label SEQ NAME, or /label SEQ to take a name away")
    await context.session.label(int(seq[:18]), label.strip() or None)
    return CommandOutput(
        f"Event {seq} is {line(label.strip())!r}." if label.strip() else f"Event {seq} has no label any more."
    )


async def _navigate(arguments: str, context: CommandContext) -> CommandOutput:
    words = arguments.split()
    chosen = {word for word in words[-2:] if word in ("files", "summary")}
    where = " ".join(word for word in words if word not in chosen)
    if not where:
        raise InvalidArgument("type /navigate SEQ or /navigate LABEL, and behind it files or summary if you want; see /tree")
    result = await context.session.navigate(place_typed(where), files="files" in chosen, summary="summary" in chosen)
    return CommandOutput(_went(f"Went to event {result.to}.", result), state_changed=True)


async def _fork(arguments: str, context: CommandContext) -> CommandOutput:
    where = arguments.strip()
    forked = await context.session.fork(place_typed(where) if where else None)
    return CommandOutput(f"Session {forked.id} begins with this one's past, and goes its own way from there.")


async def _diff(arguments: str, context: CommandContext) -> str:
    words = arguments.split()
    if len(words) > 2:
        raise InvalidArgument(f"{line(arguments)!r} is too much: type /diff, /diff FROM or /diff FROM TO")
    found = await context.session.diff(*[await _place(word, context) for word in words])
    if not found.changes:
        return "No file has changed."
    lines = [_change(change) for change in found.changes] if found.cut else []
    return "\n".join([found.text.rstrip("\n"), *lines])


async def _checkpoints(context: CommandContext) -> str:
    kept = await context.session.checkpoints()
    lines = [f"Checkpoints of files: {len(kept)}"]
    for one in kept:
        when = one.when if one.turn is None else f"{one.when} turn {one.turn}"
        what = f"not kept: {line(one.error or '')}" if one.ref is None else one.ref[:17]
        lines.append(f"  {one.seq}  {when}  {what}{'' if one.kept or one.ref is None else '  let go of'}")
    return "\n".join(lines)


async def _place(word: str, context: CommandContext) -> Seq:
    """The seq that a word names: a number, or `last` for the place before the last message."""
    if word == "last":
        places = await context.session.turnings()
        if not places:
            raise InvalidArgument("there is no message to go back behind")
        return places[-1].seq
    if not (word.isascii() and word.isdigit()):
        raise InvalidArgument(f"{line(word)!r} is no place: type the number of an event, or last")
    return int(word[:18])


def _on_conflict(words: Sequence[str]) -> OnConflict:
    given = " ".join(words) or "refuse"
    found = next((known for known in get_args(OnConflict) if known == given), None)
    if found is None:
        raise InvalidArgument(f"{line(given)!r} is neither keep nor overwrite, which say what becomes of others' changes")
    chosen: OnConflict = found
    return chosen


def _went(said: str, result: RewindResult) -> str:
    lines = [said, *(_change(change) for change in result.changes)]
    lines += [f"  left as it is: {shown_path(one.path)} ({one.reason})" for one in result.left]
    lines += [f"The files are not back: {result.error}"] if result.error else []
    return "\n".join([*lines, *([f"Taken back: {result.text}"] if result.text else [])])


def _change(change: FileChange) -> str:
    return f"  {change.change}: {shown_path(change.path)}"


GOING_BACK: tuple[Command, ...] = (
    builtin("clear", "Begin the transcript anew; the log stays.", alone(_clear), safe=False),
    builtin(
        "rewind",
        "List the places to go back to, or go there, with the files if you say so.",
        _rewind,
        "[SEQ|last [files [keep|overwrite]]]",
        safe=False,
    ),
    builtin("compact", "Have a summary stand for the older messages.", _compact, "[FOCUS]", safe=False),
    builtin("tree", "Show the conversation with all its branches.", alone(_tree)),
    builtin("label", "Name a place of the conversation.", _label, "SEQ [NAME]"),
    builtin(
        "navigate",
        "Go to any place of the conversation, on whatever branch.",
        _navigate,
        "SEQ|LABEL [files] [summary]",
        safe=False,
    ),
    builtin("fork", "Begin a new session with this one's past.", _fork, "[SEQ|LABEL]", safe=False),
    builtin("redo", "Take the last rewind back.", _redo, "[keep|overwrite]", safe=False),
    builtin("diff", "Show what changed in the files, by default in the whole session.", _diff, "[SEQ [SEQ]]"),
    builtin("checkpoints", "List the states of the files that are kept.", alone(_checkpoints)),
)
