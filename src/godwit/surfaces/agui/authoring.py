"""Who says things: the agent itself, as a session, and the subagents it has set to work.

All that they say they make the same way (`items.py`); what subagents say bears their id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .events import (
    Custom,
    Event,
    MessagesSnapshot,
    Raw,
    SubagentError,
    SubagentFinished,
    SubagentStarted,
    SubagentSuspended,
    TextRole,
)
from .items import Activity, Item, MessageStream, Step, ThinkingStep, ToolCallStream, new_id
from .producer import EventProducer


class Author(ABC):
    """Who says things: a session, or a subagent within it. What it makes is to be started, but for what has no end."""

    @abstractmethod
    def _speaks_through(self) -> EventProducer: ...

    @property
    def _owner(self) -> str | None:
        return None

    def message(
        self, message_id: str | None = None, *, role: TextRole = "assistant", name: str | None = None
    ) -> MessageStream:
        return MessageStream(self._speaks_through(), message_id, role=role, name=name, subagent_run_id=self._owner)

    def tool_call(
        self, name: str, tool_call_id: str | None = None, *, parent_message_id: str | None = None
    ) -> ToolCallStream:
        return ToolCallStream(
            self._speaks_through(),
            name,
            tool_call_id,
            parent_message_id=parent_message_id,
            subagent_run_id=self._owner,
        )

    def thinking(self, title: str | None = None) -> ThinkingStep:
        return ThinkingStep(self._speaks_through(), title, subagent_run_id=self._owner)

    async def start_thinking(self, title: str | None = None) -> ThinkingStep:
        """The same, started."""
        return await self.thinking(title).start()

    def step(self, name: str) -> Step:
        return Step(self._speaks_through(), name, subagent_run_id=self._owner)

    def subagent(
        self,
        name: str,
        subagent_run_id: str | None = None,
        *,
        description: str | None = None,
        parent_tool_call_id: str | None = None,
        parent_message_id: str | None = None,
    ) -> Subagent:
        return Subagent(
            self._speaks_through(),
            name,
            subagent_run_id,
            description=description,
            parent_subagent_run_id=self._owner,
            parent_tool_call_id=parent_tool_call_id,
            parent_message_id=parent_message_id,
        )

    def activity(self, activity_type: str, message_id: str | None = None) -> Activity:
        return Activity(self._speaks_through(), activity_type, message_id, subagent_run_id=self._owner)

    async def say(self, text: str, message_id: str | None = None) -> str:
        """A whole message. Gives its id."""
        async with self.message(message_id) as message:
            await message.content(text)
        return message.message_id

    async def custom(self, name: str, value: Any) -> None:
        """An event of your own."""
        await self._speaks_through().emit(Custom(name=name, value=value, subagent_run_id=self._owner))

    async def raw(self, event: Any, source: str | None = None) -> None:
        """An event of a provider's, as it is."""
        await self._speaks_through().emit(Raw(event=event, source=source, subagent_run_id=self._owner))

    async def messages(self, messages: list[dict[str, Any]]) -> None:
        """All messages there are, as the wire has them."""
        await self._speaks_through().emit(MessagesSnapshot(messages=messages))


class Subagent(Item, Author):
    """Work that the agent has another do. What it says is made on it and bears its id; those it sets to work are its own."""

    what = "subagent"

    def __init__(
        self,
        producer: EventProducer,
        name: str,
        subagent_run_id: str | None = None,
        *,
        description: str | None = None,
        parent_subagent_run_id: str | None = None,
        parent_tool_call_id: str | None = None,
        parent_message_id: str | None = None,
    ) -> None:
        super().__init__(producer, subagent_run_id=subagent_run_id or new_id())
        self.name = name
        self._description = description
        self._parents = (parent_subagent_run_id, parent_tool_call_id, parent_message_id)

    @property
    def id(self) -> str:
        assert self.subagent_run_id is not None
        return self.subagent_run_id

    @property
    def _owner(self) -> str | None:
        return self.subagent_run_id

    def _speaks_through(self) -> EventProducer:
        return self._producer

    def _start(self) -> Event:
        agent, call, message = self._parents
        return SubagentStarted(
            subagent_run_id=self.id,
            name=self.name,
            description=self._description,
            parent_subagent_run_id=agent,
            parent_tool_call_id=call,
            parent_message_id=message,
        )

    async def end(self, result: Any = None) -> None:
        """It has done its work."""
        await self._end_with(SubagentFinished(subagent_run_id=self.id, result=result))

    async def suspend(self, interrupt_ids: list[str] | None = None) -> None:
        """It waits, and goes on in a later run."""
        await self._end_with(
            SubagentFinished(subagent_run_id=self.id, outcome=SubagentSuspended(interrupt_ids=interrupt_ids))
        )

    async def fail(self, message: str, code: str | None = None) -> None:
        """It failed, which need not end the run."""
        await self._end_with(SubagentError(subagent_run_id=self.id, message=message, code=code))

    async def _close(self, error: BaseException | None) -> None:
        if error is None:
            await self.end()
        else:
            await self.fail(str(error) or type(error).__name__)
