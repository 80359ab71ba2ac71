"""McpOAuth: what is said of logging in to an MCP server, where it cannot be found out; and what is told of a login begun.

Data only; leaves out the login itself (`host/mcp/logins.py`). Rule: no secret stands here, only what refers to one.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .errors import ConfigurationError
from .references import has_reference

Grant = Literal["authorization_code", "client_credentials"]
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class McpOAuth(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How one logs in to a server; each of it may be left out.

    `client_id`: of a client that was registered at its authorization server by hand; `client_secret`: `${NAME}`, for one
    that has one. `issuer`: the authorization server that these belong to; they are given to no other, and without it to the
    first that one logged in at. `client_metadata_url`: of a document that says who we are, whose address is the client's id
    where the authorization server takes such. `scopes`: what is asked for in place of what the server says. `callback_port`:
    of this machine, which the browser is sent back to; a free one by default. `grant`: `client_credentials` is a login of
    the program itself, without a person. ConfigurationError."""

    client_id: str | None = None
    client_secret: str | None = None
    issuer: str | None = None
    client_metadata_url: str | None = None
    scopes: tuple[str, ...] = ()
    callback_port: int | None = None
    grant: Grant = "authorization_code"

    def __post_init__(self) -> None:
        if self.client_secret is not None and not has_reference(self.client_secret):
            raise ConfigurationError(
                "oauth: client_secret is stored and shown as it stands here: write ${NAME}, and give the value as a variable"
                " of that name or in McpSettings.secrets"
            )
        if self.client_secret is not None and not self.client_id:
            raise ConfigurationError("oauth: a client_secret needs its client_id")
        if self.grant == "client_credentials" and self.client_secret is None:
            raise ConfigurationError("oauth: the grant client_credentials needs a client_id and a client_secret")
        for scope in self.scopes:
            if not _SCOPE.fullmatch(scope):
                raise ConfigurationError(f"oauth: {scope[:50]!r} is no scope: it takes printable ASCII without blanks")
        if self.callback_port is not None and not 0 < self.callback_port < 65536:
            raise ConfigurationError(f"oauth: callback_port={self.callback_port!r} has to be 1 to 65535")
        for name in ("issuer", "client_metadata_url"):
            if (value := getattr(self, name)) is not None and not re.fullmatch(r"https?://\S+", value):
                raise ConfigurationError(f"oauth: {name} has to be an address that begins with https://")
        if self.client_metadata_url is not None and not re.fullmatch(r"https://[^/\s]+/\S+", self.client_metadata_url):
            raise ConfigurationError("oauth: client_metadata_url has to be an https address with a path")


class McpLogin(msgspec.Struct, frozen=True):
    """A login that was begun. `server`: the MCP server's name. `url`: where a person goes with a browser. `issuer`: whose
    page that is. `expires_ms`: until when they may come back."""

    server: str
    url: str
    issuer: str
    expires_ms: int


__all__ = ["Grant", "McpLogin", "McpOAuth"]
