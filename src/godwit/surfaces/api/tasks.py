"""Routes of tasks: what a session has handed to other agents, and children that somebody runs in their own way.

Waiting is a part of listing: `wait_s` holds the answer until the tasks it is about have ended.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from ...core.errors import TaskNotFound
from ...core.tasks import TaskRecord
from ...engine.session import Session
from .calls import Controlled, Driven, Host, KeyHeader, Watched, Who
from .operations import PREFIX, operation
from .runs import WAIT_S, patiently
from .shapes.common import Changed
from .shapes.tasks import (
    Cancelled,
    CancelTaskBody,
    EndTaskBody,
    ProgressBody,
    ReadTasksBody,
    RecordTaskBody,
    StartTaskBody,
    TaskOutput,
    TaskRecordList,
)
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}/tasks", tags=["tasks"])
TaskPath = Annotated[str, Path(alias="task", description="The task's id.")]


@router.get("")
@operation(gives=TaskRecordList, waits=True)
async def list_tasks(
    service: Host,
    session: Watched,
    task: Annotated[list[str] | None, Query(description="Only these, in this order.")] = None,
    pending: Annotated[bool, Query(description="Only those that have not ended.")] = False,
    wait_s: Annotated[float, Query(ge=0, le=WAIT_S, description="Seconds to wait for the end of all of them.")] = 0.0,
) -> Response:
    """What the session has handed out, oldest first. With `wait_s` the answer is held until all have ended."""
    wanted = [record.id for record in await session.tasks.all()] if task is None else task
    if wanted and wait_s:
        await patiently(service, session.tasks.wait(wanted), wait_s)
    records = await session.tasks.all() if task is None else await session.tasks.wait(wanted, 0)
    return answer(TaskRecordList([record for record in records if record.pending or not pending]))


@router.post("")
@operation(takes=StartTaskBody, gives=TaskRecord)
async def start_task(
    session: Driven, sent: Annotated[StartTaskBody, Depends(body(StartTaskBody))], key: KeyHeader
) -> Response:
    """Hand a task to a subagent, in the background: a message tells the session of its end."""
    record = await session.tasks.start(
        sent.agent,
        sent.prompt,
        description=sent.description,
        max_turns=sent.max_turns,
        output_schema=sent.output_schema,
        continue_task=sent.continue_task,
        key=sent.key or key,
    )
    return answer(record)


@router.post("/cancel")
@operation(takes=CancelTaskBody, gives=Cancelled)
async def cancel_tasks(session: Controlled, sent: Annotated[CancelTaskBody, Depends(body(CancelTaskBody))]) -> Response:
    """Cancel every task that has not ended."""
    return answer(Cancelled(await session.tasks.cancel_all(sent.reason)))


@router.post("/read")
@operation(takes=ReadTasksBody)
async def read_tasks(session: Controlled, sent: Annotated[ReadTasksBody, Depends(body(ReadTasksBody))]) -> Response:
    """Their ends are known: the messages that tell of them need not be delivered any more."""
    await session.tasks.read(sent.tasks)
    return nothing()


@router.get("/{task}")
@operation(gives=TaskRecord)
async def get_task(session: Watched, task: TaskPath) -> Response:
    """The task as it stands."""
    return answer(await _found(session, task))


@router.get("/{task}/output")
@operation(gives=TaskOutput)
async def task_output(session: Watched, task: TaskPath) -> Response:
    """All that its subagent has answered, however long; while it works, its last words so far."""
    return answer(TaskOutput(await session.tasks.output(task)))


@router.post("/{task}/cancel")
@operation(takes=CancelTaskBody, gives=Changed)
async def cancel_task(
    session: Controlled, task: TaskPath, sent: Annotated[CancelTaskBody, Depends(body(CancelTaskBody))]
) -> Response:
    """End the task and all that works for it. Not changed when it had ended, or was never here."""
    return answer(Changed(await session.tasks.cancel(task, sent.reason)))


@router.put("/{task}")
@operation(takes=RecordTaskBody, gives=TaskRecord)
async def record_task(
    service: Host,
    who: Who,
    session: Watched,
    task: TaskPath,
    sent: Annotated[RecordTaskBody, Depends(body(RecordTaskBody))],
) -> Response:
    """A child that the caller runs has begun. Said again, it changes nothing."""
    if sent.session is not None:
        await service.row(who, sent.session)
    await session.tasks.record_start(
        task, agent=sent.agent, description=sent.description, session=sent.session, prompt=sent.prompt
    )
    return answer(await _found(session, task))


@router.post("/{task}/progress")
@operation(takes=ProgressBody)
async def record_task_progress(
    session: Watched, task: TaskPath, sent: Annotated[ProgressBody, Depends(body(ProgressBody))]
) -> Response:
    """It has done a step. Of one that has ended, or was never here, nothing is recorded."""
    await session.tasks.record_progress(task, sent.status, sent.metadata)
    return nothing()


@router.post("/{task}/end")
@operation(takes=EndTaskBody, gives=Changed)
async def record_task_end(
    session: Watched, task: TaskPath, sent: Annotated[EndTaskBody, Depends(body(EndTaskBody))]
) -> Response:
    """It has ended. Not changed when it had before, as cancelled for one."""
    return answer(Changed(await session.tasks.record_end(task, sent.status, sent.output)))


async def _found(session: Session, task: str) -> TaskRecord:
    record = await session.tasks.get(task)
    if record is None:
        raise TaskNotFound(f"session {session.id} has no task {task!r}", task=task)
    return record
