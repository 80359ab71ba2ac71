"""The HTTP API by itself: what a program without our client relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

import godwit
from godwit.core.principal import Scope
from godwit.host.api_keys import ApiKeys
from godwit.models.script import ScriptedModel
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer, running

MODEL = "scripted:test"
MANY = ["answer"] * 50


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path / "g.db", models={MODEL: ScriptedModel(MANY, MODEL)}, dialects=[Api]) as made:
        yield made


@pytest.fixture
def api(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{server.url}/godwit/v1") as made:
        yield made


def started(api: httpx2.Client, agent: str = "coder", **body: Any) -> str:
    assert api.put(f"/agents/{agent}", json={"models": [MODEL]}).status_code == 200
    answer = api.post("/sessions", json={"agent": agent, **body})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["session"]["id"]
    return found


def test_an_agent_has_one_name_and_immutable_versions(api: httpx2.Client) -> None:
    first = api.put("/agents/coder", json={"models": [MODEL], "instructions": "Be brief."}).json()
    assert (first["name"], first["version"], first["spec"]["name"]) == ("coder", 1, "coder")
    assert api.put("/agents/coder", json={"models": [MODEL], "instructions": "Be brief."}).json()["version"] == 1
    second = api.put("/agents/coder", json={"models": [MODEL], "instructions": "Be exact."}).json()
    assert (second["id"], second["version"], second["newest"]) == (first["id"], 2, 2)
    assert api.get("/agents/coder", params={"version": 1}).json()["spec"]["instructions"] == "Be brief."
    assert api.get(f"/agents/{first['id']}").json() == api.get("/agents/coder").json()
    assert [v["version"] for v in api.get("/agents/coder/versions").json()["data"]] == [2, 1]
    page = api.get("/agents/coder/versions", params={"limit": 1}).json()
    assert [v["version"] for v in page["data"]] == [2]
    assert [v["version"] for v in api.get("/agents/coder/versions", params={"before": page["next"]}).json()["data"]] == [1]
    assert api.post("/agents/coder/archive").json()["archived_ms"] is not None
    refused = api.post("/sessions", json={"agent": "coder"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert api.delete("/agents/coder").status_code == 204
    assert api.get("/agents/coder").status_code == 404
    assert api.put("/agents/coder", json={"models": [MODEL]}).json()["version"] == 1


def test_lists_are_read_page_by_page(api: httpx2.Client) -> None:
    made = [started(api, agent=f"a{n}") for n in range(5)]
    names: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = api.get("/agents", params={"limit": 2, **after}).json()
        names += [one["name"] for one in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(names) == [f"a{n}" for n in range(5)]
    found: list[str] = []
    after = {}
    while True:
        page = api.get("/sessions", params={"limit": 2, **after}).json()
        found += [one["id"] for one in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == made[::-1]
    assert [s["id"] for s in api.get("/sessions", params={"prefix": made[0]}).json()["data"]] == [made[0]]
    assert api.get("/sessions", params={"after": "nonsense"}).status_code == 400


def test_an_event_is_told_in_the_bytes_it_was_stored_in(api: httpx2.Client, server: RunningServer) -> None:
    session = started(api, labels={"correlation": 'a","type":"b'})
    api.post(f"/sessions/{session}/prompt", json={"prompt": "Hello, wörld."})
    assert api.get(f"/sessions/{session}/result", params={"wait_s": 30}).status_code == 200

    async def frames() -> list[bytes]:
        return [e.frame() for e in await (await server.runtime.open_session(session, drive=False)).events()]

    wanted = server.call(frames)
    listed = api.get(f"/sessions/{session}/events").content
    assert listed == b'{"data":[' + b",".join(wanted) + b'],"head":%d}' % len(wanted)
    assert [e["type"] for e in api.get(f"/sessions/{session}/events", params={"types": "run.started"}).json()["data"]] == [
        "run.started"
    ]
    with api.stream("GET", f"/sessions/{session}/stream", params={"from_seq": 0}) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith(("id", "data")))
        for seq, frame in enumerate(wanted, 1):
            assert (next(lines), next(lines)) == (f"id: {seq}", f"data: {frame.decode()}")
    with api.stream("GET", f"/sessions/{session}/stream", headers={"last-event-id": "3"}) as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("id")) == "id: 4"
    again = [godwit.Event.of_frame(frame) for frame in wanted]
    assert [e.body for e in again] == [b"{" + f[f.index(b',"type":') + 1 :] for f in wanted]
    assert [e.run is not None for e in again] == [b'"run":' in f for f in wanted]


def test_the_stream_of_a_session_ends_with_it(api: httpx2.Client) -> None:
    session = started(api)
    with api.stream("GET", f"/sessions/{session}/stream", params={"from_seq": 0}) as stream:
        lines = stream.iter_lines()
        assert any(line == "id: 1" for line in lines)
        assert api.post(f"/sessions/{session}/archive").status_code == 204
        rest = list(lines)
    assert [line for line in rest if line.startswith("event:")] == ["event: end"]
    assert any('"type":"session.archived"' in line for line in rest)
    again = api.post(f"/sessions/{session}/archive")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "session_archived")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("PUT", "/agents/coder", {"models": []}, 400, "models"),
        ("PUT", "/agents/coder", {"models": [MODEL], "limits": {"max_turn": 3}}, 400, "limits.max_turn"),
        ("PUT", "/agents/coder", {"models": [MODEL], "limits": {"max_turns": 0}}, 400, "max_turns"),
        ("PUT", "/agents/coder", {"models": [MODEL], "tools": ["nothing"]}, 404, "nothing"),
        ("PUT", "/agents/coder", {"models": ["nowhere:model"]}, 404, "nowhere"),
        ("PUT", "/agents/no name", {"models": [MODEL]}, 400, "no name"),
        ("POST", "/sessions", {"agent": "unknown"}, 404, "unknown"),
        ("POST", "/sessions", {}, 400, "agent"),
        ("POST", "/sessions", {"agent": "coder", "own_workspace": True, "session": "../../x"}, 400, "session"),
        ("POST", "/sessions/{session}/prompt", {"prompt": ""}, 400, "needs content"),
        ("POST", "/sessions/{session}/prompt", {"prompt": "  "}, 400, "content"),
        ("POST", "/sessions/{session}/prompt", {"prompt": [{"type": "sound"}]}, 400, "sound"),
        ("POST", "/sessions/{session}/prompt", {"prompt": "x", "more": 1}, 400, "more"),
        ("POST", "/sessions/{session}/steer", {"message": "x"}, 409, "no run"),
        ("POST", "/sessions/{session}/actions/act_x/approve", {}, 404, "act_x"),
        ("POST", "/sessions/{session}/rewind", {"seq": 1, "on_conflict": "x"}, 400, "on_conflict"),
        ("PUT", "/sessions/{session}/budget", {"budgets": [{"usd": -1}]}, 400, "usd"),
        ("GET", "/sessions/{session}/events?limit=0", None, 400, "limit"),
        ("GET", "/sessions/{session}/stream?from_seq=-1", None, 400, "from_seq"),
        ("GET", "/sessions/{session}/runs/run_x", None, 404, "run_x"),
        ("GET", "/sessions/{session}/checkpoints", None, 409, "workspace"),
        ("GET", "/sessions/ses_unknown/events", None, 404, "ses_unknown"),
        ("GET", "/nothing", None, 404, "nothing here"),
        ("PATCH", "/agents", None, 405, "no such method"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_shape(
    api: httpx2.Client, method: str, path: str, body: Any, status: int, said: str
) -> None:
    session = started(api)
    path = path.format(session=session) if "{session}" in path else path
    answer = api.request(method, path, json=body)
    told = answer.json()
    assert answer.status_code == status, told
    assert said in told["error"]["message"]
    assert set(told) == {"error", "request_id"}
    assert set(told["error"]) == {"code", "message", "details"}
    assert told["request_id"] == answer.headers["request-id"]


def test_a_method_that_is_not_there_is_answered_with_those_that_are(api: httpx2.Client) -> None:
    for path, methods in (
        ("/agents/coder", "DELETE, GET, PUT"),
        ("/sessions/x/prompt", "POST"),
        ("/sessions/x/stream", "GET, HEAD"),
    ):
        answer = api.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_a_body_that_is_no_json_is_refused(api: httpx2.Client) -> None:
    for body in (b"{", b"\xff", b"[]", b'{"agent": "\\ud800"}', b"[" * 100_000):
        answer = api.post("/sessions", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")


def test_a_request_that_is_sent_again_is_done_once(api: httpx2.Client) -> None:
    session = started(api)
    key = {"idempotency-key": "k1"}
    first = api.post(f"/sessions/{session}/prompt", json={"prompt": "Go."}, headers=key)
    assert api.post(f"/sessions/{session}/prompt", json={"prompt": "Go."}, headers=key).json() == first.json()
    other = api.post(f"/sessions/{session}/prompt", json={"prompt": "Else."}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
    again = [api.post("/sessions", json={"agent": "coder"}, headers={"idempotency-key": "k2"}).json() for _ in range(2)]
    assert again[0]["session"]["id"] == again[1]["session"]["id"]
    assert len(api.get("/sessions").json()["data"]) == 2


# --- who may do what ------------------------------------------------------------------------------------------------


As = dict[str, httpx2.Client]


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[As]:
    """Clients of a server that asks for keys: one for each scope of the tenant `one`, and `other` of another tenant."""
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        store = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        scopes: tuple[Scope, ...] = ("read", "answer", "operate", "admin")
        for scope in scopes:
            keys[scope] = (await store.create(scope, tenant="one", scopes=[scope]))[0]
        keys["other"] = (await store.create("other", tenant="two", scopes=["admin"]))[0]

    with (
        running(
            tmp_path / "g.db",
            models={MODEL: ScriptedModel(MANY, MODEL)},
            dialects=[Api],
            settings=ServerSettings(port=0, keys=True),
            prepare=prepare,
        ) as server,
        ExitStack() as stack,
    ):
        yield {
            name: stack.enter_context(
                httpx2.Client(base_url=f"{server.url}/godwit/v1", headers={"authorization": f"Bearer {key}"} if key else {})
            )
            for name, key in {**keys, "nobody": ""}.items()
        }


def test_a_scope_is_needed_for_each_thing(keyed: As) -> None:
    read, answers, operate, admin = (keyed[name] for name in ("read", "answer", "operate", "admin"))
    session = started(operate)
    for allowed in (read, answers, operate, admin):
        assert allowed.get(f"/sessions/{session}").status_code == 200
    prompt = {"prompt": "Go."}
    assert read.post(f"/sessions/{session}/prompt", json=prompt).status_code == 403
    assert answers.post(f"/sessions/{session}/prompt", json=prompt).status_code == 403
    assert read.post(f"/sessions/{session}/actions/x/approve", json={}).status_code == 403
    assert answers.post(f"/sessions/{session}/actions/x/approve", json={}).status_code == 404
    tool = {"arguments": {"command": "true"}}
    assert operate.post(f"/sessions/{session}/tools/bash", json=tool).status_code == 403
    assert admin.post(f"/sessions/{session}/tools/bash", json=tool).status_code == 200
    assert operate.post(f"/sessions/{session}/verification", json={"subject": "s", "commands": ["true"]}).status_code == 403
    assert keyed["nobody"].get("/sessions").status_code == 401


def test_only_the_host_lets_an_agent_out_of_what_confines_it(keyed: As, tmp_path: Path) -> None:
    operate, admin = keyed["operate"], keyed["admin"]
    hook = {"hooks": [{"id": "h", "point": "before_tool", "command": "true"}]}
    for loose in (hook, {"sandbox": {"network": True}}):
        assert operate.put("/agents/coder", json={"models": [MODEL], **loose}).status_code == 403
        assert admin.put("/agents/coder", json={"models": [MODEL], **loose}).status_code == 200
        # Nor does an agent that is written down in another one.
        below = {
            "subagents": {"b": "B."},
            "subagent_specs": {"b": {"name": "b", "models": ["inherit"], "description": "B.", **loose}},
        }
        assert operate.put("/agents/above", json={"models": [MODEL], **below}).status_code == 403
        assert admin.put("/agents/above", json={"models": [MODEL], **below}).status_code == 200
    body = {"agent": "coder", "workspace": str(tmp_path)}
    assert operate.post("/sessions", json=body).status_code == 403
    assert admin.post("/sessions", json=body).status_code == 200
    own = operate.post("/sessions", json={"agent": "coder", "own_workspace": True}).json()["config"]["workspace"]
    assert own.startswith(f"{tmp_path}/g.db.workspaces/ses_")
    assert Path(own).is_dir()
    assert operate.delete(f"/sessions/{Path(own).name}").status_code == 204
    assert not Path(own).exists()


def test_a_tenant_finds_nothing_of_another_on_any_path(keyed: As) -> None:
    mine, other = keyed["admin"], keyed["other"]
    session = started(mine)
    run = mine.post(f"/sessions/{session}/prompt", json={"prompt": "Go."}).json()["run"]
    mine.get(f"/sessions/{session}/result", params={"wait_s": 30})
    before = mine.get(f"/sessions/{session}/state").json()
    document = mine.get("/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        if "{session}" not in path and "{agent}" not in path:
            continue
        named = path.removeprefix("/godwit/v1").format(
            session=session,
            run=run,
            agent="coder",
            action="x",
            input="x",
            name="bash",
            ref="x",
            lane="execute",
            task="x",
            server="x",
        )
        for method, told in methods.items():
            if path.endswith("/agents/{agent}") and method == "put":
                continue  # a name is the tenant's own, so this makes another agent
            body = _example(document, told)
            query = {"seq": 1} if named.endswith("preview_rewind") else {}
            answer = other.request(method, named, json=body, params=query)
            unknown = other.request(
                method, named.replace(session, "ses_none").replace("coder", "none"), json=body, params=query
            )
            assert answer.status_code == unknown.status_code == 404, (method, named, answer.text)
            theirs, none = answer.json()["error"], unknown.json()["error"]
            assert theirs["code"] == none["code"] in ("session_not_found", "agent_not_found")
            assert theirs["message"] == none["message"].replace("ses_none", session).replace("none", "coder")
            tried += 1
    assert tried > 45
    assert other.get("/sessions").json()["data"] == []
    assert other.get("/agents").json()["data"] == []
    assert mine.get(f"/sessions/{session}/state").json() == before
    theirs = other.put("/agents/coder", json={"models": [MODEL], "instructions": "mine"}).json()
    assert theirs["version"] == 1
    assert mine.get("/agents/coder").json()["id"] != theirs["id"]


def _example(document: dict[str, Any], told: dict[str, Any]) -> Any:
    """A body that is as it should be, for an operation that takes one."""
    if "requestBody" not in told:
        return None
    name = told["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    examples: dict[str, Any] = {
        "McpLoginAnswer": {"address": "http://127.0.0.1:1/callback?state=x&code=y"},
        "McpServerBody": {"server": {"name": "docs", "url": "https://docs.example/mcp"}},
        "McpUriBody": {"uri": "docs://page"},
        "ExternalToolsBody": {"tools": []},
        "SetStateBody": {"value": {"count": 1}},
        "PatchStateBody": {"operations": [{"op": "add", "path": "/count", "value": 1}]},
        "McpPromptBody": {"name": "review"},
        "McpReadBody": {"uri": "docs://page"},
        "McpCompleteBody": {"ref": {"type": "ref/prompt", "name": "review"}, "argument": "work"},
        "PromptBody": {"prompt": "x"},
        "SteerBody": {"message": "x"},
        "FollowUpBody": {"message": "x"},
        "CommandBody": {"text": "/help"},
        "AnswerBody": {"result": "x"},
        "OrderBody": {"order": []},
        "BudgetBody": {"budgets": None},
        "RewindBody": {"seq": 1},
        "TodosBody": {"todos": [{"content": "x"}]},
        "GoalBody": {"text": "x"},
        "LabelBody": {"seq": 1, "label": None},
        "RegisterBody": {"agents": []},
        "NavigateBody": {"to": 1},
        "StartTaskBody": {"agent": "x", "prompt": "x"},
        "ReadTasksBody": {"tasks": []},
        "RecordTaskBody": {"agent": "x"},
        "ProgressBody": {"status": "x"},
        "VerifyBody": {"subject": "s", "commands": ["true"]},
        "ReportsBody": {"reports": []},
        "ResultBody": {"result": {"success": True}},
        "OutcomeBody": {"outcome": "success", "prompt": "x"},
    }
    assert name in examples or not document["components"]["schemas"][name].get("required"), name
    return examples.get(name, {})


def test_the_document_says_what_is_needed(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [told for methods in document["paths"].values() for told in methods.values()]
    assert len({told["operationId"] for told in operations}) == len(operations)
    assert {told["x-scope"] for told in operations} == {"read", "answer", "operate", "admin"}
    assert all(told["description"] for told in operations)
    json.dumps(document)
    msgspec.json.encode(document)
