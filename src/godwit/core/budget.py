"""Budgets: what may be spent, what has been, and whether the next step may be taken. Data and arithmetic only.

The edges, which a change must keep: a step is judged by what it spends itself (a model step tokens, money, turns and time, a
call calls and time); to reach a limit exactly is allowed, a step that would begin at or beyond it is not, and neither is
one of which it is known beforehand that it goes beyond; so a limit of 0 allows nothing, and a limit is passed by no more
than what one step turned out to cost above its estimate. A soft limit is told once for each limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from .errors import ConfigurationError, InvalidArgument
from .messages import Usage

Resource = Literal["tokens", "usd", "turns", "tool_calls", "time_s"]
RESOURCES: Final[tuple[Resource, ...]] = get_args(Resource)
Scope = Literal["session", "tree"]
Warned = tuple[str, str, float]
"""Scope, resource and limit of a warning that was given."""

MODEL_STEP: Final[frozenset[Resource]] = frozenset(("tokens", "usd", "turns", "time_s"))
SIDE_STEP: Final[frozenset[Resource]] = frozenset(("tokens", "usd", "time_s"))
"""What a model is asked beside the conversation."""
TOOL_STEP: Final[frozenset[Resource]] = frozenset(("tool_calls", "time_s"))

_WHOLE: Final = ("tokens", "turns", "tool_calls")
_GRAIN = 1e-9
"""Sums of money and time are floats: ten times 0.1 is 1."""
_UNITS: Final[dict[str, str]] = {"tokens": "tokens", "turns": "turns", "tool_calls": "tool calls"}


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was used up. `turns` count once they have an answer, `tool_calls` once they begin. `time_s`: seconds a driver
    worked on open runs; waiting for people, pauses and retries are left out. `usd` counts known prices only."""

    tokens: int = 0
    usd: float = 0.0
    turns: int = 0
    tool_calls: int = 0
    time_s: float = 0.0

    def of(self, resource: Resource) -> float:
        value: float = getattr(self, resource)
        return value

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.tokens + other.tokens,
            self.usd + other.usd,
            self.turns + other.turns,
            self.tool_calls + other.tool_calls,
            self.time_s + other.time_s,
        )


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits on what a session may spend over its life; None is no limit.

    `scope`: `session`, or `tree` for the session together with all its descendants. `soft`: the share of a limit at which
    a warning is recorded, once per limit. `on_limit`: `stop` ends the run before the step that would go over; `ask` parks
    it and asks a person for more. `unpriced`: whether a model without a known price may be asked under a limit in `usd`;
    if so, its steps count as 0 and a warning says it.
    """

    tokens: int | None = None
    usd: float | None = None
    turns: int | None = None
    tool_calls: int | None = None
    time_s: float | None = None
    scope: Scope = "session"
    soft: float = 0.8
    on_limit: Literal["stop", "ask"] = "stop"
    unpriced: Literal["deny", "allow"] = "deny"

    def __post_init__(self) -> None:
        for name in RESOURCES:
            value = getattr(self, name)
            if value is None:
                continue
            if not _is_number(value) or not value >= 0 or math.isinf(value):
                raise ConfigurationError(
                    f"budget {name}={value!r} must be a number, 0 or more", limit=name, value=repr(value)
                )
            if name in _WHOLE and not isinstance(value, int):
                raise ConfigurationError(f"budget {name}={value!r} must be a whole number", limit=name, value=value)
        if not _is_number(self.soft) or not 0 < self.soft <= 1:
            raise ConfigurationError(f"budget soft={self.soft!r} must be more than 0 and at most 1", value=repr(self.soft))
        for word, known in _WORDS.items():
            value = getattr(self, word)
            if value not in known:
                raise ConfigurationError(f"budget {word}={value!r} must be {' or '.join(known)}", value=repr(value))

    @property
    def limits(self) -> dict[Resource, float]:
        """The limits that are set, in a fixed order."""
        found: dict[Resource, float] = {}
        for name in RESOURCES:
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        return found


_WORDS: Final = {"scope": ("session", "tree"), "on_limit": ("stop", "ask"), "unpriced": ("deny", "allow")}


class BudgetDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a guard says before a step. `warn` proceeds and is recorded; `ask` parks the run; `deny` ends it.

    `coming`: what the step is known to need. `scope`: whose limit it is: `session`, `tree`, or `guard`.
    """

    verdict: Literal["allow", "warn", "ask", "deny"] = "allow"
    resource: str = ""
    consumed: float = 0.0
    limit: float = 0.0
    reason: str = ""
    scope: str = "guard"
    coming: float = 0.0


ALLOWED = BudgetDecision()
NOTHING = Spent()


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model costs, in USD per million tokens. Without their own prices, cached tokens cost what `input` does."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or not 0 <= value < math.inf):
                raise ConfigurationError(f"price {name}={value!r} must be a number of USD, 0 or more", value=repr(value))

    def of(self, usage: Usage) -> float:
        """USD."""
        read, write = usage.cache_read_tokens, usage.cache_write_tokens
        plain = max(0, usage.input_tokens - read - write)
        cost = plain * self.input + usage.output_tokens * self.output
        cost += read * (self.input if self.cache_read is None else self.cache_read)
        cost += write * (self.input if self.cache_write is None else self.cache_write)
        return cost / 1_000_000


# --- deciding -------------------------------------------------------------------------------------------------------


