"""Archiving by a session's id (defect 4 of the original, see `by_id`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.engine.conftest import Bench, within
from tests.host.by_id import Held, asked, begin, data, log, outcome, says, types

import godwit
from godwit.core.errors import SessionArchived, SessionBusy
from godwit.core.events import RunFinished, UserInterrupt, UserMessage
from godwit.core.ids import RunId, SessionId
from godwit.models.script import call


async def test_archived_stays_archived_and_takes_nothing_more(bench: Bench) -> None:
    """S003-32, 33, 34; defect 4: in the original the loop's last words overwrite it, and resume makes it run again."""
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Never."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    await within(runtime.archive(session))
    await runtime.settle(SessionId(session))
    assert await runtime.status(session) == "archived"
    refused: list[Callable[[], Awaitable[Any]]] = [
        lambda: runtime.resume(session),
        lambda: runtime.pause(session),
        lambda: runtime.archive(session),
        lambda: runtime.send_event(session, says("x")),
        lambda: runtime.send_event(session, says("x", "steer")),
        lambda: runtime.send_event(session, says("x", "follow_up")),
        lambda: runtime.send_event(session, UserInterrupt(RunId("run_none"))),
    ]
    for method in refused:
        with pytest.raises(SessionArchived):
            await within(method())
    assert await runtime.interrupt(session) is False
    await runtime.settle(SessionId(session))
    assert await runtime.status(session) == "archived"
    events = await log(runtime, session)
    assert events[-1].type == "session.archived"
    assert (await data(runtime, session, RunFinished))[0].outcome == "interrupted"
    assert asked(bench) == 1


async def test_a_session_that_never_ran_can_be_archived_and_is_left_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    runtime, session = await begin(bench, ["Hello."])
    await runtime.archive(session)
    handle = await runtime.desk.session(session)
    await runtime.settle(SessionId(session))
    assert runtime.failure(SessionId(session)) is None
    with pytest.raises(SessionArchived):
        await handle.send("x")
    assert await types(runtime, session) == ["session.created", "session.archived"]
    assert not caplog.records


async def test_archiving_wins_over_those_who_go_on_sending(bench: Bench) -> None:
    runtime, session = await begin(bench, [f"Answer {n}." for n in range(400)])
    sent = 0

    async def sender() -> None:
        nonlocal sent
        while True:
            with contextlib.suppress(SessionBusy):
                await runtime.send_event(session, says(f"{sent}"))
                sent += 1
            await asyncio.sleep(0)

    senders = [asyncio.create_task(sender()) for _ in range(3)]
    await outcome(runtime, session)
    await within(runtime.archive(session))
    for task in senders:
        with pytest.raises(SessionArchived):
            await within(task)
    assert sent == len(await data(runtime, session, RunFinished)) == len(await data(runtime, session, UserMessage))
    assert (await log(runtime, session))[-1].type == "session.archived"


async def test_a_tool_cannot_archive_its_own_session_and_does_not_hang(bench: Bench) -> None:
    found: list[BaseException] = []

    @godwit.tool
    async def finish() -> str:
        """Archive the session it works for."""
        try:
            await runtime.archive(session)
        except SessionBusy as error:
            found.append(error)
            raise
        return "archived"

    runtime, session = await begin(bench, [call("finish"), "Done."], finish)
    await runtime.send_event(session, says("Go."))
    assert (await outcome(runtime, session)).outcome == "done"
    assert len(found) == 1
    await runtime.archive(session)
