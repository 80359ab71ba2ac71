"""Asking a budget guard: code of the user's that says whether a step may be paid for.

Leaves out who guards a run, and what becomes of an answer (`budget`). Rules a change must keep: a guard that raises, hangs
or answers nonsense denies, and never holds up an interrupt; one that is no coroutine function blocks nobody.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
from collections.abc import Callable
from typing import Any

import msgspec

from ..contracts import BudgetCheck, BudgetGuard
from ..core.budget import ALLOWED, BudgetDecision
from ..core.errors import GodwitError
from ..core.ids import SessionId
from ..core.messages import Usage
from ..threads import in_thread
from .cancel import WITHIN, Cancel

GUARD_S = 5.0
"""How long a guard may take to answer."""
_REASON_LIMIT = 1000

GRAVITY = {verdict: place for place, verdict in enumerate(("allow", "warn", "ask", "deny"))}
"""Verdicts, the mildest first."""


class GuardCalls:
    """Asks the guards of one session. `token`: what interrupts it cuts the asking off."""

    def __init__(self, session: SessionId, token: Cancel) -> None:
        self._session = session
        self._token = token
        self._left: set[asyncio.Future[Any]] = set()

    async def consulted(self, guard: BudgetGuard, point: str, given: BudgetCheck) -> BudgetDecision:
        """What the guard says, or a denial when it says nothing that can be used."""
        method = getattr(guard, point, None)
        if method is None:
            return ALLOWED
        answer = await self._asked(method, given)
        if isinstance(answer, str):
            return BudgetDecision("deny", "guard", reason=f"the budget guard {answer}")
        return _checked(answer[0])

    async def told(self, guard: BudgetGuard, given: BudgetCheck, usage: Usage) -> BudgetDecision | None:
        """Tell it of an answer that is stored; a denial when it could not count it."""
        method = getattr(guard, "after_model", None)
        if method is None:
            return None
        answer = await self._asked(method, given, usage)
        if isinstance(answer, str):
            return BudgetDecision("deny", "guard", reason=f"the budget guard could not count a step: it {answer}")
        return None

    async def _asked(self, method: Callable[..., Any], *given: Any) -> tuple[Any] | str:
        """The guard's answer, or why there is none. It is cut off when its time is over, or the session is interrupted."""
        loop = asyncio.get_running_loop()
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, self._session)
        task = loop.create_task(_called(method, given), context=inside)
        self._left.add(task)
        task.add_done_callback(self._look_at)
        cut = loop.create_future()

        def cut_off() -> None:
            if not cut.done():
                cut.set_result(None)

        take_back = self._token.on_cancel(cut_off)
        try:
            await asyncio.wait([task, cut], timeout=GUARD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            take_back()
            late = not cut.done()
            cut.cancel()
            if not task.done():
                task.cancel()
        if not task.done():
            return f"did not answer within {GUARD_S:g} s" if late else "was cut off"
        if task.cancelled():
            return "cancelled itself"
        error = task.exception()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        if error is not None:
            return f"failed: {error.message if isinstance(error, GodwitError) else f'{type(error).__name__}: {error}'}"
        return (task.result(),)

    def _look_at(self, task: asyncio.Future[Any]) -> None:
        """Take note of how a guard that was left to itself ended, so that nobody complains of it."""
        self._left.discard(task)
        if not task.cancelled():
            task.exception()


def _checked(answer: object) -> BudgetDecision:
    """A guard's answer as it can be stored, or a denial when it is none."""
    if not isinstance(answer, BudgetDecision):
        return BudgetDecision("deny", "guard", reason=f"the budget guard answered {answer!r:.200}, not a BudgetDecision")
    numbers: tuple[object, ...] = (answer.consumed, answer.limit)
    texts: tuple[object, ...] = (answer.resource, answer.reason)
    sound = (
        answer.verdict in GRAVITY
        and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        and all(isinstance(t, str) and _is_text(t) for t in texts)
    )
    if not sound:
        return BudgetDecision("deny", "guard", reason=f"the budget guard answered nonsense: {answer!r:.200}")
    if answer.verdict == "allow":
        return ALLOWED
    return msgspec.structs.replace(answer, scope="guard", reason=answer.reason[:_REASON_LIMIT])


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _called(method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """What the guard's method answers. One that is no coroutine function runs in a thread, so that it blocks nobody."""
    if inspect.iscoroutinefunction(method):
        return await method(*given)
    answer, failure = await in_thread(lambda: method(*given), "godwit-guard")
    if failure is not None:
        raise failure
    return await answer if inspect.isawaitable(answer) else answer


__all__ = ["GRAVITY", "GUARD_S", "GuardCalls"]
