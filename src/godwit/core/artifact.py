"""Artifacts as a session holds them, and how many it may hold.

Data. Leaves out the contents and who lets go of what (the store). Rule: a limit is never exceeded by what is not pinned.
"""

from __future__ import annotations

import msgspec

from .errors import ConfigurationError
from .ids import ArtifactRef


class ArtifactLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of large outputs. None: without limit. 0 keeps nothing that is not pinned.

    `max_artifacts`, `max_bytes`: of one session. `total_artifacts`, `total_bytes`: of the whole store, where an artifact
    that several sessions hold counts once. Beyond a limit the oldest go first; pinned ones count, and never go.
    """

    max_artifacts: int | None = None
    max_bytes: int | None = None
    total_artifacts: int | None = None
    total_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigurationError(f"artifact limit {name}={value!r} must be a number from 0, or None", value=value)


class HeldArtifact(msgspec.Struct, frozen=True):
    """An artifact that a session holds. `size` in bytes; `stored_ms`: when it was last stored, by the store's clock."""

    ref: ArtifactRef
    size: int
    media_type: str
    pinned: bool
    stored_ms: int
