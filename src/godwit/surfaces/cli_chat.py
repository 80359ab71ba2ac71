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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.attachments import Attachments, described
from ..core.errors import ActionNotFound, GodwitError
from ..core.events import Event, RunFinished, RunParked, UserAnswer
from ..core.facts import PendingAction
from ..core.ids import RunId
from ..engine.commands import Command, CommandRegistry, Typed, as_prompt, parse
from ..engine.session import Session
from . import cli_trust
from .cli_answers import YES, Everything, show
from .cli_attaching import mentioned
from .cli_commands import refused
from .cli_exit import CONFLICT, DONE, INTERRUPTED, OUTCOMES, PARKED, CliError, report
from .cli_forms import Forms, question_lines
from .cli_keyboard import Keyboard, interactive
from .cli_run import Run
from .cli_view import ScreenView
from .cli_words import clean

if TYPE_CHECKING:
    from ..contracts import SessionHandle, SessionRow
    from .cli_place import Host

HELP = (
    "What you type is a prompt; while a run is open it steers the run. y and n REASON answer what waits."
    " @PATH sends a file of the folder along."
)


class Chat(Run):
    """The loop of lines, beside the showing of events."""

    _session: SessionHandle
    _runtime: Host

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
        if not self.place.served and self.workspace is not None and self.workspace.is_dir():
            await cli_trust.settle(self.workspace, self.view.say, given=self.trust, asks=isinstance(self.view, ScreenView))
        if session is None and not go_on:
            self.models.choose(self.flags.model)
        async with self.place.reach(make=True, models=self.models.registry) as runtime:
            self._runtime = runtime
            found = await self.session(runtime, session=session, go_on=go_on)
            if found is None:
                self._session = await self.start(runtime)
            elif found.run is not None:
                self._session = await self._join(runtime, found)
            else:
                self._session = await self.reopen(runtime, found)
            self._introduce()
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

    async def _join(self, runtime: Host, found: SessionRow) -> SessionHandle:
        """The session whose run is open, which goes on."""
        if found.owner is not None or self.flags.fixed_at_start():
            self._refuse_busy(found)
        self.models.check((await runtime.open_session(found.id, drive=False)).model)
        handle = await runtime.open_session(found.id)
        self.follow(found)
        self.view.say(f"session {found.id} goes on from where it was", "yellow")
        return handle

    def _introduce(self) -> None:
        """Have the commands of this screen listed with the session's."""
        assert isinstance(self._session, Session)
        for own in self._own().values():
            self._session.register_command(own)

    left = "the open run is put down at its next step"
    """What becomes of an open run when its chat is left."""

    async def _leave(self) -> int:
        row = await self._session.state()
        if row.run is not None and self._code != PARKED:
            self.view.say(self.left, "yellow")
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
            everything = isinstance(self.answerer, Everything)
            everything = everything and action.kind == "approval"
            if everything and await self.answerer.answer(action, self._session.workspace) is not None:
                await self._session.send_event(UserAnswer(action.id, "approve", sender=YES))
            elif self._asks:
                hidden = show(self.view, question_lines(action, self._session.workspace))
                more = ", /show to see all of it" if hidden else ""
                how = "y to answer, n REASON to decline" if action.kind == "question" else "y to allow, n REASON to refuse"
                self.view.say(f"  {clean(action.name)}: {how}{more}", "yellow")
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
            typed = parse(line)
            if typed is not None and typed.name in ("quit", "exit"):
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
        typed = parse(line)
        if typed is not None:
            await self._command(typed)
        elif self._asks and await session.is_running():
            choice, _, rest = line.partition(" ")
            pending = await session.approvals.pending()
            if choice in ("y", "yes") and (question := _question(pending, rest.strip())) is not None:
                await self._fill(question)
            elif choice in ("y", "yes", "n", "no") and pending:
                verdict = f"approve {rest or pending[0].id}" if choice[0] == "y" else f"deny {pending[0].id} {rest}"
                await self._command(parse(f"/{verdict}") or Typed("help", ""))
            else:
                await session.steer(as_prompt(line), sender="cli", attachments=await self._mentioned(line))
        else:
            await self._at_rest()
            await self._send(as_prompt(line), await self._mentioned(line))

    async def _fill(self, question: PendingAction) -> None:
        """Have the person answer it, field by field."""
        said = await Forms(self.view, self._keyboard).ask(question)
        if said is None:
            return
        if said.decision == "deny":
            fresh = await self._session.deny(question.id, said.reason, sender="cli")
        else:
            fresh = await self._session.answer(question.id, said.content or {}, sender="cli")
        if not fresh:
            self.view.say("  answered elsewhere", "yellow")

    async def _at_rest(self) -> None:
        """Until the run before has ended. CliError when it waits for an answer that nobody is there to give."""
        await self._rests.wait()
        if self._code == PARKED:
            raise CliError("the run waits for an answer, so the line was not sent", code="session_busy", exit_code=CONFLICT)

    async def _mentioned(self, line: str) -> Attachments:
        """The files that come with the line. Those of this machine: with a server, of where the chat is."""
        if "@" not in line:
            return []
        folder = Path.cwd() if self.place.served else Path(self._session.workspace or ".")
        found = await asyncio.to_thread(mentioned, line, folder)
        for note in found.notes:
            self.view.say(note, "yellow")
        for one in found.files:
            self.view.say(f"with {described(one)}")
        return found.files

    async def _send(self, line: str, attachments: Attachments = ()) -> RunId:
        await self.renew(self._runtime, self._session)
        self._rests.clear()
        try:
            return await self._session.prompt(line, sender="cli", attachments=attachments)
        except GodwitError:
            self._rests.set()
            raise

    def _own(self) -> dict[str, Command]:
        """The commands that are about this screen. They are listed with the others and never recorded."""
        return {
            "quit": Command("quit", "Leave the chat, and so does Ctrl-D.", self._no_op, safe=True, source="chat"),
            "exit": Command("exit", "The same as /quit.", self._no_op, safe=True, source="chat"),
            "show": Command("show", "Show the whole of the call that waits.", self._show_call, "[ID]", True, "chat"),
        }

    async def _command(self, typed: Typed) -> None:
        session, view = self._session, self.view
        own = self._own().get(typed.name)
        if own is not None:
            output = await CommandRegistry([own]).execute(typed, None)
            if output.error is not None:
                raise refused(output.text, output.error)
            return
        if typed.name == "model" and typed.arguments:
            self.models.check(typed.arguments)
        if not self._asks and not await self._is_safe(typed.name):
            await self._at_rest()
        if self._rests.is_set():
            await self.renew(self._runtime, session)
        # A command may start a run, or let one go on that was parked: until that is known, nothing rests.
        rested, code = self._rests.is_set(), self._code
        head = (await session.state()).seq
        self._rests.clear()
        if code == PARKED:
            self._code = DONE
        moved = False
        try:
            done = await session.command(typed.text, sender="cli")
            moved = any(e.type in ("run.started", "run.unparked") for e in await session.events(head))
        finally:
            if not moved and rested:
                self._code = code
                self._rests.set()
        assert done is not None
        if done.error is not None:
            raise refused(done.text, done.error)
        if typed.name == "help" and not typed.arguments:
            view.say(HELP, "")
        if done.text:
            view.say(done.text, "")

    async def _is_safe(self, name: str) -> bool:
        """Whether the command may be given while a run is open. An unknown one only gets help."""
        return next((c.safe for c in await self._session.slash_commands() if c.name == name), True)

    def _no_op(self, arguments: str, context: object) -> str:
        return ""

    async def _show_call(self, arguments: str, context: object) -> str:
        pending = await self._session.approvals.pending()
        found = [a for a in pending if a.id.startswith(arguments) or a.call == arguments]
        if not found:
            raise ActionNotFound("nothing waits for an answer" + (f" under {arguments!r}" if arguments else ""))
        show(self.view, question_lines(found[0], self._session.workspace), whole=True)
        return ""

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


def _question(pending: Sequence[PendingAction], typed: str) -> PendingAction | None:
    """The question that is meant: the one named, or the oldest of what waits if it is one."""
    found = next((a for a in pending if typed in (a.id, a.call)), None) if typed else next(iter(pending), None)
    return found if found is not None and found.kind == "question" else None
