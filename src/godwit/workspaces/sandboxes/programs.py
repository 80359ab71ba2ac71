"""Where the programs are that stand between us and a command: taken from the system, not from a folder that commands write.

Leaves out the shell that runs commands, which is confined like them.
"""

from __future__ import annotations

import os
import shutil
from functools import cache

_SYSTEM = ("/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin")


def find(program: str) -> str | None:
    """Its full path. The system's own counts before one on the PATH, where a folder of the workspace may stand first."""
    return shutil.which(program, path=os.pathsep.join(_SYSTEM)) or shutil.which(program)


@cache
def sh() -> str:
    """The `sh` that stands before commands, by its full path."""
    return find("sh") or "/bin/sh"
