"""Budgets over the protocol: each limit is met, told, held and raised, whoever has set it, also after a kill."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

import godwit
from godwit.core.budget import Price
from godwit.core.messages import Usage
from godwit.models.script import call, end, say
from tests.surfaces.server.process import serving, setup
from tests.surfaces.server.running import RunningServer

from .conftest import Start, client_of
from .talk import said

PRICES = {"scripted:any": Price(input=10, output=20)}
STEP = end(usage=Usage(1000, 500, requests=1))
"""Two cents, 1500 tokens."""
SCRIPT = [call("look") + STEP, call("look") + STEP, say("Done.") + STEP] * 8


@godwit.tool
def look() -> str:
    """Look around."""
    return "nothing new"


def cents(amount: int) -> Any:
    return {"type": "limit", "max_list_cost": {"amount": str(amount), "currency": "USD"}}


def agent_of(url: str, **budget: Any) -> str:
    """An agent with this budget, put through godwit's own API, since this protocol has no word for most limits."""
    body = {"models": ["scripted:any"], "tools": ["look"], "budgets": [budget] if budget else []}
    with httpx2.Client(base_url=url) as client:
        made = client.put("/godwit/v1/agents/scout", json=body)
    assert made.status_code == 200, made.text
    found: str = made.json()["id"]
    return found


class Paid:
    """One session of such an agent."""

    def __init__(self, client: anthropic.Anthropic, agent: str, **options: Any) -> None:
        self.client = client
        environment = client.beta.environments.create(name=f"for {agent}")
        self.id = client.beta.sessions.create(agent=agent, environment_id=environment.id, **options).id

    @property
    def shown(self) -> Any:
        return self.client.beta.sessions.retrieve(self.id)

    def say(self) -> None:
        self.client.beta.sessions.events.send(self.id, events=[said("Go.")])

    def stops(self) -> list[str]:
        """Why it has come to rest so far."""
        events = self.client.beta.sessions.events.list(self.id, types=["session.status_idle"])
        return [event.stop_reason.type for event in events]  # type: ignore[union-attr]

    def until(self, *stops: str) -> None:
        """Wait until it has come to rest so often, for these reasons."""
        with self.client.beta.sessions.events.stream(self.id, extra_query={"from_seq": "0"}) as stream:
            heard = []
            for event in stream:
                if event.type == "session.status_idle":
                    heard.append(event.stop_reason.type)
                if len(heard) == len(stops):
                    break
        assert heard == list(stops)

    def refused(self) -> str:
        """What is said to a message that is not taken."""
        with pytest.raises(anthropic.BadRequestError) as caught:
            self.say()
        return str(caught.value)


def started(start: Start) -> RunningServer:
    return start(*SCRIPT, prices=PRICES, tools=[look])


LIMITS: list[tuple[dict[str, Any], str]] = [
    ({"tokens": 3000}, "tokens"),
    ({"turns": 2}, "turns"),
    ({"time_s": 1e-4}, "time"),
    ({"usd": 0.04}, "raise it first"),
]


@pytest.mark.parametrize(("limit", "word"), LIMITS)
@pytest.mark.parametrize("on_limit", ["stop", "ask"])
def test_a_limit_of_the_agent_is_told_and_holds(start: Start, limit: dict[str, Any], word: str, on_limit: str) -> None:
    server = started(start)
    with client_of(server) as client:
        session = Paid(client, agent_of(server.url, **limit, on_limit=on_limit))
        assert (session.shown.budget is None) is ("usd" not in limit)
        session.say()
        session.until("budget_reached")
        assert session.shown.status == "idle"
        if limit != {"tokens": 3000}:  # there the next step was too large, and a small message need not be
            assert word in session.refused()
        assert session.stops() == ["budget_reached"]


def test_a_limit_of_calls(start: Start) -> None:
    server = started(start)
    with client_of(server) as client:
        session = Paid(client, agent_of(server.url, tool_calls=1))
        session.say()
        session.until("budget_reached")
        results: Any = client.beta.sessions.events.list(session.id, types=["agent.tool_result"])
        assert [one.is_error for one in results] == [False, True]


