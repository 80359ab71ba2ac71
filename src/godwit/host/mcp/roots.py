"""Roots: the folders that a server is told it is to work in, when it asks (`roots/list`, or among what a result asks for).

Rule: a program works on this machine, and is told the session's folder; a server that is reached over HTTP, also on this
machine, is told none: where our files are is nobody's business elsewhere, and its connection may be several sessions'.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core.mcp import Link

if TYPE_CHECKING:
    from mcp_types import Root


def roots_of(link: Link, folder: str | None) -> list[Root]:
    """What the server at the other end of a link is told. `folder`: of the session that its program is for."""
    from mcp_types import Root
    from pydantic import FileUrl

    if link.transport != "stdio" or folder is None:
        return []
    path = Path(folder)
    return [Root(uri=FileUrl(path.as_uri()), name=path.name or None)]
