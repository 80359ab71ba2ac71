"""A session's state as it is asked for again and again: always that of the whole log, with only what is new folded."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit.core.errors import SessionNotFound
from godwit.core.events import SessionConfigured
from godwit.core.ids import ManualClock, SessionId
from godwit.core.state import State, fold
from godwit.engine.log import FOLDS, append_outside, load_state
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel
from godwit.stores.sqlite import SqliteStore

from .conftest import MODEL

S = SessionId("s")


async def made(path: Path, clock: ManualClock) -> Runtime:
    return await Runtime.open(path, models={MODEL: ScriptedModel([], MODEL)}, clock=clock)


async def whole(store: SqliteStore, session: SessionId = S) -> State:
    """The fold of all events, one by one."""
    state = State()
    for event in await store.read(session):
        state = fold(state, event)
    return state


async def test_the_state_is_that_of_the_log_however_often_it_is_asked_for(tmp_path: Path) -> None:
    clock = ManualClock()
    async with await made(tmp_path / "g.db", clock) as runtime, SqliteStore.open(tmp_path / "g.db") as elsewhere:
        await runtime.start_session(godwit.Agent("a", model=MODEL), session=S, drive=False)
        for number in range(5):
            assert await load_state(runtime.store, S) == await whole(elsewhere)
            # By another process as well: what is kept here does not know of it.
            await append_outside(elsewhere, S, [SessionConfigured(name=f"n{number}")], clock)
            assert (await load_state(runtime.store, S)).name == f"n{number}"


async def test_a_session_that_is_made_again_under_its_id_is_another_one(tmp_path: Path) -> None:
    """In the same millisecond, too."""
    clock = ManualClock()
    async with await made(tmp_path / "g.db", clock) as runtime:
        agent = godwit.Agent("a", model=MODEL)
        await (await runtime.start_session(agent, session=S, name="old", drive=False)).detach()
        await load_state(runtime.store, S)
        await runtime.delete_session(S)
        with pytest.raises(SessionNotFound):
            await load_state(runtime.store, S)
        await runtime.start_session(agent, session=S, name="new", drive=False)
        await append_outside(runtime.store, S, [SessionConfigured(metadata={"a": "b"})] * 3, clock)
        state = await load_state(runtime.store, S)
        assert (state.name, state.seq) == ("new", 4)


async def test_one_that_another_process_has_made_again_is_another_one(tmp_path: Path) -> None:
    clock = ManualClock()
    async with await made(tmp_path / "g.db", clock) as runtime, await made(tmp_path / "g.db", clock) as other:
        agent = godwit.Agent("a", model=MODEL)
        await (await runtime.start_session(agent, session=S, name="old", drive=False)).detach()
        await load_state(runtime.store, S)
        await other.delete_session(S)
        clock.advance(0.001)
        await other.start_session(agent, session=S, name="new", drive=False)
        await append_outside(other.store, S, [SessionConfigured(metadata={"a": "b"})] * 3, clock)
        assert (await load_state(runtime.store, S)).name == "new"


async def test_no_more_states_are_kept_than_the_last(tmp_path: Path) -> None:
    async with await made(tmp_path / "g.db", ManualClock()) as runtime:
        ref = await runtime.create(godwit.Agent("a", model=MODEL))
        names = [f"s{number}" for number in range(FOLDS + 5)]
        for name in names:
            await (await runtime.start_session(ref, session=name, drive=False)).detach()
        first = await load_state(runtime.store, SessionId(names[0]))
        assert await load_state(runtime.store, SessionId(names[0])) is first
        for name in names[1:]:
            await load_state(runtime.store, SessionId(name))
        assert await load_state(runtime.store, SessionId(names[0])) is not first
