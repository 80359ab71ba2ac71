"""What an agent says, as things that begin and end: messages, tool calls, thoughts, steps; and activities.

Each is made on a producer, which may be a session (then its rules hold) or anything that takes events. It begins with
`start()` and ends with `end()`, or both with `async with`, which ends it when its body raises, too. What has ended with its
run in the meantime is let be.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from copy import deepcopy
from types import TracebackType
from typing import Any, ClassVar, Self

from ...core.errors import Conflict, IllegalStream
from .events import (
    ActivityDelta,
    ActivitySnapshot,
    Event,
    ReasoningEnd,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    ReasoningStart,
    StepFinished,
    StepStarted,
    TextMessageContent,
    TextMessageEnd,
    TextMessageStart,
    TextRole,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)
from .patches import create_patch
from .producer import EventProducer
from .profiles import TITLE


def new_id() -> str:
    return str(uuid.uuid4())


class Item(ABC):
    """Base of what begins and ends."""

    what: ClassVar[str]

    def __init__(self, producer: EventProducer, *, subagent_run_id: str | None = None) -> None:
        self._producer = producer
        self.subagent_run_id = subagent_run_id
        self._started = False
        self._ended = False

    @property
    def is_open(self) -> bool:
        """It was started here and not ended here."""
        return self._started and not self._ended

    async def start(self) -> Self:
        """Begins it."""
        if self._started:
            raise Conflict(f"this {self.what} was started already")
        await self._producer.emit(self._start())
        self._started = True
        return self

    async def _end_with(self, event: Event) -> None:
        """Nothing happens to what has ended."""
        if not self._started:
            raise Conflict(f"this {self.what} was not started")
        if not self._ended:
            await self._producer.emit(event)
            self._ended = True

    @abstractmethod
    def _start(self) -> Event: ...

    @abstractmethod
    async def _close(self, error: BaseException | None) -> None:
        """Ends it as far as its body went."""

    async def __aenter__(self) -> Self:
        return self if self.is_open else await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._close(error)
        except IllegalStream:
            self._ended = True  # its run has ended, and it with it
        except Exception:
            if error is None:
                raise


class MessageStream(Item):
    """A text message. An empty `content` is left out."""

    what = "message"

    def __init__(
        self,
        producer: EventProducer,
        message_id: str | None = None,
        *,
        role: TextRole = "assistant",
        name: str | None = None,
        subagent_run_id: str | None = None,
    ) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id)
        self.message_id = message_id or new_id()
        self._role = role
        self._name = name

    def _start(self) -> Event:
        return TextMessageStart(
            message_id=self.message_id, role=self._role, name=self._name, subagent_run_id=self.subagent_run_id
        )

    async def content(self, delta: str) -> None:
        if delta:
            event = TextMessageContent(message_id=self.message_id, delta=delta, subagent_run_id=self.subagent_run_id)
            await self._producer.emit(event)

    async def end(self) -> str:
        """Ends it, and gives its id."""
        await self._end_with(TextMessageEnd(message_id=self.message_id, subagent_run_id=self.subagent_run_id))
        return self.message_id

    async def _close(self, error: BaseException | None) -> None:
        await self.end()


class ToolCallStream(Item):
    """A call of a tool: its arguments as they come, and what it returned."""

    what = "tool call"

    def __init__(
        self,
        producer: EventProducer,
        name: str,
        tool_call_id: str | None = None,
        *,
        parent_message_id: str | None = None,
        subagent_run_id: str | None = None,
    ) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id)
        self.name = name
        self.tool_call_id = tool_call_id or f"call_{uuid.uuid4().hex[:8]}"
        self._parent = parent_message_id

    def _start(self) -> Event:
        return ToolCallStart(
            tool_call_id=self.tool_call_id,
            tool_call_name=self.name,
            parent_message_id=self._parent,
            subagent_run_id=self.subagent_run_id,
        )

    async def args(self, delta: str) -> None:
        """A piece of the arguments, which are JSON."""
        event = ToolCallArgs(tool_call_id=self.tool_call_id, delta=delta, subagent_run_id=self.subagent_run_id)
        await self._producer.emit(event)

    async def end(self) -> str:
        """The arguments are whole. Gives its id."""
        await self._end_with(ToolCallEnd(tool_call_id=self.tool_call_id, subagent_run_id=self.subagent_run_id))
        return self.tool_call_id

    async def result(self, content: str | list[dict[str, Any]], message_id: str | None = None) -> str:
        """What the tool returned, as a message of its own, of which it gives the id. Ends the call where it is open."""
        await self.end()
        message_id = message_id or new_id()
        event = ToolCallResult(
            message_id=message_id,
            tool_call_id=self.tool_call_id,
            content=content,
            subagent_run_id=self.subagent_run_id,
        )
        await self._producer.emit(event)
        return message_id

    async def _close(self, error: BaseException | None) -> None:
        await self.end()


class ThinkingMessageStream(Item):
    """A message of thoughts. Unlike other messages' its empty contents are sent."""

    what = "message of thoughts"

    def __init__(
        self, producer: EventProducer, message_id: str | None = None, *, subagent_run_id: str | None = None
    ) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id)
        self.message_id = message_id or new_id()

    def _start(self) -> Event:
        return ReasoningMessageStart(message_id=self.message_id, subagent_run_id=self.subagent_run_id)

    async def content(self, delta: str) -> None:
        event = ReasoningMessageContent(message_id=self.message_id, delta=delta, subagent_run_id=self.subagent_run_id)
        await self._producer.emit(event)

    async def end(self) -> str:
        """Ends it, and gives its id."""
        await self._end_with(ReasoningMessageEnd(message_id=self.message_id, subagent_run_id=self.subagent_run_id))
        return self.message_id

    async def _close(self, error: BaseException | None) -> None:
        await self.end()


