"""Media: what a file is, told from its own bytes, and what of it a limit may be about: width and height, pages, text.

Pure. A file's name, its ending and what a server says of it have no say. Rules: no bytes make any of this raise, take much
memory or take longer than their length explains; what cannot be told is None, and never a guess.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from itertools import islice

PDF = "application/pdf"
PLAIN = "text/plain"
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""The images that models see."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
# What a person may take for an image or a document, though no provider takes it: known, to say what to do about it.
_OTHERS = (
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"PK\3\4", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x7fELF", "application/x-executable"),
)
_TEXTS = ("application/json", "application/xml", "application/x-yaml", "application/yaml", "application/toml")
_PDF_WITHIN = 1024
"""Readers look for a PDF's first line in so many bytes."""
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))

_PAGE = re.compile(rb"/Type\s{0,8}/Page(?![A-Za-z])")
_STREAM = re.compile(rb"stream\r?\n")
_NUMBER = re.compile(rb"(\d{1,10})\s{1,8}\d{1,5}\s{1,8}obj")
_HEADER = re.compile(rb"\s*(?:\d{1,10}\s+)*")
_UNPACKED_BYTES = 32 * 1024 * 1024
_PAGES = 20_000
"""Looked at, each once: more than any provider takes."""


def image_type(content: bytes) -> str | None:
    """The type of an image that models can see; None for everything else."""
    for signature, media_type in _SIGNATURES:
        if content.startswith(signature):
            return media_type
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def is_pdf(content: bytes) -> bool:
    """Whether a PDF begins here. What stands before its first line makes none of a text that only speaks of PDFs."""
    at = content[:_PDF_WITHIN].find(b"%PDF-")
    return at >= 0 and (not content[:at].strip(b"\xef\xbb\xbf \t\r\n\f\0") or b"startxref" in content)


def media_type_of(content: bytes) -> str | None:
    """`image/...`, `application/pdf` or, for text in UTF-8 or with a byte order mark, `text/plain`; None for all else."""
    found = image_type(content)
    if found is not None:
        return found
    if is_pdf(content):
        return PDF
    return None if text_of_file(content) is None else PLAIN


def other_type(content: bytes) -> str | None:
    """What a file seems to be that is neither an image for models, nor a PDF, nor text."""
    if content[4:8] == b"ftyp":
        return "image/heic" if content[8:12] in (b"heic", b"heix", b"mif1", b"heif") else "video/mp4"
    return next((media_type for signature, media_type in _OTHERS if content.startswith(signature)), None)


def is_text_type(media_type: str) -> bool:
    """Whether a file of this type can be put to a model as text."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXTS


def text_of_file(content: bytes) -> str | None:
    """The file as text: UTF-8, or UTF-16 with its byte order mark. None when it is none; one with a NUL is none."""
    encoding, start = "utf-8", 0
    for mark, name in _MARKS:
        if content.startswith(mark):
            encoding, start = name, len(mark)
            break
    try:
        text = content[start:].decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def pixels_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of an image, as its head says."""
    found: tuple[int, int] | None = None
    match image_type(content):
        case "image/png" if len(content) >= 24 and content[12:16] == b"IHDR":
            found = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        case "image/gif" if len(content) >= 10:
            found = int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
        case "image/jpeg":
            found = _jpeg_pixels(content)
        case "image/webp":
            found = _webp_pixels(content)
        case _:
            pass
    return found if found is not None and all(found) else None


def _jpeg_pixels(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these have no length
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(content[at + 7 : at + 9], "big"), int.from_bytes(content[at + 5 : at + 7], "big")
        else:
            at += 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
    return None


def _webp_pixels(content: bytes) -> tuple[int, int] | None:
    if len(content) < 30:
        return None
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
            return width, height
        case _:
            return None


def pages_of(content: bytes) -> int:
    """How many pages a PDF has at least: those that are found without a reader of PDFs. 0 when none is.

    Pages are counted by the number of their object, so one that was saved again counts once; what stands in compressed
    object streams is unpacked, up to a limit.
    """
    pages: set[bytes] = set()
    for found in islice(_PAGE.finditer(content), _PAGES):
        numbers = _NUMBER.findall(content, max(0, found.start() - 1000), found.start())
        if numbers:
            pages.add(numbers[-1])
    room, end = _UNPACKED_BYTES, 0
    for stream in _STREAM.finditer(content):
        if room <= 0:
            break
        # One within another is none, and would be looked at again and again.
        if stream.start() < end or b"/ObjStm" not in content[max(0, stream.start() - 400) : stream.start()]:
            continue
        end = content.find(b"endstream", stream.end())
        if end < 0:
            break
        try:
            unpacked = zlib.decompressobj().decompress(content[stream.end() : end], room)
        except zlib.error:
            continue
        room -= len(unpacked)
        pages |= _pages_within(unpacked)
    return len(pages)


def _pages_within(stream: bytes) -> set[bytes]:
    """The numbers of the pages in an object stream, which begins with each object's number and place."""
    head = _HEADER.match(stream)
    first = head.end() if head is not None else 0
    words = stream[:first].split()
    numbers, places = words[::2], [int(word) for word in words[1::2]]
    found: set[bytes] = set()
    for page in islice(_PAGE.finditer(stream, first), _PAGES):
        at = bisect_right(places, page.start() - first) - 1
        if 0 <= at < len(numbers):
            found.add(numbers[at])
    return found


__all__ = [
    "IMAGES",
    "PDF",
    "PLAIN",
    "image_type",
    "is_pdf",
    "is_text_type",
    "media_type_of",
    "other_type",
    "pages_of",
    "pixels_of",
    "text_of_file",
]
