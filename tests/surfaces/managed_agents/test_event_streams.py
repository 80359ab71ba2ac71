"""Streams as bytes: frames, places, going on from one, previews, and followers that come and go."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import pytest

import godwit
from godwit.core.errors import ModelUnavailable
from godwit.models.script import ScriptedModel, call, fail, hold, say, think, tries
from tests.patience import PATIENCE_S

from .conftest import Start, client_of
from .talk import TOOLSET, Listener, Talk, kinds, said


def frames(talk: Talk, *, until: str = "session.status_idle", times: int = 1, **headers: str) -> list[dict[str, str]]:
    """The frames of a stream up to that event, field by field."""
    found: list[dict[str, str]] = []
    query = headers.pop("query", "")
    url = f"{talk.server.url}/v1/sessions/{talk.id}/events/stream{query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.stream("GET", url, headers={"x-api-key": "any", **named}, timeout=PATIENCE_S) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        now: dict[str, str] = {}
        for line in answer.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                now[name] = value
            elif not line and now:
                found.append(now)
                times -= f'"type":"{until}"' in now.get("data", "")
                now = {}
                if times == 0:
                    break
    return found


def test_a_stream_goes_on_behind_every_place_without_gap_or_repeat(start: Start) -> None:
    with Talk(start(think("Hm.") + say("I look.") + call("bash", command="x") + call("nothing"), "Done."), TOOLSET) as talk:
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        whole = frames(talk, query="?from_seq=0")
        assert {f["event"] for f in whole} == {"message"}
        ids = [f["id"] for f in whole]
        assert len(set(ids)) == len(ids)
        assert [json.loads(f["data"])["id"] for f in whole] == [e.id for e in heard.heard]
        for number, id_ in enumerate(ids[:-1]):
            assert [f["id"] for f in frames(talk, last_event_id=id_)] == ids[number + 1 :]
        seqs = [int(i.partition(".")[0]) for i in ids]
        for seq in sorted(set(seqs))[:-1]:
            assert [f["id"] for f in frames(talk, query=f"?from_seq={seq}")] == ids[len([s for s in seqs if s <= seq]) :]
        for bad in ("x", "-1", "1.x", "99999", "1.2.3"):
            with pytest.raises(anthropic.BadRequestError):
                talk.listen(extra_headers={"last-event-id": bad})


def test_a_client_that_lost_its_stream_goes_on_while_the_session_works(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start("One.", hold(release, reached=reached) + say("Two."))
    with Talk(server) as talk:
        with talk.listen() as heard:
            talk.say()
            heard.idle()
        last = frames(talk, query="?from_seq=0")[-1]["id"]
        talk.say()
        server.call(reached.wait)
        with talk.listen(extra_headers={"last-event-id": last}) as again:
            again.some("span.model_request_start")
            server.call(lambda: _set(release))
            again.idle()
        assert heard.heard + again.heard == talk.list()


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_who_joins_in_the_middle_of_an_answer_is_shown_all_of_it(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(say("One two three") + hold(release, reached=reached) + say("four five."))
    with Talk(server) as talk, talk.listen(event_deltas=["agent.message"]) as early:
        talk.say()
        server.call(reached.wait)
        early.until(lambda heard: [e for e in heard if e.type == "event_delta"][2:])
        with talk.listen(event_deltas=["agent.message"]) as late, talk.listen() as plain:
            server.call(lambda: _set(release))
            late.idle()
            plain.idle()
        early.idle()
    for heard in (early.heard, late.heard):
        starts = [e for e in heard if e.type == "event_start"]
        (final,) = (e for e in heard if e.type == "agent.message")
        assert [e.event.id for e in starts] == [final.id]
        shown: dict[int, str] = {}
        for delta in (e.delta for e in heard if e.type == "event_delta"):
            assert delta.index in (len(shown) - 1, len(shown)), "numbered without gaps"
            shown[delta.index] = shown.get(delta.index, "") + delta.content.text
        assert [b.text for b in final.content] == [shown[i] for i in sorted(shown)]
    assert not [e for e in plain.heard if e.type.startswith("event_")]


def test_previews_of_an_answer_that_is_cut_off_or_asked_for_again(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    again = tries(fail(ModelUnavailable("busy", retry_after_s=0)), "Here it is.")
    server = start(say("One two") + hold(release, reached=reached) + say("three"), again)
    with Talk(server) as talk, talk.listen(event_deltas=["agent.message", "agent.thinking"]) as heard:
        talk.say()
        server.call(reached.wait)
        heard.until(lambda all_: [e for e in all_ if e.type == "event_delta"][1:])
        talk.send({"type": "user.interrupt"})
        heard.idle()
        talk.say("again")
        heard.idle(2)
    starts = [e.event.id for e in heard.heard if e.type == "event_start"]
    finals = {e.id: "".join(b.text for b in e.content) for e in heard.heard if e.type == "agent.message"}
    assert len(set(starts)) == len(starts)
    for id_, text in finals.items():
        shown = "".join(e.delta.content.text for e in heard.heard if e.type == "event_delta" and e.event_id == id_)
        assert text.startswith(shown)
    assert list(finals.values()) == ["One two", "Here it is."]


def test_a_request_that_is_sent_again_is_done_once(start: Start) -> None:
    with Talk(start("One.", "Two.", "Three.")) as talk:
        url = f"{talk.server.url}/v1/sessions/{talk.id}/events"
        body = {"events": [said("Hi.")]}
        with talk.listen() as heard:
            with httpx.Client(headers={"x-api-key": "any"}) as web:
                first = web.post(url, json=body, headers={"idempotency-key": "k"})
                again = web.post(url, json=body, headers={"idempotency-key": "k"})
                assert first.json() == again.json()
                other = web.post(url, json={"events": [said("Other.")]}, headers={"idempotency-key": "k"})
                assert other.status_code in (400, 409, 422)
            heard.idle()
        assert len([e for e in talk.list() if e.type == "user.message"]) == 1


def test_followers_come_and_go_and_nothing_of_them_is_left(start: Start) -> None:
    server = start("One.", "Two.")
    with Talk(server) as talk:
        listeners: list[Listener] = [talk.listen() for _ in range(8)]
        talk.say()
        for one in listeners:
            one.idle()
        for one in listeners[1:]:
            one.close()
        talk.say()
        listeners[0].idle(2)
        listeners[0].close()
        assert [kinds(one.heard) for one in listeners[1:]] == [kinds(listeners[1].heard)] * 7
        assert talk.list() == listeners[0].heard
        with talk.listen() as late:
            assert late.heard == []


def test_a_stream_that_cannot_be_is_refused(start: Start) -> None:
    with Talk(start("One.")) as talk, client_of(talk.server) as client:
        with pytest.raises(anthropic.NotFoundError):
            client.beta.sessions.events.stream("ses_none")
        given: Any = ["agent.tool_use"]
        with pytest.raises(anthropic.BadRequestError, match="event_deltas"):
            client.beta.sessions.events.stream(talk.id, event_deltas=given)


def test_a_session_that_another_process_made_and_drives_is_heard(start: Start, tmp_path: Path) -> None:
    server = start("Never said.")
    go, begun, made = threading.Event(), threading.Event(), list[str]()

    async def elsewhere() -> None:
        """A runtime of its own on the same database, as another process has one."""
        model = ScriptedModel([say("I am elsewhere.") + call("song"), "Done."])

        def song() -> str:
            """Sing."""
            return "tweet"

        async with await godwit.Runtime.open(tmp_path / "g.db", models={"scripted:any": model}) as runtime:
            session = await runtime.start_session(godwit.Agent("bird", model="scripted:any", tools=[song]))
            made.append(session.id)
            begun.set()
            await asyncio.to_thread(go.wait, 30)
            await session.send("Go.")

    other = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    other.start()
    with client_of(server) as client:
        assert begun.wait(PATIENCE_S)
        with Listener(server, made[0], event_deltas=["agent.message"]) as heard:
            go.set()
            heard.idle()
        other.join(PATIENCE_S)
        stored = [e for e in heard.heard if not e.type.startswith("event_")]
        assert [*client.beta.sessions.events.list(made[0])] == stored
        assert heard.some("session.thread_status_running").agent_name == "bird"
        assert heard.some("agent.tool_use").name == "song"
        assert "tweet" in heard.some("agent.tool_result").content[0].text


class Lossy(httpx2.HTTPTransport):
    """A way to the server on which the answer to the first message sent is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if request.method == "POST" and request.url.path.endswith("/events") and not self.lost:
            self.lost += 1
            answer.close()
            raise httpx2.ReadError("the answer was lost", request=request)
        return answer


def test_a_client_that_lost_the_answer_and_asks_again_has_said_it_once(start: Start) -> None:
    server = start("One.", "Two.")
    way = Lossy()
    web: Any = httpx2.Client(transport=way)
    with client_of(server, max_retries=2, http_client=web) as client, Talk(server) as talk:
        with talk.listen() as heard:
            sent = client.beta.sessions.events.send(talk.id, events=[said("Hi.")])
            heard.idle()
        assert way.lost == 1
        (message,) = (e for e in talk.list() if e.type == "user.message")
        assert [e.id for e in sent.data or []] == [message.id]
