"""Answers to parked runs by a session's id (defects 1 and 2 of the original, see `by_id`)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.conftest import Bench
from tests.host.by_id import LOOKUP, begin, data, note, outcome, says, told, types, until

from godwit.core.errors import ActionNotFound
from godwit.core.events import ActionOpened, ToolFinished, ToolStarted, UserAnswer
from godwit.core.ids import ActionId
from godwit.core.messages import Text
from godwit.models.script import call


async def test_a_custom_tools_result_reaches_the_model_at_once_and_with_its_content(bench: Bench) -> None:
    """S003-19; defect 1: the original reads the answer when its wait of 300 s is over, and gives the model another text.

    Nothing waits here: the run is parked, in words a client can act on before it answers.
    """
    runtime, session = await begin(bench, [call("lookup"), "It is 42."], LOOKUP)
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert isinstance(opened.data, ActionOpened)
    assert opened.data.kind == "external"
    await until(runtime, session, "run.parked")
    assert await runtime.status(session) == "waiting"
    await runtime.send_event(session, UserAnswer(opened.data.action, "result", content=(Text("forty-two"),)))
    assert (await outcome(runtime, session)).outcome == "done"
    assert told(bench)[-1] == "forty-two"
    kinds = await types(runtime, session)
    assert kinds.index("action.opened") < kinds.index("run.parked") < kinds.index("user.answer")
    with pytest.raises(ActionNotFound):
        await runtime.send_event(session, UserAnswer(ActionId("act_none"), "result"))


async def test_an_action_without_an_answer_times_out_and_the_run_goes_on(bench: Bench) -> None:
    """Seed 003's parking: a call that nobody answers ends as timed out, and an answer that comes later changes nothing."""
    runtime, session = await begin(
        bench, [call("note", text="a"), "Not then."], note, permissions={"note": "ask"}, approvals={"timeout_s": 0.05}
    )
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert (await outcome(runtime, session)).outcome == "done"
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]
    assert isinstance(opened.data, ActionOpened)
    await runtime.send_event(session, UserAnswer(opened.data.action, "approve"))
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]


@pytest.mark.parametrize(("decision", "status"), [("approve", "ok"), ("deny", "denied")])
async def test_a_confirmation_reaches_the_call_it_is_for(bench: Bench, decision: Any, status: str) -> None:
    """S003-20; defect 2: in the original nothing ever waits for it, and deny does what confirm does."""
    runtime, session = await begin(bench, [call("note", text="a"), "Done."], note, permissions={"note": "ask"})
    await runtime.send_event(session, says("Go."))
    opened = await until(runtime, session, "action.opened")
    assert isinstance(opened.data, ActionOpened)
    await until(runtime, session, "run.parked")
    assert not await data(runtime, session, ToolStarted), "it ran before it was allowed"
    await runtime.send_event(session, UserAnswer(opened.data.action, decision, reason="not on a Friday"))
    assert (await outcome(runtime, session)).outcome == "done"
    assert [d.status for d in await data(runtime, session, ToolFinished)] == [status]
    assert told(bench)[-1] == "noted a" if status == "ok" else "not on a Friday" in told(bench)[-1]


async def test_the_mode_deny_denies_without_asking(bench: Bench) -> None:
    """Defect 2."""
    runtime, session = await begin(bench, [call("note", text="a"), "Done."], note, permissions={"note": "deny"})
    await runtime.send_event(session, says("Go."))
    await outcome(runtime, session)
    assert [d.status for d in await data(runtime, session, ToolFinished)] == ["denied"]
    assert not await data(runtime, session, ActionOpened)
