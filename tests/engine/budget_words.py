"""What the tests of budgets are written in: a guard that says what it is told to, a tool, and a run that has parked."""

from __future__ import annotations

from typing import Any

import godwit
from godwit.contracts import BudgetCheck
from godwit.core.budget import BudgetDecision
from godwit.core.events import ActionOpened
from godwit.core.messages import Usage
from godwit.engine.session import Session
from godwit.models.script import call
from tests.engine.conftest import until_type

ALLOW = BudgetDecision()


@godwit.tool
def look() -> str:
    """Look around."""
    return "nothing new"


class Guard:
    """Says to each question what it is told to say, and keeps what it was asked."""

    def __init__(self, model: Any = ALLOW, tool: Any = ALLOW, after: Any = None) -> None:
        self.answers = {"model": model, "tool": tool, "after": after}
        self.checks: list[BudgetCheck] = []
        self.tools: list[str | None] = []
        self.records: list[Usage] = []

    async def before_model(self, check: BudgetCheck) -> BudgetDecision:
        self.checks.append(check)
        return await self._say("model")

    async def before_tool(self, check: BudgetCheck) -> BudgetDecision:
        self.tools.append(check.tool)
        return await self._say("tool")

    async def after_model(self, check: BudgetCheck, usage: Usage) -> None:
        self.records.append(usage)
        await self._say("after")

    async def _say(self, point: str) -> BudgetDecision:
        answer: Any = self.answers[point]
        if callable(answer):
            answer = await answer()
        if isinstance(answer, BaseException):
            raise answer
        said: BudgetDecision = answer
        return said


DENY = BudgetDecision("deny", "calls", 3, 2, "enough for today")


def turns(n: int) -> list[Any]:
    """A script that looks n times and then answers."""
    return [*(call("look") for _ in range(n)), "done"]


async def parked(session: Session, from_seq: int = 0) -> ActionOpened:
    """The question of the run, once it is parked with it."""
    await until_type(session, "run.parked", from_seq)
    opened = [e for e in await session.events(from_seq) if isinstance(e.data, ActionOpened)]
    found = opened[-1].data
    assert isinstance(found, ActionOpened)
    return found
