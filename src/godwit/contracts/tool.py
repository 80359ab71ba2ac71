"""What a model can call: a tool, what it may ask of the engine while it runs, and the toolbox that finds it by its name.

Leaves out whether a call may run: that is decided before, by the permission rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from ..core.agent import ModelSettings, ToolDefinition
from ..core.events import Labels
from ..core.goal import Goal
from ..core.ids import CallId, RunId, SessionId
from ..core.messages import Message, ResultBlock
from ..core.questions import Question, Resumption
from ..core.rules import Subject, Verdict
from ..core.shared_state import PatchOperation
from ..core.todos import Todo
from ..core.verification import VerificationReport
from ..core.web import WebPolicy
from .cancel import CancelToken
from .memory import Memories
from .model import ModelAnswer
from .subagents import Tasks
from .workspace import Workspace


class KeptFile(msgspec.Struct, frozen=True):
    """A file of a tool's output that is kept as an artifact. `named`: the text of the block that stands for it among what
    the model sees, `[sound of type audio/wav]`; the artifact's ref is added to it. Without such a block, since a hook has
    taken it out, the file is not kept."""

    content: bytes
    media_type: str
    named: str


class ToolOutput(msgspec.Struct, frozen=True):
    """What a tool gives back. `metadata` is JSON for people and followers, the model does not see it. `todos`, `goal`: what
    becomes of the session's list and of its goal, recorded with the result of a call that has ended well. `questions`: the
    call has not ended: people are asked this, and then the tool is run again with the answers and with `state`
    (`ToolContext.resumed`), maybe by another process and much later. Its content is not used then.

    In a call of the host, which asks nobody, the tool is run again at once, with `cancel` for each.
    """

    content: tuple[ResultBlock, ...]
    is_error: bool = False
    metadata: dict[str, Any] = {}
    todos: tuple[Todo, ...] | None = None
    goal: Goal | None = None
    questions: tuple[Question, ...] = ()
    state: str = ""
    files: tuple[KeptFile, ...] = ()


class ToolTraits(msgspec.Struct, frozen=True):
    """How a tool may be run.

    `repeatable`: running the call again after a crash does no harm. `exclusive`: no other call runs beside it.
    `external`: it has no body; the call is answered from outside. `delegates`: its calls are work for children, and it is
    `GivesTasks`. `timeout_s`: None takes the agent's limit. `bound`: it works the engine that calls it, so no
    worker can do it. `held`: it keeps to what its agent limits it to, or to a connection of this process, of which no worker
    knows.
    """

    repeatable: bool = False
    exclusive: bool = False
    external: bool = False
    read_only: bool = False
    delegates: bool = False
    timeout_s: float | None = None
    bound: bool = False
    held: bool = False


class Verified(NamedTuple):
    """What checks came to: the recorded report, and the output of each command by its check's id."""

    report: VerificationReport
    outputs: Mapping[str, str]


