"""What a scan remembers of a name, so that what did not change is not read again.

Rule: a name counts as unchanged when its type, mode, size, times and inode are as they were, but for one that had been
changed so shortly before it was read that another change might have left the same time behind (`settled`).
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from .listing import MODE_BITS, Entry, Kind, stored

_FINE_NS = 100_000_000
_COARSE_NS = 2_100_000_000
"""How long after a change another one may get the same time, on file systems that keep fractions of a second and not."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """What was seen of a name. `kind` "x": a database of ours, which is no part of any state.

    `mode` is the whole one; `settled`: a later change cannot have left the same times behind.
    """

    name: bytes
    kind: Literal["f", "d", "l", "n", "o", "x"]
    mode: int
    size: int = 0
    hash: bytes = b""
    target: bytes = b""
    mtime: int = 0
    ctime: int = 0
    inode: int = 0
    settled: bool = True


class SeenFolder(msgspec.Struct, array_like=True, gc=False):
    """What was seen of a folder, and the hash of the listing it made."""

    hash: bytes
    rows: list[Row]


encode_seen = msgspec.msgpack.Encoder().encode
seen_decoder = msgspec.msgpack.Decoder(SeenFolder)


def row_of(
    name: str, kind: Literal["f", "l"], status: os.stat_result, begun: int, *, hash_: bytes = b"", target: bytes = b""
) -> Row:
    return Row(
        stored(name),
        kind,
        status.st_mode,
        status.st_size,
        hash_,
        target,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        settled(status, begun),
    )


def settled(status: os.stat_result, begun: int) -> bool:
    """Whether a change made after it was read would show: its last change lies so far before the reading (`begun`, in ns)
    that a later one gets another time. The time of the inode's change decides, which nobody can set back."""
    window = _FINE_NS if status.st_ctime_ns % 1_000_000_000 else _COARSE_NS
    return status.st_ctime_ns + window < begun


def noted(name: str, status: os.stat_result, *, settled: bool = True) -> Row:
    return Row(
        stored(name),
        "n",
        status.st_mode,
        status.st_size,
        b"",
        b"",
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        settled,
    )


def unreadable(name: str, status: os.stat_result, old: Row | None) -> Row:
    """A file that was readable before and has only lost that, by all that can be seen, still has its content."""
    if (
        old is not None
        and old.kind == "f"
        and (old.size, old.mtime, old.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)
    ):
        return Row(
            old.name, "f", status.st_mode, old.size, old.hash, b"", old.mtime, status.st_ctime_ns, old.inode, old.settled
        )
    return noted(name, status, settled=False)


def same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (other.st_size, other.st_mtime_ns, other.st_ctime_ns)


def row_key(row: Row) -> bytes:
    return row.name


def entry_of(row: Row) -> Entry:
    kind: Kind = row.kind  # type: ignore[assignment]  # "x" was left out
    mode = row.mode & MODE_BITS
    match kind:
        case "f":
            return Entry(row.name, kind, mode, row.size, row.hash)
        case "d":
            return Entry(row.name, kind, mode, 0, row.hash)
        case "l":
            return Entry(row.name, kind, 0, 0, b"", row.target)
        case "n":
            return Entry(row.name, kind, mode, row.size, b"", b"", row.mtime)
        case "o":
            return Entry(row.name, kind, mode)
