"""Credentials, as the official client keeps them: what is secret goes in, and nothing of it comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from tests.surfaces.managed_agents.conftest import client_of
from tests.surfaces.server.running import RunningServer

URL = "https://mcp.example.com/sse"
BEARER: Any = {"type": "static_bearer", "token": "secret-bearer-token", "mcp_server_url": URL}
OAUTH: Any = {
    "type": "mcp_oauth",
    "access_token": "secret-access-token",
    "mcp_server_url": URL,
    "expires_at": "2099-01-01T00:00:00Z",
    "refresh": {
        "client_id": "client-1",
        "refresh_token": "secret-refresh-token",
        "token_endpoint": "https://auth.example.com/token",
        "token_endpoint_auth": {"type": "client_secret_post", "client_secret": "secret-client-secret"},
        "scope": "read",
        "resource": "https://mcp.example.com/",
    },
}
SECRETS = ("secret-bearer-token", "secret-access-token", "secret-refresh-token", "secret-client-secret")


def changed(auth: Any, changes: Any) -> Any:
    return {**auth, **changes}


@pytest.fixture
def vault(client: anthropic.Anthropic) -> str:
    return client.beta.vaults.create(display_name="v").id


def test_a_bearer_is_kept_and_not_shown(client: anthropic.Anthropic, vault: str) -> None:
    credentials = client.beta.vaults.credentials
    made = credentials.create(vault, auth=BEARER, display_name="mine", metadata={"a": "1"})
    shown: Any = made.to_dict(mode="json")
    assert {k: v for k, v in shown.items() if not k.endswith("_at")} == {
        "id": made.id,
        "type": "vault_credential",
        "vault_id": vault,
        "display_name": "mine",
        "auth": {"type": "static_bearer", "mcp_server_url": URL},
        "metadata": {"a": "1"},
    }
    assert credentials.retrieve(made.id, vault_id=vault) == made
    other = credentials.update(made.id, vault_id=vault, display_name="other", metadata={"a": None})
    assert (other.display_name, other.metadata) == ("other", {})
    assert [one.id for one in credentials.list(vault)] == [made.id]
    assert credentials.archive(made.id, vault_id=vault).archived_at is not None
    assert list(credentials.list(vault)) == []
    assert [one.id for one in credentials.list(vault, include_archived=True)] == [made.id]
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        credentials.update(made.id, vault_id=vault, display_name="x")
    assert credentials.delete(made.id, vault_id=vault).to_dict() == {"id": made.id, "type": "vault_credential_deleted"}
    with pytest.raises(anthropic.NotFoundError):
        credentials.retrieve(made.id, vault_id=vault)


def test_oauth_shows_how_it_is_renewed_and_not_with_what(client: anthropic.Anthropic, vault: str) -> None:
    credentials = client.beta.vaults.credentials
    made = credentials.create(vault, auth=OAUTH)
    auth: Any = made.auth.to_dict(mode="json")
    assert auth == {
        "type": "mcp_oauth",
        "mcp_server_url": URL,
        "expires_at": "2099-01-01T00:00:00Z",
        "refresh": {
            "client_id": "client-1",
            "token_endpoint": "https://auth.example.com/token",
            "token_endpoint_auth": {"type": "client_secret_post"},
            "resource": "https://mcp.example.com/",
            "scope": "read",
        },
    }
    update: Any = {
        "type": "mcp_oauth",
        "access_token": "new",
        "expires_at": None,
        "refresh": {"scope": "", "token_endpoint_auth": {"type": "client_secret_basic", "client_secret": "other"}},
    }
    now: Any = credentials.update(made.id, vault_id=vault, auth=update)
    # The way of sending the secret stays as it was.
    assert now.auth.refresh.token_endpoint_auth.type == "client_secret_post"
    assert (now.auth.expires_at, now.auth.refresh.scope, now.display_name) == (None, None, None)


def test_nothing_secret_is_answered_logged_or_stored(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="godwit")
    said: list[bytes] = []

    def listen(response: httpx2.Response) -> None:
        said.append(response.read() + str(response.headers).encode())

    with httpx2.Client(event_hooks={"response": [listen]}) as http, client_of(server, http_client=http) as client:
        credentials = client.beta.vaults.credentials
        vault = client.beta.vaults.create(display_name="v").id
        first = credentials.create(vault, auth=BEARER)
        second = credentials.create(vault, auth=changed(OAUTH, {"mcp_server_url": "https://other.example/"}))
        update: Any = {"type": "static_bearer", "token": "secret-bearer-token"}
        credentials.update(first.id, vault_id=vault, auth=update)
        bad: list[Any] = [
            BEARER,
            {**OAUTH, "mcp_server_url": "nowhere"},
            {**OAUTH, "expires_at": "2001-01-01T00:00:00Z", "mcp_server_url": "https://third.example/"},
            {**BEARER, "token": "secret-bearer-token\n"},
            {**BEARER, "unknown": "secret-client-secret"},
        ]
        for auth in bad:
            with pytest.raises(anthropic.APIStatusError):
                credentials.create(vault, auth=auth)
        with pytest.raises(anthropic.BadRequestError):
            credentials.update(second.id, vault_id=vault, auth=update)
        list(credentials.list(vault))
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("g.db*") if path.is_file())
    everything = b"".join(said) + files + caplog.text.encode()
    for secret in SECRETS:
        assert secret.encode() not in everything


def test_an_address_has_one_credential_until_it_is_archived(client: anthropic.Anthropic, vault: str) -> None:
    credentials = client.beta.vaults.credentials
    first = credentials.create(vault, auth=BEARER)
    with pytest.raises(anthropic.ConflictError, match="already") as refused:
        credentials.create(vault, auth=changed(BEARER, {"mcp_server_url": "HTTPS://MCP.example.com:443/sse"}))
    assert refused.value.response.headers["x-should-retry"] == "false"
    other = client.beta.vaults.create(display_name="w").id
    assert credentials.create(other, auth=BEARER).vault_id == other
    credentials.archive(first.id, vault_id=vault)
    assert credentials.create(vault, auth=BEARER).id != first.id


def test_a_vault_holds_twenty(client: anthropic.Anthropic, vault: str) -> None:
    credentials = client.beta.vaults.credentials
    for number in range(20):
        credentials.create(vault, auth=changed(BEARER, {"mcp_server_url": f"https://m{number}.example/"}))
    with pytest.raises(anthropic.BadRequestError, match="20 credentials"):
        credentials.create(vault, auth=changed(BEARER, {"mcp_server_url": "https://more.example/"}))
    assert len(list(credentials.list(vault, limit=7))) == 20


def test_what_godwit_cannot_use_is_not_taken(client: anthropic.Anthropic, vault: str) -> None:
    variable: Any = {
        "type": "environment_variable",
        "secret_name": "TOKEN",
        "secret_value": "secret-client-secret",
        "networking": {"type": "unrestricted"},
    }
    with pytest.raises(anthropic.APIStatusError, match="environment variable") as refused:
        client.beta.vaults.credentials.create(vault, auth=variable)
    assert refused.value.status_code == 501
    assert list(client.beta.vaults.credentials.list(vault)) == []


def test_what_is_wrong_is_said(client: anthropic.Anthropic, vault: str) -> None:
    credentials = client.beta.vaults.credentials
    oauth = credentials.create(vault, auth=changed(OAUTH, {"refresh": None}))
    other = client.beta.vaults.create(display_name="w").id
    client.beta.vaults.archive(other)
    update: Any = {"type": "mcp_oauth", "refresh": {"refresh_token": "x"}}
    asks: list[tuple[type[Exception], Callable[[], object]]] = [
        (anthropic.NotFoundError, lambda: credentials.create("vlt_none", auth=BEARER)),
        (anthropic.NotFoundError, lambda: credentials.list("vlt_none")),
        (anthropic.NotFoundError, lambda: credentials.retrieve(oauth.id, vault_id=other)),
        (anthropic.NotFoundError, lambda: credentials.delete("vcrd_none", vault_id=vault)),
        (anthropic.BadRequestError, lambda: credentials.create(other, auth=BEARER)),
        (anthropic.BadRequestError, lambda: credentials.update(oauth.id, vault_id=vault, auth=update)),
        (anthropic.BadRequestError, lambda: credentials.create(vault, auth=changed(BEARER, {"mcp_server_url": "ftp://a/"}))),
        *[
            (anthropic.BadRequestError, lambda at=at: credentials.create(vault, auth=changed(OAUTH, {"expires_at": at})))
            for at in ("soon", "2001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "")
        ],
    ]
    for kind, ask in asks:
        with pytest.raises(kind):
            ask()
