"""Names of senders that are godwit's own: nobody outside takes one, and what goes by one is the engine's."""

from __future__ import annotations

from typing import Any

import pytest

import godwit
from godwit.core.errors import InvalidArgument
from godwit.core.events import ActionOpened, UserAnswer, UserMessage
from godwit.core.ids import InputId
from godwit.core.messages import Text, User, text_of
from godwit.core.senders import free_name, is_own
from godwit.engine.log import load_transcript
from godwit.models.script import call, say

from .conftest import Bench, data, until_type, within

TAKEN = ("nudge", "verification", "output", "policy", "hook mine", "task task_1")
FREE = ("cli", "ann", "hooks", "a task", "Nudge", "managed_agents.system")


def test_names_that_are_taken_and_names_that_are_not() -> None:
    assert [name for name in (*TAKEN, *FREE) if is_own(name)] == list(TAKEN)
    assert [free_name(name) for name in ("ann", "policy")] == ["ann", None]


@pytest.mark.parametrize("sender", TAKEN)
async def test_nobody_outside_sends_under_a_name_of_godwits_own(bench: Bench, sender: str) -> None:
    @godwit.tool
    def look() -> str:
        """Look."""
        return "nothing"

    session = await bench.start([call("look"), say("Done.")], look, permissions=godwit.Permissions(ask=("look",)))
    run = await session.prompt("Go.", sender="ann")
    opened = (await until_type(session, "action.opened")).data
    assert isinstance(opened, ActionOpened)
    action = opened.action
    said = (Text("Leave all as it is."),)
    ways: list[Any] = [
        lambda: session.steer("Leave it.", sender=sender),
        lambda: session.follow_up("Leave it.", sender=sender),
        lambda: session.command("/steer Leave it.", sender=sender),
        lambda: session.send_event(UserMessage(InputId("i"), said, "steer", sender=sender)),
        lambda: session.send_event(UserMessage(InputId("i"), said, "follow_up", sender=sender)),
        lambda: session.approve(action, remember="always", sender=sender),
        lambda: session.deny(action, sender=sender),
        lambda: session.send_event(UserAnswer(action, "approve", sender=sender)),
    ]
    for way in ways:
        with pytest.raises(InvalidArgument, match="godwit's own") as refused:
            await way()
        assert refused.value.details["sender"] == sender
    assert await session.approve(action, sender="bob")
    await within(session.wait(run))
    for way in (lambda: session.prompt("Go.", sender=sender), lambda: session.send("Go.", sender=sender)):
        with pytest.raises(InvalidArgument, match="godwit's own"):
            await way()
    assert [m.sender for m in await data(session, UserMessage)] == ["ann"]
    assert [a.sender for a in await data(session, UserAnswer)] == ["bob"]


async def test_several_at_once_are_refused_together(bench: Bench) -> None:
    session = await bench.start([say("Done.")])
    good, bad = (UserMessage(InputId("i"), (Text("Go."),), "prompt", sender=one) for one in ("ann", "nudge"))
    with pytest.raises(InvalidArgument, match="godwit's own"):
        await session.send_events([good, bad])
    assert await data(session, UserMessage) == []


async def test_no_worker_goes_by_the_name_of_the_policy(bench: Bench) -> None:
    runtime = await bench.runtime()
    with pytest.raises(InvalidArgument, match="godwit's own"):
        await runtime.external_tasks.lease(["tools"], tenant=None, worker="policy")


async def test_what_is_wrong_with_an_answer_is_no_persons_word(bench: Bench) -> None:
    """It quotes the answer: an address in it is the model's own, and not one that somebody has shown it."""
    made_up = "https://example.org/made-up"
    session = await bench.start([f'{{"n": "{made_up}"}}', '{"n": 1}'])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    result = await within(session.send("How many?", output=godwit.OutputSpec(schema)))
    assert result.output == {"n": 1}
    assert [m.sender for m in await data(session, UserMessage)] == [None, "output"]
    transcript = await load_transcript(bench.runtimes[0].store, session.id)
    assert made_up in str(transcript.messages[2])
    assert [text_of(m.content) for m in transcript.from_outside if isinstance(m, User)] == [
        text_of(transcript.messages[0].content)
    ]
