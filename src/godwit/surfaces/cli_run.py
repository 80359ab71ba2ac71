"""`godwit run` and `godwit resume`: a session is started or found, its run put in the foreground, and how to go on is said.

Which of the two a call of `run` means follows from the log alone: a session whose run is open and driven by nobody was cut
off. Without a prompt, or with the very prompt of that run, it goes on from where it was; doing twice what a killed process
had begun is never the default.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.agent import base_of
from ..core.attachments import Attachments
from ..core.errors import GodwitError, NoOpenRun, SessionBusy, SessionNotFound, SessionOwned, SessionPaused
from ..core.messages import text_of
from ..core.narrowing import INHERIT
from ..engine.commands import Typed, as_prompt, parse
from . import cli_commands as commands, cli_trust
from .cli_agent import DEFAULT_AGENT, AgentFlags, Models, thinking_level
from .cli_agents import FolderAgents, named, subagents_of
from .cli_answers import Answerer, Everything, Nobody, Person, show
from .cli_asked import asked
from .cli_attaching import begun
from .cli_budget import over_files
from .cli_exit import CONFLICT, DONE, FAILED, INTERRUPTED, LIMITED, NOT_FOUND, PARKED, CliError
from .cli_foreground import Foreground
from .cli_forms import answer_words, question_lines
from .cli_keyboard import Keyboard, interactive
from .cli_place import Host, Place, Where, find, newest_of
from .cli_settings import load as load_config
from .cli_view import JsonView, ScreenView, View, write_json
from .cli_words import clean, counted_as, owner_text

if TYPE_CHECKING:
    from ..contracts import EventStore, SessionHandle, SessionRow
    from ..core.agent import AgentSpec
    from ..core.facts import CommandResult
    from ..core.ids import RunId, Seq
    from ..core.state import State
    from ..engine.commands import CommandRegistry


class Run:
    """One such command. `workspace`: None leaves it to the session. `pace_s`: the pause before each piece of a recording."""

    def __init__(
        self,
        place: Where,
        flags: AgentFlags,
        workspace: Path | None,
        *,
        yes: bool = False,
        as_json: bool = False,
        record: Path | None = None,
        replay: Path | None = None,
        pace_s: float = 0.0,
    ) -> None:
        if isinstance(place, Place) and (record is not None or replay is not None):
            # A recording made here replays elsewhere, so nothing of this machine goes into it.
            place = replace(place, folder_files=False)
        self.place = place
        self.trust = False
        """Whether the folder is to be trusted as it is now."""
        self.flags = flags
        self.workspace = workspace
        self.models = Models(record=record, replay=replay, pace_s=pace_s, folder=workspace)
        self.view: View = JsonView() if as_json else ScreenView()
        self.hints = True
        """Whether to say how to go on when a run has ended."""
        self.files = True
        """Whether there are agents of files to hand tasks to."""
        self._folder_agents: FolderAgents | None = None
        self.answerer = answerer(self.view, yes=yes, as_json=as_json)

    # --- run ---------------------------------------------------------------------------------------------------

    async def run(
        self,
        prompt: str | None,
        *,
        session: str | None,
        go_on: bool,
        new: bool = False,
        unattended: bool = False,
        output: dict[str, Any] | None = None,
        attachments: Attachments = (),
    ) -> int:
        if prompt is None and session is None and self.place.missing() is not None:
            raise _no_prompt()
        typed = None if prompt is None or attachments else parse(prompt)
        if not self.place.served and self.workspace is not None and self.workspace.is_dir():
            asks = isinstance(self.view, ScreenView) and not unattended
            await cli_trust.settle(self.workspace, self.view.say, given=self.trust, asks=asks)
        if typed is not None:
            found_command = commands.registry(self.workspace).find(typed.name)
            if found_command is None or found_command.source == "builtin":
                return await self.command(typed, session=session, go_on=go_on)
        if prompt is not None and session is None and not go_on:
            self.agent()  # a wrong name or a missing key leaves no trace
        async with self.place.reach(make=prompt is not None, models=self.models.registry) as runtime:
            found = await self.session(runtime, session=session, go_on=go_on or prompt is None)
            if prompt is None:
                if found is None:
                    raise _no_prompt()
                return await self.go_on(runtime, found)
            left = found if found is not None else await newest_of(runtime, self.workspace or ".")
            if left is not None and left.run is not None and left.owner is None and left.status != "paused":
                if not new and not attachments and await self.is_same(runtime, left, prompt, settings=found is None):
                    self.view.say("this prompt was given before and its run has not ended; --new starts over", "yellow")
                    return await self.go_on(runtime, left)
                if found is None:
                    what = "waits for an answer" if left.status == "waiting" else "was cut off"
                    command = self.place.command("resume", left.id)
                    self.view.say(f"session {left.id} of this folder {what}; it goes on with: {command}", "yellow")
            handle = await self.start(runtime) if found is None else await self.reopen(runtime, found)
            head = await runtime.head(handle.id)
            done = None if attachments else await commands.answered(handle, prompt, unattended=unattended, output=output)
            if done is None:
                sending = handle.prompt(
                    as_prompt(prompt), sender="cli", unattended=unattended, output=output, attachments=attachments
                )
                sent = await begun(runtime, handle, sending, new=found is None)
            elif done.run is None:
                return self.say_answered(done)
            else:
                sent = done.run
            return await self.foreground(handle, sent, head)

    async def command(self, typed: Typed, *, session: str | None, go_on: bool) -> int:
        """Give a slash command that is no prompt to the session the flags mean; without one there is only help."""
        if session is None and not go_on:
            known = commands.registry(self.workspace)
            if typed.name != "help" and known.find(typed.name) is not None:
                again = self.place.command("run", "--continue", typed.text)
                raise CliError(f"/{typed.name} is about a session, and a prompt starts a new one", hint=again)
            output = await known.execute(typed, _NoSession(known))
            if output.error is not None:
                raise commands.refused(output.text, output.error)
            self.view.say(output.text, "")
            return DONE
        async with self.place.reach(models=self.models.registry) as runtime:
            found = await self.session(runtime, session=session, go_on=go_on)
            if found is None:
                raise CliError("no session works in this folder", code=SessionNotFound.code, exit_code=NOT_FOUND)
            if typed.name == "model" and typed.arguments:
                self.models.check(typed.arguments)
            handle = await runtime.open_session(found.id, drive=False)
            done = await commands.answered(handle, typed.text)
            assert done is not None
            code = self.say_answered(done)
            row = await runtime.row(found.id)
            if row.status in ("queued", "running", "retrying") and row.run and await picked_up(runtime, handle) is None:
                self.view.say(f"no process drives it; go on with: {self.place.command('resume', found.id)}", "yellow")
            return code

    def say_answered(self, done: CommandResult) -> int:
        """Show what a slash command answered."""
        if isinstance(self.view, JsonView):
            write_json(commands.facts(done))
        else:
            self.view.say(done.text, "")
        return DONE

    async def is_same(self, runtime: Host, row: SessionRow, prompt: str, *, settings: bool) -> bool:
        """Whether the session's open run was begun by this prompt; and, with `settings`, by an agent as the flags make it.

        Who adds `--deny` after a kill means another run, not the old one with what it was allowed.
        """
        if settings:
            _, spec = await store_of(runtime).get_agent(row.agent.name, row.agent.version)
            if self.agent() != spec:
                return False
        typed = parse(prompt)
        given = as_prompt(prompt) if typed is None else typed.text
        return given in await prompts_of(store_of(runtime), row)

    async def session(self, runtime: Host, *, session: str | None, go_on: bool) -> SessionRow | None:
        """The session the flags mean, None for a new one."""
        if session is not None:
            return await find(runtime, session)
        if not go_on:
            return None
        return await newest_of(runtime, self.workspace or ".")

    def agent(self) -> AgentSpec:
        """The agent of a new session: the one the flags name, or one as they describe it, which may hand tasks to those of
        the folder's files."""
        if self.flags.agent_name is not None:
            spec = named(self.flags.agent_name, self.workspace)
            known = None if spec.models == (INHERIT,) else spec.models[0]
            return self.flags.named(spec, self.models.choose(self.flags.model, known))
        return self.flags.agent(self.models.choose(self.flags.model), self._others()).spec

    def _others(self) -> list[AgentSpec]:
        """The agents of files that it may hand tasks to."""
        if not self.files or self.flags.agent_name is not None:
            return []
        return subagents_of(self.workspace, self.models.registry.resolve)

    def follow(self, row: SessionRow | None) -> None:
        """Keep the session's agents as their files say: of a new one, or of one that was begun elsewhere."""
        if self.place.served:
            return
        if row is None:
            self._folder_agents = FolderAgents(self.agent, self._others)
        elif base_of(row.agent).name == DEFAULT_AGENT and self.files:
            folder = None if row.workspace is None else Path(row.workspace)
            self._folder_agents = FolderAgents(None, lambda: subagents_of(folder, self.models.registry.resolve))

    async def renew(self, runtime: Host, session: SessionHandle) -> None:
        """Before a prompt: have the session know what the files say now."""
        if self._folder_agents is not None:
            changed = await self._folder_agents.renew(store_of(runtime), session)
            if changed is not None:
                self.view.say(changed, "yellow")

    async def start(self, runtime: Host) -> SessionHandle:
        """A new session as the flags describe it."""
        folder = self.workspace or Path(".")
        if not folder.is_dir():
            raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
        self.models.refuse_old_recording()
        agent = self.agent()
        self.follow(None)
        handle = await runtime.start_session(agent, workspace=folder, name=self.flags.name)
        if self.flags.mode is not None:
            await handle.set_mode(self.flags.mode)
        if self.flags.goal is not None:
            await handle.set_goal(self.flags.goal)
        self.view.say(f"session {handle.id} in {handle.workspace}, {handle.model}")
        config = load_config(handle.workspace)
        for notice in config.notices:
            self.view.say(str(notice), "yellow")
        if self.flags.budget is not None:
            wanted = over_files(self.flags.budget, config.terms.budget.session)
            if wanted != await handle.budget():
                await handle.set_budget(wanted)
        return handle

    async def reopen(self, runtime: Host, row: SessionRow) -> SessionHandle:
        """A stored session for another prompt, its settings changed as the flags say."""
        if fixed := self.flags.fixed_at_start():
            raise CliError(
                f"{', '.join(fixed)} cannot change in a session that exists", hint="start a new one without --continue"
            )
        if row.run is not None:
            self._refuse_busy(row)
        if row.status == "paused":
            raise self._paused(row)
        watched = await runtime.open_session(row.id, drive=False)
        model = self.models.choose(self.flags.model, watched.model)
        level = thinking_level(self.flags.thinking)
        changed = model if model != watched.model else None
        if changed is not None or level is not None or self.flags.name is not None or self.flags.mode is not None:
            await watched.configure(model=changed, thinking=level, name=self.flags.name, mode=self.flags.mode)
        if self.flags.goal is not None:
            await watched.set_goal(self.flags.goal)
        if self.flags.budget is not None:
            terms = load_config(watched.workspace).terms.budget.session
            await watched.set_budget(over_files(self.flags.budget, terms))
        handle = await runtime.open_session(row.id)
        self.view.say(f"session {handle.id} goes on, {model}")
        self.follow(row)
        await self.renew(runtime, handle)
        return handle

    def _refuse_busy(self, row: SessionRow) -> None:
        if row.owner is not None:
            raise SessionBusy(f"session {row.id} has an open run, driven by {owner_text(row.owner)}")
        raise CliError(
            f"session {row.id} has an unfinished run ({row.status})",
            hint=f"let it go on first: {self.place.command('resume', row.id)}",
            code=SessionBusy.code,
            exit_code=CONFLICT,
        )

    def _paused(self, row: SessionRow) -> CliError:
        hint = f"{self.place.command('resume', row.id)} lets it go on"
        return CliError(f"session {row.id} is paused", hint=hint, code=SessionPaused.code, exit_code=CONFLICT)

    # --- resume ------------------------------------------------------------------------------------------------

    async def resume(self, typed: str, *, again: bool, drive: bool) -> int:
        async with self.place.reach(models=self.models.registry) as runtime:
            row = await find(runtime, typed)
            if row.status == "paused":
                handle = await runtime.open_session(row.id, drive=False)
                await handle.resume()
                self.view.say(f"session {row.id} is no longer paused")
                taker = await picked_up(runtime, handle)
                if taker is not None:
                    self.view.say(f"{owner_text(taker)} goes on with it")
                    return DONE
                if not drive or not await handle.is_running():
                    return DONE
                row = await runtime.row(row.id)
            elif not drive:
                return DONE
            if again:
                return await self.again(runtime, row)
            return await self.go_on(runtime, row)

    async def go_on(self, runtime: Host, row: SessionRow) -> int:
        """Drive the session's open run here, from where it was."""
        watched = await runtime.open_session(row.id, drive=False)
        state = await watched.state()
        if state.run is None:
            raise self._nothing_open(row, state)
        if row.status == "paused":
            raise self._paused(row)
        if row.owner is not None:
            raise SessionOwned(f"session {row.id} is driven by {owner_text(row.owner)} already")
        self.models.check(state.run.model or watched.model)
        head = (await runtime.row(row.id)).head
        where = await why_open(store_of(runtime), row)
        self.view.say(
            f"session {row.id} goes on from where it was ({where}; {counted_as(state.run.turns, 'turn')}, event {head})",
            "yellow",
        )
        handle = await runtime.open_session(row.id)
        return await self.foreground(handle, state.run.id, head)

    async def again(self, runtime: Host, row: SessionRow) -> int:
        """Continue the last run, which ended early, from its last checkpoint, as a new run."""
        watched = await runtime.open_session(row.id, drive=False)
        state = await watched.state()
        if state.run is not None:
            self._refuse_busy(row)
        if state.last_run is None:
            raise NoOpenRun(f"session {row.id} has not run yet")
        self.models.check(watched.model)
        handle = await runtime.open_session(row.id)
        head = (await runtime.row(row.id)).head
        resuming = asyncio.ensure_future(handle.resume_run(state.last_run))
        following = asyncio.ensure_future(self._run_after(handle, head))
        await asyncio.wait([resuming, following], return_when=asyncio.FIRST_COMPLETED)
        try:
            if not following.done():
                await resuming
            self.view.say(f"session {row.id}: run {state.last_run} is continued from its last checkpoint", "yellow")
            return await self.foreground(handle, await following, head)
        finally:
            for task in (resuming, following):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, GodwitError):
                    await task

    async def _run_after(self, handle: SessionHandle, head: Seq) -> RunId:
        from ..core.events import RunStarted

        async for event in handle.follow(head):
            if isinstance(event.data, RunStarted):
                return event.data.run
        raise NoOpenRun()

    # --- both --------------------------------------------------------------------------------------------------

    def _nothing_open(self, row: SessionRow, state: State) -> CliError:
        """That there is no run to go on with, and what there is to do instead."""
        last = f"; its last run is {state.last_outcome}" if state.last_outcome else ""
        hint = f'{self.place.command("run", "--session", row.id)} "..." gives it a new prompt'
        if last and state.last_outcome != "done":
            hint = f"{self.place.command('resume', row.id, '--again')} continues it"
        return CliError(
            f"session {row.id} has no open run to go on with{last}", hint=hint, code=NoOpenRun.code, exit_code=CONFLICT
        )

    async def foreground(self, handle: SessionHandle, run: RunId, from_seq: Seq) -> int:
        """Show the run until it ends or parks, and say how to go on."""
        shown = Foreground(handle, self.view, self.answerer)
        code = await shown.run(run, from_seq)
        if shown.left_by is not None:
            # The run is put down while this process ends; a terminal that hung up hears nothing any more.
            if shown.left_by != "SIGHUP":
                command = self.place.command("resume", handle.id)
                self.view.say(f"left by {shown.left_by}; the run is not over and goes on with: {command}", "yellow")
            return code
        if not self.hints:
            return code
        if code == PARKED:
            await self.say_parked(handle)
        elif code == DONE:
            self.view.say(f'go on: {self.place.command("run", "--session", handle.id)} "..."')
        elif code in (FAILED, LIMITED, INTERRUPTED):
            self.view.say(f"continue it: {self.place.command('resume', handle.id, '--again')}")
        return code

    async def say_parked(self, handle: SessionHandle) -> None:
        if await handle.status() == "paused":
            self.view.say(f"paused; it goes on with: {self.place.command('resume', handle.id)}", "yellow")
            return
        self.view.say("parked: it waits for an answer and needs no process meanwhile", "yellow")
        for action in await handle.approvals.pending():
            who = f", asked by {clean(' > '.join(action.path))}" if action.path else ""
            self.view.say(f"  {action.kind} {action.id}{who}:", "")
            lines = question_lines(action) if action.asking else asked(action.name, action.arguments, handle.workspace)
            if show(self.view, lines):
                self.view.say(f"    the whole of it: {self.place.command('approve', handle.id, action.id, '--list')}")
            if action.kind != "approval":
                what = answer_words(action.schema) if action.kind == "question" else ["..."]
                self.view.say(f"    {self.place.command('answer', handle.id, action.id, *what, '--drive')}")
            if action.kind == "question":
                self.view.say(f"    {self.place.command('deny', handle.id, action.id, '--reason', '...', '--drive')}")
            if action.kind != "approval":
                continue
            self.view.say(f"    {self.place.command('approve', handle.id, action.id, '--drive')}")
            self.view.say(f"    {self.place.command('deny', handle.id, action.id, '--reason', '...', '--drive')}")


