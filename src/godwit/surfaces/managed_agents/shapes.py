"""Shape: what bodies of this protocol are made of. Strict, and a field that nobody knows is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

import pydantic

from ...core.errors import InvalidArgument

PAIRS, KEY, VALUE = 16, 64, 512
"""Limits of metadata: pairs, and characters of a key and of a value."""


class Shape(pydantic.BaseModel):
    """Base of all bodies. `model_fields_set` tells what was left out from what was given as null."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    def has(self, name: str) -> bool:
        """The field was given, be it as null."""
        return name in self.model_fields_set


def metadata_of(given: Mapping[str, str], *, code: str | None = None) -> dict[str, str]:
    """Metadata within its limits. InvalidArgument; `code`: its `error_code`."""
    problem = None
    if len(given) > PAIRS:
        problem = f"{len(given)} pairs are more than {PAIRS}"
    for key, value in given.items():
        if not 0 < len(key) <= KEY:
            problem = f"key {key[:80]!r} does not have 1 to {KEY} characters"
        elif len(value) > VALUE:
            problem = f"the value of {key!r} has {len(value)} characters, more than {VALUE}"
    if problem is not None:
        raise InvalidArgument(f"metadata: {problem}", **({} if code is None else {"error_code": code}))
    return dict(given)


def patched(old: Mapping[str, str], patch: Mapping[str, str | None] | None, *, code: str | None = None) -> dict[str, str]:
    """The metadata with these pairs set, and those of them that are None gone."""
    merged = {**old, **(patch or {})}
    return metadata_of({key: value for key, value in merged.items() if value is not None}, code=code)
