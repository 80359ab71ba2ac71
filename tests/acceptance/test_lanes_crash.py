"""Workers and the host are killed again and again while workers do the calls of several sessions. Whatever dies and
whenever: each call gets one result, one that must not run twice never does, and nothing is left over.

`GODWIT_STRESS=n` kills n times instead of a few.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

import godwit
from godwit.core.events import ActionOpened, AgentMessage, RunFinished, ToolFinished, UserAnswer
from godwit.core.messages import text_of
from tests.patience import PATIENCE_S

from .lanes_script import SESSIONS, TURNS

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("GODWIT_STRESS", "5"))
Process = asyncio.subprocess.Process


async def begin(role: str, database: Path) -> Process:
    command = [role.partition(" ")[0], str(database), *role.split()[1:]]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.lanes_script",
        *command,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(godwit.__file__).parents[1])},
    )


def ledger(database: Path) -> list[list[str]]:
    path = database.with_suffix(".ledger")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def grown(database: Path, by: int) -> None:
    """Until so much more has been done."""
    before = len(ledger(database))
    while len(ledger(database)) < before + by:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
async def test_every_call_has_one_result_whatever_is_killed(tmp_path: Path, seed: int) -> None:
    database, rng = tmp_path / "godwit.db", random.Random(seed)
    roles = ["host", "worker w1", "worker w2"]
    processes = {role: await begin(role, database) for role in roles}
    try:
        for _ in range(KILLS):
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await grown(database, rng.randint(1, 8))
            except TimeoutError:
                assert processes["host"].returncode == 0, "nothing goes on any more"
            role = rng.choice(roles)
            if processes["host"].returncode is not None:
                break  # all is done
            if processes[role].returncode is None:
                processes[role].kill()
            await processes[role].wait()
            processes[role] = await begin(role, database)
        assert await asyncio.wait_for(processes["host"].wait(), PATIENCE_S) == 0
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()
    await look(database)


async def look(database: Path) -> None:
    """What is promised holds."""
    begun = Counter(key for what, key in ledger(database) if what == "once begins")
    ended = {key for what, key in ledger(database) if what.endswith("ends")}
    assert not [key for key, count in begun.items() if count > 1], "what must not run twice did"
    waited_for: set[str] = set()
    async with await godwit.Runtime.open(database) as runtime:
        for name in SESSIONS:
            session = await runtime.open_session(name, drive=False)
            events = [e.data for e in await session.events()]
            asked = [c.id for e in events if isinstance(e, AgentMessage) for c in e.message.calls]
            assert len(asked) == TURNS * 3
            results = {e.call: e for e in events if isinstance(e, ToolFinished)}
            assert sorted(e.call for e in events if isinstance(e, ToolFinished)) == sorted(asked), "each one result"
            opened = [e.action for e in events if isinstance(e, ActionOpened)]
            waited_for.update(opened)
            answered = Counter(e.action for e in events if isinstance(e, UserAnswer))
            assert all(answered[action] <= 1 for action in opened)
            dead = {d.payload["name"] for d in await session.dead_letters()}
            for call, result in results.items():
                key = f"{session.id}/{call}"
                if result.name == "bump":
                    assert result.status == "ok", text_of(result.content)
                if result.status == "ok":
                    assert key in ended, "a result without its effect"
                else:
                    assert "lost" in text_of(result.content)
            assert len(dead) == sum(r.status != "ok" for r in results.values())
            assert [e.outcome for e in events if isinstance(e, RunFinished)] == ["done"]
            assert await session.pending_external_tasks() == []
        for lane in ("execute", "query"):
            left = await runtime.external_tasks.lease([lane], tenant=None, worker="look")
            assert left is None
        # What a host had offered when it died, before it could store the action, is nobody's, and goes after a minute.
        left_over = {item.task.id async for _, item in runtime.external_tasks._items.all({"live": "execute"}, None)}
        assert left_over.isdisjoint(waited_for)
