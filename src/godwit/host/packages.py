"""Packages: installed once for each set of them, in a folder of their own that sessions only read.

A set's folder is named by what is in it and by the machine, so that sessions of all agents share it. Owns installing, and
the variables by which commands find what was installed; leaves out which packages may be named (`core.packages`). Rules: a
package runs code of strangers when it is installed, so that is done in a sandbox that can write in the set's folder alone
and reach the registries of its managers alone; a set is whole when its mark is there, which lies outside of what that code
can write, and what a killed process left without one is begun anew; of several processes one installs, the others wait.
Nothing is installed with rights that the host's user lacks: system packages (apt) must be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..contracts import CancelToken
from ..core.errors import ConfigurationError, ToolFailed
from ..core.packages import Manager, by_manager, registries
from ..core.sandbox import SandboxPolicy, combined

if TYPE_CHECKING:
    from ..workspaces.local import LocalWorkspace

INSTALL_S = 1800.0
RETRY_S = 60.0
"""A set that could not be installed is not tried again before."""
SAID_BYTES = 3000
_LOOK_S = 0.2
_VERSION = 1
"""Grows when sets of before would not be found right any more."""

_PROGRAMS: Mapping[Manager, str] = {"cargo": "cargo", "gem": "gem", "go": "go", "npm": "npm", "pip": "python3"}

# Each is run in the set's folder, in which `scratch` is removed afterwards.
_COMMANDS: Mapping[Manager, Callable[[tuple[str, ...]], str]] = {
    "cargo": lambda specs: f"cargo install --quiet --root cargo {shlex.join(specs)}",
    "gem": lambda specs: f"gem install --no-document --no-user-install --install-dir gem {shlex.join(specs)}",
    "go": lambda specs: " && ".join(f"go install {shlex.quote(one if '@' in one else f'{one}@latest')}" for one in specs),
    "npm": lambda specs: f"npm install --global --prefix npm --no-audit --no-fund --no-update-notifier {shlex.join(specs)}",
    # The machine's own pip does it where there is one: it is seen from within, and putting another there takes seconds.
    "pip": lambda specs: (
        "python3 -m venv --without-pip --system-site-packages pip && "
        "{ pip/bin/python -c 'import pip' 2>/dev/null || pip/bin/python -m ensurepip; } && "
        "pip/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input "
        f"{shlex.join(specs)}"
    ),
}


class Found(msgspec.Struct, frozen=True):
    """A set that is there. `path`: folders of programs, to go before all others."""

    folder: str
    path: tuple[str, ...]
    variables: dict[str, str]

    def environment(self, path: str) -> dict[str, str]:
        """The variables of a command whose PATH would be this."""
        return {**self.variables, "PATH": os.pathsep.join((*self.path, path))} if self.path else dict(self.variables)


class PackageSets:
    """`folder`: where sets are kept; None: in the user's cache. `standing`: what is added to the policy under which they are
    installed, such as the host of a mirror."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        standing: Callable[[str | None], SandboxPolicy] = lambda _: SandboxPolicy(),
    ) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.folder = Path(os.path.abspath(folder or os.path.join(cache, "godwit", "packages")))
        self._standing = standing
        self._installing: dict[str, asyncio.Task[Found]] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._checked: set[tuple[str, ...]] = set()

    def of(self, policy: SandboxPolicy) -> Found | None:
        """Where the policy's set is, or will be; None when it names nothing that is installed."""
        sets = _installed_by_us(policy)
        return _found(self._place(sets), sets) if sets else None

    def check(self, policy: SandboxPolicy) -> None:
        """ConfigurationError: what this machine lacks to have the packages. Blocking; nothing is installed."""
        wanted = by_manager(policy.packages)
        lacking = _not_there(wanted.get("apt", ()))
        if lacking:
            raise ConfigurationError(
                f"system packages that are not on this machine: {', '.join(lacking)}. godwit installs none of these; who "
                f"runs it can, with apt-get install {shlex.join(lacking)}",
                packages=lacking,
            )
        for manager in _installed_by_us(policy):
            program = _PROGRAMS[manager]
            if shutil.which(program) is None:
                raise ConfigurationError(
                    f"packages of {manager} cannot be installed: there is no {program} on this machine", manager=manager
                )
        if _installed_by_us(policy):
            from ..workspaces.sandboxes.choice import choose

            try:
                choose(self._policy(policy))
            except ConfigurationError as error:
                raise ConfigurationError(f"packages cannot be installed: {error.message}", **error.details) from None

    async def ensure(self, policy: SandboxPolicy, cancel: CancelToken | None = None) -> Found | None:
        """The policy's set, installed if it is not there yet; None when there is nothing to install, or when it was
        cancelled first, which does not disturb others that wait for it. ToolFailed: it cannot be had, and why."""
        if policy.packages not in self._checked:
            try:
                await asyncio.to_thread(self.check, policy)
            except ConfigurationError as error:
                raise ToolFailed(error.message, **error.details) from error
            self._checked.add(policy.packages)
        sets = _installed_by_us(policy)
        if not sets:
            return None
        place = self._place(sets)
        if await asyncio.to_thread(_is_whole, place):
            return _found(place, sets)
        key = place.name
        failed = self._failed.get(key)
        if failed is not None and time.monotonic() - failed[0] < RETRY_S:
            raise ToolFailed(failed[1])
        task = self._installing.get(key)
        if task is None:
            task = self._installing[key] = asyncio.create_task(self._install(place, sets, self._policy(policy)))
            task.add_done_callback(lambda ended: self._ended(key, ended))
        stopped = asyncio.Event()
        take_back = None if cancel is None else cancel.on_cancel(stopped.set)
        stopping = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if take_back is not None:
                take_back()
        return task.result() if task.done() else None

    def _ended(self, key: str, task: asyncio.Task[Found]) -> None:
        self._installing.pop(key, None)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failed[key] = (time.monotonic(), str(getattr(failure, "message", failure)))

    async def close(self) -> None:
        """End what is being installed; it is begun anew when it is needed."""
        tasks = list(self._installing.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _place(self, sets: Mapping[Manager, tuple[str, ...]]) -> Path:
        told = [_VERSION, platform.machine(), list(platform.libc_ver()), {name: list(specs) for name, specs in sets.items()}]
        for manager in sets:
            program = shutil.which(_PROGRAMS[manager])
            told.append(program and os.path.realpath(program))
        return self.folder / hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def _policy(self, policy: SandboxPolicy) -> SandboxPolicy:
        """For installing: the registries, and nothing that the session itself may do beside."""
        hosts = registries(_installed_by_us(policy))
        own = SandboxPolicy(
            backend=policy.backend,
            allowed_hosts=hosts,
            hidden=policy.hidden,
            require=("writes_confined", "secrets_hidden"),
        )
        return msgspec.structs.replace(combined(own, self._standing(None)), packages=(), links=(), writable=())

    async def _install(self, place: Path, sets: Mapping[Manager, tuple[str, ...]], policy: SandboxPolicy) -> Found:
        from ..workspaces.local import LocalWorkspace

        async with _alone(place):
            if await asyncio.to_thread(_is_whole, place):
                return _found(place, sets)
            await asyncio.to_thread(_begin, place)
            root = place / "set"
            scratch = str(root / "scratch")
            workspace = LocalWorkspace(root, _variables_for_installing(scratch), sandbox=policy)
            try:
                for manager, specs in sets.items():
                    await _run(workspace, manager, specs)
            finally:
                await workspace.close()
            await asyncio.to_thread(_finish, place)
        return _found(place, sets)


async def _run(workspace: LocalWorkspace, manager: Manager, specs: tuple[str, ...]) -> None:
    said = bytearray()

    def take(chunk: bytes) -> None:
        said.extend(chunk)
        del said[: -4 * SAID_BYTES]

    ended = await workspace.execute(_COMMANDS[manager](specs), output=take, timeout_s=INSTALL_S)
    if ended.exit_code != 0:
        how = f"took longer than {INSTALL_S:.0f} s" if ended.timed_out else f"ended with exit code {ended.exit_code}"
        tail = bytes(said[-SAID_BYTES:]).decode(errors="replace").strip()
        raise ToolFailed(
            f"the packages of {manager} ({', '.join(specs)}) could not be installed: it {how}\n{tail}", manager=manager
        )


def _installed_by_us(policy: SandboxPolicy) -> dict[Manager, tuple[str, ...]]:
    return {manager: specs for manager, specs in by_manager(policy.packages).items() if manager != "apt"}


def _not_there(packages: tuple[str, ...]) -> list[str]:
    """Those system packages that are not installed, or in another version (`ffmpeg=7:4.4`)."""
    if not packages:
        return []
    program = shutil.which("dpkg-query")
    if program is None:
        return list(packages)
    lacking = []
    for one in packages:
        name, _, version = one.partition("=")
        asked = [program, "-W", "-f=${db:Status-Status} ${Version}", "--", name]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False).stdout.split()
        if said[:1] != ["installed"] or (version and said[1:] != [version]):
            lacking.append(one)
    return lacking


