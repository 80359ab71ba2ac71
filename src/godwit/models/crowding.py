"""Crowding: which files of a history stay behind when a request would have more of them than its provider takes.

A provider refuses such a request as a whole, and with it every later one: an agent that looks at many pictures would be at
its end. So the oldest files are named in words in their place, as are images that are too large among so many. The history
itself stays, and another provider sees it. Rules: the same history gives the same; files go in steps, so that the beginning
of a request stays as it was, and with it the provider's cache, for several new files; the newest ones stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ..core.attachments import AttachmentLimits, clean_name, encoded_size, is_text_file
from ..core.media import PDF, pages_of, pixels_of
from ..core.messages import Assistant, Document, Image, Message, ResultBlock, Text, UserBlock
from ..core.transcript import Entry

STEPS = 4
"""So many steps make a limit: one of them more stays behind at a time."""
_DRAWER = "files"


class _File(NamedTuple):
    """What a file weighs: images, bytes in base64, pages. `side`: its larger one in pixels."""

    images: int
    sent_bytes: int
    pages: int
    side: int


Behind = dict[int, int | None]
"""By an entry's place: pixels of a side above which its images stay behind, or None for all its files."""


def left_behind(entries: Sequence[Entry], limits: AttachmentLimits) -> Behind:
    """What of these stays behind."""
    pages = limits.pages is not None
    drawer = f"{_DRAWER}/{pages}"
    files: list[tuple[int, _File]] = []
    for place, entry in enumerate(entries):  # all of a long history, for each request
        weighed: tuple[_File, ...] | None = entry.encoded.get(drawer)
        if weighed is None:
            weighed = entry.encoded[drawer] = _files(entry, pages)
        if weighed:
            files += [(place, found) for found in weighed]
    if not files:
        return {}
    dropped = max(
        _oldest([found.images for _, found in files], limits.images),
        _oldest([found.sent_bytes for _, found in files], limits.request_bytes),
        _oldest([found.pages for _, found in files], limits.pages),
    )
    behind: Behind = dict.fromkeys((place for place, _ in files[:dropped]), None)
    rest = [(place, found) for place, found in files if place not in behind]
    if limits.crowd is not None and sum(found.images for _, found in rest) > limits.crowd:
        side = limits.crowd_side
        behind.update((place, side) for place, found in rest if side is not None and found.side > side)
    return behind


def _oldest(weights: Sequence[int], limit: int | None) -> int:
    """How many of the first have to go, so that the rest is within the limit."""
    over = 0 if limit is None else sum(weights) - limit
    if limit is None or over <= 0:
        return 0
    step = max(1, limit // STEPS)
    goes = -(-over // step) * step
    for number, weight in enumerate(weights, 1):
        goes -= weight
        if goes <= 0:
            return number
    return len(weights)


def _files(entry: Entry, pages: bool) -> tuple[_File, ...]:
    """Of a message. `pages`: somebody limits them."""
    if isinstance(entry.message, Assistant):
        return ()
    return tuple(_weighed(block, pages) for block in entry.message.content if _is_sent(block))


def _is_sent(block: UserBlock | ResultBlock) -> bool:
    return isinstance(block, Image | Document) and not is_text_file(block)


def _weighed(block: UserBlock | ResultBlock, pages: bool) -> _File:
    data = b"" if isinstance(block, Text) else block.data or b""
    if isinstance(block, Image):
        return _File(1, encoded_size(len(data)), 0, max(pixels_of(data) or (0,)))
    counted = isinstance(block, Document) and block.media_type == PDF and pages
    return _File(0, encoded_size(len(data)), pages_of(data) if counted else 0, 0)


def without_files(message: Message, side: int | None) -> Message:
    """The message with words for its files, or for its images of more pixels than that."""
    if isinstance(message, Assistant):
        return message
    content = tuple(_named(block) if _is_sent(block) and _too_large(block, side) else block for block in message.content)
    changed: Message = msgspec.structs.replace(message, content=content)
    return changed


def _too_large(block: UserBlock | ResultBlock, side: int | None) -> bool:
    if side is None:
        return True
    return isinstance(block, Image) and max(pixels_of(block.data or b"") or (0,)) > side


def _named(block: UserBlock | ResultBlock) -> Text:
    assert not isinstance(block, Text)
    what = "An image" if isinstance(block, Image) else "A document"
    name = f" {clean_name(block.name)!r}" if block.name else ""
    return Text(f"[{what}{name} ({block.media_type}) was here. It is left out, for there are too many files to send.]")


__all__ = ["Behind", "left_behind", "without_files"]
