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

Rules a change must keep: what was spent is read from the log and the store, never kept here; a guard that raises, hangs or
answers nonsense denies, and never holds up an interrupt; where nothing is limited, nothing is read or waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
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
from ..core.errors import Fault, GodwitError, HeadMoved, InvalidArgument, KeyReused, SessionNotFound
from ..core.events import (
    ActionClosed,
    ActionOpened,
    BudgetExceeded,
    BudgetWarned,
    EventData,
    SessionConfigured,
    UserAnswer,
)
from ..core.ids import ActionId, Clock, IdSource, RunId, SessionId
from ..core.messages import AgentBlock, Assistant, Document, Image, Message, Text, Thinking, ToolCall, Usage
from ..core.state import State
from .cancel import WITHIN, Cancel
from .hooks import in_thread
from .log import append_outside

QUESTION: Final = "budget"
"""The name of the question that a run asks when a limit was met."""
_TREE_OF = "tree of "
GUARD_S = 5.0
"""How long a guard may take to answer."""
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_FILE = 1500
"""What an image or a document counts as in an estimate."""
_LEAST_MORE: dict[Resource, float] = {"tokens": 10_000, "usd": 1, "turns": 10, "tool_calls": 10, "time_s": 600}
"""What is offered beyond a limit of nothing."""
_REASON_LIMIT = 1000

Guards = Callable[[SessionId, RunId | None, AgentSpec, Sequence[SessionId]], Sequence[BudgetGuard]]
"""Who guards a run of a session in this process; the last ones are the sessions it works for, nearest first."""

Held = Callable[[AgentSpec, str | None], AgentSpec]
"""An agent as it is held, in a folder, to what the host's configuration says."""


