"""Calls: tools and the actions that wait for answers, what they leave behind, and what hooks and servers do to them."""

from __future__ import annotations

from typing import Any, Literal

from ..hooks import HookPoint
from ..ids import ActionId, ArtifactRef, CallId, RunId
from ..mcp import Trouble
from ..messages import ResultBlock, ToolStatus
from ..questions import Question
from .data import ActionKind, Data, Origin


class ToolStarted(Data, frozen=True, tag="tool.started"):
    """The effect begins now. `key` is the same when a repeatable call is run again after a crash.

    A call whose `origin` is not the model belongs to no turn; `owner` is the process that runs it. `resumed`: it had begun
    before, has asked (`tool.asked`), and goes on with the answers.
    """

    call: CallId
    name: str
    arguments: dict[str, Any]
    key: str
    edited: bool = False
    origin: Origin = "model"
    owner: str = ""
    resumed: bool = False


class ToolAsked(Data, frozen=True, tag="tool.asked"):
    """The call has stopped, and goes on when its questions are answered. Each becomes an action, one after the other.

    `state`: what the tool is given back with the answers; for nobody else.
    """

    call: CallId
    name: str
    questions: tuple[Question, ...]
    state: str = ""


class ToolFinished(Data, frozen=True, tag="tool.finished"):
    """The one result of a call. `metadata` (exit code, diff, bytes ...) is for people and followers, not for the model."""

    call: CallId
    name: str
    status: ToolStatus
    content: tuple[ResultBlock, ...] = ()
    metadata: dict[str, Any] = {}
    duration_ms: int | None = None
    origin: Origin = "model"


class ActionOpened(Data, frozen=True, tag="action.opened"):
    """The session waits for an answer: to approve this call, to a question, or for an external call's result.

    Without a `call` the run itself asks (a budget for more, a hook for a person): `name` says who, and it is answered with
    approve or deny. `arguments`: the call's as they will be run. `rules`: what may be remembered with the answer.
    `expires_ms`: the wall time at which, if nobody has answered, the answer is `on_timeout`. `lane`: workers do the call,
    which has a body here as well. `url`: what a person is to open. A question with a `schema` is answered with an object
    that fits it (`core/questions.py`). `asking`: it is a question of a call that has begun (`tool.asked`), and not about
    whether it may run; `arguments` are then what is asked about.
    """

    action: ActionId
    kind: ActionKind
    call: CallId | None
    name: str
    arguments: dict[str, Any] = {}
    message: str | None = None
    schema: dict[str, Any] | None = None
    rules: tuple[str, ...] = ()
    expires_ms: int | None = None
    on_timeout: Literal["deny", "approve"] = "deny"
    lane: str | None = None
    url: str | None = None
    asking: bool = False


class ActionClosed(Data, frozen=True, tag="action.closed"):
    """The action needs no answer any more, and why."""

    action: ActionId
    reason: Literal["answered", "skipped", "interrupted", "cancelled"] = "answered"


class ArtifactStored(Data, frozen=True, tag="artifact.stored"):
    """A large output is kept by reference. `size` in bytes."""

    ref: ArtifactRef
    size: int
    media_type: str = "text/plain; charset=utf-8"
    call: CallId | None = None


class HookBlocked(Data, frozen=True, tag="hook.blocked"):
    """A hook kept a step from being taken, or failed where its failure counts as that (`failed`)."""

    hook: str
    point: HookPoint
    reason: str
    call: CallId | None = None
    failed: bool = False


class HookReported(Data, frozen=True, tag="hook.reported"):
    """A hook has something to say to people, or failed where a failure is passed over (`failed`)."""

    hook: str
    point: HookPoint
    text: str
    failed: bool = False


class McpResourceUpdated(Data, frozen=True, tag="mcp.resource_updated"):
    """A resource that the session wants to hear of has changed, says its MCP server: `uri`, which may lie below what was
    asked for. Told once more where the connection was lost meanwhile, since nobody knows what has changed then."""

    server: str
    uri: str


class McpUnavailable(Data, frozen=True, tag="mcp.unavailable"):
    """The run goes on without the tools of this MCP server. `retrying`: it is still tried, and they may come later."""

    server: str
    trouble: Trouble
    message: str
    retrying: bool = False


class CommandExecuted(Data, frozen=True, tag="command.executed"):
    """A slash command was given and answered; no model saw either. `starts`: the run it became, if it is a prompt."""

    id: str
    name: str
    arguments: str = ""
    text: str = ""
    is_error: bool = False
    starts: RunId | None = None
