"""Commands about what may be spent and what was."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from ...core.budget import RESOURCES, Budget, Scope
from ...core.errors import InvalidArgument
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin, line


def _cost(context: CommandContext) -> str:
    usage = context.usage
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
    return "\n".join(
        [
            f"Session: {context.id}",
            f"Model: {context.model}",
            f"Tokens: {usage.total_tokens} ({usage.input_tokens} in, {usage.output_tokens} out)",
            f"Cost: {cost}",
        ]
    )


async def _budget(arguments: str, context: CommandContext) -> CommandOutput:
    session = context.session
    if arguments == "none":
        await session.set_budget(None)
        return CommandOutput("The agent's own budget again, from the next prompt on.", state_changed=True)
    if arguments:
        given = _limits(arguments)
        scope: Any = given.pop("scope", "session")
        before = msgspec.structs.asdict(await session.budget(scope) or Budget(scope=scope))
        kept = {name: value for name, value in {**before, **given}.items() if value is not None}
        await session.set_budget(kept)
        return CommandOutput(f"From the next prompt on: {_limits_text(await session.budget(scope))}", state_changed=True)
    lines = []
    for scope in get_args(Scope):
        budget = await session.budget(scope)
        spent = await session.spent(tree=scope == "tree")
        name = "session" if scope == "session" else "session and all that works for it"
        lines.append(f"Budget of the {name}: {_limits_text(budget)}")
        lines += [f"  {r}: {spent.of(r):g} of {limit:g}" for r, limit in (budget.limits if budget else {}).items()]
    spent = await session.spent()
    used = ", ".join(f"{spent.of(resource):g} {resource}" for resource in RESOURCES)
    return CommandOutput("\n".join([*lines, f"Spent: {used}"]))


def _limits(text: str) -> dict[str, Any]:
    """`tokens=1000 usd=none on_limit=ask` as a table. InvalidArgument."""
    given: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name in given:
            raise InvalidArgument(
                f"{line(word)!r} is not understood: type a limit such as tokens=50000, usd=2.5 or turns=none"
            )
        try:
            given[name] = None if value == "none" else int(value) if value.isdecimal() else float(value)
        except ValueError:
            given[name] = value
    return given


def _limits_text(budget: Budget | None) -> str:
    if budget is None or not budget.limits:
        return "no limits"
    told = ", ".join(f"{name} {limit:g}" for name, limit in budget.limits.items())
    return f"{told}; at a limit it {'asks' if budget.on_limit == 'ask' else 'stops'}"


SPENDING: tuple[Command, ...] = (
    builtin("cost", "Show what the session has used.", alone(_cost)),
    builtin("budget", "Show what may be spent and what was, or set a limit.", _budget, "[LIMIT=VALUE ...|none]"),
)
