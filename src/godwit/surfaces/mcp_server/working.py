"""Working: a call that waits for a run, tells how it goes, has a person asked what it waits for, and gives what it came to.

It holds nothing of the run: that goes on without it, and any other call may wait for it as well. Rules: of two answers to
one question the first counts, wherever it is given; what cannot be asked here is told, with how to answer it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitRequest, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ...core.errors import InvalidArgument, RunFailed
from ...core.events import ActionClosed, ActionOpened, Delta, Event, RunParked, RunUnparked, SubagentAsked, SubagentFinished
from ...core.facts import PendingAction
from ...core.ids import ActionId, RunId
from ...core.record import RunResult
from ...engine.session import Session
from ..server.caller import Caller
from .asking import MOST_AT_ONCE, answer, askable, can_ask, form
from .results import ended_result, open_result
from .telling import Telling

T = TypeVar("T")
UNFIT = 3
"""How often one call asks the same, when what comes back does not fit."""


class Resumed(msgspec.Struct, frozen=True):
    """What a client of the newer protocol holds, sealed, while it asks a person: which run its call waits for."""

    session: str
    run: str
    told: int = 0


@dataclass(frozen=True)
class Work:
    """`wait_s`: how long at most; None for as long as it takes. `patient`: what nobody here can answer is waited for.
    `told`: how much progress was told before its client was asked."""

    session: str
    run: str
    wait_s: float | None = None
    patient: bool = False
    told: int = 0


async def to_its_end(
    ctx: ServerRequestContext[Any, Any], caller: Caller, work: Work, answers: dict[str, Any]
) -> CallToolResult | InputRequiredResult:
    """What the run came to, or how it stands when the time is over or it waits for what nobody here can answer.

    `answers`: those of the client's, by action, when it was asked before. RunNotFound, SessionNotFound.
    """
    session = await caller.driven(work.session)
    waiting = _Waiting(ctx, caller, work, session)
    for action, said in answers.items():
        await waiting.heard(action, said)
    try:
        return await waiting.result()
    finally:
        await waiting.leave()


class _Waiting:
    def __init__(self, ctx: ServerRequestContext[Any, Any], caller: Caller, work: Work, session: Session) -> None:
        self._ctx = ctx
        self._caller = caller
        self._work = work
        self._session = session
        self._telling = Telling(ctx, work.told)
        self._newer = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._asks = can_ask(ctx) and caller.principal.may("answer")
        self._asked: dict[ActionId, asyncio.Task[ElicitResult]] = {}
        self._put_off: set[ActionId] = set()
        self._unfit: dict[ActionId, int] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    async def heard(self, action: str, said: Any) -> None:
        """What the client brings back. What is not a person's answer to something open is passed over."""
        pending = {str(one.id): one for one in await self._session.approvals.pending()}
        if action in pending and isinstance(said, ElicitResult):
            await self._give(pending[action], said)

    async def result(self) -> CallToolResult | InputRequiredResult:
        loop = asyncio.get_running_loop()
        work, row = self._work, await self._caller.row(self._work.session)
        until = None if work.wait_s is None else loop.time() + work.wait_s
        stream = await self._caller.service.runtime.stream_events(work.session, row.head)
        ended = self._task(self._session.wait(RunId(work.run)))
        coming: asyncio.Task[Event | Delta] | None = self._task(cast(Any, anext(stream)))
        look = True
        try:
            while True:
                if look and not ended.done():
                    told = await self._look()
                    if told is not None:
                        return told
                    look = False
                on = {ended, *self._asked.values(), *(() if coming is None else (coming,))}
                left = None if until is None else max(0.0, until - loop.time())
                done, _ = await asyncio.wait(on, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if coming is not None and coming in done:
                    look |= await self._saw(coming)
                    over = coming.exception() is not None
                    coming = None if over else self._task(cast(Any, anext(stream)))
                    continue  # all that is told comes before the end
                if ended in done:
                    return ended_result(work.session, _result(ended))
                for action in [one for one, task in self._asked.items() if task in done]:
                    await self._answered(action)
                    look = True
                if not done:
                    return await self._as_it_stands()
        finally:
            with contextlib.suppress(RuntimeError):
                await stream.aclose()

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        if len(self._tasks) > 64:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    async def leave(self) -> None:
        tasks = [*self._tasks, *self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take_back(self, action: ActionId) -> None:
        """Nobody has to answer this any more. `leave` sees to it that the client is told before the call's stream ends."""
        task = self._asked.pop(action)
        task.cancel()
        self._tasks.append(task)

    async def _saw(self, coming: asyncio.Task[Event | Delta]) -> bool:
        """Whether something may wait for an answer now that did not, or no more."""
        if coming.exception() is not None:
            return False
        event = coming.result()
        if not isinstance(event, Event):
            return False
        await self._telling.tell(event)
        match event.data:
            case ActionClosed(action=action):
                # Somebody has answered elsewhere: nobody has to any more.
                if action in self._asked:
                    self._take_back(action)
                return True
            case ActionOpened() | SubagentAsked() | SubagentFinished() | RunParked() | RunUnparked():
                return True
            case _:
                return False

    async def _look(self) -> CallToolResult | InputRequiredResult | None:
        """Ask what is to be asked; the answer of this call, if there is one now."""
        pending = await self._session.approvals.pending()
        open_ones = {one.id for one in pending}
        for action in [one for one in self._asked if one not in open_ones]:
            self._take_back(action)
        if not pending:
            return None
        can = [one for one in pending if self._asks and askable(one) and one.id not in self._put_off]
        if can and self._newer:
            return self._asking(can[:MOST_AT_ONCE])
        for one in can:
            if one.id not in self._asked and len(self._asked) < MOST_AT_ONCE:
                self._asked[one.id] = asyncio.ensure_future(self._elicit(one))
        if self._asked or self._work.patient:
            return None
        row = await self._caller.row(self._work.session)
        if row.status == "waiting" and row.run == self._work.run:
            return open_result(row, self._work.run, pending)
        return None

    def _asking(self, actions: list[PendingAction]) -> InputRequiredResult:
        state = msgspec.json.encode(Resumed(self._work.session, self._work.run, self._telling.told)).decode()
        requests = {str(one.id): ElicitRequest(params=form(one)) for one in actions}
        return InputRequiredResult(input_requests=dict(requests), request_state=state)

    async def _elicit(self, action: PendingAction) -> ElicitResult:
        asked = form(action)
        return await self._ctx.session.elicit_form(asked.message, asked.requested_schema, self._ctx.request_id)

    async def _answered(self, action: ActionId) -> None:
        task = self._asked.pop(action)
        try:
            said = task.result()
        except (MCPError, ValueError, asyncio.CancelledError):
            # It could not ask, or answered with something else: the question stays open for others.
            self._put_off.add(action)
            return
        pending = {one.id: one for one in await self._session.approvals.pending()}
        if action in pending:
            await self._give(pending[action], said)

    async def _give(self, action: PendingAction, said: ElicitResult) -> None:
        await self._caller.changes("answer")
        outcome = await answer(self._session, action, said, self._caller.principal.id)
        tries = self._unfit[action.id] = self._unfit.get(action.id, 0) + (outcome == "unfit")
        if outcome == "put_off" or (tries >= UNFIT and not self._newer):
            self._put_off.add(action.id)

    async def _as_it_stands(self) -> CallToolResult:
        row = await self._caller.row(self._work.session)
        return open_result(row, self._work.run, await self._session.approvals.pending())


def _result(ended: asyncio.Task[RunResult]) -> RunResult:
    try:
        return ended.result()
    except RunFailed as failed:
        if not isinstance(failed.result, RunResult):
            raise
        return failed.result


def resumed(state: str) -> Resumed:
    """Of the state that a client brings back, opened. InvalidArgument."""
    try:
        return msgspec.json.decode(state, type=Resumed)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise InvalidArgument("this state was not made for this call") from None


__all__ = ["Resumed", "Work", "resumed", "to_its_end"]
