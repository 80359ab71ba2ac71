"""Tasks: work that a session hands to another one, its child: what is asked, what becomes of it, and what is told of it.

Data and pure rules. A task belongs to the log of the session that gave it: it begins there with `subagent.started` and ends
with `subagent.finished`, once. Rules: a task that has ended never changes; the id of a task and of the session made for it
follow from the call that asked for it, so that what a crash interrupts is found again and not made twice.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .errors import ConfigurationError, Fault
from .ids import ActionId, AgentName, ArtifactRef, CallId, RunId, SessionId, TaskId, derived_id
from .messages import Usage

TaskStatus = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
"""`queued`: its session has not begun, since too many run at once. `waiting`: nothing of it goes on before somebody
is answered."""
TaskEnd = Literal["completed", "failed", "cancelled"]

OUTPUT_LIMIT = 4_000
"""Characters of a child's answer that its parent reads; of more it gets the head and the tail, and an artifact."""
OUTPUT_HEAD = 3_000
OUTPUT_TAIL = 800
MOST_TASKS = 32
"""Tasks of one call."""


class TaskRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of a child. `description`: a few words for people. `max_turns`: of its run, at most the agent's own.

    `output_schema`: a JSON schema that its answer is to fit. `continues`: an ended task of the same session, whose child
    does this one as well, with all that it knows.
    """

    agent: str
    prompt: str
    description: str = ""
    max_turns: int | None = None
    output_schema: dict[str, Any] | None = None
    continues: TaskId | None = None

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ConfigurationError("a task needs a prompt: what is the subagent to do?")
        if self.max_turns is not None and self.max_turns < 1:
            raise ConfigurationError(f"max_turns={self.max_turns!r} must be at least 1", max_turns=self.max_turns)
        if self.continues is not None and self.max_turns is not None:
            raise ConfigurationError(
                f"max_turns={self.max_turns!r} cannot be given with a task that is gone on with: its subagent keeps what it"
                " began with",
                max_turns=self.max_turns,
            )


class OpenTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task that has not ended. `action`: what the run waits for with it; None for one in the background. `external`: the
    host runs the child its own way."""

    id: TaskId
    session: SessionId
    action: ActionId | None = None
    external: bool = False


class TaskProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step of the child. `metadata`: of `tool_completed` the tool, its status and the bytes of its output, of
    `turn_completed` the turn and its tokens."""

    at_ms: int
    status: str
    metadata: dict[str, Any] = {}


class TaskRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as it stands. `parent` gave it, `session` works on it; `depth` counts from 0 at the first of the line.

    `output`: what the child has answered, as the parent read it; `artifact`: all of it, if that is more. `structured`: the
    answer as data, where a schema was asked for. `success`: None before its end. `turns` and `usage` of its run.
    """

    id: TaskId
    parent: SessionId
    session: SessionId
    agent: AgentName
    description: str
    status: TaskStatus
    depth: int
    background: bool
    started_ms: int
    updated_ms: int
    finished_ms: int | None = None
    call: CallId | None = None
    prompt: str = ""
    output: str | None = None
    artifact: ArtifactRef | None = None
    structured: Any = None
    error: Fault | None = None
    usage: Usage = Usage()
    turns: int = 0
    reused: int = 0
    external: bool = False
    progress: tuple[TaskProgress, ...] = ()

    @property
    def success(self) -> bool | None:
        return None if self.finished_ms is None else self.status == "completed"

    @property
    def pending(self) -> bool:
        return self.finished_ms is None


def task_id(session: SessionId, run: RunId, turn: int, call: str, number: int) -> TaskId:
    """The id of a call's task of this number, from 0. The turn as well, since a provider may use a call's id again, and the
    run, since a turn's number comes again after a rewind."""
    return TaskId(derived_id("task", session, run, str(turn), call, str(number)))


def child_id(task: TaskId) -> SessionId:
    """The session that is made for this task."""
    return SessionId(derived_id("ses", task))


def run_of(task: TaskId, session: SessionId) -> RunId:
    """The run in which that session works on it: the one that a prompt with the task's id as its key starts."""
    return RunId(derived_id("run", session, task))


def shown_output(text: str, artifact: ArtifactRef | None) -> str:
    """A child's answer as its parent reads it; of a long one head and tail, and where the whole is."""
    if len(text) <= OUTPUT_LIMIT:
        return text
    left_out = len(text) - OUTPUT_HEAD - OUTPUT_TAIL
    where = f"; the whole is artifact {artifact}" if artifact is not None else ""
    return f"{text[:OUTPUT_HEAD]}\n[... {left_out:,} of {len(text):,} characters left out{where} ...]\n{text[-OUTPUT_TAIL:]}"


__all__ = [
    "MOST_TASKS",
    "OUTPUT_LIMIT",
    "OpenTask",
    "TaskEnd",
    "TaskProgress",
    "TaskRecord",
    "TaskRequest",
    "TaskStatus",
    "child_id",
    "run_of",
    "shown_output",
    "task_id",
]
