"""Events of a session, as the official client sends, lists and hears them."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from godwit.core.budget import Price
from godwit.core.errors import RateLimited
from godwit.core.messages import Usage
from godwit.models.script import call, end, hold, say, think, tries

from .conftest import Start
from .talk import ASKING, TOOLSET, Talk, custom, kinds, said

ANSWERED = ["span.model_request_start", "agent.message", "span.model_request_end"]


def test_a_message_is_answered_in_the_protocols_order(start: Start) -> None:
    talk = Talk(start(think("Hm.") + say("Hello.")))
    with talk.listen() as heard:
        sent = talk.say("Hi!")
        heard.idle()
    assert [e.type for e in heard.heard] == [
        "session.status_running",
        "session.thread_status_running",
        "user.message",
        "span.model_request_start",
        "agent.thinking",
        "agent.message",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.status_idle",
    ]
    assert sent.processed_at is None
    message = heard.heard[2]
    assert message.id == sent.id
    assert message.processed_at is not None
    assert heard.heard[5].content[0].text == "Hello."
    span = heard.heard[6]
    assert span.model_request_start_id == heard.heard[3].id
    assert span.model_usage.output_tokens > 0
    assert heard.heard[-1].stop_reason.type == "end_turn"
    assert heard.heard[-2].agent_name == "Bird"
    assert talk.list() == heard.heard
    assert talk.status() == "idle"


def test_what_tells_a_model_to_go_on_is_no_message_of_a_user(start: Start) -> None:
    talk = Talk(start("", "Hello."))
    with talk.listen() as heard:
        sent = talk.say("Hi!")
        heard.idle()
    assert kinds(heard.heard).count("span.model_request_start") == 2  # it was told
    assert [(e.id, e.content[0].text) for e in heard.heard if e.type == "user.message"] == [(sent.id, "Hi!")]
    assert not [e for e in heard.heard if e.type == "system.message"]
    assert "Hello." in [e.content[0].text for e in heard.heard if e.type == "agent.message" and e.content]
    assert talk.list() == heard.heard
    assert [e.id for e in talk.list(types=["user.message"])] == [sent.id]


def test_a_tool_runs_between_two_requests(start: Start) -> None:
    talk = Talk(start(say("I look.") + call("bash", command="echo tweet"), "It sings."), TOOLSET)
    with talk.listen() as heard:
        talk.say()
        heard.idle()
    assert kinds(heard.heard) == [
        "session.status_running",
        "user.message",
        "span.model_request_start",
        "agent.message",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        *ANSWERED,
        "session.status_idle",
    ]
    use, result = heard.some("agent.tool_use"), heard.some("agent.tool_result")
    assert (use.name, use.input, use.evaluated_permission) == ("bash", {"command": "echo tweet"}, "allow")
    assert result.tool_use_id == use.id
    assert "tweet" in result.content[0].text
    assert not result.is_error
    assert talk.list() == heard.heard


def test_what_has_to_be_confirmed_waits_and_may_be_denied(start: Start) -> None:
    script = call("bash", command="echo one") + call("bash", command="echo two")
    talk = Talk(start(script, "Done."), ASKING)
    with talk.listen() as heard:
        talk.say()
        idle = heard.idle()
        first, second = (e for e in heard.heard if e.type == "agent.tool_use")
        assert idle.stop_reason.event_ids == [first.id, second.id]
        assert kinds(heard.heard)[-4:] == ["agent.tool_use"] * 2 + ["span.model_request_end", "session.status_idle"]
        assert {first.evaluated_permission, second.evaluated_permission} == {"ask"}
        assert talk.status() == "idle"
        deny = {"type": "user.tool_confirmation", "tool_use_id": first.id, "result": "deny", "deny_message": "too loud"}
        (echo,) = talk.send(deny)
        rest = heard.idle(2)
        assert rest.stop_reason.event_ids == [second.id]
        assert echo in heard.heard
        talk.send({"type": "user.tool_confirmation", "tool_use_id": second.id, "result": "allow"})
        assert heard.idle(3).stop_reason.type == "end_turn"
        with pytest.raises(anthropic.BadRequestError, match="waits for no answer"):
            talk.send(deny)
    denied, allowed = (e for e in heard.heard if e.type == "agent.tool_result")
    assert (denied.tool_use_id, denied.is_error) == (first.id, True)
    assert "too loud" in denied.content[0].text
    assert (allowed.tool_use_id, allowed.is_error) == (second.id, False)
    assert "two" in allowed.content[0].text
    assert talk.list() == heard.heard


def test_a_call_is_allowed_with_other_arguments(start: Start) -> None:
    talk = Talk(start(call("bash", command="echo one"), "Done."), ASKING)
    with talk.listen() as heard:
        talk.say()
        use = heard.idle() and heard.some("agent.tool_use")
        edited: Any = {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "allow"}
        talk.send({**edited, "input": {"command": "echo edited"}})
        heard.idle(2)
    assert "edited" in heard.some("agent.tool_result").content[-1].text


def test_custom_tools_are_answered_by_the_client_before_or_after_it_is_idle(start: Start) -> None:
    talk = Talk(start(call("look") + call("listen"), "Done."), custom("look"), custom("listen"))
    with talk.listen() as heard:
        talk.say()
        look = heard.some("agent.custom_tool_use")
        result = {"type": "user.custom_tool_result", "custom_tool_use_id": look.id}
        talk.send({**result, "content": [{"type": "text", "text": "a bird"}]})
        listen = heard.some("agent.custom_tool_use", 2)
        assert (look.name, listen.name) == ("look", "listen")
        heard.until(
            lambda all_: [e for e in all_ if e.type == "session.status_idle" and e.stop_reason.event_ids == [listen.id]]
        )
        talk.send({"type": "user.custom_tool_result", "custom_tool_use_id": listen.id, "is_error": True})
        heard.until(lambda all_: [e for e in all_ if e.type == "session.status_idle" and e.stop_reason.type == "end_turn"])
    assert [e.custom_tool_use_id for e in heard.heard if e.type == "user.custom_tool_result"] == [look.id, listen.id]
    assert not [e for e in heard.heard if e.type == "agent.tool_result"]
    assert talk.list() == heard.heard


def test_messages_that_come_while_it_runs_are_handled_in_order(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(hold(release, reached=reached) + say("One."), "Two.", "Three.")
    talk = Talk(server)
    with talk.listen() as heard:
        talk.say("first")
        server.call(reached.wait)
        second, third = talk.say("second"), talk.say("third")
        heard.some("user.message", 3)
        assert talk.status() == "running"
        assert [e.processed_at for e in talk.list(types=["user.message"])][1:] == [None, None]
        assert (
            talk.list(created_at_gte="2020-01-01T00:00:00Z", types=["user.message"])[0].id == heard.some("user.message").id
        )
        server.call(_set(release))
        heard.idle()
    messages = [e for e in heard.heard if e.type == "user.message"]
    assert [(e.id, e.processed_at is None) for e in messages[1:]] == [
        (second.id, True),
        (third.id, True),
        (second.id, False),
        (third.id, False),
    ]
    assert [e.content[0].text for e in heard.heard if e.type == "agent.message"] == ["One.", "Two.", "Three."]
    assert talk.list() == [e for e in heard.heard if getattr(e, "processed_at", None) is not None]


def test_an_interrupt_stops_at_once_and_what_follows_redirects(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(say("Once upon") + hold(release, reached=reached) + say(" a time"), "Instead.")
    talk = Talk(server)
    (nothing,) = talk.send({"type": "user.interrupt"})
    assert nothing.type == "user.interrupt"
    assert talk.list() == []
    with talk.listen() as heard:
        talk.say()
        server.call(reached.wait)
        dropped = talk.say("and then?")
        interrupt, other = talk.send({"type": "user.interrupt"}, said("Stop that."))
        heard.idle(2)
    stopped = heard.idle()
    assert stopped.stop_reason.type == "end_turn"
    assert interrupt in heard.heard
    texts = [e.content[0].text for e in heard.heard if e.type == "agent.message"]
    assert texts == ["Once upon", "Instead."]
    assert other.id in [e.id for e in heard.heard if e.type == "user.message" and e.processed_at]
    assert dropped.id not in [e.id for e in talk.list()]
    assert talk.list() == [e for e in heard.heard if e.id != dropped.id]


def test_a_message_behind_an_interrupt_starts_the_next_run(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(say("Once upon") + hold(release, reached=reached) + say(" a time"), "Instead.")
    talk = Talk(server)
    with talk.listen() as heard:
        talk.say()
        server.call(reached.wait)
        talk.send({"type": "user.interrupt"})
        talk.say("Another thing.")
        heard.idle(2)
    assert [e.content[0].text for e in heard.heard if e.type == "agent.message"] == ["Once upon", "Instead."]


def test_failures_are_told_while_it_tries_again_and_when_it_gives_up(start: Start) -> None:
    limited = RateLimited("slow down", retry_after_s=0)
    talk = Talk(start(tries(limited, "Here."), *[limited] * 8))
    with talk.listen() as heard:
        talk.say()
        heard.idle()
        assert kinds(heard.heard) == [
            "session.status_running",
            "user.message",
            "span.model_request_start",
            "span.model_request_end",
            "session.error",
            "session.status_rescheduled",
            "session.status_running",
            *ANSWERED,
            "session.status_idle",
        ]
        error = heard.some("session.error").error
        assert (error.type, error.retry_status.type) == ("model_rate_limited_error", "retrying")
        talk.say("again")
        last = heard.idle(2)
    assert last.stop_reason.type == "retries_exhausted"
    assert [e for e in heard.heard if e.type == "session.error"][-1].error.retry_status.type == "exhausted"
    assert talk.list() == heard.heard


def test_archived_and_deleted_sessions_end_their_streams(start: Start) -> None:
    server = start("Hi.")
    kept, gone = Talk(server), Talk(server)
    with kept.listen() as heard, gone.listen() as heard_of_gone:
        kept.client.beta.sessions.archive(kept.id)
        gone.client.beta.sessions.delete(gone.id)
        assert kinds(heard.ended(), left_out="-") == ["session.thread_status_terminated", "session.status_terminated"]
        assert heard_of_gone.ended()[-1].type == "session.deleted"
    with kept.listen() as again:
        assert again.ended()[-1].type == "session.status_terminated"
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        kept.say()
    with pytest.raises(anthropic.NotFoundError):
        gone.say()
    with pytest.raises(anthropic.NotFoundError):
        gone.listen()


def _set(event: asyncio.Event) -> Any:
    async def set_it() -> None:
        event.set()

    return set_it


def test_a_budget_that_is_raised_in_time_is_not_reached(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    first = call("bash", command="echo one") + hold(release, reached=reached) + end(usage=Usage(100, 1, cost_usd=1.0))
    server = start(first, "Two.", prices={"scripted:any": Price(input=1, output=1)})
    few: Any = {"type": "limit", "max_list_cost": {"amount": "50", "currency": "USD"}}
    much: Any = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    talk = Talk(server, TOOLSET, session={"budget": few})
    with talk.listen() as heard:
        talk.say()
        server.call(reached.wait)
        talk.client.beta.sessions.update(talk.id, budget=much)
        server.call(_set(release))
        assert heard.idle().stop_reason.type == "end_turn"
    assert [e.budget.max_list_cost.amount for e in heard.heard if e.type == "session.updated"] == ["500"]


def test_two_streams_hear_the_same_and_one_with_previews_hears_them(start: Start) -> None:
    from anthropic.lib.sessions import accumulate_managed_agents_event

    talk = Talk(start(think("Let me see.") + say("A bird in the hand is worth two in the bush.")))
    with talk.listen() as plain, talk.listen(event_deltas=["agent.message", "agent.thinking"]) as rich:
        talk.say()
        plain.idle()
        rich.idle()
    assert [e for e in rich.heard if e.type not in ("event_start", "event_delta")] == plain.heard
    starts = [e for e in rich.heard if e.type == "event_start"]
    assert [e.event.type for e in starts] == ["agent.thinking", "agent.message"]
    assert [e.event.id for e in starts] == [rich.some("agent.thinking").id, rich.some("agent.message").id]
    deltas = [e for e in rich.heard if e.type == "event_delta"]
    assert len(deltas) > 3
    message: Any = None
    for event in rich.heard:
        if event.type != "agent.message":
            message = accumulate_managed_agents_event(message, event)
        elif message is not None:
            assert event.content == message.content
    assert message is not None


def test_a_budget_that_is_used_up_is_raised_and_the_run_goes_on(start: Start) -> None:
    price = Price(input=1, output=1)
    server = start(call("bash", command="echo one"), "Two.", "Three.", prices={"scripted:any": price})
    few: Any = {"type": "limit", "max_list_cost": {"amount": "0", "currency": "USD"}}
    much: Any = {"type": "limit", "max_list_cost": {"amount": "100", "currency": "USD"}}
    talk = Talk(server, TOOLSET, session={"budget": few})
    with talk.listen() as heard:
        talk.say()
        assert heard.idle().stop_reason.type == "budget_reached"
        assert talk.status() == "idle"
        with pytest.raises(anthropic.BadRequestError, match="budget is used up"):
            talk.say("more")
        talk.client.beta.sessions.update(talk.id, budget=much)
        assert heard.idle(2).stop_reason.type == "end_turn"
        assert heard.some("session.updated").budget.max_list_cost.amount == "100"
        talk.client.beta.sessions.update(talk.id, budget=few)
        talk.say("again")
        assert heard.idle(3).stop_reason.type == "budget_reached"
        talk.client.beta.sessions.update(talk.id, budget=None)
        assert heard.idle(4).stop_reason.type == "end_turn"
    assert [e.content[0].text for e in heard.heard if e.type == "agent.message"] == ["Two.", "Three."]
    assert talk.list()[1:] == [e for e in heard.heard if e.type != "user.message" or e.processed_at is not None]


def test_what_is_changed_of_a_session_is_told(start: Start) -> None:
    talk = Talk(start("One."), TOOLSET, session={"title": "First", "metadata": {"a": "1"}})
    sessions = talk.client.beta.sessions
    with talk.listen() as heard:
        changed = sessions.update(talk.id, title="Second", metadata={"b": "2"}, agent={"tools": [custom("x")]})
        told = heard.some("session.updated")
        assert (told.title, told.metadata, told.agent) == ("Second", {"a": "1", "b": "2"}, changed.agent)
        assert told.budget is None
        sessions.update(talk.id, title=None)
        told = heard.some("session.updated", 2)
        assert (told.title, told.agent) == (None, None)
        assert "title" in told.to_dict()