class Means(Protocol):
    """Of the host's parts, what budgets need."""

    store: EventStore
    models: ModelRegistry
    clock: Clock
    ids: IdSource
    guards: Guards
    held: Held


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
        self._token = token
        self._state = state
        self._spec = spec
        self._asks = asks
        self._above: tuple[SessionId, ...] | None = None
        self._originals: dict[SessionId, Budget | None] = {}
        self._looked_up: set[str] = set()
        self._waved = False
        self._left: set[asyncio.Future[Any]] = set()
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
            failed = await self._told(guard, self._check(state, 0, None), usage)
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
            said = sum(_characters(block) for block in content) // CHARACTERS_PER_TOKEN
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
                found = await self._consulted(guard, point, self._check(state, estimate, tool))
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

    async def _consulted(self, guard: BudgetGuard, point: str, given: BudgetCheck) -> BudgetDecision:
        """What the guard says, or a denial when it says nothing that can be used."""
        method = getattr(guard, point, None)
        if method is None:
            return ALLOWED
        answer = await self._asked(method, given)
        if isinstance(answer, str):
            return BudgetDecision("deny", "guard", reason=f"the budget guard {answer}")
        return _checked(answer[0])

    async def _told(self, guard: BudgetGuard, given: BudgetCheck, usage: Usage) -> BudgetDecision | None:
        method = getattr(guard, "after_model", None)
        if method is None:
            return None
        answer = await self._asked(method, given, usage)
        if isinstance(answer, str):
            return BudgetDecision("deny", "guard", reason=f"the budget guard could not count a step: it {answer}")
        return None

    async def _asked(self, method: Callable[..., Any], *given: Any) -> tuple[Any] | str:
        """The guard's answer, or why there is none. It is cut off when its time is over, or the session is interrupted."""
        loop = asyncio.get_running_loop()
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, self._session)
        task = loop.create_task(_called(method, given), context=inside)
        self._left.add(task)
        task.add_done_callback(self._look_at)
        cut = loop.create_future()

        def cut_off() -> None:
            if not cut.done():
                cut.set_result(None)

        take_back = self._token.on_cancel(cut_off)
        try:
            await asyncio.wait([task, cut], timeout=GUARD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            take_back()
            late = not cut.done()
            cut.cancel()
            if not task.done():
                task.cancel()
        if not task.done():
            return f"did not answer within {GUARD_S:g} s" if late else "was cut off"
        if task.cancelled():
            return "cancelled itself"
        error = task.exception()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        if error is not None:
            return f"failed: {error.message if isinstance(error, GodwitError) else f'{type(error).__name__}: {error}'}"
        return (task.result(),)

    def _look_at(self, task: asyncio.Future[Any]) -> None:
        """Take note of how a guard that was left to itself ended, so that nobody complains of it."""
        self._left.discard(task)
        if not task.cancelled():
            task.exception()

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
            await self._raise_above(SessionId(scope.removeprefix(_TREE_OF)), by, question.action)
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

    async def _raise_above(self, session: SessionId, by: dict[Resource, float], action: ActionId) -> None:
        """Raise the limit of a session this one works for, once for this answer."""
        store = self._parts.store
        while True:
            try:
                head = (await store.session(session)).head
                found = await tree_budget(store, session, self._parts.held)
                if found is None:
                    return
                given, _ = await configured_budgets(store, session)
                data = SessionConfigured(budgets=in_force(given, [raised(found[0], by)]), raised_by=action)
                await append_outside(store, session, [data], self._parts.clock, key=f"raised:{action}", expect=head)
                return
            except HeadMoved:
                continue
            except (KeyReused, SessionNotFound):
                return  # it was done before this process came to it; or there is nothing left to raise


# --- of other sessions ------------------------------------------------------------------------------------------------


async def configured_budgets(store: EventStore, session: SessionId) -> tuple[tuple[Budget, ...], tuple[Budget, ...]]:
    """The budgets of a session as they are set now, and as they were before answers raised them. SessionNotFound."""
    now: tuple[Budget, ...] | None = None
    for event in await store.read(session, types=("session.configured",), newest_first=True):
        data = event.data
        if isinstance(data, SessionConfigured) and data.budgets is not None:
            now = data.budgets if now is None else now
            if data.raised_by is None:
                return now, data.budgets
    return now or (), ()


async def tree_budget(store: EventStore, session: SessionId, held: Held) -> tuple[Budget, Budget | None] | None:
    """What a session and all that work for it may spend, now and originally; None without a limit."""
    try:
        row = await store.session(session)
        given, original = await configured_budgets(store, session)
    except SessionNotFound:
        return None
    _, stored = await store.get_agent(row.agent.name, row.agent.version)
    spec = held(stored, row.workspace)
    now, before = (
        next((b for b in in_force(spec.budgets, layer) if b.scope == "tree"), None) for layer in (given, original)
    )
    return (now, before) if now is not None and now.limits else None


# --- pieces ---------------------------------------------------------------------------------------------------------


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


def estimated_tokens(messages: Sequence[Message], more: Iterable[Any], fixed: Callable[[], int]) -> int:
    """Tokens of a request: what the last answer was counted as, and a quarter of the characters that came since.

    `more`: blocks that are to be added. `fixed`: characters of what goes with each request, for the first one.
    """
    characters = sum(_characters(block) for block in more)
    for message in reversed(messages):
        if isinstance(message, Assistant) and message.complete and message.usage.input_tokens:
            return message.usage.total_tokens + characters // CHARACTERS_PER_TOKEN
        characters += sum(_characters(block) for block in message.content)
    return (characters + fixed()) // CHARACTERS_PER_TOKEN


def _characters(block: object) -> int:
    match block:
        case Text() | Thinking():
            return len(block.text)
        case ToolCall():
            return len(block.name) + len(msgspec.json.encode(block.arguments))
        case Image() | Document():
            return TOKENS_PER_FILE * CHARACTERS_PER_TOKEN
        case _:
            return 0


_GRAVITY = {verdict: place for place, verdict in enumerate(("allow", "warn", "ask", "deny"))}


def _graver(one: BudgetDecision, other: BudgetDecision) -> BudgetDecision:
    return other if _GRAVITY[other.verdict] > _GRAVITY[one.verdict] else one


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


def _checked(answer: object) -> BudgetDecision:
    """A guard's answer as it can be stored, or a denial when it is none."""
    if not isinstance(answer, BudgetDecision):
        return BudgetDecision("deny", "guard", reason=f"the budget guard answered {answer!r:.200}, not a BudgetDecision")
    numbers: tuple[object, ...] = (answer.consumed, answer.limit)
    texts: tuple[object, ...] = (answer.resource, answer.reason)
    sound = (
        answer.verdict in _GRAVITY
        and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        and all(isinstance(t, str) and _is_text(t) for t in texts)
    )
    if not sound:
        return BudgetDecision("deny", "guard", reason=f"the budget guard answered nonsense: {answer!r:.200}")
    if answer.verdict == "allow":
        return ALLOWED
    return msgspec.structs.replace(answer, scope="guard", reason=answer.reason[:_REASON_LIMIT])


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _called(method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """What the guard's method answers. One that is no coroutine function runs in a thread, so that it blocks nobody."""
    if inspect.iscoroutinefunction(method):
        return await method(*given)
    answer, failure = await in_thread(lambda: method(*given))
    if failure is not None:
        raise failure
    return await answer if inspect.isawaitable(answer) else answer


__all__ = [
    "GUARD_S",
    "QUESTION",
    "Budgets",
    "Guards",
    "check_answer",
    "configured_budgets",
    "estimated_tokens",
    "exhausted",
    "new",
    "raise_of",
    "refusal",
    "tree_budget",
]
