"""PromptCommands: prompts of MCP servers as slash commands of a session, `/mcp__server__prompt arg1 "arg two" name=value`.

Leaves out getting prompts (`live_contents.py`) and what a command is (`commands.py`). Rules: what a prompt says is a
stranger's text that a person has asked for: it becomes a message of theirs, what the assistant is to have said in it is told
as such, and it grants nothing; nobody waits for servers because of a command that is none of theirs; a prompt whose server
asks something first makes nothing until that is answered behind `--`.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import GodwitError, InvalidArgument, McpInputRequired
from ..core.mcp import PREFIX
from ..core.mcp_contents import McpPrompt, McpPromptResult
from ..core.messages import Text, UserBlock
from ..core.questions import Resumption
from .commands import Command, CommandOutput, CommandProblem, check_name
from .live_contents import LiveContents
from .typed_answers import ANSWERS, TypedAnswers

logger = logging.getLogger("godwit")

LOOK_S = 10.0
"""How long a look may take; connecting has less."""
LISTING = ("help", "commands")
"""Commands that show what commands there are."""
MOST = 2000
"""Of all servers of a session."""


class PromptCommands:
    """Is `commands.LiveCommands`. `connect`: whether servers that are not connected are, for a list of commands."""

    def __init__(self, session: LiveContents, *, connect: bool) -> None:
        self._session = session
        self._connect = connect
        self._commands: tuple[Command, ...] = ()

    def refresh(self) -> None:
        return

    def commands(self) -> Sequence[Command]:
        return self._commands

    def problems(self) -> Sequence[CommandProblem]:
        return ()

    async def look(self, typed: str | None) -> None:
        ours = typed is not None and typed.startswith(PREFIX)
        if not (ours or typed is None or typed in LISTING):
            return
        try:
            async with asyncio.timeout(LOOK_S):
                found = await self._session._all_prompts(connect=self._connect or ours)
        except TimeoutError:
            return
        except GodwitError as error:
            logger.info("prompts of MCP servers are not listed: %s", error.message)
            return
        self._commands = tuple(command for one in found[:MOST] if (command := _command(one)) is not None)


def _command(prompt: McpPrompt) -> Command | None:
    try:
        check_name(prompt.command)
    except GodwitError:
        return None
    about = " ".join((prompt.description or prompt.title or f"The prompt {prompt.name!r}.").split())
    about = about if len(about) <= 200 else f"{about[:199]}…"
    return Command(prompt.command, about, _Run(prompt).run, prompt.usage, source=f"MCP server {prompt.server}")


@dataclass(frozen=True)
class _Run:
    prompt: McpPrompt

    async def run(self, arguments: str, context: Any) -> CommandOutput:
        words, said = _apart(_words(arguments))
        given = arguments_of(self.prompt, words)
        typed = TypedAnswers(said, f"/{self.prompt.command} {arguments}")
        answers: Resumption | None = None
        while True:
            try:
                result = await context.session.get_mcp_prompt(self.prompt.server, self.prompt.name, given, answers=answers)
                break
            except McpInputRequired as asked:
                answers = typed.to(asked)
        typed.check()
        if not (prompt := message_of(result)):
            raise InvalidArgument(f"the MCP server {self.prompt.server!r} has made nothing of this prompt")
        return CommandOutput(prompt=prompt)


def _words(typed: str) -> list[str]:
    try:
        return shlex.split(typed)
    except ValueError:  # an apostrophe, or a quote that is not closed
        return typed.split()


def _apart(words: list[str]) -> tuple[list[str], list[str] | None]:
    """The prompt's arguments, and what is typed behind `--`."""
    if ANSWERS not in words:
        return words, None
    at = words.index(ANSWERS)
    return words[:at], words[at + 1 :]


def arguments_of(prompt: McpPrompt, words: Sequence[str]) -> dict[str, str]:
    """What was typed behind a prompt's command, by the names of its arguments: `name=value` for one that it has, all else in
    their order. InvalidArgument, naming what is missing or too much."""
    names = [one.name for one in prompt.arguments]
    given: dict[str, str] = {}
    plain: list[str] = []
    for word in words:
        name, sign, value = word.partition("=")
        if sign and name in names and name not in given:
            given[name] = value
        else:
            plain.append(word)
    free = [name for name in names if name not in given]
    usage = f"/{prompt.command} {prompt.usage or ''}".rstrip()
    if len(plain) > len(free):
        raise InvalidArgument(f"{len(plain) - len(free)} arguments too many: {usage}. Quotes make one of several words")
    given |= dict(zip(free, plain, strict=False))
    missing = [one.name for one in prompt.arguments if one.required and one.name not in given]
    if missing:
        raise InvalidArgument(f"missing: {', '.join(missing)}. {usage}", missing=missing)
    return given


def message_of(result: McpPromptResult) -> tuple[UserBlock, ...]:
    """The messages of a prompt as one message of a person's: where there are several, by who is to have said each."""
    messages = result.messages
    if all(one.role == "user" for one in messages):
        return tuple(block for one in messages for block in one.content)
    blocks: list[UserBlock] = [Text("An example of a conversation, up to where it is to go on:")]
    for one in messages:
        blocks.append(Text("[as the assistant]" if one.role == "assistant" else "[as the user]"))
        blocks += one.content
    return tuple(blocks)
