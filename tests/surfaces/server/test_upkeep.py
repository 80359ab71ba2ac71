"""What a server tells of itself and does beside answering: audit log, metrics, recovery, forgetting."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

import godwit
from godwit.core.document import Document
from godwit.core.errors import SessionNotFound
from godwit.core.events import Event, Labels
from godwit.core.ids import SessionId
from godwit.core.principal import Principal
from godwit.host.work_item import WorkItem
from godwit.models.script import ScriptedModel, hold, say
from godwit.surfaces.server import ServerSettings, upkeep as upkeep_module
from godwit.surfaces.server.exchange import Exchange
from godwit.surfaces.server.service import Service
from godwit.surfaces.server.settings import TenantLimits
from godwit.surfaces.server.tenants import DOCUMENTS_S
from tests.patience import PATIENCE_S

from .clocks import SteppedClock
from .echo import Echo
from .process import serving
from .running import RunningServer, running

KEYED = ServerSettings(keys=True)


def keyed(server: RunningServer, key: str | None = None) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, headers={"x-api-key": key or str(server.key)})


# --- audit log ----------------------------------------------------------------------------------------------------------


def test_who_did_what_is_kept_and_what_was_said_is_not(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server, keyed(server) as client:
        done = client.post("/echo/answers/7?secret=1", json={"password": "hunter2"})
        client.get("/echo/things/1")
        client.post("/echo/busy", json={})
        client.post("/echo", content=b"{", headers={"idempotency-key": "k"})
        httpx2.post(f"{server.url}/echo", json=1)
        found = client.get("/admin/audit")
        entries = found.json()["data"]
        assert [(e["action"], e["path"], e["status"], e.get("error")) for e in entries] == [
            ("POST /echo", "/echo", 400, "invalid_argument"),
            ("POST /echo/busy", "/echo/busy", 409, "conflict"),
            ("POST /echo/answers/{id}", "/echo/answers/7", 200, None),
        ]
        last = entries[-1]
        assert (last["request"], last["dialect"], last["peer"]) == (done.headers["request-id"], "echo", "127.0.0.1")
        assert last["principal"].startswith("key_")
        assert "hunter2" not in found.text
        assert "secret" not in found.text


def test_a_proxy_that_is_trusted_tells_where_a_request_came_from(tmp_path: Path) -> None:
    def peers(proxies: tuple[str, ...], forwarded: str) -> str:
        settings = ServerSettings(proxies=proxies)
        with running(
            tmp_path / f"{len(list(tmp_path.iterdir()))}.db", models={}, settings=settings, dialects=[Echo]
        ) as server:
            httpx2.post(f"{server.url}/echo", json=1, headers={"x-forwarded-for": forwarded})
            found: str = httpx2.get(f"{server.url}/admin/audit").json()["data"][0]["peer"]
            return found

    assert peers((), "8.8.8.8") == "127.0.0.1"
    assert peers(("127.0.0.1",), "1.1.1.1, 8.8.8.8") == "8.8.8.8"
    assert peers(("127.0.0.0/8", "10.0.0.0/8"), "1.1.1.1, 8.8.8.8, 10.1.1.1") == "8.8.8.8"
    assert peers(("127.0.0.0/8",), "") == "127.0.0.1"


def test_the_audit_log_is_read_in_pages_by_its_own_tenant(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server, keyed(server) as operator:
        made = operator.post("/admin/keys", json={"name": "a", "tenant": "acme", "scopes": ["admin"]}).json()
        with keyed(server, made["key"]) as acme:
            for number in range(5):
                acme.post(f"/echo/answers/{number}", json=number)
            first = acme.get("/admin/audit?limit=2").json()
            second = acme.get(f"/admin/audit?limit=9&page={first['next_page']}").json()
            assert [e["path"][-1] for e in (*first["data"], *second["data"])] == ["4", "3", "2", "1", "0"]
            assert second["next_page"] is None
            assert acme.get(f"/admin/audit?principal={made['id']}").json()["data"]
            assert acme.get("/admin/audit?principal=key_other").json()["data"] == []
            assert acme.get("/admin/audit?tenant=other").status_code == 403
            for wrong in ("limit=0", "limit=x", "limit=1001", "page=x", "page=1.", "from_ms=-1", "to_ms=1e9"):
                assert acme.get(f"/admin/audit?{wrong}").status_code == 400
        assert [e["action"] for e in operator.get("/admin/audit").json()["data"]] == ["POST /admin/keys"]
        assert len(operator.get("/admin/audit?tenant=acme").json()["data"]) == 5


def test_the_audit_log_outlives_the_server_and_is_forgotten_in_time(tmp_path: Path) -> None:
    clock = SteppedClock()
    key = ""
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo], clock=clock) as server:
        key = str(server.key)
        with keyed(server) as client:
            client.post("/echo", json=1)
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo], clock=clock) as server:
        with keyed(server, key) as client:
            assert len(client.get("/admin/audit").json()["data"]) == 1
            clock.advance(91 * 86_400)
            assert client.get("/admin/audit").json()["data"] == []
        assert server.call(lambda: server.runtime.store.purge_documents()) == 1


def test_what_is_under_way_has_its_entry_and_no_result_yet(tmp_path: Path) -> None:
    made: list[Echo] = []

    def make(service: Service) -> Echo:
        made.append(Echo(service))
        return made[-1]

    with running(tmp_path / "g.db", models={}, dialects=[make]) as server:

        async def held() -> None:
            await made[0].held.acquire()

        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(httpx2.post, f"{server.url}/echo/slow", content=b"s")
            server.call(held)
            (entry,) = httpx2.get(f"{server.url}/admin/audit").json()["data"]
            assert (entry["action"], entry["path"], entry["status"]) == ("POST -", "/echo/slow", None)
            server.call(release_now(made[0].hold))
            assert waiting.result(PATIENCE_S).status_code == 200
        (entry,) = httpx2.get(f"{server.url}/admin/audit").json()["data"]
        assert (entry["action"], entry["path"], entry["status"]) == ("POST /echo/slow", "/echo/slow", 200)


@pytest.mark.slow
def test_no_change_is_without_its_entry_when_the_server_is_killed(tmp_path: Path) -> None:
    """The entry is committed before what it is of, or with it: so it is there once anybody has heard of that."""
    with serving(tmp_path) as process:
        with httpx2.Client(base_url=process.url) as client:
            for number in range(3):
                assert client.post("/v1/agents", json={"name": f"a{number}", "model": "claude-sonnet-5"}).status_code == 200
            assert client.post("/admin/keys", json={"name": "k"}).status_code == 201
        process.end(signal.SIGKILL)
    with serving(tmp_path) as process:
        found = httpx2.get(f"{process.url}/admin/audit").json()["data"]
        assert [entry["path"] for entry in found] == ["/admin/keys", *["/v1/agents"] * 3]


def test_a_change_and_its_entry_are_one_commit(tmp_path: Path) -> None:
    """Who hears of the change finds the entry; and nobody has waited for a commit of the entry alone."""
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:

        async def begun() -> list[str]:
            store, audit = server.runtime.store, server.app.audit
            exchange = Exchange({"type": "http", "method": "POST", "path": "/x", "headers": []}, "req", 0.0, "echo")
            exchange.principal = Principal("me", None, frozenset({"admin"}))
            await audit.begin(exchange, server.app.service.now_ms())
            for _ in range(10):
                await asyncio.sleep(0)
            before = [one.kind for one in await store.documents("audit", tenant=None)]
            await store.put_documents([Document("change", "c", b"{}")])
            return [*before, *(one.kind for one in await store.documents("audit", tenant=None))]

        assert server.call(begun) == ["audit"]


def test_an_entry_that_cannot_be_stored_holds_up_no_other(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:
        with httpx2.Client(base_url=server.url) as client:
            client.post("/echo", json=1)

            async def spoil() -> None:
                await server.app.audit.flush()
                server.app.audit._number -= 1  # as if two processes had drawn one name

            server.call(spoil)
            client.post("/echo/answers/1", json=2)
            client.post("/echo/answers/2", json=3)
            paths = [one["path"] for one in client.get("/admin/audit").json()["data"]]
        assert paths == ["/echo/answers/2", "/echo"]


# --- metrics ------------------------------------------------------------------------------------------------------------


def test_metrics_count_by_route_and_never_by_id(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server, keyed(server) as client:
        for number in range(3):
            client.get(f"/echo/things/{number}")
        client.get("/echo/things/a/b")
        for _ in range(2):
            client.post("/echo", json=1, headers={"idempotency-key": "k"})
        httpx2.get(f"{server.url}/echo/things/1")
        with client.stream("GET", "/echo/stream") as stream:
            lines_of = stream.iter_lines()
            next(lines_of)
            answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = set(answer.text.splitlines())
        counted = 'godwit_http_requests_total{dialect="echo",method="GET",route="/echo/things/{id}",status="200"} 3.0'
        for line in (
            counted,
            'godwit_http_requests_total{dialect="echo",method="GET",route="-",status="404"} 1.0',
            'godwit_http_replayed_total{dialect="echo"} 1.0',
            'godwit_http_refused_total{code="unauthenticated"} 1.0',
            "godwit_http_streams 1.0",
            'godwit_sessions{status="running"} 0.0',
            'godwit_http_request_seconds_count{dialect="echo",route="/echo/things/{id}"} 3.0',
        ):
            assert line in lines, line


def test_metrics_tell_what_the_lanes_of_the_server_did(tmp_path: Path) -> None:
    async def work(runtime: godwit.Runtime) -> None:
        session = await runtime.start_session(godwit.Agent(name="bird", model="scripted:x"))
        await session.send("Go.")

    model = ScriptedModel([say("Done.")])
    with running(tmp_path / "g.db", models={"scripted:x": model}, prepare=work) as server:
        lines = set(httpx2.get(f"{server.url}/metrics").text.splitlines())
    for line in (
        'godwit_lane_tasks_total{lane="generate",what="completed"} 1.0',
        'godwit_lane_tasks_total{lane="generate",what="failed"} 0.0',
        'godwit_lane_depth{lane="execute"} 0.0',
        'godwit_lane_active{lane="generate"} 0.0',
        'godwit_lane_wait_seconds{lane="generate",quantile="0.99"} 0.0',
        'godwit_lane_run_seconds_count{lane="generate"} 1.0',
        "godwit_dead_letters 0.0",
    ):
        assert line in lines, line


# --- runs ---------------------------------------------------------------------------------------------------------------


async def some_run(runtime: godwit.Runtime, tenant: str | None, session: str) -> None:
    agent = godwit.Agent(name="bird", model="scripted:x")
    labels = Labels(tenant=tenant)
    handle = await runtime.start_session(agent, labels=labels, session=session, drive=False)
    await handle.prompt("Go.")


def test_runs_of_dead_processes_go_on_at_the_start_and_later(tmp_path: Path) -> None:
    async def before(runtime: godwit.Runtime) -> None:
        await some_run(runtime, None, "early")

    async def finished(session: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            async for event in await server.runtime.stream_events(session, 0):
                if isinstance(event, Event) and event.type == "run.finished":
                    return

    settings = ServerSettings(recover_s=0.05)
    model = ScriptedModel([say("Done.")])
    with running(tmp_path / "g.db", models={"scripted:x": model}, settings=settings, prepare=before) as server:
        server.call(lambda: finished("early"))

        async def elsewhere() -> None:
            async with await godwit.Runtime.open(tmp_path / "g.db", models={"scripted:x": model}) as other:
                await some_run(other, None, "late")

        asyncio.run(elsewhere())
        server.call(lambda: finished("late"))
        assert "godwit_runs_recovered_total 2.0" in httpx2.get(f"{server.url}/metrics").text


def test_the_run_of_a_process_that_has_ended_goes_on_without_a_look_for_all(tmp_path: Path) -> None:
    model = ScriptedModel([say("Done.")])
    settings = ServerSettings(recover_s=3600)
    with running(tmp_path / "g.db", models={"scripted:x": model}, settings=settings) as server:

        async def elsewhere() -> None:
            async with await godwit.Runtime.open(tmp_path / "g.db", models={"scripted:x": model}) as other:
                await some_run(other, None, "left")
                await asyncio.to_thread(server.call, server.app.upkeep.take_over)  # nobody has ended yet
                assert (await other.store.session(SessionId("left"))).status == "queued"

        async def finished() -> None:
            async with asyncio.timeout(PATIENCE_S):
                async for event in await server.runtime.stream_events("left", 0):
                    if isinstance(event, Event) and event.type == "run.finished":
                        return

        asyncio.run(elsewhere())
        server.call(finished)
        assert "godwit_runs_recovered_total 1.0" in httpx2.get(f"{server.url}/metrics").text


def test_runs_above_the_limit_are_taken_and_wait(tmp_path: Path) -> None:
    """Given one place, when three are prompted over the wire, then the others are taken, and seen to wait."""
    reached, release = asyncio.Event(), asyncio.Event()
    model = ScriptedModel([hold(release, reached=reached) + say("Done.")])
    settings = ServerSettings(max_runs=1, models={"*": "scripted:x"})
    with running(tmp_path / "g.db", models={"scripted:x": model}, settings=settings) as server:
        with httpx2.Client(base_url=f"{server.url}/godwit/v1", timeout=PATIENCE_S) as client:
            assert client.put("/agents/a", json={"models": ["m"]}).status_code < 300
            for session in ("first", "second", "third"):
                made = client.post("/sessions", json={"agent": "a", "session": session})
                assert made.status_code == 200, made.text
                assert client.post(f"/sessions/{session}/prompt", json={"prompt": "Go."}).status_code < 300
                server.call(reached.wait)

            async def waits(*sessions: str) -> None:
                async with asyncio.timeout(PATIENCE_S):
                    while server.runtime.waiting_runs() != list(sessions):  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.01)

            server.call(lambda: waits("second", "third"))
            lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
            assert {"godwit_runs_driven 1.0", "godwit_runs_waiting 2.0"} <= set(lines)
            assert client.get("/sessions/second").json()["session"]["status"] == "queued"
            assert client.post("/sessions/second/interrupt", json={}).status_code == 200
            server.call(lambda: waits("third"))

            async def go_on() -> None:
                release.set()
                async for event in await server.runtime.stream_events("third", 0):
                    if isinstance(event, Event) and event.type == "run.finished":
                        return

            server.call(go_on)


def test_a_tenant_has_so_many_runs_and_no_more(tmp_path: Path) -> None:
    release = asyncio.Event()
    settings = ServerSettings(keys=True, tenant=TenantLimits(runs=1), models={"*": "scripted:x"})
    model = ScriptedModel([hold(release) + say("Done.")])
    with running(tmp_path / "g.db", models={"scripted:x": model}, settings=settings) as server, keyed(server) as client:
        agent = client.post("/v1/agents", json={"name": "a", "model": "m"}).json()["id"]
        place = client.post("/v1/environments", json={"name": "e"}).json()["id"]
        one, two = (
            client.post("/v1/sessions", json={"agent": agent, "environment_id": place}).json()["id"] for _ in range(2)
        )
        message: Any = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "Go."}]}]}
        assert client.post(f"/v1/sessions/{one}/events", json=message).status_code == 200
        refused = client.post(f"/v1/sessions/{two}/events", json=message)
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert refused.headers["retry-after"] == "5"
        other = client.post("/admin/keys", json={"name": "b", "tenant": "acme"}).json()["key"]
        with keyed(server, other) as acme:
            agent = acme.post("/v1/agents", json={"name": "a", "model": "m"}).json()["id"]
            place = acme.post("/v1/environments", json={"name": "e"}).json()["id"]
            three = acme.post("/v1/sessions", json={"agent": agent, "environment_id": place}).json()["id"]
            assert acme.post(f"/v1/sessions/{three}/events", json=message).status_code == 200

        async def done() -> None:
            release.set()
            async with asyncio.timeout(PATIENCE_S):
                async for event in await server.runtime.stream_events(one, 0):
                    if isinstance(event, Event) and event.type == "run.finished":
                        return

        server.call(done)
        assert client.post(f"/v1/sessions/{two}/events", json=message).status_code == 200


def test_a_tenant_keeps_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    async def kept(runtime: godwit.Runtime) -> None:
        await runtime.store.put_documents([Document("thing", "a", b"{}")], contents={"a": b"x" * 900})

    settings = ServerSettings(keys=True, tenant=TenantLimits(storage=1500))
    clock = SteppedClock()
    with running(tmp_path / "g.db", models={}, settings=settings, dialects=[Echo], prepare=kept, clock=clock) as server:
        with keyed(server) as client:
            assert client.post("/echo", files={"file": b"{}"}).status_code == 400  # taken, and no JSON

            async def more() -> None:
                store = server.runtime.store
                await store.put_documents([Document("thing", "b", b"{}")], contents={"b": b"x" * 900})

            server.call(more)
            clock.advance(DOCUMENTS_S)
            refused = client.post("/echo", files={"file": b"{}"})
            assert (refused.status_code, "1500 is the limit" in refused.json()["echo"]["message"]) == (429, True)
            assert client.get("/echo/things/1").status_code == 200


def test_what_a_tenant_uploads_counts_at_once(tmp_path: Path) -> None:
    settings = ServerSettings(keys=True, tenant=TenantLimits(storage=2000))
    with running(tmp_path / "g.db", models={}, settings=settings) as server, keyed(server) as client:
        assert client.post("/v1/files", files={"file": b"x" * 2500}).status_code == 429
        statuses = [client.post("/v1/files", files={"file": b"x" * 900}).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]  # in less time than a count of the store holds for
        assert len(client.get("/v1/files").json()["data"]) == 2


def test_logs_count_and_stop_what_would_write_more(tmp_path: Path) -> None:
    settings = ServerSettings(keys=True, tenant=TenantLimits(storage=30_000), models={"*": "scripted:x"})
    model = ScriptedModel([say("Done.")] * 3)
    with running(tmp_path / "g.db", models={"scripted:x": model}, settings=settings) as server, keyed(server) as client:
        agent = client.post("/v1/agents", json={"name": "a", "model": "m"}).json()["id"]
        place = client.post("/v1/environments", json={"name": "e"}).json()["id"]
        session = client.post("/v1/sessions", json={"agent": agent, "environment_id": place}).json()["id"]

        def send(text: str) -> httpx2.Response:
            event = {"type": "user.message", "content": [{"type": "text", "text": text}]}
            return client.post(f"/v1/sessions/{session}/events", json={"events": [event]})

        async def idle() -> None:
            async with asyncio.timeout(PATIENCE_S):
                async for event in await server.runtime.stream_events(session, 0):
                    if isinstance(event, Event) and event.type == "run.finished":
                        return

        assert send("x" * 40_000).status_code == 200
        server.call(idle)
        refused = send("y")
        assert (refused.status_code, "30000 is the limit" in refused.json()["error"]["message"]) == (429, True)
        assert client.post("/v1/agents", json={"name": "b", "model": "m"}).status_code == 429
        assert client.get(f"/v1/sessions/{session}/events").status_code == 200
        other = client.post("/admin/keys", json={"name": "b", "tenant": "acme"}).json()["key"]
        with keyed(server, other) as acme:
            assert acme.post("/v1/agents", json={"name": "a", "model": "m"}).status_code == 200
        assert client.delete(f"/v1/sessions/{session}").status_code == 200
        assert client.post("/v1/agents", json={"name": "b", "model": "m"}).status_code == 200


def test_open_runs_and_work_queues_are_measured(tmp_path: Path) -> None:
    async def before(runtime: godwit.Runtime) -> None:
        items = [WorkItem("p", SessionId(name)) for name in ("a", "b", "c")]
        items += [WorkItem("q", SessionId("d"), state="active"), WorkItem("q", SessionId("e"), state="stopped")]
        await runtime.store.put_documents([item.document(f"work_{item.session}", "acme") for item in items])

    release = asyncio.Event()
    model = ScriptedModel([hold(release) + say("Done.")])
    with running(tmp_path / "g.db", models={"scripted:x": model}, prepare=before) as server:

        async def begun() -> None:
            agent = godwit.Agent(name="bird", model="scripted:x")
            await server.runtime.start_session(agent, session="unused", drive=False)
            session = await server.runtime.start_session(agent, session="busy")
            await session.prompt("Go.")
            async with asyncio.timeout(PATIENCE_S):
                async for event in await server.runtime.stream_events("busy", 0):
                    if isinstance(event, Event) and event.type == "model.started":
                        return

        server.call(begun)
        lines = set(httpx2.get(f"{server.url}/metrics").text.splitlines())
        for line in (
            'godwit_runs_open{status="running"} 1.0',
            'godwit_runs_open{status="queued"} 0.0',
            'godwit_runs_open{status="waiting"} 0.0',
            'godwit_work_items{state="queued"} 3.0',
            'godwit_work_items{state="held"} 1.0',
        ):
            assert line in lines, line
        server.call(release_now(release))


def release_now(event: asyncio.Event) -> Callable[[], Coroutine[Any, Any, None]]:
    async def release() -> None:
        event.set()

    return release


# --- forgetting -----------------------------------------------------------------------------------------------------------


def test_archived_sessions_are_deleted_in_time(tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = ServerSettings(archived_days=30.0)

    async def prepare(runtime: godwit.Runtime) -> None:
        agent = godwit.Agent(name="bird", model="scripted:x")
        for name in ("old", "kept"):
            await runtime.start_session(agent, session=name, drive=False)
        await runtime.archive("old")

    with running(
        tmp_path / "g.db", models={"scripted:x": ScriptedModel([])}, settings=settings, prepare=prepare, clock=clock
    ) as server:
        upkeep = server.app.upkeep
        assert server.call(upkeep.delete_archived) == 0
        clock.advance(31 * 86_400)
        assert server.call(upkeep.delete_archived) == 1

        async def left() -> list[str]:
            return [row.id for row in await server.runtime.sessions()]

        assert server.call(left) == ["kept"]


def test_jobs_have_their_first_turn_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is started anew within the hour forgets as well."""
    monkeypatch.setattr(upkeep_module, "FIRST_S", 0.01)

    async def prepare(runtime: godwit.Runtime) -> None:
        await runtime.start_session(godwit.Agent(name="bird", model="scripted:x"), session="old", drive=False)
        await runtime.archive("old")

    settings = ServerSettings(archived_days=0.000_000_01)
    with running(tmp_path / "g.db", models={"scripted:x": ScriptedModel([])}, settings=settings, prepare=prepare) as server:

        async def gone() -> None:
            with pytest.raises(SessionNotFound):
                await server.runtime.store.wait(SessionId("old"), 1 << 30, 30)

        server.call(gone)


