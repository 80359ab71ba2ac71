"""Routes of the work queue: `/v1/environments/{environment}/work`, for workers that do the tool calls of its sessions.

A worker needs a key that may answer. No item carries a secret of its own: the key the worker polls with is what it uses for
the session as well.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from ...core.document import Document
from ...core.errors import DocumentNotFound, InvalidArgument, WorkLost
from ...core.ids import SessionId
from ...core.principal import Principal
from ...host.work_item import item_of
from ...host.work_queue import LONGEST_S, RECLAIM_MS, WorkQueue
from ..server.rule import Rule
from ..server.service import Service, request_id_of
from .body import body, decoded, fit
from .caller import Answerer, Operator, Reader
from .environments import environment_of
from .errors import envelope
from .paging import paged
from .query import Query, moment, moment_or_none
from .session_record import KIND as SESSION, Kept
from .shapes import Shape, patched

NO_HEARTBEAT = "NO_HEARTBEAT"
"""What a worker expects to be the last heartbeat when it sends the first."""
LONGEST_POLL_MS = 999
LONGEST_NAME = 256
"""Of a worker's own name for itself, as much as is kept."""
_PATH = re.compile(r"/v1/environments/[^/]+/work/(?:poll|[^/]+/(?P<step>ack|heartbeat|stop))")


class WorkUpdate(Shape):
    metadata: dict[str, str | None]


class WorkStop(Shape):
    force: bool = False


def work_rule(request: HTTPConnection) -> Rule | None:
    """A worker's own requests need no more than to answer. Heartbeats tell workers apart, so none is ever replayed."""
    found = _PATH.fullmatch(request.scope["path"])
    return None if found is None else Rule("answer", writes=found["step"] in ("ack", "stop"))


def work_queue(service: Service) -> WorkQueue:
    """The queue of the sessions that run in self-hosted environments; it attends to those driven here from now on."""

    async def environment(session: SessionId, tenant: str | None) -> str | None:
        try:
            document = await service.store.get_document(SESSION, session, tenant=tenant)
        except DocumentNotFound:
            return None
        kept = msgspec.convert(document.data(), Kept)
        return kept.environment if kept.config is not None and kept.config["type"] == "self_hosted" else None

    runtime = service.runtime
    queue = WorkQueue(service.store, runtime.ids, runtime.clock, environment, lease_s=service.settings.worker_lease_s)
    runtime.attend(queue)
    return queue


def work_routes(service: Service, queue: WorkQueue) -> APIRouter:
    routes = APIRouter(prefix="/v1/environments/{environment}/work")

    async def place(principal: Principal, environment: str) -> dict[str, Any]:
        """The queue's arguments for this environment. NotFound, InvalidArgument."""
        found = await environment_of(service, principal, environment)
        if found.data()["config"]["type"] != "self_hosted":
            raise InvalidArgument(f"environment {environment!r} is not self_hosted: it has no workers")
        return {"place": environment, "tenant": principal.tenant}

    @routes.get("")
    async def listed(principal: Reader, environment: str, request: Request) -> dict[str, Any]:
        where = await place(principal, environment)

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[Document]:
            return list(await queue.list(**where, limit=limit, after=after, ascending=ascending))

        page = await paged(Query(request), f"work of {environment}", fetch, lambda one: (one.created_ms, one.id))
        return page.body([_shown(one) for one in page.rows])

    @routes.get("/poll")
    async def poll(principal: Answerer, environment: str, request: Request) -> dict[str, Any] | None:
        where, query = await place(principal, environment), Query(request)
        reclaim_ms = query.number("reclaim_older_than_ms", least=0)
        found = await queue.poll(
            **where,
            worker=request.headers.get("anthropic-worker-id", "")[:LONGEST_NAME] or None,
            wait_ms=query.number("block_ms", most=LONGEST_POLL_MS) or 0,
            reclaim_ms=RECLAIM_MS if reclaim_ms is None else reclaim_ms,
        )
        return None if found is None else _shown(found)

    @routes.get("/stats")
    async def stats(principal: Reader, environment: str) -> dict[str, Any]:
        counts = await queue.counts(**await place(principal, environment))
        return {
            "type": "work_queue_stats",
            "depth": counts.waiting,
            "pending": counts.pending,
            "oldest_queued_at": moment_or_none(counts.oldest_ms),
            "workers_polling": counts.polling,
        }

    @routes.get("/{work}")
    async def get(principal: Reader, environment: str, work: str) -> dict[str, Any]:
        return _shown(await queue.get(work, **await place(principal, environment)))

    @routes.post("/{work}")
    async def update(
        principal: Operator, environment: str, work: str, given: Annotated[WorkUpdate, Depends(body(WorkUpdate))]
    ) -> dict[str, Any]:
        where = await place(principal, environment)
        return _shown(await queue.describe(work, lambda old: patched(old, given.metadata), **where))

    @routes.post("/{work}/ack")
    async def acknowledge(principal: Answerer, environment: str, work: str) -> dict[str, Any]:
        return _shown(await queue.acknowledge(work, **await place(principal, environment)))

    @routes.post("/{work}/heartbeat")
    async def heartbeat(principal: Answerer, environment: str, work: str, request: Request) -> Response:
        where, query = await place(principal, environment), Query(request)
        expected = query.text("expected_last_heartbeat")
        lasts_s = query.number("desired_ttl_seconds")
        try:
            document = await queue.heartbeat(
                work,
                **where,
                last_ms=None if expected in (None, NO_HEARTBEAT) else _ms(expected),
                checked=expected is not None,
                lease_s=None if lasts_s is None else min(lasts_s, LONGEST_S),
            )
        except WorkLost as lost:
            state = _lease(await queue.get(work, **where), extended=False)
            code = "heartbeat_precondition_failed"
            return envelope(412, lost.message, request_id_of(request), code=code, details={"current_state": state})
        lease = _lease(document, extended=item_of(document).state == "active")
        return JSONResponse({"type": "work_heartbeat", **lease, "last_heartbeat": lease["last_heartbeat"] or ""})

    @routes.post("/{work}/stop")
    async def stop(principal: Answerer, environment: str, work: str, request: Request) -> dict[str, Any]:
        where, raw = await place(principal, environment), await request.body()
        force = fit(WorkStop, decoded(raw)).force if raw else False
        return _shown(await queue.stop(work, **where, force=force))

    return routes


def _shown(document: Document) -> dict[str, Any]:
    item = item_of(document)
    return {
        "type": "work",
        "id": document.id,
        "environment_id": item.place,
        "state": item.state,
        "data": {"type": "session", "id": item.session},
        "metadata": item.metadata,
        "secret": None,
        "created_at": moment(document.created_ms),
        "acknowledged_at": moment_or_none(item.acknowledged_ms),
        "started_at": moment_or_none(item.started_ms),
        "latest_heartbeat_at": moment_or_none(item.heartbeat_ms),
        "stop_requested_at": moment_or_none(item.stop_requested_ms),
        "stopped_at": moment_or_none(item.stopped_ms),
    }


def _lease(document: Document, *, extended: bool) -> dict[str, Any]:
    item = item_of(document)
    return {
        "last_heartbeat": moment_or_none(item.heartbeat_ms),
        "lease_extended": extended,
        "state": item.state,
        "ttl_seconds": item.lease_s,
    }


def _ms(text: str) -> int:
    """A heartbeat's time as we wrote it; -1 for what we never wrote."""
    try:
        ms = round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return -1
    return ms if moment(ms) == text else -1
