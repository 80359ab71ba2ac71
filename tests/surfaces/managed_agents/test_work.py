"""The work queue of a self-hosted environment, as official clients poll it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import anthropic
import httpx
import pytest

import godwit
from godwit.host.api_keys import ApiKeys
from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from tests.surfaces.managed_agents.conftest import Start, client_of
from tests.surfaces.server.running import RunningServer

TOOLS: Any = [{"type": "agent_toolset_20260401"}]
TURN = say("I will look.") + call("glob", pattern="*")


@pytest.fixture
def server(start: Start) -> RunningServer:
    return start(TURN, TURN, TURN)


def a_session(client: anthropic.Anthropic, environment: str) -> str:
    agent = client.beta.agents.create(name="far", model="m", tools=TOOLS)
    return client.beta.sessions.create(agent=agent.id, environment_id=environment).id


def begin(server: RunningServer, session: str) -> None:
    """Start a run in it, and wait until a worker is wanted."""

    async def go() -> None:
        handle = await server.runtime.desk.session(session)
        await handle.prompt("look")
        async for event in handle.follow():
            if event.type == "run.parked":
                return

    server.call(go)


@pytest.fixture
def environment(client: anthropic.Anthropic) -> str:
    return client.beta.environments.create(name="here", config={"type": "self_hosted"}).id


@pytest.fixture
def work(server: RunningServer, client: anthropic.Anthropic, environment: str) -> Any:
    session = a_session(client, environment)
    assert client.beta.environments.work.poll(environment) is None
    begin(server, session)
    item = client.beta.environments.work.poll(environment, block_ms=999, anthropic_worker_id="w")
    assert item is not None
    assert item.data.id == session
    return item


def test_an_empty_poll_is_null(server: RunningServer, environment: str) -> None:
    answer = httpx.get(f"{server.url}/v1/environments/{environment}/work/poll?block_ms=1")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "null", "application/json")


def test_an_item_from_the_queue_to_its_end(client: anthropic.Anthropic, environment: str, work: Any) -> None:
    queue = client.beta.environments.work
    shown: Any = work.to_dict(mode="json")
    assert shown | {"id": "", "created_at": ""} == {
        "type": "work",
        "id": "",
        "environment_id": environment,
        "state": "queued",
        "data": {"type": "session", "id": work.data.id},
        "metadata": {},
        "secret": None,
        "created_at": "",
        "acknowledged_at": None,
        "started_at": None,
        "latest_heartbeat_at": None,
        "stop_requested_at": None,
        "stopped_at": None,
    }
    stats = queue.stats(environment)
    assert (stats.depth, stats.pending, stats.oldest_queued_at, stats.workers_polling) == (0, 1, work.created_at, 1)
    assert queue.ack(work.id, environment_id=environment).state == "starting"
    with pytest.raises(anthropic.ConflictError) as refused:
        queue.ack(work.id, environment_id=environment)
    assert refused.value.response.headers["x-should-retry"] == "false"
    first = queue.heartbeat(work.id, environment_id=environment, expected_last_heartbeat="NO_HEARTBEAT")
    assert (first.state, first.lease_extended, first.ttl_seconds) == ("active", True, 30)
    again = queue.heartbeat(
        work.id, environment_id=environment, expected_last_heartbeat=first.last_heartbeat, desired_ttl_seconds=100_000
    )
    assert again.ttl_seconds == 300
    assert again.last_heartbeat > first.last_heartbeat
    asked = queue.stop(work.id, environment_id=environment)
    assert (asked.state, asked.stop_requested_at is not None) == ("stopping", True)
    told = queue.heartbeat(work.id, environment_id=environment, expected_last_heartbeat="whatever")
    assert (told.state, told.lease_extended) == ("stopping", False)
    stopped = queue.stop(work.id, environment_id=environment, force=True)
    assert (stopped.state, stopped.stopped_at is not None) == ("stopped", True)
    with pytest.raises(anthropic.ConflictError):
        queue.stop(work.id, environment_id=environment)
    assert queue.retrieve(work.id, environment_id=environment) == stopped


@pytest.mark.parametrize("expected", ["NO_HEARTBEAT", "2026-01-31T12:00:00.000Z", "nonsense", "9" * 40])
def test_a_lost_lease_is_told_with_what_the_server_knows(
    client: anthropic.Anthropic, environment: str, work: Any, expected: str
) -> None:
    queue = client.beta.environments.work
    queue.ack(work.id, environment_id=environment)
    held = queue.heartbeat(work.id, environment_id=environment, expected_last_heartbeat="NO_HEARTBEAT")
    with pytest.raises(anthropic.APIStatusError) as refused:
        queue.heartbeat(work.id, environment_id=environment, expected_last_heartbeat=expected)
    assert refused.value.status_code == 412
    body: Any = refused.value.body
    assert body["error"]["details"] == {
        "error_code": "heartbeat_precondition_failed",
        "current_state": {
            "last_heartbeat": held.last_heartbeat,
            "lease_extended": False,
            "state": "active",
            "ttl_seconds": 30,
        },
    }
    assert isinstance(refused.value, anthropic.types.beta.environments.BetaHeartbeatPreconditionFailedError)


def test_metadata_is_patched_and_lists_have_pages(
    server: RunningServer, client: anthropic.Anthropic, environment: str, work: Any
) -> None:
    queue = client.beta.environments.work
    assert queue.update(work.id, environment_id=environment, metadata={"a": "1", "b": "2"}).metadata == {"a": "1", "b": "2"}
    assert queue.update(work.id, environment_id=environment, metadata={"a": None}).metadata == {"b": "2"}
    other = a_session(client, environment)
    begin(server, other)
    assert queue.poll(environment, block_ms=999) is not None
    listed = list(queue.list(environment, limit=1))
    assert [one.data.id for one in listed] == [other, work.data.id]


def test_bad_requests_are_refused(client: anthropic.Anthropic, environment: str, work: Any) -> None:
    queue = client.beta.environments.work
    cloud = client.beta.environments.create(name="cloud").id
    with pytest.raises(anthropic.BadRequestError, match="self_hosted"):
        queue.poll(cloud)
    for value in (0, 1000, -1):
        with pytest.raises(anthropic.BadRequestError, match="block_ms"):
            queue.poll(environment, block_ms=value)
    with pytest.raises(anthropic.BadRequestError, match="desired_ttl_seconds"):
        queue.heartbeat(work.id, environment_id=environment, desired_ttl_seconds=0)
    with pytest.raises(anthropic.BadRequestError, match="metadata"):
        queue.update(work.id, environment_id=environment, metadata={"k" * 65: "v"})
    with pytest.raises(anthropic.NotFoundError):
        queue.poll("env_none")
    other = client.beta.environments.create(name="there", config={"type": "self_hosted"}).id
    for ask in (queue.ack, queue.heartbeat, queue.stop, queue.retrieve):
        for id_, at in ((work.id, other), ("work_none", environment)):
            with pytest.raises(anthropic.NotFoundError, match="there is no work"):
                ask(id_, environment_id=at)


def test_a_worker_needs_to_be_allowed_to_answer_and_no_more(start: Start) -> None:
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        for name, tenant, scope in (("boss", "t", "operate"), ("worker", "t", "answer"), ("eye", "t", "read")):
            keys[name] = (await made.create(name, tenant=tenant, scopes=[scope]))[0]
        keys["other"] = (await made.create("other", tenant="u", scopes=["admin"]))[0]

    settings = ServerSettings(port=0, models={"*": "scripted:any"}, keys=True)
    server = start(TURN, settings=settings, prepare=prepare)
    clients = {name: client_of(server, api_key=key) for name, key in keys.items()}
    with closing(clients["boss"]) as boss, closing(clients["worker"]) as worker:
        environment = boss.beta.environments.create(name="here", config={"type": "self_hosted"}).id
        begin(server, a_session(boss, environment))
        with pytest.raises(anthropic.PermissionDeniedError):
            clients["eye"].beta.environments.work.poll(environment)
        item = worker.beta.environments.work.poll(environment, block_ms=999)
        assert item is not None
        with pytest.raises(anthropic.PermissionDeniedError):
            worker.beta.environments.work.update(item.id, environment_id=environment, metadata={})
        theirs = clients["other"].beta.environments.work
        for ask in (theirs.ack, theirs.heartbeat, theirs.stop, theirs.retrieve):
            with pytest.raises(anthropic.NotFoundError):
                ask(item.id, environment_id=environment)
        with pytest.raises(anthropic.NotFoundError):
            theirs.poll(environment)
        worker.beta.environments.work.ack(item.id, environment_id=environment)
        worker.beta.environments.work.stop(item.id, environment_id=environment, force=True)
    for one in clients.values():
        one.close()


def test_a_heartbeat_is_never_answered_from_memory(server: RunningServer, environment: str, work: Any) -> None:
    """Two workers send the same one; the second says that it asks again."""
    at = f"{server.url}/v1/environments/{environment}/work/{work.id}"
    headers = {"x-stainless-retry-count": "0"}
    assert httpx.post(f"{at}/ack", headers=headers).status_code == 200
    beat = f"{at}/heartbeat?expected_last_heartbeat=NO_HEARTBEAT"
    assert httpx.post(beat, headers=headers).status_code == 200
    refused = httpx.post(beat, headers={"x-stainless-retry-count": "1"})
    assert (refused.status_code, json.loads(refused.text)["error"]["type"]) == (412, "invalid_request_error")
