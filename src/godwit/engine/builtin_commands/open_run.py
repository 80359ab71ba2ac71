"""Commands about the open run: messages for it, and stopping it or letting it go on."""

from __future__ import annotations

from ...core.errors import InputNotFound, InvalidArgument
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin, counted, line, needed


async def _steer(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.steer(needed(arguments, "steer", "TEXT"), sender=context.sender)
    return CommandOutput("Accepted; it is delivered at the next step.", state_changed=True)


async def _follow_up(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.follow_up(needed(arguments, "follow-up", "TEXT"), sender=context.sender)
    said = "Queued for when the run would end." if context.run else "Sent: nothing else was left to do."
    return CommandOutput(said, state_changed=True)


async def _queue(arguments: str, context: CommandContext) -> CommandOutput | str:
    queue = context.session.queue
    word, _, rest = arguments.partition(" ")
    if word == "withdraw":
        typed = needed(rest, "queue withdraw", "ID")
        found = [entry.id for entry in await queue.list() if entry.id.startswith(typed)]
        if len(found) != 1:
            raise InputNotFound(f"{len(found) or 'no'} waiting messages' ids begin with {typed!r}", input=typed)
        await queue.withdraw(found[0])
        return CommandOutput(f"Withdrawn: {found[0]}", state_changed=True)
    if word:
        raise InvalidArgument(f"{line(word)!r} is nothing it does: type /queue, or /queue withdraw ID")
    entries = await queue.list()
    lines = [f"Queue: {counted(len(entries), 'message')}"]
    lines += [f"  {entry.id}  {entry.delivery.replace('_', '-')}  {line(entry.text)}" for entry in entries]
    return "\n".join(lines)


async def _pause(arguments: str, context: CommandContext) -> CommandOutput:
    if await context.session.pause(arguments or None):
        return CommandOutput("Paused; /resume lets it go on.", state_changed=True)
    return CommandOutput("It was paused already.")


async def _resume(context: CommandContext) -> CommandOutput:
    if await context.session.resume():
        return CommandOutput("It goes on.", state_changed=True)
    return CommandOutput("It was not paused.")


async def _interrupt(arguments: str, context: CommandContext) -> CommandOutput:
    if arguments not in ("", "force"):
        raise InvalidArgument(f"{line(arguments)!r} is nothing it does: type /interrupt, or /interrupt force")
    ended = await context.session.interrupt(force=arguments == "force", reason="/interrupt")
    return CommandOutput("Interrupted." if ended else "No run is open.", state_changed=ended)


OPEN_RUN: tuple[Command, ...] = (
    builtin("steer", "Put a message into the open run at its next step.", _steer, "TEXT"),
    builtin("follow-up", "Queue a message for when the run would end.", _follow_up, "TEXT"),
    builtin("queue", "List what waits to be delivered, or take a message back.", _queue, "[withdraw ID]"),
    builtin("pause", "Stop at the next step.", _pause, "[REASON]"),
    builtin("resume", "Go on after a pause.", alone(_resume)),
    builtin("interrupt", "End the open run at once; force gives its tools no grace.", _interrupt, "[force]"),
    builtin("stop", "The same as /interrupt.", _interrupt, "[force]"),
)
