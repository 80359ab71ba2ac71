"""What a Python function returned, as a tool's output.

Text stays text, content blocks stay blocks, data becomes compact JSON. `None` reads as "(no output)", because models take an
empty result for a failure. What cannot be shown raises ToolFailed and says what to return instead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..contracts import ToolOutput
from ..core.errors import ToolFailed
from ..core.media import image_type
from ..core.messages import Document, Image, Text
from .typed import clean

_NOTHING = "(no output)"


def output_of(value: Any) -> ToolOutput:
    """The output for any value a function may return."""
    if isinstance(value, ToolOutput):
        return value
    if isinstance(value, Text | Image | Document):
        return ToolOutput((value,))
    if isinstance(value, tuple | list) and value and all(isinstance(item, Text | Image | Document) for item in value):
        return ToolOutput(tuple(value))
    if value is None:
        return ToolOutput((Text(_NOTHING),))
    if isinstance(value, str):
        return ToolOutput((Text(clean(str(value)) or _NOTHING),))
    if isinstance(value, bytes | bytearray | memoryview):
        return ToolOutput((_binary(bytes(value)),))
    try:
        return ToolOutput((Text(msgspec.json.encode(value, enc_hook=_encodable).decode()),))
    except (TypeError, ValueError, RecursionError, UnicodeError) as error:
        raise ToolFailed(
            f"the tool returned a {type(value).__name__} that is no JSON ({error}): return text or data"
        ) from error


def _binary(content: bytes) -> Text | Image:
    media_type = image_type(content)
    if media_type is not None:
        return Image(media_type, content)
    try:
        return Text(content.decode() or _NOTHING)
    except UnicodeDecodeError:
        raise ToolFailed(
            f"the tool returned {len(content)} bytes that are neither text nor a png, jpeg, gif or webp image: "
            "return text, an Image or a Document"
        ) from None


def _encodable(value: Any) -> Any:
    # Pydantic models, without importing pydantic for those who return none.
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"{type(value).__name__} cannot be encoded")
