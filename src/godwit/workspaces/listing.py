"""Listings: the state of a folder as data, each folder one list of entries that names its subfolders by their hash.

So equal folders are the same object wherever and whenever they occur, a change touches the listings from it up to the root
and no other, and two states are compared without looking at what they share. Owns the stored shape, comparing, and putting
a new state together from two. Leaves out where listings are kept (`contents`) and how they come about (`scan`). Rules: no
function here touches a file; the stored shape never changes without another `person`, since refs are made of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import blake2b
from typing import Literal, NamedTuple

import msgspec

from ..core.checkpoint import FileChange, LeftAlone

Kind = Literal["f", "d", "l", "n", "o"]
"""A file, a folder (directory), a link; a file that is noted and not kept; a folder that is omitted as a whole."""

FOLDER: Kind = "d"
NOT_KEPT = ("n", "o")
MODE_BITS = 0o777
"""Of a mode, what is kept: who may read, write and run it."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One name in a folder, as the file system has it. `hash`: of the content, or of the folder's listing.

    `size` in bytes; `target` of a link; `stamp`: the time in ns at which a noted file was last changed.
    """

    name: bytes
    kind: Kind
    mode: int
    size: int = 0
    hash: bytes = b""
    target: bytes = b""
    stamp: int = 0


class Difference(NamedTuple):
    """`path` is what `before` says in one state and what `after` says in the other; None is nothing."""

    path: str
    before: Entry | None
    after: Entry | None


Listing = list[Entry]
Load = Callable[[bytes], Listing]
Save = Callable[[bytes, bytes], None]
"""Keeps the packed listing (second) under its hash (first)."""

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Entry])


def pack(listing: Listing) -> tuple[bytes, bytes]:
    """The hash of a listing, whose entries stand in the order of `sort_key`, and the bytes it is kept as."""
    packed = _encode(listing)
    return blake2b(packed, digest_size=32, person=b"godwit.listing").digest(), packed


def unpack(packed: bytes) -> Listing:
    """Raises msgspec.DecodeError when the bytes are no listing."""
    return _decoder.decode(packed)


EMPTY, EMPTY_PACKED = pack([])


_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def text(name: bytes) -> str:
    """As Python's file functions take and give it: `os.fsdecode`, in half the time."""
    return name.decode(_ENCODING, _ERRORS)


def stored(name: str) -> bytes:
    """As an entry holds it: `os.fsencode`."""
    return name.encode(_ENCODING, _ERRORS)


def sort_key(entry: Entry) -> bytes:
    return entry.name


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


# --- comparing --------------------------------------------------------------------------------------------------------


def differences(load: Load, before: bytes, after: bytes, path: str = "") -> Iterator[Difference]:
    """What differs, a folder before what is in it. One that is on both sides is named only when its mode differs."""
    if before == after:
        return
    old = {text(e.name): e for e in load(before)} if before != EMPTY else {}
    new = {text(e.name): e for e in load(after)} if after != EMPTY else {}
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        here = join(path, name)
        inner, outer = _inside(one), _inside(other)
        if one is None or other is None or not (one.kind == other.kind == FOLDER and one.mode == other.mode):
            yield Difference(here, one, other)
        yield from differences(load, inner, outer, here)


def _inside(entry: Entry | None) -> bytes:
    return entry.hash if entry is not None and entry.kind == FOLDER else EMPTY


def change_of(difference: Difference) -> FileChange:
    """The same for people."""
    path, before, after = difference
    folder = (after or before or _NOTHING).kind in ("d", "o")
    kept = not any(e is not None and e.kind in NOT_KEPT for e in (before, after))
    if before is None:
        return FileChange(path, "added", folder, kept=kept)
    if after is None:
        return FileChange(path, "deleted", folder, kept=kept)
    if _plain(before.kind) != _plain(after.kind):
        return FileChange(path, "type", folder, kept=kept)
    same = before.hash == after.hash and before.target == after.target and before.stamp == after.stamp
    if folder or (same and before.kind == after.kind):
        return FileChange(path, "mode", folder, kept=kept)
    return FileChange(path, "modified", folder, kept=kept)


_NOTHING = Entry(b"", "f", 0)


def _plain(kind: Kind) -> str:
    return {"n": "f", "o": "d"}.get(kind, kind)


# --- putting together -------------------------------------------------------------------------------------------------