class ToolContext(Protocol):
    """What a running tool may ask of the engine."""

    @property
    def session(self) -> SessionId: ...
    @property
    def run(self) -> RunId | None:
        """None for a call that belongs to no run."""
        ...

    @property
    def call(self) -> CallId: ...
    @property
    def key(self) -> str:
        """The idempotency key of this call: the same when it is run again after a crash."""
        ...

    @property
    def workspace(self) -> Workspace:
        """ToolFailed when the session has none."""
        ...

    @property
    def resumed(self) -> Resumption | None:
        """With what a call that had asked goes on; None for one that begins. The same when it is run again after a crash."""
        ...

    @property
    def labels(self) -> Labels: ...
    @property
    def context(self) -> Any:
        """The value given with `send`, or None."""
        ...

    @property
    def cancel(self) -> CancelToken: ...
    @property
    def grace_s(self) -> float:
        """Seconds between telling this call's process to end and killing it; 0 when the interrupt is forced."""
        ...

    async def verify(self) -> Verified:
        """Run the session's checks: those of the agent's verification policy, else the required ones that fit the
        workspace's files. The call's cancel ends them. ToolFailed when it did, or where checks cannot be run;
        BudgetExhausted, and nothing is reported, when a model's call cannot have one of them paid for. Under a budget that
        asks, the run asks for more once the call has ended."""
        ...

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        """What the session's rules say of this tool with these arguments, for one that is led elsewhere than it was sent.

        Nobody is asked. A call of the host is allowed everything.
        """
        ...

    @property
    def tasks(self) -> Tasks:
        """The session's tasks."""
        ...

    @property
    def memory(self) -> Memories:
        """What the session remembers, and may write as far as its agent's `MemoryPolicy` goes. ToolFailed where a tool runs
        apart from the engine."""
        ...

    @property
    def todos(self) -> tuple[Todo, ...]:
        """The session's list of todos, as it is now."""
        ...

    @property
    def goal(self) -> Goal | None:
        """The session's goal, also when it has ended."""
        ...

    @property
    def shared_state(self) -> Any:
        """The session's shared state, as it is now: a copy. An empty object while there is none."""
        ...

    async def set_shared_state(self, value: Any) -> Any:
        """Put this JSON value in its place, at once, and return it. InvalidArgument; ToolFailed where a tool runs apart from
        the engine."""
        ...

    async def patch_shared_state(
        self, operations: Sequence[PatchOperation | Mapping[str, Any]], *, key: str | None = None
    ) -> Any:
        """Change it by a JSON Patch (RFC 6902), at once, and return the whole. `key`: what was done under it is not done
        again, also when the call is run again after a crash. PatchFailed, InvalidArgument; ToolFailed as above."""
        ...

    @property
    def conversation(self) -> tuple[Message, ...]:
        """What the model sees of the conversation before this turn, but for what the engine has written itself: a summary of
        older messages, what checks and hooks say, the end of a task. Empty for a call of the host."""
        ...

    def output(self, text: str) -> None:
        """Show a piece of output live."""
        ...

    def progress(self, text: str) -> None:
        """Say how far it is, live."""
        ...

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        """Ask a model beside the conversation, by default the run's own, and return the text of its answer.

        It is budgeted and recorded as used for `purpose`. BudgetExhausted, ModelError's leaves, ModelNotFound, ToolFailed
        when the call was ended meanwhile.
        """
        ...

    async def ask_model_with(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer:
        """The same with a conversation of its own, which ends with a message of the user; the whole answer. InvalidArgument
        also when it is known that the model cannot take what is in them."""
        ...


class Tool(Protocol):
    """Something a model can call. It reports failure by raising ToolFailed or by `is_error`, never by text alone.

    It may be `HasSubject` as well.
    """

    @property
    def definition(self) -> ToolDefinition: ...
    @property
    def traits(self) -> ToolTraits: ...

    def validate(self, arguments: dict[str, Any]) -> None:
        """Raise InvalidToolArguments, naming the parameter, when they do not fit. Runs before any approval."""
        ...

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        """Names of what the call writes; calls that share one run one after the other. Empty when it writes nothing."""
        ...

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput: ...


@runtime_checkable
class HasSubject(Protocol):
    """A tool that says what the patterns of permission rules are matched against. For one that does not it is the
    arguments as JSON, with sorted keys and without blanks."""

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """Of arguments that fit. ToolFailed when it cannot be told; then a person is asked."""
        ...


@runtime_checkable
class HasRuleNames(Protocol):
    """A tool whose calls rules may call by further names: those of the tools that they are as well."""

    def rule_names(self, arguments: Mapping[str, Any] | None) -> tuple[str, ...]:
        """Of a call with these arguments; all that there are without any."""
        ...


@runtime_checkable
class HasWebPolicy(Protocol):
    """A tool that keeps to what an agent's web tools may look at."""

    def within(self, policy: WebPolicy) -> Tool:
        """The tool as it works under this policy."""
        ...


class Toolbox(Protocol):
    """The tools by name. `select` turns an agent's list (tool and toolset names) into tools, in a stable order."""

    def select(self, names: Sequence[str]) -> list[Tool]:
        """ToolNotFound, naming the ones that exist."""
        ...
