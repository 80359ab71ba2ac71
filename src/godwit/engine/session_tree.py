"""The tree of one session's conversation, as its holder walks it: shown, labelled, gone about in, and forked off.

Owns how a place is named (a seq or a label) and where the conversation stands when somebody goes there, and what a fork
begins with. Leaves out going back itself (`rewind`), and the log that two sessions share (the store). Rules: a place within
a turn is the one before that turn, since a turn enters as a whole; nothing of a fork exists until its log does, in one
append.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from ..contracts import Checkpoints, EventStore, SessionHandle
from ..core.branches import BRANCH_TYPES, Branches, SessionTree
from ..core.checkpoint import CheckpointRef, OnConflict, RewindResult
from ..core.errors import CheckpointFailed, Conflict, HeadMoved, InvalidArgument
from ..core.events import EventData, SessionConfigured, SessionForked, SessionLabelled
from ..core.ids import Seq, SessionId
from ..core.state import State
from ..core.transcript import Entry
from .compaction import ATTEMPTS
from .driver import Parts
from .log import PAGE, append_outside, fork_log, load_state, load_transcript, state_at
from .rewind import Rewinds
from .summary import BRANCH_TASK, Summaries

LABEL_CHARACTERS = 200


class Forked(SessionHandle, Protocol):
    """A handle of this process."""

    @property
    def _rewinds(self) -> Rewinds: ...


class ForkHome(Protocol):
    """What a handle asks of its process to fork."""

    async def open_fork(self, session: SessionId, *, drive: bool) -> Forked:
        """A handle for the session that was just made."""
        ...

    def new_session_id(self, given: str | None) -> SessionId:
        """A new id, or the one given. InvalidArgument."""
        ...

    def fork_folder(self, given: str | os.PathLike[str]) -> str:
        """The folder, which exists. InvalidArgument."""
        ...


class HostTree(ABC):
    """The part of a session's handle that knows the tree of the conversation."""

    _trees: Trees
    _drives: bool

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    @abstractmethod
    def _fork_home(self) -> ForkHome:
        """The process it lives in."""

    async def tree(self) -> SessionTree:
        """Every message there ever was, what came before each, and where the conversation stands now."""
        return await self._trees.tree()

    async def label(self, seq: Seq, label: str | None) -> None:
        """Name a place of the tree, so that `navigate` and `fork` find it by that; None takes the name away.

        `seq`: of a node of `tree`. InvalidArgument for another, and for a label that is empty, too long or taken.
        """
        self._check_open()
        await self._trees.label(seq, label)

    async def navigate(
        self,
        to: Seq | str,
        *,
        files: bool = False,
        on_conflict: OnConflict = "refuse",
        summary: bool = False,
        focus: str | None = None,
    ) -> RewindResult:
        """Go to any place there ever was in the conversation, on whatever branch; what is left stays in the tree.

        `to`: a seq, or a label. At a message of a person it goes to before it and gives its text back, to be said again; at
        an answer to behind it, with the results of its calls. `summary`: the session's model first writes down what was done
        on the branch that is left, and is told so from there on; `focus`: what that is to keep above all. `files` and
        `on_conflict`, and errors: as for `rewind`; InvalidArgument also for a place that is not there, Conflict when the
        conversation moved while the summary was being written, ModelError's leaves.
        """
        self._check_open()
        return await self._trees.navigate(to, files=files, on_conflict=on_conflict, summary=summary, focus=focus)

    async def fork(
        self,
        at: Seq | str | None = None,
        *,
        workspace: str | os.PathLike[str] | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        key: str | None = None,
    ) -> SessionHandle:
        """A new session that begins as this one did up to `at`, and goes its own way from there. Nothing is copied: both
        read the same past, and it stays whatever becomes of either.

        `at`: a place as for `navigate`; None is now, or before the turn that is under way. What was open there (a run,
        questions, what waits) is not open in the fork, and it has spent nothing. Agent, model, permissions, budgets and
        labels are those of now; a fork of a session that works for another does so too, under its rules and limits, and is
        no task there. `workspace`: an empty folder, which gets the files as they were at that place; without one, both
        work in the same folder. `name`, `metadata`: the fork's own; without them this one's. `session`: an id of your own;
        `key`: an idempotency key.

        InvalidArgument, SessionExists; CheckpointNotFound and CheckpointFailed when the files of then cannot be had. Nothing
        exists then. Where the disk is at fault while they are put into the folder, CheckpointFailed as well, and whoever
        opens the fork goes on with it.
        """
        self._check_open()
        home = self._fork_home()
        id_ = home.new_session_id(session)
        folder = None if workspace is None else home.fork_folder(workspace)
        restoring = await self._trees.fork(id_, at, folder=folder, name=name, metadata=metadata, key=key)
        fork = await home.open_fork(id_, drive=self._drives)
        if restoring is not None:
            await fork._rewinds.restored(restoring)
        return fork


