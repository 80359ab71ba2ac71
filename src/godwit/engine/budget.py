"""Budgets: asks before each step whether it may be paid for: the session's own limits, those of the sessions it works for,
and whoever guards beside them.

How a step uses it (`driver.budget`):

    decision = await driver.budget.before_tool(name, ahead=n)   # commit what is staged first: a guard may take its time
    log.stage(*new(state, driver.budget.recorded(decision)))    # a warning, an end, or the question; often nothing
    match decision.verdict:
        case "allow" | "warn": ...  # take the step
        case "deny": ...            # it is not taken, `refusal(decision)` says why, and the run ends limited
        case "ask": ...             # it is not taken yet: the run has a question of its own now, and is parked with it

When the driver's token was cancelled meanwhile, what was said no longer counts: look at the token first.

How a guard is asked stands in `guard`, what trees may spend is read by `tree_budget`. Rules a change must keep: what was
spent is read from the log and the store, never kept here; where nothing is limited, nothing is read or waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from ..contracts import BudgetCheck, BudgetGuard, EventStore, ModelRegistry, SupportsPrices
from ..core.agent import AgentSpec
from ..core.budget import (
    ALLOWED,
    MODEL_STEP,
    NOTHING,
    RESOURCES,
    SIDE_STEP,
    TOOL_STEP,
    Budget,
    BudgetDecision,
    Resource,
    Spent,
    amount,
    amounts_of,
    check,
    in_force,
    raised,
)
from ..core.errors import Fault, GodwitError, InvalidArgument, SessionNotFound
from ..core.events import ActionClosed, ActionOpened, BudgetExceeded, BudgetWarned, EventData, SessionConfigured, UserAnswer
from ..core.ids import ActionId, Clock, IdSource, RunId, SessionId
from ..core.messages import AgentBlock, Usage
from ..core.state import State
from .cancel import Cancel
from .estimate import CHARACTERS_PER_TOKEN, block_characters
from .guard import GRAVITY, GuardCalls
from .lanes import Lanes
from .tree_budget import Held, raise_tree_budget, tree_budget

QUESTION: Final = "budget"
"""The name of the question that a run asks when a limit was met."""
_TREE_OF = "tree of "
_LEAST_MORE: dict[Resource, float] = {"tokens": 10_000, "usd": 1, "turns": 10, "tool_calls": 10, "time_s": 600}
"""What is offered beyond a limit of nothing."""
Guards = Callable[[SessionId, RunId | None, AgentSpec, Sequence[SessionId]], Sequence[BudgetGuard]]
"""Who guards a run of a session in this process; the last ones are the sessions it works for, nearest first."""


class Means(Protocol):
    """Of the host's parts, what budgets need."""

    store: EventStore
    models: ModelRegistry
    clock: Clock
    ids: IdSource
    guards: Guards
    held: Held
    lanes: Lanes