def store_of(host: Host) -> EventStore:
    """The store of a runtime that works here."""
    from ..host.runtime import Runtime

    assert isinstance(host, Runtime)
    return host.store


async def why_open(store: EventStore, row: SessionRow) -> str:
    """Why nobody drives the open run now."""
    from ..core.events import RunClaimed, RunUnparked, RunYielded

    if row.status == "waiting":
        return "it waits for an answer"
    types = ("run.started", "run.claimed", "run.unparked", "run.yielded")
    last = await store.read(row.id, types=types, newest_first=True, limit=1)
    match last[0].data if last else None:
        case RunClaimed():
            return "its process ended before it did"
        case RunUnparked():
            return "it was answered"
        case RunYielded():
            return "it had been put down"
        case _:
            return "it had not begun"


async def prompts_of(store: EventStore, row: SessionRow) -> set[str]:
    """The text that the open run was begun with, and the slash command it came from; a run that continues another has that
    one's."""
    from ..core.events import CommandExecuted, RunStarted, UserMessage

    wanted, given = row.run, None
    found: set[str] = set()
    types = ("run.started", "user.message", "command.executed")
    for event in await store.read(row.id, types=types, newest_first=True):
        match event.data:
            case RunStarted(run=run) as started if run == wanted:
                wanted, given = started.resumes or wanted, started.input
            case UserMessage(id=message) as data if message == given:
                found.add(text_of(data.content))
            case CommandExecuted(starts=run) as data if run is not None and run == wanted:
                found.add(Typed(data.name, data.arguments).text)
            case _:
                pass
    return found


@dataclass(frozen=True)
class _NoSession:
    """What `/help` needs of a context."""

    commands: CommandRegistry


def _no_prompt() -> CliError:
    return CliError(
        "no prompt is given, and no session of this folder was cut off",
        hint='say what to do: godwit run "Fix the failing test."',
    )


def answerer(view: View, *, yes: bool, as_json: bool = False) -> Answerer:
    """Who answers approvals in this process."""
    if yes:
        return Everything(Person(view, Keyboard()) if interactive() and not as_json else None)
    if interactive() and not as_json:
        return Person(view, Keyboard())
    return Nobody()


PICK_UP_S = 1.5
"""How long to wait for a process that has the session open to go on with it; a hint that was lost costs it a second."""


async def picked_up(runtime: Host, handle: SessionHandle) -> str | None:
    """The process that drives the session now, or takes it within moments because something was answered or resumed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PICK_UP_S
    while True:
        row = await runtime.row(handle.id)
        left = until - loop.time()
        if row.owner is not None or left <= 0 or row.status not in ("queued", "running", "retrying"):
            return row.owner
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(handle.event_rx(row.head).wait(), left)
