"""Shape: what the bodies of dialects are made of. Strict, and a field that nobody knows is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

import pydantic

PAIRS, KEY, VALUE = 16, 64, 512
"""Limits of metadata, the same in all dialects that have it: pairs, and characters of a key and of a value."""


class Shape(pydantic.BaseModel):
    """Base of bodies. `has` tells what was left out from what was given as null."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    def has(self, name: str) -> bool:
        """The field was given, be it as null."""
        return name in self.model_fields_set


def metadata_problem(given: Mapping[str, str]) -> str | None:
    """What of the metadata is beyond its limits; None when nothing is."""
    problem = f"{len(given)} pairs are more than {PAIRS}" if len(given) > PAIRS else None
    for key, value in given.items():
        if not 0 < len(key) <= KEY:
            problem = f"key {key[:80]!r} does not have 1 to {KEY} characters"
        elif len(value) > VALUE:
            problem = f"the value of {key!r} has {len(value)} characters, more than {VALUE}"
    return problem
