"""Runs and chats with a session that a server drives: watched here, and going on when nobody watches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.attachments import Attachments
from ..core.errors import AgentNotFound, NoOpenRun
from ..engine.commands import as_prompt, parse
from . import cli_commands as commands
from .cli_agent import AgentFlags, Models, thinking_level
from .cli_attaching import begun
from .cli_chat import Chat
from .cli_exit import DONE, NOT_FOUND, CliError
from .cli_place import NEWEST, Host, Where, find
from .cli_run import Run, picked_up
from .cli_words import owner_text

if TYPE_CHECKING:
    from ..contracts import SessionHandle, SessionRow
    from ..models.registry import Registry


def runner(place: Where) -> type[Run]:
    """What puts a run in the foreground there."""
    return ServerRun if place.served else Run


def chatter(place: Where) -> type[Chat]:
    """What holds a chat there."""
    return ServerChat if place.served else Chat


class _ServerModels(Models):
    """The server knows its models: a name is taken as it was typed."""

    @property
    def registry(self) -> Registry:
        from ..models.registry import Registry

        return Registry()

    def canonical(self, name: str) -> str:
        return name

    def choose(self, flag: str | None, known: str | None = None) -> str:
        name = flag or known
        if name is None:
            raise CliError("no model is chosen", hint="use -m with a name that the server knows, or set GODWIT_MODEL")
        return name

    def check(self, name: str) -> None:
        pass


class ServerRun(Run):
    """Runs that a server drives, in the foreground here. Leaving one does not end it."""

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
        super().__init__(place, flags, workspace, yes=yes, as_json=as_json, pace_s=pace_s)
        if record is not None or replay is not None:
            raise CliError("--record and --replay are for models that are asked here; a server asks its own")
        self.models = _ServerModels()

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
        async with self.place.reach() as host:
            found = await self.session(host, session=session, go_on=go_on)
            if prompt is None:
                if found is None:
                    raise CliError("no prompt is given", hint="say what to do, or name a session with --session")
                return await self.go_on(host, found)
            typed = None if attachments else parse(prompt)
            if typed is not None and found is None:
                again = self.place.command("run", "--continue", typed.text)
                raise CliError(f"/{typed.name} is about a session, and a prompt starts a new one", hint=again)
            handle = await self.start(host) if found is None else await self.reopen(host, found)
            head = await host.head(handle.id)
            done = None if typed is None else await commands.answered(handle, prompt, unattended=unattended, output=output)
            if done is not None and done.run is None:
                return self.say_answered(done)
            sent = done.run if done is not None else None
            if sent is None:
                sending = handle.prompt(
                    as_prompt(prompt), sender="cli", unattended=unattended, output=output, attachments=attachments
                )
                sent = await begun(host, handle, sending, new=found is None)
            return await self.foreground(handle, sent, head)

    async def session(self, runtime: Host, *, session: str | None, go_on: bool) -> SessionRow | None:
        """The session the flags mean, None for a new one. With a server `--continue` is the newest one there."""
        if session is None and not go_on:
            return None
        return await find(runtime, session or NEWEST)

    async def start(self, runtime: Host) -> SessionHandle:
        agent = self.flags.agent_name or self.flags.agent(self.models.choose(self.flags.model))
        if isinstance(agent, str):
            self._refuse_other_words()
        folder = None if self.workspace in (None, Path(".")) else self.workspace
        if folder is not None and not folder.is_absolute():
            raise CliError(f"the workspace {os.fspath(folder)!r} is not a whole path", hint="name a folder of the server's")
        try:
            handle = await runtime.start_session(agent, workspace=folder, name=self.flags.name)
        except AgentNotFound as error:
            hint = "with a server, --agent names one that was stored there; files of this machine are not sent"
            raise CliError(error.message, hint=hint, code=error.code, exit_code=NOT_FOUND) from None
        if isinstance(agent, str):
            await self._settle(handle)
        elif self.flags.mode is not None:
            await handle.set_mode(self.flags.mode)
        if self.flags.goal is not None:
            await handle.set_goal(self.flags.goal)
        self.view.say(f"session {handle.id} in {handle.workspace}, {handle.model}")
        return handle

    def _refuse_other_words(self) -> None:
        """The server's agent is taken as it is stored, but for its model and thinking."""
        others = [flag for flag in self.flags.fixed_at_start() if flag != "--agent"]
        if others:
            raise CliError(f"--agent {self.flags.agent_name} says what {', '.join(others)} would say")

    async def _settle(self, handle: SessionHandle) -> None:
        """What the flags say of the session's settings."""
        model = self.flags.model if self.flags.model not in (None, handle.model) else None
        level = thinking_level(self.flags.thinking)
        if model is not None or level is not None or self.flags.mode is not None:
            await handle.configure(model=model, thinking=level, mode=self.flags.mode)
        if self.flags.budget is not None:
            await handle.set_budget(self.flags.budget)

    async def reopen(self, runtime: Host, row: SessionRow) -> SessionHandle:
        if fixed := self.flags.fixed_at_start():
            raise CliError(
                f"{', '.join(fixed)} cannot change in a session that exists", hint="start a new one without --continue"
            )
        if row.run is not None:
            self._refuse_busy(row)
        if row.status == "paused":
            raise self._paused(row)
        handle = await runtime.open_session(row.id)
        model = self.flags.model if self.flags.model not in (None, handle.model) else None
        level = thinking_level(self.flags.thinking)
        if model is not None or level is not None or self.flags.name is not None or self.flags.mode is not None:
            await handle.configure(model=model, thinking=level, name=self.flags.name, mode=self.flags.mode)
        if self.flags.goal is not None:
            await handle.set_goal(self.flags.goal)
        if self.flags.budget is not None:
            await handle.set_budget(self.flags.budget)
        self.view.say(f"session {handle.id} goes on, {handle.model}")
        return handle

    async def resume(self, typed: str, *, again: bool, drive: bool) -> int:
        async with self.place.reach() as host:
            row = await find(host, typed)
            handle = await host.open_session(row.id)
            if row.status == "paused":
                await handle.resume()
                self.view.say(f"session {row.id} is no longer paused")
                if not drive or row.run is None:
                    taker = await picked_up(host, handle)
                    if taker is not None:
                        self.view.say(f"{owner_text(taker)} goes on with it")
                    return DONE
                if not again:
                    # The server may have ended it by now: what it comes to is shown from here on.
                    return await self.foreground(handle, row.run, row.head)
                row = await host.row(row.id)
            elif not drive:
                return DONE
            if not again:
                return await self.go_on(host, row)
            state = await handle.state()
            if state.run is not None:
                self._refuse_busy(row)
            if state.last_run is None:
                raise NoOpenRun(f"session {row.id} has not run yet")
            run = await handle.continue_run(state.last_run)
            self.view.say(f"session {row.id}: run {state.last_run} is continued from its last checkpoint", "yellow")
            return await self.foreground(handle, run, row.head)

    async def go_on(self, runtime: Host, row: SessionRow) -> int:
        """Watch the session's open run."""
        handle = await runtime.open_session(row.id)
        state = await handle.state()
        if state.run is None:
            raise self._nothing_open(row, state)
        if row.status == "paused":
            raise self._paused(row)
        return await self.foreground(handle, state.run.id, row.head)


class ServerChat(ServerRun, Chat):
    """A chat with a session that a server drives."""

    left = "the open run goes on at the server"

    async def _join(self, runtime: Host, found: SessionRow) -> SessionHandle:
        self.view.say(f"session {found.id} is at work", "yellow")
        return await runtime.open_session(found.id)

    def _introduce(self) -> None:
        """The session's list of commands is the server's: this screen's are known here alone."""
