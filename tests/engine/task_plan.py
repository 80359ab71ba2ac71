"""Plans: what an agent is to do, written into its prompt, so that a walk over subagents may hand out anything.

A prompt `PLAN:[...]` is a list of steps, one for each answer of the model: `["say", text]`, `["touch"]` (a tool that asks),
`["fail"]`, `["hold", name]` (the answer comes when it is released), `["task", [plan, ...], background]`. Behind
the last one, and for all that comes without a plan, it says "heard".
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import ModelRefused
from godwit.core.messages import Assistant, User, text_of
from godwit.models.script import Reply, ScriptedModel, ScriptTurn, call, fail, hold, say

Plan = list[Any]
MAX_CHILDREN = 4
AGENTS = ("boss", "worker", "helper")
"""Each hands tasks to the next one."""


def prompt(plan: Plan) -> str:
    return f"PLAN:{json.dumps(plan)}"


def plan_of(request: ModelRequest) -> tuple[Plan, int]:
    """The newest plan, and how many answers were given since."""
    given = 0
    for entry in reversed(request.entries):
        match entry.message:
            case User(content=content) if text_of(content).startswith("PLAN:"):
                plan: Plan = json.loads(text_of(content).partition("\n")[0][5:])
                return plan, given
            case Assistant():
                given += 1
            case _:
                pass
    return [], given


class Stage:
    """The agents, and what they wait for."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.holding: set[str] = set()
        """The sessions whose model waits to be released."""
        self.touched: list[tuple[str, int]] = []
        """The calls that had their effect, by key, and with what."""

    def models(self) -> dict[str, ScriptedModel]:
        return {
            f"scripted:{name}": ScriptedModel([self._turn(n)], f"scripted:{name}", select=lambda _: 0)
            for n, name in enumerate(AGENTS)
        }

    def agent(self) -> godwit.Agent:
        @godwit.tool
        async def touch(n: int, ctx: godwit.ToolContext) -> str:
            """Have an effect."""
            self.touched.append((ctx.key, n))
            return f"touched {n}"

        below: list[godwit.Agent] = []
        for name in reversed(AGENTS):
            made = godwit.Agent(
                name,
                model=f"scripted:{name}",
                tools=[touch],
                permissions={"touch": "ask"},
                subagents=below,
                limits=godwit.Limits(max_children=MAX_CHILDREN),
            )
            below = [made]
        return below[0]

    def release(self, name: str) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()

    def release_all(self) -> None:
        for gate in self.gates.values():
            gate.set()

    def _turn(self, level: int) -> Any:
        def answer(request: ModelRequest) -> ScriptTurn:
            plan, given = plan_of(request)
            step = plan[given] if given < len(plan) else ["say", "heard"]
            match step:
                case ["say", text]:
                    return say(text)
                case ["touch"]:
                    return call("touch", id=f"c{request.message}", n=given)
                case ["fail"]:
                    return fail(ModelRefused("not that"))
                case ["hold", name]:
                    return self._hold(request.session, name)
                case ["task", plans, background] if level + 1 < len(AGENTS):
                    tasks = [{"agent": AGENTS[level + 1], "prompt": prompt(list(one))} for one in plans]
                    return call("task", id=f"c{request.message}", tasks=tasks, background=background)
                case _:
                    return say("nobody to ask")

        return answer

    def _hold(self, session: str, name: str) -> Reply:
        gate = self.gates.setdefault(name, asyncio.Event())
        return hold(gate, reached=_Reached(self.holding, session)) + say(f"released {name}")


class _Reached(asyncio.Event):
    """Tells which session has come to it."""

    def __init__(self, holding: set[str], session: str) -> None:
        super().__init__()
        self._holding, self._session = holding, session

    def set(self) -> None:
        self._holding.add(self._session)
        super().set()
