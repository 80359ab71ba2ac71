"""Drafts: files that are written beside the one they are to become, and what a process that died leaves of them.

A draft is locked (flock) from before its first byte until it has its final name or is gone. So whoever finds one without a
lock knows that its writer died, and may remove it; that is what `clear` does wherever a checkpoint lists a folder anyway.
Where the file system knows no locks nothing is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from contextlib import suppress

NAME = re.compile(r"\.godwit-[0-9a-f]{16}\.(?:new|tmp)")
"""`.new`: a draft. `.tmp`: what `restore` writes, under names it finds again by itself."""
_DRAFT = ".new"
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def create(folder: int) -> tuple[str, int]:
    """A new draft in the folder open as `folder`: its name, and the file open for writing. OSError as `os.open`.

    Closing the file lets go of the draft, so that is done last.
    """
    while True:
        name = f".godwit-{secrets.token_hex(8)}{_DRAFT}"
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666, dir_fd=folder)
        try:
            if not _lock(file) or os.fstat(file).st_nlink > 0:
                return name, file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # somebody took it for abandoned before it was locked


def clear(folder: int, name: str) -> None:
    """Remove `name` from the folder open as `folder` if it is a draft whose writer is gone. Never raises OSError."""
    if not (name.endswith(_DRAFT) and NAME.fullmatch(name)):
        return
    try:
        file = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder)
    except OSError:
        return
    try:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(name, dir_fd=folder, follow_symlinks=False)):
                os.unlink(name, dir_fd=folder)
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        return False
    return True
