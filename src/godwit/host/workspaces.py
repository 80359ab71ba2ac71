"""LocalWorkspaces: where the sessions of a runtime get their workspaces, folders of this machine.

Owns which sandbox a session gets, what of the host's is hidden from its commands, and the temporary folders, one for each
session, which go when nobody here drives it any more. Leaves out how commands are confined. Rule: what an agent demands of
its sandbox is checked before anything of a session is stored, and again by the process that drives it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from ..contracts import CancelToken, Checkpoints, Store, Workspace
from ..core.errors import InvalidArgument
from ..core.ids import Clock, SessionId
from ..core.sandbox import Promise, SandboxPolicy, combined
from .packages import PackageSets

if TYPE_CHECKING:
    from ..workspaces.temporary import TemporaryFolder


class LocalWorkspaces:
    """Makes workspaces. `sandbox`: the policy of every session in this process, whatever its agent says; None leaves it to
    the agent, with what `standing` adds in a folder. `hidden`: paths that neither commands nor file tools may touch; a
    folder's name ends in `/`. `packages`: where packages are installed, by default in the user's cache."""

    def __init__(
        self,
        sandbox: SandboxPolicy | None = None,
        hidden: Sequence[str] = (),
        standing: Callable[[str | None], SandboxPolicy] = lambda _: SandboxPolicy(),
        packages: str | os.PathLike[str] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._standing = standing
        self._packages = PackageSets(packages, standing)
        # Only its own set is shown to a session again: a command that could write in others would write what those run.
        self._hidden = (*hidden, f"{self._packages.folder}/")
        self._temporary: dict[SessionId, TemporaryFolder] = {}

    def __call__(self, session: SessionId, root: str, environment: Mapping[str, str], sandbox: SandboxPolicy) -> Workspace:
        from ..workspaces.local import LocalWorkspace
        from ..workspaces.temporary import TemporaryFolder

        policy = self._policy(sandbox, root)
        if policy.demands or policy.backend != "auto":
            self._check(policy, root)
        folder = self._temporary.get(session)
        if folder is None:
            folder = self._temporary[session] = TemporaryFolder()
        prepare = None
        if policy.packages:
            prepare = self._prepared(policy)
            if (packages := self._packages.of(policy)) is not None:
                policy = msgspec.structs.replace(policy, readable=(*policy.readable, packages.folder))
        return LocalWorkspace(root, environment, sandbox=policy, hidden=self._hidden, temporary=folder, prepare=prepare)

    def _prepared(self, policy: SandboxPolicy) -> Callable[[str, CancelToken | None], Awaitable[Mapping[str, str] | None]]:
        async def prepare(path: str, cancel: CancelToken | None) -> Mapping[str, str] | None:
            found = await self._packages.ensure(policy, cancel)
            if found is None:
                return None if cancel is not None and cancel.cancelled else {}
            return found.environment(path)

        return prepare

    async def check(self, sandbox: SandboxPolicy, root: str | None = None) -> None:
        """ConfigurationError when the backend it names does not work here, or a promise it requires does not hold: here at
        all, or for commands in `root`; or its packages cannot be had here."""
        policy = await asyncio.to_thread(self._policy, sandbox, root)
        if policy.packages:
            await asyncio.to_thread(self._packages.check, policy)
        if policy.demands or policy.backend != "auto":
            await asyncio.to_thread(self._check, policy, root)

    def _policy(self, own: SandboxPolicy, root: str | None) -> SandboxPolicy:
        if self._sandbox is None:
            return combined(own, self._standing(root))
        # In place of the agent's, but for what would be lost in silence: its packages, and a list of hosts that limits it.
        packages = tuple(dict.fromkeys((*self._sandbox.packages, *own.packages)))
        policy = msgspec.structs.replace(self._sandbox, packages=packages)
        if own.allowed_hosts and not policy.network:
            require: tuple[Promise, ...] = tuple(dict.fromkeys((*policy.require, "network_limited")))
            policy = msgspec.structs.replace(policy, require=require)
        elif own.allowed_hosts:
            lists = {"allowed_hosts": own.allowed_hosts, "denied_hosts": own.denied_hosts}
            policy = msgspec.structs.replace(policy, network=False, unix_sockets=False, **lists)
        return policy

    def _check(self, policy: SandboxPolicy, root: str | None) -> None:
        from ..workspaces.sandboxes.choice import choose
        from ..workspaces.sandboxes.enclosure import enclose

        enclosure = None
        if root is not None and os.path.isdir(root):
            # The folder for TMPDIR is not there yet; it makes no difference to what holds.
            enclosure = enclose(os.path.realpath(root), "/tmp/godwit/session", policy, self._hidden)
        choose(policy, enclosure)

    async def leave(self, session: SessionId) -> None:
        """Nobody here drives the session any more."""
        folder = self._temporary.pop(session, None)
        if folder is not None:
            await asyncio.to_thread(folder.close)

    async def close(self) -> None:
        await self._packages.close()
        for session in list(self._temporary):
            await self.leave(session)


def database_files(file: str | None) -> tuple[str, ...]:
    """All that belongs to a SQLite database: its journals, the locks of the store, the files kept beside it, the key of its
    secrets; nothing for one in memory."""
    if file is None:
        return ()
    path = os.path.abspath(file)
    return (path, *(path + suffix for suffix in ("-wal", "-shm", "-journal", ".d/", ".files/", ".key")))


def existing_folder(workspace: str | os.PathLike[str] | None) -> str | None:
    """The whole path of the folder. InvalidArgument when it is none."""
    if workspace is None:
        return None
    try:
        path = Path(workspace).resolve()
        found = path.is_dir()
    except ValueError:  # a null byte, half of a surrogate pair
        found = False
    if not found:
        raise InvalidArgument(f"workspace {os.fspath(workspace)!r} is not a folder", workspace=os.fspath(workspace))
    return str(path)


def file_checkpoints(store: Store, durability: Literal["memory", "process", "disk"], clock: Clock) -> Checkpoints:
    """Where kept files are by default: beside the store's file, in a temporary folder where it has none."""
    from ..workspaces.checkpoints import FileCheckpoints

    file: str | None = getattr(store, "file", None)
    if file is None:
        return FileCheckpoints(None, durability="memory", clock=clock)
    return FileCheckpoints(f"{file}.files", own=[file], durability=durability, clock=clock)
