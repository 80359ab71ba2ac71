"""Routes of lanes: who does a session's calls, what is done outside, and what workers ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from ...core.lanes import LaneHandler, QueueStats
from .calls import Controlled, Host, Watched, Who
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.lanes import (
    CompleteBody,
    DeadLetterList,
    FailBody,
    HeartbeatView,
    LeaseBody,
    LeaseView,
    MetricsView,
    ResultBody,
    TaskList,
    TokenBody,
)
from .wire import answer, body, nothing

_sessions = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["lanes"])
_workers = APIRouter(prefix=PREFIX, tags=["workers"])
LanePath = Annotated[str, Path(alias="lane", description="The lane's name.")]
TaskPath = Annotated[str, Path(alias="task", description="The task's id.")]


@_sessions.put("/lanes/{lane}")
@operation(takes=LaneHandler)
async def set_lane_handler(
    session: Controlled, lane: LanePath, sent: Annotated[LaneHandler, Depends(body(LaneHandler))]
) -> Response:
    """From the next call on this is who does the session's calls of the lane."""
    await session.set_lane_handler(lane, sent)
    return nothing()


@_sessions.get("/external_tasks")
@operation(gives=TaskList)
async def list_external_tasks(session: Watched) -> Response:
    """Calls that wait for somebody outside, the oldest first."""
    return answer(TaskList(await session.pending_external_tasks()))


@_sessions.post("/external_tasks/{task}/complete")
@operation(takes=ResultBody, gives=Changed, scope="answer")
async def complete_external_task(
    session: Controlled, task: TaskPath, sent: Annotated[ResultBody, Depends(body(ResultBody))]
) -> Response:
    """Answer a pending external task, whoever works on it; false when it does not wait any more."""
    return answer(Changed(await session.complete_external_task(task, sent.result, sender=sent.sender)))


@_sessions.get("/queue_stats")
@operation(gives=QueueStats)
async def queue_stats(session: Watched) -> Response:
    """What of this session waits, runs, and is done outside, in each lane of this server."""
    return answer(await session.queue_stats())


@_sessions.get("/queue_metrics")
@operation(gives=MetricsView)
async def queue_metrics(session: Watched, who: Who) -> Response:
    """What became of all steps of this server since it began; null unless its lanes tell, and for a tenant's key."""
    return answer(MetricsView(None if who.tenant is not None else await session.queue_metrics()))


@_sessions.get("/dead_letters")
@operation(gives=DeadLetterList)
async def list_dead_letters(session: Watched) -> Response:
    """The session's calls whose last try outside failed, the oldest first."""
    return answer(DeadLetterList(await session.dead_letters()))


@_sessions.post("/dead_letters/{task}/requeue")
@operation(gives=Changed)
async def requeue_dead_letter(session: Controlled, task: TaskPath) -> Response:
    """Hand it out again; its result is told as a follow-up."""
    return answer(Changed(await session.requeue_dead_letter(task)))


@_sessions.delete("/dead_letters/{task}")
@operation(gives=Changed)
async def drop_dead_letter(session: Controlled, task: TaskPath) -> Response:
    """Remove it."""
    return answer(Changed(await session.drop_dead_letter(task)))


@_workers.get("/dead_letters")
@operation(gives=DeadLetterList)
async def all_dead_letters(service: Host, who: Who) -> Response:
    """Those of all sessions, the oldest first."""
    return answer(DeadLetterList(await service.runtime.external_tasks.dead_letters(tenant=who.tenant)))


@_workers.post("/external_tasks/lease")
@operation(takes=LeaseBody, gives=LeaseView, scope="answer", waits=True)
async def lease_task(service: Host, who: Who, sent: Annotated[LeaseBody, Depends(body(LeaseBody))]) -> Response:
    """The next task of these lanes, which is this worker's until its lease runs out; null when none came in time."""
    leased = await service.runtime.external_tasks.lease(
        sent.lanes, tenant=who.tenant, worker=sent.worker, labels=sent.labels, tools=sent.tools, wait_s=sent.wait_s
    )
    return answer(LeaseView(leased))


@_workers.post("/external_tasks/{task}/heartbeat")
@operation(takes=TokenBody, gives=HeartbeatView, scope="answer")
async def heartbeat_task(
    service: Host, who: Who, task: TaskPath, sent: Annotated[TokenBody, Depends(body(TokenBody))]
) -> Response:
    """Keep the lease; the first one must come before the task is begun. work_lost when the task is another's, or nobody
    waits for it any more."""
    return answer(HeartbeatView(await service.runtime.external_tasks.heartbeat(task, sent.token, tenant=who.tenant)))


@_workers.post("/external_tasks/{task}/complete")
@operation(takes=CompleteBody, gives=Changed, scope="answer")
async def complete_task(
    service: Host, who: Who, task: TaskPath, sent: Annotated[CompleteBody, Depends(body(CompleteBody))]
) -> Response:
    """This is what it came to; false when the lease is another's or has run out, or it was completed before."""
    done = await service.runtime.external_tasks.complete(
        task, sent.token, tuple(sent.content), tenant=who.tenant, is_error=sent.is_error, metadata=sent.metadata
    )
    return answer(Changed(done))


@_workers.post("/external_tasks/{task}/fail")
@operation(takes=FailBody, gives=Changed, scope="answer")
async def fail_task(service: Host, who: Who, task: TaskPath, sent: Annotated[FailBody, Depends(body(FailBody))]) -> Response:
    """The worker could not do it: it is tried again where that is allowed, else it is a dead letter."""
    return answer(Changed(await service.runtime.external_tasks.fail(task, sent.token, sent.error, tenant=who.tenant)))


@_workers.post("/external_tasks/{task}/give_back")
@operation(takes=TokenBody, gives=Changed, scope="answer")
async def give_back_task(
    service: Host, who: Who, task: TaskPath, sent: Annotated[TokenBody, Depends(body(TokenBody))]
) -> Response:
    """It was not begun: another worker gets it, and nothing counts."""
    return answer(Changed(await service.runtime.external_tasks.give_back(task, sent.token, tenant=who.tenant)))


router = APIRouter()
router.routes += [*_sessions.routes, *_workers.routes]

__all__ = ["router"]