def merge(
    load: Load, save: Save, base: bytes, target: bytes, paths: Collection[str] | None
) -> tuple[bytes, list[LeftAlone]]:
    """The state that is `target` at `paths` (None: everywhere) and `base` elsewhere, and what could not be taken over.

    The result can be reached from `base` without loss: nothing whose content is not kept is replaced, removed, or expected
    to come back; a folder goes only when all that is in it goes.
    """
    found = {d.path: d for d in differences(load, base, target)}
    left: dict[str, str] = {}
    taken = {p for p in found if paths is None or p in paths}
    for path in sorted(taken):
        reason = _cannot(found[path])
        if reason is not None:
            left[path] = reason
    # What an omitted folder holds is not known on that side: nothing in it comes or goes.
    omitted = {p for p, d in found.items() if any(e is not None and e.kind == "o" for e in (d.before, d.after))}
    taken = {p for p in taken if p not in left and omitted.isdisjoint(above(p))}
    _close(found, taken, left)
    changes = {p: found[p].after for p in taken}
    return _rebuilt(load, save, base, "", _tree_of(changes)), [LeftAlone(p, left[p]) for p in sorted(left)]


def _cannot(difference: Difference) -> str | None:
    before, after = difference.before, difference.after
    if before is not None and before.kind == "n":
        return "what is there now is not kept (too large or not readable), so it is not replaced"
    if before is not None and before.kind == "o":
        return "the folder is left out of checkpoints"
    if after is not None and after.kind == "n":
        return "its content was not kept (too large or not readable)"
    if after is not None and after.kind == "o":
        return "the folder was left out of checkpoints"
    return None


def _close(found: Mapping[str, Difference], taken: set[str], left: dict[str, str]) -> None:
    """Take in the folders that what is taken needs, and drop what cannot be because of what stays."""
    for path in sorted(taken):
        for folder in above(path):
            missing = found.get(folder)
            if found[path].after is not None and missing is not None and missing.before is None and folder not in left:
                taken.add(folder)
    while True:
        dropped: dict[str, str] = {}
        staying = {folder for path in found if path not in taken for folder in above(path) if _stays(found[path])}
        for path in taken:
            difference = found[path]
            if difference.after is not None:
                for folder in above(path):
                    # A folder there would have to be made, and is not.
                    if folder in found and folder not in taken and not _is_folder(found[folder].before):
                        dropped[path] = left.get(folder, f"{folder!r} stays as it is")
            if _is_folder(difference.before) and not _is_folder(difference.after) and path in staying:
                dropped[path] = "there is something in the folder that stays"
        if not dropped:
            return
        taken.difference_update(dropped)
        for path, reason in dropped.items():
            # That a folder is still there is no news when what is in it was asked to stay.
            if found[path].after is not None or any(other.startswith(path + "/") for other in left):
                left[path] = reason


def _stays(difference: Difference) -> bool:
    return difference.before is not None


def _is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == FOLDER


def above(path: str) -> Iterator[str]:
    """The folders a path lies in, from the root down, without the root."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


class _Node:
    """What becomes of a name, and of what is below it. `change` is None when the name itself is not said to change."""

    __slots__ = ("below", "change")

    def __init__(self) -> None:
        self.change: tuple[Entry | None] | None = None
        self.below: dict[str, _Node] = {}


def _tree_of(changes: Mapping[str, Entry | None]) -> _Node:
    root = _Node()
    for path, entry in changes.items():
        node = root
        for part in path.split("/"):
            node = node.below.setdefault(part, _Node())
        node.change = (entry,)
    return root


def _rebuilt(load: Load, save: Save, base: bytes, path: str, node: _Node) -> bytes:
    if not node.below:
        return base
    entries = {text(e.name): e for e in load(base)} if base != EMPTY else {}
    for name, inner in node.below.items():
        before = entries.get(name)
        wanted = before if inner.change is None else inner.change[0]
        if _is_folder(before) or _is_folder(wanted):
            below = _rebuilt(load, save, _inside(before), join(path, name), inner)
            if wanted is None and below != EMPTY:
                wanted = before
            if wanted is not None and _is_folder(wanted):
                wanted = msgspec.structs.replace(wanted, hash=below)
        if wanted is None:
            entries.pop(name, None)
        else:
            entries[name] = wanted
    hash_, packed = pack(sorted(entries.values(), key=sort_key))
    save(hash_, packed)
    return hash_
