"""Streams that break off and go on: nothing twice, nothing left out, within an answer as well and after a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest

import godwit
from godwit.models.script import ScriptedModel, call, hold, say, think
from godwit.surfaces.openai_agents.ids import Cursor, Place, Shown, cursor_of
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running

from .conftest import ANY, HOSTED, NONE, Shared, Start, client_of, release

MODEL: Any = {"model": "m"}
HEADERS = {"openai-beta": "agents=v1"}


class Sent(NamedTuple):
    id: str
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.data["type"])


def read(server: RunningServer, session: str, last: str | None, *, query: str = "") -> Generator[Sent, None, None]:
    """The frames of a stream, as they are on the wire."""
    headers = HEADERS if last is None else {**HEADERS, "last-event-id": last}
    url = f"{server.url}/v1/agents/sessions/{session}/events{query}"
    with httpx2.stream("GET", url, headers=headers, timeout=PATIENCE_S) as answer:
        assert answer.status_code == 200, answer.read()
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                data = json.loads(fields["data"])
                assert fields["event"] == data["type"]
                yield Sent(fields["id"], data)
                fields = {}


def upto(frames: Generator[Sent, None, None], kind: str) -> list[Sent]:
    """What comes up to the first frame of this type; nothing is read behind it."""
    seen = []
    for frame in frames:
        seen.append(frame)
        if frame.type == kind:
            frames.close()
            return seen
    raise AssertionError(f"no {kind} among {[frame.type for frame in seen]}")


def test_a_stream_goes_on_behind_any_of_its_events(start: Start) -> None:
    server = start(think("hm") + say("I look.") + call("bash", command="echo out"), say("It says out."))
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent=MODEL, environment=HOSTED, input="Go")
    whole = upto(read(server, session.id, None, query="?from_seq=0"), "agent.session.idle")
    again = upto(read(server, session.id, "0"), "agent.session.idle")
    # What came live the first time is told from the log the second: the same, but for the size of its pieces.
    assert _stored(again) == _stored(whole)
    assert whole[0].type == "agent.session.created"
    for place, frame in enumerate(again):
        rest = upto(read(server, session.id, frame.id), "agent.session.idle") if place + 1 < len(again) else []
        assert rest == again[place + 1 :]


def _stored(frames: list[Sent]) -> list[Any]:
    """All but the deltas, by their ids: what is shown live is begun earlier than where it is told from the log."""
    found = [frame.data for frame in frames if not frame.type.endswith(".delta")]
    return sorted(found, key=lambda data: str(data["event_id"]))


def test_a_stream_goes_on_in_the_middle_of_an_answer(start: Start) -> None:
    go, reached = asyncio.Event(), asyncio.Event()
    server = start(think("so so") + say("one two three ") + hold(go, reached=reached) + say("four five"))
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE, input="Go")
    server.call(reached.wait)
    first: list[Sent] = []
    with closing(read(server, session.id, "0")) as frames:
        for frame in frames:
            first.append(frame)
            if "three" in frame.data.get("delta", ""):
                break
    release(server, go)
    rest = upto(read(server, session.id, first[-1].id), "agent.session.idle")
    both = [*first, *rest]
    texts: dict[str, str] = {}
    for frame in both:
        if frame.type.endswith(".delta"):
            texts[frame.data["item_id"]] = texts.get(frame.data["item_id"], "") + frame.data["delta"]
    assert sorted(texts.values()) == ["four five", "one two three ", "so so"]
    ids = [frame.data["event_id"] for frame in both]
    assert len(set(ids)) == len(ids)
    whole = upto(read(server, session.id, "0"), "agent.session.idle")
    assert _stored(both) == _stored(whole)


def test_a_restart_changes_no_id(tmp_path: Path) -> None:
    models = {"scripted:any": ScriptedModel([say("One.") + call("bash", command="echo x"), say("Two.")])}
    with running(tmp_path / "g.db", models=models, settings=ANY) as server:
        session = client_of(server).beta.agents.sessions.create(agent=MODEL, environment=HOSTED, input="Go").id
        upto(read(server, session, "0"), "agent.session.idle")
        before = upto(read(server, session, "0"), "agent.session.idle")
        listed = client_of(server).beta.agents.sessions.items.list(session).data
    with running(tmp_path / "g.db", models=models, settings=ANY) as server:
        assert upto(read(server, session, "0"), "agent.session.idle") == before
        assert client_of(server).beta.agents.sessions.items.list(session).data == listed


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_answer_that_was_begun_and_will_not_be_is_closed_for_who_comes_back(tmp_path: Path, goes_on: bool) -> None:
    """The server ends within an answer; with the next one the model is asked again, or the run is interrupted at once."""
    reached = asyncio.Event()
    held = ScriptedModel([think("hm ") + say("half ") + hold(asyncio.Event(), reached=reached)])
    first: list[Sent] = []
    with running(tmp_path / "g.db", models={"scripted:any": held}, settings=ANY) as server:
        session = client_of(server).beta.agents.sessions.create(agent=MODEL, environment=NONE, input="Go").id
        server.call(reached.wait)
        with closing(read(server, session, "0")) as frames:
            for frame in frames:
                first.append(frame)
                if "half" in frame.data.get("delta", ""):
                    break
    again = ScriptedModel([say("whole")])

    async def prepare(runtime: godwit.Runtime) -> None:
        if not goes_on:
            await runtime.interrupt(session)

    with running(tmp_path / "g.db", models={"scripted:any": again}, settings=ANY, prepare=prepare) as server:
        rest = upto(read(server, session, first[-1].id), "agent.session.idle")
    opened = [f.data["item"]["id"] for f in [*first, *rest] if f.type == "agent.session.turn.item.added"]
    closed = {
        f.data["item"]["id"]: (f.data["item"]["type"], f.data["item"]["status"])
        for f in rest
        if f.type == "agent.session.turn.item.done"
    }
    said = opened[0]
    assert [closed.get(item) for item in opened if item != said] == [
        ("reasoning", "incomplete"),
        ("message", "incomplete"),
        *([("message", "completed")] if goes_on else []),
    ]
    assert "~" not in rest[-1].id
    ids = [frame.data["event_id"] for frame in [*first, *rest]]
    assert len(set(ids)) == len(ids)


def test_a_stream_from_now_says_first_how_the_session_stands(start: Start) -> None:
    server = start("Hello.")
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    with closing(read(server, session.id, None)) as frames:
        first = next(frames)
        assert (first.type, first.data["session"]["status"], first.id) == ("agent.session.idle", "idle", "1")
        with client.beta.agents.sessions.stream(session.id, input="Hi") as events:
            events.until_done()
        seen = upto(frames, "agent.session.idle")
    assert seen[0].type == "agent.session.turn.created"


def test_a_silent_stream_is_kept_alive_without_telling_the_client_anything(start: Start) -> None:
    server = start("Hello.", settings=ServerSettings(port=0, models=ANY.models, heartbeat_s=0.05))
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    with client.beta.agents.sessions.events.stream(session.id) as events:
        beats = 0
        seen = [next(iter(events)).type]
        # Some silence, as the server's clock tells it: other requests are answered meanwhile.
        while beats < 20:
            client.beta.agents.sessions.retrieve(session.id)
            beats += 1
        with client.beta.agents.sessions.stream(session.id, input="Hi") as turn:
            turn.until_done()
        for event in events:
            seen.append(event.type)
            if event.type == "agent.session.idle":
                break
    assert seen[0] == seen[-1] == "agent.session.idle"


def test_a_stream_ends_with_its_session(start: Start) -> None:
    server = start("Hello.")
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    with client.beta.agents.sessions.events.stream(session.id) as events:
        server.call(lambda: server.runtime.archive(session.id))
        assert [event.type for event in events] == ["agent.session.idle", "agent.session.failed"]
    other = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    with client.beta.agents.sessions.events.stream(other.id) as events:
        client.beta.agents.sessions.delete(other.id)
        assert [event.type for event in events] == ["agent.session.idle", "agent.session.failed"]


@pytest.mark.parametrize("last", ["x", "1.", "-1", "1~", "1~2", "1.2.3", "9" * 40, "99", "1~1.0:7", "1~1.0m:x", "1 OR 1"])
def test_a_place_that_is_none_is_refused(shared: Shared, last: str) -> None:
    client = shared.client
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    with pytest.raises(openai.BadRequestError):
        client.beta.agents.sessions.events.stream(session.id, extra_headers={"Last-Event-ID": last})
    with pytest.raises(openai.BadRequestError):
        client.beta.agents.sessions.events.stream(session.id, extra_query={"from_seq": last})


def test_a_cursor_is_read_as_it_was_written() -> None:
    for cursor in (
        Cursor(0),
        Cursor(12),
        Cursor(12, 3),
        Cursor(12, 0, {Place(12, 0): Shown("thinking", 34), Place(12, 1): Shown("text", 7)}),
    ):
        assert cursor_of(str(cursor)) == cursor
