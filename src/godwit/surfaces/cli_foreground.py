"""A run in the foreground: shown as it goes, its questions answered, ended by Ctrl-C; until it finishes or parks.

Ctrl-C once interrupts the run, twice by force, a third time leaves it where it is. SIGTERM and SIGHUP put it down at
its next checkpoint, for the next process to go on with. The run itself is driven by the runtime; nothing here decides what
it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..contracts import SessionHandle
from ..core.errors import ActionNotFound, AlreadyAnswered, GodwitError, InvalidArgument, RunFailed
from ..core.events import (
    ActionClosed,
    ActionOpened,
    Delta,
    Event,
    RunFinished,
    RunParked,
    RunYielded,
    SubagentAsked,
    SubagentFinished,
    UserAnswer,
)
from ..core.facts import PendingAction
from ..core.ids import ActionId, RunId, Seq
from ..core.messages import Text
from ..engine.approvals import pending_action
from .cli_answers import Answerer
from .cli_exit import INTERRUPTED, OUTCOMES, PARKED
from .cli_keyboard import interactive
from .cli_view import View


class Foreground:
    """Follows one open run of a session that this process drives. `run` returns the exit code."""

    def __init__(self, session: SessionHandle, view: View, answerer: Answerer) -> None:
        self._session = session
        self._view = view
        self._answerer = answerer
        self._waiting: dict[ActionId, PendingAction] = {}
        self._left: set[ActionId] = set()
        self._asking: tuple[ActionId, asyncio.Task[None]] | None = None
        self._held: list[Event | Delta] = []
        self._interrupts = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()
        self._answered: set[ActionId] = set()
        self.left_by: str | None = None
        """What made this foreground leave a run that goes on: a signal, or the third Ctrl-C."""

    async def run(self, run: RunId, from_seq: Seq) -> int:
        """Until `run` has ended or waits for an answer nobody gives here."""
        for action in await self._session.approvals.pending():
            self._waiting[action.id] = action
        items = self._session.watch(from_seq)
        following = asyncio.ensure_future(anext(items))
        gone = asyncio.ensure_future(self._gone.wait())
        failing: asyncio.Future[BaseException | None] | None = asyncio.ensure_future(self._failure(run))
        async with _signals(self._interrupt, self._leave):
            try:
                code = await self._ask_next()
                while code is None:
                    watched = [f for f in (following, gone, failing, *self._answering()) if f is not None]
                    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                    if gone.done():
                        return INTERRUPTED
                    if failing is not None and failing.done():
                        failure, failing = failing.result(), None
                        if failure is not None:
                            raise failure
                    if self._asking is not None and self._asking[1].done():
                        self._asking[1].result()
                        self._asking = None
                        self._release()
                        code = await self._ask_next()
                    if code is None and following.done():
                        item = following.result()
                        following = asyncio.ensure_future(anext(items))
                        code = await self._take(item, run)
                return code
            finally:
                self._view.settle()
                for task in [following, gone, failing, *self._answering(), *self._tasks]:
                    if task is not None:
                        task.cancel()
                        with contextlib.suppress(asyncio.CancelledError, GodwitError, StopAsyncIteration):
                            await task
                await items.aclose()  # type: ignore[attr-defined]

    def _answering(self) -> list[asyncio.Task[None]]:
        return [] if self._asking is None else [self._asking[1]]

    async def _failure(self, run: RunId) -> BaseException | None:
        """What stopped this process from driving the run; None when the run has ended."""
        try:
            await self._session.wait(run)
        except RunFailed:
            return None
        except GodwitError as error:
            return error
        return None

    # --- what happens ------------------------------------------------------------------------------------------

    async def _take(self, item: Event | Delta, run: RunId) -> int | None:
        """Show it and act on it. The exit code when it ends the foreground."""
        data = item.data if isinstance(item, Event) else None
        match data:
            case UserAnswer(action=action) | ActionClosed(action=action):
                self._waiting.pop(action, None)
                asking = self._asking is not None and self._asking[0] == action and not self._asking[1].done()
                if asking and action not in self._answered and self._asking is not None:
                    self._asking[1].cancel()
                    self._asking = None
                    self._view.settle()
                    self._view.say("\n  answered elsewhere", "yellow")
                    self._release()
            case _:
                pass
        if self._asking is not None:
            self._held.append(item)
        else:
            self._view.show(item)
        match data:
            case SubagentAsked():
                await self._look_below()
                self._go_on()
            case SubagentFinished():
                await self._look_below()
                return await self._ask_next()
            case ActionOpened() if data.kind == "task" or data.lane is not None:
                pass  # children or workers see to it
            case ActionOpened():
                assert isinstance(item, Event)
                self._waiting[data.action] = pending_action(data, item.at_ms, item.at_ms)
                self._go_on()
            case RunParked(run=parked) if parked == run:
                return await self._ask_next()
            case RunYielded(run=yielded, reason="paused") if yielded == run and not interactive():
                return PARKED  # a script would hang for as long as somebody likes
            case RunFinished(run=finished) if finished == run:
                return OUTCOMES[data.outcome]
            case ActionClosed():
                self._go_on()
            case _:
                pass
        return None

    def _go_on(self) -> None:
        """Ask the next question, if one is open and none is being asked."""
        due = next((a for a in self._waiting.values() if a.id not in self._left), None)
        if due is not None and self._asking is None and not self._interrupts:
            self._asking = (due.id, asyncio.create_task(self._answer(due)))

    async def _ask_next(self) -> int | None:
        """Ask what was not asked yet. With nothing left to ask, a parked run stays parked; unless Ctrl-C is ending it."""
        self._go_on()
        if self._asking is None and self._waiting and not self._interrupts and await self._session.status() == "waiting":
            at_work = [t for t in await self._session.tasks.pending() if t.status in ("queued", "running")]
            return None if at_work else PARKED
        return None

    async def _look_below(self) -> None:
        """What is asked below is not closed in this session's log: see what is asked there now."""
        pending = {action.id: action for action in await self._session.approvals.pending()}
        for known in [a for a in self._waiting.values() if a.path and a.id not in pending]:
            del self._waiting[known.id]
        for action in pending.values():
            if action.path and action.id not in self._answered:
                self._waiting.setdefault(action.id, action)

    async def _answer(self, action: PendingAction) -> None:
        while True:
            answer = await self._answerer.answer(action, self._session.workspace)
            if answer is None:
                self._left.add(action.id)
                return
            if answer.arguments is None:
                break
            try:
                await self._session.approvals.check_arguments(action.id, answer.arguments)
                break
            except InvalidArgument as error:
                self._view.say(f"  {error.message}", "yellow")
        self._answered.add(action.id)
        if answer.content is not None:
            with contextlib.suppress(AlreadyAnswered, ActionNotFound):
                await self._session.answer(action.id, answer.content, sender=answer.sender)
            self._waiting.pop(action.id, None)
            return
        if answer.remember is not None:
            await self._session.approve(action.id, remember=answer.remember, rule=answer.rule, sender=answer.sender)
            self._waiting.pop(action.id, None)
            return
        content = (Text(answer.text),) if answer.decision == "result" else ()
        said = UserAnswer(action.id, answer.decision, answer.reason, answer.arguments, content, sender=answer.sender)
        with contextlib.suppress(AlreadyAnswered, ActionNotFound):
            await self._session.send_event(said)
        self._waiting.pop(action.id, None)

    def _release(self) -> None:
        held, self._held = self._held, []
        for item in held:
            self._view.show(item)

    # --- Ctrl-C ------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts > 2:
            self._leave("Ctrl-C")
            return
        force = self._interrupts == 2
        self._view.settle()
        if self._asking is not None:
            self._view.say("")  # the question's line is not at its end
        self._view.say("forcing it" if force else "interrupting; Ctrl-C again forces it", "yellow")
        if self._asking is not None:
            self._asking[1].cancel()
            self._asking = None
            self._release()
        task = asyncio.create_task(self._end_run(force))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self, why: str) -> None:
        self.left_by = why
        self._gone.set()

    async def _end_run(self, force: bool) -> None:
        await self._session.interrupt(force=force, reason="Ctrl-C")


@asynccontextmanager
async def _signals(interrupt: Callable[[], None], leave: Callable[[str], None]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: lambda: leave("SIGTERM"),
        signal.SIGHUP: lambda: leave("SIGHUP"),
    }
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, old)