def test_a_message_lifts_no_limit_and_a_new_limit_keeps_the_others(start: Start) -> None:
    server = started(start)
    with client_of(server) as client:
        session = Paid(client, agent_of(server.url, usd=0.04, turns=5, on_limit="ask"))
        assert session.shown.budget.to_dict(mode="json") == cents(4)
        session.say()
        session.until("budget_reached")
        assert "raise it first" in session.refused()
        assert client.beta.sessions.update(session.id, budget=cents(100)).budget == anthropic_limit(100)
        session.until("budget_reached", "end_turn")
        session.say()
        session.until("budget_reached", "end_turn", "budget_reached")
        assert "limits its turns" in session.refused()
        client.beta.sessions.update(session.id, budget=None)
        assert "limits its turns" in session.refused()
        client.beta.sessions.events.send(session.id, events=[{"type": "user.interrupt"}])
        session.until("budget_reached", "end_turn", "budget_reached", "end_turn")
        session.say()
        session.until("budget_reached", "end_turn", "budget_reached", "end_turn", "budget_reached")


def anthropic_limit(amount: int) -> Any:
    from anthropic.types.beta import BetaManagedAgentsBudgetLimit

    return BetaManagedAgentsBudgetLimit.model_validate(cents(amount))


def test_a_limit_above_is_none_of_the_sessions(start: Start) -> None:
    server = started(start)
    with client_of(server) as client:
        session = Paid(client, agent_of(server.url, usd=0.02, scope="tree", on_limit="ask"))
        assert session.shown.budget is None
        session.say()
        session.until("budget_reached")
        client.beta.sessions.update(session.id, budget=cents(100))
        assert "limits its money" in session.refused()


def test_a_run_that_was_stopped_is_over_and_the_session_goes_on(start: Start) -> None:
    """An agent whose budget stops its runs has it so; the session takes messages again when the limit is raised."""
    server = started(start)
    with client_of(server) as client:
        session = Paid(client, agent_of(server.url, usd=0.04))
        session.say()
        session.until("budget_reached")
        assert "raise it first" in session.refused()
        client.beta.sessions.update(session.id, budget=cents(100))
        session.say()
        session.until("budget_reached", "end_turn")


SETUP = textwrap.dedent("""
    import godwit
    from godwit.core.messages import Usage
    from godwit.models.script import ScriptedModel, call, end, say

    @godwit.tool
    def look() -> str:
        "Look around."
        return "nothing new"

    def runtime():
        step = end(usage=Usage(1000, 500, requests=1))
        model = ScriptedModel([call("look") + step, call("look") + step, say("Done.") + step], "scripted:any")
        return {"models": {"scripted:any": model}, "prices": {"scripted:any": godwit.Price(10, 20)}, "tools": [look]}
""")


@pytest.mark.parametrize("taken_away", [False, True])
def test_what_waits_for_money_waits_through_a_kill(tmp_path: Path, taken_away: bool) -> None:
    flags = ("--setup", setup(tmp_path, SETUP), "--model", "*=scripted:any")
    with serving(tmp_path, *flags) as process, anthropic.Anthropic(base_url=process.url, api_key="any") as client:
        session = Paid(client, agent_of(process.url), budget=cents(2))
        session.say()
        session.until("budget_reached")
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path, *flags) as process, anthropic.Anthropic(base_url=process.url, api_key="any") as client:
        session.client = client
        assert (session.shown.status, session.shown.usage.list_cost.amount, session.stops()) == (
            "idle",
            "2",
            ["budget_reached"],
        )
        assert "raise it first" in session.refused()
        client.beta.sessions.update(session.id, budget=None if taken_away else cents(50))
        session.until("budget_reached", "end_turn")
        assert session.shown.usage.list_cost.amount == "6"