class Budgets:
    """What one session may spend, as its driver or a call of its host asks for it.

    `asks`: a run can be parked with a question; without it a limit that would ask denies. `granted`: the next model step
    was allowed already.
    """

    def __init__(
        self,
        parts: Means,
        session: SessionId,
        token: Cancel,
        *,
        state: Callable[[], State],
        spec: Callable[[], AgentSpec],
        asks: bool = False,
    ) -> None:
        self._parts = parts
        self._session = session
        self._state = state
        self._spec = spec
        self._asks = asks
        self._above: tuple[SessionId, ...] | None = None
        self._originals: dict[SessionId, Budget | None] = {}
        self._looked_up: set[str] = set()
        self._waved = False
        self._asking = GuardCalls(session, token)
        self.granted = False

    # --- before and after a step -----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing is limited, so nothing has to be asked."""
        return not self.guarded and not self.own()

    @property
    def guarded(self) -> bool:
        """Somebody wants to be told of each answer."""
        return self._state().parent is not None or bool(self._guards(()))

    @property
    def waits(self) -> bool:
        """Asking takes more than the state: a guard, the spending of a tree, a price, or the transcript as it is stored."""
        return self.guarded or any(b.scope == "tree" or not b.limits.keys().isdisjoint(SIDE_STEP) for b in self.own())

    async def before_model(self, estimate: int = 0, model: str = "") -> BudgetDecision:
        """Whether this model may be asked; `estimate` in tokens of the request."""
        if self.idle:
            return ALLOWED
        return await self._decide("before_model", Spent(tokens=estimate, turns=1), MODEL_STEP, model=model)

    async def before_aside(self, estimate: int, model: str) -> BudgetDecision:
        """Whether this model may be asked beside the conversation. Never `ask`: the step that asks is under way."""
        if self.idle:
            return ALLOWED
        decision = await self._decide("before_model", Spent(tokens=estimate), SIDE_STEP, model=model)
        return _denied(decision, "") if decision.verdict == "ask" else decision

    async def before_tool(self, name: str, *, ahead: int = 0) -> BudgetDecision:
        """Whether this call may run; `ahead` counts calls that were allowed and whose start is not in the state yet."""
        if self.idle:
            return ALLOWED
        return await self._decide("before_tool", Spent(tool_calls=1), TOOL_STEP, tool=name, ahead=Spent(tool_calls=ahead))

    async def after_model(self, usage: Usage) -> BudgetDecision:
        """A model has answered, and the answer is stored: tell who guards. One that fails at it denies what follows."""
        decision, state = ALLOWED, self._state()
        for guard in self._guards(await self._ancestors()):
            failed = await self._asking.told(guard, self._check(state, 0, None), usage)
            if failed is not None and decision is ALLOWED:
                decision = failed
        return decision

    def recorded(self, decision: BudgetDecision) -> list[EventData]:
        """The events that say what was decided."""
        resource, consumed, limit = decision.resource, decision.consumed, decision.limit
        match decision.verdict:
            case "allow":
                return []
            case "warn":
                return [BudgetWarned(resource, consumed, limit, decision.scope, decision.reason)]
            case "deny":
                return [BudgetExceeded(resource, consumed, limit, decision.scope, decision.reason)]
            case "ask":
                action = ActionId(self._parts.ids.new("act"))
                return [ActionOpened(action, "approval", None, QUESTION, *self._question(decision))]

    def counted(self, model: str, usage: Usage, asked: Callable[[], int], content: Iterable[AgentBlock]) -> Usage:
        """The usage of a step with its price, as far as it is known. Under a budget, what the provider did not count (or
        could not, since its answer was cut) is estimated: `asked` gives the tokens of the request."""
        if not usage.total_tokens and not self.idle:
            said = sum(block_characters(block) for block in content) // CHARACTERS_PER_TOKEN
            usage = msgspec.structs.replace(usage, input_tokens=asked(), output_tokens=said)
        if usage.cost_usd is not None or not usage.total_tokens:
            return usage
        cost_usd = self._cost(model, usage)
        # Nothing is no price: what a recording answers keeps the cost it was recorded with, also when nobody knew it.
        return msgspec.structs.replace(usage, cost_usd=cost_usd) if cost_usd else usage

    # --- limits ------------------------------------------------------------------------------------------------------

    def own(self) -> tuple[Budget, ...]:
        """The session's own budgets in force: those of the open run, else of the next one."""
        state = self._state()
        given = state.run.budgets if state.run is not None else state.budgets
        return tuple(b for b in in_force(self._spec().budgets, given or ()) if b.limits)

    async def _decide(
        self,
        point: Literal["before_model", "before_tool"],
        about: Spent,
        step: frozenset[Resource],
        *,
        model: str | None = None,
        tool: str | None = None,
        ahead: Spent = NOTHING,
    ) -> BudgetDecision:
        """The gravest of what the limits and the guards say."""
        state, problem, estimate = self._state(), None, about.tokens
        limits = await self._limits(state)
        if model is not None and any(budget.usd is not None for _, budget, _ in limits):
            usd = await self._price(model, Usage(input_tokens=estimate))
            about = msgspec.structs.replace(about, usd=usd or 0.0)
            problem = None if usd is not None else _no_price(model)
        decision = ALLOWED
        for session, budget, spent in limits:
            found = check(budget, spent + ahead, about, step=step, warned=state.warned)
            if problem is not None and budget.usd is not None and found.verdict in ("allow", "warn"):
                found = _unpriced(budget, spent, problem, model or "", state)
            if session is not None and found is not ALLOWED:
                found = msgspec.structs.replace(found, scope=f"{_TREE_OF}{session}")
            decision = _graver(decision, found)
            if decision.verdict == "deny":
                return decision
        if decision.verdict != "ask":
            # What a person let pass is the next step of the run, not what a tool asks meanwhile.
            waved = self._waved and step is not SIDE_STEP
            self._waved = self._waved and not waved
            for guard in () if waved else self._guards(await self._ancestors()):
                found = await self._asking.consulted(guard, point, self._check(state, estimate, tool))
                decision = _graver(decision, found)
                if found.verdict == "deny":
                    break
        if decision.verdict == "ask" and not self._may_ask(state):
            return _denied(decision, "nobody can be asked for more")
        return decision

    async def _limits(self, state: State) -> list[tuple[SessionId | None, Budget, Spent]]:
        """Each budget in force with what was spent of it; the session is named where it is another one's."""
        now_ms = self._parts.clock.now_ms()
        own = state.spent(now_ms)
        found: list[tuple[SessionId | None, Budget, Spent]] = []
        for budget in self.own():
            spent = own
            if budget.scope == "tree":
                under_way = Spent(time_s=own.time_s - state.spent().time_s)
                spent = await self._parts.store.spent(self._session) + under_way
            found.append((None, budget, spent))
        for session in await self._ancestors():
            above = await tree_budget(self._parts.store, session, self._parts.held)
            if above is not None:
                limit, self._originals[session] = above
                found.append((session, limit, await self._parts.store.spent(session)))
        return found

    async def _ancestors(self) -> tuple[SessionId, ...]:
        """The sessions this one works for, nearest first; those that were deleted are left out by the store."""
        if self._above is None:
            line: list[SessionId] = []
            above = self._session if self._state().parent is not None else None
            with contextlib.suppress(SessionNotFound):  # one of them is deleted in this very moment
                while above is not None:
                    above = (await self._parts.store.session(above)).parent
                    line += [above] if above is not None else []
            self._above = tuple(line)
        return self._above

    def _may_ask(self, state: State) -> bool:
        return self._asks and state.run is not None and not state.run.unattended

    # --- prices ------------------------------------------------------------------------------------------------------

    async def _price(self, model: str, usage: Usage) -> float | None:
        """What this will cost, None when nobody knows. Looking a price up for the first time takes a while."""
        if model in self._looked_up:
            return self._cost(model, usage)
        usd = await asyncio.to_thread(self._cost, model, usage)
        self._looked_up.add(model)
        return usd

    def _cost(self, model: str, usage: Usage) -> float | None:
        models = self._parts.models
        if not isinstance(models, SupportsPrices):
            return None
        try:
            return models.cost_usd(model, usage)
        except GodwitError:
            return None  # it will be raised, and told, when the model is asked

    # --- guards ------------------------------------------------------------------------------------------------------

    def _guards(self, above: Sequence[SessionId]) -> Sequence[BudgetGuard]:
        run = self._state().run
        return self._parts.guards(self._session, run.id if run is not None else None, self._spec(), above)

    def _check(self, state: State, estimate: int, tool: str | None) -> BudgetCheck:
        run = state.run.id if state.run is not None else None
        spent = state.spent(self._parts.clock.now_ms())
        return BudgetCheck(self._session, run, state.labels, spent, estimate, tool)

    # --- asking for more -----------------------------------------------------------------------------------------------

    def _question(self, decision: BudgetDecision) -> tuple[dict[str, Any], str]:
        """What approving raises, as arguments a person may change, and the text that asks for it."""
        told = {"resource": decision.resource, "consumed": decision.consumed, "limit": decision.limit}
        arguments: dict[str, Any] = {"scope": decision.scope, **told}
        text = f"Budget: {decision.reason or decision.resource}."
        resource = next((r for r in RESOURCES if r == decision.resource), None)
        if resource is None or decision.scope == "guard":
            return arguments, f"{text} Approve to take this step all the same."
        more = self._more(resource, decision)
        arguments[resource] = more
        return arguments, f"{text} Approve to allow {amount(resource, more)} more."

    def _more(self, resource: Resource, decision: BudgetDecision) -> float:
        """The original amount of the limit, as often as it takes for the next step."""
        if decision.scope.startswith(_TREE_OF):
            original = self._originals.get(SessionId(decision.scope.removeprefix(_TREE_OF)))
        else:
            first_set = in_force(self._spec().budgets, self._state().budgets_set or ())
            original = next((b for b in first_set if b.scope == decision.scope), None)
        base = original.limits.get(resource, 0) if original is not None else 0
        over = decision.consumed - decision.limit
        if base:
            # It has to begin below the limit, and to end at it at most.
            times = max(math.floor(over / base) + 1, math.ceil((over + decision.coming) / base - 1e-9), 1)
            more = base * times
        else:
            more = max(over + decision.coming, 0.0) + _LEAST_MORE[resource]
        return math.ceil(more) if resource not in ("usd", "time_s") else more

    async def settle(self) -> list[EventData]:
        """What follows from the answer to the run's question: limits that are higher now, a step that is let pass, or the
        end. Doing it again after a crash comes to the same."""
        state = self._state()
        question = state.run.question if state.run is not None else None
        assert question is not None
        assert question.answer is not None
        closed = ActionClosed(question.action)
        answer, asked = question.answer, question.arguments
        scope = str(asked.get("scope", ""))
        if answer.decision != "approve":
            return [*self._refused(asked, scope, answer, "not allowed more"), closed]
        if scope == "guard":
            self._waved = True
            return [closed]
        try:
            by = raise_of(asked if answer.arguments is None else answer.arguments)
        except InvalidArgument as error:
            return [*self._refused(asked, scope, answer, error.message), closed]
        if scope.startswith(_TREE_OF):
            above, parts = SessionId(scope.removeprefix(_TREE_OF)), self._parts
            await raise_tree_budget(parts.store, above, by, question.action, held=parts.held, clock=parts.clock)
            return [closed]
        limit = next((b for b in self.own() if b.scope == scope), None)
        if limit is None:
            return [closed]
        given = (state.run.budgets if state.run is not None else None) or ()
        budgets = in_force(given, [raised(limit, by)])
        return [SessionConfigured(budgets=budgets, raised_by=question.action), closed]

    def _refused(self, asked: dict[str, Any], scope: str, answer: UserAnswer, why: str) -> list[EventData]:
        """The end of the run, since a person wants no more spent."""
        reason = f"{why}: {answer.reason}" if answer.reason else why
        consumed, limit = float(asked.get("consumed", 0)), float(asked.get("limit", 0))
        return [BudgetExceeded(str(asked.get("resource", "")), consumed, limit, scope, reason)]


