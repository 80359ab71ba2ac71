"""Content blocks, as this protocol writes them and as godwit does.

What would not come back as it was given is refused: a document's `context`, a source that is not at hand.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ...core.errors import InvalidArgument
from ...core.messages import Document, Image, ResultBlock, Text, UserBlock

Files = Mapping[str, tuple[str, bytes, str]]
"""Media type, content and name of files, by their ids."""
_PLAIN, _PDF = "text/plain", "application/pdf"
_TEXTS = ("application/json", "application/xml", "application/x-yaml", "application/toml")
"""Documents that are text although their type does not say so."""
MOST_BLOCKS = 1000


def written(blocks: Sequence[UserBlock | ResultBlock]) -> list[dict[str, Any]]:
    """Our blocks in their words."""
    return [_written(block) for block in blocks]


def _written(block: UserBlock | ResultBlock) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Image():
            return {"type": "image", "source": _source(block)}
        case Document():
            titled = {} if block.name is None else {"title": block.name}
            return {"type": "document", "source": _source(block), **titled}


def _source(block: Image | Document) -> dict[str, Any]:
    if block.url is not None:
        return {"type": "url", "url": block.url}
    data = block.data or b""
    if isinstance(block, Document) and block.media_type == _PLAIN:
        return {"type": "text", "media_type": _PLAIN, "data": data.decode("utf-8", "replace")}
    return {"type": "base64", "media_type": block.media_type, "data": base64.b64encode(data).decode()}


def files_in(given: object) -> set[str]:
    """The ids of all files that content in here names as its source; for what is not content, none."""
    found: set[str] = set()
    pending = [given]
    while pending:
        match pending.pop():
            case list() as several:
                pending += several
            case {"type": "file", "file_id": str() as file}:
                found.add(file)
            case dict() as fields:
                pending += [fields[name] for name in ("content", "source") if name in fields]
    return found


def read_blocks(
    given: object, at: str, *, results: bool = False, files: Files = MappingProxyType({})
) -> tuple[UserBlock, ...]:
    """Their blocks in ours. `results`: search results are taken as well. `files`: those that the content names, by their
    ids. InvalidArgument names the place in the body."""
    if not isinstance(given, list):
        raise InvalidArgument(f"{at}: a list of content blocks is needed, not {_kind(given)}", at=at)
    if len(given) > MOST_BLOCKS:
        raise InvalidArgument(f"{at}: {len(given)} blocks are more than {MOST_BLOCKS}", at=at)
    blocks: list[UserBlock] = []
    for number, block in enumerate(given):
        blocks.append(_read(block, f"{at}.{number}", results, files))
    return tuple(blocks)


def _read(block: object, at: str, results: bool, files: Files) -> UserBlock:
    fields = an_object(block, at)
    match fields.get("type"):
        case "text":
            only(fields, at, "type", "text")
            return Text(a_text(fields, at, "text"))
        case "image":
            only(fields, at, "type", "source")
            return _image(fields.get("source"), f"{at}.source", files)
        case "document":
            only(fields, at, "type", "source", "title", "context")
            if fields.get("context"):
                raise InvalidArgument(f"{at}.context: put what is to be known of a document into a text block", at=at)
            return _document(fields.get("source"), f"{at}.source", an_optional_text(fields, at, "title"), files)
        case "search_result" if results:
            return Text(_search_result(fields, at))
        case "redacted":
            raise InvalidArgument(f"{at}: a redacted block holds nothing that a model could be sent", at=at)
        case other:
            known = "text, image, document" + (", search_result" if results else "")
            raise InvalidArgument(f"{at}.type: {other!r} is none of {known}", at=at, value=repr(other))


def _image(source: object, at: str, files: Files) -> Image:
    fields = an_object(source, at)
    match fields.get("type"):
        case "base64":
            only(fields, at, "type", "media_type", "data")
            media_type = a_text(fields, at, "media_type")
            if not media_type.startswith("image/"):
                raise InvalidArgument(f"{at}.media_type: {media_type!r} is no image's", at=at, value=media_type)
            return Image(media_type, data=_bytes(fields, at))
        case "url":
            only(fields, at, "type", "url")
            url = _url(fields, at)
            guessed = mimetypes.guess_type(url.partition("?")[0])[0]
            return Image(guessed if guessed and guessed.startswith("image/") else "image/png", url=url)
        case "file":
            kind, data, _ = _file(fields, at, files)
            if not kind.startswith("image/"):
                raise InvalidArgument(f"{at}.file_id: the file is {kind}, which is no image", at=at, value=kind)
            return Image(kind, data=data)
        case other:
            raise _no_source(other, at, "base64, url, file")


def _document(source: object, at: str, title: str | None, files: Files) -> Document:
    fields = an_object(source, at)
    match fields.get("type"):
        case "base64":
            only(fields, at, "type", "media_type", "data")
            data = _bytes(fields, at)
            media_type = a_text(fields, at, "media_type")
            if media_type == _PLAIN:
                _need_text(data, at)
            return Document(media_type, data=data, name=title)
        case "text":
            only(fields, at, "type", "media_type", "data")
            if fields.get("media_type") != _PLAIN:
                raise InvalidArgument(f"{at}.media_type: a source of type text is {_PLAIN}", at=at)
            return Document(_PLAIN, data=a_text(fields, at, "data").encode(), name=title)
        case "url":
            only(fields, at, "type", "url")
            url = _url(fields, at)
            guessed = mimetypes.guess_type(url.partition("?")[0])[0]
            return Document(guessed or "application/pdf", url=url, name=title)
        case "file":
            kind, data, name = _file(fields, at, files)
            if kind.startswith("text/") or kind in _TEXTS:
                _need_text(data, at)
                kind = _PLAIN
            elif kind != _PDF:
                raise InvalidArgument(f"{at}.file_id: the file is {kind}; a document is {_PDF} or text", at=at, value=kind)
            return Document(kind, data=data, name=title or name)
        case other:
            raise _no_source(other, at, "base64, text, url, file")


def _file(fields: dict[str, Any], at: str, files: Files) -> tuple[str, bytes, str]:
    """Media type, content and name of the file that a source names."""
    only(fields, at, "type", "file_id")
    found = files.get(a_text(fields, at, "file_id"))
    if found is None:
        raise InvalidArgument(f"{at}.file_id: there is no file {fields['file_id']!r}", at=at, value=fields["file_id"])
    if not found[1]:
        raise InvalidArgument(f"{at}.file_id: there is nothing in the file", at=at)
    return found


def _no_source(kind: object, at: str, known: str) -> InvalidArgument:
    return InvalidArgument(f"{at}.type: {kind!r} is none of {known}", at=at, value=repr(kind))


def _bytes(fields: dict[str, Any], at: str) -> bytes:
    try:
        data = base64.b64decode(a_text(fields, at, "data"), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{at}.data: this is not base64", at=at) from None
    if not data:
        raise InvalidArgument(f"{at}.data: there is nothing in it", at=at)
    return data


def _need_text(data: bytes, at: str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{at}.data: text/plain has to be UTF-8", at=at) from None


def _url(fields: dict[str, Any], at: str) -> str:
    url = a_text(fields, at, "url")
    if not url.startswith(("https://", "http://")):
        raise InvalidArgument(f"{at}.url: {url[:100]!r} is no http address", at=at, value=url[:100])
    return url


def _search_result(fields: dict[str, Any], at: str) -> str:
    """A found passage as text: where it is from, and what it says."""
    only(fields, at, "type", "citations", "content", "source", "title")
    content = fields.get("content")
    if not isinstance(content, list):
        raise InvalidArgument(f"{at}.content: a list of text blocks is needed", at=at)
    lines = [f"{a_text(fields, at, 'title')} ({a_text(fields, at, 'source')})"]
    for number, part in enumerate(content):
        inner = an_object(part, f"{at}.content.{number}")
        if inner.get("type") != "text":
            raise InvalidArgument(f"{at}.content.{number}.type: only text stands in a search result", at=at)
        lines.append(a_text(inner, f"{at}.content.{number}", "text"))
    return "\n".join(lines)


# --- fields -----------------------------------------------------------------------------------------------------------


def an_object(given: object, at: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidArgument(f"{at}: an object is needed, not {_kind(given)}", at=at)
    return given


def only(fields: dict[str, Any], at: str, *known: str) -> None:
    """InvalidArgument when there are others."""
    others = sorted(set(fields) - set(known))
    if others:
        raise InvalidArgument(f"{at}.{others[0]}: no such field here; known are {', '.join(known)}", at=at)


def a_text(fields: dict[str, Any], at: str, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidArgument(f"{at}.{name}: a text is needed, not {_kind(value)}", at=at)
    return value


def an_optional_text(fields: dict[str, Any], at: str, name: str) -> str | None:
    return None if fields.get(name) is None else a_text(fields, at, name)


def an_optional_flag(fields: dict[str, Any], at: str, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidArgument(f"{at}.{name}: true or false is needed, not {_kind(value)}", at=at)
    return bool(value)


def _kind(given: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a flag", int: "a number", float: "a number"}
    return "nothing" if given is None else names.get(type(given), type(given).__name__)
