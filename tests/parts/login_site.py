"""A real authorization server and a real MCP server that takes its tokens alone, both of the official package, on loopback.

The authorization server asks nobody: who comes to its page is sent back at once. It knows dynamic registration, PKCE and
refresh tokens that are good once: a second use of one is a theft, and ends all that came of that login.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx2
import mcp_types as types
import msgspec
import uvicorn
from mcp.server import Server
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import build_metadata
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from tests.parts.mcp_site import listed
from tests.patience import PATIENCE_S

SCOPES = ["docs:read", "docs:write", "offline_access"]


class LoginSite:
    """`expires_s`: how long its tokens hold. `refuses`: nobody is let in. `issuer_said`: what it says of itself in answers.
    `registers`: it registers clients. `metadata`: what its metadata say otherwise. `resource`: what the server says that it
    is. `logins`: how often a code was taken; `refreshes`: a refresh token; `thefts`: one that was taken before.
    `asked`: the queries that came to its page. `secrets`: all that must not be told to anybody. `calls`: of tools."""

    def __init__(self) -> None:
        self.port = 0
        self.expires_s = 3600
        self.refuses = False
        self.issuer_said: str | None = None
        self.metadata: dict[str, Any] = {}
        self.resource: str | None = None
        self.servers: list[str] | None = None
        self.down = False
        self.logins = self.refreshes = self.thefts = self.program_logins = 0
        self.asked: list[dict[str, str]] = []
        self.secrets: list[str] = []
        self.calls: list[str] = []
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, tuple[RefreshToken, str, bool]] = {}  # the token, of which login, and whether it was used

    @property
    def here(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"http://{self.here}"

    @property
    def url(self) -> str:
        return f"{self.issuer}/mcp"

    def revoke(self) -> None:
        """No access token that it gave is good any more."""
        self._access.clear()

    def end_logins(self) -> None:
        """Nothing that it gave is good any more."""
        self._access.clear()
        self._refresh.clear()

    def scopes_of(self, token: str | None) -> list[str]:
        found = self._access.get(token or "")
        return [] if found is None else found.scopes

    # --- OAuthAuthorizationServerProvider -----------------------------------------------------------------------------

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info
        if client_info.client_secret is not None:
            self.secrets.append(client_info.client_secret)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        said = {"iss": self.issuer_said} if self.issuer_said else {}
        if self.refuses:
            return construct_redirect_uri(str(params.redirect_uri), error="access_denied", state=params.state, **said)
        code = self._secret("code")
        self._codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state, **said)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self._codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self._codes[authorization_code.code]
        self.logins += 1
        code = authorization_code
        return self._tokens(client.client_id, code.scopes, code.resource, f"login {self.logins}")

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        found = self._refresh.get(refresh_token)
        if found is None or found[0].client_id != client.client_id:
            return None
        if found[2]:
            self.thefts += 1
            self._refresh = {name: one for name, one in self._refresh.items() if one[1] != found[1]}
            return None
        return found[0]

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        token, login, _ = self._refresh[refresh_token.token]
        self._refresh[refresh_token.token] = (token, login, True)
        self.refreshes += 1
        return self._tokens(client.client_id, scopes, refresh_token.resource, login)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return await self.verify_token(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        raise TokenError("invalid_request")

    async def exchange_identity_assertion(self, client: OAuthClientInformationFull, params: Any) -> OAuthToken:
        raise TokenError("unsupported_grant_type")

    async def verify_token(self, token: str) -> AccessToken | None:
        return self._access.get(token)

    def _tokens(self, client: str, scopes: list[str], resource: str | None, login: str | None) -> OAuthToken:
        access = self._secret("access")
        until = int(time.time()) + self.expires_s
        self._access[access] = AccessToken(
            token=access, client_id=client, scopes=scopes, expires_at=until, resource=resource
        )
        refresh = None
        if login is not None:
            refresh = self._secret("refresh")
            made = RefreshToken(token=refresh, client_id=client, scopes=scopes, resource=resource)
            self._refresh[refresh] = (made, login, False)
        return OAuthToken(
            access_token=access, expires_in=self.expires_s, scope=" ".join(scopes) or None, refresh_token=refresh
        )

    def _secret(self, kind: str) -> str:
        made = f"{kind}-{secrets.token_urlsafe(16)}"
        self.secrets.append(made)
        return made

    # --- the app ------------------------------------------------------------------------------------------------------

    def _front(self, app: Any) -> Any:
        async def front(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            path, headers = scope["path"], {name.decode(): value.decode() for name, value in scope["headers"]}
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if path == "/.well-known/oauth-authorization-server":
                await self._json(send, 200, {**self._said(), **self.metadata})
            elif path.startswith("/.well-known/oauth-protected-resource"):
                about = {
                    "resource": self.resource or self.url,
                    "authorization_servers": self.servers or [self.issuer],
                    "scopes_supported": ["docs:read"],
                }
                await self._json(send, 200, about)
            elif path == "/token" and self.down:
                await self._json(send, 503, {"error": "temporarily_unavailable"})
            elif path == "/token":
                await self._token(app, scope, receive, send, headers)
            elif path == "/mcp" and headers.get("mcp-name") == "write" and "docs:write" not in self.scopes_of(token):
                await self._json(send, 403, {"error": "insufficient_scope"}, self._challenge("docs:write"))
            else:
                if path == "/authorize":
                    self.asked.append({name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()})
                await app(scope, receive, send)

        return front

    async def _token(self, app: Any, scope: Any, receive: Any, send: Any, headers: dict[str, str]) -> None:
        message = await receive()
        form = {name: values[0] for name, values in parse_qs(message["body"].decode()).items()}
        if form.get("grant_type") == "client_credentials":  # which the package knows not
            name, _, secret = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode().partition(":")
            client = self.clients.get(name)
            if client is None or client.client_secret != secret:
                await self._json(send, 401, {"error": "invalid_client", "error_description": secret})
                return
            self.program_logins += 1
            made = self._tokens(name, form.get("scope", "").split(), form["resource"], None)
            await self._json(send, 200, made.model_dump(mode="json", exclude_none=True))
            return

        async def again() -> Any:
            return message

        await app(scope, again, send)

    def _said(self) -> dict[str, Any]:
        options = ClientRegistrationOptions(enabled=True, valid_scopes=SCOPES)
        said = build_metadata(AnyHttpUrl(self.issuer), None, options, RevocationOptions())
        return {**said.model_dump(mode="json", exclude_none=True), "issuer": self.issuer}

    def _challenge(self, scope: str) -> str:
        place = f"{self.issuer}/.well-known/oauth-protected-resource/mcp"
        return f'Bearer error="insufficient_scope", scope="{scope}", resource_metadata="{place}"'

    async def _json(self, send: Any, status: int, said: dict[str, Any], challenge: str | None = None) -> None:
        headers = [(b"content-type", b"application/json")]
        if challenge is not None:
            headers.append((b"www-authenticate", challenge.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(said)})

    async def _list(self, *_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[listed("read", read_only_hint=True), listed("write")])

    async def _call(self, _: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls.append(params.name)
        return types.CallToolResult(content=[types.TextContent(text=f"{params.name}: done")])

    def run(self) -> uvicorn.Server:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("127.0.0.1", 0))
        self.port = connection.getsockname()[1]
        server = Server("site", version="1", on_list_tools=self._list, on_call_tool=self._call)
        auth = AuthSettings(
            issuer_url=AnyHttpUrl(self.issuer),
            resource_server_url=AnyHttpUrl(self.url),
            validate_token_resource=True,
            client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=SCOPES),
            required_scopes=["docs:read"],
        )
        app = server.streamable_http_app(auth=auth, auth_server_provider=self, token_verifier=self)
        config = uvicorn.Config(self._front(app), log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(running.serve([connection])), name="login site")
        self.thread.start()
        while not running.started:
            assert self.thread.is_alive()
            self.thread.join(0.01)
        return running


@contextmanager
def login_site() -> Iterator[LoginSite]:
    site = LoginSite()
    running = site.run()
    try:
        yield site
    finally:
        running.should_exit = True
        site.thread.join(PATIENCE_S)
        assert not site.thread.is_alive()


async def browse(url: str) -> str:
    """Go there as a browser does, and come back; what the last page says."""
    async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
        return (await browser.get(url)).text


async def sent_back_to(url: str) -> str:
    """Go there, and do not come back: the address that one is sent back to."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        return str((await browser.get(url)).headers["location"])
