"""Mounts: files that a session is given, as copies in its folder, and where it leaves what it makes.

What clients and models call `/mnt/session` is the folder `mnt/session` of the session's own: see `LINKS`.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
from collections.abc import Sequence

import msgspec

from ...core.errors import InvalidArgument
from ...workspaces.confined import Confined

ROOT = "/mnt/session"
FOLDER = "mnt/session"
LINKS = {ROOT: FOLDER}
"""Where file tools find a session's folder beside its own place, and commands where a sandbox can show it there."""
OUTPUTS = f"{FOLDER}/outputs"
UPLOADS = f"{ROOT}/uploads"
PLACES = (OUTPUTS, f"{FOLDER}/uploads")
"""Folders that a session expects to be there."""
LONGEST = 1024


class Mount(msgspec.Struct, frozen=True):
    """`path`: where the session finds the file, as an absolute path of its own view."""

    file: str
    path: str

    @property
    def inside(self) -> str:
        """Where it is in the session's folder."""
        return self.path.lstrip("/")


def mount_of(file: str, path: str | None, at: str) -> Mount:
    """Where a file is mounted that is asked for at this path: below `UPLOADS`, whatever the path begins with. `at`: the
    place in the body that is named when it cannot be. InvalidArgument."""
    if path is None:
        path = file
    parts = [part for part in path.split("/") if part not in ("", ".")]
    known = UPLOADS.strip("/").split("/")
    if path.startswith("/") and parts[: len(known)] == known:
        parts = parts[len(known) :]
    problem = None
    if ".." in parts:
        problem = "leads upwards"
    elif not parts or path.endswith("/"):
        problem = "names no file"
    elif len(path) > LONGEST or any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
        problem = "is too long"
    elif re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", path):
        problem = "has a character that no path has"
    if problem is not None:
        raise InvalidArgument(f"{at}: {path[:200]!r} {problem}", value=ascii(path[:200]))
    return Mount(file, posixpath.join(UPLOADS, *parts))


def check_apart(mounts: Sequence[Mount], at: Sequence[str]) -> None:
    """InvalidArgument when one of them is, or lies within, another; `at`: where each stands in the body."""
    for number, one in enumerate(mounts):
        for other in mounts[:number]:
            short, long = sorted((one.path, other.path), key=len)
            if short == long or long.startswith(short + "/"):
                raise InvalidArgument(f"{at[number]}: {one.path!r} and {other.path!r} overlap", value=one.path)


async def write(folder: str | os.PathLike[str], mount: Mount, content: bytes) -> None:
    """Put the file there, in place of what is there. PathEscape, ToolFailed when what is in the folder stands in the way."""
    await asyncio.to_thread(_files(folder).write, mount.inside, content)


async def remove(folder: str | os.PathLike[str], mount: Mount) -> None:
    """Nothing happens when it is gone."""
    files = _files(folder)

    def work() -> None:
        if files.info(mount.inside) is not None:
            files.delete(mount.inside)

    await asyncio.to_thread(work)


def _files(folder: str | os.PathLike[str]) -> Confined:
    return Confined(os.path.realpath(folder), os.path.abspath(folder))
