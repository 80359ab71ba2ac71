"""WebPolicy: what an agent's web tools may look at, as data; and which addresses a list of domains covers.

Leaves out asking anybody (`tools/web.py`, `tools/web_search.py`). Rules a change must keep: a domain covers itself and what
is below it, never what merely ends with the same letters; of two policies each part is the narrower of both; a limit that
is not understood is an error, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from .errors import ConfigurationError

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"/[\x21\x24-\x3b\x3d\x40-\x5a\x5f\x61-\x7a\x7e]*")  # neither a query nor a fragment
MOST_TOLD = 12
"""Domains that are named in a text for a model; of more only how many there are."""


class Domain(msgspec.Struct, frozen=True):
    """A host, and where it has one the path that the address begins with."""

    host: str
    path: str = ""

    def covers(self, host: str, path: str = "/") -> bool:
        """Whether an address of this host and path is within it. Both as `tools.url` reads them: lower case, no query."""
        if host != self.host and not host.endswith(f".{self.host}"):
            return False
        return not self.path or path == self.path or path.startswith(f"{self.path}/")

    def __str__(self) -> str:
        return self.host + self.path


def domain(text: str, *, paths: bool = True) -> Domain:
    """The domain in `docs.example.com` or, with `paths`, `example.com/blog`. ConfigurationError says what is wrong."""
    plain = text.strip().lower() if "/" not in text else text.strip()
    host, slash, path = plain.partition("/")
    host = host.lower()
    if "://" in plain:
        raise ConfigurationError(f"{_cut(text)} has a scheme: write the host alone, such as docs.example.com")
    if not plain.isascii():
        raise ConfigurationError(f"{_cut(text)} is not in ASCII: write its host as it is looked up (xn--...)")
    if host.startswith("*"):
        raise ConfigurationError(f"{_cut(text)}: what is below a domain is covered by it, so write it without the star")
    if ":" in host:
        raise ConfigurationError(f"{_cut(text)} has a port: a domain covers all of them, write it without")
    if slash and not paths:
        raise ConfigurationError(f"{_cut(text)} has a path: write the host alone")
    if not host or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ConfigurationError(f"{_cut(text)} is no host name, such as docs.example.com")
    if slash and not _PATH.fullmatch(slash + path):
        raise ConfigurationError(f"{_cut(text)}: the path is no plain one, such as example.com/blog")
    return Domain(host, (slash + path).rstrip("/"))


class Domains(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`allowed`: the only domains, with all that is below them; None for any. `blocked`: never these, whatever is allowed.
    Each is a host, with a path behind it where only that part is meant. ConfigurationError."""

    allowed: tuple[str, ...] | None = None
    blocked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*(self.allowed or ()), *self.blocked):
            domain(text)

    def cover(self, host: str, path: str = "/") -> bool:
        """Whether an address of this host and path may be looked at."""
        if any(domain(text).covers(host, path) for text in self.blocked):
            return False
        return self.allowed is None or any(domain(text).covers(host, path) for text in self.allowed)

    @property
    def told(self) -> str:
        """The same as a sentence for a model, empty when nothing is limited."""
        parts = [] if self.allowed is None else [f"Only these domains: {_listed(self.allowed)}."]
        return " ".join([*parts, *([f"None of these domains: {_listed(self.blocked)}."] if self.blocked else [])])


