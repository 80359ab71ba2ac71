"""Vaults and their credentials, as the official client makes, changes, lists and deletes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.surfaces.server.running import RunningServer

from .conftest import Shared, Start, client_of

SECRET = "hunter2hunter2"
URL = "https://mcp.example/"


def bearer(url: str = URL, token: str = SECRET) -> Any:
    return {"type": "static_bearer", "token": token, "mcp_server_url": url}


def oauth(**fields: Any) -> Any:
    refresh = {
        "client_id": "me",
        "refresh_token": SECRET,
        "token_endpoint": "https://login.example/token",
        "token_endpoint_auth": {"type": "client_secret_post", "client_secret": SECRET},
        "scope": "read",
    }
    return {"type": "mcp_oauth", "access_token": SECRET, "mcp_server_url": URL, "refresh": refresh, **fields}


def test_a_vault_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    vaults = client.beta.agents.vaults
    made = vaults.create(name=" field ", metadata={"a": "1"})
    assert made.to_dict() == {
        "id": made.id,
        "object": "vault",
        "name": "field",
        "metadata": {"a": "1"},
        "created_at": made.created_at,
    }
    assert vaults.retrieve(made.id) == made
    assert vaults.update(made.id, name=None).name is None
    changed = vaults.update(made.id, metadata={"b": "2"})
    assert (changed.name, changed.metadata) == (None, {"b": "2"})
    deleted = vaults.delete(made.id)
    assert deleted.to_dict() == {"id": made.id, "object": "vault.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        vaults.retrieve(made.id)


def test_they_come_in_pages_and_by_metadata(client: openai.OpenAI) -> None:
    vaults = client.beta.agents.vaults
    made = [vaults.create(name=str(n), metadata={"odd": str(n % 2)}).id for n in range(5)]
    assert [one.id for one in vaults.list(limit=2)] == made[::-1]
    assert [one.id for one in vaults.list(limit=2, order="asc", metadata={"odd": "0"})] == made[::2]
    assert [one.id for one in vaults.list(limit=1, metadata={"odd": "1"})] == [made[3], made[1]]


def test_vaults_are_those_of_the_other_protocol(server: RunningServer, client: openai.OpenAI) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as other:
        made = other.beta.vaults.create(display_name="field")
        gone = other.beta.vaults.create(display_name="gone")
        other.beta.vaults.archive(gone.id)
        vaults = client.beta.agents.vaults
        assert vaults.retrieve(made.id).name == "field"
        assert [one.id for one in vaults.list(order="asc")] == [made.id, gone.id]
        assert [one.id for one in vaults.list(status="active")] == [made.id]
        assert [one.id for one in vaults.list(status=["archived"])] == [gone.id]
        assert len(vaults.list(status=["active", "archived"]).data) == 2
        credential = vaults.credentials.create(made.id, name="docs", auth=bearer())
        assert other.beta.vaults.credentials.retrieve(credential.id, vault_id=made.id).display_name == "docs"
        with pytest.raises(openai.BadRequestError, match="archived"):
            vaults.credentials.create(gone.id, name="docs", auth=bearer())


def test_a_credential_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    vault = client.beta.agents.vaults.create(name="v").id
    credentials = client.beta.agents.vaults.credentials
    made = credentials.create(vault, name="docs", auth=bearer(), metadata={"a": "1"})
    shown: Any = made.to_dict()
    assert shown.pop("created_at") == shown.pop("updated_at")
    assert shown == {
        "id": made.id,
        "object": "vault.credential",
        "vault_id": vault,
        "name": "docs",
        "auth": {"type": "static_bearer", "mcp_server_url": URL},
        "metadata": {"a": "1"},
    }
    assert credentials.retrieve(made.id, vault_id=vault) == made
    changed = credentials.update(made.id, vault_id=vault, auth={"type": "static_bearer", "token": "new"}, metadata={})
    assert (changed.metadata, changed.name) == ({}, "docs")
    with pytest.raises(openai.BadRequestError, match="stays so"):
        credentials.update(made.id, vault_id=vault, auth={"type": "mcp_oauth", "access_token": "x"})
    with pytest.raises(openai.ConflictError, match="already"):
        credentials.create(vault, name="again", auth=bearer())
    assert [one.id for one in credentials.list(vault)] == [made.id]
    deleted = credentials.delete(made.id, vault_id=vault)
    assert deleted.to_dict() == {"id": made.id, "object": "vault.credential.deleted", "deleted": True}
    assert credentials.list(vault).data == []


def test_oauth_shows_what_is_no_secret(client: openai.OpenAI) -> None:
    vault = client.beta.agents.vaults.create().id
    credentials = client.beta.agents.vaults.credentials
    made = credentials.create(vault, name="docs", auth=oauth(expires_at="2999-01-01T00:00:00Z"))
    shown: Any = made.auth.to_dict()
    assert shown == {
        "type": "mcp_oauth",
        "mcp_server_url": URL,
        "expires_at": "2999-01-01T00:00:00Z",
        "refresh": {
            "client_id": "me",
            "token_endpoint": "https://login.example/token",
            "token_endpoint_auth": {"type": "client_secret_post"},
            "resource": None,
            "scope": "read",
        },
    }
    change: Any = {"type": "mcp_oauth", "access_token": "other", "refresh": {"scope": None}}
    changed: Any = credentials.update(made.id, vault_id=vault, auth=change).auth.to_dict()
    assert (changed["expires_at"], changed["refresh"]["scope"]) == (None, None)
    other: Any = {"token_endpoint_auth": {"type": "client_secret_basic", "client_secret": "x"}}
    with pytest.raises(openai.BadRequestError, match="client_secret_post and goes on so"):
        credentials.update(made.id, vault_id=vault, auth={"type": "mcp_oauth", "refresh": other})


def test_no_secret_is_kept_in_clear_or_told(start: Start, tmp_path: Path) -> None:
    client = client_of(start())
    vault = client.beta.agents.vaults.create().id
    credentials = client.beta.agents.vaults.credentials
    told = [credentials.create(vault, name="docs", auth=oauth()), *credentials.list(vault)]
    assert all(SECRET not in one.to_json() for one in told)
    for file in tmp_path.rglob("*"):
        assert SECRET.encode() not in (file.read_bytes() if file.is_file() else b"")


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"name": "", "auth": bearer()}, 400, "name"),
        ({"name": "é" * 129, "auth": bearer()}, 400, "256 bytes"),
        ({"auth": bearer()}, 400, "name"),
        ({"name": "x", "auth": bearer(token="a b")}, 400, "token"),
        ({"name": "x", "auth": bearer("nowhere")}, 400, "address"),
        ({"name": "x", "auth": oauth(expires_at="2001-01-01T00:00:00Z")}, 400, "not in the future"),
        (
            {"name": "x", "auth": {"type": "environment_variable", "secret_name": "A", "secret_value": SECRET}},
            501,
            "auth.type",
        ),
    ],
)
def test_what_is_no_credential_is_refused(shared: Shared, given: dict[str, Any], status: int, words: str) -> None:
    vault = shared.client.beta.agents.vaults.create().id
    with pytest.raises(openai.APIStatusError) as refused:
        shared.client.post(f"/vaults/{vault}/credentials", body=given, cast_to=object, options=_BETA)
    assert refused.value.status_code == status
    assert words in str(refused.value.body)


_BETA: Any = {"headers": {"OpenAI-Beta": "agents=v1"}}


def test_a_vault_that_is_not_there(shared: Shared) -> None:
    credentials = shared.client.beta.agents.vaults.credentials
    for ask in (
        lambda: shared.client.beta.agents.vaults.retrieve("vlt_none"),
        lambda: credentials.list("vlt_none"),
        lambda: credentials.create("vlt_none", name="x", auth=bearer()),
        lambda: shared.client.beta.agents.vaults.list(after="vlt_none"),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    with pytest.raises(openai.BadRequestError, match="status"):
        shared.client.beta.agents.vaults.list(extra_query={"status": "other"})
