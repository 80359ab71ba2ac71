"""What a command may read, write and not see: a policy put on the folders and files of this machine.

Owns which paths are hidden, in which order the policy's wishes win, and what is kept from commands within the workspace
itself: `.godwit`, whose settings are read by processes that are not confined. Leaves out how that is enforced. Rules: paths
are real, so that a link is no way around; what does not exist is not named, unless it must not come into being; the
innermost path counts, and on one path the later of: hidden by default, `readable`, `writable`, hidden by the policy or by
the host, the workspace itself.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import pwd
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from ...contracts import Access, Enclosure
from ...core.errors import ToolFailed
from ...core.sandbox import HIDDEN, SandboxPolicy

OWN = ".godwit"
"""The folder of a workspace that belongs to godwit: settings and, by default, the database."""
_DATABASES = ("*.db", "*.db-*", "*.db.d", "*.db.files")
_HOMES = ("/home", "/root", "/Users")
_SHARED_HOMES = ("/home/linuxbrew",)


def enclose(root: str, temporary: str, policy: SandboxPolicy, hidden: Sequence[str] = ()) -> Enclosure:
    """The enclosure of commands in `root`, a real path. `hidden`: paths of the host that no command may touch, such as its
    database; those that do not exist are kept from being made where commands could (a folder's name ends in `/`).

    ToolFailed: the workspace's own folder is a link, which nothing can protect, or the workspace is everything.
    """
    if root == "/":
        raise ToolFailed("the workspace is the whole file system, which leaves nothing to confine commands to")
    access: dict[str, Access] = {"/": "read"}
    kept: list[str] = []
    for wish, what in _wishes(policy):
        # Most of what is hidden by default is not there: looking first saves some milliseconds.
        if os.path.exists(wish) and (what != "hidden" or _could_be_read(wish)):
            access[os.path.realpath(wish)] = what
    # Those of other sessions lie beside it.
    access[os.path.dirname(temporary)] = "hidden"
    access[root] = access[temporary] = "write"
    own = os.path.join(root, OWN)
    if os.path.islink(own):
        raise ToolFailed(f"{own} is a link, which cannot be kept from commands: make it a folder, or remove it")
    if os.path.lexists(own):
        access[own] = "read"
        found = [glob.glob(os.path.join(glob.escape(own), pattern)) for pattern in _DATABASES]
        access.update((os.path.realpath(path), "hidden") for paths in found for path in paths)
    else:
        kept.append(own + "/")
    for path in hidden:
        real = os.path.realpath(path)
        if os.path.lexists(real):
            access[real] = "hidden"
        elif access_of(real, access) == "write" and not any(within(real, one.rstrip("/")) for one in kept):
            kept.append(real + "/" if path.endswith("/") else real)
    access[root] = access[temporary] = "write"
    ordered = sorted(access.items(), key=lambda item: (len(parts(item[0])), item[0]))
    said: dict[str, Access] = {}
    for path, what in ordered:  # what only repeats the one around it is left out
        if path in ("/", root, temporary) or access_of(os.path.dirname(path), said) != what:
            said[path] = what
    return Enclosure(root, temporary, tuple(said.items()), tuple(kept))


def _wishes(policy: SandboxPolicy) -> Iterator[tuple[str, Access]]:
    """What is to be hidden, read and written, existing or not; of one path the last counts."""
    home = os.path.realpath(os.path.expanduser("~"))
    groups: list[tuple[Sequence[str], Access]] = [
        ([os.path.dirname(place) for place, _ in policy.links if os.path.dirname(place) != "/"], "hidden"),
        (_HOMES, "hidden"),
        (("~", _home(), *_SHARED_HOMES, *_programs()), "read"),
        (HIDDEN, "hidden"),
        (glob.glob("/etc/ssh/ssh_host_*_key"), "hidden"),
        (policy.readable, "read"),
        (policy.writable, "write"),
        (policy.hidden, "hidden"),
    ]
    for paths, what in groups:
        for path in paths:
            yield (home + path[1:] if path == "~" or path.startswith("~/") else os.path.expanduser(path)), what


def _programs() -> Iterator[str]:
    """Where programs on the PATH lie, and our own Python: they may lie in a place that is hidden, such as /tmp."""
    yield from (sys.prefix, sys.base_prefix)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(folder) and parts(folder):
            # A virtual environment is more than its programs.
            above = os.path.dirname(folder.rstrip("/"))
            yield above if os.path.isfile(os.path.join(above, "pyvenv.cfg")) else folder


class Guard:
    """What the file tools of a workspace leave alone, so that they are no way around what commands cannot do."""

    def __init__(self, root: str, policy: SandboxPolicy, hidden: Sequence[str] = ()) -> None:
        said: dict[tuple[str, ...], Access] = {}
        wishes: list[tuple[str, Access]] = [*_wishes(policy), *((path, "hidden") for path in hidden)]
        for wish, what in wishes:
            path = os.path.realpath(wish) if os.path.lexists(wish) else os.path.normpath(wish)
            if path != root and within(path, root):
                said[_folded(parts(path[len(root) :]))] = what
        self._said = said

    def refusal(self, path: Sequence[str], writing: bool) -> str | None:
        """Why the path, its parts from the root on, may not be read or written; None when it may."""
        folded = _folded(path)
        for length in range(len(folded), 0, -1):
            what = self._said.get(folded[:length])
            if what == "hidden":
                return "it is hidden by the sandbox"
            if what is not None:
                return "the sandbox lets it only be read" if writing and what == "read" else None
        if folded[:1] == (OWN,):
            if len(folded) > 1 and any(fnmatch.fnmatchcase(folded[1], pattern) for pattern in _DATABASES):
                return "it is a database of godwit"
            if writing:
                return f"{OWN} belongs to godwit and is not written by tools"
        return None


def _folded(path: Sequence[str]) -> tuple[str, ...]:
    """Compared without case: some file systems know none."""
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in path)


def parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def access_of(path: str, access: Mapping[str, Access]) -> Access:
    """What is said of the path or, if nothing, of the innermost folder around it."""
    while path not in access:
        if path == "/":
            return "read"
        path = os.path.dirname(path)
    return access[path]


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _home() -> str:
    """What the system says is our home, whatever HOME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "~"


def _could_be_read(path: str) -> bool:
    """By us, now or after changing its mode; hiding anything else would cost time and change nothing."""
    try:
        return os.stat(path).st_uid == os.geteuid() or os.access(path, os.R_OK)
    except OSError:
        return False