class UrlSources(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where an address must have stood before it may be fetched. `messages`: in a message to the agent. `tools`: in a result
    of one of these tools."""

    messages: bool = True
    tools: tuple[str, ...] = ()


class FetchPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of `web_fetch`. `max_content_tokens`: of a page's text for one call, about. `sources`: only addresses that the
    conversation has shown there; None for any address."""

    domains: Domains = Domains()
    max_content_tokens: int | None = None
    sources: UrlSources | None = None

    def __post_init__(self) -> None:
        if self.max_content_tokens is not None and self.max_content_tokens < 1:
            raise ConfigurationError(f"max_content_tokens={self.max_content_tokens} must be at least 1")


class UserLocation(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where the person is, about. `country`: two letters of ISO 3166-1; `timezone`: a name of IANA's."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.country is not None and not re.fullmatch(r"[A-Za-z]{2}", self.country):
            raise ConfigurationError(f"country={_cut(self.country)} is no two-letter code, such as US")
        for name in ("city", "region", "timezone"):
            value = getattr(self, name)
            if value is not None and (not value.strip() or len(value) > 255 or not value.isprintable()):
                raise ConfigurationError(f"{name} is no name of a place: it takes 1 to 255 characters on one line")

    @property
    def told(self) -> str:
        """The same as a line of text."""
        place = ", ".join(filter(None, (self.city, self.region, self.country)))
        return " ".join(filter(None, (place, self.timezone and f"(time zone {self.timezone})")))


class SearchPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of `web_search`. `location`: results are to fit somebody there. `results`: how many, when the model does not say."""

    domains: Domains = Domains()
    location: UserLocation | None = None
    results: int | None = None

    def __post_init__(self) -> None:
        if self.results is not None and not 1 <= self.results <= 20:
            raise ConfigurationError(f"results={self.results} must be from 1 to 20")


class WebPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    fetch: FetchPolicy = FetchPolicy()
    search: SearchPolicy = SearchPolicy()


def both(one: WebPolicy, other: WebPolicy) -> WebPolicy:
    """What either of the two allows the other one allows as well."""
    fetch = FetchPolicy(
        _both(one.fetch.domains, other.fetch.domains),
        min((n for n in (one.fetch.max_content_tokens, other.fetch.max_content_tokens) if n is not None), default=None),
        _common(one.fetch.sources, other.fetch.sources),
    )
    search = SearchPolicy(
        _both(one.search.domains, other.search.domains),
        one.search.location or other.search.location,
        one.search.results or other.search.results,
    )
    return WebPolicy(fetch, search)


def below(child: WebPolicy | None, parent: WebPolicy | None) -> WebPolicy | None:
    """What an agent may look at that works for another one.

    Where the parent may fetch only what it was shown, the child may fetch only what its own searches and pages show: the
    prompt it is given is no person's.
    """
    if parent is None:
        return child
    made = parent if child is None else both(child, parent)
    if parent.fetch.sources is None or made.fetch.sources is None:
        return made
    own = UrlSources(False, tuple(name for name in made.fetch.sources.tools if name in ("web_fetch", "web_search")))
    return msgspec.structs.replace(made, fetch=msgspec.structs.replace(made.fetch, sources=own))


def _common(one: UrlSources | None, other: UrlSources | None) -> UrlSources | None:
    if one is None or other is None:
        return one or other
    return UrlSources(one.messages and other.messages, tuple(name for name in one.tools if name in other.tools))


def _both(one: Domains, other: Domains) -> Domains:
    blocked = tuple(dict.fromkeys((*one.blocked, *other.blocked)))
    if one.allowed is None or other.allowed is None:
        return Domains(other.allowed if one.allowed is None else one.allowed, blocked)
    met = [_meet(domain(a), domain(b)) for a in one.allowed for b in other.allowed]
    return Domains(tuple(dict.fromkeys(str(found) for found in met if found is not None)), blocked)


def _meet(one: Domain, other: Domain) -> Domain | None:
    """What is within both."""
    inner, outer = (one, other) if len(one.host) >= len(other.host) else (other, one)
    path = max(one.path, other.path, key=len)
    if not Domain(outer.host).covers(inner.host) or not all(
        Domain(inner.host, d.path).covers(inner.host, path or "/") for d in (one, other)
    ):
        return None
    return Domain(inner.host, path)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_TOLD
    return ", ".join(names[:MOST_TOLD]) + (f" and {more} more" if more > 0 else "") if names else "(none)"


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
