"""Slash commands of skills: `/NAME arguments` makes a prompt of a skill's text.

Leaves out how skills are read. Rule: what a person types limits and grants nothing; the session's permissions rule the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core.errors import GodwitError
from ..engine.builtin_commands import CommandContext
from ..engine.commands import Command, CommandOutput, CommandProblem, check_name
from . import skills
from .command_files import filled
from .skills import Skill


class SkillCommands:
    """The commands of the skills for sessions in this folder. `folders`: where these lie, asked anew each time."""

    def __init__(self, workspace: str | None, folders: Callable[[], Sequence[str]]) -> None:
        self._workspace, self._folders = workspace, folders
        self._read: tuple[tuple[Command, ...], tuple[CommandProblem, ...]] | None = None

    def refresh(self) -> None:
        found = skills.load(self._workspace, tuple(self._folders()))
        commands = []
        problems = [CommandProblem(p.file, p.line, p.message, fatal=p.fatal) for p in found.problems]
        for skill in found.skills.values():
            if not skill.typed:
                continue
            try:
                check_name(skill.name)
            except GodwitError as error:
                problems.append(CommandProblem(skill.shown, None, error.message))
                continue
            commands.append(Command(skill.name, skill.description, _Prompt(skill).run, skill.hint, source=skill.shown))
        self._read = tuple(commands), tuple(problems)

    def commands(self) -> Sequence[Command]:
        return self._last()[0]

    def problems(self) -> Sequence[CommandProblem]:
        return self._last()[1]

    def _last(self) -> tuple[tuple[Command, ...], tuple[CommandProblem, ...]]:
        if self._read is None:
            self.refresh()
        assert self._read is not None
        return self._read


@dataclass(frozen=True)
class _Prompt:
    skill: Skill

    async def run(self, arguments: str, context: CommandContext) -> CommandOutput:
        skill = self.skill
        text = f'<skill name="{skill.name}" folder="{skill.folder}">\n{filled(skill.body, arguments)}\n</skill>'
        if files := await asyncio.to_thread(skill.files):
            text += "\n\nIts files:\n" + "\n".join(files)
        return CommandOutput(prompt=text)
