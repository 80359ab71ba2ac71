"""What is to be done, over HTTP: by the remote handle, and as plain JSON."""

from __future__ import annotations

import httpx2
import pytest

import godwit
from godwit.core.errors import InvalidArgument
from godwit.core.todos import Todo
from godwit.models.script import call
from tests.engine.conftest import MODEL, Bench, within

from .remote import RemoteBench, served

LIST = [{"content": "look", "status": "in_progress"}, {"content": "mend it"}]


async def test_a_remote_handle_reads_and_writes_as_one_here(bench: RemoteBench) -> None:
    met = call("goal", status="met", reason="it runs")
    session = await bench.start([call("todo", todos=LIST) + met, "So far.", "Still."], "todo", "goal", nudges=1)
    assert (await session.todos(), await session.goal()) == ([], None)
    goal = await session.set_goal("It runs.")
    assert await session.goal() == goal
    await within(session.send("Mend it."))
    assert await session.todos() == [Todo("look", "in_progress"), Todo("mend it")]
    assert await session.goal() == godwit.Goal(goal.id, "It runs.", "met", "it runs", "model")
    assert [e.type for e in await session.events()].count("run.nudged") == 1
    assert await session.set_todos(["sing", Todo("look", "completed")]) == [Todo("sing"), Todo("look", "completed")]
    assert not await session.end_goal()
    await session.set_goal("It sings.")
    assert await session.end_goal("never mind", status="blocked")
    ended = await session.goal()
    assert ended is not None
    assert (ended.status, ended.reason, ended.by) == ("blocked", "never mind", "host")
    with pytest.raises(InvalidArgument, match="items 1, 2 are in progress"):
        await session.set_todos([Todo("a", "in_progress"), Todo("b", "in_progress")])
    with pytest.raises(InvalidArgument):
        await session.set_goal(" ")


async def test_as_plain_json(bench: RemoteBench) -> None:
    host = await Bench.runtime(bench, ["Yes."])
    agent = godwit.Agent("tester", model=MODEL, tools=["todo", "goal"])
    handle = await host.start_session(agent, workspace=bench.workspace, goal="It runs.")
    async with served(host) as url, httpx2.AsyncClient(base_url=f"{url}/godwit/v1/sessions/{handle.id}") as http:
        assert (await http.get("/goal")).json()["goal"]["text"] == "It runs."
        put = await http.put("/todos", json={"todos": [{"content": "look", "status": "in_progress"}]})
        assert put.json() == (await http.get("/todos")).json() == {"todos": [{"content": "look", "status": "in_progress"}]}
        refused = await http.put("/todos", json={"todos": [{"content": " "}]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_argument")
        assert (await http.post("/goal/end", json={})).json() == {"changed": True}
        assert (await http.post("/goal/end", json={})).json() == {"changed": False}
        assert (await http.get("/goal")).json()["goal"]["status"] == "abandoned"


async def test_a_session_begins_with_its_goal_and_an_agent_with_its_nudges(bench: RemoteBench) -> None:
    host = await Bench.runtime(bench, ["1", "2", "3"])
    async with served(host) as url, godwit.connect(url) as runtime:
        agent = godwit.Agent("tester", model=MODEL, tools=["goal"], nudges={"max_nudges": 2})
        session = await runtime.start_session(agent, workspace=bench.workspace, goal="It runs.")
        goal = await session.goal()
        assert goal is not None
        assert goal.text == "It runs."
        await within(session.send("Go."))
        assert [e.type for e in await session.events()].count("run.nudged") == 2
        with pytest.raises(InvalidArgument, match="no tool 'goal'"):
            await runtime.start_session(godwit.Agent("bare", model=MODEL), goal="It runs.")
