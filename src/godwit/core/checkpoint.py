"""Checkpoints of a workspace's files, as data: what to keep, and how two states differ.

Paths are relative to the workspace, with `/`, as `os.fsdecode` gives them: a name that is no UTF-8 has lone surrogates in
it, so texts for people and for JSON are made with `shown_path`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType

import msgspec

from .errors import ConfigurationError
from .ids import Seq

CheckpointRef = NewType("CheckpointRef", str)
"""`tree:<hex>`, the hash of a listing of paths, kinds, modes and contents: equal trees have equal refs."""

CheckpointMoment = Literal["before", "after", "manual"]
"""When it was taken: before a turn's first effect, after its last, or because a person asked."""


class CheckpointPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the files are kept before each turn that may change them, and which.

    `ignored`: what .gitignore leaves out is kept `never`, `always`, or, by default, `small`: as other files are, but for an
    ignored folder of more than `max_ignored_files` files or `max_ignored_bytes` bytes, which is left out as a whole.
    `max_file_bytes`: larger files are noted and not kept. `max_files`, `max_bytes`: a workspace of more is not kept at all,
    and taking a checkpoint of it fails. `on_failure`: when no checkpoint can be taken, a turn's calls that might change
    files are not run (`block`), or they are and the log says that they cannot be undone (`warn`).

    `keep_count`, `keep_age_s`, `keep_bytes`: of one session's checkpoints, those beyond the newest so many, those older,
    and the oldest beyond so many bytes of content are let go of; None keeps all.
    """

    enabled: bool = True
    ignored: Literal["never", "small", "always"] = "small"
    on_failure: Literal["block", "warn"] = "block"
    max_file_bytes: int = 64 * 1024 * 1024
    max_files: int = 200_000
    max_bytes: int = 4 * 1024 * 1024 * 1024
    max_ignored_files: int = 2_000
    max_ignored_bytes: int = 32 * 1024 * 1024
    keep_count: int | None = None
    keep_age_s: float | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name.startswith(("max_", "keep_")):
                value = getattr(self, name)
                if value is not None and not value > 0:  # nor NaN
                    raise ConfigurationError(f"checkpoint {name}={value!r} must be more than 0", limit=name, value=value)


class FileChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one path differs between two states. `type`: it became another kind of thing, a folder for a file say.

    `ignored`: .gitignore leaves it out, or it is a cache by its name. `binary`: it has no text diff. `kept` False: its
    content is not kept on one of the sides, so it cannot be put back.
    `conflict`: a person changed it since the agent did, so putting it back would lose their work.
    """

    path: str
    change: Literal["added", "modified", "deleted", "mode", "type"]
    folder: bool = False
    ignored: bool = False
    binary: bool = False
    kept: bool = True
    added_lines: int = 0
    removed_lines: int = 0
    conflict: bool = False


class FileDiff(msgspec.Struct, frozen=True):
    """What leads from one state to another: by path, with lines counted, and as the text of a unified diff.

    `cut`: the text was longer than allowed and ends early; `changes` is complete all the same.
    """

    changes: tuple[FileChange, ...]
    text: str
    cut: bool = False


class LeftAlone(msgspec.Struct, frozen=True):
    """A path that was not put back, and why: it stays as it is."""

    path: str
    reason: str


class KeptCheckpoint(msgspec.Struct, frozen=True):
    """A state that is kept for a session. `taken_ms`: when it was last seen so."""

    ref: CheckpointRef
    taken_ms: int


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkpoint as the log tells of it. `turn` None: outside a turn. `kept` False: it was let go of, by policy.

    Without a `ref` none could be taken, and `error` says why.
    """

    seq: Seq
    at_ms: int
    when: CheckpointMoment
    ref: CheckpointRef | None = None
    turn: int | None = None
    kept: bool = True
    error: str | None = None


def shown_path(path: str) -> str:
    """The path as text that any screen, log and JSON can hold: what is no UTF-8, and control characters, as `\\xNN`."""
    if path.isascii() and path.isprintable():
        return path
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


OnConflict = Literal["refuse", "keep", "overwrite"]


@dataclass(frozen=True)
class Turning:
    """A place to go back to: before this message of a user. `seq`: for `rewind`."""

    seq: Seq
    text: str
    at_ms: int


@dataclass(frozen=True)
class RewindPreview:
    """What `rewind(seq, files=True)` would do to the files now. `diff`: as a unified diff, which ends early when `cut`.

    `conflicts`: paths among them that somebody else has changed as well. `left`: what would stay as it is although the agent
    changed it, and why. `text`: the message that would be taken back, if one is.
    """

    to: Seq
    changes: tuple[FileChange, ...] = ()
    diff: str = ""
    cut: bool = False
    conflicts: tuple[str, ...] = ()
    left: tuple[LeftAlone, ...] = ()
    text: str | None = None


@dataclass(frozen=True)
class RewindResult:
    """What a rewind did. `seq`: its event. `changes`: of files; `left`: paths that stayed as they were, and why.

    `error`: why the files could not be put back at all. `text`: the message that was taken back, to be said in another way.
    """

    to: Seq
    seq: Seq
    changes: tuple[FileChange, ...] = ()
    left: tuple[LeftAlone, ...] = ()
    error: str | None = None
    text: str | None = None
