"""Blocks of content as the formats write them, as ours. What is not known is kept in a block of its provider."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ...core.messages import Document, Image, ResultBlock, Text, UserBlock


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    """A count of tokens; 0 for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def money(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 else None


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def blocks(value: Any) -> tuple[tuple[UserBlock, ...], list[Any]]:
    """The texts, images and documents of a message, and what else there was in it."""
    if isinstance(value, str):
        return ((Text(value),) if value else ()), []
    found: list[UserBlock] = []
    strange: list[Any] = []
    for one in value if isinstance(value, list) else []:
        block = Text(one) if isinstance(one, str) else block_of(mapping(one))
        if block is None:
            strange.append(one)
        else:
            found.append(block)
    return tuple(found), strange


def results(value: Any) -> tuple[ResultBlock, ...]:
    """The content of a result. What is no text, image or document is there as JSON, so that the model still sees it."""
    import msgspec

    found, strange = blocks(value)
    return (*found, *(Text(msgspec.json.encode(one).decode()) for one in strange))


def block_of(one: dict[str, Any]) -> UserBlock | None:
    """A text, an image or a document; None for anything else."""
    match one.get("type"):
        case "text" if isinstance(one.get("text"), str):
            return Text(one["text"])
        case "image":
            return _media(one, Image)
        case "document" | "file":
            return _media(one, Document)
        case _:
            return None


def _media(one: dict[str, Any], kind: type[Image] | type[Document]) -> Image | Document | None:
    source = mapping(one.get("source")) or one
    media = text(source.get("media_type") or source.get("mimeType") or source.get("mediaType"))
    media = media or ("image/png" if kind is Image else "application/pdf")
    url = source.get("url")
    if isinstance(url, str) and url and not url.startswith("data:"):
        return kind(media, url=url)
    data = source.get("data")
    if source.get("type") == "text" and isinstance(data, str):
        return Document("text/plain", data=data.encode())
    if not isinstance(data, str):
        return None
    try:
        return kind(media, data=base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
