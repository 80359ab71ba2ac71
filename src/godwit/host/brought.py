"""What a folder brings of its own: commands, agents, skills, and settings; and whether that counts.

Leaves out how trust is kept (`trust`) and how each kind is read. Rule: what a folder's settings may say without trust is
`config_sections`' business; nothing else of a folder counts without it where a host asks `trusts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import agent_files, command_files, skills
from .config import lists, read_files
from .trust import state_of


def trusts(folder: str | os.PathLike[str] | None, *, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a folder's commands, agents and skills count: it was trusted, here or by `trusted` of the person's own
    settings. `options`: as for `config.load`. ConfigurationError."""
    if state_of(folder) in ("trusted", "changed"):
        return True
    return folder is not None and lists(folder, options=options)


def brings(
    folder: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """What of this folder counts only once it is trusted, in a few words each. Settings are named where they are not used as
    they stand. ConfigurationError when its settings file is wrong."""
    root = os.path.realpath(folder)
    found: list[str] = []
    for part in read_files(root, environment=environment, options=options).parts:
        if part.whose == "project" and part.left:
            keys = sorted({f"{part.section}.{key}" if key else part.section for key, _, _ in part.left})
            found.append(f"settings: {', '.join(keys)}")
    commands = [
        command.name
        for place in command_files.FOLDERS
        if not place.startswith("~")
        for command in command_files.CommandFiles(place, root).commands()
    ]
    own = [place for place in agent_files.FOLDERS if not place.startswith("~")]
    agents = list(agent_files.load_all(root, own).agents)
    theirs = list(skills.load(root, [place for place in skills.FOLDERS if not place.startswith("~")]).skills)
    for what, names in (("commands", commands), ("agents", agents), ("skills", theirs)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            found.append(f"{what}: {', '.join(sorted(set(names))[:5])}{more}")
    return found


__all__ = ["brings", "trusts"]
