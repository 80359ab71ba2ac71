"""AnyHandle: what a session's handle does by its other methods alone, and so in one way wherever the session is driven.

The engine's handle and the remote one are both made of it. It leaves out whatever asks a store or a server; a method that
needs more than `contracts.SessionHandle` does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contracts import SessionHandle
from ..core.agent import ThinkingLevel
from ..core.attachments import Attachments
from ..core.errors import ActionNotFound, Fault, InvalidArgument, RunFailed
from ..core.events import RunOutcome
from ..core.facts import CommandResult, PendingAction, Prompt
from ..core.ids import RunId, SessionId
from ..core.messages import Message, Usage
from ..core.record import RunResult
from .commands import as_prompt


class AnyHandle:
    """Methods of a handle under which lie others of it."""

    # --- work ------------------------------------------------------------------------------------------------------

    async def send(
        self: SessionHandle,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        output: Any = None,
        commands: bool = True,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Send a prompt and wait for the run to end.

        `history`: run on these messages instead of the session's own, which stay as they are. `context`: a value for
        function tools of this process. `key`: an idempotency key; sending again under it joins the run it started.
        `unattended`: nobody can be asked meanwhile, so calls that need an approval are denied.
        `output`: the form of the answer, in place of the agent's: a type that pydantic knows, a JSON Schema, or an
        `OutputSpec`. The result's `output` is the answer as that; one that does not fit goes back to the model, and after
        the last try the run fails with the code `output_schema`.
        `sender`: who it is from, for people and hooks; InvalidArgument for a name of godwit's own messages, as `nudge`.
        `attachments`: files that go with the prompt, in front of its words: paths, http addresses and bytes, or what
        `godwit.image` and `godwit.file` make of them. AttachmentRefused, before anything is recorded, for one that cannot be
        read or fetched, or that the model's provider does not take.
        `metadata`: what is kept with the message for people and followers, 16 KiB of JSON at most; no model is told it, and
        under one `key` it is the same. InvalidArgument.
        A plain text without `history` and attachments that begins with a slash and a name is a command, see `command`: no
        model is asked, and the result's `text` is what it answered, `run` its id. `commands=False` sends a text as it is.
        Raises SessionBusy while a run is open, SessionClosed, SessionArchived, InboxFull, and RunFailed (with the
        result) when the run fails. Interrupted and limited runs are results, not errors; so is a command that failed.
        """
        if commands and isinstance(prompt, str) and history is None and not attachments:
            executed = await self.command(
                prompt,
                context=context,
                key=key,
                sender=sender,
                unattended=unattended,
                output=output,
                metadata=metadata,
            )
            if executed is not None:
                return _command_result(executed) if executed.run is None else await self.wait(executed.run)
            prompt = as_prompt(prompt)
        run = await self.prompt(
            prompt,
            history=history,
            context=context,
            key=key,
            sender=sender,
            unattended=unattended,
            output=output,
            attachments=attachments,
            metadata=metadata,
        )
        return await self.wait(run)

    async def prompt_and_wait(
        self: SessionHandle, prompt: Prompt, *, context: Any = None, attachments: Attachments = ()
    ) -> RunResult:
        """`send` without slash commands, under the name of seed 002. Events stay readable, however many and whether or not
        anyone reads."""
        return await self.send(prompt, context=context, commands=False, attachments=attachments)

    async def resume_run(self: SessionHandle, run: RunId | str) -> RunResult:
        """Continue a run that was interrupted, failed or met a limit, from its last checkpoint, as a new run; wait for it.

        Usage, turns and tool calls so far are carried over. The session is rewound to the checkpoint when it has moved
        on since. CheckpointNotFound when there is no such run, or it is done; SessionBusy while a run is open.
        """
        return await self.wait(await self.continue_run(run))

    # --- control ---------------------------------------------------------------------------------------------------

    async def cancel(self: SessionHandle) -> bool:
        """`interrupt` under the name of seeds 001 and 002."""
        return await self.interrupt()

    async def abort(self: SessionHandle) -> bool:
        """`interrupt(force=True)` under the name of seed 002."""
        return await self.interrupt(force=True)

    async def cancel_run(self: SessionHandle, run: RunId | str) -> bool:
        """Interrupt that run only while it is the open one: an old id changes nothing (seed 001)."""
        return await self.interrupt(run=run)

    async def set_thinking(self: SessionHandle, level: ThinkingLevel) -> None:
        """Use this thinking level from the next prompt on."""
        await self.configure(thinking=level)

    def has_queue(self: SessionHandle) -> bool:
        """Lanes are always there (seed 001)."""
        return True

    # --- answers ---------------------------------------------------------------------------------------------------

    async def pending_confirmations(self: SessionHandle) -> list[PendingAction]:
        """Approvals that wait for an answer, oldest first (seed 001)."""
        return [p for p in await self.approvals.pending() if p.kind == "approval"]

    async def cancel_confirmations(self: SessionHandle) -> int:
        """Deny every pending approval with the reason "cancelled"; returns how many there were (seed 001)."""
        return sum([await self.deny(p.id, "cancelled") for p in await self.pending_confirmations()])

    async def confirm_tool_use(self: SessionHandle, tool_id: str, approved: bool, reason: str | None = None) -> bool:
        """Approve or deny the pending call of this id (seed 001). False when it is not pending."""
        try:
            return await (self.approve(tool_id) if approved else self.deny(tool_id, reason))
        except ActionNotFound:
            return False


def ended(result: RunResult) -> RunResult:
    """The result of a run that was waited for. RunFailed when it has failed."""
    if result.outcome == "failed":
        fault = result.error
        raise RunFailed(fault.message if fault else None, result=result, reason=fault.code if fault else "unknown")
    return result


def _command_result(executed: CommandResult) -> RunResult:
    """A command's answer in the shape of a run's."""
    fault = None if executed.error is None else Fault(executed.error, executed.text)
    outcome: RunOutcome = "done" if fault is None else "failed"
    return RunResult(RunId(executed.id), outcome, executed.text, None, Usage(), 0, 0, fault, executed.seq)


def id_of(session: SessionHandle | str) -> SessionId:
    """The session's id, where a handle may be given in its place. InvalidArgument for what is neither."""
    found = session if isinstance(session, str) else getattr(session, "id", None)
    if not isinstance(found, str):
        raise InvalidArgument(f"{session!r} is neither a session nor the id of one", given=repr(session))
    return SessionId(found)
