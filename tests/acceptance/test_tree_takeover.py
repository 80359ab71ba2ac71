"""Two processes and one tree of sessions: one drives, the other follows, answers, cancels and sends; then the first one is
killed, or stops without a word, and the other goes on until all of it has ended once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from godwit.contracts import SessionHandle
from godwit.core.events import Event, InputDelivered, RunFinished, SubagentFinished, SubagentStarted, UserMessage
from godwit.core.ids import SessionId
from tests.patience import PATIENCE_S

from .tree_script import NAMES, SESSION, runtime_of

ROOT = Path(__file__).parents[2]


class Followed:
    """All events of a tree, as one stream has brought them."""

    def __init__(self, session: SessionHandle) -> None:
        self.events: list[Event] = []
        self._tree = session.follow_tree()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for event in self._tree:
            self.events.append(event)
            self._news.set()

    async def until(self, wanted: Callable[[list[Event]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(self.events):
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def driver(database: Path) -> asyncio.subprocess.Process:
    words = (sys.executable, "-m", "tests.acceptance.tree_script", str(database))
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"going\n"
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
async def test_a_tree_goes_on_in_another_process(tmp_path: Path, how: signal.Signals) -> None:
    database = tmp_path / "tree.db"
    process = await driver(database)
    runtime, root = await runtime_of(database)
    try:
        session = await runtime.open_session(SESSION, drive=False)
        seen = Followed(session)
        await seen.until(lambda events: sum(e.type == "subagent.asked" and e.session == SESSION for e in events) == 3)
        questions = {action.arguments["name"]: action for action in await session.approvals.pending()}
        assert {name: tuple(action.path) for name, action in questions.items()} == {n: ("branch", "leaf") for n in NAMES}
        tasks = {task.prompt: task for task in await session.tasks.all()}
        # From here: one question is answered, one task is cancelled with its question, one message is sent.
        assert await session.approve(questions["a"].id)
        assert await session.approve(questions["b"].id)
        assert await session.tasks.cancel(tasks["x"].id)
        await session.follow_up("And then?")
        await seen.until(lambda events: {"a", "x"} <= {n for n, t in tasks.items() if _ended(events, t.id)})
        (stuck,) = [
            e.session
            for e in seen.events
            if isinstance(e.data, UserMessage) and _is_leaf(seen.events, e, tasks["b"].session)
        ]
        await seen.until(lambda events: sum(e.type == "model.started" and e.session == stuck for e in events) == 2)

        process.send_signal(how)
        if how is signal.SIGKILL:
            await process.wait()
        async with asyncio.timeout(PATIENCE_S):
            while (row := await runtime.store.session(stuck)).run is not None:
                await runtime.desk.recover()
                await runtime.store.wait(stuck, row.head, 0.2)
        await seen.until(lambda events: sum(e.type == "run.finished" and e.session == SESSION for e in events) >= 1)
        session = await runtime.open_session(SESSION, agent=root)
        async with asyncio.timeout(PATIENCE_S):
            while await session.is_running():
                await session.wait()
        await runtime.subagents.settle()
        if how is signal.SIGSTOP:
            process.send_signal(signal.SIGCONT)  # it finds its leases gone, and writes nothing more
            await asyncio.wait_for(process.wait(), PATIENCE_S)

        logs = {row.id: await runtime.store.read(row.id) for row in await runtime.store.sessions(limit=100)}
        assert len(logs) == 1 + 3 + 3
        for log in logs.values():
            started = [e.data.task for e in log if isinstance(e.data, SubagentStarted)]
            assert sorted(started) == sorted(e.data.task for e in log if isinstance(e.data, SubagentFinished))
            inputs = Counter(e.data.id for e in log if isinstance(e.data, InputDelivered))
            assert not inputs or max(inputs.values()) == 1
        ends = {t.prompt: (t.status, t.output) for t in await session.tasks.all()}
        assert (ends["a"], ends["b"], ends["x"][0]) == (("completed", "branch a"), ("completed", "branch b"), "cancelled")
        assert {e.data.outcome for e in logs[SessionId(SESSION)] if isinstance(e.data, RunFinished)} == {"done"}
        notes = [line.split()[1] for line in database.with_suffix(".effects").read_text().splitlines()]
        assert sorted(notes) == ["a", "b"], "an effect that nobody approved, or one that was had again"
        # The one stream has brought all of it, each event once, in the order of each log.
        total = sum(len(log) for log in logs.values())
        await seen.until(lambda events: len(events) >= total)
        for id_, log in logs.items():
            assert [e.seq for e in seen.events if e.session == id_] == [e.seq for e in log]
        await seen.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await runtime.close()


def _ended(events: list[Event], task: str) -> bool:
    return any(isinstance(e.data, SubagentFinished) and e.data.task == task for e in events)


def _is_leaf(events: list[Event], message: Event, branch: SessionId) -> bool:
    """Whether this message is what a child of that branch was asked."""
    children = {e.data.child for e in events if isinstance(e.data, SubagentStarted) and e.session == branch}
    return message.session in children
