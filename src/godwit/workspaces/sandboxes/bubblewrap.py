"""Bubblewrap: a view of the file system, processes and network of the command's own, made by the program `bwrap`.

Owns the argument list that says what an enclosure says. Rules: bwrap itself is not confined, so nothing that a command
could have written may reach it, as a variable, a program or a link on the way to where something is mounted. The system is
mounted read-only and whole, then what may be written or read again and what is hidden, outer places before inner ones. A
folder between a writable one and a hidden one is mounted on itself, so that it cannot be renamed to let the hidden one go
under another name. `/proc` is read-only: to root, also one without rights, the settings of the kernel are files. No
`--new-session`: the command is in a session without a terminal as it is, and must be found by it from outside.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from ...contracts import Access, Confinement, Enclosure
from ...core.errors import ToolFailed
from ...core.hosts import Hosts
from ...core.sandbox import PROMISES, Promise, SandboxPolicy
from ..egress.outlet import Outlet
from ..egress.reach import Resolve
from .enclosure import access_of, parts, within
from .landlock import scope
from .limits import limited
from .probe import LimitedProbe, Probe, run
from .programs import find

_NAMESPACES = ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try")
_TEMPORARY = ("/tmp", "/var/tmp")
# Of what a hidden /run holds, these are links that programs are found through on NixOS.
_RUN_LINKS = ("/run/current-system", "/run/opengl-driver")
_VERSION = re.compile(r"(\d+)\.(\d+)\.?(\d+)?")


class Bubblewrap:
    """Implements `godwit.contracts.Sandbox`. `program`: the bwrap to use; None looks for it on the PATH. `resolve`: looks
    the names up that a policy allows, in place of the system."""

    name = "bubblewrap"

    def __init__(self, program: str | None = None, *, resolve: Resolve | None = None) -> None:
        self._named = program
        self._resolve = resolve
        self._probe = Probe(self)
        self._limited_probe = LimitedProbe(self)
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._made: dict[str, set[str]] = {}

    @cached_property
    def program(self) -> str | None:
        return self._named or find("bwrap")

    @cached_property
    def version(self) -> tuple[int, ...]:
        found = _VERSION.search(run([self.program, "--version"]) or "") if self.program else None
        return tuple(int(part or 0) for part in found.groups()) if found else ()

    def problem(self) -> str | None:
        if sys.platform != "linux":
            return "bubblewrap is a program for Linux"
        if self.program is None:
            return "there is no bwrap on the PATH: install bubblewrap (Debian, Ubuntu: apt install bubblewrap)"
        return self._probe.problem()

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        problem = self.problem()
        return self._gaps(policy) if problem is None else dict.fromkeys(PROMISES, problem)

    def _gaps(self, policy: SandboxPolicy) -> dict[Promise, str]:
        found = left_open(policy, root=os.getuid() == 0, filters=self._filters())
        if (
            policy.allowed_hosts
            and "network_limited" not in found
            and (problem := self._limited_probe.problem()) is not None
        ):
            found["network_limited"] = problem
        return found

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        assert self.program is not None
        filters = self._filters()
        if policy.allowed_hosts and "network_limited" in left_open(policy, root=False, filters=filters):
            raise ToolFailed("here bubblewrap cannot hold a command to the hosts of a list, so it is not run")
        access = dict(enclosure.access)
        own_tmp = [path for path in _TEMPORARY if access.get(path) == "hidden" and not _lies_in(path, enclosure)]
        kept = [path for path in enclosure.kept if not os.path.lexists(path)]
        words = [*_NAMESPACES, "--die-with-parent", "--cap-drop", "ALL"]
        if self.version >= (0, 8):
            words.append("--disable-userns")
        if not policy.network:
            words.append("--unshare-net")
        own_root = _links_at_the_root(policy)
        words += [*(_root() if own_root else ("--ro-bind", "/", "/")), "--dev", "/dev", "--proc", "/proc"]
        words += ["--remount-ro", "/proc"]
        for path in own_tmp:
            words += ["--bind", enclosure.temporary, path]
        words += self._mounts(enclosure, access, own_tmp, policy)
        for path in kept:
            place = path.rstrip("/")
            words += ["--tmpfs", place, "--remount-ro", place] if path.endswith("/") else ["--ro-bind", "/dev/null", place]
        for name, folder in own_root:
            words += ["--symlink", os.path.join(enclosure.root, folder), name]
        if own_root:
            words += ["--remount-ro", "/"]
        words += ["--chdir", enclosure.root]
        variables = {**environment, "TMPDIR": own_tmp[0] if own_tmp else enclosure.temporary}
        outlet = Outlet(Hosts(policy.allowed_hosts, policy.denied_hosts), self._resolve) if policy.allowed_hosts else None
        if outlet is not None:
            variables |= outlet.variables()
        inner, variables = limited(argv, variables, policy, keep=True)
        if outlet is not None:
            inner = outlet.before(inner)
        for name, value in variables.items():
            words += ["--setenv", name, value]
        status, options = _Status(), _Options(words)
        described = ("--json-status-fd", str(status.writer), "--args", str(options.descriptor))

        def setup() -> None:
            self._keep(enclosure.root, kept)
            if filters:
                from . import kernel

                kernel.no_new_privileges()
                if policy.network:  # abstract sockets are the network's, such as those of X servers
                    scope()
                kernel.filter_sockets(network=policy.network, unix=policy.unix_sockets)
            if outlet is not None:
                outlet.open()

        def done() -> None:
            options.close()
            if outlet is not None:
                outlet.close()
            self._let_go(enclosure.root)

        return Confinement(
            argv=(self.program, *described, "--", *inner),
            environment={},
            promises=frozenset(PROMISES.keys() - left_open(policy, root=os.getuid() == 0, filters=filters).keys()),
            setup=setup,
            keeper=True,
            leaves=False,
            done=done,
            descriptors=(status.writer, options.descriptor, *(() if outlet is None else (outlet.descriptor,))),
            begun=status.begun,
            complaint=b"bwrap: ",
            told=None if outlet is None else outlet.told,
        )

    def _mounts(
        self, enclosure: Enclosure, access: Mapping[str, Access], own_tmp: list[str], policy: SandboxPolicy
    ) -> Iterator[str]:
        # What lies in a hidden place and is itself neither read nor written needs nothing: it is not there.
        places = {path: what for path, what in access.items() if path != "/" and path not in own_tmp}
        places.pop("/dev/shm", None)  # of our own, with /dev
        if own_tmp:
            places.pop(enclosure.temporary, None)
        if policy.network:
            # It often leads into /run.
            resolver = os.path.realpath("/etc/resolv.conf")
            if os.path.isfile(resolver) and access_of(resolver, access) == "hidden":
                places[resolver] = "read"
        for path, what in list(places.items()):
            if what != "write":
                for between in _between(path, access):
                    places.setdefault(between, "write")
        masks = []
        for path in sorted(places, key=lambda path: (len(parts(path)), path)):
            what = places[path]
            if what == "write":
                yield from ("--bind", path, path)
            elif what == "read":
                yield from ("--ro-bind", path, path)
            elif os.path.isdir(path):
                yield from ("--tmpfs", path)
                if path not in _TEMPORARY:
                    masks.append(path)
            else:
                yield from ("--ro-bind", "/dev/null", path)
        if places.get("/run") == "hidden":
            for link in _RUN_LINKS:
                if os.path.islink(link):
                    yield from ("--symlink", os.readlink(link), link)
        for place, folder in policy.links:
            # A link, which the command itself follows and not bwrap: it leads to no more than the command may see.
            if os.path.dirname(place) in masks and place not in places and not within(enclosure.root, place):
                yield from ("--symlink", os.path.join(enclosure.root, folder), place)
        for mask in masks:
            yield from ("--remount-ro", mask)

    def _filters(self) -> bool:
        """Whether a filter can be set before bwrap: not when bwrap has to become root, which the filter's price forbids."""
        from . import kernel

        assert self.program is not None
        becomes_root = os.geteuid() != 0 and bool(os.stat(self.program).st_mode & stat.S_ISUID)
        return kernel.has_filter() and not becomes_root

    def _keep(self, root: str, places: list[str]) -> None:
        with self._lock:
            self._running[root] += 1
            self._made.setdefault(root, set()).update(places)

    def _let_go(self, root: str) -> None:
        """Remove the empty files and folders that were made to be mounted on, once no command of ours runs over them."""
        with self._lock:
            self._running[root] -= 1
            if self._running[root] > 0:
                return
            del self._running[root]
            for path in self._made.pop(root, ()):
                with suppress(OSError):
                    if path.endswith("/"):
                        os.rmdir(path)
                    elif os.lstat(path).st_size == 0:
                        os.unlink(path)


