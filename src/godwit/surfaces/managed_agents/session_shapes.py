"""Bodies of sessions on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from .agent_shapes import Model, Skills, System
from .shapes import Shape
from .tool_shapes import Servers, Tools

TITLE, INITIAL = 2048, 50


class AgentReference(Shape):
    type: Literal["agent"]
    id: str
    version: int | None = None


class AgentWithOverrides(Shape):
    """What is left out is the agent's; a list or a text that is null is cleared."""

    type: Literal["agent_with_overrides"]
    id: str
    version: int | None = None
    model: Model = ""
    system: System | None = None
    tools: Tools | None = None
    mcp_servers: Servers | None = None
    skills: Skills | None = None


class Amount(Shape):
    """In cents."""

    amount: Annotated[str, pydantic.Field(pattern=r"^(0|[1-9][0-9]{0,11})$")]
    currency: Literal["USD"]


class BudgetLimit(Shape):
    type: Literal["limit"]
    max_list_cost: Amount


Agent = Annotated[AgentReference | AgentWithOverrides, pydantic.Field(discriminator="type")]
Title = Annotated[str, pydantic.Field(max_length=TITLE)]


class SessionCreate(Shape):
    agent: str | Agent
    environment_id: str
    title: Title | None = None
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)
    initial_events: list[dict[str, Any]] | None = None
    vault_ids: list[str] | None = None
    resources: list[dict[str, Any]] | None = None
    budget: BudgetLimit | None = None


class AgentPart(Shape):
    tools: Tools | None = None
    mcp_servers: Servers | None = None


class SessionUpdate(Shape):
    """What is left out stays as it is."""

    title: Title | None = None
    metadata: dict[str, str | None] | None = None
    agent: AgentPart | None = None
    budget: BudgetLimit | None = None
    vault_ids: list[str] | None = None


def usd_of(given: BudgetLimit | None) -> float | None:
    """The limit in USD."""
    return None if given is None else int(given.max_list_cost.amount) / 100


def shown_budget(usd: float | None) -> dict[str, Any] | None:
    """The limit in money that holds for a session, as it is shown; None without one."""
    return None if usd is None else {"type": "limit", "max_list_cost": dollars(usd)}


def dollars(usd: float) -> dict[str, str]:
    """An amount as it is shown, in whole cents."""
    return {"amount": str(round(usd * 100)), "currency": "USD"}
