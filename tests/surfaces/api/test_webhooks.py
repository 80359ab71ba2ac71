"""Webhooks over our own API: made, changed, tested, looked at; by the admin alone, and of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import godwit
from godwit.host.api_keys import ApiKeys
from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.host.webhook_site import Inbox, verified
from tests.parts.web_site import page, site
from tests.surfaces.server.running import running

MODEL = "test:model"


@contextmanager
def served(path: Path, *reach: str) -> Iterator[dict[str, httpx2.AsyncClient]]:
    """Clients of a server: an admin, an operator, and an admin of another tenant."""
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        keys["admin"] = (await made.create("a", tenant="one", scopes=["admin"]))[0]
        keys["operate"] = (await made.create("o", tenant="one", scopes=["operate"]))[0]
        keys["other"] = (await made.create("b", tenant="two", scopes=["admin"]))[0]

    settings = ServerSettings(port=0, keys=True, reach=reach, models={"*": MODEL})
    with running(path, models={MODEL: ScriptedModel(["Hello."], MODEL)}, settings=settings, prepare=prepare) as server:
        yield {
            name: httpx2.AsyncClient(base_url=f"{server.url}/godwit/v1", headers={"authorization": f"Bearer {key}"})
            for name, key in keys.items()
        }


@asynccontextmanager
async def hooked(path: Path) -> Any:
    async with site() as here:
        with served(path, here.here) as clients:
            try:
                yield clients, Inbox(here)
            finally:
                for client in clients.values():
                    await client.aclose()


async def test_a_webhook_is_made_told_and_looked_at(tmp_path: Path) -> None:
    async with hooked(tmp_path / "g.db") as (clients, inbox):
        admin = clients["admin"]
        types = (await admin.get("/webhooks/types")).json()["types"]
        assert {"session.idled", "session.requires_action"} <= set(types)
        made = (await admin.post("/webhooks", json={"url": inbox.url, "types": ["agent.created"]})).json()
        hook, secret = made["webhook"]["id"], made["secret"]
        assert (made["webhook"]["status"], made["webhook"]["types"]) == ("enabled", ["agent.created"])
        await admin.put("/agents/bird", json={"models": [MODEL]})
        (request,) = await inbox.until(lambda came: len(came) == 1)
        assert verified(request, secret)["data"]["type"] == "agent.created"
        assert verified(request, secret)["data"]["workspace_id"] == "one"
        tested = (await admin.post(f"/webhooks/{hook}/test")).json()
        assert (tested["succeeded"], tested["attempt"]["status"]) == (True, 204)
        deliveries = (await admin.get(f"/webhooks/{hook}/deliveries")).json()["deliveries"]
        assert [one["type"] for one in deliveries] == ["agent.created"]
        again = await admin.post(f"/webhooks/{hook}/deliveries/{deliveries[0]['id']}/retry")
        assert again.json()["state"] == "pending"
        requests = await inbox.until(lambda came: len(came) == 3)
        assert requests[2].headers["webhook-id"] == request.headers["webhook-id"]
        rotated = (await admin.post(f"/webhooks/{hook}/rotate", json={"keep_s": 0})).json()["secret"]
        assert rotated != secret
        changed = (await admin.patch(f"/webhooks/{hook}", json={"enabled": False, "description": "d"})).json()
        assert (changed["status"], changed["description"]) == ("disabled", "d")
        assert [one["id"] for one in (await admin.get("/webhooks")).json()["webhooks"]] == [hook]
        assert (await admin.delete(f"/webhooks/{hook}")).status_code == 204
        assert (await admin.get(f"/webhooks/{hook}")).status_code == 404


async def test_only_the_admin_of_the_tenant(tmp_path: Path) -> None:
    async with hooked(tmp_path / "g.db") as (clients, inbox):
        made = (await clients["admin"].post("/webhooks", json={"url": inbox.url})).json()["webhook"]["id"]
        asks: list[tuple[str, str, Any]] = [
            ("GET", "", None),
            ("PATCH", "", {"enabled": False}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
            ("POST", "/test", None),
            ("GET", "/deliveries", None),
            ("POST", "/deliveries/whd_x/retry", None),
        ]
        for method, rest, sent in asks:
            found = await clients["operate"].request(method, f"/webhooks/{made}{rest}", json=sent)
            assert (found.status_code, method, rest) == (403, method, rest)
            found = await clients["other"].request(method, f"/webhooks/{made}{rest}", json=sent)
            assert (found.status_code, method, rest) == (404, method, rest)
        assert (await clients["other"].get("/webhooks")).json()["webhooks"] == []
        for body in ({}, {"url": "x"}, {"url": inbox.url, "types": ["no.such"]}, {"url": inbox.url, "more": 1}):
            assert (await clients["admin"].post("/webhooks", json=body)).status_code == 400


async def test_asked_again_it_is_one_webhook_and_its_secret_is_kept_nowhere(tmp_path: Path) -> None:
    async with hooked(tmp_path / "g.db") as (clients, inbox):
        admin, key = clients["admin"], {"idempotency-key": "k"}
        body = {"url": inbox.url}
        first, second = [(await admin.post("/webhooks", json=body, headers=key)).json() for _ in range(2)]
        assert first["webhook"]["id"] == second["webhook"]["id"]
        assert first["secret"] != second["secret"]
        hook = first["webhook"]["id"]
        turned = [
            (await admin.post(f"/webhooks/{hook}/rotate", json={}, headers={"idempotency-key": "r"})).json()["secret"]
            for _ in range(2)
        ]
        await admin.put("/agents/bird", json={"models": [MODEL]})
        (request, *_) = await inbox.until(lambda came: len(came) >= 1)
        # What signs is the secret told last, and for a while the one before the first rotation.
        verified(request, turned[1])
        verified(request, second["secret"])
        with pytest.raises(Exception, match="No matching signature"):
            verified(request, turned[0])
        files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for secret in (first["secret"], second["secret"], *turned):
            assert secret.removeprefix("whsec_").encode() not in files
        assert len((await admin.get("/webhooks")).json()["webhooks"]) == 1
        inbox.always = page("", status="500 Broken")