def left_open(policy: SandboxPolicy, *, root: bool, filters: bool) -> dict[Promise, str]:
    """What bubblewrap does not keep where it works, and why. `root`: we are. `filters`: system calls can be filtered."""
    found: dict[Promise, str] = {}
    both: tuple[Promise, ...] = ("network_off", "network_limited")
    if policy.network or policy.unix_sockets:
        found |= dict.fromkeys(both, f"the policy allows {'the network' if policy.network else 'unix sockets'}")
    elif not filters:
        found |= dict.fromkeys(both, "unix sockets, and those that no network namespace holds in, cannot be refused here")
    elif policy.allowed_hosts:
        found["network_off"] = "the policy allows some hosts"
    if policy.processes is not None and root:
        found["limits_enforced"] = "the kernel does not count the processes of root: run as another user"
    return found


def _lies_in(folder: str, enclosure: Enclosure) -> bool:
    """Whether something that is mounted lies in the folder, so that it cannot be the command's own from one command to the
    next: what lies on the way there could be made a link, which bwrap would follow while it still sees everything."""
    places = (path for path, what in enclosure.access if what != "hidden" and path != enclosure.temporary)
    return any(path != folder and within(path, folder) for path in places)


class _Options:
    """A file without a name that holds options: arguments of a process can be read by everybody, and variables in the
    environment would be bwrap's own as well, which is not confined."""

    def __init__(self, words: Sequence[str]) -> None:
        self.descriptor = os.memfd_create("godwit")
        try:
            left = memoryview(b"".join(os.fsencode(word) + b"\0" for word in words))
            while left:
                left = left[os.write(self.descriptor, left) :]
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


