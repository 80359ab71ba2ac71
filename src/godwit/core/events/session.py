"""The session itself: how it came to be, what it is set to, its place in its own history, its end."""

from __future__ import annotations

from typing import Any, Literal

from ..agent import AgentRef, SteerMode, ThinkingLevel
from ..budget import Budget
from ..checkpoint import CheckpointRef
from ..goal import Goal
from ..ids import ActionId, Seq, SessionId, TaskId
from ..lanes import LaneHandler
from ..rules import ApprovalPolicy, Permissions
from ..todos import Todo
from .data import Data, Labels


class SessionCreated(Data, frozen=True, tag="session.created"):
    """Always seq 1. `workspace` is the absolute folder, `environment` variables for its commands.

    `parent`: the session that this one works for, and `root` the first in that line; both None for one of its own. `depth`:
    how many stand before it in that line. `task`: the one that it was made for, if any. `vaults`:
    whose credentials its MCP servers may be given.
    """

    agent: AgentRef
    workspace: str | None = None
    environment: dict[str, str] = {}
    labels: Labels = Labels()
    name: str | None = None
    metadata: dict[str, str] = {}
    parent: SessionId | None = None
    root: SessionId | None = None
    depth: int = 0
    task: TaskId | None = None
    vaults: tuple[str, ...] = ()


class SessionOpened(Data, frozen=True, tag="session.opened"):
    """A host has opened the new session for the first time: it reads as idle from here on, no more as queued."""

    host: str = ""


class SessionConfigured(Data, frozen=True, tag="session.configured"):
    """Settings for runs that start after it; a field that is None stays as it was. `thinking` "default" clears.

    `permissions`: the session's own rules, beside the agent's, in force at once; `approvals` likewise. `budgets` take the
    place of the agent's for the scopes they name; `raised_by`: they are those before, raised by this answer, and in force
    at once. `metadata`: all of it, in place of what there was.
    `lanes`: who does the calls of these lanes, from the next call on. `mode`: what it may do, by its name, likewise.
    """

    model: str | None = None
    thinking: ThinkingLevel | Literal["default"] | None = None
    steer_mode: SteerMode | None = None
    name: str | None = None
    agent: AgentRef | None = None
    permissions: Permissions | None = None
    approvals: ApprovalPolicy | None = None
    budgets: tuple[Budget, ...] | None = None
    raised_by: ActionId | None = None
    metadata: dict[str, str] | None = None
    lanes: dict[str, LaneHandler] | None = None
    mode: str | None = None


class SessionPaused(Data, frozen=True, tag="session.paused"):
    """No step is taken from here on; inputs are accepted and wait."""

    reason: str | None = None


class SessionResumed(Data, frozen=True, tag="session.resumed"):
    """The session goes on."""


class SessionRewound(Data, frozen=True, tag="session.rewound"):
    """The transcript's head goes back to where it stood at `to`, a seq between turns. The log stays.

    A `to` that was still to come changes nothing. `files`: the folder becomes what this checkpoint says; until
    `workspace.restored` says that it has, nothing else is driven. `undo`: the files as they were. `keep`: paths that a
    person had changed meanwhile and that stay so. `redoes`: the rewind that this one takes back. `summary`: what the model
    is told of the messages that were left behind. `todos`, `goal`, `shared` (the shared state): as they are from here on,
    which is as they were at `to`.
    """

    to: Seq
    files: CheckpointRef | None = None
    keep: tuple[str, ...] = ()
    undo: CheckpointRef | None = None
    redoes: Seq | None = None
    summary: str | None = None
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None
    shared: Any = None


class SessionForked(Data, frozen=True, tag="session.forked"):
    """The log begins as another's did: all before this event is that of `origin`, and nothing after it is.

    What was open there is not open here: its run, its turn, its queue, its actions, its tasks. Nothing is spent yet. The
    rest is as for `session.created`, and takes its place: a fork works for the `parent` that its origin works for. `files`:
    the folder becomes what this checkpoint says, `undo` as it was; until `workspace.restored` says that it has, nothing else
    is driven.
    """

    origin: SessionId
    agent: AgentRef
    workspace: str | None = None
    environment: dict[str, str] = {}
    labels: Labels = Labels()
    name: str | None = None
    metadata: dict[str, str] = {}
    vaults: tuple[str, ...] = ()
    files: CheckpointRef | None = None
    undo: CheckpointRef | None = None
    parent: SessionId | None = None
    root: SessionId | None = None
    depth: int = 0


class SessionLabelled(Data, frozen=True, tag="session.labelled"):
    """The event `target` is known by this name from here on; None takes the name away."""

    target: Seq
    label: str | None = None


class SessionArchived(Data, frozen=True, tag="session.archived"):
    """The session is final. Its log stays readable."""


class SessionImported(Data, frozen=True, tag="session.imported"):
    """What stands before this was brought from elsewhere, and happened there. Only an import writes it.

    `format`: in which it came. `origin`: what it was called there, `digest`: of its content; together with the format they
    tell whether something was brought before. `source`: the name of the file. `counts`: what it had, by kind. `kept`: what
    has no counterpart here and is there as `entry.kept`. `adapted`: what had to be said in another way, by reason.
    `skipped`: lines that were none, by kind.
    """

    format: str
    origin: str
    digest: str
    source: str = ""
    imported_ms: int = 0
    counts: dict[str, int] = {}
    kept: dict[str, int] = {}
    adapted: dict[str, int] = {}
    skipped: dict[str, int] = {}


class EntryKept(Data, frozen=True, tag="entry.kept"):
    """Something of an imported session that has no counterpart here, as it was. `id`: its own there."""

    kind: str
    data: Any
    id: str | None = None
