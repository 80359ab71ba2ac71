"""The command that runs checks."""

from __future__ import annotations

from ...core.errors import InvalidArgument
from ...core.verification import WORKSPACE, VerificationPolicy
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import builtin, line


async def _verify(arguments: str, context: CommandContext) -> CommandOutput:
    """Runs the checks of the agent, or else those that the project's files ask for, and never what was typed: who may send
    a text must not be able to run a command by it."""
    session = context.session
    policy = session.config.spec.verification or VerificationPolicy(presets=True)
    found = policy.chosen(await session.verification_presets() if policy.presets else ())
    commands = [c for c in found if arguments in ("", c.id)]
    if not commands:
        known = ", ".join(c.id for c in found)
        why = f"no check is named {line(arguments)!r}: there are {known}" if found else "nothing here says what to check"
        raise InvalidArgument(why)
    report = await session.verify_commands(arguments or WORKSPACE, commands)
    lines = [
        f"{check.status}: {check.id}" + (f" ({check.residual_risk})" if check.residual_risk else "")
        for check in report.checks
    ]
    lines.append(await session.verification_summary_text())
    return CommandOutput("\n".join(lines), state_changed=True)


VERIFYING: tuple[Command, ...] = (
    builtin("verify", "Run the project's checks, or one of them.", _verify, "[CHECK]", safe=False),
)
