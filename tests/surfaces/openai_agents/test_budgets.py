"""Budgets over the protocol: `spend_control`, limits that an agent has from elsewhere, and what is asked for more."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import godwit
from godwit.core.budget import Price
from godwit.core.messages import Usage
from godwit.models.script import call, end, say
from tests.surfaces.server.process import serving, setup
from tests.surfaces.server.running import RunningServer

from .conftest import NONE, Shared, Start, client_of

PRICES = {"scripted:any": Price(input=10, output=20)}
STEP = end(usage=Usage(1000, 500, requests=1))
"""Two cents, 1500 tokens."""
SCRIPT = [call("look") + STEP, call("look") + STEP, say("Done.") + STEP] * 8


@godwit.tool
def look() -> str:
    """Look around."""
    return "nothing new"


def agent_of(url: str, **budget: Any) -> str:
    """An agent with this budget, put through godwit's own API."""
    body = {"models": ["scripted:any"], "tools": ["look"], "budgets": [budget] if budget else []}
    with httpx2.Client(base_url=url) as client:
        made = client.put("/godwit/v1/agents/scout", json=body)
    assert made.status_code == 200, made.text
    found: str = made.json()["id"]
    return found


class Paid:
    """One session of such an agent."""

    def __init__(self, client: openai.OpenAI, agent: str, *, limit: int | None = None) -> None:
        self.client = client
        body = None if limit is None else {"spend_control": {"limit": limit}}
        made = client.beta.agents.sessions.create(agent_id=agent, environment=NONE, extra_body=body)
        self.id = made.id

    @property
    def shown(self) -> Any:
        return self.client.beta.agents.sessions.retrieve(self.id)

    @property
    def money(self) -> Any:
        return self.shown.to_dict().get("spend_control")

    def allow(self, limit: int | None) -> Any:
        control = None if limit is None else {"limit": limit}
        updated = self.client.beta.agents.sessions.update(self.id, extra_body={"spend_control": control})
        return updated.to_dict().get("spend_control")

    def say(self) -> str:
        """Say something and wait until the session is idle or asks; its status."""
        message: Any = {"role": "user", "content": [{"type": "input_text", "text": "Go."}]}
        with self.client.beta.agents.sessions.events.stream(self.id) as stream:
            event: Any = {"type": "agent.session.input.message", "input": [message]}
            self.client.beta.agents.sessions.events.create(self.id, events=[event])
            return self._rests(stream, behind="agent.session.turn.created")

    def answer(self, decision: str) -> str:
        """Answer what it asks, and wait likewise."""
        (asked,) = self.shown.required_actions
        with self.client.beta.agents.sessions.events.stream(self.id) as stream:
            event: Any = {"type": "agent.session.input.mcp_approval_request_result", "request_id": asked.request_id}
            event["response"] = {"type": "mcp_tool_call", "decision": decision}
            self.client.beta.agents.sessions.events.create(self.id, events=[event])
            return self._rests(stream, behind="agent.session.in_progress")

    def _rests(self, stream: Any, behind: str) -> str:
        heard = []
        for event in stream:
            heard.append(event.type)
            if behind in heard and event.type in ("agent.session.idle", "agent.session.requires_action"):
                return str(event.type.removeprefix("agent.session."))
        raise AssertionError(heard)

    def turns(self) -> list[Any]:
        """Its turns so far, each with how it ended and by what error."""
        turns = self.client.beta.agents.sessions.turns.list(self.id, order="asc")
        return [(one.status, None if one.error is None else one.error.code) for one in turns]


LIMITED = ("failed", "usage_limit_exceeded")
DONE = ("completed", None)


def started(start: Start) -> RunningServer:
    return start(*SCRIPT, prices=PRICES, tools=[look])


