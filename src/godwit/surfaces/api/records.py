"""Routes that tell what happened: the events, and what is read out of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from .calls import MOST, FromSeq, Host, Row, Watched
from .operations import PREFIX, operation
from .runs import raw
from .shapes.records import EventList, History, Trace
from .wire import answer

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["events"])


@router.get("/events")
@operation(gives=EventList)
async def list_events(
    service: Host,
    row: Row,
    from_seq: FromSeq = 0,
    to_seq: Annotated[int | None, Query(ge=0, le=MOST, description="And at most this.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    types: Annotated[list[str] | None, Query(description="Only events of these types.")] = None,
    newest_first: Annotated[bool, Query()] = False,
) -> Response:
    """The stored events in order. Go on behind the seq of the last one."""
    events = await service.store.read(row.id, from_seq, limit=limit, types=types, to_seq=to_seq, newest_first=newest_first)
    for event in events:
        event.labels = row.labels
    return answer(EventList([raw(event) for event in events], row.head))


@router.get("/history")
@operation(gives=History)
async def history(session: Watched) -> Response:
    """The session's own messages as they stand now."""
    return answer(History(await session.history()))


@router.get("/trace")
@operation(gives=Trace)
async def trace(
    session: Watched, limit: Annotated[int | None, Query(ge=0, le=MOST, description="The last so many steps.")] = None
) -> Response:
    """What was done, step by step: names, sizes and times, never a value."""
    return answer(Trace(await session.trace_events(limit=limit)))