def _variables_for_installing(scratch: str) -> dict[str, str]:
    return {
        "CARGO_HOME": f"{scratch}/cargo",
        "GEM_SPEC_CACHE": f"{scratch}/gem",
        "GOPATH": f"{scratch}/go",
        "GOCACHE": f"{scratch}/go-build",
        "GOMODCACHE": f"{scratch}/go-mod",
        "GOBIN": f"{os.path.dirname(scratch)}/go/bin",
        "GOFLAGS": "-modcacherw",
        "npm_config_cache": f"{scratch}/npm",
    }


def _found(place: Path, sets: Mapping[Manager, tuple[str, ...]]) -> Found:
    root = str(place / "set")
    variables: dict[str, str] = {}
    if "gem" in sets:
        variables["GEM_PATH"] = f"{root}/gem:"  # the rest are the defaults
    if "npm" in sets:
        variables["NODE_PATH"] = f"{root}/npm/lib/node_modules"
    if "pip" in sets:
        variables["VIRTUAL_ENV"] = f"{root}/pip"
    return Found(root, tuple(f"{root}/{manager}/bin" for manager in reversed(list(sets))), variables)


def _is_whole(place: Path) -> bool:
    return (place / "whole").exists()


def _begin(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    (place / "set" / "scratch").mkdir(parents=True, mode=0o700)


def _finish(place: Path) -> None:
    shutil.rmtree(place / "set" / "scratch", ignore_errors=True)
    (place / "whole").touch()


@contextlib.asynccontextmanager
async def _alone(place: Path) -> AsyncIterator[None]:
    """While no other process works on this place; the lock of one that dies is free."""
    await asyncio.to_thread(lambda: place.parent.mkdir(parents=True, mode=0o700, exist_ok=True))
    descriptor = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)