def test_a_session_is_held_to_its_spend_control(start: Start) -> None:
    server = started(start)
    session = Paid(client_of(server), agent_of(server.url), limit=4)
    assert session.money == {"limit": 4, "consumed": 0}
    assert session.say() == "idle"
    assert session.turns() == [LIMITED]
    assert session.money == {"limit": 4, "consumed": 4}
    assert session.allow(100) == {"limit": 100, "consumed": 4}
    assert session.say() == "idle"
    assert session.turns() == [LIMITED, DONE]
    assert session.money == {"limit": 100, "consumed": 6}
    assert session.allow(None) is None
    assert session.say() == "idle"
    assert session.turns() == [LIMITED, DONE, DONE]


def test_what_else_limits_the_session_stays(start: Start) -> None:
    server = started(start)
    session = Paid(client_of(server), agent_of(server.url, turns=1), limit=100)
    session.say()
    session.allow(None)
    session.say()
    assert session.turns() == [LIMITED, LIMITED]


@pytest.mark.parametrize("limit", [{"tokens": 3000}, {"usd": 0.04}, {"turns": 2}, {"tool_calls": 1}, {"time_s": 1e-4}])
def test_a_limit_of_the_agent_ends_the_turn(start: Start, limit: dict[str, Any]) -> None:
    server = started(start)
    session = Paid(client_of(server), agent_of(server.url, **limit))
    assert (session.money is None) is ("usd" not in limit)
    assert session.say() == "idle"
    assert session.turns() == [LIMITED]


def test_a_person_is_asked_for_more(start: Start) -> None:
    server = started(start)
    session = Paid(client_of(server), agent_of(server.url, turns=2, on_limit="ask"))
    assert session.say() == "requires_action"
    (asked,) = session.shown.required_actions
    assert asked.request.message == "Budget: 2 of 2 turns spent. Approve to allow 2 turns more."
    assert session.answer("approve") == "idle"
    assert session.say() == "requires_action"
    assert session.answer("cancel") == "idle"
    assert session.turns() == [DONE, LIMITED]


def test_money_that_is_asked_for_may_be_given_by_either_protocol(start: Start) -> None:
    server = started(start)
    session = Paid(client_of(server), agent_of(server.url, usd=0.02, on_limit="ask"))
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as other:
        assert session.say() == "requires_action"
        with session.client.beta.agents.sessions.events.stream(session.id) as stream:
            assert session.allow(50) == {"limit": 50, "consumed": 2}
            assert session._rests(stream, "agent.session.in_progress") == "idle"
        assert session.turns() == [DONE]
        assert other.beta.sessions.retrieve(session.id).budget.max_list_cost.amount == "50"  # type: ignore[union-attr]
        budget: Any = {"type": "limit", "max_list_cost": {"amount": "75", "currency": "USD"}}
        other.beta.sessions.update(session.id, budget=budget)
        assert session.money == {"limit": 75, "consumed": 6}


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


def test_what_was_set_and_what_is_asked_holds_through_a_kill(tmp_path: Path) -> None:
    flags = ("--setup", setup(tmp_path, SETUP), "--model", "*=scripted:any")
    with serving(tmp_path, *flags) as process, openai.OpenAI(base_url=f"{process.url}/v1", api_key="any") as client:
        limited = Paid(client, agent_of(process.url), limit=2)
        limited.say()
        asking = Paid(client, agent_of(process.url, turns=2, on_limit="ask"))
        assert asking.say() == "requires_action"
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path, *flags) as process, openai.OpenAI(base_url=f"{process.url}/v1", api_key="any") as client:
        limited.client = asking.client = client
        assert limited.money == {"limit": 2, "consumed": 2}
        assert limited.say() == "idle"
        assert limited.turns() == [LIMITED, LIMITED]
        limited.allow(100)
        assert limited.say() == "idle"
        assert limited.turns() == [LIMITED, LIMITED, DONE]
        assert asking.answer("approve") == "idle"
        assert asking.turns() == [DONE]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_what_is_no_limit_is_refused(shared: Shared, limit: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="spend_control"):
        shared.client.beta.agents.sessions.create(
            agent={"model": "m"}, environment=NONE, extra_body={"spend_control": {"limit": limit}}
        )
