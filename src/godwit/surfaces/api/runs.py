"""Routes of runs: what came of them, waiting for one, and continuing one that was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic_core import to_jsonable_python
from starlette.responses import Response

from ...core.errors import NoOpenRun, RunFailed, RunNotFound
from ...core.events import Event
from ...core.record import RunPage, RunResult, RunSnapshot
from ..server.service import Service
from .calls import MOST, Controlled, Driven, Host, Row, Watched, Who
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.inputs import Started
from .shapes.runs import DeferredList, NotYet, PageOfRun, RunList, ToolList
from .wire import answer

T = TypeVar("T")
WAIT_S = 30.0
"""How long a request may wait for the end of something."""

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["runs"])
RunPath = Annotated[str, Path(alias="run", description="The run's id.")]
Wait = Annotated[float, Query(ge=0, le=WAIT_S, description="Seconds to wait for the end.")]


@router.get("/runs")
@operation(gives=RunList)
async def list_runs(
    session: Watched, limit: Annotated[int | None, Query(ge=0, le=MOST, description="The newest so many.")] = None
) -> Response:
    """The session's runs, oldest first."""
    return answer(RunList(await session.runs(limit=limit), await session.run_count()))


@router.get("/runs/{run}")
@operation(gives=RunSnapshot)
async def get_run(session: Watched, run: RunPath) -> Response:
    """The run as its events tell it."""
    found = await session.run_snapshot(run)
    if found is None:
        raise RunNotFound(f"session {session.id} has no run {run!r}, or keeps it no more", run=run)
    return answer(found)


@router.get("/runs/{run}/events")
@operation(gives=PageOfRun)
async def run_events(
    session: Watched,
    run: RunPath,
    after: Annotated[int, Query(ge=0, le=MOST, description="Events with a greater seq.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The run's next events, and where to go on."""
    return answer(_page(await session.run_page(run, after, limit=limit)))


def _page(page: RunPage) -> PageOfRun:
    told = {name: getattr(page, name) for name in PageOfRun.__struct_fields__}
    return PageOfRun(**{**told, "events": [raw(event) for event in page.events]})


def raw(event: Event) -> msgspec.Raw:
    """The event as it is told everywhere: the bytes that were stored, behind their envelope."""
    return msgspec.Raw(event.frame())


@router.get("/runs/{run}/result")
@operation(gives=RunResult, also={202: NotYet}, waits=True)
async def run_result(service: Host, session: Controlled, run: RunPath, wait_s: Wait = 0.0) -> Response:
    """How the run ended. 202 while it has not; what keeps this server from driving it is an error."""
    return await _result(service, session.wait(run), run, wait_s)


@router.get("/result")
@operation(gives=RunResult, also={202: NotYet}, waits=True)
async def result(service: Host, session: Controlled, wait_s: Wait = 0.0) -> Response:
    """The same of the open run, or else the last one."""
    state = await session.state()
    run = state.run.id if state.run is not None else state.last_run
    if run is None:
        raise NoOpenRun("this session has not run yet")
    return await _result(service, session.wait(run), run, wait_s)


async def _result(service: Service, waiting: Coroutine[Any, Any, RunResult], run: str, wait_s: float) -> Response:
    # A run that has ended is found in the log, which takes a moment.
    ended = await patiently(service, waiting, max(wait_s, 0.2))
    if ended is None:
        return answer(NotYet(run), 202)
    try:
        result = ended.result()
    except RunFailed as failed:
        result = failed.result
    return answer(replace(result, output=to_jsonable_python(result.output)))


async def patiently(service: Service, waiting: Coroutine[Any, Any, T], wait_s: float) -> asyncio.Future[T] | None:
    """What was waited for; None when it did not come in that time, or the server ends."""
    ended = asyncio.ensure_future(waiting)
    ending = asyncio.Event()
    stop = service.tenants.until_end(ending.set)
    closing = asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait([ended, closing], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop()
        closing.cancel()
        if not ended.done():
            ended.cancel()
    if ended.cancelled() or not ended.done():
        await asyncio.gather(ended, return_exceptions=True)
        return None
    return ended


@router.post("/runs/{run}/resume")
@operation(gives=Started)
async def resume_run(service: Host, who: Who, session: Driven, run: RunPath) -> Response:
    """Continue a run that was interrupted, failed or met a limit, from its last checkpoint, as a new run."""
    await service.tenants.room(who, "runs")
    new = await session.continue_run(run)
    return answer(Started(new, await session.run_start(new)))


@router.post("/runs/{run}/cancel")
@operation(gives=Changed)
async def cancel_run(service: Host, row: Row, run: RunPath) -> Response:
    """Interrupt that run only while it is the open one; answers when it has ended."""
    return answer(Changed(await service.runtime.interrupt(row.id, run=run)))


@router.get("/active_tools")
@operation(gives=ToolList)
async def active_tools(session: Watched) -> Response:
    """Calls under way in the open run."""
    return answer(ToolList(await session.active_tools()))


@router.get("/deferred_tools")
@operation(gives=DeferredList)
async def deferred_tools(session: Watched) -> Response:
    """The tools that the model has to look for with `tool_search`, and which of them it has found."""
    return answer(DeferredList(await session.deferred_tools()))
