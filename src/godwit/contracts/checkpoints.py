"""What keeps the files of a workspace as they were. When they are kept, and when put back, is the engine's to say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..core.checkpoint import CheckpointPolicy, CheckpointRef, FileChange, FileDiff, KeptCheckpoint, LeftAlone
from ..core.ids import SessionId


class Checkpoints(Protocol):
    """States of a workspace's files, each content kept once. Works beside whatever the folder holds, and never touches it
    but in `restore`; the folder's own repository (`.git` and its kin) is never read for this nor written.

    Promises every implementation keeps, proven by `godwit.testing.CheckpointsConformance`:

    * A ref is returned only when all it names is kept, as durably as was asked for; equal states have equal refs.
    * A state held for a session stays until `retain` or `release` lets go of it, whatever other sessions do.
    * Restoring loses nobody's work: what is neither as in `base` nor as in `target` is left as it is and named.
    * Nothing outside `root` is read or written, whatever links lead there and whoever swaps folders meanwhile.

    Several processes may work on one store at a time. Errors: StoreError's leaves where the kept files are at fault.
    """

    async def take(self, session: SessionId, root: str, policy: CheckpointPolicy) -> CheckpointRef:
        """Keep the files as they are now, for this session. Only what changed since the last time is read again.

        CheckpointFailed when the folder cannot be read or is larger than the policy allows.
        """
        ...

    async def changes(self, before: CheckpointRef, after: CheckpointRef) -> list[FileChange]:
        """What leads from one state to the other, by path, lines not counted. CheckpointNotFound."""
        ...

    async def diff(
        self,
        before: CheckpointRef,
        after: CheckpointRef,
        *,
        paths: Collection[str] | None = None,
        limit: int = ...,
    ) -> FileDiff:
        """The same with lines counted, and as a unified diff of at most `limit` characters; of these paths, or of all.

        CheckpointNotFound.
        """
        ...

    async def merge(
        self, session: SessionId, base: CheckpointRef, target: CheckpointRef, paths: Collection[str] | None = None
    ) -> tuple[CheckpointRef, list[LeftAlone]]:
        """The state that is `target` at these paths (None: at all) and `base` elsewhere, held for the session, and what
        could not be taken over: it can be reached from `base` without losing what is not kept. CheckpointNotFound."""
        ...

    async def restore(self, root: str, base: CheckpointRef, target: CheckpointRef) -> list[LeftAlone]:
        """Make the folder, which is as `base` says, what `target` says; returns what was left alone.

        Each file is replaced as a whole. Broken off, by an error or a crash, it is done again with the same two and ends in
        the same state. CheckpointNotFound; CheckpointFailed when the disk is at fault.
        """
        ...

    async def kept(self, session: SessionId) -> list[KeptCheckpoint]:
        """The states held for the session, the one seen last first."""
        ...

    async def share(self, session: SessionId, other: SessionId) -> None:
        """Hold for `other` as well what is held for `session`."""
        ...

    async def retain(
        self, session: SessionId, policy: CheckpointPolicy, *, named: Collection[CheckpointRef] | None = None
    ) -> int:
        """Let go of the session's states beyond what the policy keeps, and of those that are not among `named`, unless that
        is None; returns the bytes that were freed."""
        ...

    async def release(self, session: SessionId) -> int:
        """Let go of all states of the session; returns the bytes that were freed."""
        ...

    async def close(self) -> None: ...
