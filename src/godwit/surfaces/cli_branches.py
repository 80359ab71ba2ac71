"""The tree of a conversation on the command line: drawn, labelled, gone about in, forked off.

Leaves out what going somewhere does: the session knows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.branches import place_typed
from .cli_exit import DONE
from .cli_place import Where, find
from .cli_rewind import done
from .cli_view import write_json
from .cli_words import clean, one_line

if TYPE_CHECKING:
    from ..core.branches import SessionTree, TreeNode
    from ..core.checkpoint import OnConflict
    from ..core.ids import Seq

_KINDS = {"user": ">", "agent": " ", "compaction": "≡", "branch_summary": "↩", "context": "#"}
_TEXT = 90


async def tree(place: Where, typed: str, *, every: bool, as_json: bool) -> int:
    """Draw it."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        found = await handle.tree()
        if as_json:
            write_json(found)
            return DONE
        if found.origin is not None:
            print(f"forked from {found.origin} behind event {found.forked_at}")
        for line in drawn(found, every=every, colour=sys.stdout.isatty()):
            print(line)
        if not found.nodes:
            print("nothing has been said yet")
        else:
            go = place.command("navigate", handle.id)
            print(f"go to one of these places: {go} SEQ; --all shows the answers in between", file=sys.stderr)
        return DONE


def drawn(tree: SessionTree, *, every: bool = False, colour: bool = False) -> Iterator[str]:
    """The tree as lines, each a place: its seq, what was said there, and to its left how the branches hang together. `●`
    lies on the way to where the conversation stands, `○` on a branch that was left; `*` is where it stands.

    Without `every`, answers are left out where nothing but the next message follows.
    """
    children: dict[Seq | None, list[TreeNode]] = {}
    for node in tree.nodes:
        children.setdefault(node.parent, []).append(node)

    def shown(node: TreeNode) -> bool:
        below = children.get(node.seq, [])
        return every or node.kind != "agent" or node.label is not None or len(below) != 1 or node.seq == tree.head

    # The way that was left stands first, as it was first; a stack, since a conversation may be thousands of messages long.
    stack: list[tuple[TreeNode, str, str]] = []

    def push(parent: Seq | None, indent: str) -> None:
        below = children.get(parent, [])
        for number, node in reversed(list(enumerate(below))):
            if len(below) == 1:
                stack.append((node, indent, indent))
            else:
                last = number == len(below) - 1
                stack.append((node, indent + ("└─" if last else "├─"), indent + ("  " if last else "│ ")))

    push(None, "")
    while stack:
        node, lead, indent = stack.pop()
        if shown(node):
            yield _line(node, lead, head=node.seq == tree.head, colour=colour)
            push(node.seq, indent)
        else:
            # What follows an answer that is left out hangs where that did.
            (only,) = children[node.seq]
            stack.append((only, lead, indent))


def _line(node: TreeNode, lead: str, *, head: bool, colour: bool) -> str:
    text = one_line(clean(node.text), _TEXT) or (f"[{', '.join(node.tools)}]" if node.tools else "…")
    label = "" if node.label is None else f"  [{clean(node.label)}]"
    mark = "*" if head else "●" if node.current else "○"
    line = f"{lead}{mark} {node.seq:<5} {_KINDS[node.kind]} {text}{label}"
    if not colour:
        return line
    return f"\033[1m{line}\033[0m" if head else line if node.current else f"\033[2m{line}\033[0m"


async def label(place: Where, typed: str, seq: int, name: str | None) -> int:
    """Name a place, or take its name away."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        await handle.label(seq, name)
        print(f"event {seq} has no label any more" if name is None else f"event {seq} is labelled {clean(name)!r}")
        return DONE


async def navigate(
    place: Where,
    typed: str,
    to: str,
    *,
    files: bool,
    on_conflict: OnConflict,
    summary: bool,
    focus: str | None,
    as_json: bool,
) -> int:
    """Go to a place of the tree."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        result = await handle.navigate(
            place_typed(to), files=files, on_conflict=on_conflict, summary=summary or focus is not None, focus=focus
        )
        return done(handle, result, "went there", as_json=as_json)


async def fork(place: Where, typed: str, at: str | None, *, folder: Path | None, name: str | None, as_json: bool) -> int:
    """Fork it off, and say how to go on there."""
    made = False
    if folder is not None and not folder.exists() and not place.served:
        folder.mkdir(parents=True)
        made = True
    try:
        async with place.reach() as runtime:
            handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
            forked = await handle.fork(None if at is None else place_typed(at), workspace=folder, name=name)
            if as_json:
                write_json({"session": forked.id, "origin": handle.id, "workspace": forked.workspace})
                return DONE
            print(f"{forked.id}")
            print(f'go on there: {place.command("resume", forked.id)} "…"', file=sys.stderr)
            return DONE
    except BaseException:
        if made and folder is not None:
            os.rmdir(folder)
        raise


__all__ = ["drawn", "fork", "label", "navigate", "tree"]
