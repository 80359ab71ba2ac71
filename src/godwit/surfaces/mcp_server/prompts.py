"""Prompts: what a person picks in their client: handing a task to an agent, and the commands and skills of the folder.

A command of a file is a prompt already; in a client it is said to the client's model, as it is said to an agent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mcp_types import (
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from ...core.errors import InvalidArgument, NotFound
from ...engine.commands import Command
from ..server.caller import Caller

DELEGATE = "delegate"
ARGUMENTS = "arguments"
_WORDS = """\
Hand this task to the agent {agent} of godwit: call the tool `{tool}`, with all that it has to know in the prompt, since \
it knows nothing of our conversation. If it waits for an approval, ask me before you answer it. When it is done, tell me \
shortly what it has done.

The task: {task}"""


class Written(Protocol):
    """The commands of files, as prompts."""

    async def commands(self) -> Sequence[Command]: ...
    async def filled(self, name: str, arguments: str) -> str:
        """The text of the prompt. The errors of the command."""
        ...


class Prompts:
    """`written`: those of files, where there is a folder."""

    def __init__(self, written: Written | None = None) -> None:
        self._written = written

    async def listed(self, caller: Caller) -> ListPromptsResult:
        caller.principal.require("read")
        found = [
            Prompt(
                name=DELEGATE,
                title="Hand a task to an agent",
                description="Have one of godwit's agents do something, in a session of its own.",
                arguments=[
                    PromptArgument(name="agent", description="The agent: the name of its tool.", required=True),
                    PromptArgument(name="task", description="What it is to do.", required=True),
                ],
            )
        ]
        for command in await self._commands():
            argument = PromptArgument(
                name=ARGUMENTS, description=command.usage or "What the command is given.", required=False
            )
            found.append(
                Prompt(name=command.name, title=f"/{command.name}", description=command.description, arguments=[argument])
            )
        return ListPromptsResult(prompts=found)

    async def get(self, caller: Caller, name: str, arguments: dict[str, str]) -> GetPromptResult:
        """NotFound, InvalidArgument."""
        caller.principal.require("read")
        if name == DELEGATE:
            missing = [one for one in ("agent", "task") if not arguments.get(one)]
            if missing:
                raise InvalidArgument(f"the prompt {DELEGATE!r} needs {' and '.join(missing)}")
            agent, task = arguments["agent"], arguments["task"]
            return _said("Hand a task to an agent", _WORDS.format(agent=agent, tool=agent, task=task))
        command = next((one for one in await self._commands() if one.name == name), None)
        if command is None or self._written is None:
            raise NotFound(f"there is no prompt {name!r}", prompt=name)
        return _said(command.description, await self._written.filled(name, arguments.get(ARGUMENTS, "")))

    async def _commands(self) -> Sequence[Command]:
        return () if self._written is None else [one for one in await self._written.commands() if one.name != DELEGATE]


def _said(about: str, text: str) -> GetPromptResult:
    return GetPromptResult(description=about, messages=[PromptMessage(role="user", content=TextContent(text=text))])
