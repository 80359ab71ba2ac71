"""Commands that change what holds from the next prompt on."""

from __future__ import annotations

from typing import Any, get_args

from ...core.agent import ThinkingLevel
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import builtin, needed


async def _model(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(f"Current model: {context.model}")
    await context.session.set_model(arguments)
    return CommandOutput(f"{context.session.model} from the next prompt on.", state_changed=True)


async def _thinking(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(f"Current thinking level: {context.session.thinking or 'as the model does'}")
    level: Any = arguments
    await context.session.set_thinking(level)
    return CommandOutput(f"Thinking {arguments} from the next prompt on.", state_changed=True)


async def _mode(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(f"Current mode: {await context.session.mode()}")
    await context.session.set_mode(arguments)
    return CommandOutput(f"In mode {arguments} from the next call on.", state_changed=True)


async def _name(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.configure(name=needed(arguments, "name", "TEXT"))
    return CommandOutput(f"Named: {arguments}", state_changed=True)


_LEVELS = "|".join(get_args(ThinkingLevel))
SETTINGS: tuple[Command, ...] = (
    builtin("model", "Show the model, or use another one from the next prompt on.", _model, "[PROVIDER:MODEL]"),
    builtin("thinking", "Show or set how much the model thinks from the next prompt on.", _thinking, f"[{_LEVELS}]"),
    builtin("mode", "Show or set what may be done: build, all of it; plan, look only.", _mode, "[MODE]"),
    builtin("name", "Name the session.", _name, "TEXT"),
)
