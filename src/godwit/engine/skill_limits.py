"""Skill limits: what a run may do once it has loaded a skill that names its tools.

Owns which limits hold: those of all skills that the run has loaded, each for itself, from the turn after that until the run
ends. They are read from the log, so they hold whoever drives and whatever becomes of the skill's file. Leaves out how skills
are loaded. Rule: they only take away; the tool that loads skills is always allowed.
"""

from __future__ import annotations

from typing import Any

from ..contracts import Tool
from ..core.events import ToolFinished
from ..core.ids import CallId
from ..core.messages import ToolResult
from ..core.rules import SKILL_LIMITS, Permissions
from .driver import Driver
from .permissions import Layer, Policy

LOADER = "skill"


async def refused_by_skill(driver: Driver, tool: Tool, arguments: dict[str, Any]) -> str | None:
    """Why a skill keeps this call from running; None when none does."""
    run = driver.state.run
    if run is None or tool.definition.name == LOADER:
        return None
    loaded: set[CallId] = set()
    for entry in reversed(driver.log.transcript.entries):
        if entry.seq <= run.seq:
            break
        message = entry.message
        if isinstance(message, ToolResult) and message.name == LOADER and message.status == "ok":
            loaded.add(message.call_id)
    if not loaded:
        return None
    root = driver.workspace.root if driver.workspace is not None else None
    for event in await driver.parts.store.read(driver.session, run.seq, types=("tool.finished",)):
        data = event.data
        if isinstance(data, ToolFinished) and data.call in loaded and SKILL_LIMITS in data.metadata:
            rules = tuple(map(str, data.metadata[SKILL_LIMITS]))
            limited = Policy((Layer("skill", Permissions(allow=rules, default="deny")),), shell=driver.parts.shell)
            if limited.judge(tool, arguments, root).verdict != "allow":
                skill = data.metadata.get("skill")
                return (
                    f"The skill {skill!r}, which this run has loaded, allows only: {', '.join(rules) or 'no tool'}."
                    " Do without, or end the run and say what is missing."
                )
    return None
