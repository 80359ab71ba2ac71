"""What a scan leaves out of a workspace's state: what is never looked at, and what ignore files say.

Never looked at: what belongs to version control, `.godwit`, godwit's databases and what lies beside them, and the temporary
files of our own writing. Leaves out how a pattern is matched (`ignores`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from . import drafts
from .ignores import Ignores

VERSION_CONTROL = frozenset((".git", ".hg", ".svn", ".jj", ".sl", ".bzr", "_darcs", ".pijul"))
OWN_FOLDER = ".godwit"
BESIDE_DATABASE = ("-wal", "-shm", "-journal", ".d", ".files", ".key")
MAX_RULES = 1 << 20
"""Bytes of an ignore file that are read."""
CACHES = Ignores(b"__pycache__/\n*.pyc\nnode_modules/\n.venv/\n.mypy_cache/\n.pytest_cache/\n.ruff_cache/\n.tox/\n.cache/\n")
"""What counts as ignored where no ignore file says otherwise."""


class Rules(NamedTuple):
    """The ignore rules in force in a folder: of the ignore files from the root down to it, by the folder they stand in."""

    files: tuple[tuple[str, Ignores], ...] = (("", CACHES),)

    def within(self, folder: str, content: bytes) -> Rules:
        """Those in force in `folder`, whose own ignore file has this content."""
        return Rules((*self.files, (folder, _parsed(content))))

    def ignore(self, path: str, is_folder: bool) -> bool:
        for folder, ignores in reversed(self.files):
            said = ignores.says(path[len(folder) + 1 :] if folder else path, is_folder)
            if said is not None:
                return said
        return False


@lru_cache(maxsize=256)
def _parsed(content: bytes) -> Ignores:
    return Ignores(content)


def not_ours(name: str) -> bool:
    low = name.lower()  # some file systems do not tell .GIT from .git
    return low in VERSION_CONTROL or low == OWN_FOLDER or drafts.NAME.fullmatch(name) is not None


def beside_one_of(name: str, databases: set[str]) -> bool:
    return any(name.endswith(end) and name[: -len(end)] in databases for end in BESIDE_DATABASE)
