"""RemoteTasks: what a session of a server has handed to other agents; what each method does is told by
`engine.tasks.SessionTasks`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..core.errors import TaskNotFound
from ..core.tasks import TaskEnd, TaskRecord, TaskRequest
from .connection import new_key, segment
from .handle import RemoteHandle
from .shapes import Cancelled, Changed, Listed, Output

WAIT_S = 20.0
"""How long one request waits for the end of tasks."""


class RemoteTasks:
    """`session.tasks`: the tasks of one session, those of tools and those of its host, finished ones included."""

    def __init__(self, session: RemoteHandle) -> None:
        self._session = session

    async def all(self) -> list[TaskRecord]:
        """All of them, oldest first."""
        return (await self._session._get("/tasks", Listed[TaskRecord])).data

    async def get(self, task: str) -> TaskRecord | None:
        """The one of this id; None when this session never gave it."""
        try:
            return await self._session._get(f"/tasks/{segment(task)}", TaskRecord)
        except TaskNotFound:
            return None

    async def pending(self) -> list[TaskRecord]:
        """Those that have not ended, oldest first."""
        return (await self._session._get("/tasks", Listed[TaskRecord], pending=True)).data

    async def start(
        self,
        agent: str,
        prompt: str,
        *,
        description: str = "",
        max_turns: int | None = None,
        output_schema: dict[str, Any] | None = None,
        continue_task: str | None = None,
        key: str | None = None,
    ) -> TaskRecord:
        """Hand a task to a subagent, in the background. SubagentLimit, AgentNotFound, ConfigurationError,
        SessionArchived."""
        TaskRequest(agent, prompt, description, max_turns, output_schema)
        own = new_key()
        body = {
            "agent": agent,
            "prompt": prompt,
            "description": description,
            "max_turns": max_turns,
            "output_schema": output_schema,
            "continue_task": continue_task,
            "key": key or own,
        }
        return await self._session._post("/tasks", TaskRecord, body, key=own)

    async def wait(self, tasks: Sequence[str], timeout_s: float | None = None) -> list[TaskRecord]:
        """Return their records when all of them have ended, or when the time is over. TaskNotFound."""
        if not tasks:
            return []
        loop = asyncio.get_running_loop()
        until_s = None if timeout_s is None else loop.time() + timeout_s
        while True:
            left_s = WAIT_S if until_s is None else min(WAIT_S, max(0.0, until_s - loop.time()))
            query = {"task": list(tasks), "wait_s": left_s}
            path = f"{self._session._path}/tasks"
            found = await self._session._connection.call("GET", path, Listed[TaskRecord], query=query, wait_s=left_s)
            if not any(record.pending for record in found.data) or (until_s is not None and loop.time() >= until_s):
                return found.data

    async def read(self, tasks: Sequence[str]) -> None:
        """The messages that tell of their ends need not be delivered any more."""
        await self._session._post("/tasks/read", object, {"tasks": list(tasks)})

    async def output(self, task: str) -> str:
        """All that the child has answered; of one that works, its last words so far. TaskNotFound."""
        return (await self._session._get(f"/tasks/{segment(task)}/output", Output)).output

    async def cancel(self, task: str, reason: str | None = None) -> bool:
        """End the task and all that works for it. False when it has ended already, or was never here."""
        return (await self._session._post(f"/tasks/{segment(task)}/cancel", Changed, {"reason": reason})).changed

    async def cancel_all(self, reason: str | None = None) -> int:
        """Cancel every task that has not ended; returns how many there were."""
        return (await self._session._post("/tasks/cancel", Cancelled, {"reason": reason})).count

    async def record_start(
        self, task: str, *, agent: str, description: str = "", session: str | None = None, prompt: str = ""
    ) -> None:
        """A child that runs elsewhere has begun."""
        body = {"agent": agent, "description": description, "session": session, "prompt": prompt}
        await self._session._post(f"/tasks/{segment(task)}", object, body, method="PUT")

    async def record_progress(self, task: str, status: str, metadata: dict[str, Any] | None = None) -> None:
        """It has done a step."""
        await self._session._post(f"/tasks/{segment(task)}/progress", object, {"status": status, "metadata": metadata or {}})

    async def record_end(self, task: str, status: TaskEnd = "completed", output: str = "") -> bool:
        """It has ended. False when it had before."""
        body = {"status": status, "output": output}
        return (await self._session._post(f"/tasks/{segment(task)}/end", Changed, body)).changed
