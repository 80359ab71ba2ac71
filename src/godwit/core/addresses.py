"""Addresses of networks: which are public and of what kind the others are, and entries of lists that name hosts.

Pure judgement of one address or name; leaves out looking names up and connecting. Rules: what is not known to be public
has a kind; the services that hand out a machine's credentials are a kind of their own, which no entry of a list opens.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, Protocol

import msgspec

from .errors import ConfigurationError

Address = IPv4Address | IPv6Address
Kind = Literal["private", "loopback", "link-local", "metadata", "multicast", "unspecified", "reserved", "embedded IPv4"]
"""Why an address is not public."""

PORTS = (80, 443)
"""What an entry without a port means."""

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


def is_near(own: Address, other: Address) -> bool:
    """Whether the two ends of a connection are one machine, or share the network of an IPv6 link."""
    return own == other or (own.version == other.version == 6 and int(own) >> 64 == int(other) >> 64)


class Destination(Protocol):
    """Where somebody wants to go."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class Place(msgspec.Struct, frozen=True):
    """An entry of `allow_private` or `deny`: a host name, the names under a domain (`*.corp.example`), or a network; and a
    port."""

    name: str | None
    network: IPv4Network | IPv6Network | None
    port: int | None

    def covers(self, wanted: Destination, address: Address) -> bool:
        if self.port is not None and self.port != wanted.port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        assert self.name is not None
        if self.name.startswith("*."):
            return wanted.host.endswith(self.name[1:])
        return wanted.host == self.name


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
