"""The arithmetic of budgets: the edges of a limit, one warning per limit, and what people write for one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from godwit.core.budget import (
    MODEL_STEP,
    RESOURCES,
    TOOL_STEP,
    Budget,
    BudgetDecision,
    Price,
    Resource,
    Spent,
    Warned,
    amount,
    amounts_of,
    budget_from_table,
    budgets_of,
    check,
    in_force,
    raised,
    share,
)
from godwit.core.errors import ConfigurationError, InvalidArgument
from godwit.core.messages import Usage

WHOLE = ("tokens", "turns", "tool_calls")


def budget(resource: str, limit: float, **rest: Any) -> Budget:
    given: dict[str, Any] = {resource: limit, **rest}
    return Budget(**given)


def spent(resource: str, value: float) -> Spent:
    return Spent(**{resource: value})  # type: ignore[arg-type]  # whole numbers where they must be


def stops(decision: BudgetDecision) -> bool:
    return decision.verdict in ("deny", "ask")


# --- the edges of a limit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize(
    ("used", "coming", "allowed"),
    [
        (0, 0, True),
        (9, 0, True),
        (9, 1, True),  # it reaches the limit exactly
        (9, 2, False),  # it is known to go beyond
        (10, 0, False),  # it would begin at the limit
        (11, 0, False),
        (0, 10, True),
        (0, 11, False),
    ],
)
def test_the_edges_of_a_limit(resource: str, used: int, coming: int, allowed: bool) -> None:
    decision = check(budget(resource, 10), spent(resource, used), spent(resource, coming))
    assert stops(decision) is not allowed
    if not allowed:
        assert (decision.verdict, decision.resource, decision.consumed, decision.limit) == ("deny", resource, used, 10)
        assert decision.scope == "session"


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_limit_of_nothing_allows_nothing(resource: str) -> None:
    assert check(budget(resource, 0), Spent()).verdict == "deny"
    assert check(budget(resource, 0, on_limit="ask"), Spent()).verdict == "ask"


def test_sums_of_money_reach_their_limit_although_they_are_floats() -> None:
    assert sum([0.1] * 10) < 1
    assert stops(check(Budget(usd=1), Spent(usd=sum([0.1] * 10))))
    assert not stops(check(Budget(usd=0.3), Spent(usd=0.1), Spent(usd=0.2)))
    assert 0.1 + 0.2 > 0.3


def test_a_step_is_judged_by_what_it_spends() -> None:
    full = Budget(tokens=10, tool_calls=1)
    assert check(full, Spent(tokens=10), step=TOOL_STEP).verdict == "allow"
    assert check(full, Spent(tokens=10), step=MODEL_STEP).resource == "tokens"
    assert check(full, Spent(tool_calls=1), step=MODEL_STEP).verdict == "allow"
    assert check(full, Spent(tool_calls=1), step=TOOL_STEP).resource == "tool_calls"


def test_the_reason_says_what_was_spent_and_what_was_needed() -> None:
    assert check(Budget(tokens=1000), Spent(tokens=1234)).reason == "1,234 of 1,000 tokens spent"
    before = check(Budget(usd=2), Spent(usd=1.5), Spent(usd=0.7512))
    assert before.reason == "$1.50 of $2.00 spent, and the next step needs $0.7512"
    assert check(Budget(time_s=60), Spent(time_s=61.25)).reason == "61.2 s of 60.0 s spent"


def test_amounts_are_told_with_their_units() -> None:
    told = [
        amount("usd", 5),
        amount("usd", 0.000123),
        amount("tokens", 1e6),
        amount("tool_calls", 3),
        amount("time_s", 3600),
    ]
    assert told == ["$5.00", "$0.000123", "1,000,000 tokens", "3 tool calls", "60 min"]
    assert (amount("euros", 7), amount("turns", 1), share("turns", 0, 1)) == ("7 euros", "1 turn", "0 of 1 turn")


limits = st.one_of(st.none(), st.integers(0, 1000))
values = st.integers(0, 1100)
spendings = st.builds(Spent, tokens=values, usd=values, turns=values, tool_calls=values, time_s=values)
budgets = st.builds(
    Budget,
    tokens=limits,
    usd=limits,
    turns=limits,
    tool_calls=limits,
    time_s=limits,
    soft=st.floats(0.05, 1),
    on_limit=st.sampled_from(["stop", "ask"]),
    scope=st.sampled_from(["session", "tree"]),
)


@given(budgets, spendings, spendings, spendings)
def test_who_has_spent_more_is_allowed_no_more(limit: Budget, used: Spent, more: Spent, about: Spent) -> None:
    assert stops(check(limit, used, about)) <= stops(check(limit, used + more, about))
    assert stops(check(limit, used, about)) <= stops(check(limit, used, about + more))


@given(budgets, spendings, spendings, st.dictionaries(st.sampled_from(RESOURCES), st.integers(0, 500)))
def test_who_may_spend_more_is_allowed_no_less(limit: Budget, used: Spent, about: Spent, by: dict[Resource, float]) -> None:
    higher = raised(limit, by)
    assert stops(check(higher, used, about)) <= stops(check(limit, used, about))
    assert {name: higher.limits[name] - value for name, value in limit.limits.items()} == {
        name: by.get(name, 0) for name in limit.limits
    }
    assert (higher.scope, higher.soft, higher.on_limit) == (limit.scope, limit.soft, limit.on_limit)


@given(budgets, st.lists(st.tuples(spendings, spendings), max_size=30))
def test_a_limit_is_passed_by_no_more_than_the_surprise_of_one_step(limit: Budget, steps: list[tuple[Spent, Spent]]) -> None:
    """Each step is estimated and then costs its estimate and something more, which nobody knew."""
    used, surprise = Spent(), Spent()
    for estimate, unknown in steps:
        if stops(check(limit, used, estimate)):
            break
        used, surprise = used + estimate + unknown, unknown
    for name, value in limit.limits.items():
        assert used.of(name) <= value + surprise.of(name)


@given(budgets, st.lists(spendings, max_size=20))
def test_each_limit_warns_at_most_once_and_never_instead_of_stopping(limit: Budget, steps: list[Spent]) -> None:
    warned: list[Warned] = []
    used = Spent()
    for about in steps:
        decision = check(limit, used, about, warned=warned)
        silent = check(limit, used, about, warned=[(limit.scope, n, v) for n, v in limit.limits.items()])
        assert stops(decision) == stops(silent)
        if decision.verdict == "warn":
            key = (decision.scope, decision.resource, decision.limit)
            assert key not in warned
            assert decision.consumed >= limit.soft * decision.limit - 1e-6
            warned.append(key)
        if stops(decision):
            break
        used = used + about


def test_soft_limits_warn_from_their_share_on_and_again_when_the_limit_was_raised() -> None:
    limit = Budget(usd=10, soft=0.5)
    assert check(limit, Spent(usd=4.9)).verdict == "allow"
    first = check(limit, Spent(usd=4.9), Spent(usd=0.1))
    assert (first.verdict, first.resource, first.consumed, first.limit) == ("warn", "usd", 5.0, 10)
    assert first.reason == "$5.00 of $10.00"
    told = [("session", "usd", 10.0)]
    assert check(limit, Spent(usd=9), warned=told).verdict == "allow"
    assert check(raised(limit, {"usd": 5}), Spent(usd=9), warned=told).verdict == "warn"


def test_two_limits_warn_one_after_the_other() -> None:
    limit, used = Budget(tokens=10, turns=10), Spent(tokens=9, turns=9)
    assert check(limit, used).resource == "tokens"
    assert check(limit, used, warned=[("session", "tokens", 10.0)]).resource == "turns"


# --- which budgets count --------------------------------------------------------------------------------------------


def test_of_one_scope_the_last_layer_counts() -> None:
    agent = (Budget(usd=1), Budget(usd=9, scope="tree"))
    assert in_force(agent) == agent
    assert in_force(agent, [Budget(turns=3)]) == (Budget(turns=3), Budget(usd=9, scope="tree"))
    assert in_force((), ()) == ()


# --- what people write ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, "5", True, [], {}, 1 + 0j])
def test_a_limit_that_is_no_amount_is_refused(resource: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"budget {resource}=.*0 or more"):
        Budget(**{resource: value})
    with pytest.raises(ConfigurationError, match=f"coder.budget: {resource}=.*0 or more"):
        budget_from_table({resource: value}, where="coder.budget")
    with pytest.raises(InvalidArgument, match=f"{resource}=.*must be"):
        amounts_of({resource: value})


@pytest.mark.parametrize("resource", WHOLE)
def test_things_are_counted_in_whole_numbers(resource: str) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        Budget(**{resource: 1.5})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="whole number"):
        budget_from_table({resource: 1.5})
    with pytest.raises(InvalidArgument, match="whole number"):
        amounts_of({resource: 1.5})
    assert getattr(budget_from_table({resource: 1e6}), resource) == 1_000_000


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"usdd": 5}, "unknown usdd; known are tokens, usd"),
        ({"soft": 0}, "soft=0 must be more than 0"),
        ({"soft": 1.1}, "soft=1.1 must be more than 0 and at most 1"),
        ({"soft": "much"}, "soft='much'"),
        ({"soft": math.nan}, "soft=nan"),
        ({"scope": "world"}, "scope='world' must be session or tree"),
        ({"on_limit": "pray"}, "on_limit='pray' must be stop or ask"),
        ({"unpriced": 1}, "unpriced=1 must be deny or allow"),
        ([], r"\[\] is no table"),
    ],
)
def test_a_table_that_is_no_budget_is_refused(table: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"agents.coder.budget: {said}"):
        budget_from_table(table, where="agents.coder.budget")


def test_budgets_in_the_forms_people_write_them() -> None:
    assert budgets_of(None) == ()
    assert budgets_of(Budget(usd=5)) == (Budget(usd=5),)
    assert budgets_of({"usd": 5, "on_limit": "ask"}) == (Budget(usd=5, on_limit="ask"),)
    both = budgets_of([{"usd": 5}, Budget(usd=20, scope="tree")])
    assert both == (Budget(usd=5), Budget(usd=20, scope="tree"))
    with pytest.raises(ConfigurationError, match="one budget per scope"):
        budgets_of([{"usd": 5}, {"turns": 5}])
    for wrong in ("usd=5", 5, [5], [["usd", 5]]):
        with pytest.raises(ConfigurationError):
            budgets_of(wrong)  # type: ignore[arg-type]


def test_amounts_name_what_is_unknown() -> None:
    assert amounts_of({"usd": 5, "tokens": 1e3}) == {"usd": 5, "tokens": 1000}
    with pytest.raises(InvalidArgument, match="budget: unknown resource 'euros'; known are tokens, usd"):
        amounts_of({"euros": 5})


def test_a_budget_is_stored_and_read_back() -> None:
    whole = Budget(1, 2.5, 3, 4, 5.5, "tree", 0.5, "ask", "allow")
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Budget) == whole
    with pytest.raises(ConfigurationError):
        msgspec.json.decode(b'{"usd":-1}', type=Budget)


def test_prices_are_per_million_tokens() -> None:
    price = Price(3, 15, cache_read=0.3, cache_write=3.75)
    assert price.of(Usage(1_000_000, 0)) == 3
    assert price.of(Usage(0, 1_000_000)) == 15
    assert price.of(Usage(1_000_000, 0, 400_000, 100_000)) == pytest.approx(0.5 * 3 + 0.4 * 0.3 + 0.1 * 3.75)
    assert Price(2, 0).of(Usage(100, 0, 60, 40)) == pytest.approx(2e-4)
    for wrong in (-1, math.nan, math.inf, "3"):
        with pytest.raises(ConfigurationError, match="price input"):
            Price(wrong, 1)  # type: ignore[arg-type]
