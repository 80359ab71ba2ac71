"""A run and its turns: its way through the machine, what its models say, what it has used, what holds it to its end."""

from __future__ import annotations

from typing import Any, Literal

from ..errors import Fault
from ..goal import Goal
from ..ids import ActionId, CallId, InputId, MessageId, RunId, Seq
from ..messages import Assistant, Message, Usage
from ..model_info import Adjustment
from ..nudges import NudgeReason
from ..output import OutputSpec
from ..todos import Todo
from ..verification import VerificationReport
from .data import Data, RunOutcome


class RunStarted(Data, frozen=True, tag="run.started"):
    """`history`: the run works on these messages and leaves the session's transcript as it was.

    `resumes`: the run whose last checkpoint this one continues, with its `usage`, `turns` and `tool_calls` so far.
    `unattended`: nobody can be asked, so a call that needs an approval is denied. `model`: the one for this run alone.
    `output`: the form of its last answer, in place of the agent's.
    """

    run: RunId
    input: InputId | None = None
    history: tuple[Message, ...] | None = None
    resumes: RunId | None = None
    usage: Usage = Usage()
    turns: int = 0
    tool_calls: int = 0
    unattended: bool = False
    model: str | None = None
    output: OutputSpec | None = None


class RunClaimed(Data, frozen=True, tag="run.claimed"):
    """A driver has taken the run. `attempt` grows only when the driver before it died. `trace`: where what it does stands in
    a trace, as a `traceparent` of W3C's Trace Context, if it is traced."""

    run: RunId
    attempt: int
    worker: str = ""
    trace: str | None = None


class RunParked(Data, frozen=True, tag="run.parked"):
    """Only answers from outside are missing: the run waits and needs no process. `children`: they are all to come from
    children of the session or from workers, and no person is asked for one here."""

    run: RunId
    actions: tuple[ActionId, ...]
    children: bool = False


class RunUnparked(Data, frozen=True, tag="run.unparked"):
    """An answer, an interrupt or a skipping steer has come: the run may go on."""

    run: RunId


class RunYielded(Data, frozen=True, tag="run.yielded"):
    """The driver let the run go at a checkpoint; another may claim it."""

    run: RunId
    reason: Literal["paused", "shutdown"] = "paused"


class RunRetrying(Data, frozen=True, tag="run.retrying"):
    """The model step failed before anything of it was seen; it is asked again after `delay_ms`, of `model`."""

    run: RunId
    error: Fault
    retry: int
    delay_ms: int
    model: str


class RunFinished(Data, frozen=True, tag="run.finished"):
    """The run is over. `error`: why it failed, or which limit it met. `verification`: the seq of the last report on it.
    `output`: the seq of the `output.checked` with its answer as data, where one was asked for and it fits."""

    run: RunId
    outcome: RunOutcome
    error: Fault | None = None
    usage: Usage = Usage()
    turns: int = 0
    tool_calls: int = 0
    verification: Seq | None = None
    output: Seq | None = None


class OutputChecked(Data, frozen=True, tag="output.checked"):
    """The run's last answer was held to the form that was asked for. `value`: the answer as data; or `problem`: why it does
    not fit, which the model is told while it may try again. `attempt`: counts the answers that did not fit, from 1."""

    run: RunId
    attempt: int = 1
    value: Any = None
    problem: str | None = None


class RunNudged(Data, frozen=True, tag="run.nudged"):
    """The model has stopped in the middle of its work and is told to go on, by the message `input`. `attempt`: counts those
    with no progress in between, from 1."""

    run: RunId
    reasons: tuple[NudgeReason, ...]
    input: InputId
    attempt: int = 1


class TodosUpdated(Data, frozen=True, tag="todos.updated"):
    """The session's list of todos, as a whole. `call`: of the tool that wrote it; None: its host did."""

    todos: tuple[Todo, ...]
    call: CallId | None = None


class GoalUpdated(Data, frozen=True, tag="goal.updated"):
    """The session's goal: it was set, met, found to be blocked, or taken back. `call`: of the tool that ended it."""

    goal: Goal
    call: CallId | None = None


class TurnStarted(Data, frozen=True, tag="turn.started"):
    """A turn begins; `index` counts the session's turns from 1."""

    index: int


class TurnFinished(Data, frozen=True, tag="turn.finished"):
    """Each call of the turn has its result; the turn enters the transcript as a whole."""

    index: int


class ModelStarted(Data, frozen=True, tag="model.started"):
    """A model is being asked; its answer will be `message`. Asked again, the answer gets another id. `adjusted`: what of the
    request it cannot take, and what is sent instead."""

    message: MessageId
    model: str
    adjusted: tuple[Adjustment, ...] = ()


class AgentMessage(Data, frozen=True, tag="agent.message"):
    """What the model answered, whole, or as far as it had come when it was cut."""

    message: Assistant


class UsageRecorded(Data, frozen=True, tag="usage.recorded"):
    """A model was asked for something beside the conversation (`purpose`), and this is what it used."""

    purpose: str
    model: str
    usage: Usage


class BudgetWarned(Data, frozen=True, tag="budget.warned"):
    """A soft limit was met; the work goes on. `consumed` and `limit` in the resource's own unit."""

    resource: str
    consumed: float
    limit: float
    scope: str = "session"
    reason: str = ""


class BudgetExceeded(Data, frozen=True, tag="budget.exceeded"):
    """A hard limit was met, or a guard said no: the step that was due is not taken."""

    resource: str
    consumed: float
    limit: float
    scope: str = "session"
    reason: str = ""


class VerificationReported(Data, frozen=True, tag="verification.reported"):
    """What was found out about some work. A report whose source is `run` decides whether the open run is done."""

    report: VerificationReport
