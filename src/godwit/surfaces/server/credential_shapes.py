"""How a credential authenticates, in the words that two protocols share: by a bearer token, or by OAuth.

What is secret comes in and never goes out. What a protocol has beside this (names, how an update is read, what is said of a
kind that is not there) is its own. A credential for a variable of a sandbox is read only so that it can be refused: it
stands for a secret that only the way out of the sandbox puts in, and godwit has no such way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pydantic

from ...core.errors import InvalidArgument
from ...host.credentials import Credential
from ...host.oauth import Client
from .shapes import Shape

LATEST_MS = 253_402_300_799_999
"""The last moment of the year 9999."""
TOKEN = r"[\x21-\x7e]+"
"""What can stand in a header."""
LONGEST_TOKEN = 16_384

Token = Annotated[str, pydantic.Field(min_length=1, max_length=LONGEST_TOKEN, pattern=rf"\A{TOKEN}\z")]
Address = Annotated[str, pydantic.Field(min_length=1, max_length=2048)]
Scope = Annotated[str, pydantic.Field(max_length=2048)]
Moment = Annotated[str, pydantic.Field(max_length=64)]


class NoSecret(Shape):
    type: Literal["none"]


class ClientSecret(Shape):
    type: Literal["client_secret_basic", "client_secret_post"]
    client_secret: Token


class Refresh(Shape):
    client_id: Annotated[str, pydantic.Field(min_length=1, max_length=255)]
    refresh_token: Token
    token_endpoint: Address
    token_endpoint_auth: Annotated[NoSecret | ClientSecret, pydantic.Field(discriminator="type")]
    resource: Address | None = None
    scope: Scope | None = None


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


class NewClientSecret(Shape):
    type: Literal["client_secret_basic", "client_secret_post"]
    client_secret: Token | None = None


class RefreshUpdate(Shape):
    refresh_token: Token | None = None
    scope: Scope | None = None
    token_endpoint_auth: NewClientSecret | None = None


class OAuthUpdate(Shape):
    """What is left out stays as it is."""

    type: Literal["mcp_oauth"]
    access_token: Token | None = None
    expires_at: Moment | None = None
    refresh: RefreshUpdate | None = None


def until(given: str | None, now_ms: int) -> int | None:
    """When the token ends, in ms. InvalidArgument for what is no time, or not in the future."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except (ValueError, OverflowError):
        raise InvalidArgument(f"auth.expires_at: {given!r} is no RFC 3339 time", param="auth.expires_at") from None
    ms = int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1000)
    if not now_ms < ms <= LATEST_MS:
        text = f"auth.expires_at: {given!r} is not in the future, or too far in it"
        raise InvalidArgument(text, param="auth.expires_at")
    return ms


def client_of(refresh: Refresh) -> tuple[Client, dict[str, str]]:
    """How the token is renewed, and what of it is secret."""
    auth = refresh.token_endpoint_auth
    client = Client(refresh.client_id, refresh.token_endpoint, auth.type, refresh.scope or None, refresh.resource)
    secret = {"refresh_token": refresh.refresh_token}
    if isinstance(auth, ClientSecret):
        secret["client_secret"] = auth.client_secret
    return client, secret


def parts_of(auth: OAuth | Bearer, now_ms: int) -> dict[str, Any]:
    """How `Vaults.add` is called for a new credential. InvalidArgument."""
    if isinstance(auth, Bearer):
        return {"method": "bearer", "url": auth.mcp_server_url, "secret": {"token": auth.token}}
    parts: dict[str, Any] = {"method": "oauth", "url": auth.mcp_server_url, "secret": {"access_token": auth.access_token}}
    if auth.refresh is not None:
        parts["client"], beside = client_of(auth.refresh)
        parts["secret"].update(beside)
    parts["expires_ms"] = until(auth.expires_at, now_ms)
    return parts


def type_of(credential: Credential) -> str:
    return "static_bearer" if credential.method == "bearer" else "mcp_oauth"


def shown_auth(credential: Credential, moment: Callable[[int], str]) -> dict[str, Any]:
    """How it authenticates, without anything secret. `moment` writes a time in ms as the protocol does."""
    shown: dict[str, Any] = {"type": type_of(credential), "mcp_server_url": credential.url}
    if credential.method == "bearer":
        return shown
    client, expires = credential.client, credential.expires_ms
    shown["expires_at"] = None if expires is None else moment(expires)
    shown["refresh"] = None
    if client is not None:
        shown["refresh"] = {
            "client_id": client.id,
            "token_endpoint": client.token_endpoint,
            "token_endpoint_auth": {"type": client.authentication},
            "resource": client.resource,
            "scope": client.scope,
        }
    return shown
