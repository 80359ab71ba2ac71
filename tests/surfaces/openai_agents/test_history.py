"""What a session has done, as lists: items, turns and artifacts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from godwit.models.script import call, say

from .conftest import HOSTED, NONE, Shared, Start, client_of
from .test_events import log_of

MODEL: Any = {"model": "m"}


def talk(client: openai.OpenAI, session: str, *texts: str) -> None:
    for text in texts:
        with client.beta.agents.sessions.stream(session, input=text) as events:
            events.until_done()


def test_items_and_turns_are_listed_in_pages_both_ways(start: Start) -> None:
    client = client_of(start(*(say(f"answer {n}") for n in range(5))))
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE)
    talk(client, session.id, *(f"prompt {n}" for n in range(5)))
    items = list(sessions.items.list(session.id, order="asc", limit=100))
    texts = [item.output_text or item.content[0].text for item in items if item.type == "message"]  # type: ignore[union-attr]
    assert texts == [text for n in range(5) for text in (f"prompt {n}", f"answer {n}")]
    for limit in (1, 3, 4):
        assert [item.id for item in sessions.items.list(session.id, limit=limit)] == [item.id for item in items][::-1]
        assert list(sessions.items.list(session.id, limit=limit, order="asc")) == items
    turns = list(sessions.turns.list(session.id, order="asc", limit=2))
    assert [turn.status for turn in turns] == ["completed"] * 5
    assert [turn.id for turn in sessions.turns.list(session.id, limit=2)] == [turn.id for turn in turns][::-1]
    assert sessions.turns.retrieve(turns[2].id, session_id=session.id) == turns[2]
    for number, turn in enumerate(turns):
        own = list(sessions.turns.items.list(turn.id, session_id=session.id, limit=1, order="asc"))
        assert own == items[2 * number : 2 * number + 2]
        assert {item.turn_id for item in own} == {turn.id}
    assert sessions.items.list(session.id, after=str(items[0].id)).data == []
    assert sessions.items.list(session.id, limit=1).has_more

    other = sessions.create(agent=MODEL, environment=NONE)
    for wrong in ("item_none", str(items[0].id), f"item_{other.id.removeprefix('ses_')}_1_0"):
        with pytest.raises(openai.NotFoundError):
            sessions.items.list(other.id, after=wrong)
    with pytest.raises(openai.NotFoundError):
        sessions.turns.retrieve(turns[0].id, session_id=other.id)
    with pytest.raises(openai.NotFoundError):
        sessions.turns.items.list("run_none", session_id=session.id)
    assert sessions.turns.list(other.id).data == []
    assert sessions.items.list(other.id).data == []


def test_what_tells_a_model_to_go_on_is_no_item(start: Start) -> None:
    server = start("", say("Hello."))
    client = client_of(server)
    sessions = client.beta.agents.sessions
    with sessions.create(agent=MODEL, environment=NONE, input="Hi", stream=True) as events:
        seen = list(events)
    session = next(event.session.id for event in seen if event.type == "agent.session.created")
    assert [e.type for e in log_of(server, session)].count("run.nudged") == 1
    messages = [item.to_dict() for item in sessions.items.list(session, order="asc") if item.type == "message"]
    said: list[Any] = [(one["role"], one["content"]) for one in messages if one["content"]]
    assert [(role, content[0]["text"]) for role, content in said] == [("user", "Hi"), ("assistant", "Hello.")]
    told = [event.item for event in seen if event.type == "agent.session.turn.item.added" and event.item.type == "message"]
    assert [item.role for item in told].count("user") == 1


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"order": "up"}, {"after": ""}, {"x": 1}])
def test_a_list_that_cannot_be_is_refused(shared: Shared, query: dict[str, Any]) -> None:
    client = shared.client
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    for listed in (
        lambda: client.beta.agents.list(extra_query=query),
        lambda: client.beta.agents.sessions.list(extra_query=query),
        lambda: client.beta.agents.sessions.items.list(session.id, extra_query=query),
        lambda: client.beta.agents.sessions.turns.list(session.id, extra_query=query),
        lambda: client.beta.agents.sessions.artifacts.list(session.id, extra_query=query),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            listed()
        assert caught.value.param == next(iter(query))


def test_a_session_has_no_subagents(client: openai.OpenAI) -> None:
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE)
    assert sessions.subagents.list(session.id).data == []
    with pytest.raises(openai.NotFoundError):
        sessions.subagents.retrieve("sub_1", session_id=session.id)
    with pytest.raises(openai.NotFoundError):
        sessions.subagents.items.list("sub_1", session_id=session.id)
    with pytest.raises(openai.NotFoundError):
        sessions.subagents.turns.list("sub_1", session_id=session.id)


def test_large_outputs_are_artifacts(start: Start) -> None:
    server = start(call("bash", command="yes a line | head -c 200000"), call("bash", command="yes b | head -c 150000"), "ok")
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=HOSTED)
    talk(client, session.id, "go")
    newest, oldest = sessions.artifacts.list(session.id, limit=1)
    assert [a.size_bytes for a in (oldest, newest)] == [200_000, 150_000]
    (turn,) = sessions.turns.list(session.id).data
    assert (oldest.turn_id, oldest.session_id, oldest.object) == (turn.id, session.id, "agent.session.artifact")
    environment: Any = sessions.retrieve(session.id).environment
    assert oldest.environment_id == environment.id
    assert sessions.artifacts.list(session.id, environment_id="env_other").data == []
    assert sessions.artifacts.retrieve(oldest.id, session_id=session.id) == oldest
    content = sessions.artifacts.content(oldest.id, session_id=session.id)
    assert content.read() == (b"a line\n" * 30_000)[:200_000]
    assert content.response.headers["content-disposition"] == "attachment"
    other = sessions.create(agent=MODEL, environment=HOSTED)
    with pytest.raises(openai.NotFoundError):
        sessions.artifacts.content(oldest.id, session_id=other.id)
    assert sessions.artifacts.delete(oldest.id, session_id=session.id).deleted
    calls: list[Any] = [sessions.artifacts.retrieve, sessions.artifacts.content, sessions.artifacts.delete]
    for gone in calls:
        with pytest.raises(openai.NotFoundError):
            gone(oldest.id, session_id=session.id)
    assert [a.id for a in sessions.artifacts.list(session.id)] == [newest.id]


def test_files_in_outputs_are_artifacts_of_the_turn_that_wrote_them(start: Start) -> None:
    write = "mkdir -p outputs/sub; echo one > outputs/one.txt; echo two > outputs/sub/two.txt; echo no > other.txt"
    server = start(call("bash", command=write), "Two.", call("bash", command="echo three > outputs/three.txt"), "Three.")
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=HOSTED)
    talk(client, session.id, "go")
    first = list(sessions.artifacts.list(session.id, order="asc"))
    assert sorted(one.path for one in first) == ["/workspace/outputs/one.txt", "/workspace/outputs/sub/two.txt"]
    talk(client, session.id, "more")
    older, newer = sessions.turns.list(session.id, order="asc")
    found = {one.path.removeprefix("/workspace/outputs/"): one for one in sessions.artifacts.list(session.id)}
    assert {path: one.turn_id for path, one in found.items()} == {
        "one.txt": older.id,
        "sub/two.txt": older.id,
        "three.txt": newer.id,
    }
    assert sessions.artifacts.content(found["three.txt"].id, session_id=session.id).read() == b"three\n"
    assert sessions.artifacts.retrieve(found["one.txt"].id, session_id=session.id) == found["one.txt"]
    assert sessions.artifacts.delete(found["one.txt"].id, session_id=session.id).deleted
    with pytest.raises(openai.NotFoundError):
        sessions.artifacts.content(found["one.txt"].id, session_id=session.id)
    assert len(sessions.artifacts.list(session.id).data) == 2


def test_what_is_not_there_says_so(client: openai.OpenAI) -> None:
    session = client.beta.agents.sessions.create(agent=MODEL, environment=NONE)
    agents: Any = client.beta.agents
    calls: list[Callable[[], Any]] = [
        lambda: agents.sessions.traces.list(session.id),
        lambda: agents.automations.list(),
        lambda: agents.automations.retrieve("auto_1"),
        lambda: agents.environments.create(environment=HOSTED),
        lambda: agents.environments.files.list("env_1"),
        lambda: agents.environments.templates.list(),
    ]
    for absent in calls:
        with pytest.raises(openai.InternalServerError) as caught:
            absent()
        assert (caught.value.status_code, caught.value.code) == (501, "not_supported")
    for path, status in (("/agents/sessions/x/y", 404), ("/nothing", 404), ("/agents/", 404)):
        with pytest.raises(openai.APIStatusError) as missing:
            client.get(path, cast_to=object, options={"headers": {"OpenAI-Beta": "agents=v1"}})
        assert missing.value.status_code == status
        assert missing.value.body["type"] == "not_found_error"  # type: ignore[index]
