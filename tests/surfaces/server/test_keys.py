"""API keys: who gets in, with what, and what is never said."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

import godwit
from godwit.core.errors import ConfigurationError, DocumentNotFound, InvalidArgument, Unauthenticated
from godwit.core.ids import ManualClock, RandomIds
from godwit.core.principal import Principal
from godwit.host.api_keys import KIND, USED_MS, ApiKeys, hash_of, new_key, well_formed
from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.server import ServerSettings

from ..terminal import Command
from .echo import Echo
from .running import running

KEYED = ServerSettings(keys=True)


def test_a_mistyped_key_is_told_without_the_store() -> None:
    key = new_key()
    assert well_formed(key)
    assert len(key) == 3 + 43 + 6
    for at in range(3, len(key)):
        other = "a" if key[at] != "a" else "b"
        assert not well_formed(key[:at] + other + key[at + 1 :])
    assert not any(
        well_formed(wrong) for wrong in ("", "gw_", key[:-1], key + "a", "sk-" + key[3:], key.replace("gw", "Gw"))
    )
    assert len({new_key() for _ in range(100)}) == 100


async def test_a_key_lives_until_it_is_revoked_or_expires() -> None:
    clock = ManualClock()
    async with SqliteStore.open(":memory:", clock=clock) as store:
        keys = ApiKeys(store, clock, RandomIds())
        key, made = await keys.create("a", tenant="acme", scopes=["operate", "read"], expires_ms=clock.now_ms() + 10_000)
        assert made.scopes == ("read", "operate")
        assert await keys.principal(key) == Principal(made.id, "acme", frozenset({"read", "operate"}))
        clock.advance(10)
        with pytest.raises(Unauthenticated, match="expired"):
            await keys.principal(key)
        lasting, other = await keys.create("b", tenant=None, scopes=["admin"])
        assert await keys.any_active()
        assert (await keys.revoke(other.id)).revoked_ms == clock.now_ms()
        assert (await keys.revoke(other.id)).revoked_ms is not None
        with pytest.raises(Unauthenticated, match="revoked"):
            await keys.principal(lasting)
        assert not await keys.any_active()
        assert [k.name for k in await keys.list()] == ["b", "a"]
        assert [k.name for k in await keys.list(tenants=["acme"])] == ["a"]
        with pytest.raises(DocumentNotFound):
            await keys.revoke("key_none")
        with pytest.raises(Unauthenticated, match="not known"):
            await keys.principal(new_key())


async def test_a_key_that_cannot_work_is_not_made() -> None:
    clock = ManualClock()
    async with SqliteStore.open(":memory:", clock=clock) as store:
        keys = ApiKeys(store, clock, RandomIds())
        wrongs: tuple[dict[str, object], ...] = (
            {"name": " "},
            {"name": "x" * 201},
            {"tenant": ""},
            {"scopes": []},
            {"scopes": ["root"]},
            {"expires_ms": clock.now_ms()},
        )
        for wrong in wrongs:
            given: dict[str, Any] = {"name": "a", "tenant": None, "scopes": ["read"], **wrong}
            with pytest.raises(InvalidArgument):
                await keys.create(given.pop("name"), **given)
        assert await keys.list() == []


async def test_only_a_hash_is_kept_and_use_is_written_seldom() -> None:
    clock = ManualClock()
    async with SqliteStore.open(":memory:", clock=clock) as store:
        keys = ApiKeys(store, clock, RandomIds())
        key, made = await keys.create("a", tenant=None, scopes=["read"])

        async def revision() -> int:
            document = await store.get_document(KIND, made.id, tenant=None)
            assert key.encode() not in document.body
            assert document.unique == {"hash": hash_of(key)}
            return document.revision

        for _ in range(5):
            await keys.principal(key)
        assert await revision() == 2
        clock.advance(USED_MS / 1000)
        await keys.principal(key)
        assert await revision() == 3
        assert (await keys.get(made.id)).last_used_ms == clock.now_ms()


def test_a_server_takes_a_key_in_either_header(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server:
        assert server.key is not None
        for headers in ({"authorization": f"Bearer {server.key}"}, {"X-Api-Key": server.key}):
            assert httpx2.get(f"{server.url}/echo/things/1", headers=headers).status_code == 200
        wrong = [{}, {"authorization": "Bearer x"}, {"authorization": f"Basic {server.key}"}, {"x-api-key": new_key()}]
        for headers in (*wrong, {"x-api-key": "gw_x"}, {"x-api-key": "x" * 20_000}):
            answer = httpx2.get(f"{server.url}/echo/things/1", headers=headers)
            assert (answer.status_code, answer.json()["echo"]["code"]) == (401, "unauthenticated")
            assert answer.json()["request"] == answer.headers["request-id"]
        assert httpx2.get(f"{server.url}/healthz").status_code == 200
        assert httpx2.get(f"{server.url}/metrics").status_code == 401


def test_what_a_key_may_is_decided_by_method_and_route(tmp_path: Path) -> None:
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        for scope in ("read", "answer", "operate", "admin"):
            made = await ApiKeys(runtime.store, runtime.clock, runtime.ids).create(scope, tenant="t", scopes=[scope])
            keys[scope] = made[0]

    def status(scope: str, method: str, path: str) -> int:
        return httpx2.request(method, server.url + path, headers={"x-api-key": keys[scope]}).status_code

    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo], prepare=prepare) as server:
        routes = (("GET", "/echo/things/1"), ("POST", "/echo/answers/1"), ("POST", "/echo"), ("GET", "/admin/audit"))
        found = {scope: [status(scope, *route) for route in routes] for scope in keys}
        assert found == {
            "read": [200, 403, 403, 403],
            "answer": [200, 200, 403, 403],
            "operate": [200, 200, 200, 403],
            "admin": [200, 200, 200, 200],
        }


def test_keys_are_made_and_taken_back_by_an_administrator(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server:
        with httpx2.Client(base_url=server.url, headers={"x-api-key": str(server.key)}) as operator:
            body = {"name": "boss", "tenant": "acme", "scopes": ["admin"], "expires_in_s": 3600}
            made = operator.post("/admin/keys", json=body)
            assert (made.status_code, made.json()["tenant"], made.json()["state"]) == (201, "acme", "active")
            for wrong in (
                b"{",
                b"[]",
                b'{"name": "x", "tenants": 1}',
                b'{"name": "x", "scopes": ["root"]}',
                b'{"name": ""}',
            ):
                assert operator.post("/admin/keys", content=wrong).status_code == 400
            own = {"x-api-key": made.json()["key"]}
            with httpx2.Client(base_url=server.url, headers=own) as boss:
                second = boss.post("/admin/keys", json={"name": "worker"}).json()
                assert second["tenant"] == "acme"
                assert boss.post("/admin/keys", json={"name": "thief", "tenant": "other"}).status_code == 403
                assert boss.get("/admin/keys?tenant=other").status_code == 403
                assert [k["name"] for k in boss.get("/admin/keys").json()["data"]] == ["worker", "boss"]
                assert "key" not in boss.get("/admin/keys").json()["data"][0]
                operators = operator.get("/admin/keys").json()["data"][0]["id"]
                assert boss.delete(f"/admin/keys/{operators}").status_code == 404
                assert boss.delete(f"/admin/keys/{second['id']}").json()["state"] == "revoked"
                worker = {"x-api-key": second["key"]}
                assert httpx2.get(f"{server.url}/echo/things/1", headers=worker).status_code == 401
            assert [k["name"] for k in operator.get("/admin/keys?tenant=acme").json()["data"]] == ["worker", "boss"]


def test_a_server_that_nobody_could_use_does_not_start(tmp_path: Path) -> None:
    async def revoked(runtime: godwit.Runtime) -> None:
        keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        await keys.revoke((await keys.create("a", tenant=None, scopes=["admin"]))[1].id)

    with pytest.raises(ConfigurationError, match="there are none"):
        with running(tmp_path / "g.db", models={}, settings=KEYED, prepare=revoked, make_key=False):
            pass


def test_no_key_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = new_key()
    with running(tmp_path / "g.db", models={}, settings=KEYED, dialects=[Echo]) as server:
        assert server.key is not None
        for key in (server.key, wrong):
            httpx2.get(f"{server.url}/echo/things/1?api_key={key}", headers={"authorization": f"Bearer {key}"})
            httpx2.post(f"{server.url}/echo/broken", headers={"x-api-key": key}, json={"key": key})
        own = [r for r in caplog.records if not r.name.startswith("http")]
        said = "\n".join(f"{r.getMessage()} {vars(r)}" for r in own)
        assert any(r.name == "godwit.access" for r in own)
        assert server.key not in said
        assert wrong not in said
        data = httpx2.get(f"{server.url}/admin/audit", headers={"x-api-key": server.key}).text
        assert server.key not in data


async def test_the_command_line_makes_no_key_that_it_cannot_show(command: Command) -> None:
    refused = await command.run("keys", "create", "--name", "a", "--expires", "999999999w")
    assert (refused.code, "within 100 years" in refused.err) == (2, True), refused.err
    assert (await command.run("keys", "create", "--name", "a", "--expires", "52w")).code == 0
    assert (await command.run("keys", "list")).code == 0
    assert (await command.run("keys", "revoke", "")).code == 5
    assert [key["state"] for key in (await command.run("keys", "list", "--json")).lines] == ["active"]
