"""Vaults, as the official client makes, changes, archives and lists them."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from tests.surfaces.managed_agents.conftest import client_of
from tests.surfaces.server.running import RunningServer


def test_a_vault_is_made_changed_archived_and_deleted(client: anthropic.Anthropic) -> None:
    vaults = client.beta.vaults
    made = vaults.create(display_name="field", metadata={"a": "1"})
    shown: Any = made.to_dict(mode="json")
    assert {k: v for k, v in shown.items() if not k.endswith("_at")} == {
        "id": made.id,
        "type": "vault",
        "display_name": "field",
        "metadata": {"a": "1"},
    }
    assert vaults.retrieve(made.id) == made
    changed = vaults.update(made.id, display_name="wood", metadata={"a": None, "b": "2"})
    assert (changed.display_name, changed.metadata, changed.created_at) == ("wood", {"b": "2"}, made.created_at)
    archived = vaults.archive(made.id)
    assert archived.archived_at is not None
    assert vaults.archive(made.id) == archived
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        vaults.update(made.id, display_name="x")
    assert list(vaults.list()) == []
    assert [one.id for one in vaults.list(include_archived=True)] == [made.id]
    assert vaults.delete(made.id).to_dict() == {"id": made.id, "type": "vault_deleted"}
    with pytest.raises(anthropic.NotFoundError):
        vaults.retrieve(made.id)


def test_vaults_come_in_pages_the_newest_first(client: anthropic.Anthropic) -> None:
    vaults = client.beta.vaults
    made = [vaults.create(display_name=str(number)).id for number in range(5)]
    page = vaults.list(limit=2)
    assert ([one.id for one in page.data], page.has_next_page()) == (made[:2:-1], True)
    assert [one.id for one in vaults.list(limit=2)] == made[::-1]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"display_name": ""},
        {"display_name": "x" * 256},
        {"display_name": "x", "metadata": {"k": 1}},
        {"display_name": "x", "metadata": {str(n): "" for n in range(17)}},
        {"display_name": "x", "secret": "y"},
        [],
    ],
)
def test_what_is_no_vault_is_refused(shared_client: anthropic.Anthropic, body: Any) -> None:
    with pytest.raises(anthropic.BadRequestError):
        shared_client.post("/v1/vaults", body=body, cast_to=object)


def test_a_vault_is_deleted_with_all_that_is_secret(server: RunningServer) -> None:
    with client_of(server) as client:
        vaults = client.beta.vaults
        vault = vaults.create(display_name="v")
        for number in range(3):
            auth: Any = {
                "type": "static_bearer",
                "token": f"token-{number}",
                "mcp_server_url": f"https://m{number}.example/",
            }
            vaults.credentials.create(vault.id, auth=auth)
        archived = vaults.create(display_name="w")
        auth = {"type": "static_bearer", "token": "token-w", "mcp_server_url": "https://w.example/"}
        kept = vaults.credentials.create(archived.id, auth=auth)
        assert vaults.archive(archived.id).archived_at is not None
        assert vaults.credentials.retrieve(kept.id, vault_id=archived.id).archived_at is not None
        vaults.delete(vault.id)

    async def left() -> list[list[str]]:
        store = server.runtime.store
        return [[one.id for one in await store.documents(kind, tenant=None)] for kind in ("secret", "credential", "vault")]

    assert server.call(left) == [[], [kept.id], [archived.id]]


def test_a_session_keeps_the_vaults_it_was_made_with(client: anthropic.Anthropic) -> None:
    beta = client.beta
    first, second = (beta.vaults.create(display_name=name).id for name in "ab")
    beta.vaults.archive(second)
    agent, environment = beta.agents.create(name="a", model="claude-test").id, beta.environments.create(name="e").id

    def opened(*vaults: str) -> Any:
        return beta.sessions.create(agent=agent, environment_id=environment, vault_ids=vaults)

    session = opened(first)
    assert session.vault_ids == [first]
    assert beta.sessions.retrieve(session.id).vault_ids == [first]
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        opened(first, second)
    with pytest.raises(anthropic.BadRequestError, match="twice"):
        opened(first, first)
    with pytest.raises(anthropic.NotFoundError):
        opened("vlt_none")
    assert [one.id for one in beta.sessions.list()] == [session.id]


def test_what_is_asked_twice_is_made_once(client: anthropic.Anthropic) -> None:
    key = {"Idempotency-Key": "k"}
    vaults = client.beta.vaults
    first, second = [vaults.create(display_name="v", extra_headers=key) for _ in range(2)]
    assert first == second
    auth: Any = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://m.example/"}
    key = {"Idempotency-Key": "c"}
    one, two = [vaults.credentials.create(first.id, auth=auth, extra_headers=key) for _ in range(2)]
    assert one == two
    assert len(list(vaults.list())) == len(list(vaults.credentials.list(first.id))) == 1


def test_of_several_who_patch_at_once_each_is_heeded(server: RunningServer, client: anthropic.Anthropic) -> None:
    vault = client.beta.vaults.create(display_name="field").id
    auth: Any = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://mcp.example.com/"}
    credential = client.beta.vaults.credentials.create(vault, auth=auth).id
    names = [f"k{number}" for number in range(6)]

    async def all_at_once() -> None:
        options: Any = {"base_url": server.url, "api_key": "any", "max_retries": 0}
        async with anthropic.AsyncAnthropic(**options) as several:
            vaults = several.beta.vaults
            await asyncio.gather(
                *(vaults.update(vault, metadata={name: "v"}) for name in names),
                *(vaults.credentials.update(credential, vault_id=vault, metadata={name: "v"}) for name in names),
            )

    asyncio.run(all_at_once())
    expected = dict.fromkeys(names, "v")
    assert client.beta.vaults.retrieve(vault).metadata == expected
    assert client.beta.vaults.credentials.retrieve(credential, vault_id=vault).metadata == expected
