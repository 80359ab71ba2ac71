"""Lists of hosts that commands may reach: which host a list names, which of its addresses may be connected to, and what two
lists allow together.

Pure; the proxy that holds a command to a list is the workspace's (`workspaces.sandboxes`). Rules: an entry without a port
means ports 80 and 443; a name is as bad as its worst address; an address that is not public is reached only when the list
names that address or its network (`localhost` names the loopback), a metadata service never; what is denied is denied,
whatever allows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from .addresses import PORTS, Address, Kind, Place, kind_of, place
from .errors import ConfigurationError

ANY = "*"
"""The entry for every public host."""
MOST_SHOWN = 10

_NAMEABLE: frozenset[Kind] = frozenset({"private", "loopback", "link-local", "reserved"})
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_ANY_PORT = re.compile(r"\*(?::([1-9][0-9]{0,4}))?")


class Target(msgspec.Struct, frozen=True):
    """Where a command wants to go: a name in lower case, or an address without brackets."""

    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The host, when it is an address."""
        try:
            return None if "%" in self.host else ip_address(self.host)
        except ValueError:
            return None

    @property
    def shown(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def target(host: str, port: int) -> Target | None:
    """The one reading of what a client asked for; None when it is no host."""
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host.lower().removesuffix(".")
    found = Target(name, port)
    if not 1 <= port <= 65535 or len(name) > 253 or not (found.address is not None or _HOST.fullmatch(name)):
        return None
    return found


@cache
def entry(text: str) -> Place:
    """An entry of a list: a name, `*.example.com` for the names under one, an address, `*` for every public host, each with
    or without a port; or a network. ConfigurationError."""
    if found := _ANY_PORT.fullmatch(text):
        port = int(found[1]) if found[1] else None
        if port is None or port <= 65535:
            return Place(ANY, None, port)
    try:
        return place(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.message}; * stands for every public host", **error.details) from None


class Hosts:
    """What two lists together let through. `allowed` and `denied`: entries, see `entry`. `setting`: what the first list is
    called where it was written."""

    def __init__(self, allowed: Iterable[str], denied: Iterable[str] = (), *, setting: str = "allowed_hosts") -> None:
        self.texts = tuple(allowed)
        self._allowed = tuple(map(entry, self.texts))
        self._denied = tuple(map(entry, denied))
        self._setting = setting

    def refusal(self, wanted: Target) -> str | None:
        """Why the host is not reached, as far as that is known before its name is looked up; None when it may be."""
        if any(_names(one, wanted) and one.port in (None, wanted.port) for one in self._denied):
            return f"{wanted.host} is in the sandbox's denied_hosts"
        named = [one for one in self._allowed if _names(one, wanted)]
        if not any(_opens(one, wanted.port) for one in named):
            what = f"port {wanted.port} of {wanted.host}" if named else wanted.host
            return f"{what} is not in the sandbox's {self._setting}, which is {self._listed()}"
        return None

    def verdict(self, wanted: Target, addresses: Sequence[Address]) -> str | None:
        """Why the addresses that the host turned out to have may not be connected to; None when all of them may."""
        for address in addresses:
            if any(self._covers(one, wanted, address) for one in self._denied):
                return f"{wanted.host} is in the sandbox's denied_hosts"
            kind = kind_of(address)
            if kind is not None and not (kind in _NAMEABLE and self.is_named(wanted, address)):
                # Which address it is is not told: commands could look around in an internal network by asking for names.
                return (
                    f"{wanted.host} leads to an address that is not public ({kind}), and the sandbox's {self._setting} "
                    "does not name that address"
                )
        return None

    def is_named(self, wanted: Target, address: Address) -> bool:
        """Whether the list names the address itself, or a network that it lies in."""
        if kind_of(address) == "loopback" and any(
            one.name == "localhost" == wanted.host and one.port in (None, wanted.port) for one in self._allowed
        ):
            return True
        return any(self._covers(one, wanted, address) for one in self._allowed)

    def _covers(self, one: Place, wanted: Target, address: Address) -> bool:
        return one.network is not None and one.port in (None, wanted.port) and _holds(one.network, address)

    @property
    def names_loopback(self) -> bool:
        return any(
            one.name == "localhost" if one.network is None else kind_of(one.network.network_address) == "loopback"
            for one in self._allowed
        )

    def _listed(self) -> str:
        shown = ", ".join(self.texts[:MOST_SHOWN])
        more = len(self.texts) - MOST_SHOWN
        return (shown or "empty") + (f" and {more} more" if more > 0 else "")


def _names(one: Place, wanted: Target) -> bool:
    """The host, whatever the port."""
    address = wanted.address
    if one.name == ANY:
        return True
    if one.network is not None:
        return address is not None and _holds(one.network, address)
    assert one.name is not None
    if one.name.startswith("*."):
        return address is None and wanted.host.endswith(one.name[1:])
    return wanted.host == one.name


def _opens(one: Place, port: int) -> bool:
    return port in (PORTS if one.port is None else (one.port,))


def _holds(network: IPv4Network | IPv6Network, address: Address) -> bool:
    return address.version == network.version and address in network


def both(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """What both lists allow, as a list."""
    others = tuple(map(entry, other))
    met = (_meet(a, b) for a in map(entry, one) for b in others)
    return tuple(dict.fromkeys(_text(found) for found in met if found is not None))


def _meet(a: Place, b: Place) -> Place | None:
    """What two entries both name; None when that is nothing, or cannot be said in one entry."""
    port = _port(a.port, b.port)
    if port == 0:
        return None
    for inner, outer in ((a, b), (b, a)):
        if _lies_in(inner, outer):
            return Place(inner.name, inner.network, port)
    return None


def _lies_in(inner: Place, outer: Place) -> bool:
    if outer.name == ANY:
        # Of addresses only one that is public by itself: the star opens no other.
        network = inner.network
        return network is None or (network.num_addresses == 1 and kind_of(network.network_address) is None)
    if inner.network is not None and outer.network is not None:
        same = inner.network.version == outer.network.version
        return same and ip_network(inner.network).subnet_of(outer.network)  # type: ignore[arg-type]
    if inner.name is None or outer.name is None:
        return False
    if outer.name.startswith("*."):
        return inner.name == outer.name or inner.name.endswith(outer.name[1:])
    return inner.name == outer.name


def _port(a: int | None, b: int | None) -> int | None:
    """The port of both; 0 when there is none."""
    if a == b:
        return a
    if a is None or b is None:
        said = a if b is None else b
        return said if said in PORTS else 0
    return 0


def _text(one: Place) -> str:
    if one.network is None:
        assert one.name is not None
        host = one.name
    elif one.network.num_addresses > 1:
        return str(one.network)
    else:
        host = str(one.network.network_address)
        if one.port is not None and ":" in host:
            host = f"[{host}]"
    return host if one.port is None else f"{host}:{one.port}"
