"""Attaching: files beside the words of a message, from paths, bytes and addresses.

Owns `image` and `file`, and what `attachments=` may hold. Reads paths where it is called, so a remote handle reads those of
its own machine and a server never any; an address stays one (`Link`) until who drives the session fetches it. Rules: bytes
say what a file is; only ordinary files are read, and none that is too large; nothing is read twice.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import PurePath
from urllib.parse import unquote, urlsplit

from ..core.attachments import MAX_FILE_BYTES, Attachments, Link, LinkKind, Source, clean_name, refused
from ..core.errors import AttachmentRefused
from ..core.facts import Prompt
from ..core.media import PDF, PLAIN, image_type, is_pdf, other_type, text_of_file
from ..core.messages import Document, Image, UserBlock, user_content

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def image(source: Source, *, name: str | None = None) -> Image | Link:
    """An image for `attachments=`: png, jpeg, gif or webp, from its bytes, a path or an http address.

    A path is read at once. An address is fetched when the message is sent, by who drives the session, and what was there
    then is kept. `name`: in place of the one in the path or address. AttachmentRefused for what is no such image.
    """
    found = _taken(source, name, "image", None)
    assert isinstance(found, Image | Link)
    return found


def file(source: Source, *, name: str | None = None) -> Image | Document | Link:
    """Any file for `attachments=`: an image, a PDF, or text in UTF-8. As `image` for the rest."""
    return _taken(source, name, "file", None)


def block_of(content: bytes, *, name: str | None, kind: LinkKind = "file", url: str | None = None) -> Image | Document:
    """The bytes as what they are. AttachmentRefused when they are nothing that a model is sent."""
    return _block(content, name, kind, None, url)


def name_in(url: str) -> str | None:
    """The file's name in an address, if there is one."""
    try:
        last = unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError:
        return None
    return clean_name(last) or None


async def with_attachments(prompt: Prompt, attachments: Attachments) -> tuple[UserBlock | Link, ...]:
    """The content of a message: its files, then its words. Paths are read off the event loop. AttachmentRefused names the
    one that cannot be sent; InvalidArgument as `user_content` has it."""
    if not attachments:
        return user_content(prompt)
    if isinstance(attachments, str | bytes | bytearray | memoryview | os.PathLike):
        raise refused(None, None, "attachments is a list of them, also where it is one")
    files = await asyncio.to_thread(lambda: [_attached(given, place) for place, given in enumerate(attachments)])
    said = () if isinstance(prompt, str) and not prompt.strip() else user_content(prompt)
    return (*files, *said)


def _attached(given: object, place: int) -> Image | Document | Link:
    if isinstance(given, Image | Document | Link):
        return given
    if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview):
        return _taken(given, None, "file", place)
    raise refused(place, None, f"a path, an address, bytes or a block is needed, not {type(given).__name__}")


def _taken(source: object, name: str | None, kind: LinkKind, place: int | None) -> Image | Document | Link:
    if isinstance(source, bytes | bytearray | memoryview):
        return _block(bytes(source), name, kind, place, None)
    if isinstance(source, str) and _ADDRESS.match(source):
        return Link(source, kind, name)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if isinstance(path, str):
            return _block(_read(path, place), PurePath(path).name if name is None else name, kind, place, None)
    raise refused(place, name, f"a path, an http address or bytes are needed, not {type(source).__name__}")


def _read(path: str, place: int | None) -> bytes:
    try:
        # Not blocking, so that a named pipe that nobody writes to is refused and not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            size = found.st_size
            if stat.S_ISDIR(found.st_mode):
                raise refused(place, path, "it is a folder: name the files in it", path=path)
            if not stat.S_ISREG(found.st_mode):
                raise refused(place, path, "it is no ordinary file", path=path)
            content = None
            if size <= MAX_FILE_BYTES:
                with open(descriptor, "rb", closefd=False) as opened:
                    content = opened.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise refused(place, path, f"it cannot be read: {why}", path=path) from None
    if content is None or len(content) > MAX_FILE_BYTES:
        raise refused(
            place, path, f"{size} bytes are more than {MAX_FILE_BYTES}", size=size, limit=MAX_FILE_BYTES, path=path
        )
    return content


def _block(content: bytes, name: str | None, kind: LinkKind, place: int | None, url: str | None) -> Image | Document:
    called = None if name is None else clean_name(name) or None
    if not content:
        raise refused(place, called, "there is nothing in it", size=0)
    if media_type := image_type(content):
        return Image(media_type, content, url, called)
    if kind == "file":
        if is_pdf(content):
            return Document(PDF, content, url, called)
        text = text_of_file(content)
        if text is not None:
            return Document(PLAIN, text.encode("utf-8", "replace"), url, called)
    raise _no_file(content, called, kind, place)


def _no_file(content: bytes, name: str | None, kind: LinkKind, place: int | None) -> AttachmentRefused:
    other = other_type(content) or (PDF if is_pdf(content) else None)
    seems = "" if other is None else f" (it seems to be {other})"
    if kind == "image":
        why = f"it is no png, jpeg, gif or webp image{seems}: convert it, or use godwit.file for a PDF or a text"
    else:
        why = f"it is no png, jpeg, gif or webp image, no PDF and no text in UTF-8{seems}: convert it to one of these"
    return refused(place, name, why, size=len(content), found=other)


__all__ = ["block_of", "file", "image", "name_in", "with_attachments"]
