"""`godwit budget`: what a session has spent of what it may, and other limits from its next prompt on; and the flags of `run`
that make a budget.

Rule: a limit is shown beside what was spent of it, also where nothing is left; and what an approval raises is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.budget import RESOURCES, Budget, Resource, Spent, amount, budget_from_table
from ..engine.budget import QUESTION, raise_of
from .cli_exit import DONE, CliError
from .cli_place import Where, find
from .cli_view import write_json

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from ..core.budget import Scope
    from ..core.facts import PendingAction
    from ..host.terms import BudgetTerms

NAMES: dict[Resource, str] = {
    "tokens": "tokens",
    "usd": "usd",
    "turns": "turns",
    "tool_calls": "tool calls",
    "time_s": "time",
}


def from_flags(
    usd: float | None, tokens: int | None, tool_calls: int | None, time_s: float | None, *, asks: bool
) -> Budget | None:
    """The budget that the flags of a run describe, None without any. `asks`: somebody is there to allow more."""
    if usd is None and tokens is None and tool_calls is None and time_s is None:
        return None
    return Budget(tokens, usd, None, tool_calls, time_s, on_limit="ask" if asks else "stop")


def over_files(given: Budget, terms: BudgetTerms) -> Budget:
    """What flags and configuration files say together: of what both limit, the flags count, as a person has just typed
    them."""
    held = terms.held(given, given.scope)
    return given if held is None else msgspec.structs.replace(held, **given.limits)


async def show(place: Where, typed: str, changes: Sequence[str], *, tree: bool, as_json: bool) -> int:
    """Change the budget as `--set` says, then show it beside what was spent."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        if changes:
            scope: Scope = "tree" if tree else "session"
            await handle.set_budget(changed(await handle.budget(scope) or Budget(scope=scope), changes))
        own, both = await handle.budget(), await handle.budget("tree")
        spent, in_all = await handle.spent(), await handle.spent(tree=True)
        if as_json:
            facts = {"budget": own, "spent": _whole(spent), "tree_budget": both, "tree_spent": _whole(in_all)}
            write_json({"session": handle.id, **facts})
            return DONE
        print(f"session {handle.id}{_manner(own)}")
        _table(spent, own)
        if both is not None or in_all.tokens != spent.tokens:
            print(f"together with all that work for it{_manner(both)}")
            _table(in_all, both)
    return DONE


def changed(budget: Budget, changes: Sequence[str]) -> Budget:
    """The budget with each `name=value` put in; `none` takes a limit away. CliError, ConfigurationError."""
    table: dict[str, Any] = {name: getattr(budget, name) for name in budget.__struct_fields__}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name.strip():
            raise CliError(f"--set {change!r} is not of the form name=value", hint="such as --set usd=5")
        table[name.strip()] = _value(text.strip())
    return budget_from_table(table, where="--set")


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _whole(spent: Spent) -> dict[str, float]:
    return {name: spent.of(name) for name in RESOURCES}


def _manner(budget: Budget | None) -> str:
    if budget is None or not budget.limits:
        return ": no limits"
    return {"stop": ": a limit ends the run", "ask": ": a limit asks for more"}[budget.on_limit]


def _table(spent: Spent, budget: Budget | None) -> None:
    limits = budget.limits if budget is not None else {}
    rows = [("", "spent", "limit", "left")]
    for name in RESOURCES:
        used, limit = spent.of(name), limits.get(name)
        left = "" if limit is None else _amount(name, max(0.0, limit - used))
        rows.append((NAMES[name], _amount(name, used), "-" if limit is None else _amount(name, limit), left))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())


def _amount(name: Resource, value: float) -> str:
    return amount(name, value) if name in ("usd", "time_s") else f"{value:,.0f}"


async def raises(handle: SessionHandle, actions: Sequence[str], arguments: dict[str, Any] | None) -> list[str]:
    """What approving these raises, in words; nothing for those that are no budget's question."""
    said = []
    for one in await handle.approvals.pending():
        if one.id in actions and is_question(one):
            by = raise_of(one.arguments if arguments is None else arguments)
            said += [f"{amount(name, value)} more" for name, value in by.items()]
    return said


def is_question(action: PendingAction) -> bool:
    """Whether a budget asks for more."""
    return action.call is None and action.name == QUESTION


__all__ = ["changed", "from_flags", "is_question", "over_files", "raises", "show"]
