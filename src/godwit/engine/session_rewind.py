"""Going back and forth on a session, as its holder asks for it: `session.rewind` and its kin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..core.checkpoint import Checkpoint, FileDiff, OnConflict, RewindPreview, RewindResult, Turning
from ..core.ids import Seq
from .rewind import Rewinds


class HostRewinds(ABC):
    """The part of a session's handle that goes back, and forth again."""

    _rewinds: Rewinds

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    async def rewind(self, seq: Seq, *, files: bool = False, on_conflict: OnConflict = "refuse") -> RewindResult:
        """Go back to where the conversation stood at `seq`, with `files` also to what the workspace was then.

        Of the files only what the agent has changed since is put back. Where somebody else has changed the same since then,
        `refuse` raises RewindConflict and does nothing, `keep` leaves theirs, `overwrite` puts it back all the same; ignored
        files that both changed stay theirs, but with `overwrite`. The log stays, the files as they were are kept, and `redo`
        takes it back. Returns when the files are back; broken off, it is finished by whoever opens the session next.

        A hook of before_restore may leave the files as they are, or raise BlockedByHook. SessionBusy while a run is
        open; InvalidArgument for a seq within a turn; CheckpointNotFound when the files of then are not kept;
        CheckpointFailed when the disk is at fault: the rewind is then stored, and goes on when it is not.
        """
        self._check_open()
        return await self._rewinds.rewind(seq, files=files, on_conflict=on_conflict)

    async def preview_rewind(self, seq: Seq) -> RewindPreview:
        """What `rewind(seq, files=True, on_conflict="overwrite")` would do to the files; does nothing. Errors as there."""
        self._check_open()
        return await self._rewinds.preview(seq)

    async def redo(self, *, on_conflict: OnConflict = "refuse") -> RewindResult:
        """Take the last rewind back that is not taken back yet, with the files if it had put some back; itself a rewind.

        Conflict when there is none, or the session has gone on since. Other errors as for `rewind`.
        """
        self._check_open()
        return await self._rewinds.redo(on_conflict)

    async def preview_redo(self) -> RewindPreview:
        """What `redo(on_conflict="overwrite")` would do to the files; does nothing. Errors as there."""
        self._check_open()
        return await self._rewinds.preview_redo()

    async def turnings(self) -> list[Turning]:
        """The messages of users that the conversation holds, those included that a summary stands for, oldest first, each
        with the seq to rewind to before it."""
        return await self._rewinds.turnings()

    async def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints of files that the log names, oldest first; `kept` tells which are still there."""
        return await self._rewinds.all()

    async def checkpoint(self) -> Checkpoint:
        """Keep the files as they are now, to go back to or compare with. CheckpointFailed."""
        self._check_open()
        return await self._rewinds.take()

    async def diff(
        self, start: Seq | str | None = None, end: Seq | str | None = None, *, paths: Sequence[str] | None = None
    ) -> FileDiff:
        """What changed in the files between two moments: each a seq, a checkpoint's ref, or None; without a `start` since
        the session's first checkpoint, without an `end` until now. CheckpointNotFound, CheckpointFailed."""
        return await self._rewinds.diff(start, end, paths)
