"""Two names in a folder change places, in one step that nobody sees half done.

Python does not offer it; the C library of Linux and macOS does. Some file systems cannot (network ones, mostly).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import lru_cache

_LINUX_EXCHANGE = 2
_MACOS_SWAP = 2
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def exchange(folder: int, one: str, other: str) -> bool:
    """Both must exist; links are not followed. False, and nothing changed, where this cannot be done. OSError."""
    call = _call()
    if call is None:
        return False
    if call(folder, os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), one)


@lru_cache(maxsize=1)
def _call() -> Callable[[int, bytes, bytes], int] | None:
    name, flag = ("renameatx_np", _MACOS_SWAP) if sys.platform == "darwin" else ("renameat2", _LINUX_EXCHANGE)
    found = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if found is None:
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    found.restype = ctypes.c_int

    def call(folder: int, one: bytes, other: bytes) -> int:
        result: int = found(folder, one, folder, other, flag)
        return result

    return call
