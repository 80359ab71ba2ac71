"""Asking a token endpoint: RFC 6749, with the resource of RFC 8707; most of all for renewing an access token (section 6).

Goes out through the fetcher that judges every address. Rule: nothing that was sent, and no token that came back, stands in
what is told of a failure; what a server said against it is shown cut and with our own secrets taken out.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from ..core.errors import ToolFailed
from ..tools.url import parse

if TYPE_CHECKING:
    from ..tools.fetch import Answer, Fetcher

Authentication = Literal["none", "client_secret_basic", "client_secret_post"]
HIDDEN = "[hidden]"
SHOWN_CHARACTERS = 2048
LONGEST_S = 10 * 365 * 86_400.0
"""What a token endpoint may say of how long a token holds."""


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a token is renewed, without what is secret of it. `resource`: what the token is for (RFC 8707). Of a login to an
    MCP server also: `issuer`: whose client it is, and nobody else's; `asked`: the scopes that the login asked for;
    `redirect`: the address that the client was registered with, None for one that was not registered for us."""

    id: str
    token_endpoint: str
    authentication: Authentication = "none"
    scope: str | None = None
    resource: str | None = None
    issuer: str | None = None
    asked: str | None = None
    redirect: str | None = None


class Refreshed(msgspec.Struct, frozen=True):
    """`expires_s`: from now, if it was said. `refresh_token`: only when there is a new one."""

    access_token: str
    refresh_token: str | None = None
    expires_s: float | None = None

    def __repr__(self) -> str:
        return "Refreshed(...)"


class ShownAnswer(msgspec.Struct, frozen=True):
    """An answer of a server, for people: `body` cut and with our secrets taken out."""

    status: int
    content_type: str
    body: str
    cut: bool


class RefreshFailed(msgspec.Struct, frozen=True):
    """There is no new token. `answer`: what the token endpoint said against it. `reached`: it did answer."""

    message: str
    answer: ShownAnswer | None = None
    reached: bool = True


async def refresh(
    fetcher: Fetcher, client: Client, refresh_token: str, client_secret: str | None
) -> Refreshed | RefreshFailed:
    """A new access token, or why there is none."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if client.scope:
        form["scope"] = client.scope
    return await granted(fetcher, client, form, client_secret, [refresh_token])


async def granted(
    fetcher: Fetcher, client: Client, form: dict[str, str], client_secret: str | None, hidden: Iterable[str] = ()
) -> Refreshed | RefreshFailed:
    """What the token endpoint grants for this form. `hidden`: what of it is secret."""
    form = dict(form)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    basic = ""
    if client.resource:
        form["resource"] = client.resource
    if client.authentication == "client_secret_basic":
        # RFC 6749 section 2.3.1: both are form-encoded first.
        pair = f"{quote(client.id, safe='')}:{quote(client_secret or '', safe='')}"
        basic = base64.b64encode(pair.encode()).decode()
        headers["Authorization"] = f"Basic {basic}"
        if client.issuer is not None:
            form["client_id"] = client.id  # servers of MCP's own package find the client by it all the same
    else:
        form["client_id"] = client.id
        if client.authentication == "client_secret_post":
            form["client_secret"] = client_secret or ""
    try:
        url = parse(client.token_endpoint)
        answer = await fetcher.send("POST", url, headers=headers, body=urlencode(form).encode())
    except ToolFailed as error:
        return RefreshFailed(f"the token endpoint: {error.message}", reached=False)
    if answer.status != 200:
        # What says that it went well may hold tokens, whatever else is odd about it.
        well = 200 <= answer.status < 300
        shown = None if well else shown_answer(answer, [*hidden, client_secret, basic.rstrip("=")])
        return RefreshFailed(f"the token endpoint {url.brief} answers {answer.status}", shown)
    try:
        found: Any = msgspec.json.decode(answer.body, type=dict[str, Any])
        token, again, expires = found["access_token"], found.get("refresh_token"), found.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(again, str | None):
            raise ValueError
        seconds = None if expires is None else float(expires)
        if seconds is not None and not 0 <= seconds <= LONGEST_S:
            raise ValueError
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError):
        # Its body may hold tokens.
        return RefreshFailed(f"the token endpoint {url.brief} answers with no token that could be read")
    return Refreshed(token, again or None, seconds)


def shown_answer(answer: Answer, secrets: Iterable[str | None]) -> ShownAnswer:
    """The answer without these secrets, in whichever way it writes them: as they are, in a form, in JSON, in HTML."""
    text = answer.body.decode("utf-8", "replace")
    for secret in sorted((one for one in secrets if one), key=len, reverse=True):
        text = re.sub("".join(map(_written, secret)), HIDDEN, text)
    cut = answer.cut or len(text) > SHOWN_CHARACTERS
    return ShownAnswer(answer.status, answer.headers.get("content-type", ""), text[:SHOWN_CHARACTERS], cut)


def _written(character: str) -> str:
    """A pattern for the ways in which one character may be written."""
    if character.isascii() and character.isalnum():
        return character
    number, entity = ord(character), html.escape(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    units = character.encode("utf-16-be", "replace")
    escaped = "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
    ways = [character, entity, f"\\{character}", f"(?i:{re.escape(percent)})", f"(?i:{re.escape(escaped)})"]
    ways = [re.escape(way) if not way.startswith("(?i:") else way for way in ways]
    if character == " ":
        ways.append(re.escape("+"))
    return f"(?:{'|'.join(ways)}|&#0*{number};|&#[xX]0*(?i:{number:x});)"
