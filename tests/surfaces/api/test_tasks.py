"""Tasks over HTTP, as a program without our client has them: agents that may hand work on, what they have handed out, and
what is asked below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import godwit
from godwit.contracts import Model
from godwit.host.api_keys import ApiKeys
from godwit.models.script import Script, ScriptedModel, call
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

ASK = {"ask": ["bash"]}


def models(**scripts: Script) -> dict[str, Model]:
    return {f"scripted:{name}": ScriptedModel(script, f"scripted:{name}") for name, script in scripts.items()}


def three_levels() -> dict[str, Model]:
    """Each hands the work on, and the last one has a call that needs an approval."""
    return models(
        root=[call("task", id="t", agent="branch", prompt="Go on."), "All done."],
        branch=[call("task", id="t", agent="leaf", prompt="Do it."), "Branch done."],
        leaf=[call("bash", id="c1", command="echo deep"), "Leaf done."],
    )


@contextmanager
def serving(path: Path, found: dict[str, Model], **options: Any) -> Iterator[tuple[RunningServer, httpx2.Client]]:
    with (
        running(path, models=found, dialects=[Api], **options) as server,
        httpx2.Client(base_url=f"{server.url}/godwit/v1") as api,
    ):
        yield server, api


def put(api: httpx2.Client, name: str, **body: Any) -> dict[str, Any]:
    answer = api.put(f"/agents/{name}", json={"models": [f"scripted:{name}"], **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def put_three(api: httpx2.Client) -> None:
    put(api, "leaf", tools=["bash"], permissions=ASK)
    put(api, "branch", subagents={"leaf": "Does it."})
    put(api, "root", subagents={"branch": "Goes on."})


def started(api: httpx2.Client, agent: str) -> str:
    answer = api.post("/sessions", json={"agent": agent, "own_workspace": True})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["session"]["id"]
    return found


def prompted(api: httpx2.Client, session: str) -> str:
    run: str = api.post(f"/sessions/{session}/prompt", json={"prompt": "Go."}).json()["run"]
    return run


def asked(api: httpx2.Client, session: str) -> dict[str, Any]:
    """What is asked below this session, once it is."""
    with api.stream("GET", f"/sessions/{session}/stream", params={"from_seq": 0}) as stream:
        assert any('"type":"subagent.asked"' in line for line in stream.iter_lines())
    (action,) = api.get(f"/sessions/{session}/actions").json()["data"]
    found: dict[str, Any] = action
    return found


def test_what_is_asked_below_is_answered_at_the_top_also_by_another_server(tmp_path: Path) -> None:
    with serving(tmp_path / "g.db", three_levels()) as (_, api):
        put_three(api)
        session = started(api, "root")
        run = prompted(api, session)
        action = asked(api, session)
        assert (action["path"], action["arguments"]) == (["branch", "leaf"], {"command": "echo deep"})
        assert api.get(f"/sessions/{session}/status").json()["status"] == "waiting"
    with serving(tmp_path / "g.db", three_levels()) as (_, api):
        assert api.get(f"/sessions/{session}/actions").json()["data"][0]["session"] == action["session"] != session
        approve = f"/sessions/{session}/actions/{action['id']}/approve"
        assert api.post(approve, json={}).json() == {"changed": True}
        ended = api.get(f"/sessions/{session}/runs/{run}/result", params={"wait_s": 30})
        assert (ended.status_code, ended.json()["text"]) == (200, "All done.")
        again = api.post(approve, json={})
        assert (again.status_code, again.json()) == (200, {"changed": False})
        (task,) = api.get(f"/sessions/{session}/tasks").json()["data"]
        assert (task["agent"], task["status"], task["output"]) == ("branch", "completed", "Branch done.")
        below = api.get(f"/sessions/{task['session']}/status").json()
        assert (below["parent"], below["agent"]["name"]) == (session, "branch")


def test_sessions_of_subagents_are_listed_with_their_parent_or_left_out(tmp_path: Path) -> None:
    with serving(tmp_path / "g.db", three_levels()) as (_, api):
        put_three(api)
        session = started(api, "root")
        prompted(api, session)
        leaf = asked(api, session)["session"]

        def listed(**query: Any) -> dict[str, str | None]:
            return {row["id"]: row.get("parent") for row in api.get("/sessions", params=query).json()["data"]}

        branch = listed()[leaf]
        assert branch is not None
        assert listed() == {session: None, branch: session, leaf: branch}
        assert listed(top_level=True) == {session: None}
        assert listed(parent=session) == {branch: session}
        assert listed(parent=leaf) == {}
        both = api.get("/sessions", params={"parent": session, "top_level": True})
        assert (both.status_code, both.json()["error"]["code"]) == (400, "invalid_argument")


def test_tasks_are_started_waited_for_and_cancelled(tmp_path: Path) -> None:
    found = models(boss=["Heard.", "Heard."], poet=["Rain falls."], slow=[call("bash", id="c1", command="echo x"), "x"])
    with serving(tmp_path / "g.db", found) as (_, api):
        put(api, "poet")
        put(api, "slow", tools=["bash"], permissions=ASK)
        put(api, "boss", subagents={"poet": "Writes.", "slow": "Asks."})
        tasks = f"/sessions/{started(api, 'boss')}/tasks"
        body = {"agent": "poet", "prompt": "A line on rain."}
        key = {"idempotency-key": "k1"}
        first = api.post(tasks, json=body, headers=key).json()
        assert api.post(tasks, json=body, headers=key).json()["id"] == first["id"]
        second = api.post(tasks, json={"agent": "slow", "prompt": "Go."}).json()
        ended = api.get(tasks, params={"task": first["id"], "wait_s": 30}).json()["data"]
        assert [(t["id"], t["status"], t["output"]) for t in ended] == [(first["id"], "completed", "Rain falls.")]
        assert [t["id"] for t in api.get(tasks, params={"pending": True}).json()["data"]] == [second["id"]]
        assert api.get(f"{tasks}/{first['id']}/output").json() == {"output": "Rain falls."}
        assert api.post(f"{tasks}/{second['id']}/cancel", json={"reason": "enough"}).json() == {"changed": True}
        assert api.post(f"{tasks}/{second['id']}/cancel", json={}).json() == {"changed": False}
        assert api.post(f"{tasks}/cancel", json={}).json() == {"count": 0}
        assert api.get(f"{tasks}/{second['id']}").json()["status"] == "cancelled"
        for unknown in (api.get(f"{tasks}/x"), api.get(f"{tasks}/x/output"), api.get(tasks, params={"task": "x"})):
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "task_not_found")
        nobody = api.post(tasks, json={"agent": "painter", "prompt": "A picture."})
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (404, "agent_not_found")


def test_who_works_for_an_agent_is_named_when_it_is_put(tmp_path: Path) -> None:
    found = models(boss=[call("task", id="t", agent="mine", prompt="Go."), "Done."], mine=["Mine."])
    with serving(tmp_path / "g.db", found) as (_, api):
        unknown = api.put("/agents/boss", json={"models": ["scripted:boss"], "subagents": {"nobody": ""}})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "agent_not_found")
        assert "nobody" in unknown.json()["error"]["message"]
        put(api, "mine", models=["inherit"], description="Takes what there is.")
        made = put(api, "boss", subagents={"mine": "Works.", "explore": "Looks."})
        assert (made["spec"]["subagents"], "subagent_ids" in made["spec"]) == (
            {"mine": "Works.", "explore": "Looks."},
            False,
        )
        assert put(api, "boss", subagents={"mine": "Works.", "explore": "Looks."})["version"] == made["version"]
        refused = api.put("/agents/boss", json={"models": ["scripted:boss"], "subagent_ids": {"mine": "agent_x"}})
        assert refused.status_code == 400


def test_no_agent_of_another_tenant_works_for_ones_own(tmp_path: Path) -> None:
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        store = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        for tenant in ("one", "two"):
            keys[tenant] = (await store.create(tenant, tenant=tenant, scopes=["admin"]))[0]

    found = models(boss=[call("task", id="t", agent="mine", prompt="Go."), "Done."], mine=["Of one."], theirs=["Of two."])
    settings = ServerSettings(port=0, keys=True)
    with serving(tmp_path / "g.db", found, settings=settings, prepare=prepare) as (_, api):
        ids: dict[str, str] = {}
        outputs: dict[str, str] = {}
        for tenant, model in (("one", "mine"), ("two", "theirs")):
            api.headers["authorization"] = f"Bearer {keys[tenant]}"
            ids[tenant] = put(api, "mine", models=[f"scripted:{model}"])["id"]
            put(api, "boss", subagents={"mine": "Works."})
            session = started(api, "boss")
            run = prompted(api, session)
            assert api.get(f"/sessions/{session}/runs/{run}/result", params={"wait_s": 30}).json()["text"] == "Done."
            (task,) = api.get(f"/sessions/{session}/tasks").json()["data"]
            outputs[tenant] = task["output"]
        assert outputs == {"one": "Of one.", "two": "Of two."}
        stolen = api.put("/agents/boss", json={"models": ["scripted:boss"], "subagents": {ids["one"]: ""}})
        assert stolen.status_code == 404
        recorded = api.put(f"/sessions/{session}/tasks/t1", json={"agent": "far", "session": "ses_of_one"})
        assert (recorded.status_code, recorded.json()["error"]["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_children_that_are_run_elsewhere_are_told(tmp_path: Path, status: str) -> None:
    with serving(tmp_path / "g.db", models(boss=[])) as (_, api):
        put(api, "boss")
        tasks = f"/sessions/{started(api, 'boss')}/tasks"
        made = api.put(f"{tasks}/t1", json={"agent": "far", "description": "rain"})
        assert (made.status_code, made.json()["status"], made.json()["external"]) == (200, "running", True)
        assert api.post(f"{tasks}/t1/progress", json={"status": "half"}).status_code == 204
        assert api.post(f"{tasks}/t1/end", json={"status": status, "output": "Rain."}).json() == {"changed": True}
        assert api.post(f"{tasks}/t1/end", json={}).json() == {"changed": False}
        told = api.get(f"{tasks}/t1").json()
        assert (told["status"], told["output"], [step["status"] for step in told["progress"]]) == (status, "Rain.", ["half"])
        assert api.post(f"{tasks}/t1/end", json={"status": "queued"}).status_code == 400
