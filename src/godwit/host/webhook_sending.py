"""Sending: one try of one delivery, signed as Standard Webhooks says (https://www.standardwebhooks.com).

It goes through the fetcher that judges every address it connects to and follows no redirect. Of the answer only the status
counts, and nothing of it is kept: whoever names an address must not read through us what is there.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address

import msgspec

from ..core.errors import InvalidArgument, ToolFailed
from ..core.ids import Clock
from ..tools.address import AddressGuard
from ..tools.fetch import Answer, Fetcher, FetchLimits
from ..tools.url import Url, parse
from .server_settings import WebhookSettings
from .webhook_queue import Attempt

PREFIX = "whsec_"
SECRET_BYTES = 32
MOST_WAIT_S = 86_400.0
"""The other side is not waited for longer than this, whatever it asks."""


class SigningSecrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """`previous` signs as well, until then: for who has not learnt the new one. `key`: under which the current one was asked
    for."""

    current: str
    previous: str | None = None
    until_ms: int = 0
    key: str | None = None

    def __repr__(self) -> str:
        return "SigningSecrets(...)"

    def at(self, now_ms: int) -> list[str]:
        return [self.current, *([self.previous] if self.previous is not None and now_ms < self.until_ms else [])]


def new_secret() -> str:
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def signature(secrets: Sequence[str], id_: str, at_s: int, body: str) -> str:
    """The header `webhook-signature`: one for each of the secrets."""
    from standardwebhooks import Webhook

    at = datetime.fromtimestamp(at_s, UTC)
    return " ".join(Webhook(secret).sign(id_, at, body) for secret in secrets)


class Sender:
    """`reach`: see `ServerSettings.reach`."""

    def __init__(self, reach: Sequence[str], settings: WebhookSettings, clock: Clock) -> None:
        self._guard = AddressGuard(reach, setting="reach of [server]")
        limits = FetchLimits(timeout_s=settings.timeout_s, wire_bytes=64 * 1024, body_bytes=0)
        self._fetcher = Fetcher(self._guard, limits=limits, user_agent="godwit-webhooks")
        self._clock = clock

    def check(self, url: str) -> str:
        """The address as it is kept. InvalidArgument for one that is none, that is not https and not in `reach`, or that can
        be seen not to be reached; where a name leads is looked at when it is sent to."""
        try:
            found = parse(url)
            if (literal := found.literal) is not None:
                self._guard.check(found, [literal])
        except ToolFailed as error:
            raise InvalidArgument(f"url: {error.message}") from None
        if found.scheme == "http" and not self._guard.is_allowed(found, found.literal or IPv4Address(0)):
            raise InvalidArgument("url: it has to begin with https://, unless the server's setting `reach` names the host")
        return found.full

    async def send(self, url: str, secrets: Sequence[str], id_: str, body: str) -> Attempt:
        """Try once. It raises nothing: what went wrong stands in the attempt."""
        began_ms, began = self._clock.now_ms(), self._clock.monotonic()
        at_s = began_ms // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(secrets, id_, at_s, body),
        }
        status, error, wait_s = None, None, None
        try:
            answer = await self._fetcher.send("POST", _url(url), headers=headers, body=body.encode(), look=lambda _: False)
            status, wait_s = answer.status, _retry_after(answer)
        except ToolFailed as failed:
            error = failed.message
        took = int((self._clock.monotonic() - began) * 1000)
        return Attempt(began_ms, took, status, error, wait_s)


def _url(text: str) -> Url:
    return parse(text)


def _retry_after(answer: Answer) -> float | None:
    """In seconds; the form with a date is passed over."""
    told = answer.headers.get("retry-after", "")
    # `isdigit` alone holds for more than what makes a number, such as a raised two.
    if answer.status not in (429, 503) or not (told.isascii() and told.isdigit()):
        return None
    return min(float(told[:9]), MOST_WAIT_S)
