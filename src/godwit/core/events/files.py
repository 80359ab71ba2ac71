"""The files of a workspace, kept and put back."""

from __future__ import annotations

from typing import Literal

from ..checkpoint import CheckpointRef, LeftAlone
from .data import Data


class WorkspaceCheckpointed(Data, frozen=True, tag="workspace.checkpointed"):
    """The files are kept as they are now: before or after calls of `turn` that may change some, or because someone asked.

    A turn whose calls wait for a person in between has several pairs. Without a `ref` the files could not be kept, and
    `error` says why.
    """

    ref: CheckpointRef | None
    when: Literal["before", "after", "manual"] = "manual"
    turn: int | None = None
    error: str | None = None


class WorkspaceRestored(Data, frozen=True, tag="workspace.restored"):
    """The files are what `ref` says, but for those in `left`, which somebody changed meanwhile or which could not be put
    back; `result` is what they are now. `error`: why they are not, as a whole.
    """

    ref: CheckpointRef
    result: CheckpointRef | None = None
    left: tuple[LeftAlone, ...] = ()
    error: str | None = None
