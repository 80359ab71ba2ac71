"""ToolContext: what a running tool may ask of the engine, for calls of a model and calls of the host alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from ..contracts import Memories, ModelAnswer, Tasks, Verified, Workspace
from ..core.agent import ModelSettings
from ..core.errors import ToolFailed
from ..core.events import Delta, Labels
from ..core.goal import Goal
from ..core.ids import CallId, RunId, Seq, SessionId
from ..core.messages import Message
from ..core.questions import Resumption
from ..core.rules import Verdict
from ..core.shared_state import PatchOperation
from ..core.state import State
from ..core.todos import Todo
from .aside import Asides
from .cancel import Cancel
from .shared_state import CallState, shown_state


class Shows(Protocol):
    """Who shows what is on its way."""

    def publish(self, delta: Delta) -> None: ...


class Context:
    """Implements `godwit.contracts.ToolContext` for one call. `run` is None for a call outside any run."""

    def __init__(
        self,
        store: Shows,
        *,
        session: SessionId,
        run: RunId | None,
        call: CallId,
        key: str,
        token: Cancel,
        workspace: Workspace | None,
        labels: Labels,
        context: Any,
        grace_s: Callable[[], float],
        after: Seq,
        verify: Callable[[], Awaitable[Verified]] | None = None,
        asides: Asides | None = None,
        tasks: Tasks | None = None,
        memory: Memories | None = None,
        verdict: Callable[[dict[str, Any]], Verdict] = lambda _: "allow",
        conversation: Callable[[], tuple[Message, ...]] = lambda: (),
        state: Callable[[], State] = State,
        resumed: Resumption | None = None,
        shared: CallState | None = None,
    ) -> None:
        self.session = session
        self.run = run
        self.call = call
        self.key = key
        self.cancel = token
        self.labels = labels
        self.context = context
        self.resumed = resumed
        self._store = store
        self._workspace = workspace
        self._grace_s = grace_s
        self._offset = 0
        self._after = after
        self._verify = verify
        self._asides = asides
        self._tasks = tasks
        self._memory = memory
        self._verdict = verdict
        self._conversation = conversation
        self._state = state
        self._shared = shared

    @property
    def workspace(self) -> Workspace:
        if self._workspace is None:
            raise ToolFailed("this session has no workspace")
        return self._workspace

    @property
    def grace_s(self) -> float:
        # A little less than the engine waits, so that what a command had said can still be recorded.
        return self._grace_s() * 0.8

    async def verify(self) -> Verified:
        if self._verify is None:
            raise ToolFailed("checks cannot be run from here")
        return await self._verify()

    @property
    def tasks(self) -> Tasks:
        if self._tasks is None:
            raise ToolFailed("this session has no tasks")
        return self._tasks

    @property
    def memory(self) -> Memories:
        if self._memory is None:
            raise ToolFailed("there is no memory here")
        return self._memory

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        return self._verdict(arguments)

    @property
    def todos(self) -> tuple[Todo, ...]:
        return self._state().todos

    @property
    def goal(self) -> Goal | None:
        return self._state().goal

    @property
    def shared_state(self) -> Any:
        return shown_state(self._state().shared)

    async def set_shared_state(self, value: Any) -> Any:
        return await self._sharing().set(value)

    async def patch_shared_state(
        self, operations: Sequence[PatchOperation | Mapping[str, Any]], *, key: str | None = None
    ) -> Any:
        return await self._sharing().patch(operations, key)

    def _sharing(self) -> CallState:
        if self._shared is None:
            raise ToolFailed("there is no shared state here")
        return self._shared

    @property
    def conversation(self) -> tuple[Message, ...]:
        return self._conversation()

    def output(self, text: str) -> None:
        self._store.publish(Delta(self.session, "tool_output", self.call, self._offset, text, after=self._after))
        self._offset += len(text)

    def progress(self, text: str) -> None:
        self._store.publish(Delta(self.session, "progress", self.call, 0, text, after=self._after))

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        if self._asides is None:
            raise ToolFailed("no model can be asked from here")
        return await self._asides.ask(prompt, model=model, purpose=purpose)

    async def ask_model_with(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer:
        if self._asides is None:
            raise ToolFailed("no model can be asked from here")
        return await self._asides.answer(
            messages, instructions=instructions, settings=settings, model=model, purpose=purpose
        )
