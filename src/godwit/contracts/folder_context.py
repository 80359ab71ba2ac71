"""What files say to a model: instructions of a folder and of a person, and the skills it may load.

Leaves out where such files lie and how they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ..core.agent import AgentSpec


class FolderContext(msgspec.Struct, frozen=True):
    """What is said now. `text`: as the model reads it, empty when nothing is said. `files`: what it was read from, `skills`:
    the names of those it lists. `problems`: what is wrong with files, beginning with the file and, where known, the line."""

    text: str = ""
    files: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class ContextSource(Protocol):
    """Reads what files say. Asked before a prompt is placed in the transcript; the same files must give the same text."""

    async def read(self, spec: AgentSpec, folder: str | None, may_read: Callable[[str], bool]) -> FolderContext:
        """For sessions of this agent in this folder. `may_read`: whether the session's rules let a file of it, by its path
        below the folder, be read without asking. It must not raise for what is wrong with a file."""
        ...


__all__ = ["ContextSource", "FolderContext"]
