"""Variables that change only what programs print; any other may change what runs."""

from __future__ import annotations

import re

_HARMLESS = frozenset(
    (
        "CI", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "DEBIAN_FRONTEND", "FORCE_COLOR", "GIT_AUTHOR_DATE",
        "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_DATE", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME",
        "GIT_TERMINAL_PROMPT", "GOARCH", "GOOS",
        "LANG", "LANGUAGE", "LINES", "NODE_ENV", "NO_COLOR", "PIP_DISABLE_PIP_VERSION_CHECK", "PY_COLORS",
        "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "RAILS_ENV", "RUST_BACKTRACE",
        "RUST_LOG", "SOURCE_DATE_EPOCH", "TERM", "TZ",
    )
)  # fmt: skip
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")


def harmless(name: str, *, exported: bool) -> bool:
    """Whether setting this variable changes only what programs print. Small letters are the shell's own when they are not
    `exported`."""
    if name in _HARMLESS or name.startswith("LC_"):
        return True
    return not exported and bool(_PLAIN_NAME.match(name)) and not name.endswith("_proxy") and not name.startswith("npm_")
