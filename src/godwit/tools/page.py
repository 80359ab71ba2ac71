"""Page: what the bytes of a response say, as text, or why they say nothing to a model.

Owns media types, charsets and what is refused; leaves out getting the bytes (`fetch.py`) and reading HTML (`markdown.py`).
Rules: what is no text is refused with its type and size before its body is read, and again when the body shows it; a charset
is one of a fixed list, never whatever codec Python happens to have.
"""

from __future__ import annotations

import codecs
import re

import msgspec

from ..core.errors import ToolFailed
from .fetch import Answer
from .markdown import markdown_of, without_unseen

MAX_HTML = 2_000_000
"""Characters of HTML that are read; what follows is left out."""

_TEXT_TYPES = re.compile(
    r"text/[\w.+-]{1,60}|application/(?:[\w.-]{1,60}\+)?(?:json|xml|yaml|toml)|application/(?:json|xml)-[\w.+-]{1,60}|"
    r"application/(?:x-)?(?:yaml|toml|sh|javascript|ecmascript|typescript|ndjson|jsonlines|sql|httpd-php|tex|latex|perl|"
    r"python|ruby|pem-file|subrip)|application/(?:graphql|rtf|mbox|n-triples|sparql-query|jsonl|json5)|image/svg\+xml|"
    r"message/[\w.+-]{1,60}",
    re.ASCII,
)
"""Media types are shown beside the text, so they are no place for words of whoever sent them."""
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TYPE = re.compile(r"[a-z]{1,12}/[a-z0-9.+-]{1,80}")
_UNTOLD = ("", "application/octet-stream", "binary/octet-stream", "application/unknown", "unknown/unknown")
"""Types that say nothing: what it is shows in the bytes."""
_LOOKS_HTML = re.compile(
    r"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s++html|html|head|body)\b", re.I | re.S
)
_META = re.compile(rb"""<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_XML = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""", re.I)
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"\x7fELF", "application/x-executable"),
)

# By https://encoding.spec.whatwg.org: on the web these mean more than they say.
_ALIASES = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"
}  # fmt: skip
_KNOWN = frozenset(
    {
        "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp1252", "gb18030", "cp932",
        "cp949", "big5", "big5hkscs", "euc_jp", "iso2022_jp", "iso2022_kr", "koi8-r", "koi8-u", "cp866", "cp874", "tis-620",
        "mac-roman", "mac-cyrillic", "johab", "hz",
        *(f"cp125{n}" for n in range(10)), *(f"iso8859-{n}" for n in range(2, 17)),
    }
)  # fmt: skip
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Page(msgspec.Struct, frozen=True):
    """`cut`: the page goes on behind its text."""

    text: str
    media_type: str
    charset: str
    title: str = ""
    cut: bool = False


def check(answer: Answer) -> bool:
    """Whether the answer's body is worth reading, by its head. ToolFailed when it is no text."""
    media_type = _media_type(answer)
    if media_type not in _UNTOLD and not _TEXT_TYPES.fullmatch(media_type):
        size = answer.headers.get("content-length", "")
        told = f"{size} bytes" if size.isascii() and size.isdigit() and len(size) < 16 else "of unknown size"
        raise _no_text(answer, media_type, told)
    return True


def page_of(answer: Answer, *, raw: bool = False) -> Page:
    """The body as text: HTML as Markdown unless `raw`, everything else as it is. ToolFailed when it is no text.

    May take seconds for a large page: not for the event loop.
    """
    body, media_type = answer.body, _media_type(answer)
    seen = next((kind for signature, kind in _SIGNATURES if body.startswith(signature)), None)
    charset = _charset(answer, body)
    if seen is not None or (b"\0" in body and not charset.startswith(("utf-16", "utf-32"))):
        raise _no_text(answer, seen or media_type or "application/octet-stream", f"{len(body)} bytes read")
    if media_type in _UNTOLD and _control(body[:4096]) and not charset.startswith(("utf-16", "utf-32")):
        raise _no_text(answer, "application/octet-stream", f"{len(body)} bytes read")
    text = body.decode(charset, "replace").removeprefix("\ufeff")
    is_html = media_type in _HTML_TYPES or (media_type in _UNTOLD and _LOOKS_HTML.match(text[:4096]) is not None)
    told_type = media_type if media_type not in _UNTOLD else "text/html" if is_html else "text/plain"
    if is_html and not raw:
        cut = answer.cut or len(text) > MAX_HTML
        shown, title, full = markdown_of(text[:MAX_HTML], answer.url.shown)
        return Page(shown, told_type, charset, title, cut or full)
    return Page(without_unseen(text.replace("\r\n", "\n")), told_type, charset, "", answer.cut)


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _no_text(answer: Answer, media_type: str, told: str) -> ToolFailed:
    shown = media_type if _TYPE.fullmatch(media_type) else "something"
    failed = f" (status {answer.status})" if answer.status >= 400 else ""
    return ToolFailed(
        f"{answer.url.brief}{failed} is {shown}, {told}: only text can be fetched, such as HTML, JSON and plain text",
        media_type=shown,
        status=answer.status,
    )


def _charset(answer: Answer, body: bytes) -> str:
    """A byte order mark counts most, then the header, then what the page says of itself, then what it looks like."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return name
    told = _CHARSET.search(answer.headers.get("content-type", "")[:500])
    if told is not None and (known := _codec(told[1])):
        return known
    head = body[:4096]
    within = _XML.match(head.lstrip()) or _META.search(head)
    if within is not None and (known := _codec(within[1].decode("ascii"))):
        # What says so of itself in single bytes is in no charset of two or four.
        return "utf-8" if known.startswith(("utf-16", "utf-32")) else known
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        # A cut may go through a character.
        return "utf-8" if answer.cut and error.start >= len(body) - 4 else "cp1252"
    return "utf-8"


def _codec(label: str) -> str | None:
    try:
        name: str = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _ALIASES.get(name, name)
    return name if name in _KNOWN else None


def _control(head: bytes) -> bool:
    """Whether there is much in it that no text has."""
    return sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head) * 100 > len(head)
