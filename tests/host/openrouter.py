"""OpenRouter's sign-in on 127.0.0.1, by its documentation: codes that are good once, for the proof that was announced."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.loopback import Loopback, Reply, Seen


class OpenRouter:
    """`async with OpenRouter() as service:`. `refuses`: the person says no. `gives`: in place of a
    key. `keys`: those that were given out."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.http = Loopback(otherwise=self._answer)
        self.refuses = refuses
        self.gives: str | None = None
        self.keys: list[str] = []
        self._codes: dict[str, str] = {}

    async def __aenter__(self) -> OpenRouter:
        await self.http.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.stop()

    @property
    def base_url(self) -> str:
        return f"{self.http.url}/api/v1"

    def _answer(self, seen: Seen) -> Reply:
        if seen.path == "/auth":
            return self._agreed({name: values[0] for name, values in parse_qs(seen.query).items()})
        if seen.path == "/api/v1/auth/keys":
            return self._exchanged(seen)
        good = seen.headers.get("authorization") in [f"Bearer {key}" for key in self.keys]
        return Reply.json({"data": {"label": "godwit"}}) if good else Reply.json({"error": {"code": 401}}, 401)

    def _agreed(self, asked: dict[str, str]) -> Reply:
        back = urlsplit(asked["callback_url"])
        right = set(asked) == {"callback_url", "code_challenge", "code_challenge_method"}
        if not right or asked["code_challenge_method"] != "S256" or (back.scheme, back.hostname) != ("http", "localhost"):
            return Reply.json({"error": {"code": 400, "message": "wrong request"}}, 400)
        if self.refuses:
            return _sent(asked["callback_url"], error="access_denied")
        code = f"code-{len(self._codes)}-Wq8"
        self._codes[code] = asked["code_challenge"]
        return _sent(asked["callback_url"], code=code)

    def _exchanged(self, seen: Seen) -> Reply:
        if seen.method != "POST":
            return Reply.json({"error": {"code": 405, "message": "Method Not Allowed"}}, 405)
        if (
            set(seen.body) != {"code", "code_verifier", "code_challenge_method"}
            or seen.body["code_challenge_method"] != "S256"
        ):
            return Reply.json({"error": {"code": 400, "message": "Invalid code_challenge_method"}}, 400)
        digest = hashlib.sha256(seen.body["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if self._codes.pop(seen.body["code"], None) != challenge:
            return Reply.json({"error": {"code": 403, "message": "Invalid code or code_verifier"}}, 403)
        self.keys.append(self.gives or f"sk-or-v1-{len(self.keys)}-Pz5tR9")
        return Reply.json({"key": self.keys[-1], "user_id": "user_1"})


def _sent(back: str, **query: str) -> Reply:
    return Reply.json({}, 302, location=f"{back}?{urlencode(query)}")