def refusal(decision: BudgetDecision) -> str:
    """What the one who asked for the step is told."""
    return f"Budget exhausted on '{decision.resource}': {decision.reason}"


def exhausted(met: BudgetExceeded) -> Fault:
    """Why the run ends as limited."""
    details = {"resource": met.resource, "consumed": met.consumed, "limit": met.limit, "scope": met.scope}
    return Fault("budget_exhausted", f"Budget exhausted on '{met.resource}': {met.reason}", details)


def new(state: State, events: Iterable[EventData]) -> list[EventData]:
    """Of what budgets have to say, that which the state does not know yet: several steps are asked for at a time, and
    each is told the same."""
    run = state.run
    found: list[EventData] = []
    for event in events:
        match event:
            case BudgetWarned() if (event.scope, event.resource, event.limit) in state.warned:
                continue
            case BudgetExceeded() if run is not None and run.exceeded is not None:
                continue
            case ActionOpened(call=None) if run is not None and run.question is not None:
                continue
            case _:
                found.append(event)
    return found


def raise_of(arguments: dict[str, Any]) -> dict[Resource, float]:
    """By how much an answer to the question raises which limits. InvalidArgument."""
    about = ("scope", "resource", "consumed", "limit")
    return amounts_of({k: v for k, v in arguments.items() if k not in about}, what="the answer to a budget's question")


