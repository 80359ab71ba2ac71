"""One stream of a session and all that works for it: nothing left out, nothing twice, children within their tasks."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import InvalidArgument, SessionNotFound
from godwit.core.events import Event, SubagentFinished, SubagentStarted
from godwit.core.ids import SessionId
from godwit.core.messages import User, text_of
from godwit.engine.session import Session
from godwit.engine.tree import TreeReceiver
from godwit.host.runtime import Runtime
from godwit.models.script import Reply, ScriptedModel, call, hold, say, tries

from .conftest import Bench, within

SEED = 20261126


def asked(request: ModelRequest) -> str:
    first = request.entries[0].message
    assert isinstance(first, User)
    return text_of(first.content)


def hand_on(request: ModelRequest) -> Reply:
    return call("task", id="on", agent="leaf", prompt=f"{asked(request)}1")


def hand_on_beside(request: ModelRequest) -> Reply:
    return call("task", id="beside", agent="leaf", prompt=f"{asked(request)}2", background=True)


async def open_tree(bench: Bench) -> tuple[Runtime, Session]:
    """A boss with two children at once and one beside, each of which hands one on and one beside."""
    both = [{"agent": "branch", "prompt": "a"}, {"agent": "branch", "prompt": "b"}]
    boss: list[Any] = [
        call("task", id="both", tasks=both),
        call("task", id="beside", agent="branch", prompt="c", background=True),
        *["Heard."] * 9,
    ]
    branch: list[Any] = [hand_on, hand_on_beside, *["Done."] * 9]
    models = {
        "scripted:boss": ScriptedModel(boss, "scripted:boss"),
        "scripted:branch": ScriptedModel(branch, "scripted:branch"),
        "scripted:leaf": ScriptedModel(["Leaf."] * 9, "scripted:leaf"),
    }
    leaf = godwit.Agent("leaf", model="scripted:leaf")
    below = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
    runtime = await bench.runtime(models=models)
    return runtime, await runtime.start_session(godwit.Agent("boss", model="scripted:boss", subagents=[below]))


async def run_it(runtime: Runtime, session: Session) -> None:
    """Let it work, use one of the children again, and return when all rest."""
    await session.send("Go.")
    first = (await session.tasks.all())[0]
    again = await session.tasks.start("branch", "Again.", continue_task=first.id)
    await session.tasks.wait([again.id])
    await rest(runtime)


async def rest(runtime: Runtime) -> None:
    """Return when nobody works: the end of a task beside its parent makes that run again."""
    while await runtime.store.sessions_with_tasks() or await runtime.store.open_runs():
        await runtime.subagents.settle()
        await asyncio.sleep(0.01)


async def logs(runtime: Runtime, root: SessionId) -> list[Event]:
    sessions = [root, *await runtime.store.descendants(root)]
    return [event for session in sessions for event in await runtime.store.read(session)]


async def what_is_there(receiver: TreeReceiver, most: int | None = None) -> list[Event]:
    found: list[Event] = []
    while most is None or len(found) < most:
        event = await receiver.next_stored()
        if event is None:
            break
        found.append(event)
    return found


def check(told: Sequence[Event], wanted: Sequence[Event]) -> None:
    assert len(told) == len({(e.session, e.seq) for e in told}), "twice"
    assert {(e.session, e.seq) for e in told} == {(e.session, e.seq) for e in wanted}
    place: dict[SessionId, int] = {}
    known = {told[0].session}
    for event in told:
        assert event.session in known, "before it was announced"
        assert event.seq == place.get(event.session, 0) + 1, "not in order"
        place[event.session] = event.seq
        if isinstance(event.data, SubagentStarted):
            known.add(event.data.child)
        elif isinstance(event.data, SubagentFinished):
            assert place.get(event.data.child, 0) >= event.data.up_to, "ended before its events"


async def test_a_tree_is_one_stream_that_goes_on_at_any_place(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    await within(run_it(runtime, session))
    wanted = await logs(runtime, session.id)
    assert len({e.session for e in wanted}) == 1 + 3 + 6
    assert any(isinstance(e.data, SubagentStarted) and e.data.reused for e in wanted)
    told = await what_is_there(session.follow_tree())
    check(told, wanted)
    dice = random.Random(SEED)
    for _ in range(30):
        parts: list[Event] = []
        cursor: str | None = None
        while len(parts) < len(told):
            receiver = session.follow_tree(cursor)
            found = await what_is_there(receiver, dice.randint(1, len(told) // 2))
            parts += found
            cursor = receiver.cursor
        check(parts, wanted)


async def test_every_place_of_a_tree_can_be_gone_on_from(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    await within(run_it(runtime, session))
    receiver = session.follow_tree()
    told, cursors = [], [receiver.cursor]
    while (event := await receiver.next_stored()) is not None:
        told.append(event)
        cursors.append(receiver.cursor)
    for place, cursor in enumerate(cursors):
        rest = await what_is_there(session.follow_tree(cursor))
        check([*told[:place], *rest], told)
    # What has ended where its task did need not be named.
    at_the_end = msgspec.json.decode(base64.urlsafe_b64decode(cursors[-1] + "=="))
    assert len(at_the_end["c"]) < len({e.session for e in told})


async def test_it_is_followed_while_it_works_and_may_be_left_at_any_time(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    dice = random.Random(SEED)
    told: list[Event] = []
    working = asyncio.create_task(run_it(runtime, session))
    receiver = session.follow_tree()

    async def take(count: int) -> None:
        for _ in range(count):
            told.append(await anext(receiver))

    while not working.done():
        try:
            await asyncio.wait_for(take(dice.randint(1, 40)), dice.random() * 0.02)
        except TimeoutError:
            if dice.random() < 0.5:
                await receiver.aclose()
                receiver = session.follow_tree(receiver.cursor)
    await working
    told += await what_is_there(receiver)
    check(told, await logs(runtime, session.id))


async def test_a_child_that_waits_for_room_is_followed_once_it_is_there(bench: Bench) -> None:
    reached, release = asyncio.Event(), asyncio.Event()
    models = {
        "scripted:boss": ScriptedModel(["Heard."] * 9, "scripted:boss"),
        "scripted:leaf": ScriptedModel([tries(hold(release, reached=reached) + say("Leaf."))], "scripted:leaf"),
    }
    leaf = godwit.Agent("leaf", model="scripted:leaf")
    boss = godwit.Agent("boss", model="scripted:boss", subagents=[leaf], limits=godwit.Limits(max_children=1))
    runtime = await bench.runtime(models=models)
    session = await runtime.start_session(boss)
    await session.tasks.start("leaf", "One?")
    second = await session.tasks.start("leaf", "Two?")
    await within(reached.wait())
    receiver = session.follow_tree()
    assert second.session not in {e.session for e in await what_is_there(receiver)}
    coming = asyncio.ensure_future(_until_of(receiver, second.session))
    release.set()
    event = await within(coming)
    assert (event.type, event.seq) == ("session.created", 1)


async def _until_of(receiver: TreeReceiver, session: SessionId) -> Event:
    async for event in receiver:
        if event.session == session:
            return event
    raise AssertionError("unreachable")


async def test_tasks_that_the_host_runs_itself_and_children_that_are_gone_keep_nothing_back(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    await session.tasks.record_start("t1", agent="mine")
    await session.tasks.record_end("t1", output="done")
    one = await session.tasks.start("branch", "x")
    await within(session.tasks.wait([one.id]))
    await within(rest(runtime))
    await runtime.delete_session(one.session)
    told = await what_is_there(session.follow_tree())
    assert [e.seq for e in told if e.session == session.id] == list(range(1, (await session.events())[-1].seq + 1))
    assert one.session not in {e.session for e in told}


@pytest.mark.parametrize("cursor", ["x", "!!", base64.urlsafe_b64encode(b'{"r":-1}').decode(), "e30K" * 9])
async def test_what_is_no_cursor_is_refused(bench: Bench, cursor: str) -> None:
    _, session = await open_tree(bench)
    with pytest.raises(InvalidArgument):
        await session.follow_tree(cursor).next_stored()


async def test_a_cursor_leads_to_no_other_session(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    other = await runtime.start_session("boss")
    forged = base64.urlsafe_b64encode(msgspec.json.encode({"r": 1, "c": {other.id: 0}})).decode().rstrip("=")
    assert {e.session for e in await what_is_there(session.follow_tree(forged))} <= {session.id}


async def test_a_session_that_is_gone_ends_its_stream(bench: Bench) -> None:
    runtime, session = await open_tree(bench)
    receiver = session.follow_tree()
    await what_is_there(receiver)
    waiting = asyncio.ensure_future(_until_of(receiver, SessionId("none")))
    await runtime.delete_session(session.id)
    with pytest.raises(SessionNotFound):
        await within(waiting)
