"""LocalWorkspace: a folder of this machine. File access is confined to it, commands by the sandbox of its policy.

File operations cannot leave the folder, see `confined`, nor do what the policy keeps from commands within it. Without a
policy a command is an ordinary process of this user and sees a copy of our environment without credentials. File work runs
in threads, also the small one: a network drive that hangs must stop one session and not all of them, and a hop costs some
50 microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..contracts import CancelToken, Confinement, Execution, FileInfo, Sandbox
from ..core.errors import ConfigurationError, ToolFailed
from ..core.sandbox import SandboxPolicy
from ..threads import to_its_end
from . import command as commands
from .confined import Confined
from .environment import variables
from .sandboxes.enclosure import Guard, enclose
from .search import Search, Stop, ripgrep
from .temporary import TemporaryFolder

_TRIES = 4
"""How often a command is begun whose sandbox cannot be made."""


class LocalWorkspace:
    """The folder `root`, which must exist. ConfigurationError when it is none.

    `environment`: variables for commands, on top of ours. Variables of ours whose names look like credentials (`*_API_KEY`,
    `*_KEY`, `*_TOKEN`, `*_SECRET*`, `*PASSWORD*`, `*_CREDENTIALS`, `*_ACCESS_KEY*` and their kin) reach commands only when
    they are given here by name. `sandbox`: how commands are confined, None not at all. `hidden`: paths of ours that neither
    they nor the file tools may touch, such as the database (a folder that does not exist yet ends in `/`). `backend`: the
    sandbox to use, instead of the one that the policy chooses. `temporary`: the folder for TMPDIR; None makes one, which
    `close` removes. `use_ripgrep`: False searches without it. `prepare`: awaited before each command for variables beside
    those it gets anyway; None when it was cancelled meanwhile. It is given the PATH that the command would have.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
        *,
        sandbox: SandboxPolicy | None = None,
        hidden: Sequence[str] = (),
        backend: Sandbox | None = None,
        temporary: TemporaryFolder | None = None,
        use_ripgrep: bool = True,
        prepare: Callable[[str, CancelToken | None], Awaitable[Mapping[str, str] | None]] | None = None,
    ) -> None:
        given = os.path.abspath(os.fspath(root))
        real = os.path.realpath(given)
        if not os.path.isdir(real):
            raise ConfigurationError(f"the workspace {given!r} is not a folder: make it first", workspace=given)
        self._root = real
        self._environment = dict(environment or {})
        self._policy = sandbox
        self._hidden = tuple(hidden)
        self._backend = backend
        self._temporary = temporary or TemporaryFolder()
        self._own_temporary = temporary is None
        self._prepare = prepare
        self._guard: Guard | None = None
        self._files = Confined(real, given, None if sandbox is None else self._refusal, self.links)
        self._search = Search(self._files, ripgrep() if use_ripgrep else None)

    def _guarded(self, policy: SandboxPolicy) -> Guard:
        """Made for the first file or command, on the thread of that: it looks at some two hundred paths, and most runs need
        neither. Not later, or what a command has made would count as what was there before it."""
        if self._guard is None:
            self._guard = Guard(self._root, policy, self._hidden)
        return self._guard

    def _refusal(self, path: Sequence[str], writing: bool) -> str | None:
        assert self._policy is not None
        return self._guarded(self._policy).refusal(path, writing)

    async def close(self) -> None:
        """Remove the temporary folder, if it is the workspace's own. Safe to repeat."""
        if self._own_temporary:
            await to_its_end(self._temporary.close)

    @property
    def root(self) -> str:
        """The real, absolute path of the folder."""
        return self._root

    @property
    def links(self) -> Sequence[tuple[str, str]]:
        """See `HasLinks`."""
        return () if self._policy is None else self._policy.links

    async def read(self, path: str) -> bytes:
        return await to_its_end(lambda: self._files.read(path))

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        await to_its_end(lambda: self._files.write(path, content, create_only=create_only))

    async def delete(self, path: str) -> None:
        """A file, a link (not its target) or an empty folder. ToolFailed when there is nothing or the folder is not
        empty."""
        await to_its_end(lambda: self._files.delete(path))

    async def info(self, path: str) -> FileInfo | None:
        """What the path leads to, links followed; None when that is nothing."""
        return await to_its_end(lambda: self._files.info(path))

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        """A folder's entries by name, links as links."""
        return await to_its_end(lambda: self._files.listdir(path))

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        """Regular files; the pattern is matched against the path below `path`."""
        stop = Stop()
        return await to_its_end(lambda: self._search.glob(pattern, path, limit, stop), stop.stop)

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        """The first matching lines by path and number, without their ends; longer ones are cut at 10,000 characters.

        `path`: a folder or a file. `glob`: only files whose path below `path` matches; without `/` it is matched against the
        name. The expression is ripgrep's; one it does not know (look-around, back references) is tried as Python's.
        """
        stop = Stop()
        return await to_its_end(lambda: self._search.grep(pattern, path, glob, ignore_case, limit, stop), stop.stop)

    async def execute(
        self,
        command: str,
        *,
        output: Callable[[bytes], None],
        timeout_s: float | None = None,
        grace_s: float = 2.0,
        cancel: CancelToken | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Execution:
        """Run it with bash (else sh), its input empty. What it leaves in the background: see `command`.

        ToolFailed: it cannot be started, or not be confined as the policy demands.
        """
        if cancel is not None and cancel.cancelled:
            return Execution(None, cancelled=True)
        given = {**self._environment, **(environment or {})}
        if self._prepare is not None:
            path = variables(self._policy, given, self._root).get("PATH", os.defpath)
            prepared = await self._prepare(path, cancel)
            if prepared is None:
                return Execution(None, cancelled=True)
            given |= prepared
        for tries_left in reversed(range(_TRIES)):
            confinement = await to_its_end(lambda: self._confine(command, given))
            try:
                ended = await commands.execute(
                    confinement, folder=self._root, output=output, timeout_s=timeout_s, grace_s=grace_s, cancel=cancel
                )
            except commands.NotBegun as why:
                # A file that is to be hidden may vanish while the sandbox is made.
                if not tries_left:
                    raise ToolFailed(f"the command could not be confined, so it was not run: {why}") from why
                continue
            if confinement.told is not None and (told := confinement.told()):
                output(told.encode())
            return ended
        raise AssertionError("unreachable")

    def _confine(self, command: str, given: Mapping[str, str]) -> Confinement:
        argv = (commands.shell(), "-c", command)
        environment = variables(self._policy, given, self._root)
        if self._policy is None:
            return Confinement(argv, environment)
        self._guarded(self._policy)
        from .sandboxes.choice import choose, warn

        try:
            enclosure = enclose(self._root, self._temporary.path(), self._policy, self._hidden)
        except OSError as error:
            raise ToolFailed(f"there can be no temporary folder for commands: {error}") from error
        try:
            backend = self._backend or choose(self._policy, enclosure)
        except ConfigurationError as error:
            raise ToolFailed(error.message, **error.details) from error
        warn(backend, self._policy, enclosure)
        return backend.confine(argv, enclosure=enclosure, environment=environment, policy=self._policy)