class Trees:
    """The tree of one session. `model`: who writes summaries; `rewinds`: goes back and forth."""

    def __init__(
        self,
        parts: Parts,
        session: SessionId,
        *,
        rewinds: Callable[[], Rewinds],
        summaries: Callable[[], Summaries],
        model: Callable[[], str],
    ) -> None:
        self._parts = parts
        self._session = session
        self._rewinds = rewinds
        self._summaries = summaries
        self._model = model

    @property
    def _store(self) -> EventStore:
        return self._parts.store

    async def tree(self) -> SessionTree:
        """See `HostTree.tree`."""
        branches = Branches()
        for number, event in enumerate(await self._store.read(self._session, types=BRANCH_TYPES), 1):
            branches.apply(event)
            if number % PAGE == 0:
                await asyncio.sleep(0)
        return branches.tree()

    async def label(self, seq: Seq, label: str | None) -> None:
        """See `HostTree.label`."""
        if label is not None:
            label = label.strip()
            if not 1 <= len(label) <= LABEL_CHARACTERS or not label.isprintable():
                raise InvalidArgument(f"label {label[:50]!r}: 1 to {LABEL_CHARACTERS} printable characters", label=label)
            if label.isascii() and label.isdecimal():
                raise InvalidArgument(f"label {label!r} reads as the seq of an event: take a word", label=label)
        for _ in range(ATTEMPTS):
            head = (await self._store.session(self._session)).head
            tree = await self.tree()
            tree.find(seq)
            taken = next((node.seq for node in tree.nodes if node.label == label and node.seq != seq), None)
            if label is not None and taken is not None:
                raise InvalidArgument(f"event {taken} is labelled {label!r} already: take that away first", label=label)
            try:
                await append_outside(
                    self._store, self._session, [SessionLabelled(seq, label)], self._parts.clock, expect=head
                )
            except HeadMoved:
                continue  # perhaps by another one that takes this label
            return
        raise HeadMoved("the session went on each time while the label was being set: try again")

    async def navigate(
        self, to: Seq | str, *, files: bool, on_conflict: OnConflict, summary: bool, focus: str | None
    ) -> RewindResult:
        """See `HostTree.navigate`."""
        if focus is not None and not summary:
            raise InvalidArgument("focus says what a summary is to keep: ask for one with summary=True", focus=focus)
        place = await self.place(to)
        if not summary:
            return await self._rewinds().rewind(place, files=files, on_conflict=on_conflict)
        head = await self._rewinds().check(place)
        text = await self._left_behind(place, (focus or "").strip() or None)
        return await self._rewinds().rewind(place, files=files, on_conflict=on_conflict, summary=text, seen=head)

    async def place(self, to: Seq | str) -> Seq:
        """The seq between two turns that a place stands for. InvalidArgument."""
        if isinstance(to, bool) or not isinstance(to, int | str):
            raise InvalidArgument(f"{to!r} is neither a seq nor a label", to=repr(to))
        if isinstance(to, str):
            to = (await self.tree()).find(to).seq
        head = (await self._store.session(self._session)).head
        if not 1 <= to <= head:
            raise InvalidArgument(f"there is no event {to}: the session has 1 to {head}", to=to)
        (event,) = await self._store.read(self._session, to - 1, to_seq=to)
        if event.type in ("user.message", "input.delivered"):
            to -= 1
        return await self._between_turns(max(1, to))

    async def _between_turns(self, to: Seq) -> Seq:
        turns = ("turn.started", "turn.finished")
        last = await self._store.read(self._session, to_seq=to, types=turns, newest_first=True, limit=1)
        return last[0].seq - 1 if last and last[0].type == "turn.started" else to

    async def _left_behind(self, to: Seq, focus: str | None) -> str | None:
        """A summary of what going to `to` leaves behind; None when that is nothing."""
        now = await load_transcript(self._store, self._session)
        then = await load_transcript(self._store, self._session, to)
        stays = {entry.seq for entry in (*then.behind, *then.own_entries)}
        left: list[Entry] = [entry for entry in now.own_entries if entry.seq not in stays]
        if not left:
            return None
        return await self._summaries().write(left, focus, model=self._model(), task=BRANCH_TASK, purpose="branch_summary")

    # --- forking ----------------------------------------------------------------------------------------------------

    async def fork(
        self,
        session: SessionId,
        at: Seq | str | None,
        *,
        folder: str | None,
        name: str | None,
        metadata: Mapping[str, str] | None,
        key: str | None,
    ) -> Seq | None:
        """See `HostTree.fork`. The event whose files are to be put into the fork's folder, if there is one."""
        place = await self._head() if at is None else await self.place(at)
        now = await load_state(self._store, self._session)
        assert now.agent is not None
        files, undo = await self._files(session, now, place, folder)
        try:
            forked = SessionForked(
                self._session,
                now.agent,
                now.workspace if folder is None else folder,
                now.environment,
                now.labels,
                now.name if name is None else name,
                now.metadata if metadata is None else dict(metadata),
                now.vaults,
                files,
                undo,
                now.parent,
                now.root,
                now.depth,
            )
            events: list[EventData] = [forked]
            then = await state_at(self._store, self._session, place)
            settings = _settings(then, now)
            if settings is not None:
                events.append(settings)
            appended = await fork_log(self._store, session, then, place, events, self._parts.clock, key=key)
            return None if files is None else appended.first
        except BaseException:
            # Should this fail as well, or the process die before, some kept files stay held for a session that is not.
            if self._parts.checkpoints is not None and not await self._exists(session):
                await self._parts.checkpoints.release(session)
            raise

    async def _exists(self, session: SessionId) -> bool:
        return bool(await self._store.sessions(prefix=session, limit=1))

    async def _head(self) -> Seq:
        return await self._between_turns((await self._store.session(self._session)).head)

    async def _files(
        self, session: SessionId, now: State, place: Seq, folder: str | None
    ) -> tuple[CheckpointRef | None, CheckpointRef | None]:
        """What the fork's folder is to become, and what it is; None for both when it stays as it is."""
        checkpoints = self._parts.checkpoints
        if folder is None or now.workspace is None:
            if checkpoints is not None and now.workspace is not None:
                await checkpoints.share(self._session, session)
            return None, None
        if checkpoints is None:
            raise CheckpointFailed("this host keeps no files, so it has none to give the fork: fork into the same folder")
        _, spec = await self._store.get_agent(now.agent.name, now.agent.version) if now.agent else (None, None)
        assert spec is not None
        if not spec.checkpoints.enabled:
            raise CheckpointFailed(
                "the agent's checkpoints are off, so there are no files of then: fork into the same folder"
            )
        if os.listdir(folder):
            raise InvalidArgument(f"{folder} is not empty: the files of a fork go into an empty folder", workspace=folder)
        target = await self._rewinds().files_at(place)
        await checkpoints.share(self._session, session)
        base = await checkpoints.take(session, folder, spec.checkpoints)
        return await _whole(checkpoints, session, base, target), base


async def _whole(checkpoints: Checkpoints, session: SessionId, base: CheckpointRef, target: CheckpointRef) -> CheckpointRef:
    merged, left = await checkpoints.merge(session, base, target)
    if left:
        raise Conflict(
            f"{left[0].path} and {len(left) - 1} more cannot be put into the fork's folder: {left[0].reason}",
            paths=[one.path for one in left[:100]],
        )
    return merged


def _settings(then: State, now: State) -> SessionConfigured | None:
    """What is set in the session now and was not at the place it is forked at: settings do not go back."""
    found = SessionConfigured(
        model=None if then.model == now.model else now.model,
        thinking=None if then.thinking == now.thinking else (now.thinking or "default"),
        steer_mode=None if then.steer_mode == now.steer_mode else now.steer_mode,
        permissions=None if then.permissions == now.permissions else now.permissions,
        approvals=None if then.approvals == now.approvals else now.approvals,
        budgets=None if then.budgets == now.budgets_set else now.budgets_set,
        lanes=None if then.lanes == now.lanes else now.lanes,
        mode=None if then.mode == now.mode else (now.mode or "build"),
    )
    return None if found == SessionConfigured() else found


__all__ = ["ForkHome", "HostTree", "Trees"]
