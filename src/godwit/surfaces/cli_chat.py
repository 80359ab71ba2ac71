"""`godwit chat`: one session, prompt after prompt. While the model works, what is typed steers it.

The view shows the session beside the reading of lines; neither waits for the other. On a pipe there is nobody to steer: each
line is a prompt that waits for the run before it, only commands act at once. Leaving puts an open run down at its next
checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from ..core.errors import GodwitError
from ..core.events import Event, RunFinished, RunParked, UserAnswer
from ..core.ids import RunId
from ..engine.session import Session
from .cli_agent import thinking_level
from .cli_answers import YES, Everything, show
from .cli_asked import asked
from .cli_exit import CONFLICT, DONE, INTERRUPTED, OUTCOMES, PARKED, CliError, report
from .cli_keyboard import Keyboard, interactive
from .cli_list import queue
from .cli_run import Run
from .cli_view import ScreenView
from .cli_words import usage_text

HELP = """\
What you type is a prompt; while a run is open it steers the run. Commands:
  /status                what the session does, its model, its usage
  /queue                 what waits to be delivered
  /show [ID]             the whole of the call that waits
  /approve [ID]  (y)     let the call that waits run
  /deny [REASON] (n)     refuse it; the model is told why
  /steer TEXT            put a message into the open run
  /follow TEXT           queue a message for when the run would end
  /interrupt             end the run at once (as Ctrl-C does)
  /pause, /resume        stop at the next step, go on
  /model NAME            use this model from the next prompt on
  /thinking LEVEL        off, minimal, low, medium, high, xhigh
  /help, /quit           this text; leave (so does Ctrl-D)"""


class Chat(Run):
    """The loop of lines, beside the showing of events."""

    _session: Session

    async def chat(self, *, session: str | None, go_on: bool) -> int:
        self._asks = interactive()
        if isinstance(self.view, ScreenView):
            self.view.moving = False
        self._keyboard = Keyboard()
        self._code = DONE
        self._prompted = False
        self._rests = asyncio.Event()
        self._leaving = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        if session is None and not go_on:
            self.models.choose(self.flags.model)
        async with self.place.open(make=True, models=self.models.registry) as runtime:
            found = await self.session(runtime, session=session, go_on=go_on)
            if found is None:
                self._session = await self.start(runtime)
            elif found.run is not None:
                if found.owner is not None or self.flags.fixed_at_start():
                    self._refuse_busy(found)
                self.models.check((await runtime.open_session(found.id, drive=False)).model)
                self._session = await runtime.open_session(found.id)
                self.view.say(f"session {found.id} goes on from where it was", "yellow")
            else:
                self._session = await self.reopen(runtime, found)
            head = await runtime.head(self._session.id)
            if not await self._session.is_running() or found is None:
                self._rests.set()
            showing = asyncio.create_task(self._show(head))
            leaving = asyncio.create_task(self._leaving.wait())
            reading = asyncio.create_task(self._read())
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            loop.add_signal_handler(signal.SIGTERM, self._leaving.set)
            try:
                await asyncio.wait([showing, reading, leaving], return_when=asyncio.FIRST_COMPLETED)
                for task in (showing, reading):
                    if task.done():
                        task.result()
            finally:
                loop.remove_signal_handler(signal.SIGINT)
                loop.remove_signal_handler(signal.SIGTERM)
                self.view.settle()
                for other in (showing, reading, leaving, *self._tasks):
                    other.cancel()
                    with contextlib.suppress(asyncio.CancelledError, GodwitError):
                        await other
            return await self._leave()

    async def _leave(self) -> int:
        row = await self._session.state()
        if row.run is not None and self._code != PARKED:
            self.view.say("the open run is put down at its next step", "yellow")
        if row.run is not None:
            self.view.say(f"go on: {self.place.command('resume', self._session.id)}")
        else:
            self.view.say(f"go on: {self.place.command('chat', '--session', self._session.id)}")
        return self._code

    # --- showing -----------------------------------------------------------------------------------------------

    async def _show(self, from_seq: int) -> None:
        if self._asks and self._rests.is_set():
            self._prompt()
        if await self._session.status() == "waiting":
            await self._parked()
        async for item in self._session.watch(from_seq):
            self.view.show(item)
            if isinstance(item, Event):
                await self._after(item)

    async def _after(self, event: Event) -> None:
        match event.data:
            case RunFinished(outcome=outcome):
                self._code = OUTCOMES[outcome]
                self._rests.set()
                if self._asks:
                    self._prompt()
            case RunParked():
                await self._parked()
            case _:
                pass

    async def _parked(self) -> None:
        for action in await self._session.approvals.pending():
            if isinstance(self.answerer, Everything) and action.kind == "approval":
                await self._session.send_event(UserAnswer(action.id, "approve", sender=YES))
            elif self._asks:
                hidden = show(self.view, asked(action.name, action.arguments, self._session.workspace))
                more = ", /show to see all of it" if hidden else ""
                self.view.say(f"  {action.name}: y to allow, n REASON to refuse{more}", "yellow")
            else:
                self._code = PARKED
                self._rests.set()

    def _prompt(self) -> None:
        self.view.settle()
        sys.stdout.write("> ")
        sys.stdout.flush()
        self._prompted = True

    # --- reading -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while (line := await self._keyboard.line()) is not None:
            self._prompted = False
            if line.strip() in ("/quit", "/exit"):
                return
            try:
                await self._line(line.strip())
            except (GodwitError, CliError) as error:
                self.view.settle()
                report(error)
            if self._asks and self._rests.is_set() and not self._prompted:
                self._prompt()
        if not self._asks:
            await self._rests.wait()

    async def _line(self, line: str) -> None:
        session = self._session
        if not line:
            return
        if line.startswith("/"):
            await self._command(line)
        elif self._asks and await session.is_running():
            choice, _, rest = line.partition(" ")
            if choice in ("y", "yes", "n", "no") and await session.approvals.pending():
                await self._command(f"/approve {rest}" if choice[0] == "y" else f"/deny {rest}")
            else:
                await session.steer(line, sender="cli")
        else:
            await self._rests.wait()
            if self._code == PARKED:
                raise CliError(
                    "the run waits for an answer, so the line was not sent", code="session_busy", exit_code=CONFLICT
                )
            await self._send(line)

    async def _send(self, line: str) -> RunId:
        self._rests.clear()
        try:
            return await self._session.prompt(line, sender="cli")
        except GodwitError:
            self._rests.set()
            raise

    async def _command(self, line: str) -> None:
        session, view = self._session, self.view
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        match word:
            case "/help":
                view.say(HELP, "")
            case "/status":
                state = await session.state()
                view.say(f"{session.id}: {state.gate.status}, {session.model}, {state.turns} turns", "")
                view.say(
                    f"{usage_text(state.usage)}; {len(state.gate.queue)} queued, {len(state.gate.actions)} to answer", ""
                )
            case "/queue":
                view.settle()
                await queue(session, everything=False, as_json=False)
            case "/show":
                found = await self._action(rest)
                for action in await session.approvals.pending():
                    if action.id == found:
                        show(view, asked(action.name, action.arguments, session.workspace), whole=True)
            case "/approve":
                self._goes_on()
                await session.approve(await self._action(rest))
            case "/deny":
                self._goes_on()
                await session.deny(await self._action(""), rest or None)
            case "/steer":
                await session.steer(self._text(word, rest), sender="cli")
            case "/follow":
                if not await session.is_running():
                    self._rests.clear()
                await session.follow_up(self._text(word, rest), sender="cli")
            case "/interrupt":
                await session.interrupt(reason="/interrupt")
            case "/pause":
                await session.pause(rest or None)
            case "/resume":
                await session.resume()
            case "/model":
                self.models.check(self._text(word, rest))
                await session.set_model(rest)
                view.say(f"{rest} from the next prompt on")
            case "/thinking":
                level = thinking_level(self._text(word, rest))
                assert level is not None
                await session.set_thinking(level)
                view.say(f"thinking {rest} from the next prompt on")
            case _:
                raise CliError(f"{word} is no command", hint="/help lists them")

    def _goes_on(self) -> None:
        """An answer is on its way: a run that was parked is no more at rest."""
        if self._code == PARKED:
            self._code = DONE
            self._rests.clear()

    async def _action(self, typed: str) -> str:
        pending = await self._session.approvals.pending()
        found = [a.id for a in pending if a.id.startswith(typed) or a.call == typed]
        if not found:
            raise CliError("nothing waits for an answer" + (f" under {typed!r}" if typed else ""), code="action_not_found")
        return found[0]

    @staticmethod
    def _text(word: str, rest: str) -> str:
        if not rest:
            raise CliError(f"{word} needs something behind it", hint="/help shows what")
        return rest

    def _interrupt(self) -> None:
        """Ctrl-C: end the open run; without one, leave."""
        if self._rests.is_set():
            self._code = INTERRUPTED
            self._leaving.set()
            return
        task = asyncio.create_task(self._end_run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_run(self) -> None:
        force = len(self._tasks) > 1
        self.view.settle()
        self.view.say("forcing it" if force else "interrupting; Ctrl-C again forces it", "yellow")
        await self._session.interrupt(force=force, reason="Ctrl-C")
