"""Attachments: images, PDFs and texts beside the words of a message, and how much of them may go to a model at once.

Pure: what is to be fetched is a `Link`, which whoever drives the session makes a block of before anything is recorded
(`host/link_fetching.py`); reading files is `engine/attaching.py`'s, and what each provider takes stands in
`models/attachment_limits.py`. Rules: a message is judged as a whole;
bytes say what they are, so a block whose type is another than that of its bytes is refused, as providers refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from .errors import AttachmentRefused
from .media import IMAGES, PDF, image_type, is_pdf, is_text_type, pages_of, pixels_of, text_of_file
from .messages import Block, Document, Image, Text, UserBlock

MIB = 1024 * 1024
MAX_FILE_BYTES = 100 * MIB
"""Larger files are not even read."""
MAX_NAME = 200
MAX_COUNT = 1000
"""Files in one message."""

LinkKind = Literal["image", "file"]
ByUrl = Literal["image", "pdf"]


class Link(Block, frozen=True, tag="link"):
    """A file at an http address, to be fetched when the message is accepted: what was there then is kept, and goes to the
    model. `kind`: an image alone, or whatever is there. `name`: in place of the one in the address."""

    url: str
    kind: LinkKind = "file"
    name: str | None = None


WireAttachment = Image | Document | Link
"""An attachment as it travels to who drives the session: no path among it."""


class FilePath(Protocol):
    """What names a file, as `pathlib.Path` does."""

    def __fspath__(self) -> str: ...


Source = str | FilePath | bytes | bytearray | memoryview
"""A path, an http address as a text, or the bytes of a file."""
Attachments = Sequence[Source | Image | Document | Link]
"""What goes with a message. A text that begins with http:// or https:// is an address, any other a path."""


class AttachmentLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one provider takes. `provider`: for people. Sizes are bytes as they are sent, in base64, but for `text_bytes`.

    `image_bytes`, `document_bytes`: of one. `side`: pixels of an image's width and height; `crowd_side`: the same when a
    request has more than `crowd` images. `images`, `pages` (of all PDFs) and `request_bytes`: of a whole request.
    `text_bytes`: of one text file. `by_url`: what the provider fetches itself. None: no limit is known.
    """

    provider: str
    image_bytes: int | None = None
    document_bytes: int | None = None
    side: int | None = None
    crowd: int | None = None
    crowd_side: int | None = None
    images: int | None = None
    pages: int | None = None
    request_bytes: int | None = None
    text_bytes: int = MIB
    by_url: tuple[ByUrl, ...] = ()


def encoded_size(size: int) -> int:
    """Bytes of so many bytes in base64."""
    return (size + 2) // 3 * 4


def is_text_file(block: Block) -> bool:
    """Whether a model is told of it as text, whatever else it takes."""
    return isinstance(block, Document) and block.data is not None and is_text_type(block.media_type)


def by_url_kind(block: Image | Document) -> ByUrl | None:
    """As what a provider would have to fetch it itself; None when no provider does, or it is here."""
    if block.data is not None or block.url is None:
        return None
    return "image" if isinstance(block, Image) else "pdf" if block.media_type == PDF else None


def clean_name(name: str) -> str:
    """A name as it may be told: one line, not too long, none of the marks around it."""
    kept = "".join(c if c.isprintable() and c not in '<>"' else " " for c in name)
    kept = " ".join(kept.split())
    return kept if len(kept) <= MAX_NAME else kept[: MAX_NAME - 1] + "…"


def check_attachments(content: Sequence[UserBlock], limits: AttachmentLimits, before: int = 0) -> None:
    """Raise AttachmentRefused for the first file of the message that cannot go to the provider. `before`: how many images go
    with it, those of earlier messages. Its details have `field`, `index` (among the message's files), `size`, `limit`.

    Older files are no reason to refuse new ones: they stay behind where there are too many (`models/crowding.py`).
    """
    files = [block for block in content if isinstance(block, Image | Document)]
    last = len(files) - 1
    if len(files) > MAX_COUNT:
        raise refused(MAX_COUNT, None, f"{len(files)} files are more than {MAX_COUNT} in one message", limit=MAX_COUNT)
    images = sum(isinstance(block, Image) for block in files)
    crowd = images + min(before, limits.images or before)
    for index, block in enumerate(files):
        _check_kind(index, block, limits)
        if isinstance(block, Image):
            _check_image(index, block, limits, crowd if limits.crowd is not None and crowd > limits.crowd else None)
        elif block.data is not None:
            _check_document(index, block, limits)
    what = f"that {limits.provider} takes in one request"
    if limits.images is not None and images > limits.images:
        why = f"{images} images are more than the {limits.images} {what}: send fewer"
        raise refused(last, None, why, limit=limits.images, size=images)
    if limits.pages is not None:
        pages = sum(pages_of(block.data) for block in files if block.data is not None and block.media_type == PDF)
        if pages > limits.pages:
            why = f"PDFs of {pages} pages are more than the {limits.pages} {what}: send a part of them"
            raise refused(last, None, why, limit=limits.pages, size=pages)
    size = sum(encoded_size(len(block.data or b"")) for block in files)
    if limits.request_bytes is not None and size > limits.request_bytes:
        why = f"files of {size} bytes in base64 are more than the {limits.request_bytes} {what}: send less"
        raise refused(last, None, why, limit=limits.request_bytes, size=size)


def _check_kind(index: int, block: Image | Document, limits: AttachmentLimits) -> None:
    data = block.data
    if data is None and block.url is None:
        raise _refused(index, block, "there is nothing in it: give its bytes, or an address", None, 0)
    if data is None:
        if not (block.url or "").lower().startswith(("https://", "http://")):
            raise _refused(index, block, f"{block.url!r} is no http address", None, None, url=block.url)
        kind = by_url_kind(block)
        if kind is None or kind not in limits.by_url:
            why = f"{limits.provider} does not fetch it from an address: use godwit.file(url), which fetches it once"
            raise _refused(index, block, why, None, None, url=block.url)
        return
    if not data:
        raise _refused(index, block, "there is nothing in it", None, 0)
    if isinstance(block, Image):
        found = image_type(data)
        if found != block.media_type:
            seems = "no image that models see" if found is None else found
            why = f"it is called {block.media_type} and its bytes are {seems}: godwit.image finds out by itself"
            raise _refused(index, block, why, None, len(data), media_type=block.media_type, found=found)
    elif block.media_type == PDF and not is_pdf(data):
        raise _refused(index, block, f"it is called {PDF} and its bytes are none", None, len(data), media_type=PDF)
    elif is_text_file(block) and text_of_file(data) is None:
        raise _refused(index, block, f"it is called {block.media_type} and is no UTF-8 text", None, len(data))


def _check_image(index: int, block: Image, limits: AttachmentLimits, crowd: int | None) -> None:
    if block.data is None:
        return
    size = encoded_size(len(block.data))
    if limits.image_bytes is not None and size > limits.image_bytes:
        why = f"an image of {size} bytes in base64 is more than the {limits.image_bytes} that {limits.provider} takes"
        raise _refused(index, block, f"{why}: make it smaller", limits.image_bytes, size)
    side = limits.crowd_side if crowd is not None else limits.side
    pixels = pixels_of(block.data)
    if side is not None and pixels is not None and max(pixels) > side:
        among = f" of each image when there are more than {limits.crowd} (here {crowd})" if crowd is not None else ""
        why = f"{pixels[0]} x {pixels[1]} pixels are more than the {side} x {side} that {limits.provider} takes{among}"
        raise _refused(index, block, f"{why}: make it smaller", side, max(pixels), width=pixels[0], height=pixels[1])


def _check_document(index: int, block: Document, limits: AttachmentLimits) -> None:
    assert block.data is not None
    if is_text_file(block):
        if len(block.data) > limits.text_bytes:
            why = f"a text of {len(block.data)} bytes is more than {limits.text_bytes}: let the agent read it by its tools"
            raise _refused(index, block, why, limits.text_bytes, len(block.data))
        return
    size = encoded_size(len(block.data))
    if limits.document_bytes is not None and size > limits.document_bytes:
        why = f"a document of {size} bytes in base64 is more than the {limits.document_bytes} that {limits.provider} takes"
        raise _refused(index, block, f"{why}: send a part of it", limits.document_bytes, size)


def _refused(
    index: int, block: Image | Document | None, why: str, limit: int | None, size: int | None, **more: Any
) -> AttachmentRefused:
    return refused(index, None if block is None else block.name, why, limit=limit, size=size, **more)


def refused(index: int | None, name: str | None, why: str, **details: Any) -> AttachmentRefused:
    """That an attachment cannot be sent, and why. What is None is left out."""
    called = "" if not name else f" ({clean_name(name)})"
    at = "attachment" if index is None else f"attachments[{index}]"
    known = {key: value for key, value in details.items() if value is not None}
    return AttachmentRefused(
        f"{at}{called}: {why}", field="attachments", **({} if index is None else {"index": index}), **known
    )


def described(block: Block) -> str:
    """A file in a few words, for who sees none: what it is, its name, and how large."""
    match block:
        case Image() | Document():
            named = f" {clean_name(block.name)!r}" if block.name else ""
            kind = "image" if isinstance(block, Image) else "document"
            where = f"at {block.url}" if block.data is None and block.url else f"{len(block.data or b'')} bytes"
            return f"{kind}{named} ({block.media_type}, {where})"
        case Link():
            return f"link to {block.url}"
        case Text():
            return "text"
        case _:
            return "block"


__all__ = [
    "IMAGES",
    "MAX_FILE_BYTES",
    "AttachmentLimits",
    "Attachments",
    "ByUrl",
    "Link",
    "Source",
    "WireAttachment",
    "by_url_kind",
    "check_attachments",
    "clean_name",
    "described",
    "encoded_size",
    "is_text_file",
    "refused",
]
