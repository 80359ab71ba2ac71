"""Subagents: who sees to the children of sessions, and what a tool may ask about its session's tasks.

Leaves out what a task is (`core.tasks`) and when it begins and ends, which is in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..core.agent import AgentSpec
from ..core.ids import AgentName, SessionId
from ..core.tasks import TaskRecord, TaskRequest


class Subagents(Protocol):
    """Makes the children of sessions, has them driven, and brings their results. Whatever it does may be done again."""

    async def known(self, spec: AgentSpec) -> Mapping[AgentName, AgentSpec]:
        """The agents that this one may hand tasks to, by the names it knows them by. AgentNotFound."""
        ...

    async def check(self, session: SessionId, spec: AgentSpec, depth: int, requests: Sequence[TaskRequest]) -> None:
        """Whether a session at this depth may hand out these tasks. AgentNotFound, SubagentLimit."""
        ...

    def look(self, session: SessionId) -> None:
        """Something has become of this session's tasks: see to them soon. Never blocks."""
        ...

    async def stop(self, session: SessionId, reason: str) -> None:
        """End the open run of this session and all work that is done for it. Nothing happens when there is none."""
        ...

    async def works_below(self, session: SessionId) -> bool:
        """Whether a session that was made for a task of this one, or of these, has something to do."""
        ...

    async def stop_below(self, session: SessionId, reason: str) -> None:
        """End the work of all sessions that were made for tasks of this one, or of these. Its own run goes on."""
        ...


class Tasks(Protocol):
    """The tasks of one session, as `engine.tasks.SessionTasks` keeps them."""

    async def all(self) -> list[TaskRecord]: ...
    async def get(self, task: str) -> TaskRecord | None: ...
    async def pending(self) -> list[TaskRecord]: ...
    async def wait(self, tasks: Sequence[str], timeout_s: float | None = None) -> list[TaskRecord]: ...
    async def output(self, task: str) -> str: ...
    async def read(self, tasks: Sequence[str]) -> None: ...
    async def cancel(self, task: str, reason: str | None = None) -> bool: ...


@runtime_checkable
class GivesTasks(Protocol):
    """A tool whose call is work for children: it has no body, and its result is what they answer."""

    def requests(self, arguments: dict[str, Any]) -> tuple[Sequence[TaskRequest], bool]:
        """What is asked of whom, for arguments that fit; and whether nobody waits for it. ConfigurationError."""
        ...
