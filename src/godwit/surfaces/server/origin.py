"""Origin: which web pages may ask, and by which names a server without keys is reached.

A page in a browser on this machine can send requests to a loopback address, and a name server of an attacker can let a name
of theirs lead to it (DNS rebinding). A server that asks for no key must tell such requests from its own user's: by the Host
header, which names where the browser thinks it is, and by Origin and Sec-Fetch-Site, which a page cannot forge (Fetch
standard, forbidden request headers). With keys this is not needed: a page has none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response

from ...core.errors import InvalidArgument, PermissionDenied
from .settings import ServerSettings

_HOST = re.compile(r"([A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?")
MAX_AGE_S = 600
EXPOSED = "request-id, retry-after"


def check_host(request: HTTPConnection) -> None:
    """Before anything takes the address of a request apart. InvalidArgument."""
    given = request.headers.getlist("host")
    if len(given) > 1 or not all(_HOST.fullmatch(host) for host in given):
        raise InvalidArgument("the Host header is none")


def check_size(request: HTTPConnection, limit: int) -> None:
    """What reads the connection lets more than the limit through where it comes at once. InvalidArgument."""
    size = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
    if size > limit:
        raise InvalidArgument(f"the headers have {size} bytes; at most {limit} are taken", limit=limit)


class Origins:
    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._names = {name.lower() for name in settings.names}

    def check(self, request: HTTPConnection) -> None:
        """Only for a server that asks for no key. PermissionDenied."""
        host = request.headers.get("host", "")
        if not self._own(host):
            raise PermissionDenied(
                f"this server asks for no key, so it is only reached as localhost, not as {host[:100]!r}; "
                "list the name under names, or ask for keys"
            )
        origin = request.headers.get("origin")
        if origin in self._settings.origins:
            return
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") or (origin is not None and origin.partition("://")[2] != host):
            raise PermissionDenied(
                "this server asks for no key, so web pages of others may not ask; list theirs under origins"
            )

    def _own(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "") if host else ""
        if name == "localhost" or name in self._names:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def allowed(self, request: HTTPConnection) -> str | None:
        """The origin of a page that may read the answer."""
        origin = request.headers.get("origin")
        return origin if origin in self._settings.origins else None

    def preflight(self, request: HTTPConnection) -> Response | None:
        """The answer to a browser's question whether a page may ask; None for any other request."""
        wanted = request.headers.get("access-control-request-method")
        origin = self.allowed(request)
        if request.scope["method"] != "OPTIONS" or wanted is None or origin is None:
            return None
        return Response(
            status_code=204,
            headers={
                "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
                "access-control-allow-headers": request.headers.get("access-control-request-headers", ""),
                "access-control-max-age": str(MAX_AGE_S),
            },
        )

    @staticmethod
    def allow(headers: MutableHeaders, origin: str) -> None:
        headers["access-control-allow-origin"] = origin
        headers["access-control-expose-headers"] = EXPOSED
        headers.add_vary_header("origin")


class Peers:
    """Where requests come from: from the client's own address, or from what trusted proxies say of it."""

    def __init__(self, proxies: Sequence[str]) -> None:
        self._proxies = [ipaddress.ip_network(one) for one in proxies]

    def of(self, request: HTTPConnection) -> str | None:
        """The nearest address that is none of the proxies'."""
        client = request.scope.get("client")
        peer: str | None = None if client is None else client[0]
        if not self._proxies or peer is None:
            return peer
        # Several lines are one list (RFC 9110 section 5.3): the first may be a client's own, and a proxy's behind it.
        lines = request.headers.getlist("x-forwarded-for")
        told = [one.strip() for line in lines for one in line.split(",") if one.strip()]
        while told and self._trusted(peer):
            peer = told.pop()[:64]
        return peer

    def _trusted(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)
