"""Url: a web address as one thing only, read strictly, and the form of it that may be shown.

Owns what is accepted as an address and what of it is secret; leaves out where it leads (`address.py`) and going there
(`fetch.py`). Rules: there is one reading of an address, ours; whatever another parser might read otherwise (numbers in odd
spellings, user names, backslashes, control characters, trailing dots) is refused, never corrected. Only `shown` may get into
a text, a log, metadata or an error.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import quote, unquote, unquote_plus, urljoin

import msgspec

from ..core.addresses import Address
from ..core.errors import ToolFailed

MAX_LENGTH = 8000
"""Characters of an address; servers take about as many."""
MAX_SHOWN = 300
HIDDEN = "REDACTED"

_SCHEME = re.compile(r"(https?)://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_REFUSED = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]|[^\S ]")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT = "%/:@!$&'()*+,;=?~[]|"

_SECRET_NAMES = frozenset(
    {
        "auth", "authorization", "bearer", "cred", "creds", "credential", "credentials", "hash", "hmac", "jwt", "key", "otp",
        "pass", "passcode", "passphrase", "passwd", "password", "pin", "policy", "pw", "pwd", "saml", "samlresponse",
        "secret", "session", "sessionid", "sessid", "phpsessid", "jsessionid", "sid", "sig", "sign", "signature", "ticket",
        "token",
    }
)  # fmt: skip
_SECRET_PART = re.compile(r"token|secret|passw|signature|credential|apikey|authkey|accesskey|privatekey|sessionid|authoriz")
_SECRET_END = re.compile(r"(?:key|keyid|auth|sig|jwt|pwd|hmac|otp)$")
_SECRET_START = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-ms-", "x-sig")
_SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token
    r"|\b(?:sk|rk|pk)[-_][\w-]{16,}"
    r"|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeprs]-[\w-]{8,}"
    r"|\bA[KS]IA[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|\bbot[0-9]{6,}:[\w-]{20,}"
    r"|\bhf_\w{20,}|\bnpm_\w{20,}|\btvly-[\w-]{10,}"
)
_WEBHOOK = re.compile(r"^(?:hooks\.slack\.com|.*\.?discord(?:app)?\.com|.*\.webhook\.office\.com)$")


class Url(msgspec.Struct, frozen=True):
    """`host` is lower-case ASCII, an IPv6 address without its brackets; `target` is the path and the query, in ASCII."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    target: str

    @property
    def literal(self) -> Address | None:
        """The host as an address, when it is one."""
        return _literal(self.host)

    @property
    def authority(self) -> str:
        """As the Host header has it: the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """Without secrets."""
        return f"{self.scheme}://{self.authority}{_redacted(self.target, webhook=bool(_WEBHOOK.match(self.host)))}"

    @property
    def brief(self) -> str:
        """`shown` for a sentence: a redirect's address is written by a stranger and can be long."""
        shown = self.shown
        return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."

    @property
    def full(self) -> str:
        """With secrets: to be resolved against and requested, never to be shown."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def join(self, location: str) -> Url:
        """Where `location` leads from here, read as strictly as any other. ToolFailed."""
        reference = location.strip(" \t")
        if _REFUSED.search(reference):
            raise ToolFailed("it holds characters that have no place in an address")
        try:
            return parse(urljoin(self.full, reference))
        except ValueError:
            raise ToolFailed("it is no address") from None


def parse(text: str) -> Url:
    """The address in `text`. ToolFailed says what is wrong with it, without secrets."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ToolFailed(f"the URL has {len(text)} characters, more than {MAX_LENGTH}")
    scheme = _SCHEME.match(text)
    if scheme is None:
        other = _OTHER_SCHEME.match(text)
        begins = f", not {other[0]!r}" if other else ""
        raise ToolFailed(f"a URL begins with https:// or http://{begins}: give the whole address")
    if _REFUSED.search(text):
        raise ToolFailed("the URL holds blanks, control characters or backslashes: encode them (a blank is %20)")
    rest = text[scheme.end() :]
    end = re.search(r"[/?#]", rest)
    authority, target = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in authority:
        raise ToolFailed("the URL has a user name or password before its host: leave it out, credentials are never sent")
    host, port = _host_and_port(authority)
    secure = scheme[1].lower() == "https"
    target = target.partition("#")[0]
    path, mark, query = quote(target, safe=_KEPT).partition("?")
    return Url("https" if secure else "http", host, port or (443 if secure else 80), f"{_plain(path)}{mark}{query}")


