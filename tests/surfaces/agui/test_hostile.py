"""What a front end may send that is wrong, odd, too much or at the wrong moment."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

import godwit
from godwit import errors
from godwit.models.script import Script, call, say, tries
from godwit.surfaces.agui.conversation import Conversations
from godwit.surfaces.agui.threads import session_of
from tests.patience import PATIENCE_S

from .conftest import ASKING, Gate, Site, Start, approved, denied
from .wire import Json, asking, said, text_of, types


def cursor_of(**told: Json | list[object]) -> Json:
    """What a front end sends that goes on behind this place."""
    text = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    return {"forwardedProps": {"godwit": {"cursor": text}}}


async def until(site: Site, kind: str, times: int = 1) -> None:
    """Wait for the so-manieth event of this type in the log of the thread `t1`."""

    async def wait() -> None:
        left = times
        session = await site.server.runtime.open_session(session_of(None, "t1"), drive=False)
        async for event in session.follow():
            left -= event.type == kind
            if not left:
                return

    await asyncio.wait_for(asyncio.to_thread(site.server.call, wait), PATIENCE_S)


@pytest.mark.parametrize("path", ["", "/connect"])
@pytest.mark.parametrize("place", [{}, {"ses_other": 1}, {"": -1}, {"": 2**53 - 1}, {"": 1000}, {"": 2**64}])
async def test_a_cursor_of_nowhere_is_refused_and_nothing_is_done(start: Start, path: str, place: Json) -> None:
    """Whoever read on from there would wait for ever."""
    site = start("One.", "Two.")
    async with site.wire() as wire:
        await wire.run(asking("t1", said("Go.")))
        refused = await wire.refused(asking("t1", said("Go."), said("Now.", "u2"), run="r2", **cursor_of(s=place)), path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_argument")
        assert site.count("user.message") == 1


@pytest.mark.parametrize(
    "more",
    [
        {"s": {"": 3, "ses_of_somebody": 7}},
        {"s": {"": 3}, "a": {"": {"i": "x", "t": {"0": -5}, "o": True, "b": 4, "c": [[0, "", "", -4]]}}},
        {"s": {"": 3}, "a": {"ses_of_somebody": {"i": "x"}}, "p": ["ses_of_somebody", -5, -9]},
    ],
)
async def test_what_else_a_made_up_cursor_says_harms_nobody(start: Start, more: Json) -> None:
    site = start("One.", "Two.")
    async with site.wire() as wire:
        await wire.run(asking("t1", said("Go.")))
        told = await wire.run(asking("t1", said("Go."), run="r2", **cursor_of(**more)), "/connect")
        assert types(told)[-1] == "RUN_FINISHED"
        assert text_of(told) == "One."


async def test_a_message_that_is_refused_changes_no_state(start: Start) -> None:
    gate = Gate()
    site = start(gate.hold() + say("In Oslo."))
    async with site.wire() as wire:
        async with wire.opened(asking("t1", said("Oslo?"), run="r1")) as first:
            await gate.reached()
            more: Json = {"state": {"a": 1}, "forwardedProps": {"godwit": {"delivery": "refuse"}}}
            assert (await wire.refused(asking("t1", said("Oslo?"), said("No.", "u2"), run="r2", **more))).status_code == 409
            gate.open(site)
            await first.all()
    assert site.count("state.updated") == 0


async def test_what_is_answered_once_more_comes_with_its_state(start: Start) -> None:
    site = start("One.")
    async with site.wire() as wire:
        await wire.run(asking("t1", said("Go."), run="r1", state={"a": 1}))
        again: Json = {"state": {"a": 2}, "forwardedProps": {"godwit": {"regenerate": True}}}
        assert text_of(await wire.run(asking("t1", said("Go."), run="r2", **again))) == "One."
        told = await wire.run(asking("t1", said("Go."), run="r3"), "/connect")
        assert [event["snapshot"] for event in told if event["type"] == "STATE_SNAPSHOT"] == [{"a": 2}]


async def test_what_works_in_the_background_asks_while_no_run_is_open(start: Start) -> None:
    clerk = godwit.Agent("clerk", model="scripted:clerk", tools=["bash"], permissions=ASKING, description="Runs things.")
    ways: Script = [call("bash", command="echo hi"), call("bash", command="echo ho"), "Done."]
    site = start(
        call("task", agent="clerk", prompt="Say hi.", background=True),
        "It works.",
        "All done.",
        tools=(),
        subagents=[clerk.spec],
        models={"scripted:clerk": godwit.ScriptedModel(ways, "scripted:clerk")},
    )
    async with site.wire() as wire:
        await wire.run(asking("t1", said("Go."), run="r1"))
        await until(site, "subagent.asked")
        told = await wire.run(asking("t1", said("Go."), run="r2"), "/connect")
        (first,) = told[-1]["outcome"]["interrupts"]
        # Answered, it goes on and asks again, and this is told, for nothing else goes on.
        told = await wire.run(asking("t1", said("Go."), run="r3", resume=[approved(first)]))
        (second,) = told[-1]["outcome"]["interrupts"]
        assert first["id"] != second["id"]
        told = await wire.run(asking("t1", said("Go."), run="r4", resume=[approved(second)]))
        assert text_of([event for event in told if "subagentRunId" not in event]).endswith("All done.")
        assert told[-1]["outcome"] == {"type": "success"}


async def test_what_an_ended_task_has_left_asks_as_well(start: Start) -> None:
    """Until it is answered no message is taken, so it has to be told."""
    gate = Gate()
    clerk = godwit.Agent("clerk", model="scripted:clerk", tools=["bash"], permissions=ASKING, description="Runs things.")
    chief = godwit.Agent("chief", model="scripted:chief", subagents=[clerk.spec], description="Has things run.")
    models = {
        "scripted:clerk": godwit.ScriptedModel([gate.hold() + call("bash", command="echo hi"), "Done."], "scripted:clerk"),
        "scripted:chief": godwit.ScriptedModel(
            [call("task", agent="clerk", prompt="Say hi.", background=True), "Begun.", "Good."], "scripted:chief"
        ),
    }
    site = start(
        call("task", agent="chief", prompt="Have it done."), "Now.", "Then.", tools=(), subagents=[chief.spec], models=models
    )
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1"))
        assert told[-1]["outcome"] == {"type": "success"}
        await gate.reached()
        gate.open(site)
        await until(site, "subagent.asked")
        told = await wire.run(asking("t1", said("Go."), said("And?", "u2"), run="r2"))
        (interrupt,) = told[-1]["outcome"]["interrupts"]
        assert interrupt["metadata"]["godwit"]["name"] == "bash"
        told = await wire.run(asking("t1", said("Go."), said("And?", "u2"), run="r3", resume=[approved(interrupt)]))
        assert text_of([event for event in told if "subagentRunId" not in event]).endswith("Then.")


async def test_a_request_that_comes_again_ends_as_its_run_did(start: Start) -> None:
    site = start(tries(errors.ModelRefused("It is broken."), "Well."), "So.")
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1"))
        assert types(told)[-1] == "RUN_ERROR"
        again = await wire.run(asking("t1", said("Go."), run="r1"))
        assert (again[-1]["type"], again[-1]["code"]) == ("RUN_ERROR", told[-1]["code"])
        # Who only looks is told of no error.
        assert (await wire.run(asking("t1", said("Go."), run="r2"), "/connect"))[-1]["type"] == "RUN_FINISHED"
        assert text_of(await wire.run(asking("t1", said("Go."), said("Now?", "u2"), run="r3"))) == "Well."


async def test_results_of_several_calls_may_have_one_id(start: Start) -> None:
    pick: Json = {"name": "pick", "description": "Pick a colour.", "parameters": {"type": "object", "properties": {}}}
    site = start(call("pick"), call("pick"), "Red, then blue.")
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1", tools=[pick]))
        for number, colour in enumerate(["red", "blue"], 2):
            (pending,) = told[-1]["outcome"]["pendingToolCallIds"]
            result: Json = {"id": "result", "role": "tool", "toolCallId": pending, "content": colour}
            told = await wire.run(asking("t1", said("Go."), result, run=f"r{number}", tools=[pick]))
        assert text_of(told) == "Red, then blue."


async def test_a_thread_may_bring_a_long_history(start: Start) -> None:
    """What others have answered is not asked again, and comes as one text."""
    site = start("So it is.", "Bye.")
    history: list[Json] = []
    for number in range(300):
        history.append(said(f"question {number}", f"q{number}"))
        history.append({"id": f"a{number}", "role": "assistant", "content": f"answer {number}"})
    async with site.wire() as wire:
        assert text_of(await wire.run(asking("t1", *history, said("And now?", "u1"), run="r1"))) == "So it is."
        assert text_of(await wire.run(asking("t1", *history, said("And now?", "u1"), run="r1"))) == ""
        assert (
            text_of(await wire.run(asking("t1", *history, said("And now?", "u1"), said("Bye.", "u2"), run="r2"))) == "Bye."
        )
    assert site.count("user.message") == 2
    first = site.model.requests[0].entries[0].message.text
    assert first.startswith("And now?")
    assert "User: question 7\n\nAssistant: answer 7\n\nUser: question 8" in first
    assert "question 7" not in site.model.requests[1].entries[-1].message.text


@pytest.mark.parametrize("parameters", [{"properties": 5}, {"anyOf": 1}, {"properties": {"a": {"minLength": "x"}}}])
async def test_a_tool_whose_schema_is_none_is_refused(start: Start, parameters: Json) -> None:
    site = start("One.")
    async with site.wire() as wire:
        tool: Json = {"name": "pick", "description": "", "parameters": parameters}
        assert (await wire.refused(asking("t1", said("Go."), tools=[tool]))).status_code == 400


async def test_ids_with_a_nul_are_ids_like_others(start: Start) -> None:
    site = start("One.", "Two.")
    async with site.wire() as wire:
        assert text_of(await wire.run(asking("t1", said("a", "a"), said("b", "b"), run="r1"))) == "One."
        assert text_of(await wire.run(asking("t1", said("c", "a\0b"), run="r2"))) == "Two."


async def test_of_answers_of_which_one_cannot_be_given_none_is(start: Start) -> None:
    calls = call("bash", command="echo one") + call("bash", command="$(date) > /dev/null")
    site = start(calls, "Both.", permissions=ASKING)
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1"))
        first, second = told[-1]["outcome"]["interrupts"]
        assert "remember" not in second["responseSchema"]["properties"]
        answers = [approved(first), approved(second, remember="session")]
        assert (await wire.refused(asking("t1", said("Go."), run="r2", resume=answers))).status_code == 400
        assert site.count("user.answer") == 0
        told = await wire.run(asking("t1", said("Go."), run="r3", resume=[approved(first), approved(second)]))
        assert text_of(told) == "Both."


async def test_of_two_who_answer_at_once_one_is_told_that_it_was_late(start: Start) -> None:
    site = start(call("bash", command="echo hi"), "Hi.", permissions=ASKING)
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1"))
        (interrupt,) = told[-1]["outcome"]["interrupts"]
        answers = [approved(interrupt), denied(interrupt)]
        both = await asyncio.gather(
            *(wire.run(asking("t1", said("Go."), run=f"r{n}", resume=[one])) for n, one in enumerate(answers, 2))
        )
        assert sum("warnings" in told[0]["metadata"]["godwit"] for told in both) == 1
        assert {text_of(told) for told in both} <= {"Hi.", ""}
    assert site.count("user.answer") == 1


async def test_of_long_conversations_few_are_kept_between_requests() -> None:
    """Those with files are long."""
    model = godwit.ScriptedModel(["Seen."], "scripted:any")
    async with await godwit.Runtime.open(":memory:", models={"scripted:any": model}) as runtime:
        conversations = Conversations(runtime.store, most_chars=50_000)
        sessions = [await runtime.start_session(godwit.Agent("bird", model="scripted:any")) for _ in range(4)]
        for session in sessions:
            await session.send("x" * 20_000)
            head = (await runtime.store.session(session.id)).head
            assert len((await conversations.at(session.id, head)).bodies()) == 2
        assert [session.id in conversations for session in sessions] == [False, False, True, True]
        head = (await runtime.store.session(sessions[0].id)).head
        assert len((await conversations.at(sessions[0].id, head)).bodies()) == 2
