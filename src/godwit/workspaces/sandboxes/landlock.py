"""Landlock: confinement by the kernel alone, without a program, a namespace or any right.

A thread takes a Landlock domain on and starts the command, which inherits it; nobody can take it off again. Owns which
rules say what an enclosure says, and what the kernel's version of Landlock (its ABI) leaves open. Rules: Landlock grants and
never takes back, and what is granted for a folder holds for all below it. So a hidden place is kept out by granting
everything beside the way to it, and what lies within a writable folder can be neither hidden nor kept from writes.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache, cached_property

from ...contracts import Access, Confinement, Enclosure
from ...core.errors import ToolFailed
from ...core.sandbox import PROMISES, Promise, SandboxPolicy
from .enclosure import parts, within
from .limits import limited
from .probe import Probe

# Rights on files, by the ABI that brought them.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE = sum(1 << bit for bit in range(4, 13))  # remove and make entries of every kind
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _MAKE | _REFER | _TRUNCATE | _IOCTL_DEV
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets, signals
_LEAST_ABI = 1
TESTED_ABI = 7
"""The newest that the tests were run with; what later ones rule is not used."""
_PATH_BENEATH = 1
_SOCKETS = "Landlock does not rule UDP and socket files"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Landlock:
    """Implements `godwit.contracts.Sandbox`. `abi`: use no more than this version has, for tests."""

    name = "landlock"

    def __init__(self, abi: int | None = None) -> None:
        self._limit = abi
        self._probe = Probe(self)

    @cached_property
    def abi(self) -> int:
        """The version of Landlock in use; 0 when there is none."""
        return min(kernel_abi(), TESTED_ABI if self._limit is None else self._limit)

    def problem(self) -> str | None:
        if sys.platform != "linux":
            return "Landlock is a part of Linux"
        if self.abi < _LEAST_ABI:
            return "this kernel has no Landlock: it needs Linux 5.13 or newer with lsm=landlock among its boot options"
        return self._probe.problem()

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        problem = self.problem()
        return left_open(policy, self.abi, enclosure) if problem is None else dict.fromkeys(PROMISES, problem)

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        if policy.allowed_hosts:
            raise ToolFailed(f"{self.name} cannot hold a command to the hosts of a list, so it is not run")
        grants = list(self._grants(enclosure))
        abi, network = self.abi, policy.network

        def setup() -> None:
            from . import kernel

            kernel.no_new_privileges()
            if os.geteuid() == 0:
                kernel.drop_capabilities()
            ruleset = _ruleset(abi, network)
            try:
                for path, rights in grants:
                    _grant(ruleset, path, rights)
                kernel.call(kernel.LANDLOCK_RESTRICT, ruleset, 0)
            finally:
                os.close(ruleset)

        inner, variables = limited(argv, {**environment, "TMPDIR": enclosure.temporary}, policy)
        return Confinement(
            argv=inner,
            environment=variables,
            promises=frozenset(PROMISES.keys() - left_open(policy, self.abi, enclosure).keys()),
            setup=setup,
            leaves=False,
        )

    def _grants(self, enclosure: Enclosure) -> Iterator[tuple[str, int]]:
        known = _handled(self.abi)
        for device in _DEVICES:
            yield device, (_READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & known
        access = {**dict(enclosure.access), "/dev": "hidden"}
        for path, what in _places("/", "read", access, _around(access)):
            yield path, (_WRITE if what == "write" else _READ) & known


@cache
def kernel_abi() -> int:
    """The version of Landlock that this kernel has; 0 when there is none."""
    if sys.platform != "linux":
        return 0
    from . import kernel

    try:
        return kernel.call(kernel.LANDLOCK_CREATE, None, 0, 1)
    except OSError:
        return 0


def scope() -> None:
    """Close abstract sockets and processes outside to the calling thread and what it starts, where the kernel can. It may
    mount all the same, which it could not once it is under rules for files. Call `no_new_privileges` first."""
    from . import kernel

    if kernel_abi() >= 6:
        attributes = struct.pack("=3Q", 0, 0, _SCOPES)
        ruleset = kernel.call(kernel.LANDLOCK_CREATE, attributes, len(attributes), 0)
        try:
            kernel.call(kernel.LANDLOCK_RESTRICT, ruleset, 0)
        finally:
            os.close(ruleset)


def left_open(policy: SandboxPolicy, abi: int, enclosure: Enclosure | None = None) -> dict[Promise, str]:
    """What Landlock of this ABI does not keep, and why."""
    found: dict[Promise, str] = {
        "attributes_confined": "Landlock does not rule modes, owners and times of files",
        "settings_kept": "they lie within the workspace, which may be written",
        "network_off": (sockets := _SOCKETS if abi >= 4 else "Landlock rules TCP from ABI 4 on"),
        "network_limited": sockets,
        "processes_isolated": "other processes can be seen" + (", though not signalled" if abi >= 6 else ""),
        "no_survivors": "a process that makes itself a session of its own is not found again",
    }
    if policy.network:
        found |= dict.fromkeys(("network_off", "network_limited"), "the policy allows the network")
    if abi < 3:
        found["writes_confined"] = "files outside can be cut short: Landlock rules that from ABI 3 on"
    if policy.processes is not None:
        found["limits_enforced"] = "the kernel counts all processes of the user, not those of the command"
    if enclosure is not None:
        writable = [path for path, what in enclosure.access if what == "write"]
        hidden = [path for path, what in enclosure.access if what == "hidden"]
        inside = [path for path in hidden if any(within(path, folder) for folder in writable)]
        if inside:
            found["secrets_hidden"] = f"{inside[0]} lies within a folder that may be written"
    return found


def _places(path: str, what: Access, access: Mapping[str, Access], around: Container[str]) -> Iterator[tuple[str, Access]]:
    """The fewest paths that grant what may be read and written from `path` down, and nothing that is hidden. `around`: the
    folders that some place of `access` lies in."""
    if path not in around:
        if what != "hidden":
            yield path, what
        return
    below = [(other, its) for other, its in access.items() if other != path and within(other, path)]
    if what == "write":  # see the rule at the top
        yield path, what
        return
    if what == "read" and not any(its == "hidden" for _, its in below):
        yield path, what
        yield from ((other, its) for other, its in below if its == "write")
        return
    children: dict[str, Access] = {}
    if what == "read":
        try:
            with os.scandir(path) as entries:
                # A link is no place: what it leads to has its own.
                children = {entry.path: what for entry in entries if not entry.is_symlink()}
        except OSError:
            pass
    for other, _ in below:
        children.setdefault(os.path.join(path, parts(os.path.relpath(other, path))[0]), what)
    for child, its in children.items():
        yield from _places(child, access.get(child, its), access, around)


def _around(access: Mapping[str, Access]) -> frozenset[str]:
    found = set()
    for path in access:
        while path != "/":
            path = os.path.dirname(path)
            found.add(path)
    return frozenset(found)


def _handled(abi: int) -> int:
    rights = _READ | _WRITE_FILE | _MAKE
    for least, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if abi >= least:
            rights |= right
    return rights


def _ruleset(abi: int, network: bool) -> int:
    """A new set of rules; what it handles is denied unless a rule grants it."""
    from . import kernel

    fields = [_handled(abi)]
    if abi >= 4:
        fields.append(0 if network else _TCP)
    if abi >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return kernel.call(kernel.LANDLOCK_CREATE, attributes, len(attributes), 0)


def _grant(ruleset: int, path: str, rights: int) -> None:
    """Grant the rights on a file, or on a folder and all below. What is gone by now, or out of our reach, needs none."""
    from . import kernel

    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mode = os.fstat(place).st_mode
        if stat.S_ISLNK(mode):
            return
        if not stat.S_ISDIR(mode):
            rights &= _ON_FILES
        kernel.call(kernel.LANDLOCK_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    except OSError as error:
        raise ToolFailed(f"Landlock takes no rule for {path!r}: {error.strerror}", path=path) from error
    finally:
        os.close(place)
