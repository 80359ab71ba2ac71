"""The queue of tasks that are done outside, as the engine uses it: it offers them and looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..core.ids import SessionId
from ..core.lanes import DeadLetter, ExternalTask, TaskOffer
from ..core.messages import ResultBlock


class TaskQueue(Protocol):
    """Tasks for workers. A tenant sees its own alone; None sees those of no tenant."""

    async def offer(self, offers: Sequence[TaskOffer], *, tenant: str | None) -> None:
        """Store these, to be handed out once the action of each waits in its session's log. Offering again changes nothing.
        Durable when it returns."""
        ...

    def offered(self) -> None:
        """The actions of what was offered are stored: it may be handed out."""
        ...

    def wanted(self, lane: str, *, tool: str, labels: Mapping[str, str], tenant: str | None) -> bool:
        """Whether a worker that has these labels and this tool has asked for tasks of the lane of late, here or in another
        process on the same store."""
        ...

    async def of_session(self, session: SessionId, *, tenant: str | None) -> list[ExternalTask]:
        """Those that were offered and have not ended, the oldest first."""
        ...

    async def settle(
        self,
        task: str,
        content: tuple[ResultBlock, ...],
        *,
        tenant: str | None,
        is_error: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """This is what a dead letter that was put back came to, whoever works on it: its session is told. False when there
        is none of that id."""
        ...

    async def forget(self, task: str, *, tenant: str | None) -> None:
        """It was answered in another way: nobody gets it any more."""
        ...

    async def dead_letters(self, *, tenant: str | None, session: SessionId | None = None) -> list[DeadLetter]:
        """Tasks whose last try failed, the oldest first; of one session, where one is given."""
        ...

    async def requeue(self, task: str, *, tenant: str | None, session: SessionId | None = None) -> bool:
        """Hand a dead letter out again. Its session has been told of the failure and gets the result as a follow-up.
        False when there is none of that id."""
        ...

    async def drop(self, task: str, *, tenant: str | None, session: SessionId | None = None) -> bool:
        """Remove a dead letter, also one that was put back and has not been done; False when there is none of that id."""
        ...