def check(
    budget: Budget,
    spent: Spent,
    about: Spent = NOTHING,
    *,
    step: Collection[Resource] = frozenset(RESOURCES),
    warned: Collection[Warned] = (),
) -> BudgetDecision:
    """Whether a step may be taken that is about to spend `about`, as far as that is known beforehand.

    `step`: what it spends at all. `warned`: what was told already. A limit that is met wins over a warning.
    """
    soft: BudgetDecision | None = None
    for resource, limit in budget.limits.items():
        if resource not in step:
            continue
        consumed, coming = spent.of(resource), about.of(resource)
        if consumed >= limit - _GRAIN or consumed + coming > limit + _GRAIN:
            verdict: Literal["ask", "deny"] = "ask" if budget.on_limit == "ask" else "deny"
            reason = _why(resource, consumed, coming, limit)
            return BudgetDecision(verdict, resource, consumed, limit, reason, budget.scope, coming)
        told = (budget.scope, resource, limit) in warned
        if soft is None and not told and consumed + coming >= budget.soft * limit - _GRAIN:
            reason = share(resource, consumed + coming, limit)
            soft = BudgetDecision("warn", resource, consumed + coming, limit, reason, budget.scope)
    return soft or ALLOWED


def _why(resource: Resource, consumed: float, coming: float, limit: float) -> str:
    met = f"{share(resource, consumed, limit)} spent"
    if consumed >= limit - _GRAIN:
        return met
    return f"{met}, and the next step needs {amount(resource, coming)}"


def amount(resource: str, value: float) -> str:
    """A value with its unit, for people."""
    if resource == "usd":
        return f"${value:.2f}" if value == round(value, 2) else f"${value:.6f}".rstrip("0")
    if resource == "time_s":
        return f"{value:.1f} s" if value < 600 else f"{value / 60:.0f} min"
    unit = _UNITS.get(resource, resource)
    return f"{value:,.15g} {unit.removesuffix('s') if value == 1 and resource in _UNITS else unit}"


def share(resource: str, value: float, limit: float) -> str:
    """So much of a limit, for people."""
    if resource not in _UNITS:
        return f"{amount(resource, value)} of {amount(resource, limit)}"
    return f"{value:,.15g} of {amount(resource, limit)}"


def in_force(*layers: Iterable[Budget]) -> tuple[Budget, ...]:
    """The budgets of all layers; of one scope, the last layer's counts."""
    by_scope: dict[str, Budget] = {}
    for layer in layers:
        by_scope.update({budget.scope: budget for budget in layer})
    return tuple(by_scope[scope] for scope in sorted(by_scope))


def raised(budget: Budget, by: Mapping[Resource, float]) -> Budget:
    """The budget with these limits higher by so much; a limit that is not set stays so."""
    changes: dict[str, Any] = {name: limit + by[name] for name, limit in budget.limits.items() if name in by}
    return msgspec.structs.replace(budget, **changes)


# --- reading what people write --------------------------------------------------------------------------------------


def amounts_of(table: Mapping[str, Any], *, what: str = "budget") -> dict[Resource, float]:
    """Amounts by resource, as a person gives them. InvalidArgument names the one that cannot be used."""
    found: dict[Resource, float] = {}
    for name, value in table.items():
        if name not in RESOURCES:
            raise InvalidArgument(f"{what}: unknown resource {name!r}; known are {', '.join(RESOURCES)}", resource=str(name))
        number = _as_whole(value) if name in _WHOLE else value
        if not _is_number(number) or not 0 <= number < math.inf or (name in _WHOLE and not isinstance(number, int)):
            kind = "a whole number" if name in _WHOLE else "a number"
            raise InvalidArgument(f"{what}: {name}={value!r} must be {kind}, 0 or more", resource=name, value=repr(value))
        found[name] = number
    return found


def budget_from_table(table: Mapping[str, Any], *, where: str = "budget") -> Budget:
    """A budget from a table of a configuration file: `usd = 5`, `on_limit = "ask"`. ConfigurationError, naming the key."""
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where}: {table!r} is no table of limits such as usd = 5", value=repr(table))
    known = Budget.__struct_fields__
    unknown = [str(name) for name in table if name not in known]
    if unknown:
        raise ConfigurationError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}", keys=unknown)
    values = {name: _as_whole(value) if name in _WHOLE else value for name, value in table.items()}
    try:
        return Budget(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message.removeprefix('budget ')}", **error.details) from None


def budgets_of(
    given: Budget | Mapping[str, Any] | Sequence[Budget | Mapping[str, Any]] | None, *, where: str = "budget"
) -> tuple[Budget, ...]:
    """One budget, a table of one, or several of different scopes. ConfigurationError."""
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Budget | Mapping | Sequence):
        raise ConfigurationError(
            f"{where}: {given!r} is neither a Budget, a table of limits nor a list of them", value=repr(given)
        )
    several = [given] if isinstance(given, Budget | Mapping) else given
    made = tuple(one if isinstance(one, Budget) else budget_from_table(one, where=where) for one in several)
    if len({one.scope for one in made}) != len(made):
        raise ConfigurationError(f"{where}: one budget per scope, not two", scopes=[one.scope for one in made])
    return made


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _as_whole(value: Any) -> Any:
    """1e6 is a whole number as well; a file's numbers often are written so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


__all__ = [
    "ALLOWED",
    "MODEL_STEP",
    "NOTHING",
    "RESOURCES",
    "SIDE_STEP",
    "TOOL_STEP",
    "Budget",
    "BudgetDecision",
    "Price",
    "Resource",
    "Scope",
    "Spent",
    "Warned",
    "amount",
    "amounts_of",
    "budget_from_table",
    "budgets_of",
    "check",
    "in_force",
    "raised",
    "share",
]
