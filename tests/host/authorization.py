"""An authorization server on 127.0.0.1: RFC 6749 with PKCE and RFC 8628, and refresh tokens that are good once."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlencode

from tests.loopback import Loopback, Reply, Seen

from godwit.core.keys import OAuthSettings

CLIENT = "client-of-a-test"


class AuthorizationServer:
    """`async with AuthorizationServer() as server:`. `expires_s`: how long its tokens hold. `pending`: how often a device is
    told to wait. `down`: it answers 503."""

    def __init__(self, *, expires_s: int = 3600, pending: int = 1) -> None:
        self.http = Loopback(otherwise=self._answer)
        self.expires_s = expires_s
        self.pending = pending
        self.down = False
        self.refreshes = 0
        self.thefts = 0
        self.secrets: list[str] = []
        self._good = ""
        self._challenges: dict[str, tuple[str, str]] = {}

    async def __aenter__(self) -> AuthorizationServer:
        await self.http.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.stop()

    def settings(self, *, device: bool = True, browser: bool = True, **more: Any) -> OAuthSettings:
        return OAuthSettings(
            CLIENT,
            f"{self.http.url}/token",
            f"{self.http.url}/device" if device else None,
            f"{self.http.url}/authorize" if browser else None,
            ("models",),
            **more,
        )

    def tokens(self) -> dict[str, Any]:
        """A new pair. Only the newest refresh token is good."""
        number = len(self.secrets)
        access, self._good = f"access-{number}-Qx7zL0wP", f"refresh-{number}-Kt9vM2bR"
        self.secrets += [access, self._good]
        return {"access_token": access, "refresh_token": self._good, "token_type": "Bearer", "expires_in": self.expires_s}

    def _answer(self, seen: Seen) -> Reply:
        if self.down:
            return Reply.json({"error": "temporarily_unavailable"}, 503)
        if seen.path == "/authorize":
            return self._authorized({name: values[0] for name, values in parse_qs(seen.query).items()})
        form = {name: values[0] for name, values in parse_qs(seen.raw.decode()).items()}
        if form.get("client_id") != CLIENT:
            return Reply.json({"error": "invalid_client"}, 401)
        if seen.path == "/device":
            url = f"{self.http.url}/activate"
            self.secrets.append("device-code-Yh4nD8sW")
            said = {"device_code": self.secrets[-1], "user_code": "WDJB-MJHT", "verification_uri": url}
            return Reply.json({**said, "interval": 0.01, "expires_in": 60})
        return self._token(form)

    def _token(self, form: dict[str, str]) -> Reply:
        match form["grant_type"]:
            case "refresh_token":
                if form["refresh_token"] != self._good:
                    self.thefts += 1
                    return Reply.json({"error": "invalid_grant", "error_description": form["refresh_token"]}, 400)
                self.refreshes += 1
                return Reply.json(self.tokens())
            case "authorization_code":
                challenge, redirect = self._challenges.pop(form["code"], ("", ""))
                made = (
                    base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
                )
                if made != challenge or form["redirect_uri"] != redirect:
                    return Reply.json({"error": "invalid_grant"}, 400)
                return Reply.json(self.tokens())
            case _:
                self.pending -= 1
                return (
                    Reply.json({"error": "authorization_pending"}, 400) if self.pending >= 0 else Reply.json(self.tokens())
                )

    def _authorized(self, query: dict[str, str]) -> Reply:
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self._challenges)}-Jb6cF1gN"
        self.secrets.append(code)
        self._challenges[code] = (query["code_challenge"], query["redirect_uri"])
        back = urlencode({"code": code, "state": query["state"]})
        return Reply.json({}, 302, location=f"{query['redirect_uri']}?{back}")