def _plain(path: str) -> str:
    """The path as permission rules see it and as it is requested: no letter is escaped that need not be, no dots lead up."""
    path = re.sub(r"%([0-9A-Fa-f]{2})", _unescaped, path)
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character.isascii() and (character.isalnum() or character in "-._~") else escape[0].upper()


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        inner, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ToolFailed("the URL's host is no IPv6 address in brackets")
        try:
            if "%" in inner:
                raise ValueError
            host = str(IPv6Address(inner))
        except ValueError:
            raise ToolFailed("the URL's host is no IPv6 address (a zone such as %eth0 is not allowed)") from None
        port = after[1:] if after else None
    else:
        name, colon, given = authority.partition(":")
        port = given if colon else None
        host = _name(name)
    if port is None:
        return host, None
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ToolFailed("the URL's port is no number from 1 to 65535")
    return host, int(port)


def _name(given: str) -> str:
    """A host name or IPv4 address in its one spelling."""
    name = given.lower()
    if not name.isascii():
        name = _to_ascii(given)
    if not name:
        raise ToolFailed("the URL has no host")
    if name.endswith("."):
        raise ToolFailed("the URL's host ends with a dot: leave it out")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ToolFailed("the URL's host is no host name")
    # Where other parsers read a number: then it must be the plain form that all of them read alike.
    if _NUMBER.fullmatch(labels[-1]) and _literal(name) is None:
        raise ToolFailed("the URL's host is a number in an unusual spelling: write an IPv4 address as four decimal numbers")
    return name


def _to_ascii(name: str) -> str:
    import idna

    try:
        return idna.encode(name, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError, ValueError):
        raise ToolFailed("the URL's host is no host name") from None


def _literal(host: str) -> Address | None:
    try:
        # The strict one: no leading zeros, four numbers.
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return None


# --- what may be shown ------------------------------------------------------------------------------------------------


def is_secret(name: str) -> bool:
    """Whether a query parameter of this name holds something that must not be shown."""
    plain = name.strip().lower()
    bare = re.sub(r"[^a-z0-9]", "", plain)
    return (
        bare in _SECRET_NAMES
        or plain.replace("_", "-").startswith(_SECRET_START)
        or _SECRET_PART.search(bare) is not None
        or _SECRET_END.search(bare) is not None
    )


def _redacted(target: str, *, webhook: bool = False) -> str:
    path, mark, query = target.partition("#")[0].partition("?")
    if webhook and re.match(r"/(?:services|workflows|api/webhooks|webhookb?2?)/", path):
        path = "/".join([*path.split("/")[:3], HIDDEN])
    path = "/".join(_segment(segment) for segment in path.split("/"))
    if not mark:
        return path
    parts = re.split(r"([&;])", query)
    names = {unquote_plus(part.partition("=")[0]).strip().lower() for part in parts[::2]}
    return f"{path}?{''.join(_parameter(part, names) if n % 2 == 0 else part for n, part in enumerate(parts))}"


def _segment(segment: str) -> str:
    """A path's segment: its parameters (`;jsessionid=...`), and values that look like keys."""
    head, *parameters = segment.split(";")
    if _SECRET_VALUE.search(unquote(head)):
        head = HIDDEN
    return ";".join([head, *(_parameter(p, set()) for p in parameters)])


def _parameter(part: str, names: set[str]) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return HIDDEN if _SECRET_VALUE.search(unquote_plus(name)) else part
    plain = unquote_plus(name)
    # The one-time code of an OAuth redirect is known by the state beside it.
    hidden = is_secret(plain) or (plain.lower() == "code" and "state" in names)
    hidden = hidden or is_secret(plain.partition("[")[0])
    if not hidden:
        # An address within the address, encoded once or twice.
        inner = unquote_plus(unquote_plus(value))
        nested = re.findall(r"(?:^|[?&;#])([^?&;#=]{1,64})=", inner)
        hidden = _SECRET_VALUE.search(inner) is not None or any(map(is_secret, nested))
        hidden = hidden or re.search(r"://[^/?#]*@", inner) is not None
    return f"{name}={HIDDEN}" if hidden and value else part