class _Status:
    """What bwrap tells of its work: the command's exit code, if it came to run it."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def begun(self) -> bool:
        """Ask once, when bwrap has ended."""
        os.set_blocking(self._reader, False)
        try:
            return b"exit-code" in os.read(self._reader, 4096)
        except BlockingIOError:
            return False
        finally:
            self.close()

    def close(self) -> None:
        for descriptor in (self._reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self.writer = -1

    __del__ = close


def _links_at_the_root(policy: SandboxPolicy) -> list[tuple[str, str]]:
    """Those links that lie in / itself, but for names that this machine has already: what is there stays."""
    return [
        (place, folder) for place, folder in policy.links if os.path.dirname(place) == "/" and not os.path.lexists(place)
    ]


def _root() -> Iterator[str]:
    """What / holds, in a / of the command's own, into which a link can be put. It stays writable until it is remounted."""
    for name in sorted(os.listdir("/")):
        path = f"/{name}"
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif path not in ("/dev", "/proc"):
            yield from ("--ro-bind-try", path, path)


def _between(path: str, access: Mapping[str, Access]) -> Iterator[str]:
    """The folders around the path up to the writable one that it lies in, if it does."""
    folder = os.path.dirname(path)
    found = []
    while folder not in access and folder != "/":
        found.append(folder)
        folder = os.path.dirname(folder)
    if access.get(folder) == "write":
        yield from found
