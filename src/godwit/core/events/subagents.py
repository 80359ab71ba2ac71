"""Tasks that are given to other sessions, and what becomes of them."""

from __future__ import annotations

from typing import Any

from ..errors import Fault
from ..ids import ActionId, AgentName, ArtifactRef, CallId, Seq, SessionId, TaskId
from ..messages import Usage
from ..tasks import TaskEnd
from .data import ActionKind, Data


class SubagentStarted(Data, frozen=True, tag="subagent.started"):
    """A task was given to a child, the session `child`, which is made for it unless it is there already (`reused`).

    `call` and `action`: the call that asked for it, and what the run waits for with it; without an action it is in the
    background, and its end is told by a message. `depth`: of the child, from 0 at the first of the line. `reused`: how often
    the same child has worked before. `external`: the host runs the child its own way. `max_turns`, `output_schema`: see
    `core.tasks.TaskRequest`.
    """

    task: TaskId
    child: SessionId
    agent: AgentName
    prompt: str
    depth: int
    call: CallId | None = None
    action: ActionId | None = None
    description: str = ""
    reused: int = 0
    max_turns: int | None = None
    output_schema: dict[str, Any] | None = None
    external: bool = False


class SubagentProgressed(Data, frozen=True, tag="subagent.progressed"):
    """A child that the host runs its own way has done a step; of others, their own logs tell."""

    task: TaskId
    status: str
    metadata: dict[str, Any] = {}


class TasksCancelled(Data, frozen=True, tag="tasks.cancelled"):
    """All that works for the session is to end, what ended tasks have left in the background as well: whoever drives some of
    it stops it. Tasks that are open end by a `subagent.finished` each."""

    reason: str = ""


class SubagentAsked(Data, frozen=True, tag="subagent.asked"):
    """Somebody below waits for an answer: `action` is open in `asked_by`. `path`: the agents that lead there, from the child
    of this session on. It can be answered on any session above as well."""

    task: TaskId
    asked_by: SessionId
    action: ActionId
    kind: ActionKind
    path: tuple[AgentName, ...]
    name: str
    arguments: dict[str, Any] = {}
    message: str | None = None


class SubagentFinished(Data, frozen=True, tag="subagent.finished"):
    """A task has ended, and stays so. `output`: the child's answer as its parent reads it, `artifact` the whole of a long
    one, `structured` it as data. `up_to`: where the child's log stood then. `usage`, `turns`: of the child's run.

    `notice`: what the model is told of it with what is said to it next, since nothing wakes it: of a task in the background
    that was cancelled.
    """

    task: TaskId
    child: SessionId
    status: TaskEnd
    output: str = ""
    artifact: ArtifactRef | None = None
    structured: Any = None
    error: Fault | None = None
    up_to: Seq = 0
    usage: Usage = Usage()
    turns: int = 0
    notice: str = ""
