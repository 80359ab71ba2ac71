"""Checkpoints of a workspace's files, as data: what to keep, and how two states differ."""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from .errors import ConfigurationError

CheckpointRef = NewType("CheckpointRef", str)
"""`tree:<hex>`, the hash of a listing of paths, kinds, modes and contents: equal trees have equal refs."""


class CheckpointPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the files are kept before each turn that may change them, and which.

    `ignored`: files that .gitignore leaves out are kept `never`, when they were `changed` since the first checkpoint, or
    `always`. `max_file_bytes`: larger files are noted and not kept. `keep_count`, `keep_age_s`, `keep_bytes`: what is
    older than the newest so many, so old, or beyond so many bytes is let go of; None keeps all.
    """

    enabled: bool = True
    ignored: Literal["never", "changed", "always"] = "changed"
    max_file_bytes: int = 64 * 1024 * 1024
    keep_count: int | None = None
    keep_age_s: float | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_file_bytes", "keep_count", "keep_age_s", "keep_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigurationError(f"checkpoint {name}={value!r} must be more than 0", limit=name, value=value)


class FileChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one path differs between two states: what restoring would do to it. `binary`: it has no text diff.

    `conflict`: a person changed it since the agent did, so restoring would lose their work.
    """

    path: str
    change: Literal["added", "modified", "deleted", "mode", "type"]
    binary: bool = False
    added_lines: int = 0
    removed_lines: int = 0
    conflict: bool = False
