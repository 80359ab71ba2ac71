"""Hosts that a client says commands of its sessions may reach, as every dialect reads them.

Rule: an address that is not public is a place of the server's own network, so whoever runs the server says whether clients
may name it (`reach` of `[server]`).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from ...core.addresses import kind_of
from ...core.errors import ConfigurationError, InvalidArgument
from ...core.hosts import both, entry

MOST = 500


def hosts_of(given: Iterable[str], *, reach: Iterable[str] | None, param: str) -> tuple[str, ...]:
    """The entries of a policy that these come to; `https://example.com` is the host at port 443. `reach`: what clients may
    name although it is not public; None asks nobody, for hosts that are not to be reached. InvalidArgument."""
    found = []
    for number, text in enumerate(given):
        where = f"{param}.{number}"
        if number >= MOST:
            raise InvalidArgument(f"{param}: it names more than {MOST} hosts", param=param)
        try:
            one = _plain(text)
            may = is_open(one, reach)
        except ConfigurationError as error:
            raise InvalidArgument(f"{where}: {error.message}", param=where) from None
        if not may:
            raise InvalidArgument(
                f"{where}: {text[:200]!r} is in a network of the server's own; who runs the server can allow it with "
                "reach of [server]",
                param=where,
            )
        found.append(one)
    return tuple(dict.fromkeys(found))


def is_open(text: str, reach: Iterable[str] | None) -> bool:
    """Whether a client may name this entry. ConfigurationError when it is none."""
    place = entry(text)
    if reach is None:
        return True
    network = place.network
    public = network is None or (network.num_addresses == 1 and kind_of(network.network_address) is None)
    return (public and place.name != "localhost") or bool(both((text,), reach))


def _plain(text: str) -> str:
    """Without the scheme that some documents put before a host."""
    if not text.lower().startswith("https://"):
        return text
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ConfigurationError(f"{text[:200]!r} is no host") from None
    if url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc or not url.hostname:
        raise ConfigurationError(f"{text[:200]!r} names more than a host: leave out what follows it")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{port or 443}"