class ThinkingStep(Item):
    """A span of thoughts, with a title where there is one."""

    what = "step of thinking"

    def __init__(self, producer: EventProducer, title: str | None = None, *, subagent_run_id: str | None = None) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id)
        self.title = title
        self.message_id = new_id()

    def _start(self) -> Event:
        metadata = None if self.title is None else {TITLE: self.title}
        return ReasoningStart(message_id=self.message_id, metadata=metadata, subagent_run_id=self.subagent_run_id)

    def message(self) -> ThinkingMessageStream:
        """A message within it, to be started."""
        return ThinkingMessageStream(self._producer, subagent_run_id=self.subagent_run_id)

    async def end(self) -> None:
        await self._end_with(ReasoningEnd(message_id=self.message_id, subagent_run_id=self.subagent_run_id))

    async def _close(self, error: BaseException | None) -> None:
        await self.end()


class Step(Item):
    """A step of the agent's, by name."""

    what = "step"

    def __init__(self, producer: EventProducer, name: str, *, subagent_run_id: str | None = None) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id)
        self.name = name

    def _start(self) -> Event:
        return StepStarted(step_name=self.name, subagent_run_id=self.subagent_run_id)

    async def end(self) -> None:
        await self._end_with(StepFinished(step_name=self.name, subagent_run_id=self.subagent_run_id))

    async def _close(self, error: BaseException | None) -> None:
        await self.end()


class Activity:
    """Progress that is no conversation. It has no end."""

    def __init__(
        self,
        producer: EventProducer,
        activity_type: str,
        message_id: str | None = None,
        *,
        subagent_run_id: str | None = None,
    ) -> None:
        self._producer = producer
        self.activity_type = activity_type
        self.message_id = message_id or new_id()
        self.subagent_run_id = subagent_run_id
        self._content: dict[str, Any] | None = None

    async def show(self, content: dict[str, Any]) -> None:
        """What there is to see now: as a whole the first time, as a patch then, and nothing where it is the same."""
        new = deepcopy(content)
        if self._content is None:
            event: Event = ActivitySnapshot(
                message_id=self.message_id,
                activity_type=self.activity_type,
                content=new,
                subagent_run_id=self.subagent_run_id,
            )
        elif patch := create_patch(self._content, new):
            event = ActivityDelta(
                message_id=self.message_id,
                activity_type=self.activity_type,
                patch=patch,
                subagent_run_id=self.subagent_run_id,
            )
        else:
            return
        await self._producer.emit(event)
        self._content = new
