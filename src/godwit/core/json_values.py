"""JSON values from outside: whether what was given can be stored, and comes back as the same value.

Rule: what passes here can be written and read at any place of the program, so neither its size nor its depth depends on who
reads it: what is nested too deeply is refused, for a decoder's own bound is that of the stack it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .errors import InvalidArgument

INPUT_METADATA_BYTES: Final = 16_384
"""The most that the metadata of a message or of an answer has, as JSON."""
DEPTH: Final = 64
"""How deeply lists and objects may be nested."""


def json_value(value: object, what: str, *, limit: int) -> Any:
    """The value as JSON has it: tuples are lists, keys texts. InvalidArgument, which names it by `what`, when it is no JSON,
    nested more than `DEPTH` deep, or has more than `limit` bytes."""
    try:
        encoded = msgspec.json.encode(value)
        found: Any = msgspec.json.decode(encoded)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidArgument(f"{what} cannot be stored as JSON: {error}") from None
    if len(encoded) > limit:
        raise InvalidArgument(
            f"{what} has {len(encoded):,} bytes as JSON, and may have {limit:,}", bytes=len(encoded), limit=limit
        )
    if not is_within(found, DEPTH):
        raise InvalidArgument(f"{what} is nested more than {DEPTH} deep", limit=DEPTH)
    return found


def input_metadata(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata of an input as it is stored. InvalidArgument when it is no JSON object, or too large."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"metadata is an object with names for its values, not {type(given).__name__}")
    found: dict[str, Any] = json_value(dict(given), "metadata", limit=INPUT_METADATA_BYTES)
    return found


def is_within(value: Any, depth: int) -> bool:
    """Whether nothing of it is nested deeper; level by level, for it may be as deep as the stack."""
    level = [value]
    for _ in range(depth + 1):
        below: list[Any] = []
        for one in level:
            kind = type(one)  # of a value as it was decoded: nothing else is a list or an object
            if kind is dict:
                below.extend(one.values())
            elif kind is list:
                below.extend(one)
        if not below:
            return True
        level = below
    return False


__all__ = ["DEPTH", "INPUT_METADATA_BYTES", "input_metadata", "is_within", "json_value"]
