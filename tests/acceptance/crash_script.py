"""The scripted session of the crash test, run as a process of its own that can kill itself at any one point.

    python -m tests.acceptance.crash_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append, `effect` between a tool's effect and its record, `chunk` while the
model streams. The same command again goes on from the log.

The client's part is written as a client must write it: each input has an idempotency key and is sent again after a crash,
and what was acknowledged is noted in a file that outlives the process, as is each effect and each question to the model.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import godwit
from godwit.contracts import HookCall, ModelChunk, ModelRequest
from godwit.core.events import ActionOpened, RunFinished, ToolStarted
from godwit.core.hooks import HookMatcher, HookResult, HookSpec
from godwit.engine.hook import Hook
from godwit.engine.session import Session
from godwit.models.script import Script, ScriptedModel, call
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point

SESSION = "ses_crash"
MODEL = "scripted:test"
EDITED = 7
"""What the person makes of the 5 that the model wants to pay."""
SCRIPT: Script = [
    call("bump", name="a") + call("bump", name="b") + call("peek", name="a"),
    call("bump", name="c"),
    call("pay", amount=5) + call("peek", name="b"),
    call("meet", place="bridge") + call("bump", name="d"),
    call("bump", name="e") + call("bump", name="f") + call("peek", name="c") + call("peek", name="d"),
    "The steer is answered, the work is done.",
    call("bump", name="g"),
    call("bump", name="h") + call("peek", name="g") + call("peek", name="h"),
    call("bump", name="i"),
    "The follow-up is done as well, at some length, so that there is something to cut.",
]


class Ledger:
    """What outlives the process: one JSON line per fact, on disk before the next thing happens."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, kind: str, **facts: Any) -> None:
        os.write(self._file, json.dumps({"kind": kind, "pid": os.getpid(), **facts}).encode() + b"\n")


class DyingModel(ScriptedModel):
    """The scripted model, in mid-stream of which the process may die."""

    point: Point
    ledger: Ledger

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        answered = sum(1 for e in request.entries if type(e.message).__name__ == "Assistant")
        self.ledger.note("asked", place=answered)
        async for chunk in super().stream(request):
            self.point.here("chunk")
            yield chunk


def make_agent(point: Point, ledger: Ledger, met: asyncio.Event) -> godwit.Agent:
    def effect(ctx: godwit.ToolContext, name: str) -> None:
        ledger.note("effect", call=ctx.call, name=name, key=ctx.key)
        point.here("effect")

    @godwit.tool
    async def bump(name: str, ctx: godwit.ToolContext) -> str:
        """Has an effect that must not happen twice."""
        effect(ctx, f"bump {name}")
        return f"bumped {name}"

    @godwit.tool
    async def pay(amount: int, ctx: godwit.ToolContext) -> str:
        """Has an effect that must not happen twice, and needs an approval."""
        effect(ctx, f"pay {amount}")
        return f"paid {amount}"

    @godwit.tool(repeatable=True)
    async def peek(name: str, ctx: godwit.ToolContext) -> str:
        """May be repeated."""
        effect(ctx, f"peek {name}")
        return f"saw {name}"

    @godwit.tool(repeatable=True)
    async def meet(place: str, ctx: godwit.ToolContext) -> str:
        """May be repeated; waits for the client, who steers meanwhile."""
        await met.wait()
        effect(ctx, f"meet {place}")
        return f"met at {place}"

    return godwit.Agent("crash", model=MODEL, tools=[bump, pay, peek, meet], permissions={"pay": "ask"})


def make_hook(ledger: Ledger) -> Hook:
    """A gate before each bump, that notes whom it lets pass and changes one call's arguments."""

    async def gate(asked: HookCall) -> HookResult | None:
        ledger.note("let", call=asked.payload["call"])
        return HookResult(modified={"name": "renamed"}) if asked.payload["arguments"]["name"] == "i" else None

    return Hook(HookSpec("rename", "before_tool", HookMatcher(tool="bump")), gate)


async def client(session: Session, ledger: Ledger, met: asyncio.Event) -> None:
    """Prompt, steer, queue, approve: each at its moment, each again after a crash."""
    ledger.note("acknowledged", key="prompt", run=await session.prompt("Begin.", key="prompt"))
    async for event in session.follow():
        match event.data:
            case ActionOpened(action=action):
                await session.approve(action, arguments={"amount": EDITED})
                ledger.note("acknowledged", key="approval")
            case ToolStarted(name="meet"):
                await session.steer("On second thought.", mode="batch", key="steer")
                ledger.note("acknowledged", key="steer")
                await session.follow_up("One more thing.", key="follow-up")
                ledger.note("acknowledged", key="follow-up")
                met.set()
            case RunFinished(outcome=outcome):
                ledger.note("finished", outcome=outcome)
                return
            case _:
                pass


async def main(database: str, where: str) -> None:
    point, ledger, met = Point(where), Ledger(Path(database).with_suffix(".ledger")), asyncio.Event()
    DyingStore.point, DyingModel.point, DyingModel.ledger = point, point, ledger
    model = DyingModel(SCRIPT, MODEL)
    agent = make_agent(point, ledger, met)
    async with await godwit.Runtime.open(store=DyingStore.open(database), models={MODEL: model}) as runtime:
        known = await runtime.sessions(prefix=SESSION)
        if known:
            session = await runtime.open_session(SESSION, agent=agent)
        else:
            session = await runtime.start_session(agent, session=SESSION)
        session.register_hook(make_hook(ledger))
        await asyncio.wait_for(client(session, ledger, met), PATIENCE_S)
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
