"""Where one logs in to an MCP server: its metadata (RFC 9728) and those of its authorization server (RFC 8414, OpenID).

By the specification of 2026-07-28, and of 2025-03-26 for servers that say nothing of themselves. Leaves out the login
(`logins.py`). Rules: every address goes by the fetcher that judges it, and no redirect is followed; what a server says it
is has to be what was asked, for the resource and for the issuer; what an https server needs for a login is https as well;
an authorization server that does not know PKCE with S256 gets nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ...core.errors import McpLoginFailed, ToolFailed
from ...tools.fetch import Answer
from ...tools.url import parse

if TYPE_CHECKING:
    from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

    from ...tools.fetch import Fetcher
    from ...tools.mcp_transport import Challenge

MOST_BYTES = 256 * 1024
"""Of one document."""
MOST_SERVERS = 20
"""Authorization servers that a server may name."""


class Found(msgspec.Struct, frozen=True):
    """`resource`: what a token is to be for. `issuer`: as the authorization server writes it. `prm` and `metadata`: the
    documents; the first None for a server that has none. `said`: whether the authorization server has metadata."""

    resource: str
    issuer: str
    prm: ProtectedResourceMetadata | None
    metadata: OAuthMetadata
    said: bool = True


async def discover(fetcher: Fetcher, url: str, challenge: Challenge | None, wanted: str | None) -> Found:
    """Where one logs in to the server at `url`. `challenge`: what it said to a request. `wanted`: the issuer that is taken
    where it names several. McpLoginFailed."""
    from mcp.client.auth.utils import build_protected_resource_metadata_discovery_urls
    from mcp.shared.auth import ProtectedResourceMetadata
    from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url

    resource = resource_url_from_server_url(url)
    named = None if challenge is None else challenge.metadata
    for place in build_protected_resource_metadata_discovery_urls(named, url):
        said = await _document(fetcher, url, place)
        prm = None if said is None else _model(ProtectedResourceMetadata, said)
        if said is None or prm is None:
            continue
        # As it is written: what is sent later has to be just that.
        theirs = str(said["resource"])
        if not check_resource_allowed(requested_resource=resource, configured_resource=theirs):
            raise McpLoginFailed(f"{url} says that it is another server: its metadata are those of {_shown(theirs)}")
        issuers = [str(one) for one in said["authorization_servers"]][:MOST_SERVERS]
        issuer = next((one for one in issuers if wanted is not None and _same(one, wanted)), issuers[0])
        return await _authorization_server(fetcher, url, issuer, theirs, prm)
    return await _authorization_server(fetcher, url, None, resource, None)


async def _authorization_server(
    fetcher: Fetcher, url: str, issuer: str | None, resource: str, prm: ProtectedResourceMetadata | None
) -> Found:
    from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls
    from mcp.shared.auth import OAuthMetadata

    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    expected = issuer or origin
    for place in build_oauth_authorization_server_metadata_discovery_urls(issuer, url):
        said = await _document(fetcher, url, place)
        metadata = None if said is None else _model(OAuthMetadata, said)
        if said is None or metadata is None:
            continue
        named = str(said["issuer"])
        if not _same(named, expected):
            raise McpLoginFailed(
                f"the authorization server of {url} says that it is {_shown(named)}, and {_shown(expected)} was asked"
            )
        methods = metadata.code_challenge_methods_supported
        if "S256" not in (methods or ()):
            raise McpLoginFailed(f"the authorization server {_shown(expected)} does not say that it knows PKCE with S256")
        for endpoint in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.registration_endpoint):
            if endpoint is not None:
                check_safe(url, str(endpoint))
        return Found(resource, named, prm, metadata)
    if issuer is not None:
        raise McpLoginFailed(f"the authorization server {_shown(issuer)} of {url} has no metadata that could be read")
    # A server of 2025-03-26 that says nothing has its endpoints where that specification put them.
    made = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
    }
    return Found(resource, origin, None, OAuthMetadata.model_validate(made), said=False)


async def _document(fetcher: Fetcher, server: str, place: str) -> dict[str, Any] | None:
    """What stands there; None when there is none. McpLoginFailed when nobody can say whether there is."""
    from mcp_types import LATEST_PROTOCOL_VERSION

    check_safe(server, place)
    try:
        url = parse(place)
        headers = {"Accept": "application/json", "MCP-Protocol-Version": LATEST_PROTOCOL_VERSION}
        answer = await fetcher.send("GET", url, headers=headers)
    except ToolFailed as error:
        raise McpLoginFailed(f"where one logs in to {server} cannot be found out: {error.message}") from None
    if answer.status >= 500 or answer.status == 429:
        raise McpLoginFailed(f"where one logs in to {server} cannot be found out now: {url.brief} answers {answer.status}")
    return content_of(answer) if answer.status == 200 else None


def content_of(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer; None for anything else, and for too much."""
    if answer.cut or len(answer.body) > MOST_BYTES:
        return None
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _model(model: Any, said: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return model.model_validate(said)
    except (ValidationError, RecursionError):
        return None


def check_safe(server: str, place: str) -> None:
    """Refuse what would carry secrets in the clear where the server itself does not. McpLoginFailed."""
    try:
        url, own = parse(place), parse(server)
    except ToolFailed as error:
        raise McpLoginFailed(f"the server {server} names an address for its login that is none: {error.message}") from None
    near = url.host == "localhost" or (url.literal is not None and url.literal.is_loopback)
    if url.scheme == "http" and own.scheme == "https" and not near:
        raise McpLoginFailed(f"the server {server} names {url.brief} for its login, which would not be secure")


def _same(one: str, other: str) -> bool:
    from mcp.client.auth.utils import issuers_match

    return issuers_match(one, other)


def _shown(text: str) -> str:
    """An address that a stranger wrote."""
    try:
        return parse(text).brief
    except ToolFailed:
        return repr(text[:100])


__all__ = ["Found", "check_safe", "content_of", "discover"]
