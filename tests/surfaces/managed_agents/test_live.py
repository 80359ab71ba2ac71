"""What is heard while a session works is what is read afterwards, whatever its calls come to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import godwit
from godwit.core.agent import ToolDefinition
from godwit.core.ids import Seq
from godwit.engine.session import Session
from godwit.models.script import call, malformed, say, think
from godwit.surfaces.managed_agents.history import BEHIND, History
from godwit.surfaces.managed_agents.live import Live, framed
from godwit.surfaces.server.broadcast import Frame
from tests.engine.conftest import Bench, within
from tests.surfaces.managed_agents.legal import order

EXTERNAL = ToolDefinition("client", "The client's own.", {"type": "object", "properties": {}})


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "godwit.db")
    yield made
    await made.close()


@godwit.tool(exclusive=True)
async def alone(n: int = 0) -> str:
    """Runs beside nothing."""
    await asyncio.sleep(0)
    return f"alone {n}"


@godwit.tool
async def beside(n: int = 0) -> str:
    """Runs beside others."""
    await asyncio.sleep(0)
    return f"beside {n}"


@godwit.tool
def asked(n: int = 0) -> str:
    """Asks first."""
    return f"asked {n}"


def turn(chance: random.Random) -> Any:
    """An answer with any number of calls of any kind."""
    reply = say("I go on.") if chance.random() < 0.5 else think("Hm.") + say("So.")
    for n in range(chance.randrange(1, 6)):
        kind = chance.choice(("alone", "alone", "beside", "asked", "client", "nobody", "barred", "broken"))
        given: dict[str, Any] = {} if kind == "client" else {"n": n}
        reply = reply + (malformed("beside", "{") if kind == "broken" else call(kind, **given))
    return reply


async def answer_all(session: Session, chance: random.Random) -> None:
    """Answer whatever is asked, in any order, until the session is gone."""
    async for event in session.follow():
        if event.type == "action.opened":
            for pending in await session.approvals.pending():
                if chance.random() < 0.2:
                    continue
                if pending.kind == "external":
                    await session.answer(pending.id, "a result", is_error=chance.random() < 0.3)
                elif chance.random() < 0.3:
                    await session.deny(pending.id, "no")
                else:
                    await session.approve(pending.id)
        elif event.type == "run.parked":
            for pending in await session.approvals.pending():
                if pending.kind == "external":
                    await session.answer(pending.id, "at last")
                else:
                    await session.approve(pending.id)
                break


@pytest.mark.parametrize("seed", range(12))
async def test_live_and_read_are_the_same(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    script = [*(turn(chance) for _ in range(4)), "Done.", *(turn(chance) for _ in range(2)), "Done again."]
    permissions = godwit.Permissions(ask=("asked",), deny=("barred",))
    limits = godwit.Limits(max_invalid_turns=99)
    tools = (alone, beside, asked, EXTERNAL)
    session = await bench.start(script, *tools, permissions=permissions, limits=limits)
    store = bench.runtimes[0].store
    live = Live(store, session.id, "tester", bench.runtimes[0].clock.now_ms)
    heard: list[Frame] = []

    async def listen() -> None:
        async for frame in live.live((Seq(0), BEHIND)):
            heard.append(frame)

    listening = asyncio.ensure_future(listen())
    answering = asyncio.ensure_future(answer_all(session, chance))
    await within(session.send("go"))
    await within(session.send("and on"))
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    await session.close()
    await bench.runtimes[0].archive(session.id)
    await within(listening)
    read = [p async for p in History(store, session.id, "tester").behind((Seq(0), BEHIND)) if not p.quiet]
    assert [f for f in heard if f.piece is None] == [framed(p) for p in read]
    order([p.body for p in read])
    assert {p.body["type"] for p in read} >= {"agent.tool_use", "agent.tool_result", "session.status_terminated"}
    pieces = [msgspec.json.decode(f.data.partition(b"data: ")[2]) for f in heard if f.piece is not None]
    finals = {p.body["id"]: p.body["content"] for p in read if p.body["type"] == "agent.message"}
    for id_, content in finals.items():
        shown = [p["delta"]["content"]["text"] for p in pieces if p.get("event_id") == id_]
        assert "".join(b["text"] for b in content).startswith("".join(shown))
