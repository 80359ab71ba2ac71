"""Calling one hook: its timeout, its tries, what its answer is worth, and what its failure counts as.

Leaves out which hooks are called and what they come to together (`hooks`). Rules a change must keep: a gating hook that
raises, hangs or answers nonsense blocks; a handler never holds the session for longer than its time, whatever it ignores;
nothing a handler does to its payload reaches anybody.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from typing import Any

import msgspec

from ..contracts import CancelToken, HookCall, HookHandler
from ..core.errors import GodwitError
from ..core.events import HookReported, Labels
from ..core.hooks import CONTINUE, GATING, INTERRUPTED, NOTED, SKIPPABLE, HookResult, HookSpec, applied, problem_of
from ..core.ids import RunId, SessionId
from ..threads import in_thread
from .cancel import WITHIN
from .hook import Hook

logger = logging.getLogger("godwit")

CLEANUP_S = 0.5
"""How long a handler that was cancelled may take to notice; then it is left to itself."""
TEXT_LIMIT = 16 * 1024
"""Characters of a hook's reason, note or message that are kept."""
REPORTS_KEPT = 100
"""Reports that wait to be recorded; older ones are forgotten."""


class HookCalls:
    """Calls one hook at a time, for the hooks of one session."""

    __slots__ = ("_left", "_reports", "labels", "session", "workspace")

    def __init__(self, session: SessionId) -> None:
        self.session = session
        self.labels = Labels()
        self.workspace: str | None = None
        self._reports: tuple[HookReported, ...] = ()
        self._left: set[asyncio.Future[Any]] | None = None

    async def _asked(
        self,
        spec: HookSpec,
        handler: HookHandler,
        packed: bytes,
        run: RunId | None,
        cancel: CancelToken | None,
        of: HookCalls,
    ) -> HookResult:
        """The hook's answer, or what its failure counts as. `of`: the session's that it is called for, which may be one
        that works for this one's."""
        why = ""
        for _ in range(spec.retries + 1):
            answer = await self._tried(spec, handler, packed, run, cancel, of)
            if isinstance(answer, HookResult):
                return answer
            why = answer
        if spec.point in GATING:
            return failed(spec, why)
        self._passed_over(spec, why)
        return CONTINUE

    async def _tried(
        self,
        spec: HookSpec,
        handler: HookHandler,
        packed: bytes,
        run: RunId | None,
        cancel: CancelToken | None,
        of: HookCalls,
    ) -> HookResult | str:
        """One try: the answer, checked, or why there is none."""
        payload: dict[str, Any] = msgspec.json.decode(packed)
        call = HookCall(spec.point, of.session, run, of.labels, of.workspace, payload)
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, of.session)
        task = asyncio.get_running_loop().create_task(_called(handler, call), context=inside)
        self._keep(task)
        cut = asyncio.get_running_loop().create_future()

        def cut_off() -> None:
            if not cut.done():
                cut.set_result(None)

        take_back = None if cancel is None else cancel.on_cancel(cut_off)
        try:
            await asyncio.wait([task, cut], timeout=spec.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                late = not cut.done()
                task.cancel()
                await asyncio.wait([task], timeout=CLEANUP_S)
                return f"it did not answer within {spec.timeout_s:g} s" if late else INTERRUPTED
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            if take_back is not None:
                take_back()
            cut.cancel()
        if task.cancelled():
            return "it cancelled itself"
        error = task.exception()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        if error is not None:
            return error.message if isinstance(error, GodwitError) else f"{type(error).__name__}: {error}"
        return _checked(spec, packed, task.result())

    async def _in_background(
        self, spec: HookSpec, handler: HookHandler, packed: bytes, run: RunId | None, of: HookCalls
    ) -> None:
        answer = await self._asked(spec, handler, packed, run, None, of)
        if answer.message is not None:
            self._report(HookReported(spec.id, spec.point, answer.message))

    def _passed_over(self, spec: HookSpec, why: str) -> None:
        logger.warning("hook %s at %s failed in session %s: %s", spec.id, spec.point, self.session, why)
        self._report(HookReported(spec.id, spec.point, why[:TEXT_LIMIT], failed=True))

    def _report(self, report: HookReported) -> None:
        self._reports = (*self._reports, report)[-REPORTS_KEPT:]

    def _keep(self, task: asyncio.Future[Any]) -> None:
        """Hold the task as long as it lives: it may be left to itself, and nobody complains of how it ended."""
        if self._left is None:
            self._left = set()
        self._left.add(task)
        task.add_done_callback(self._look_at)

    def _look_at(self, task: asyncio.Future[Any]) -> None:
        if self._left is not None:
            self._left.discard(task)
        if not task.cancelled():
            task.exception()

    def take_reports(self) -> tuple[HookReported, ...]:
        """What is to be recorded of failures that were passed over, and of messages for people, since it was last taken."""
        taken, self._reports = self._reports, ()
        return taken

    def cut_off(self) -> set[asyncio.Future[Any]]:
        """Cancel what still runs in the background or was left to itself; returns it, to be waited for."""
        left = set(self._left or ())
        for task in left:
            task.cancel()
        return left


def packed_payload(payload: dict[str, Any]) -> bytes:
    """The payload as JSON, so that each handler gets one of its own, and a command the same as a function."""
    return msgspec.json.encode(payload, enc_hook=repr)


def failed(spec: HookSpec, why: str) -> HookResult:
    reason = f"Required hook '{spec.id}' failed: {_short(why)}"
    return HookResult("block", reason=reason, hook=spec.id, failed=True)


def _checked(spec: HookSpec, packed: bytes, answer: object) -> HookResult | str:
    """The answer with its texts cut to size, or why it is none."""
    if answer is None:
        return HookResult(hook=spec.id)
    problem = problem_of(spec.point, answer)
    if problem is not None:
        return problem
    assert isinstance(answer, HookResult)
    modified = answer.modified
    if modified is not None:
        try:
            # What goes into the log is JSON, and nothing a handler may still hold and change.
            modified = msgspec.json.decode(msgspec.json.encode(modified))
            applied(spec.point, msgspec.json.decode(packed), modified)
        except (TypeError, ValueError) as error:
            return str(error)
    action, note = answer.action, answer.note
    if spec.point not in GATING and action != "continue":
        if action == "block" and spec.point in NOTED:
            note = answer.reason or note
        action = "skip" if action == "skip" and spec.point in SKIPPABLE else "continue"
    elif answer.end_run and spec.point in GATING:
        action = "block"
    return HookResult(
        action,
        _short(answer.reason),
        modified,
        answer.delay_s,
        _short(note),
        spec.id,
        _short(answer.message),
        end_run=answer.end_run,
    )


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]} [... {len(text) - TEXT_LIMIT} characters left out]"


async def _called(handler: HookHandler, call: HookCall) -> object:
    """What the handler answers. One that is no coroutine function runs in a thread, so that it blocks nobody."""
    target = handler.handler if isinstance(handler, Hook) else handler
    if inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None)):  # noqa: B004
        answer: object = target(call)
    else:
        answer, failure = await in_thread(lambda: target(call), "godwit-hook")
        if failure is not None:
            raise failure
    return await answer if inspect.isawaitable(answer) else answer


__all__ = ["HookCalls", "failed", "packed_payload"]
