"""AddressGuard: which network addresses a tool may reach for a model that was told where to go by anybody.

Owns the judgement of one host, port and address by the lists of who runs godwit; leaves out which addresses are public
(`core.addresses`), reading URLs (`url.py`) and connecting (`fetch.py`), which must connect to the very address that was
judged. Rules: what is not known to be public is refused; a name is as bad as its worst
address; the services that hand out a machine's credentials are refused whatever else is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..core.addresses import PORTS, Address, Kind, kind_of, place
from ..core.errors import ConfigurationError, ToolFailed
from .url import Url

_ALLOWABLE: frozenset[Kind] = frozenset({"private", "loopback", "link-local"})


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

    def allow(self, entries: Iterable[str]) -> None:
        """These as well, from now on. ConfigurationError."""
        self._allowed = (*self._allowed, *(place(entry) for entry in entries))

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
