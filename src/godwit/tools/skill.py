"""The tool `skill`: a model loads the text of a skill, or one of its files, when it needs it.

Leaves out where skills lie and which there are (`SkillShelf`). Rule: the definition names no skill, so that the prompt's
prefix stays the same when skills come and go; what there are is told in the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits
from ..core.errors import ToolFailed
from ..core.messages import Text
from ..core.rules import SKILL_LIMITS, Subject
from .typed import Arguments, TypedTool


class LoadableSkill(Protocol):
    """A skill as this tool needs it. `limits`: rules of what its run may do from then on; None leaves that alone."""

    @property
    def name(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def shown(self) -> str: ...
    @property
    def limits(self) -> tuple[str, ...] | None: ...
    @property
    def listed(self) -> bool: ...

    def files(self) -> Sequence[str]: ...
    def read(self, path: str) -> str:
        """ToolFailed."""
        ...


SkillShelf = Callable[[], Mapping[str, LoadableSkill]]
"""The skills there are now, by name. Blocking."""


class SkillArguments(Arguments, frozen=True):
    name: Annotated[str, Meta(description="The skill, as it is listed.")]
    file: Annotated[str, Meta(description="A file of the skill to read, by its path in the skill's folder.")] | None = None


class SkillTool(TypedTool[SkillArguments]):
    """Loads skills from this shelf."""

    name = "skill"
    description = (
        "Load a skill: instructions for a kind of work, written by people. Load one before you begin work that its"
        " description fits, and follow it. With `file`, read one of the skill's own files."
    )
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = SkillArguments

    def __init__(self, shelf: SkillShelf) -> None:
        self._shelf = shelf

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """Rules name skills: `skill(deploy-*)`."""
        return Subject("text", self.checked(arguments).name)

    async def work(self, arguments: SkillArguments, context: ToolContext) -> ToolOutput:
        return await asyncio.to_thread(self._load, arguments)

    def _load(self, arguments: SkillArguments) -> ToolOutput:
        found = {name: skill for name, skill in self._shelf().items() if skill.listed}
        skill = found.get(arguments.name)
        if skill is None:
            raise ToolFailed(f"there is no skill {arguments.name!r}; there are: {', '.join(found) or 'none'}")
        if arguments.file is not None:
            return ToolOutput((Text(skill.read(arguments.file)),), metadata={"skill": skill.name, "file": arguments.file})
        said = [f'<skill name="{skill.name}" folder="{skill.folder}">\n{skill.body}\n</skill>']
        if files := skill.files():
            said.append("Its files, to be read with `file`:\n" + "\n".join(files))
        metadata: dict[str, Any] = {"skill": skill.name, "source": skill.shown}
        if skill.limits is not None:
            said.append(
                f"Until this run ends only these tools may be used, beside `skill`: {', '.join(skill.limits) or 'none'}"
            )
            metadata[SKILL_LIMITS] = list(skill.limits)
        return ToolOutput((Text("\n\n".join(said)),), metadata=metadata)
