"""What confines commands: a sandbox, what it is told of a command, and how a confined one is started.

What a policy may ask for stands in `core.sandbox`. Leaves out starting and ending a command, which is the workspace's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from ..core.sandbox import Promise, SandboxPolicy

Access = Literal["read", "write", "hidden"]


class Enclosure(msgspec.Struct, frozen=True):
    """What a confined command may touch: `access` by path, an outer one before those within it; the innermost counts.

    Paths are real and absolute. `root` is the workspace; `temporary` the command's own temporary folder. `kept`: paths that
    do not exist and must not come into being; one that is to be a folder ends in `/`.
    """

    root: str
    temporary: str
    access: tuple[tuple[str, Access], ...]
    kept: tuple[str, ...] = ()


class Confinement(msgspec.Struct, frozen=True):
    """How one command is started so that it is confined: `argv`, in the enclosure's root, with this environment alone.

    `promises`: what holds for it. `setup` is called in a thread of its own that then starts the process and waits for
    its end: what it does to the thread (credentials, filters), the process inherits. `done`: called there at the end,
    even when it could not be started, and once nothing is left that a keeper kept. `descriptors` stay open in the
    process. `leaves`: processes that the command leaves behind may live on. `keeper`: the process started is not the
    command but keeps it: it passes no signal on, and its end is the end of all. `begun`, of a keeper: asked after its
    end whether the command was begun at all; if it was not, what was printed is the keeper's, begins with `complaint`
    and says why. `told`: asked after its end for what of its doings the one who reads its output should know.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    promises: frozenset[Promise] = frozenset()
    setup: Callable[[], None] | None = None
    keeper: bool = False
    leaves: bool = True
    done: Callable[[], None] | None = None
    descriptors: tuple[int, ...] = ()
    begun: Callable[[], bool] | None = None
    complaint: bytes = b""
    told: Callable[[], str] | None = None


class Sandbox(Protocol):
    """A way to confine commands. It promises only what its tests prove; `godwit.testing` tries to escape.

    Loading a backend changes nothing. Asked for the first time what holds here, it may start a process that does nothing.
    """

    @property
    def name(self) -> str: ...

    def problem(self) -> str | None:
        """Why this backend does not work here, in words that say what would help; None when it works. Blocking."""
        ...

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        """What does not hold here under this policy, and why; of an enclosure, if it is given. Blocking."""
        ...

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        """How to start `argv` in the enclosure's root. `environment` lacks TMPDIR, which is the backend's to say.

        Blocking. ToolFailed: it cannot be done now.
        """
        ...
