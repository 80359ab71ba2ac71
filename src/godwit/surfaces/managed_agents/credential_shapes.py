"""Credentials as this protocol writes them: what is secret comes in and never goes out.

Of the kinds of authentication a bearer token and OAuth are kept. One for a variable of a sandbox is not: it stands for a
secret that only the way out of the sandbox puts in, and godwit has no such way, so it answers 501.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pydantic

from ...core.errors import InvalidArgument, NotSupported
from ...host.credentials import Credential
from ...host.oauth import Client
from .query import LATEST_MS, moment, moment_or_none
from .shapes import Shape

Name = Annotated[str, pydantic.Field(min_length=1, max_length=255)]
Token = Annotated[str, pydantic.Field(min_length=1, max_length=16_384, pattern=r"\A[\x21-\x7e]+\z")]
"""What can stand in a header."""
Address = Annotated[str, pydantic.Field(min_length=1, max_length=2048)]
Moment = Annotated[str, pydantic.Field(max_length=64)]


class NoSecret(Shape):
    type: Literal["none"]


class ClientSecret(Shape):
    type: Literal["client_secret_basic", "client_secret_post"]
    client_secret: Token


class Refresh(Shape):
    client_id: Name
    refresh_token: Token
    token_endpoint: Address
    token_endpoint_auth: Annotated[NoSecret | ClientSecret, pydantic.Field(discriminator="type")]
    resource: Address | None = None
    scope: str | None = pydantic.Field(None, max_length=2048)


class OAuth(Shape):
    type: Literal["mcp_oauth"]
    access_token: Token
    mcp_server_url: Address
    expires_at: Moment | None = None
    refresh: Refresh | None = None


class Bearer(Shape):
    type: Literal["static_bearer"]
    token: Token
    mcp_server_url: Address


class Variable(pydantic.BaseModel):
    """Read as far as it takes to say that it is not there."""

    type: Literal["environment_variable"]


class CredentialCreate(Shape):
    auth: Annotated[OAuth | Bearer | Variable, pydantic.Field(discriminator="type")]
    display_name: str | None = pydantic.Field(None, max_length=255)
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)


class NewClientSecret(Shape):
    type: Literal["client_secret_basic", "client_secret_post"]
    client_secret: Token | None = None


class RefreshUpdate(Shape):
    refresh_token: Token | None = None
    scope: str | None = pydantic.Field(None, max_length=2048)
    token_endpoint_auth: NewClientSecret | None = None


class OAuthUpdate(Shape):
    type: Literal["mcp_oauth"]
    access_token: Token | None = None
    expires_at: Moment | None = None
    refresh: RefreshUpdate | None = None


class BearerUpdate(Shape):
    type: Literal["static_bearer"]
    token: Token | None = None


class CredentialUpdate(Shape):
    """What is left out stays as it is."""

    auth: Annotated[OAuthUpdate | BearerUpdate | Variable, pydantic.Field(discriminator="type")] | None = None
    display_name: Name | None = None
    metadata: dict[str, str | None] | None = None


def no_variable() -> NotSupported:
    return NotSupported(
        "auth.type: godwit puts no secrets into what leaves a sandbox, so a credential for an environment variable would do "
        "nothing; take static_bearer or mcp_oauth"
    )


def until(given: str | None, now_ms: int) -> int | None:
    """When the token ends, in ms. InvalidArgument for what is no time, or not in the future."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except (ValueError, OverflowError):
        raise InvalidArgument(f"auth.expires_at: {given!r} is no RFC 3339 time") from None
    ms = int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1000)
    if not now_ms < ms <= LATEST_MS:
        raise InvalidArgument(f"auth.expires_at: {given!r} is not in the future, or too far in it")
    return ms


def client_of(refresh: Refresh) -> tuple[Client, dict[str, str]]:
    """How the token is renewed, and what of it is secret."""
    auth = refresh.token_endpoint_auth
    client = Client(refresh.client_id, refresh.token_endpoint, auth.type, refresh.scope or None, refresh.resource)
    secret = {"refresh_token": refresh.refresh_token}
    if isinstance(auth, ClientSecret):
        secret["client_secret"] = auth.client_secret
    return client, secret


def shown_credential(credential: Credential) -> dict[str, Any]:
    if credential.method == "bearer":
        auth: dict[str, Any] = {"type": "static_bearer", "mcp_server_url": credential.url}
    else:
        auth = {
            "type": "mcp_oauth",
            "mcp_server_url": credential.url,
            "expires_at": moment_or_none(credential.expires_ms),
            "refresh": None if credential.client is None else _shown_client(credential.client),
        }
    return {
        "type": "vault_credential",
        "id": credential.id,
        "vault_id": credential.vault,
        "display_name": credential.title,
        "auth": auth,
        "metadata": credential.metadata,
        "created_at": moment(credential.created_ms),
        "updated_at": moment(credential.updated_ms),
        "archived_at": moment_or_none(credential.archived_ms),
    }


def _shown_client(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "token_endpoint": client.token_endpoint,
        "token_endpoint_auth": {"type": client.authentication},
        "resource": client.resource,
        "scope": client.scope,
    }
