"""Lists of events: pages, orders, filters, and that they are the same from everywhere and after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.core.ids import Seq, SessionId
from godwit.models.script import ScriptedModel, call, hold, say, think
from godwit.surfaces.managed_agents.history import BEHIND, History
from godwit.surfaces.server import ServerSettings
from tests.surfaces.managed_agents.legal import check
from tests.surfaces.server.running import running

from .conftest import Start, client_of
from .talk import ASKING, TOOLSET, Talk, custom

SCRIPT: Any = (
    think("Hm.") + say("I look.") + call("bash", command="echo a") + call("write", file_path="f", content="x"),
    call("edit", file_path="f", old_string="x", new_string="y") + call("read", file_path="f") + call("nothing"),
    say("Done.") + call("look"),
    "So it is.",
    call("bash", command="echo b"),
    "Well.",
)


def conversation(talk: Talk) -> list[Any]:
    """Two runs with all kinds of calls; what was heard of it."""
    with talk.listen() as heard:
        talk.say("first")
        use = heard.some("agent.custom_tool_use")
        heard.idle()
        talk.send(
            {"type": "user.custom_tool_result", "custom_tool_use_id": use.id, "content": [{"type": "text", "text": "!"}]}
        )
        heard.idle(2)
        talk.say("second")
        heard.idle(3)
    return heard.heard


def test_pages_of_any_size_in_both_orders_make_the_same_whole(start: Start) -> None:
    with Talk(start(*SCRIPT), TOOLSET, custom("look")) as talk:
        heard = conversation(talk)
        assert talk.list() == heard
        for limit in (1, 2, 3, 7, 1000):
            assert talk.list(limit=limit) == heard
            assert talk.list(limit=limit, order="desc") == heard[::-1]
        some = ["agent.tool_use", "user.message"]
        assert talk.list(types=some, limit=2) == [e for e in heard if e.type in some]
        at = heard[10].processed_at
        assert talk.list(created_at_gte=at) == [e for e in heard if e.processed_at >= at]
        assert talk.list(created_at_gt=at, order="desc") == [e for e in heard[::-1] if e.processed_at > at]
        assert talk.list(created_at_lte=at) == [e for e in heard if e.processed_at <= at]
        assert talk.list(created_at_lt=at, types=some) == [e for e in heard if e.processed_at < at and e.type in some]
        thread = talk.client.beta.sessions.threads.list(talk.id).data[0]
        assert [*talk.client.beta.sessions.threads.events.list(thread.id, session_id=talk.id, limit=3)] == heard


def test_cursors_are_of_their_list_and_order(start: Start) -> None:
    with Talk(start("Hi."), TOOLSET) as talk:
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        page = talk.events.list(talk.id, limit=2)
        assert page.next_page is not None
        for bad in ("", "page_", "x", page.next_page[:-3], "page_W10"):
            if not bad:
                continue
            with pytest.raises(anthropic.BadRequestError, match="invalid page cursor"):
                talk.events.list(talk.id, page=bad)
        with pytest.raises(anthropic.BadRequestError, match="order"):
            talk.events.list(talk.id, page=page.next_page, order="desc")
        another = talk.client.beta.sessions.create(agent=talk.agent.id, environment_id=talk.session.environment_id)
        with pytest.raises(anthropic.BadRequestError, match="another list"):
            talk.events.list(another.id, page=page.next_page)
        other = talk.client.beta.agents.list(limit=1)
        assert other.next_page is None
        unfit: Any = [{"limit": 0}, {"limit": -1}, {"order": "up"}, {"created_at_gt": "yesterday"}]
        for options in unfit:
            with pytest.raises(anthropic.BadRequestError):
                talk.events.list(talk.id, **options)
        assert len(talk.events.list(talk.id, limit=5000).data) == len(heard.heard)


def test_every_place_gives_the_rest_and_the_order_is_legal(start: Start) -> None:
    """What is read from the log in parts is what was heard while it was written."""
    server = start(*SCRIPT)
    with Talk(server, TOOLSET, custom("look")) as talk:
        heard = [e.to_dict(mode="json") for e in conversation(talk)]

        async def read() -> None:
            history = History(server.runtime.store, SessionId(talk.id), "Bird")
            whole = [p async for p in history.behind((Seq(0), BEHIND))]
            check(whole)
            shown = [p for p in whole if p.waiting is None]
            assert [p.body["id"] for p in shown] == [e["id"] for e in heard]
            for at in whole:
                assert [p async for p in history.behind(at.place)] == [p for p in whole if p.place > at.place]
                assert [p async for p in history.before(at.place)] == [p for p in whole[::-1] if p.place < at.place]

        server.call(read)


def test_calls_that_wait_for_each_other_are_all_shown_before_the_first_has_ended(start: Start) -> None:
    server = start(call("bash", command="echo one") + call("bash", command="echo two") + call("bash", command="x"), "Done.")
    with Talk(server, TOOLSET) as talk:
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        kinds = [e.type for e in heard.heard if e.type.startswith(("agent.", "span."))]
        assert kinds == [
            "span.model_request_start",
            *["agent.tool_use"] * 3,
            "span.model_request_end",
            *["agent.tool_result"] * 3,
            "span.model_request_start",
            "agent.message",
            "span.model_request_end",
        ]
        assert talk.list() == heard.heard


def test_after_a_restart_all_ids_are_the_same_and_what_waited_is_answered(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, models={"*": "scripted:any"})
    model = ScriptedModel([call("bash", command="echo one"), "Done."])
    with running(tmp_path / "g.db", models={"scripted:any": model}, settings=settings) as server:
        with Talk(server, ASKING) as talk:
            with talk.listen() as heard:
                talk.say()
                heard.idle()
            before = talk.list()
    with running(tmp_path / "g.db", models={"scripted:any": model}, settings=settings) as server:
        with client_of(server) as client:
            events = client.beta.sessions.events
            assert [*events.list(talk.id)] == before
            use = next(e for e in before if e.type == "agent.tool_use")
            talk.server, talk.client, talk.events = server, client, events
            with talk.listen() as heard:
                talk.send({"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "allow"})
                heard.idle()
            assert [e.type for e in talk.list()[len(before) :]] == [e.type for e in heard.heard]
            assert "one" in heard.some("agent.tool_result").content[0].text


def test_what_waits_is_listed_until_it_is_delivered(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(hold(release, reached=reached) + say("One."), "Two.")
    with Talk(server) as talk:
        with talk.listen() as heard:
            talk.say("first")
            server.call(reached.wait)
            second = talk.say("second")
            assert talk.list()[-1] == second
            assert talk.list(order="desc")[0] == second
            assert second not in talk.list(created_at_gte="2020-01-01T00:00:00Z")

            async def withdraw() -> None:
                session = await server.runtime.desk.session(talk.id)
                await session.queue.withdraw((await session.queue.list())[0].id)

            server.call(withdraw)
            assert second.id not in [e.id for e in talk.list()]
            server.call(lambda: _set(release))
            heard.idle()


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_the_one_thread(start: Start) -> None:
    with Talk(start("Hi."), TOOLSET) as talk:
        threads = talk.client.beta.sessions.threads
        (thread,) = threads.list(talk.id)
        assert thread.parent_thread_id is None
        assert (thread.status, thread.session_id) == ("idle", talk.id)
        assert threads.retrieve(thread.id, session_id=talk.id).id == thread.id
        assert list(threads.list(talk.id, extra_query={"statuses[]": "running"})) == []
        with pytest.raises(anthropic.NotFoundError):
            threads.retrieve("sthr_other", session_id=talk.id)
        with pytest.raises(anthropic.BadRequestError, match="archive the session"):
            threads.archive(thread.id, session_id=talk.id)
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        assert heard.some("session.thread_status_running").session_thread_id == thread.id
        assert heard.some("session.thread_status_idle").stop_reason.type == "end_turn"
        talk.client.beta.sessions.archive(talk.id)
        assert threads.retrieve(thread.id, session_id=talk.id).status == "terminated"
        with threads.events.stream(thread.id, session_id=talk.id) as stream:
            assert [e.type for e in stream][-1] == "session.status_terminated"
