"""Content: what messages are made of, as AG-UI's content parts and as ours.

What a part holds that nobody here can use (sound, films, files that are only at a provider) is left out, as the protocol has
it: it never ends a run.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Literal

from ...core.messages import Document, Image, ResultBlock, Text, UserBlock
from .events import Shape


class DataSource(Shape, frozen=True, kw_only=True, tag="data", tag_field="type"):
    value: str
    mime_type: str


class UrlSource(Shape, frozen=True, kw_only=True, tag="url", tag_field="type"):
    value: str
    mime_type: str | None = None


class FileSource(Shape, frozen=True, kw_only=True, tag="file", tag_field="type"):
    value: str
    provider: str | None = None
    mime_type: str | None = None


Source = DataSource | UrlSource | FileSource


class TextPart(Shape, frozen=True, kw_only=True, tag="text", tag_field="type"):
    text: str


class ImagePart(Shape, frozen=True, kw_only=True, tag="image", tag_field="type"):
    source: Source
    metadata: Any = None


class AudioPart(Shape, frozen=True, kw_only=True, tag="audio", tag_field="type"):
    source: Source


class VideoPart(Shape, frozen=True, kw_only=True, tag="video", tag_field="type"):
    source: Source


class DocumentPart(Shape, frozen=True, kw_only=True, tag="document", tag_field="type"):
    source: Source
    metadata: Any = None


class BinaryPart(Shape, frozen=True, kw_only=True, tag="binary", tag_field="type"):
    """A file as clients before 1.0 send it."""

    mime_type: str
    id: str | None = None
    url: str | None = None
    data: str | None = None
    filename: str | None = None


Part = TextPart | ImagePart | AudioPart | VideoPart | DocumentPart | BinaryPart
Content = str | list[Part]


def blocks_of(content: Content) -> tuple[list[UserBlock], list[str]]:
    """The blocks of a message, and what of it was left out, in words."""
    if isinstance(content, str):
        return ([Text(content)] if content.strip() else []), []
    blocks: list[UserBlock] = []
    left: list[str] = []
    for part in content:
        match part:
            case TextPart(text=text):
                if text.strip():
                    blocks.append(Text(text))
            case ImagePart(source=source) | DocumentPart(source=source):
                kind: Literal["image", "document"] = "image" if isinstance(part, ImagePart) else "document"
                found = _file(kind, source, _name(part.metadata))
                (blocks if found is not None else left).append(found or f"{kind} ({_why(source)})")  # type: ignore[arg-type]
            case AudioPart() | VideoPart():
                left.append(str(part.__struct_config__.tag))
            case BinaryPart():
                found = _binary(part)
                (blocks if found is not None else left).append(found or f"file ({part.mime_type})")  # type: ignore[arg-type]
    return blocks, left


def content_of(blocks: Sequence[UserBlock]) -> str | list[dict[str, Any]]:
    """Blocks as a message's content: text alone as one text."""
    if all(isinstance(block, Text) for block in blocks):
        return "\n\n".join(block.text for block in blocks if isinstance(block, Text))
    return [part_of(block) for block in blocks]


def result_content(blocks: Sequence[ResultBlock]) -> str | list[dict[str, Any]]:
    """A result's blocks as its content: text alone as one text, as its model reads it."""
    if all(isinstance(block, Text) for block in blocks):
        return "".join(block.text for block in blocks if isinstance(block, Text))
    return [part_of(block) for block in blocks]


def part_of(block: UserBlock) -> dict[str, Any]:
    """A block as a content part."""
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case (
            Image(media_type=kind, data=data, url=url, name=name) | Document(media_type=kind, data=data, url=url, name=name)
        ):
            source = (
                {"type": "data", "value": base64.b64encode(data).decode(), "mimeType": kind}
                if data is not None
                else {"type": "url", "value": url or "", "mimeType": kind}
            )
            part: dict[str, Any] = {"type": "image" if isinstance(block, Image) else "document", "source": source}
            return part if name is None else {**part, "metadata": {"filename": name}}


def _file(kind: Literal["image", "document"], source: Source, name: str | None) -> UserBlock | None:
    make = Image if kind == "image" else Document
    match source:
        case DataSource(value=value, mime_type=media_type):
            try:
                return make(media_type, data=base64.b64decode(value, validate=True), name=name)
            except (binascii.Error, ValueError):
                return None
        case UrlSource(value=value, mime_type=given):
            if not value.startswith(("https://", "http://")):
                return None
            return make(given or ("image/png" if kind == "image" else "application/pdf"), url=value, name=name)
        case FileSource():
            return None


def _binary(part: BinaryPart) -> UserBlock | None:
    kind: Literal["image", "document"] = "image" if part.mime_type.startswith("image/") else "document"
    if part.mime_type.startswith(("audio/", "video/")):
        return None
    if part.data is not None:
        return _file(kind, DataSource(value=part.data, mime_type=part.mime_type), part.filename)
    if part.url is not None:
        return _file(kind, UrlSource(value=part.url, mime_type=part.mime_type), part.filename)
    return None


def _name(metadata: Any) -> str | None:
    found = metadata.get("filename") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) and found else None


def _why(source: Source) -> str:
    match source:
        case DataSource():
            return "its data is no base64"
        case UrlSource():
            return "its address is neither http nor https"
        case FileSource():
            return "it is only at its provider"


__all__ = ["BinaryPart", "Content", "Part", "blocks_of", "content_of", "part_of", "result_content"]
