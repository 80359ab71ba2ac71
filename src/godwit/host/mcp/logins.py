"""McpLogins: logging in to MCP servers by OAuth 2.1, from what a server has asked for to a login that is kept.

Owns the two steps of a login by a person (`begin`, `finish`), that of a program without one (`granted`), and which scopes
are asked for. Leaves out how the browser comes back (`login_waiting.py`), where one logs in (`discovery.py`), who we are
there (`clients.py`) and where logins are kept (`own_logins.py`, `tenant_logins.py`). Rules a change must keep:

* A code is exchanged only where it was asked for, with PKCE, once, and when the issuer that answers is the one that was
  asked.
* Tokens, codes, verifiers and secrets of clients stand in no log, error or repr.
* What a server asks for is noted by owner and address, so that nobody's login depends on another's request.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import msgspec

from ...core.errors import McpLoginFailed
from ...core.ids import Clock
from ...core.mcp import Link, McpServer
from ...core.mcp_oauth import McpOAuth
from ..oauth import Client, Refreshed, RefreshFailed, granted
from ..oauth_callback import Proof
from .clients import OurClient, check_issuer, client_for, configured_authentication
from .discovery import check_safe, discover
from .login_words import KeptLogin, KeptLogins, login_place
from .owner import Owner
from .values import McpValues

if TYPE_CHECKING:
    from ...tools.fetch import Fetcher
    from ...tools.mcp_transport import Challenge
    from .discovery import Found

LOGIN_S = 600.0
"""How long a person may take in a browser."""
_NOTED = 1000
"""Challenges that are remembered."""
_GRANTS = ["authorization_code", "refresh_token"]


class Begun(msgspec.Struct, frozen=True):
    """A login that waits for its browser. `state`: what has to come back with it; `issuer`: who has to have answered it, and
    `says_issuer`: whether that one always says who it is. `redirect`: where the browser is sent back to. `page`: where it
    goes."""

    tenant: str | None
    user: str | None
    server: str
    url: str
    client: Client
    client_secret: str | None
    issuer: str
    says_issuer: bool
    state: str
    verifier: str
    redirect: str
    page: str
    expires_ms: int

    @property
    def owner(self) -> Owner:
        return Owner(self.tenant, self.user)

    def __repr__(self) -> str:
        return f"Begun({self.server!r}, ...)"


class McpLogins:
    """`own`: of the person whose machine this is; `tenants`: of the users of tenants, asked for when it is needed first.
    `done`: is called with whose login came about, and for which address."""

    def __init__(
        self,
        fetcher: Callable[[], Fetcher],
        own: KeptLogins,
        tenants: Callable[[], KeptLogins],
        values: McpValues,
        clock: Clock,
    ) -> None:
        self._fetcher = fetcher
        self._own = own
        self._tenants = tenants
        self._values = values
        self._clock = clock
        self._noted: dict[tuple[Owner, str], Challenge] = {}
        self.done: Callable[[Owner, str], object] = lambda *_: None

    def kept(self, owner: Owner) -> KeptLogins:
        """Where logins of this owner are."""
        return self._own if owner.tenant is None else self._tenants()

    # --- what servers ask for -----------------------------------------------------------------------------------------

    def note(self, owner: Owner, url: str, challenge: Challenge) -> None:
        """The server has asked this owner for a credential, or for another one."""
        place = owner, login_place(url)
        self._noted.pop(place, None)
        self._noted[place] = challenge
        while len(self._noted) > _NOTED:
            del self._noted[next(iter(self._noted))]

    def noted(self, owner: Owner, url: str) -> Challenge | None:
        """What it has asked for last, and has not been given since."""
        return self._noted.get((owner, login_place(url)))

    # --- a person's login ---------------------------------------------------------------------------------------------

    async def earlier_redirect(self, owner: Owner, url: str) -> str | None:
        """The address that our client was registered with for the login before."""
        kept = await self.kept(owner).find(owner, url)
        return None if kept is None else kept.client.redirect

    async def begin(
        self, server: McpServer, owner: Owner, redirect: str, *, state: str | None = None, scopes: Sequence[str] = ()
    ) -> Begun:
        """Find out where one logs in to the server, and as whom. `redirect`: where the browser comes back to; `state`: what
        it brings, a new secret by default. `scopes`: beside those that are asked for anyway. McpLoginFailed;
        ConfigurationError for a reference that stands for nothing."""
        url, oauth = server.url, server.oauth or McpOAuth()
        fetcher, challenge = self._fetcher(), self.noted(owner, url)
        kept = await self.kept(owner).find(owner, url)
        wanted = oauth.issuer or (None if kept is None else kept.client.issuer)
        found = await discover(fetcher, url, challenge, wanted)
        secret = await self._secret(oauth, owner)
        scope = _scope(found, oauth, challenge, kept, scopes, _GRANTS)
        ours = await client_for(fetcher, url, found, oauth, secret, kept, redirect, scope)
        proof, state = Proof.new(), state or secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": ours.client.id,
            "redirect_uri": redirect,
            "state": state,
            "code_challenge": proof.challenge,
            "code_challenge_method": "S256",
            "resource": found.resource,
            **({"scope": scope} if scope else {}),
        }
        if scope is not None and "offline_access" in scope.split():
            query["prompt"] = "consent"  # OpenID Connect Core section 11
        page = str(found.metadata.authorization_endpoint)
        return Begun(
            owner.tenant,
            owner.user,
            server.name,
            url,
            msgspec.structs.replace(ours.client, asked=scope),
            ours.secret,
            found.issuer,
            bool(found.metadata.authorization_response_iss_parameter_supported),
            state,
            proof.verifier,
            redirect,
            f"{page}{'&' if urlsplit(page).query else '?'}{urlencode(query)}",
            self._clock.now_ms() + int(LOGIN_S * 1000),
        )

    async def finish(self, begun: Begun, back: Mapping[str, str]) -> None:
        """Keep what the login grants. `back`: the query that the browser came back with. McpLoginFailed."""
        url = begun.url
        if not secrets.compare_digest(back.get("state", "").encode(), begun.state.encode()):
            raise McpLoginFailed(f"the login to {url} failed: this is the answer to another login")
        if self._clock.now_ms() >= begun.expires_ms:
            raise McpLoginFailed(f"the login to {url} took longer than {LOGIN_S:g} seconds: begin it again")
        _check_answering(begun, back.get("iss"))
        code = back.get("code")
        if not code:
            from ..auth_store import is_word

            word = back.get("error", "")
            raise McpLoginFailed(f"the login to {url} was refused{f' ({word})' if is_word(word) else ''}")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect,
            "code_verifier": begun.verifier,
        }
        ours = OurClient(begun.client, begun.client_secret)
        await self._exchange(begun.owner, url, ours, form, [code, begun.verifier])

    async def forget(self, owner: Owner, url: str) -> bool:
        """False when there was no login."""
        forgotten = await self.kept(owner).forget(owner, url)
        self._noted.pop((owner, login_place(url)), None)
        self.done(owner, url)
        return forgotten

    # --- a program's login --------------------------------------------------------------------------------------------

    async def granted(self, link: Link, owner: Owner) -> str:
        """A token for the program itself (RFC 6749 section 4.4). McpLoginFailed, ConfigurationError."""
        oauth = link.oauth
        assert oauth is not None
        assert oauth.client_id is not None
        challenge = self.noted(owner, link.url)
        kept = await self.kept(owner).find(owner, link.url)
        found = await discover(self._fetcher(), link.url, challenge, oauth.issuer)
        check_issuer(link.url, oauth, found.issuer, kept)
        secret = await self._secret(oauth, owner)
        scope = _scope(found, oauth, challenge, kept, (), ["client_credentials"])
        client = Client(
            oauth.client_id,
            str(found.metadata.token_endpoint),
            configured_authentication(found, secret),
            resource=found.resource,
            issuer=found.issuer,
            asked=scope,
        )
        form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        return await self._exchange(owner, link.url, OurClient(client, secret), form, [])

    # --- within -------------------------------------------------------------------------------------------------------

    async def _secret(self, oauth: McpOAuth, owner: Owner) -> str | None:
        if oauth.client_secret is None:
            return None
        made, _ = await self._values.of([("oauth.client_secret", oauth.client_secret)], tenant=owner.tenant)
        return made["oauth.client_secret"]

    async def _exchange(self, owner: Owner, url: str, ours: OurClient, form: dict[str, str], hidden: Sequence[str]) -> str:
        from ..auth_store import error_code

        check_safe(url, ours.client.token_endpoint)
        found = await granted(self._fetcher(), ours.client, form, ours.secret, hidden)
        if isinstance(found, RefreshFailed):
            raise McpLoginFailed(f"the login to {url} failed: {found.message}{error_code(found)}")
        await self.kept(owner).keep(owner, url, self._login(ours, found))
        self._noted.pop((owner, login_place(url)), None)
        self.done(owner, url)
        return found.access_token

    def _login(self, ours: OurClient, found: Refreshed) -> KeptLogin:
        until = None if found.expires_s is None else self._clock.now_ms() + int(found.expires_s * 1000)
        return KeptLogin(ours.client, found.access_token, found.refresh_token, ours.secret, until)


def _scope(
    found: Found,
    oauth: McpOAuth,
    challenge: Challenge | None,
    kept: KeptLogin | None,
    scopes: Sequence[str],
    grants: list[str],
) -> str | None:
    """What is asked for: what the server said for this request, else what it says of itself, else nothing; with what the
    login before had, where more than that is wanted."""
    from mcp.client.auth.utils import get_client_metadata_scopes, union_scopes

    said = None if challenge is None else challenge.scope
    if oauth.scopes and not (challenge is not None and challenge.insufficient):
        said = " ".join(oauth.scopes)
    scope = get_client_metadata_scopes(said, found.prm, found.metadata, grants)
    more = scopes or (challenge is not None and challenge.insufficient)
    if more and kept is not None and kept.client.issuer == found.issuer:
        scope = union_scopes(kept.client.asked, said or (None if scopes else scope))
    return union_scopes(scope, " ".join(scopes))


def _check_answering(begun: Begun, iss: str | None) -> None:
    """RFC 9207: whoever answers is who was asked."""
    from mcp.client.auth import OAuthFlowError
    from mcp.client.auth.utils import validate_authorization_response_iss
    from mcp.shared.auth import OAuthMetadata

    asked = OAuthMetadata.model_construct(
        issuer=begun.issuer,  # as it is written, not as a parser would write it
        authorization_response_iss_parameter_supported=begun.says_issuer,
    )
    try:
        validate_authorization_response_iss(iss, asked)
    except OAuthFlowError:
        raise McpLoginFailed(
            f"the login to {begun.url} failed: {begun.issuer} was asked, and the answer"
            f" {'does not say that it is from there' if iss is None else 'says that it is from elsewhere'}"
        ) from None


__all__ = ["LOGIN_S", "Begun", "McpLogins"]