def check_answer(asked: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Whether this answers the question. InvalidArgument says why it does not."""
    resource = asked.get("resource")
    if resource not in asked:
        raise InvalidArgument("this question is answered with approve or deny alone: it is about one step", asked=asked)
    if resource not in raise_of(arguments):
        raise InvalidArgument(f"the question is about {resource}: say how much more, as {resource}=...", asked=asked)


def _graver(one: BudgetDecision, other: BudgetDecision) -> BudgetDecision:
    return other if GRAVITY[other.verdict] > GRAVITY[one.verdict] else one


def _denied(decision: BudgetDecision, why: str) -> BudgetDecision:
    reason = ", and ".join(part for part in (decision.reason, why) if part)
    return msgspec.structs.replace(decision, verdict="deny", reason=reason)


def _no_price(model: str) -> str:
    return (
        f"the price of model {model!r} is not known: give it with prices={{{model!r}: Price(input=..., output=...)}}"
        f" or GODWIT_PRICES={model}=INPUT/OUTPUT, or let its steps count as nothing with unpriced='allow'"
    )


def _unpriced(budget: Budget, spent: Spent, problem: str, model: str, state: State) -> BudgetDecision:
    """A limit in money, and a model of which nobody knows what it costs."""
    limit = budget.usd or 0.0
    if budget.unpriced == "deny":
        return BudgetDecision("deny", "usd", spent.usd, limit, problem, budget.scope)
    resource = f"price of {model}"
    if (budget.scope, resource, limit) in state.warned:
        return ALLOWED
    reason = f"the price of model {model!r} is not known: its steps count as nothing"
    return BudgetDecision("warn", resource, spent.usd, limit, reason, budget.scope)


__all__ = [
    "QUESTION",
    "Budgets",
    "Guards",
    "check_answer",
    "exhausted",
    "new",
    "raise_of",
    "refusal",
]
