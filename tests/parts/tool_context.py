"""What tools are given in tests: a ToolContext over a real workspace, that keeps what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godwit.contracts import Memories, ModelAnswer, Tasks, Tool, ToolOutput, Verified, Workspace
from godwit.core.errors import ToolFailed
from godwit.core.events import Labels
from godwit.core.goal import Goal
from godwit.core.ids import CallId, RunId, SessionId
from godwit.core.messages import Message, text_of
from godwit.core.questions import Resumption
from godwit.core.rules import Verdict
from godwit.core.shared_state import PatchOperation, patch_of, patched, state_value
from godwit.core.todos import Todo
from godwit.engine.cancel import Cancel
from godwit.engine.shared_state import shown_state
from godwit.workspaces.local import LocalWorkspace

SESSION, RUN, CALL, LABELS = SessionId("ses_1"), RunId("run_1"), CallId("call_1"), Labels()


@dataclass
class Context:
    """Implements `godwit.contracts.ToolContext`."""

    place: Workspace | None = None
    context: Any = None
    session: SessionId = SESSION
    run: RunId = RUN
    call: CallId = CALL
    key: str = "ses_1/call_1"
    labels: Labels = LABELS
    cancel: Cancel = field(default_factory=Cancel)
    grace_s: float = 1.0
    shown: list[str] = field(default_factory=list)
    rules: Callable[[dict[str, Any]], Verdict] = lambda _: "allow"
    steps: list[str] = field(default_factory=list)
    conversation: tuple[Message, ...] = ()
    todos: tuple[Todo, ...] = ()
    goal: Goal | None = None
    resumed: Resumption | None = None
    shared: Any = None

    @property
    def workspace(self) -> Workspace:
        if self.place is None:
            raise ToolFailed("this session has no workspace")
        return self.place

    async def verify(self) -> Verified:
        raise ToolFailed("checks cannot be run from here")

    @property
    def tasks(self) -> Tasks:
        raise ToolFailed("there are no tasks here")

    @property
    def memory(self) -> Memories:
        raise ToolFailed("there are no memories here")

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        return self.rules(arguments)

    @property
    def shared_state(self) -> Any:
        return shown_state(self.shared)

    async def set_shared_state(self, value: Any) -> Any:
        self.shared = state_value(value)
        return self.shared_state

    async def patch_shared_state(
        self, operations: Sequence[PatchOperation | Mapping[str, Any]], *, key: str | None = None
    ) -> Any:
        self.shared = patched(self.shared, patch_of(operations))
        return self.shared_state

    def output(self, text: str) -> None:
        self.shown.append(text)

    def progress(self, text: str) -> None:
        self.steps.append(text)

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        raise ToolFailed("no model can be asked from here")

    async def ask_model_with(self, messages: Sequence[Message], **options: Any) -> ModelAnswer:
        raise ToolFailed("no model can be asked from here")


def context_in(folder: Path) -> Context:
    return Context(LocalWorkspace(folder))


async def call(tool: Tool, context: Context, **arguments: Any) -> ToolOutput:
    """As the engine does it: the arguments are checked first."""
    tool.validate(arguments)
    return await tool.run(arguments, context)


async def text(tool: Tool, context: Context, **arguments: Any) -> str:
    return text_of((await call(tool, context, **arguments)).content)
