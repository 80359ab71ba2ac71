"""The slash commands typed on one handle: checked, asked of the hooks, carried out, recorded.

Owns the way from a text to its `command.executed`. How a text is read and what a command does stand in `commands`. Rules a
change must keep: what is refused (busy, archived, closed) has done nothing and leaves nothing in the log; what was carried
out is recorded once, behind its effect; a command that becomes a prompt is recorded in the append that starts the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..contracts import EventStore
from ..core.errors import GodwitError, KeyReused, SessionArchived, SessionBusy
from ..core.events import CommandExecuted, EventData, HookBlocked
from ..core.facts import CommandResult
from ..core.hooks import INTERRUPTED
from ..core.ids import RunId, SessionId
from ..core.messages import user_content
from ..core.output import OutputSpec
from .cancel import Cancel
from .commands import NAME_LIMIT, CommandOutput, CommandRegistry, Typed, parse
from .hooks import Hooks
from .inbox import Inbox
from .lanes import Ticket

BLOCKED = "command_blocked"
"""`CommandResult.error` when a hook kept a command from being carried out."""


class TypedCommands:
    """Carries out what is typed on one handle.

    `context`: makes what a command is given, for a sender; `check_model`: raises for a name that is no model's;
    `room`: asks for some in the lane of control.
    """

    def __init__(
        self,
        store: EventStore,
        session: SessionId,
        inbox: Inbox,
        registry: CommandRegistry,
        hooks: Hooks,
        token: Cancel,
        *,
        context: Callable[[str | None], Awaitable[Any]],
        check_model: Callable[[str], str],
        room: Callable[[], Ticket],
    ) -> None:
        self.registry = registry
        self._store = store
        self._session = session
        self._inbox = inbox
        self._hooks = hooks
        self._token = token
        self._context = context
        self._check_model = check_model
        self._room = room

    async def run(
        self,
        text: str,
        *,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        form: OutputSpec | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> CommandResult | None:
        """See `Session.command`. A run it has started is to be driven by the caller."""
        typed = parse(text)
        if typed is None:
            return None
        user_content(text)  # refused as a prompt would be
        row = await self._store.session(self._session)
        if row.status == "archived":
            raise SessionArchived(session=self._session)
        command_id = self._inbox.command_id(key)
        before = None if key is None else await self._executed(command_id, typed)
        if before is not None:
            return before
        await self.registry.refreshed(typed.name)
        if row.run is not None and not self.registry.is_safe(typed.name):
            raise SessionBusy(f"/{typed.name} needs a session without an open run", session=self._session, run=row.run)
        async with self._room():
            output, said = await self._carried_out(typed, row.run, sender)
        said = (*said, *self._hooks.take_reports())
        done = CommandExecuted(
            command_id, typed.name[:NAME_LIMIT], typed.arguments, output.text, is_error=output.error is not None
        )
        run: RunId | None = None
        if output.prompt is not None and output.error is None:
            run, appended = await self._inbox.prompt(
                user_content(output.prompt),
                key=key,
                sender=sender,
                unattended=unattended,
                model=output.model,
                output=form,
                before=(*said, done),
                metadata=metadata,
            )
        else:
            appended = await self._inbox.command(done, *said, key=key)
        seq = appended.first + len(said)
        return CommandResult(
            command_id, done.name, done.arguments, output.text, output.state_changed, output.error, run, seq
        )

    async def _carried_out(
        self, typed: Typed, run: RunId | None, sender: str | None
    ) -> tuple[CommandOutput, tuple[EventData, ...]]:
        """What it answers, and what else is to be recorded. Hooks are asked about commands that exist."""
        command = self.registry.find(typed.name)
        if command is not None and self._hooks.wants("before_command"):
            payload: dict[str, Any] = {"name": typed.name, "arguments": typed.arguments, "sender": sender}
            answer = await self._hooks.fire("before_command", payload, run=run, cancel=self._token)
            if answer is INTERRUPTED:
                return CommandOutput(f"/{typed.name} was cut off.", error=BLOCKED), ()
            if answer.action == "block":
                reason = answer.reason or "Blocked"
                blocked = HookBlocked(answer.hook or "hook", "before_command", reason, failed=answer.failed)
                return CommandOutput(f"A hook blocked /{typed.name}: {reason}", error=BLOCKED), (blocked,)
            if answer.action == "skip":
                return CommandOutput(answer.reason or f"/{typed.name} was left out by a hook."), ()
            if answer.modified is not None:
                typed = Typed(typed.name, answer.modified["arguments"])
        output = await self.registry.execute(typed, await self._context(sender))
        if output.model is not None and output.prompt is not None:
            try:
                output = dataclasses.replace(output, model=self._check_model(output.model))
            except GodwitError as error:
                output = CommandOutput(f"/{typed.name}: {error.message}", error=error.code)
        if command is not None and self._hooks.wants("after_command"):
            told: dict[str, Any] = {"name": typed.name, "arguments": typed.arguments, "sender": sender}
            told |= {"text": output.text, "is_error": output.error is not None}
            await self._hooks.fire("after_command", told, run=run)
        return output, ()

    async def _executed(self, command_id: str, typed: Typed) -> CommandResult | None:
        """What this command answered when it was given before. KeyReused when it was another command."""
        for event in await self._store.read(self._session, types=("command.executed",), newest_first=True):
            data = event.data
            if isinstance(data, CommandExecuted) and data.id == command_id:
                if (data.name, data.arguments) != (typed.name[:NAME_LIMIT], typed.arguments):
                    raise KeyReused(f"the key was used for {data.name!r} before", command=data.name)
                error = "error" if data.is_error else None
                return CommandResult(data.id, data.name, data.arguments, data.text, False, error, data.starts, event.seq)
        return None
