"""Who we are to an authorization server: a client that was registered by hand, one by its metadata document, or one that is
registered now (RFC 7591).

Leaves out the login (`logins.py`). Rule: a client belongs to the issuer it was made at, and its secret goes to no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ...core.errors import McpLoginFailed, ToolFailed
from ...core.mcp_oauth import McpOAuth
from ...tools.url import parse
from ..oauth import Authentication, Client
from .discovery import content_of
from .login_words import KeptLogin

if TYPE_CHECKING:
    from ...tools.fetch import Fetcher
    from .discovery import Found

NAME = "godwit"
_OURS: tuple[Authentication, ...] = ("none", "client_secret_basic", "client_secret_post")


class OurClient(msgspec.Struct, frozen=True):
    """`secret`: of the client, if it has one."""

    client: Client
    secret: str | None = None

    def __repr__(self) -> str:
        return f"OurClient({self.client.id!r}, ...)"


async def client_for(
    fetcher: Fetcher,
    url: str,
    found: Found,
    oauth: McpOAuth,
    secret: str | None,
    kept: KeptLogin | None,
    redirect: str,
    scope: str | None,
) -> OurClient:
    """Who we are for a login at what was `found`. `secret`: what `oauth.client_secret` stands for. `kept`: the login before,
    whose registration is taken again where it is of this issuer and for this `scope`. McpLoginFailed."""
    from mcp.client.auth.utils import should_use_client_metadata_url

    if oauth.client_id is not None:
        check_issuer(url, oauth, found.issuer, kept)
        return OurClient(_client(found, oauth.client_id, configured_authentication(found, secret)), secret)
    if should_use_client_metadata_url(found.metadata, oauth.client_metadata_url):
        assert oauth.client_metadata_url is not None
        return OurClient(_client(found, oauth.client_metadata_url, "none"))
    if (
        kept is not None
        and kept.client.issuer == found.issuer
        and kept.client.redirect == redirect
        and set(_all_scopes(found, kept.client.asked)) >= set((scope or "").split())
    ):
        client = kept.client
        same = _client(found, client.id, client.authentication)
        return OurClient(msgspec.structs.replace(same, redirect=redirect), kept.client_secret)
    return await _registered(fetcher, url, found, redirect, scope)


def check_issuer(url: str, oauth: McpOAuth, issuer: str, kept: KeptLogin | None) -> None:
    """Refuse to give a client of one authorization server to another. McpLoginFailed."""
    from mcp.client.auth.utils import issuers_match

    bound = oauth.issuer
    if bound is None and kept is not None and kept.client.id == oauth.client_id:
        bound = kept.client.issuer
    if bound is not None and not issuers_match(bound, issuer):
        raise McpLoginFailed(
            f"the server {url} names the authorization server {issuer}, and the client {oauth.client_id!r} belongs to"
            f" {bound}: if it has moved there, say oauth.issuer of the server"
        )


def configured_authentication(found: Found, secret: str | None) -> Authentication:
    """How a client that was registered by hand shows who it is."""
    if secret is None:
        return "none"
    known = found.metadata.token_endpoint_auth_methods_supported
    return "client_secret_post" if known is not None and "client_secret_basic" not in known else "client_secret_basic"


def _all_scopes(found: Found, scope: str | None) -> list[str]:
    """What a client is registered for: what it asks for, and all else that the server knows, which it may ask for later."""
    return list(dict.fromkeys([*(scope or "").split(), *(found.metadata.scopes_supported or ())]))


async def _registered(fetcher: Fetcher, url: str, found: Found, redirect: str, scope: str | None) -> OurClient:
    from mcp.client.auth.exceptions import OAuthRegistrationError
    from mcp.client.auth.oauth2 import check_registration_usable
    from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
    from pydantic import ValidationError

    endpoint = found.metadata.registration_endpoint
    if endpoint is None:
        raise McpLoginFailed(
            f"the authorization server {found.issuer} registers no clients by itself: register one there by hand, with the"
            f" address {redirect} to send people back to, and name it as oauth.client_id of the server"
        )
    asked = _asked_authentication(found)
    about = OAuthClientMetadata.model_validate(
        {
            "client_name": NAME,
            "redirect_uris": [redirect],
            "token_endpoint_auth_method": asked,
            "scope": " ".join(_all_scopes(found, scope)) or None,
            "application_type": "native" if urlsplit(redirect).scheme == "http" else "web",
        }
    )
    body = about.model_dump_json(by_alias=True, exclude_none=True).encode()
    try:
        place = parse(str(endpoint))
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = await fetcher.send("POST", place, headers=headers, body=body)
    except ToolFailed as error:
        raise McpLoginFailed(f"godwit cannot be registered for {url}: {error.message}") from None
    if answer.status not in (200, 201):
        if not found.said:
            raise McpLoginFailed(f"the server {url} does not say where one logs in to it")
        raise McpLoginFailed(f"godwit cannot be registered for {url}: {place.brief} answers {answer.status}")
    try:
        said: dict[str, Any] = content_of(answer) or {}
        made = OAuthClientInformationFull.model_validate({key: said[key] for key in said if key != "issuer"})
        check_registration_usable(made)
    except (ValidationError, OAuthRegistrationError):
        # What it says may hold the secret.
        raise McpLoginFailed(f"godwit cannot be registered for {url}: {place.brief} says nothing that can be used") from None
    authentication: Authentication = asked if made.client_secret is not None else "none"
    if made.token_endpoint_auth_method is not None:
        authentication = next(one for one in _OURS if one == made.token_endpoint_auth_method)
    client = _client(found, made.client_id, authentication)
    secret = None if authentication == "none" else made.client_secret
    return OurClient(msgspec.structs.replace(client, redirect=redirect), secret)


def _asked_authentication(found: Found) -> Authentication:
    known = found.metadata.token_endpoint_auth_methods_supported
    return "none" if known is None else next((one for one in _OURS if one in known), "none")


def _client(found: Found, name: str, authentication: Authentication) -> Client:
    return Client(
        name,
        str(found.metadata.token_endpoint),
        authentication,
        resource=found.resource,
        issuer=found.issuer,
    )


__all__ = ["OurClient", "check_issuer", "client_for", "configured_authentication"]
