"""AddressGuard: which network addresses a tool may reach for a model that was told where to go by anybody.

Owns the judgement of one host, port and address; leaves out reading URLs (`url.py`) and connecting (`fetch.py`), which must
connect to the very address that was judged. Rules: what is not known to be public is refused; a name is as bad as its worst
address; the services that hand out a machine's credentials are refused whatever else is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Literal

import msgspec

from ..core.errors import ConfigurationError, ToolFailed
from .url import Address, Url

Kind = Literal["private", "loopback", "link-local", "metadata", "multicast", "unspecified", "reserved", "embedded IPv4"]
"""Why an address is not public."""

PORTS = (80, 443)

_ALLOWABLE: frozenset[Kind] = frozenset({"private", "loopback", "link-local"})

# Where clouds hand out credentials. Some of these stand in the middle of public space.
_METADATA: tuple[IPv4Network | IPv6Network, ...] = tuple(
    map(
        ip_network,
        (
            "169.254.169.0/24", "169.254.170.0/24", "169.254.0.23/32", "100.100.100.200/32", "168.63.129.16/32",
            "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32", "fd00:42::42/128", "fe80::a9fe:a9fe/128",
        ),
    )
)  # fmt: skip

# https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 sister, the first match counts. Written down here
# because what the ipaddress module calls global changes between versions of Python.
_V4: tuple[tuple[str, Kind], ...] = (
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "private"),  # carrier-grade NAT; also overlay networks such as Tailscale
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved"),
    ("192.88.99.0/24", "embedded IPv4"),  # the relay of 6to4
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "private"),  # benchmarks; also what some VPN clients hand out
    ("198.51.100.0/24", "reserved"),
    ("203.0.113.0/24", "reserved"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
_V6: tuple[tuple[str, Kind], ...] = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "embedded IPv4"),
    ("::ffff:0:0/96", "embedded IPv4"),
    ("::ffff:0:0:0/96", "embedded IPv4"),
    ("64:ff9b::/96", "embedded IPv4"),
    ("64:ff9b:1::/48", "embedded IPv4"),
    ("2001::/32", "embedded IPv4"),  # Teredo
    ("2002::/16", "embedded IPv4"),  # 6to4
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "reserved"),
    ("3ffe::/16", "reserved"),
    ("3fff::/20", "reserved"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
_V4_NETWORKS = tuple((IPv4Network(network), kind) for network, kind in _V4)
_V6_NETWORKS = tuple((IPv6Network(network), kind) for network, kind in _V6)
_V6_GLOBAL = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


def kind_of(address: Address) -> Kind | None:
    """Why the address is not public, or None when it is."""
    if any(address.version == network.version and address in network for network in _METADATA):
        return "metadata"
    if isinstance(address, IPv4Address):
        kind: Kind | None = next((kind for network, kind in _V4_NETWORKS if address in network), None)
    else:
        kind = next((kind for network, kind in _V6_NETWORKS if address in network), None)
        if kind is None and address not in _V6_GLOBAL:
            kind = "reserved"
        if kind is None and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            kind = "embedded IPv4"
    if kind is None and (not address.is_global or address.is_multicast):
        return "reserved"  # what this Python knows and we do not yet
    return kind


class Place(msgspec.Struct, frozen=True):
    """An entry of `allow_private` or `deny`: a host name, the names under a domain (`*.corp.example`), or a network; and a
    port."""

    name: str | None
    network: IPv4Network | IPv6Network | None
    port: int | None

    def covers(self, url: Url, address: Address) -> bool:
        if self.port is not None and self.port != url.port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        assert self.name is not None
        if self.name.startswith("*."):
            return url.host.endswith(self.name[1:])
        return url.host == self.name


_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/]+)(?::(?P<port>[1-9][0-9]{0,4}))?")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def place(entry: str) -> Place:
    """`"intranet"`, `"*.corp.example"`, `"10.1.0.0/16"`, `"127.0.0.1:8080"`, `"[::1]:8080"`. ConfigurationError."""
    try:
        return Place(None, ip_network(entry), None)
    except ValueError:
        pass
    found = _ENTRY.fullmatch(entry)
    if found is not None:
        host, port = found["host"].lower(), int(found["port"]) if found["port"] else None
        if port is None or port <= 65535:
            try:
                return Place(None, ip_network(ip_address(host.strip("[]"))), port)
            except ValueError:
                # A name that others read as a number would never match what was meant.
                if _NAME.fullmatch(host) and not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]):
                    return Place(host, None, port)
    raise ConfigurationError(
        f"{entry!r} is neither a host name, *.domain, an address nor a network (as in 10.1.0.0/16), the first three with or "
        "without a port",
        entry=entry,
    )


class AddressGuard:
    """`allow_private`: hosts and networks that may be reached although they are not public, see `place`. `allow_ports`:
    ports beside 80 and 443; an entry with a port of its own allows that one as well. `deny`: hosts and networks that are
    never reached, public ones too. `setting`: what the person who may allow more calls the first of them.
    ConfigurationError."""

    def __init__(
        self,
        allow_private: Iterable[str] = (),
        allow_ports: Iterable[int] = (),
        deny: Iterable[str] = (),
        *,
        setting: str = "allow_private",
    ) -> None:
        if isinstance(allow_private, str) or isinstance(deny, str):
            raise ConfigurationError("allow_private and deny are lists of hosts and networks, not a text")
        ports: tuple[Any, ...] = tuple(allow_ports)
        for port in ports:
            if not isinstance(port, int) or not 1 <= port <= 65535:
                raise ConfigurationError(f"{port!r} in allow_ports is no port: it is a number from 1 to 65535", port=port)
        self._allowed = tuple(place(entry) for entry in allow_private)
        self._denied = tuple(place(entry) for entry in deny)
        self._ports = frozenset({*PORTS, *ports})
        self._setting = setting

    def check(self, url: Url, addresses: Sequence[Address]) -> None:
        """Raise ToolFailed unless each of the addresses the URL's host has may be reached."""
        if not addresses:
            raise ToolFailed(f"{url.host} has no address")
        for address in addresses:
            self._check(url, address)

    def is_allowed(self, url: Url, address: Address) -> bool:
        """Whether an entry of `allow_private` covers it. It may be denied all the same."""
        return any(entry.covers(url, address) for entry in self._allowed)

    def _check(self, url: Url, address: Address) -> None:
        if any(entry.covers(url, address) for entry in self._denied):
            raise ToolFailed(f"{url.host} is not reached from here: it is denied", kind="denied")
        kind = kind_of(address)
        granted = [entry for entry in self._allowed if entry.covers(url, address)]
        if kind is not None and not (granted and kind in _ALLOWABLE):
            # Which address a name has is not told: a model could look around in an internal network by asking for names.
            where = f"{url.host} is" if url.literal is not None else f"{url.host} leads to"
            hint = "" if kind not in _ALLOWABLE else f"; the person who runs this can allow it with {self._setting}"
            raise ToolFailed(f"{where} {_SAID[kind]}, which is not reached from here{hint}", kind=kind)
        if url.port not in self._ports and not any(entry.port == url.port for entry in granted):
            raise ToolFailed(f"port {url.port} is not reached from here, only {_listed(self._ports)}", port=url.port)


_SAID: dict[Kind, str] = {
    "private": "an address of a private network",
    "loopback": "an address of this machine",
    "link-local": "a link-local address",
    "metadata": "a metadata service",
    "multicast": "a multicast address",
    "unspecified": "no address of a host",
    "reserved": "a reserved address",
    "embedded IPv4": "an IPv4 address within another",
}


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ports)))
