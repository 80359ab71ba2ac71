"""Who changed the files of a session when, as its log tells it: a fold of its checkpoints and rewinds.

Leaves out what differs between two states (`contracts.Checkpoints`) and what follows from it for a rewind (`rewind`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.checkpoint import CheckpointRef
from ..core.events import SessionRewound, WorkspaceCheckpointed
from ..core.ids import Seq


@dataclass(frozen=True)
class Stretch:
    """A time in which only the agent worked, with the files before and after it; None where they were not kept.

    `back`: a rewind instead, which undid what had been done since some earlier place: `before` are the files as they were
    there, `after` those it left. What differs between the two is others' work.
    """

    seq: Seq
    before: CheckpointRef | None
    after: CheckpointRef | None
    back: bool = False


Way = tuple[Stretch, ...]


class FileWork:
    """Who changed the files when, as the log tells it: the way to where they are now, and to where they were at any seq.

    A rewind that put files back goes on from the way to the place it went to: what was undone is not on it any more.
    """

    def __init__(self) -> None:
        self._ways: list[tuple[Seq, Way]] = [(0, ())]
        self._seen: list[tuple[Seq, CheckpointRef | None]] = []
        self._open: Stretch | None = None

    def at(self, seq: Seq | None = None) -> Way:
        """The way to the files at `seq`, or now."""
        return next(way for known, way in reversed(self._ways) if seq is None or known <= seq)

    def seen_after(self, seq: Seq) -> CheckpointRef | None:
        """The files at `seq`: as they were seen next, before anything else changed them. None when they were not kept."""
        return next((ref for known, ref in self._seen if known > seq), None)

    def add(self, seq: Seq, data: WorkspaceCheckpointed | SessionRewound) -> None:
        way = self.at()
        match data:
            case WorkspaceCheckpointed(when="before"):
                self._open = Stretch(seq, data.ref, None)
                self._ways.append((seq, (*way, self._open)))
                self._seen.append((seq, data.ref))
            case WorkspaceCheckpointed(when="after"):
                if self._open is not None and way and way[-1] is self._open:
                    done = Stretch(self._open.seq, self._open.before, data.ref)
                    self._ways.append((seq, (*way[:-1], done)))
                self._open = None
            case WorkspaceCheckpointed():
                if self._open is None and data.ref is not None:
                    self._seen.append((seq, data.ref))
            case SessionRewound() if data.files is not None:
                before = self.seen_after(data.to)
                self._seen.append((seq, data.undo))
                self._ways.append((seq, (*self.at(data.to), Stretch(seq, before, data.files, back=True))))
                self._open = None
            case SessionRewound():
                pass

    def fork(self, seq: Seq, *, same_files: bool) -> None:
        """What comes next is another session's work. Without `same_files` it begins with other files, of which nothing is
        known yet."""
        self._open = None
        if not same_files:
            self._ways, self._seen = [(0, ())], []


def edges(way: Way, agent: set[str], others: set[str]) -> list[tuple[CheckpointRef | None, set[str]]]:
    """The states along a way, each with the paths of those whose work led to it."""
    edges = [((one.before, others), (one.after, others if one.back else agent)) for one in way]
    return [edge for pair in edges for edge in pair]
