"""Walks over trees of sessions: tasks are handed out, asked about, answered, cancelled, gone on with and forgotten by
processes that end or die, in any order. After each step the logs agree with what is told, and at rest nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import godwit
from godwit.contracts import SessionRow
from godwit.core.errors import Conflict, GodwitError, InvalidArgument, NotFound, SubagentLimit
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    Event,
    RunFinished,
    RunStarted,
    SubagentFinished,
    SubagentStarted,
    ToolFinished,
    UserAnswer,
    UserMessage,
)
from godwit.core.ids import SessionId, TaskId
from godwit.core.state import State, fold
from godwit.core.tasks import TaskRecord
from godwit.core.transcript import problems
from godwit.engine.log import load_state
from tests.patience import PATIENCE_S

from .task_plan import AGENTS, MAX_CHILDREN, Plan, Stage, prompt

T = TypeVar("T")
ROOT = SessionId("ses_root")
REFUSED = (Conflict, NotFound, InvalidArgument, SubagentLimit)

simple = st.sampled_from([["say", "yes"], ["touch"], ["fail"], ["hold", "a"], ["hold", "b"]])
leaf_plans = st.lists(simple, max_size=2)
branch_plans = st.lists(
    st.one_of(simple, st.tuples(st.just("task"), st.lists(leaf_plans, min_size=1, max_size=2), st.booleans()).map(list)),
    max_size=2,
)
root_plans = st.lists(
    st.one_of(simple, st.tuples(st.just("task"), st.lists(branch_plans, min_size=1, max_size=3), st.booleans()).map(list)),
    min_size=1,
    max_size=3,
)
pick = st.integers(0, 63)


class TaskWalk(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Path(self.folder.name) / "walk.db"
        self.runner = asyncio.Runner()
        self.stage = Stage()
        self.left: list[godwit.Runtime] = []
        self.ended: dict[str, str] = {}
        """How each task was seen to have ended."""
        self.runtime = self.do(self._open())
        self.do(self.runtime.start_session(self.stage.agent(), session=ROOT))
        self.do(self._reopen())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, PATIENCE_S)

        return self.runner.run(bounded())

    async def _open(self) -> godwit.Runtime:
        runtime = await godwit.Runtime.open(self.database, models=self.stage.models(), durability="memory")
        await runtime.create(self.stage.agent())
        return runtime

    async def _reopen(self) -> None:
        self.session = await self.runtime.desk.session(ROOT)

    def teardown(self) -> None:
        if not hasattr(self, "runtime"):
            return
        try:
            self.do(self._to_the_end())
        finally:
            self.do(self._close())
            self.runner.close()
            self.folder.cleanup()

    async def _close(self) -> None:
        for runtime in (*self.left, self.runtime):
            with contextlib.suppress(GodwitError):
                await runtime.close()

    # --- what is known --------------------------------------------------------------------------------------------

    async def _rows(self) -> list[SessionRow]:
        rows = await self.runtime.store.sessions(limit=1000)
        return sorted(rows, key=lambda row: (row.created_ms, row.id))

    async def _logs(self) -> dict[SessionId, list[Event]]:
        return {row.id: await self.runtime.store.read(row.id) for row in await self._rows()}

    async def _tasks(self, of: SessionId = ROOT) -> list[TaskRecord]:
        return await (await self.runtime.open_session(of, drive=False)).tasks.all()

    async def _yield(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    # --- what is done ---------------------------------------------------------------------------------------------

    @rule(plan=root_plans, after=pick)
    def ask(self, plan: Plan, after: int) -> None:
        async def work() -> None:
            with contextlib.suppress(*REFUSED):
                await self.session.prompt(prompt(plan))
            await self._yield(after)

        self.do(work())

    @rule(plan=branch_plans, after=pick)
    def hand_out(self, plan: Plan, after: int) -> None:
        async def work() -> None:
            with contextlib.suppress(*REFUSED):
                await self.session.tasks.start("worker", prompt(plan))
            await self._yield(after)

        self.do(work())

    @rule(plan=branch_plans, which=pick, after=pick)
    def go_on_with(self, plan: Plan, which: int, after: int) -> None:
        async def work() -> None:
            tasks = await self._tasks()
            if tasks:
                with contextlib.suppress(*REFUSED):
                    task = tasks[which % len(tasks)]
                    await self.session.tasks.start("worker", prompt(plan), continue_task=task.id)
            await self._yield(after)

        self.do(work())

    @rule(times=st.integers(0, 400))
    def let(self, times: int) -> None:
        self.do(self._yield(times))

    @rule(name=st.sampled_from(["a", "b"]), after=pick)
    def release(self, name: str, after: int) -> None:
        async def work() -> None:
            self.stage.release(name)
            await self._yield(after)
            self.stage.gates.pop(name, None)

        self.do(work())

    @rule(which=pick, how=st.sampled_from(["approve", "deny", "edit"]), at_root=st.booleans(), after=pick)
    def answer(self, which: int, how: str, at_root: bool, after: int) -> None:
        async def work() -> None:
            pending = await self.session.approvals.pending()
            if pending:
                action = pending[which % len(pending)]
                at = self.session if at_root else await self.runtime.open_session(action.session or ROOT, drive=False)
                with contextlib.suppress(*REFUSED):
                    if how == "deny":
                        await at.deny(action.id, "no")
                    else:
                        await at.approve(action.id, arguments={"n": -1} if how == "edit" else None)
            await self._yield(after)

        self.do(work())

    @rule(level=pick, which=pick, after=pick)
    def cancel_task(self, level: int, which: int, after: int) -> None:
        async def work() -> None:
            rows = [row for row in await self._rows() if await self._pending(row.id)]
            if rows:
                at = await self.runtime.open_session(rows[level % len(rows)].id, drive=False)
                pending = await at.tasks.pending()
                if pending:
                    await at.tasks.cancel(pending[which % len(pending)].id)
            await self._yield(after)

        self.do(work())

    async def _pending(self, session: SessionId) -> bool:
        return bool((await load_state(self.runtime.store, session)).gate.tasks)

    @rule(which=pick, after=pick)
    def interrupt(self, which: int, after: int) -> None:
        async def work() -> None:
            rows = [row for row in await self._rows() if row.run is not None]
            if rows:
                await self.runtime.interrupt(rows[which % len(rows)].id)
            await self._yield(after)

        self.do(work())

    @rule()
    def cancel_all(self) -> None:
        async def work() -> None:
            await self.session.interrupt()
            await self.session.tasks.cancel_all()

        self.do(work())
        self.quiet()
        working = [row.id for row in self.do(self._rows()) if row.run is not None and row.id != ROOT]
        assert working == [], "something works for a session that has cancelled all of it"

    @rule(which=pick)
    def go_back(self, which: int) -> None:
        async def work() -> None:
            starts = [e.seq for e in await self.session.events() if isinstance(e.data, SubagentStarted | RunStarted)]
            if starts:
                with contextlib.suppress(*REFUSED):
                    await self.session.rewind(max(1, starts[which % len(starts)] - 1))

        self.do(work())

    @rule(dies=st.booleans(), recovers=st.booleans())
    def restart(self, dies: bool, recovers: bool) -> None:
        async def work() -> None:
            if dies:
                await self.runtime.store.close()
                self.left.append(self.runtime)
            else:
                await self.runtime.close()
            self.stage.holding.clear()
            self.runtime = await self._open()
            if recovers:
                await self.runtime.desk.recover()
            await self._reopen()

        self.do(work())

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def logs_agree(self) -> None:
        if hasattr(self, "runtime"):
            self.do(self._logs_agree())

    async def _logs_agree(self) -> None:
        for session, log in (await self._logs()).items():
            started = [e.data for e in log if isinstance(e.data, SubagentStarted)]
            finished = [e.data for e in log if isinstance(e.data, SubagentFinished)]
            count = Counter(data.task for data in finished)
            assert not count or max(count.values()) == 1, f"{session}: a task has ended twice"
            assert len({data.task for data in started}) == len(started), f"{session}: a task has begun twice"
            assert set(count) <= {data.task for data in started}
            for data in finished:
                assert self.ended.setdefault(data.task, data.status) == data.status, "an end was lifted"
            # Each report is told once, each call has one result.
            senders = Counter(e.data.sender for e in log if isinstance(e.data, UserMessage) and e.data.sender)
            assert not senders or max(senders.values()) == 1, f"{session}: told twice: {senders}"
            reports = {f"task {d.task}" for d in started if d.action is None and d.task in count}
            told = {sender for sender in senders if not _is_own(log, sender)}
            assert told <= reports
            state = State()
            for event in log:
                state = fold(state, event)
            now = await load_state(self.runtime.store, session)
            if now.seq == state.seq:
                assert now == state, f"{session}: what is known differs from what the log says"
            open_now = {data.task for data in started} - set(count)
            assert {task.id for task in state.gate.tasks} == open_now

    @rule()
    def quiet(self) -> None:
        """Wait until nothing can go on by itself, and look at all of it."""
        self.do(self._quiet())
        self.do(self._all_is_told())

    async def _quiet(self) -> None:
        store = self.runtime.store
        await self.runtime.desk.recover()
        try:
            async with asyncio.timeout(PATIENCE_S - 5):
                while True:
                    await self.runtime.subagents.settle()
                    moving = [row for row in await self._rows() if await self._moves(row)]
                    if not moving:
                        return
                    await store.wait(moving[0].id, moving[0].head, 0.02)
        except TimeoutError:
            raise AssertionError(f"it does not come to rest:\n{await self._told()}") from None

    async def _unattended(self, session: SessionId) -> list[TaskId]:
        """The open tasks of this session that nobody works on, although there is room."""
        tasks = (await load_state(self.runtime.store, session)).gate.tasks
        rows = {row.id: row for row in await self._rows()}
        left = [t.id for t in tasks if t.session not in rows or rows[t.session].run is None]
        return left if len(tasks) - len(left) < MAX_CHILDREN else []

    async def _told(self) -> str:
        """All sessions, as far as who has to find an error wants to know."""
        lines = []
        for row in await self._rows():
            held = "held" if row.id in self.stage.holding else ""
            hosted = "hosted" if self.runtime.hosts(row.id) else ""
            lines.append(
                f"{row.id} of {row.parent}: {row.agent.name[:12]} {row.status} {row.run} {row.owner} {held} {hosted}"
            )
            for event in (await self.runtime.store.read(row.id))[-25:]:
                told = {
                    k: getattr(event.data, k, None)
                    for k in ("task", "child", "run", "action", "status", "outcome", "sender")
                }
                lines.append(f"    {event.seq} {event.type} { {k: v for k, v in told.items() if v} }")
        return "\n".join(lines)

    async def _moves(self, row: SessionRow) -> bool:
        """Whether this session goes on by itself."""
        if await self._unattended(row.id):
            return True  # about to be made, asked, or to end
        if row.run is None:
            return False
        gate = (await load_state(self.runtime.store, row.id)).gate
        if gate.interrupted:
            return True
        if row.status == "waiting":
            return not gate.actions or all(a.answered for a in gate.actions)
        return row.id not in self.stage.holding or row.status != "running"

    async def _all_is_told(self) -> None:
        try:
            await self._look()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self._told()}") from None

    async def _look(self) -> None:
        logs = await self._logs()
        rows = {row.id: row for row in await self._rows()}
        # A task that is open has a child that works, or waits.
        for session in logs:
            assert await self._unattended(session) == [], f"{session}: nobody works on a task"
            view = await self.runtime.open_session(session, drive=False)
            assert [t.id for t in await view.tasks.pending()] == [t.id for t in await view.tasks.all() if t.pending]
            assert {t.id for t in await view.tasks.pending()} == {
                t.id for t in (await load_state(self.runtime.store, session)).gate.tasks
            }
            assert list(problems(await view.history())) == []
        # What works, works for somebody.
        for session, row in rows.items():
            if row.run is not None and row.parent is not None:
                above = (await load_state(self.runtime.store, row.parent)).gate
                assert session in {task.session for task in above.tasks}, f"{session} works for nobody"
        # What is asked anywhere is told at the top, with the way there.
        asked = {a for session, log in logs.items() if rows[session].run is not None for a in _asked(log)}
        pending = await self.session.approvals.pending()
        assert {action.id for action in pending} == asked
        for action in pending:
            depth = (await load_state(self.runtime.store, action.session or ROOT)).depth
            assert tuple(action.path) == AGENTS[1 : depth + 1]
        # What has ended in the background was told, unless it was cancelled here.
        for session, log in logs.items():
            background = {e.data.task for e in log if isinstance(e.data, SubagentStarted) and e.data.action is None}
            ended = {e.data.task: e.data.status for e in log if isinstance(e.data, SubagentFinished)}
            told = {e.data.sender for e in log if isinstance(e.data, UserMessage)}
            for id_, status in ended.items():
                if id_ in background and status != "cancelled":
                    assert f"task {id_}" in told, f"{session}: nobody was told of {id_}"
                if id_ not in background:
                    assert f"task {id_}" not in told
            results = Counter(e.data.call for e in log if isinstance(e.data, ToolFinished))
            for e in log:
                if isinstance(e.data, ActionOpened) and e.data.kind == "task" and e.data.call is not None:
                    assert results[e.data.call] >= 1 or rows[session].run is not None, f"{session}: a call without a result"

    async def _to_the_end(self) -> None:
        """Answer and release all: everything comes to its end."""
        await self.runtime.desk.recover()
        store = self.runtime.store
        until_s = asyncio.get_running_loop().time() + PATIENCE_S - 5
        while True:
            self.stage.release_all()
            for action in await self.session.approvals.pending():
                with contextlib.suppress(*REFUSED):
                    await self.session.approve(action.id)
            rows = await self._rows()
            working = [row for row in rows if row.run is not None or await self._pending(row.id)]
            if not working:
                break
            assert asyncio.get_running_loop().time() < until_s, f"it does not come to its end:\n{await self._told()}"
            await store.wait(working[0].id, working[0].head, 0.02)
        await self.runtime.subagents.settle()
        await self._logs_agree()
        await self._all_is_told()
        keys = Counter(key for key, _ in self.stage.touched)
        assert not keys or max(keys.values()) == 1, "an effect twice"
        outcomes = [e.data.outcome for log in (await self._logs()).values() for e in log if isinstance(e.data, RunFinished)]
        assert set(outcomes) <= {"done", "interrupted", "failed"}


def _is_own(log: list[Event], sender: str) -> bool:
    """Whether it is the prompt of the task that this session works on."""
    first: Any = log[0].data
    return (
        first.parent is not None
        and sender.startswith("task ")
        and not any(isinstance(e.data, SubagentStarted) and f"task {e.data.task}" == sender for e in log)
    )


def _asked(log: list[Event]) -> set[str]:
    open_now: set[str] = set()
    for event in log:
        match event.data:
            case ActionOpened(action=action, kind=kind) if kind != "task":
                open_now.add(action)
            case ActionClosed(action=action) | UserAnswer(action=action):
                open_now.discard(action)
            case _:
                pass
    return open_now


class LongTaskWalk(TaskWalk):
    pass


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # what fails depends on when, and does not get smaller
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TestTaskWalk = TaskWalk.TestCase
TestTaskWalk.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, phases=PHASES, suppress_health_check=CHECKS
)
TestLongTaskWalk = pytest.mark.slow(LongTaskWalk.TestCase)
TestLongTaskWalk.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, phases=PHASES, suppress_health_check=CHECKS
)
