"""Going back: the conversation to an earlier place, the files with it, and forward again.

Owns what is put back and what is not, and plans that from which paths the agent's turns have changed since then and which
somebody else has (`file_work`). Leaves out the putting back itself, which a driver does when the rewind is in the log
(`checkpoints.finish_restoring`), here or wherever the session is opened next. Rules:

* Nothing is changed before the plan is stored, and that is refused when the log has moved on since it was made.
* Only what the agent changed is undone. What somebody else changed as well is a conflict, and refused unless they say so;
  where it is an ignored file, theirs stays without asking.
* What is replaced has been kept: the state before is named in the log (`undo`), and `redo` brings it back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from ..contracts import Checkpoints, EventStore
from ..core.agent import AgentSpec
from ..core.checkpoint import (
    Checkpoint,
    CheckpointRef,
    FileChange,
    FileDiff,
    LeftAlone,
    OnConflict,
    RewindPreview,
    RewindResult,
    Turning,
    shown_path,
)
from ..core.errors import (
    BlockedByHook,
    CheckpointFailed,
    CheckpointNotFound,
    Conflict,
    HeadMoved,
    InvalidArgument,
    RewindConflict,
    SessionBusy,
)
from ..core.events import (
    HookBlocked,
    InputDelivered,
    SessionCreated,
    SessionForked,
    SessionRewound,
    UserMessage,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
from ..core.ids import Seq, SessionId
from ..core.messages import User, text_of
from .driver import Parts
from .file_work import FileWork, edges
from .hooks import Hooks
from .log import append_outside, load_transcript, rewound_to

ATTEMPTS = 5
"""How often a plan is made again because the log moved on meanwhile."""
SHOWN = 1000
"""Paths that an event or an error names."""


@dataclass
class _Plan:
    """`base`: the files now. `mine`: what the agent changed since and what putting back would touch; `clashes`: which of
    these somebody else has changed as well; `quiet`: of them the ignored ones, which stay theirs."""

    base: CheckpointRef
    target: CheckpointRef
    mine: frozenset[str] = frozenset()
    clashes: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    left: list[LeftAlone] = field(default_factory=list)


class Rewinds:
    """Going back and forth in one session."""

    def __init__(
        self,
        parts: Parts,
        session: SessionId,
        *,
        spec: Callable[[], AgentSpec],
        workspace: str | None,
        finish: Callable[[], Awaitable[None]],
        hooks: Hooks,
    ) -> None:
        self._parts = parts
        self._session = session
        self._spec = spec
        self._workspace = workspace
        self._finish = finish
        self._hooks = hooks

    @property
    def _store(self) -> EventStore:
        return self._parts.store

    async def rewind(
        self,
        to: Seq,
        *,
        files: bool,
        on_conflict: OnConflict,
        redoes: Seq | None = None,
        summary: str | None = None,
        seen: Seq | None = None,
    ) -> RewindResult:
        """See `HostRewinds.rewind`. `summary`: of what is left behind, made when the head was `seen`; Conflict when the
        conversation has moved since."""
        if on_conflict not in ("refuse", "keep", "overwrite"):
            raise InvalidArgument(f"on_conflict={on_conflict!r} is none of refuse, keep, overwrite", on_conflict=on_conflict)
        for _ in range(ATTEMPTS):
            head = await self.check(to)
            await self._check_still(seen)
            text = await self._taken_back(to)
            event = SessionRewound(to, redoes=redoes)
            changes: list[FileChange] = []
            left: list[LeftAlone] = []
            if files:
                try:
                    event, changes, left = await self._with_files(to, on_conflict, redoes)
                except RewindConflict:
                    # What another rewind or a run is changing this moment is no conflict.
                    if (await self._store.session(self._session)).head == head:
                        raise
                    continue
            if event.files is not None and not await self._let(event.files, changes):
                event, changes, left = SessionRewound(to, redoes=redoes), [], []
            then = await rewound_to(self._store, self._session, to)
            event = msgspec.structs.replace(event, summary=summary, todos=then.todos, goal=then.goal, shared=then.shared)
            try:
                appended = await append_outside(self._store, self._session, [event], self._parts.clock, expect=head)
            except HeadMoved:
                continue
            error = None
            if event.files is not None:
                restored = await self.restored(appended.last)
                left, error = [*left, *restored.left], restored.error
            return RewindResult(to, appended.last, tuple(changes), tuple(left), error, text)
        raise HeadMoved("the session went on each time while the rewind was being prepared: try again")

    async def _let(self, target: CheckpointRef, changes: Sequence[FileChange]) -> bool:
        """Whether hooks let the files be put back; False leaves them as they are. BlockedByHook, and nothing was done."""
        hooks, point = self._hooks, "before_restore"
        if not hooks.wants("before_restore"):
            return True
        payload = {"ref": target, "paths": [shown_path(change.path) for change in changes[:SHOWN]]}
        asked = await hooks.fire("before_restore", payload)
        if asked.action == "block":
            hook, reason = asked.hook or "hook", asked.reason or "Blocked"
            blocked = HookBlocked(hook, "before_restore", reason, failed=asked.failed)
            await append_outside(self._store, self._session, [blocked], self._parts.clock)
            raise BlockedByHook(f"hook {hook!r} does not let the files be put back: {reason}", hook=hook, point=point)
        return asked.action != "skip"

    async def preview(self, to: Seq) -> RewindPreview:
        """See `HostRewinds.preview_rewind`."""
        await self.check(to)
        text = await self._taken_back(to)
        plan = await self._plan(to)
        if plan is None:
            return RewindPreview(to, text=text)
        checkpoints = self._checkpoints()
        merged, left = await checkpoints.merge(self._session, plan.base, plan.target, plan.mine - plan.quiet)
        diff = await checkpoints.diff(plan.base, merged)
        conflicts = plan.clashes - plan.quiet
        marked = tuple(_with_conflict(c, conflicts) for c in diff.changes)
        return RewindPreview(
            to,
            marked,
            diff.text,
            diff.cut,
            tuple(sorted(shown_path(p) for p in conflicts)),
            (*_shown(left), *_theirs(plan.quiet)),
            text,
        )

    async def redo(self, on_conflict: OnConflict) -> RewindResult:
        """See `HostRewinds.redo`."""
        seq, files = await self._last()
        return await self.rewind(seq - 1, files=files, on_conflict=on_conflict, redoes=seq)

    async def preview_redo(self) -> RewindPreview:
        """See `HostRewinds.preview_redo`."""
        seq, files = await self._last()
        return await self.preview(seq - 1) if files else RewindPreview(seq - 1)

    async def _last(self) -> tuple[Seq, bool]:
        """The last rewind that is not taken back, and whether it had put files back."""
        back: list[tuple[Seq, SessionRewound]] = []
        for event in await self._store.read(self._session, types=("session.rewound", "run.started", "session.forked")):
            match event.data:
                case SessionRewound(redoes=None) as rewound:
                    back.append((event.seq, rewound))
                case SessionRewound() as redone:
                    while back and back[-1][0] >= (redone.redoes or 0):
                        back.pop()
                case _:
                    back.clear()
        if not back:
            raise Conflict("there is no rewind to take back: none was made, or the session has gone on since")
        seq, last = back[-1]
        return seq, last.files is not None

    async def all(self) -> list[Checkpoint]:
        """See `HostRewinds.checkpoints`."""
        kept = {k.ref for k in await self._checkpoints().kept(self._session)}
        found = []
        for event in await self._store.read(self._session, types=("workspace.checkpointed",)):
            data = event.data
            if isinstance(data, WorkspaceCheckpointed):
                found.append(
                    Checkpoint(event.seq, event.at_ms, data.when, data.ref, data.turn, data.ref in kept, data.error)
                )
        return found

    async def take(self) -> Checkpoint:
        """See `HostRewinds.checkpoint`."""
        told = {"when": "manual", "turn": None}
        if self._hooks.wants("before_checkpoint"):
            await self._hooks.fire("before_checkpoint", told)
        ref = await self._now()
        now_ms = self._parts.clock.now_ms()
        event = WorkspaceCheckpointed(ref)
        appended = await append_outside(self._store, self._session, [event], self._parts.clock)
        if self._hooks.wants("after_checkpoint"):
            await self._hooks.fire("after_checkpoint", {**told, "ref": ref, "error": None})
        return Checkpoint(appended.last, now_ms, "manual", ref)

    async def diff(self, start: Seq | str | None, end: Seq | str | None, paths: Sequence[str] | None) -> FileDiff:
        """See `HostRewinds.diff`."""
        if start is None:
            first = await self._store.read(self._session, types=("workspace.checkpointed",), limit=1)
            if not first:
                return FileDiff((), "")
            start = first[0].seq - 1
        before, after = await self._at(start), await self._at(end)
        return await self._checkpoints().diff(before, after, paths=None if paths is None else frozenset(paths))

    async def turnings(self) -> list[Turning]:
        """See `HostRewinds.turnings`."""
        transcript = await load_transcript(self._store, self._session)
        delivered = {e.seq: e.at_ms for e in await self._store.read(self._session, types=("input.delivered",))}
        # Of two at one place the later is what was said; before it may stand what was told along with it.
        said = {e.seq: e.message for e in (*transcript.behind, *transcript.own_entries) if isinstance(e.message, User)}
        return [
            Turning(seq - 1, text_of(message.content), delivered[seq]) for seq, message in said.items() if seq in delivered
        ]

    # --- planning ---------------------------------------------------------------------------------------------------

    async def _check_still(self, seen: Seq | None) -> None:
        moves = ("run.started", "session.rewound", "session.compacted")
        moved = [] if seen is None else await self._store.read(self._session, seen, types=moves, limit=1)
        if moved:
            raise Conflict(
                f"while the summary was being written, the conversation moved ({moved[0].type} at {moved[0].seq}), so it is"
                " of another one: nothing was changed, go there again",
                seq=moved[0].seq,
            )

    async def files_at(self, seq: Seq) -> CheckpointRef:
        """The files as they were at `seq`, as far as the agent changed them. CheckpointNotFound when that was not kept."""
        work = await self._work()
        seen = work.seen_after(seq)
        if seen is None and any(one.seq > seq for one in work.at()):
            raise CheckpointNotFound(f"the files were not kept around event {seq}: session.checkpoints() says why", seq=seq)
        if seen is not None and seen not in {k.ref for k in await self._checkpoints().kept(self._session)}:
            raise CheckpointNotFound(f"the files of event {seq} are not kept any more", seq=seq)
        return seen or await self._now()

    async def check(self, to: Seq) -> Seq:
        """The head. Raises SessionBusy while a run is open, InvalidArgument when nothing can be gone back to at `to`.

        A rewind that was broken off is finished first.
        """
        files = ("session.rewound", "workspace.restored")
        for event in await self._store.read(self._session, types=files, newest_first=True, limit=1):
            if isinstance(event.data, SessionRewound) and event.data.files is not None:
                await self.restored(event.seq)
        row = await self._store.session(self._session)
        if row.run is not None:
            raise SessionBusy("a rewind needs a session without an open run: interrupt it first", run=row.run)
        if not 1 <= to <= row.head:
            raise InvalidArgument(f"there is no event {to} to go back to: the session has 1 to {row.head}", to=to)
        turns = ("turn.started", "turn.finished")
        last = await self._store.read(self._session, to_seq=to, types=turns, newest_first=True, limit=1)
        if last and last[0].type == "turn.started":
            ended = await self._store.read(self._session, to, types=("turn.finished",), limit=1)
            nearest = [last[0].seq - 1, *(e.seq for e in ended)]
            raise InvalidArgument(
                f"event {to} lies within a turn, of which nothing can be left out: go to {' or '.join(map(str, nearest))}",
                to=to,
                nearest=nearest,
            )
        return row.head

    async def _taken_back(self, to: Seq) -> str | None:
        """What the first message said that the conversation would lose."""
        delivered = await self._store.read(self._session, to, types=("input.delivered",), limit=1)
        if not delivered or not isinstance(delivered[0].data, InputDelivered):
            return None
        given = delivered[0].data
        if given.content is not None:
            return text_of(given.content)
        for event in await self._store.read(
            self._session, to_seq=delivered[0].seq, types=("user.message",), newest_first=True
        ):
            if isinstance(event.data, UserMessage) and event.data.id == given.id:
                return text_of(event.data.content)
        return None

    async def _with_files(
        self, to: Seq, on_conflict: OnConflict, redoes: Seq | None
    ) -> tuple[SessionRewound, list[FileChange], list[LeftAlone]]:
        plan = await self._plan(to)
        if plan is None:
            return SessionRewound(to, redoes=redoes), [], []
        loud = plan.clashes - plan.quiet
        if loud and on_conflict == "refuse":
            names = sorted(shown_path(p) for p in loud)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise RewindConflict(
                f"{', '.join(names[:3])}{more} would be put back, but somebody has changed that since the agent did: keep"
                " theirs (on_conflict='keep') or put it back all the same ('overwrite'; redo brings it back)",
                paths=names[:SHOWN],
            )
        stays = plan.clashes if on_conflict == "keep" else plan.quiet if on_conflict == "refuse" else frozenset()
        checkpoints = self._checkpoints()
        merged, left = await checkpoints.merge(self._session, plan.base, plan.target, plan.mine - stays)
        noted = [*_shown(left), *_theirs(stays)]
        if merged == plan.base:
            return SessionRewound(to, redoes=redoes), [], noted
        keep = tuple(sorted(shown_path(p) for p in stays))[:SHOWN]
        changes = await checkpoints.changes(plan.base, merged)
        return SessionRewound(to, merged, keep, plan.base, redoes), changes, noted

    async def _plan(self, to: Seq) -> _Plan | None:
        """What going back to `to` means for the files; None when nothing has changed them since."""
        work = await self._work()
        now, then = work.at(), work.at(to)
        shared = 0
        while shared < min(len(now), len(then)) and now[shared].seq == then[shared].seq:
            shared += 1
        since, instead = now[shared:], [one for one in then[shared:] if not one.back]
        if not since and not instead:
            return None
        checkpoints = self._checkpoints()
        kept = {k.ref for k in await checkpoints.kept(self._session)}
        target = work.seen_after(to)
        if target is None or any(one.before is None or one.after is None for one in instead):
            raise CheckpointNotFound(
                f"the files were not kept around event {to}, so they cannot be put back to it: see session.checkpoints() for"
                " why, and go back without files, or to another place",
                to=to,
            )
        if target not in kept or any(not {one.before, one.after} <= kept for one in instead):
            raise CheckpointNotFound(
                f"the files as they were at event {to} are not kept any more: the agent's checkpoint policy has let go of"
                " them. Go back without files, or to a later place",
                to=to,
            )
        plan = _Plan(await self._now(), target)
        agent, others = set[str](), set[str]()
        for one in instead:
            agent |= await self._between(one.before, one.after)
        # From where the ways part up to now: the agent's work and others' take turns. Where a state in between is not known,
        # what happened around it may be either's.
        known: CheckpointRef | None = None
        whose: list[set[str]] = []
        for ref, owner in [*edges(since, agent, others), (plan.base, others)]:
            whose.append(owner)
            if ref is None or (ref not in kept and ref != plan.base):
                continue
            if known is not None:
                changed = await self._between(known, ref)
                for paths in whose:
                    paths |= changed
            known = ref
            whose.clear()
        wanted = {c.path: c for c in await checkpoints.changes(plan.base, target)}
        plan.mine = frozenset(agent & wanted.keys())
        plan.clashes = plan.mine & others
        plan.quiet = frozenset(p for p in plan.clashes if wanted[p].ignored)
        return plan

    async def _between(self, before: CheckpointRef | None, after: CheckpointRef | None) -> set[str]:
        assert before is not None
        assert after is not None
        return {change.path for change in await self._checkpoints().changes(before, after)}

    async def _work(self) -> FileWork:
        work = FileWork()
        folder: str | None = None
        types = ("session.created", "workspace.checkpointed", "session.rewound", "session.forked")
        for event in await self._store.read(self._session, types=types):
            match event.data:
                case WorkspaceCheckpointed() | SessionRewound() as data:
                    work.add(event.seq, data)
                case SessionCreated() as data:
                    folder = data.workspace
                case SessionForked() as data:
                    work.fork(event.seq, same_files=data.files is not None or data.workspace == folder)
                    folder = data.workspace
                case _:
                    pass
        return work

    async def _at(self, when: Seq | str | None) -> CheckpointRef:
        """The files at a seq, of a checkpoint by its ref, or now."""
        if isinstance(when, str):
            return CheckpointRef(when)
        seen = None if when is None else (await self._work()).seen_after(when)
        return seen or await self._now()

    # --- doing ------------------------------------------------------------------------------------------------------

    async def _now(self) -> CheckpointRef:
        checkpoints = self._checkpoints()
        assert self._workspace is not None
        return await checkpoints.take(self._session, self._workspace, self._spec().checkpoints)

    def _checkpoints(self) -> Checkpoints:
        if self._workspace is None:
            raise CheckpointFailed("this session has no workspace whose files could be kept")
        if self._parts.checkpoints is None:
            raise CheckpointFailed("this host keeps no checkpoints of files")
        return self._parts.checkpoints

    async def restored(self, rewound: Seq) -> WorkspaceRestored:
        """Have the files put back, and wait for it."""
        await self._finish()
        while True:
            done = await self._store.read(self._session, rewound, types=("workspace.restored",), limit=1)
            if done:
                assert isinstance(done[0].data, WorkspaceRestored)
                return done[0].data
            await self._store.wait(self._session, (await self._store.session(self._session)).head, 1.0)
            await self._finish()


def _with_conflict(change: FileChange, conflicts: frozenset[str]) -> FileChange:
    return msgspec.structs.replace(change, conflict=True) if change.path in conflicts else change


def _shown(left: Sequence[LeftAlone]) -> list[LeftAlone]:
    return [LeftAlone(shown_path(one.path), one.reason) for one in left]


def _theirs(paths: frozenset[str]) -> list[LeftAlone]:
    return [LeftAlone(shown_path(p), "somebody has changed it since the agent did") for p in sorted(paths)]
