"""Folder context of sessions: what context files and skills say, put together for the model; and the tool that loads skills.

Owns the words in which it is told. Leaves out how files are read (`context_files`, `skills`) and when it is told
(`engine.folder_context`). Rule: the same files give the same text, to the byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..contracts import FolderContext, Tool
from ..core.agent import AgentSpec
from . import context_files, skills
from .skills import Skill
from .trust import own_only

LIST_LIMIT = 16_000
"""Characters of the list of skills; where it is longer, their descriptions are cut."""
SHORT = 160

INTRODUCTION = (
    "Instructions that stand in files, of the person and of this folder. Follow them in all that you do here. Where they"
    " disagree the later ones count, and what the person says counts before all of them."
)
SKILLS_INTRODUCTION = (
    "Skills you may load with the tool `skill`. Load one before you begin work that its description fits, and follow it."
)


@dataclass(frozen=True)
class FolderFiles:
    """What of a folder and of the person's own files sessions are told. `context_files`: AGENTS.md and the like. `skills`:
    whether they may load skills, and slash commands are made of these."""

    context_files: bool = True
    skills: bool = True


class FolderContexts:
    """The `ContextSource` of a runtime. `settings`: what counts in a folder. `trusts`: whether its own skills do."""

    def __init__(self, settings: Callable[[str | None], FolderFiles], trusts: Callable[[str | None], bool]) -> None:
        self._settings, self._trusts = settings, trusts

    async def read(self, spec: AgentSpec, folder: str | None, may_read: Callable[[str], bool]) -> FolderContext:
        return await asyncio.to_thread(self._read, spec, folder, may_read)

    def _read(self, spec: AgentSpec, folder: str | None, may_read: Callable[[str], bool]) -> FolderContext:
        settings = self._settings(folder)
        parts: list[str] = []
        files: tuple[str, ...] = ()
        problems: list[str] = []
        if settings.context_files and spec.context_files:
            found = context_files.load(folder, may_read)
            files = tuple(file.shown for file in found.files)
            problems += found.problems
            if found.files:
                told = [f'<file path="{file.shown}">\n{file.text}\n</file>' for file in found.files]
                parts.append("\n\n".join(["<instructions>", INTRODUCTION, *told, "</instructions>"]))
        names: tuple[str, ...] = ()
        if settings.skills and spec.skills:
            loaded = skills.load(folder, self.skill_folders(folder))
            problems += [str(problem) for problem in loaded.problems if problem.fatal]
            listed = [skill for skill in loaded.chosen(spec.skills).values() if skill.listed]
            names = tuple(skill.name for skill in listed)
            if listed:
                parts.append(f"<skills>\n{SKILLS_INTRODUCTION}\n{_list(listed)}\n</skills>")
        return FolderContext("\n\n".join(parts), files, names, tuple(problems))

    def skill_folders(self, folder: str | None) -> tuple[str, ...]:
        """Where skills count for sessions in this folder."""
        settings = self._settings(folder)
        if not settings.skills:
            return ()
        return skills.FOLDERS if self._trusts(folder) else own_only(skills.FOLDERS)

    def tool(self, spec: AgentSpec, folder: str | None) -> Tool | None:
        """The tool that loads skills, where this agent has any. Blocking, for as long as it takes to look."""
        from ..tools.skill import SkillTool

        patterns = spec.skills

        def shelf() -> Mapping[str, Skill]:
            return skills.load(folder, self.skill_folders(folder)).chosen(patterns)

        if not patterns or not any(skill.listed for skill in shelf().values()):
            return None
        return SkillTool(shelf)


def _list(listed: Sequence[Skill]) -> str:
    whole = "\n".join(f"- {skill.name}: {skill.description}" for skill in listed)
    if len(whole) <= LIST_LIMIT:
        return whole
    return "\n".join(f"- {skill.name}: {_short(skill.description)}" for skill in listed)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"
