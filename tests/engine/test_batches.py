"""Several inputs sent at once, and what a session may be told to go on with."""

from __future__ import annotations

import pytest

from godwit.core.agent import ToolDefinition
from godwit.core.errors import ActionNotFound, AlreadyAnswered, HeadMoved, InvalidArgument, KeyReused, NoOpenRun
from godwit.core.events import UserAnswer, UserInterrupt, UserMessage
from godwit.core.ids import ActionId, InputId, RunId, Seq
from godwit.core.messages import Text, User
from godwit.host.agents import Agent
from godwit.models.script import call, say

from .conftest import Bench, until_type

ANY = InputId("")


async def test_messages_at_once_start_one_run_that_hears_all_of_them(bench: Bench) -> None:
    session = await bench.start([say("heard")])
    sent = [UserMessage(ANY, (Text("one"),)), UserMessage(ANY, (Text("two"),), "steer", "batch")]
    await session.send_events(sent, key="k")
    await session.wait()
    heard = [m.content for m in await session.history() if isinstance(m, User)]
    assert heard == [(Text("one"),), (Text("two"),)]
    assert await session.run_count() == 1
    head = len(await session.events())
    await session.send_events(sent, key="k")
    assert len(await session.events()) == head
    with pytest.raises(KeyReused):
        await session.send_events(sent[:1], key="k")


async def test_inputs_of_which_one_cannot_be_are_none(bench: Bench) -> None:
    session = await bench.start([say("heard")])
    head = len(await session.events())
    message = UserMessage(ANY, (Text("one"),))
    wrong: list[tuple[UserMessage | UserInterrupt | UserAnswer, type[Exception]]] = [
        (UserAnswer(ActionId("act-none"), "result", content=(Text("x"),)), ActionNotFound),
        (UserMessage(ANY, (Text(" "),), "steer"), InvalidArgument),
        (UserInterrupt(RunId("run-none")), NoOpenRun),
    ]
    for other, error in wrong:
        with pytest.raises(error):
            await session.send_events([message, other])
    assert len(await session.events()) == head


async def test_inputs_may_expect_where_the_log_ends_and_tell_where_they_stand(bench: Bench) -> None:
    session = await bench.start([say("heard")])
    head = (await bench.runtimes[0].store.session(session.id)).head
    message = UserMessage(ANY, (Text("one"),), "follow_up")
    with pytest.raises(HeadMoved):
        await session.send_events([message], expect=Seq(head - 1))
    appended = await session.send_events([message], expect=head, key="k")
    assert appended.first == head + 1
    assert (await session.send_events([message], expect=head, key="k")).duplicate
    await session.wait()


async def test_answers_at_once_are_given_once(bench: Bench) -> None:
    ask = ToolDefinition("ask", "Ask.", {"type": "object", "properties": {}})
    session = await bench.start([call("ask") + call("ask"), say("thanks")], ask)
    await session.prompt("go")
    await until_type(session, "run.parked")
    actions = [one.id for one in await session.approvals.pending()]
    answers = [UserAnswer(one, "result", content=(Text("42"),)) for one in actions]
    await session.send_events(answers)
    with pytest.raises((AlreadyAnswered, ActionNotFound)):
        await session.send_events(answers)
    assert (await session.wait()).text == "thanks"


async def test_a_session_goes_on_as_another_agent_with_other_metadata(bench: Bench) -> None:
    session = await bench.start([say("first"), say("second")])
    await session.send("one")
    other = await bench.runtimes[0].create(Agent("other", model=session.model, instructions="Be brief."))
    await session.configure(agent=other, metadata={"k": "v"})
    assert (session.agent, session.config.spec.instructions) == (other, "Be brief.")
    await session.send("two")
    state = await session.state()
    assert (state.agent, state.metadata) == (other, {"k": "v"})
    assert bench.model is not None
    assert bench.model.requests[-1].instructions == "Be brief."
