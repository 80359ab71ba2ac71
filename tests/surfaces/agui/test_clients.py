"""The official clients of AG-UI against a server: 1.0, and the newest one of before, which is told what it understands.

A client holds each stream to the order and the schemas of its protocol by itself. So each test here shows as well that it
has found nothing to refuse, to drop or to warn of: see `clean`.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

import godwit
from godwit.core.errors import ModelRefused
from godwit.core.messages import Usage, text_of
from godwit.models.script import call, end, fail, say, think, tries

from .conftest import ASKING, Gate, Start, approved, cancelled, denied, entry
from .front import Json, Ran, Version

versions = pytest.mark.parametrize("version", ["1.0", "0.x"])

LOOK: Json = {
    "name": "look",
    "description": "Look at a part of the page.",
    "parameters": {"type": "object", "properties": {"part": {"type": "string"}}, "required": ["part"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def clean(ran: Ran) -> Ran:
    """The run, of which the client found nothing to be wrong."""
    assert (ran.error, ran.warned) == (None, [])
    return ran


def roles(messages: list[Json]) -> list[str]:
    return [message["role"] for message in messages]


def outcome(ran: Ran) -> str:
    """How it ended: the type of its outcome, or of the error."""
    if ran.end["type"] == "RUN_ERROR":
        return f"error: {ran.end.get('code')}"
    assert ran.end["type"] == "RUN_FINISHED"
    return str(ran.end.get("outcome", {"type": "success"})["type"])


# --- text --------------------------------------------------------------------------------------------------------------


@versions
async def test_a_message_is_answered(start: Start, version: Version) -> None:
    site = start("It rains in Oslo.")
    ran = clean(await (await site.client(version=version)).run("Oslo?", runId="r1"))
    assert (ran.text, outcome(ran)) == ("It rains in Oslo.", "success")
    started = ran.events[0]
    assert (started["type"], started["threadId"], started["runId"]) == ("RUN_STARTED", "t1", "r1")
    assert (ran.end["threadId"], ran.end["runId"]) == ("t1", "r1")
    assert len(ran.some("TEXT_MESSAGE_CONTENT")) > 1, "it is streamed"
    assert [message["content"] for message in ran.new_messages] == ["It rains in Oslo."]


async def test_only_a_client_of_1_0_is_told_the_version(start: Start) -> None:
    site = start("One.", "Two.")
    told = clean(await (await site.client(version="1.0")).run("Go.")).events[0]
    assert told["protocolVersion"] == "1.0"


@versions
async def test_what_was_said_before_is_not_said_again(start: Start, version: Version) -> None:
    """The client sends all messages each time; those that the session has are no new ones."""
    site = start("One.", "Two.", "Three.")
    agent = await site.client(version=version)
    for said in ("First.", "Second.", "Third."):
        ran = clean(await agent.run(said))
    assert [message["content"] for message in ran.messages] == ["First.", "One.", "Second.", "Two.", "Third.", "Three."]
    assert site.count("user.message") == 3
    assert site.count("agent.message") == 3
    last = [entry.message for entry in site.model.requests[-1].entries]
    assert len(last) == 5


@versions
async def test_messages_of_the_user_keep_their_ids(start: Start, version: Version) -> None:
    site = start("One.", "Two.")
    agent = await site.client(version=version)
    first = await agent.add("First.", "mine-1")
    clean(await agent.run())
    other = await site.client(version=version)
    shown = clean(await other.connect().end())
    assert shown.messages[0] == first
    assert shown.messages == (await agent.start().end()).messages


# --- tools -------------------------------------------------------------------------------------------------------------


@versions
async def test_calls_of_the_agent_s_tools_are_told_with_their_results(start: Start, version: Version) -> None:
    site = start(say("I look.") + call("bash", command="echo hi") + call("bash", command="exit 3"), "It says hi.")
    ran = clean(await (await site.client(version=version)).run("Go."))
    assert outcome(ran) == "success"
    assert roles(ran.new_messages) == ["assistant", "tool", "tool", "assistant"]
    asked, one, two, said = ran.new_messages
    calls = asked["toolCalls"]
    assert [c["function"]["name"] for c in calls] == ["bash", "bash"]
    assert calls[0]["function"]["arguments"].replace(" ", "") == '{"command":"echohi"}'
    assert [one["toolCallId"], two["toolCallId"]] == [c["id"] for c in calls]
    assert "hi" in one["content"]
    assert said["content"] == "It says hi."
    assert {start["parentMessageId"] for start in ran.some("TOOL_CALL_START")} == {asked["id"]}
    assert len({message["id"] for message in ran.messages}) == 5
    assert ran.pending_tool_call_ids == []


@versions
async def test_a_tool_of_the_front_end_is_left_to_it(start: Start, version: Version) -> None:
    site = start(call("look", part="title"), "It is called Birds.")
    agent = await site.client(version=version)
    ran = clean(await agent.run("What is it called?", tools=[LOOK]))
    assert outcome(ran) == "success"
    assert ran.some("TOOL_CALL_RESULT") == []
    [asked] = ran.new_messages[-1]["toolCalls"]
    assert asked["function"]["name"] == "look"
    if version == "1.0":
        assert ran.end["outcome"]["pendingToolCallIds"] == [asked["id"]]
        assert ran.pending_tool_call_ids == [asked["id"]]
    else:
        assert "pendingToolCallIds" not in ran.end.get("outcome", {})
    await agent.add_message({"id": "res-1", "role": "tool", "toolCallId": asked["id"], "content": "Birds"})
    ran = clean(await agent.run(tools=[LOOK]))
    assert (ran.text, outcome(ran)) == ("It is called Birds.", "success")
    assert roles(ran.messages) == ["user", "assistant", "tool", "assistant"]
    [told] = site.results()
    assert text_of(told.content) == "Birds"


@versions
async def test_tools_of_both_sides_in_one_answer(start: Start, version: Version) -> None:
    site = start(call("look", part="a") + call("bash", command="echo hi") + call("look", part="b"), "Done.")
    agent = await site.client(version=version)
    ran = clean(await agent.run("Go.", tools=[LOOK]))
    by_name = {c["id"]: c["function"]["name"] for message in ran.new_messages for c in message.get("toolCalls", [])}
    assert [by_name[result["toolCallId"]] for result in ran.some("TOOL_CALL_RESULT")] == ["bash"]
    left = [made for made, name in by_name.items() if name == "look"]
    if version == "1.0":
        assert ran.pending_tool_call_ids == left
    for place, made in enumerate(left):
        await agent.add_message({"id": f"res-{place}", "role": "tool", "toolCallId": made, "content": f"part {place}"})
    assert clean(await agent.run(tools=[LOOK])).text == "Done."


# --- approvals ---------------------------------------------------------------------------------------------------------


@versions
async def test_an_approval_interrupts_the_run(start: Start, version: Version) -> None:
    site = start(say("May I?") + call("bash", command="echo hi"), "It says hi.", permissions=ASKING)
    agent = await site.client(version=version)
    ran = clean(await agent.run("Go."))
    assert outcome(ran) == "interrupt"
    [asked] = ran.pending_interrupts
    [made] = ran.new_messages[-1]["toolCalls"]
    assert (asked["reason"], asked["toolCallId"]) == ("tool_call", made["id"])
    assert {"approved", "editedArgs"} <= set(asked["responseSchema"]["properties"])
    assert ran.some("TOOL_CALL_RESULT") == []
    again = clean(await agent.run(resume=[approved(asked)]))
    assert (again.text, outcome(again), again.pending_interrupts) == ("It says hi.", "success", [])
    [result] = again.some("TOOL_CALL_RESULT")
    assert result["toolCallId"] == made["id"]
    assert "hi" in result["content"]
    assert again.some("TOOL_CALL_START") == [], "the call was told before"
    assert roles(again.messages) == ["user", "assistant", "tool", "assistant"]
    assert site.count("user.message") == 1


@versions
async def test_a_call_is_denied(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi"), "Then not.", permissions=ASKING)
    agent = await site.client(version=version)
    [asked] = (await agent.run("Go.")).pending_interrupts
    ran = clean(await agent.run(resume=[denied(asked, reason="not today")]))
    assert ran.text == "Then not."
    [result] = ran.some("TOOL_CALL_RESULT")
    assert "not today" in result["content"]


@versions
async def test_an_interrupt_that_is_cancelled_denies_the_call(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi > it"), "Then not.", permissions=ASKING)
    agent = await site.client(version=version)
    [asked] = (await agent.run("Go.")).pending_interrupts
    ran = clean(await agent.run(resume=[cancelled(asked)]))
    assert ran.text == "Then not."
    assert [result.status for result in site.results()] == ["denied"]


@versions
async def test_arguments_are_edited(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi"), "Done.", permissions=ASKING)
    agent = await site.client(version=version)
    [asked] = (await agent.run("Go.")).pending_interrupts
    ran = clean(await agent.run(resume=[approved(asked, editedArgs={"command": "echo bye"})]))
    assert "bye" in ran.some("TOOL_CALL_RESULT")[0]["content"]
    assert ran.text == "Done."


async def test_what_is_remembered_is_not_asked_again(start: Start) -> None:
    site = start(call("bash", command="echo hi"), call("bash", command="echo hi"), "Done.", permissions=ASKING)
    agent = await site.client()
    [asked] = (await agent.run("Go.")).pending_interrupts
    ran = clean(await agent.run(resume=[approved(asked, remember="session")]))
    assert (ran.text, len(ran.some("TOOL_CALL_RESULT"))) == ("Done.", 2)


@versions
async def test_all_interrupts_are_covered_or_nothing_is_done(start: Start, version: Version) -> None:
    two = call("bash", command="echo one > one") + call("bash", command="echo two > two")
    site = start(two, "Done.", permissions=ASKING)
    agent = await site.client(version=version)
    ran = clean(await agent.run("Go."))
    first, second = ran.pending_interrupts
    assert first["id"] != second["id"]
    hasty = await site.client(version=version, messages=ran.messages)  # one that knows of no interrupts lets it pass
    raised = clean(await hasty.run(resume=[approved(first)]))
    assert outcome(raised) == "interrupt"
    assert [one["id"] for one in raised.pending_interrupts] == [first["id"], second["id"]]
    assert (site.count("user.answer"), site.count("tool.finished")) == (0, 0)
    done = clean(await agent.run(resume=[approved(first), denied(second)]))
    assert (done.text, outcome(done)) == ("Done.", "success")
    by_call = {result.call: result.status for result in site.results()}
    assert by_call == {first["toolCallId"]: "ok", second["toolCallId"]: "denied"}


@versions
async def test_what_is_said_while_it_waits_is_not_heard_without_an_answer(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi"), "Done.", permissions=ASKING)
    ran = clean(await (await site.client(version=version)).run("Go."))
    other = await site.client(version=version, messages=ran.messages)
    raised = clean(await other.run("And now?"))
    assert outcome(raised) == "interrupt"
    assert raised.pending_interrupts == ran.pending_interrupts
    assert site.count("user.answer") == 0


@versions
async def test_an_answer_to_nothing_is_passed_over(start: Start, version: Version) -> None:
    site = start("One.", "Two.")
    agent = await site.client(version=version)
    clean(await agent.run("First."))
    ran = clean(await agent.run("Second.", resume=[{"interruptId": "act_none", "status": "resolved", "payload": {}}]))
    assert (ran.text, outcome(ran)) == ("Two.", "success")


async def test_an_answer_given_twice_changes_nothing(start: Start) -> None:
    site = start(call("bash", command="echo hi"), "Done.", permissions=ASKING)
    agent = await site.client()
    [asked] = (await agent.run("Go.")).pending_interrupts
    clean(await agent.run(resume=[approved(asked)]))
    again = clean(await agent.run(resume=[denied(asked)]))
    assert outcome(again) == "success"
    assert (site.count("user.answer"), site.count("run.started")) == (1, 1)


# --- questions ---------------------------------------------------------------------------------------------------------

COLOUR: Json = {
    "question": "Which colour?",
    "header": "Colour",
    "options": [{"label": "Red", "description": ""}, {"label": "Blue", "description": ""}],
}


@versions
async def test_a_question_is_a_form(start: Start, version: Version) -> None:
    site = start(call("ask_user", questions=[COLOUR]), "Blue, then.", tools=["ask_user"])
    agent = await site.client(version=version)
    ran = clean(await agent.run("Paint it."))
    [asked] = ran.pending_interrupts
    assert asked["reason"] == "input_required"
    schema = asked["responseSchema"]
    assert schema["type"] == "object"
    [name] = list(schema["properties"])[:1]
    done = clean(await agent.run(resume=[entry(asked, **{name: "Blue"})]))
    assert (done.text, outcome(done)) == ("Blue, then.", "success")
    [result] = done.some("TOOL_CALL_RESULT")
    assert "Blue" in result["content"]


# --- ends --------------------------------------------------------------------------------------------------------------


@versions
async def test_a_run_that_is_cancelled_is_no_success(start: Start, version: Version) -> None:
    gate = Gate()
    site = start(say("It is ") + gate.hold() + say("never said."))
    agent = await site.client(version=version)
    await agent.add("Oslo?")
    running = agent.start()
    await gate.reached()
    await running.until("TEXT_MESSAGE_CONTENT")
    session = site.session()
    site.server.call(session.interrupt)
    ran = clean(await running.end())
    if version == "1.0":
        assert outcome(ran) == "cancelled"
        assert "result" not in ran.end
    else:
        assert outcome(ran) == "error: cancelled"


@versions
async def test_a_model_that_fails_is_an_error(start: Start, version: Version) -> None:
    site = start(say("It is ") + fail(ModelRefused("no such model")))
    ran = await (await site.client(version=version)).run("Go.")
    assert ran.error is None
    assert outcome(ran).startswith("error: ")
    assert ran.end["message"]
    assert len(ran.some("RUN_ERROR")) == 1


@versions
async def test_after_an_error_the_thread_goes_on(start: Start, version: Version) -> None:
    site = start(tries(ModelRefused("no"), "Here."))
    agent = await site.client(version=version)
    assert outcome(await agent.run("Go.")).startswith("error: ")
    ran = clean(await agent.run("And now?"))
    assert (ran.text, outcome(ran)) == ("Here.", "success")


# --- what else is told -------------------------------------------------------------------------------------------------


@versions
async def test_reasoning_is_told_apart(start: Start, version: Version) -> None:
    site = start(think("The sky is grey.") + say("It rains."))
    ran = clean(await (await site.client(version=version)).run("Oslo?"))
    assert roles(ran.new_messages) == ["reasoning", "assistant"]
    assert [message["content"] for message in ran.new_messages] == ["The sky is grey.", "It rains."]
    kinds = [kind for kind in ran.types() if kind.startswith("REASONING")]
    assert (kinds[0], kinds[-1]) == ("REASONING_START", "REASONING_END")


@versions
async def test_steps_are_opened_and_closed(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi"), "Done.")
    ran = clean(await (await site.client(version=version)).run("Go."))
    began = [event["stepName"] for event in ran.some("STEP_STARTED")]
    assert began
    assert began == [event["stepName"] for event in ran.some("STEP_FINISHED")]


@versions
async def test_usage_is_told_with_the_end(start: Start, version: Version) -> None:
    usage = Usage(100, 20, requests=1)
    site = start(call("bash", command="echo hi") + end(usage=usage), say("Done.") + end(usage=usage))
    ran = clean(await (await site.client(version=version)).run("Go."))
    [told] = ran.end["usage"]
    assert (told["inputTokens"], told["outputTokens"]) == (200, 40)
    assert told["model"]


@versions
async def test_usage_of_an_interrupted_run_is_not_told_twice(start: Start, version: Version) -> None:
    usage = Usage(100, 20, requests=1)
    script = [call("bash", command="echo hi") + end(usage=usage), say("Done.") + end(usage=usage)]
    agent = await start(*script, permissions=ASKING).client(version=version)
    first = clean(await agent.run("Go."))
    second = clean(await agent.run(resume=[approved(first.pending_interrupts[0])]))
    assert [sum(one["inputTokens"] for one in ran.end["usage"]) for ran in (first, second)] == [100, 100]


@versions
async def test_a_subagent_s_work_is_told_as_its_own(start: Start, version: Version) -> None:
    poet = godwit.Agent("poet", model="scripted:poet", description="Writes a line.")
    models = {"scripted:poet": godwit.ScriptedModel([think("Rain.") + say("It pours.")], "scripted:poet")}
    site = start(
        call("task", agent="poet", prompt="On rain."), "Here it is.", tools=(), subagents=[poet.spec], models=models
    )
    ran = clean(await (await site.client(version=version)).run("A line."))
    assert outcome(ran) == "success"
    [began] = ran.some("SUBAGENT_STARTED")
    [ended] = ran.some("SUBAGENT_FINISHED")
    assert began["name"] == "poet"
    assert began["subagentRunId"] == ended["subagentRunId"]
    mine = {"subagentRunId": began["subagentRunId"]}
    by_role = {event["messageId"]: event for event in ran.some("TEXT_MESSAGE_START")}
    told: dict[str, str] = {}
    for event in ran.some("TEXT_MESSAGE_CONTENT"):
        begun = by_role[event["messageId"]]
        who = f"{'its' if mine.items() <= event.items() else 'our'} {begun.get('role', 'assistant')}"
        told[who] = told.get(who, "") + event["delta"]
    assert told == {"its user": "On rain.", "its assistant": "It pours.", "our assistant": "Here it is."}
    assert all(mine.items() <= event.items() for event in ran.some("REASONING_MESSAGE_CONTENT"))


# --- what the front end tells ------------------------------------------------------------------------------------------


@versions
async def test_context_reaches_the_model(start: Start, version: Version) -> None:
    site = start("Fine.")
    agent = await site.client(version=version)
    clean(await agent.run("Go.", context=[{"description": "The user's city", "value": "Tromsø"}]))
    told = "".join(text_of(one.message.content) for one in site.model.requests[-1].entries)
    assert "Tromsø" in told
    assert "Go." in told
    shown = clean(await (await site.client(version=version)).connect().end())
    assert [message["content"] for message in shown.messages] == ["Go.", "Fine."], "it is no part of what was said"


@versions
async def test_the_state_reaches_the_model_and_stays_the_client_s(start: Start, version: Version) -> None:
    site = start("Fine.", "Good.")
    agent = await site.client(version=version, state={"cards": [1], "none": None})
    ran = clean(await agent.run("Go."))
    assert ran.state == {"cards": [1], "none": None}
    told = "".join(text_of(one.message.content) for one in site.model.requests[-1].entries)
    assert '"cards":[1]' in told.replace(" ", "")


@versions
async def test_the_state_comes_back_to_another_client(start: Start, version: Version) -> None:
    site = start("Fine.")
    clean(await (await site.client(version=version, state={"cards": [1]})).run("Go."))
    other = clean(await (await site.client(version=version)).connect().end())
    assert other.state == {"cards": [1]}


@versions
async def test_what_the_agent_changes_in_the_state_is_told_as_it_happens(start: Start, version: Version) -> None:
    change = call("update_state", operations=[{"op": "add", "path": "/cards/-", "value": {"title": None}}])
    site = start(change, "Added.", "Good.", tools=["state"])
    agent = await site.client(version=version, state={"cards": []})
    ran = clean(await agent.run("Add a card."))
    assert ran.state == {"cards": [{"title": None}]}
    [told] = ran.some("STATE_DELTA")
    assert told["delta"] == [{"op": "add", "path": "/cards/-", "value": {"title": None}}]
    other = await site.client(version=version)
    assert clean(await other.connect().end()).state == ran.state
    # What one front end changes, the others have with what they do next.
    await other.set_state({"cards": [1]})
    assert clean(await other.run("Look at mine.")).state == {"cards": [1]}
    assert clean(await agent.connect().end()).state == {"cards": [1]}


@versions
async def test_a_state_that_is_not_sent_takes_nobody_s_away(start: Start, version: Version) -> None:
    site = start("One.", "Two.")
    clean(await (await site.client(version=version, state={"a": 1})).run("Go."))
    other = await site.client(version=version)
    ran = clean(await other.run("And now?"))
    assert ran.state == {"a": 1}


@versions
async def test_two_clients_follow_the_state_while_the_agent_changes_it(start: Start, version: Version) -> None:
    gate = Gate()
    change = call("update_state", operations=[{"op": "replace", "path": "/n", "value": 2}])
    site = start(say("First ") + gate.hold() + say("this.") + change, "Done.", tools=["state"])
    agent = await site.client(version=version, state={"n": 1})
    await agent.add("Go.", "u1")
    running = agent.start()
    await gate.reached()
    following = (await site.client(version=version)).connect()
    await following.until("TEXT_MESSAGE_CONTENT")
    gate.open(site)
    ends = [clean(await one.end()) for one in (running, following)]
    assert [ran.state for ran in ends] == [{"n": 2}] * 2


@versions
async def test_a_message_is_answered_once_more(start: Start, version: Version) -> None:
    """In place of what was said to it: the client has the new answer alone."""
    site = start(tries("It rains.", "It snows."), "Bye.")
    agent = await site.client(version=version)
    first = clean(await agent.run("Oslo?"))
    await agent.set_messages(first.messages[:1])
    again = clean(await agent.run(forwardedProps={"godwit": {"regenerate": True}}))
    assert (again.text, [message["content"] for message in again.messages]) == ("It snows.", ["Oslo?", "It snows."])


@versions
async def test_a_result_that_is_a_picture(start: Start, version: Version) -> None:
    """Parts for who takes them, and words for a client of before."""

    @godwit.tool
    def draw() -> list[godwit.Text | godwit.Image]:
        """Draw."""
        return [godwit.Text("A dot."), godwit.Image("image/png", data=base64.b64decode(PIXEL))]

    site = start(call("draw"), "There.", tools=["draw"], host_tools=[draw])
    ran = clean(await (await site.client(version=version)).run("Draw."))
    [result] = ran.some("TOOL_CALL_RESULT")
    if version == "1.0":
        assert [part["type"] for part in result["content"]] == ["text", "image"]
        assert result["content"][1]["source"] == {"type": "data", "value": PIXEL, "mimeType": "image/png"}
    else:
        assert isinstance(result["content"], str)
        assert "A dot." in result["content"]


@versions
async def test_an_application_s_result_may_be_an_error(start: Start, version: Version) -> None:
    site = start(call("look", part="title"), "Then not.")
    agent = await site.client(version=version)
    ran = clean(await agent.run("Look.", tools=[LOOK]))
    [asked] = ran.new_messages[-1]["toolCalls"]
    failed = {"id": "res-1", "role": "tool", "toolCallId": asked["id"], "content": "", "error": "there is no page"}
    await agent.add_message(failed)
    assert clean(await agent.run(tools=[LOOK])).text == "Then not."
    [result] = site.results()
    assert (result.status, text_of(result.content)) == ("error", "there is no page")


@versions
async def test_questions_of_subagents_are_asked_and_answered(start: Start, version: Version) -> None:
    scribe = godwit.Agent("scribe", model="scripted:scribe", description="Writes.", tools=["bash"], permissions=ASKING)
    models = {"scripted:scribe": godwit.ScriptedModel([call("bash", command="echo hi"), "It says hi."], "scripted:scribe")}
    site = start(
        call("task", agent="scribe", prompt="Go."), "Done.", "Bye.", tools=(), subagents=[scribe.spec], models=models
    )
    agent = await site.client(version=version)
    ran = clean(await agent.run("Go."))
    [asked] = ran.pending_interrupts
    [began] = ran.some("SUBAGENT_STARTED")
    assert asked["subagentRunId"] == began["subagentRunId"]
    assert asked["toolCallId"] in [event["toolCallId"] for event in ran.some("TOOL_CALL_START")]
    done = clean(await agent.run(resume=[approved(asked)]))
    assert outcome(done) == "success"
    assert done.messages[-1]["content"] == "Done."
    shown = clean(await (await site.client(version=version)).connect().end())
    assert shown.messages == done.messages
    # Clients send back what was said to the subagent as well: it is said to nobody again.
    assert clean(await agent.run("And now?")).text == "Bye."
    shown = clean(await (await site.client(version=version)).connect().end())
    mine = [message for message in shown.messages if message["role"] == "user" and "subagentRunId" not in message]
    assert [message["content"] for message in mine] == ["Go.", "And now?"]


@versions
async def test_a_picture_to_a_model_that_sees_none_ends_nothing(start: Start, version: Version) -> None:
    site = start("I see nothing.")
    agent = await site.client(version=version)
    part = {"type": "image", "source": {"type": "data", "value": PIXEL, "mimeType": "image/png"}}
    await agent.add_message({"id": "u1", "role": "user", "content": [{"type": "text", "text": "What is it?"}, part]})
    ran = clean(await agent.run())
    assert (ran.text, outcome(ran)) == ("I see nothing.", "success")


@versions
@pytest.mark.parametrize(
    "source",
    [{"type": "file", "value": "file_1", "provider": "openai"}, {"type": "data", "value": "!", "mimeType": "image/png"}],
    ids=["elsewhere", "no base64"],
)
async def test_parts_that_cannot_be_used_are_left_out(start: Start, version: Version, source: Any) -> None:
    site = start("Fine.")
    agent = await site.client(version=version)
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    await agent.add_message({"id": "u1", "role": "user", "content": parts})
    ran = await agent.run()
    if version == "0.x" and source["type"] == "file":
        return  # a client of its time has no such source
    assert clean(ran).text == "Fine."
