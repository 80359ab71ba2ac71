"""The context of a call for a function that runs in a thread of its own.

Rule: nothing of the engine is touched but on the event loop; where that is closed, what would be shown is dropped.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from ..contracts import CancelToken, Memories, ModelAnswer, Tasks, ToolContext, Verified, Workspace
from ..core.agent import ModelSettings
from ..core.events import Labels
from ..core.goal import Goal
from ..core.ids import CallId, RunId, SessionId
from ..core.messages import Message
from ..core.questions import Resumption
from ..core.rules import Verdict
from ..core.shared_state import PatchOperation
from ..core.todos import Todo

T = TypeVar("T")


class ContextForThread:
    """A ToolContext for a function in a thread: what it shows or cancels is handed over to the event loop."""

    def __init__(self, inner: ToolContext, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def session(self) -> SessionId:
        return self._inner.session

    @property
    def run(self) -> RunId | None:
        return self._inner.run

    @property
    def call(self) -> CallId:
        return self._inner.call

    @property
    def key(self) -> str:
        return self._inner.key

    @property
    def workspace(self) -> Workspace:
        return self._inner.workspace

    @property
    def resumed(self) -> Resumption | None:
        return self._inner.resumed

    @property
    def labels(self) -> Labels:
        return self._inner.labels

    @property
    def context(self) -> Any:
        return self._inner.context

    @property
    def cancel(self) -> CancelToken:
        return self._inner.cancel

    @property
    def grace_s(self) -> float:
        return self._inner.grace_s

    async def verify(self) -> Verified:
        return await _on(self._loop, self._inner.verify())

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        return await _on(self._loop, self._inner.ask_model(prompt, model=model, purpose=purpose))

    async def ask_model_with(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer:
        asking = self._inner.ask_model_with(
            messages, instructions=instructions, settings=settings, model=model, purpose=purpose
        )
        return await _on(self._loop, asking)

    @property
    def tasks(self) -> Tasks:
        return cast(Tasks, _OnLoop(self._inner.tasks, self._loop))

    @property
    def memory(self) -> Memories:
        return cast(Memories, _OnLoop(self._inner.memory, self._loop))

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        return self._inner.verdict(arguments)

    @property
    def conversation(self) -> tuple[Message, ...]:
        return self._inner.conversation

    @property
    def todos(self) -> tuple[Todo, ...]:
        return self._inner.todos

    @property
    def goal(self) -> Goal | None:
        return self._inner.goal

    @property
    def shared_state(self) -> Any:
        return self._inner.shared_state

    async def set_shared_state(self, value: Any) -> Any:
        return await _on(self._loop, self._inner.set_shared_state(value))

    async def patch_shared_state(
        self, operations: Sequence[PatchOperation | Mapping[str, Any]], *, key: str | None = None
    ) -> Any:
        return await _on(self._loop, self._inner.patch_shared_state(operations, key=key))

    def output(self, text: str) -> None:
        self._soon(self._inner.output, text)

    def progress(self, text: str) -> None:
        self._soon(self._inner.progress, text)

    def _soon(self, show: Callable[[str], None], text: str) -> None:
        try:
            self._loop.call_soon_threadsafe(show, text)
        except RuntimeError:  # the loop is closed: nobody watches
            pass


async def _on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Do it on that event loop; waited for on the thread's own."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class _OnLoop:
    """Something of the engine's: what it does is done on the event loop."""

    def __init__(self, inner: object, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def there(*values: Any, **named: Any) -> Any:
            return await _on(self._loop, found(*values, **named))

        return there