def test_it_is_not_ready_once_it_ends(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        assert httpx2.get(f"{server.url}/readyz").status_code == 200

        async def ending() -> None:
            server.app.service.tenants.end_streams()

        server.call(ending)
        assert httpx2.get(f"{server.url}/readyz").status_code == 503
        assert httpx2.get(f"{server.url}/healthz").status_code == 200


def test_who_waits_for_long_is_told_that_the_server_ends(tmp_path: Path) -> None:
    made: list[Echo] = []
    settings = ServerSettings(request_s=0.2)

    def make(service: Service) -> Echo:
        made.append(Echo(service))
        return made[-1]

    with running(tmp_path / "g.db", models={}, dialects=[make], settings=settings) as server:

        async def ending() -> None:
            await made[0].held.acquire()
            await asyncio.sleep(0.3)  # longer than any other request may take
            server.app.service.tenants.end_streams()

        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(httpx2.post, f"{server.url}/echo/poll")
            server.call(ending)
            answer = waiting.result(PATIENCE_S)
        assert (answer.status_code, answer.json()["echo"]["code"]) == (503, "store_closed")


def test_streams_end_with_a_word_when_the_server_does(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, dialects=[Echo]) as server:
        with httpx2.stream("GET", f"{server.url}/echo/stream") as stream:
            lines = stream.iter_lines()
            assert [next(lines) for _ in range(4)] == ["retry: 1000", "id: 1", "event: tick", "data: 1"]

            async def ending() -> None:
                server.app.service.tenants.end_streams()

            server.call(ending)
            assert [line for line in lines if line] == [": the server ends; connect again, the log is kept"]
        with httpx2.stream("GET", f"{server.url}/echo/stream") as late:
            assert ": the server ends; connect again, the log is kept" in list(late.iter_lines())


def test_what_a_protocol_keeps_of_a_session_goes_with_it_whoever_deletes_it(tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = ServerSettings(archived_days=30.0, models={"*": "scripted:x"}, folder=str(tmp_path / "places"))
    models = {"scripted:x": ScriptedModel([])}
    with running(tmp_path / "g.db", models=models, settings=settings, clock=clock) as server:
        with httpx2.Client(base_url=server.url) as client:
            agent = client.post("/v1/agents", json={"name": "a", "model": "m"}).json()["id"]
            place = client.post("/v1/environments", json={"name": "e"}).json()["id"]
            made = [
                client.post("/v1/sessions", json={"agent": agent, "environment_id": place}).json()["id"] for _ in range(3)
            ]
            assert sorted(one.name for one in (tmp_path / "places").iterdir()) == sorted(made)
            assert client.delete(f"/v1/sessions/{made[0]}").status_code == 200
            assert client.delete(f"/godwit/v1/sessions/{made[1]}").status_code == 204
            assert client.post(f"/v1/sessions/{made[2]}/archive").status_code == 200
            clock.advance(31 * 86_400)
            assert server.call(server.app.upkeep.delete_archived) == 1
            assert client.get("/v1/sessions").json()["data"] == []
        assert list((tmp_path / "places").iterdir()) == []

        async def kept() -> int:
            return len(await server.runtime.store.documents("managed_agents.session", tenant=None))

        assert server.call(kept) == 0
