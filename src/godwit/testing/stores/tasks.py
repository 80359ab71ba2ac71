"""Promises about tasks: which sessions wait for some, what works for whom, and that each ends once."""

from __future__ import annotations

import asyncio

from ...core.errors import SessionBusy, TaskNotFound
from ...core.events import SessionArchived, SubagentFinished, SubagentStarted
from ...core.ids import AgentName, SessionId, TaskId
from ..words import T0, S, drafts, new_child, new_session, refused
from .suite import StoreSuite


def _begun(number: int, child: str | None = None) -> SubagentStarted:
    return SubagentStarted(TaskId(f"t{number}"), SessionId(child or f"c{number}"), AgentName("a"), "work", 1)


def _ended(number: int) -> SubagentFinished:
    return SubagentFinished(TaskId(f"t{number}"), SessionId(f"c{number}"), "completed", "done")


class Tasks(StoreSuite):
    """Open tasks, and the tree of sessions."""

    async def test_sessions_with_open_tasks_are_found(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            other = SessionId("other")
            await new_session(store, other)
            assert await store.sessions_with_tasks() == []
            await store.append(S, drafts(_begun(1), _begun(2)))
            await store.append(other, drafts(_begun(3)))
            assert set(await store.sessions_with_tasks()) == {S, other}
            await store.append(S, drafts(_ended(1)))
            await store.append(other, drafts(_ended(3)))
            assert await store.sessions_with_tasks() == [S]
            await store.append(S, drafts(_ended(2), SessionArchived()))
            assert await store.sessions_with_tasks() == []

    async def test_a_deleted_session_has_no_tasks(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.append(S, drafts(_begun(1)))
            await store.delete(S)
            assert await store.sessions_with_tasks() == []

    async def test_a_task_ends_once_whoever_brings_it(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await store.append(S, drafts(_begun(1)))
            await refused(SessionBusy, store.append(S, drafts(_begun(2, "c1"))))
            found = await asyncio.gather(*(store.append(S, drafts(_ended(1))) for _ in range(8)), return_exceptions=True)
            refusals = [one for one in found if isinstance(one, BaseException)]
            assert len(refusals) == 7
            assert {type(one) for one in refusals} == {TaskNotFound}
            await refused(TaskNotFound, store.append(S, drafts(_ended(9))))
            assert len(await store.read(S, types=("subagent.finished",))) == 1
            # What is refused takes all that was to be stored with it along.
            await refused(TaskNotFound, store.append(S, drafts(_begun(4), _ended(1))))
            assert await store.sessions_with_tasks() == []

    async def test_descendants_come_parents_first(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await store.descendants(S) == []
            child = await new_child(store, "child", S)
            grandchild = await new_child(store, "grandchild", "child")
            other = await new_child(store, "a", S)
            await new_session(store, SessionId("stranger"))
            assert await store.descendants(S) == [child, other, grandchild]
            assert await store.descendants(child) == [grandchild]
            assert await store.descendants(grandchild) == []
            assert await store.descendants(SessionId("nobody")) == []
            await store.delete(child)
            assert set(await store.descendants(S)) == {other, grandchild}

    async def test_descendants_that_were_made_since(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            child = await new_child(store, "child", S, at_ms=T0)
            late = await new_child(store, "late", S, at_ms=T0 + 5)
            grandchild = await new_child(store, "grandchild", child, at_ms=T0 + 6)
            assert await store.descendants(S, created_from_ms=T0) == [child, late, grandchild]
            assert await store.descendants(S, created_from_ms=T0 + 5) == [late, grandchild]
            assert await store.descendants(S, created_from_ms=T0 + 6) == [grandchild]
            assert await store.descendants(S, created_from_ms=T0 + 7) == []
