"""Commands: what a person types behind a slash, and the registry that finds and runs it.

Owns how a text is read (`parse`), what a command is, and the registry. What the built-in commands do stands in
`builtin_commands`, where command files come from in the host, and what is recorded of a command in `session`.

Rules a change must keep: a text that `parse` takes for a command never reaches a model, known or not. Nothing here raises
because of what was typed: a wrong name, wrong arguments and a command that breaks are answered with a text.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..core.errors import ConfigurationError, GodwitError
from ..core.file_problem import FileProblem
from ..core.messages import Text, UserBlock

NAME_LIMIT = 64
"""Characters of a command's name."""
TEXT_LIMIT = 100_000
"""Characters of a command's output that are kept; a log is no place for more."""

UNKNOWN = "unknown_command"
"""`CommandOutput.error` when no command has the name."""
BROKEN = "command_broken"
"""`CommandOutput.error` when a command raised what is no error of godwit, or gave something that is no output."""

_NAME = re.compile(r"[^\W\d_][\w-]*(?::[^\W_][\w-]*)*")
# A slash and a word that begins with a letter and holds no further slash; or a slash alone.
_TYPED = re.compile(r"/([^\W\d_][^\s/]*)?(?:\s|\Z)")


class Typed(NamedTuple):
    """A text read as a command. `name` is without the slash, empty when only the slash was typed."""

    name: str
    arguments: str

    @property
    def text(self) -> str:
        """The command as it would be typed."""
        return f"/{self.name} {self.arguments}".rstrip()


def parse(text: str) -> Typed | None:
    """The text as a command, None when it is a prompt.

    A command begins with a slash and a word, its name, which begins with a letter and holds no other slash; so `/help` is
    one and `/etc/hosts is wrong`, `/* x */` and `/1` are prompts. A slash alone is a command without a name. The arguments
    are all that follows, without the blanks around it.
    """
    text = text.strip()
    found = _TYPED.match(text)
    if found is None or (found[1] is None and text != "/"):
        return None
    return Typed(unicodedata.normalize("NFC", found[1] or ""), text[found.end() :].strip())


def as_prompt(text: str) -> str:
    """The text as a model gets it: `//name` is how `/name` is said to a model, every other text is itself."""
    stripped = text.lstrip()
    return stripped[1:] if stripped.startswith("//") and parse(stripped[1:]) is not None else text


def check_name(name: str) -> None:
    """ConfigurationError when this cannot be a command's name."""
    if not _NAME.fullmatch(name) or len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"{name!r} cannot be a command's name: a letter, then letters, digits, - and _, at most {NAME_LIMIT} in all; "
            "parts of it are separated by :",
            name=name,
        )


@dataclass(frozen=True)
class CommandOutput:
    """What a command answers.

    `text`: shown to who typed it, and never part of the transcript. `state_changed`: it changed something about the
    session. `prompt`: send this to the model as an ordinary prompt, text or blocks, on `model` if one is named. `error`: a
    code when the command could not do what it was asked.
    """

    text: str = ""
    state_changed: bool = False
    prompt: str | tuple[UserBlock, ...] | None = None
    model: str | None = None
    error: str | None = None


Execute = Callable[[str, Any], "CommandOutput | str | Awaitable[CommandOutput | str]"]
"""A command's body: its arguments as they were typed, and the `CommandContext`. A plain function must not block."""


@dataclass(frozen=True)
class Command:
    """A slash command. `name`: without the slash. `usage`: its arguments, such as `[NAME]`.

    `safe`: may be used while a run is open; all others are refused then. `source`: where it comes from: `builtin`, `code`,
    or the path of a file. Raises ConfigurationError for a name or a body that cannot be one.
    """

    name: str
    description: str
    execute: Execute
    usage: str | None = None
    safe: bool = False
    source: str = "code"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ConfigurationError(f"a command's name is a text, not {self.name!r}")
        check_name(self.name)
        if not callable(self.execute):
            raise ConfigurationError(f"command {self.name!r}: {self.execute!r} cannot be called", name=self.name)


def checked_commands(commands: Iterable[Command], whose: str) -> tuple[Command, ...]:
    """These as a tuple. ConfigurationError when one is no command, or two have one name."""
    given = tuple(commands)
    for command in given:
        if not isinstance(command, Command):
            raise ConfigurationError(f"{whose}: a command is a Command, not {type(command).__name__}")
    names = [command.name for command in given]
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{whose}: two commands of one name: {', '.join(names)}", commands=names)
    return given


@dataclass(frozen=True)
class CommandProblem(FileProblem):
    """What is wrong with a command file. `line` counts from 1. `fatal`: there is no such command because of it."""

    name: str | None = None


class CommandInfo(NamedTuple):
    """What a list tells of a command."""

    name: str
    description: str
    usage: str | None


class CommandSource(Protocol):
    """Commands that may change behind our back: files. May be used from any thread."""

    def refresh(self) -> None:
        """Look whether anything has changed. Blocking."""
        ...

    def commands(self) -> Sequence[Command]:
        """As of the last `refresh`, each name once."""
        ...

    def problems(self) -> Sequence[CommandProblem]:
        """What is wrong with those that could not be read, as of the last `refresh`."""
        ...


class LiveCommands(CommandSource, Protocol):
    """Commands that somebody has to be asked for: of servers."""

    async def look(self, typed: str | None) -> None:
        """Ask again, as far as it matters for the command of this name; None: for a list of all. Takes a few seconds at
        most, and raises nothing."""
        ...


class CommandRegistry:
    """The commands of a session by name. What is registered comes first, then each source in its order.

    So a file never takes the place of a built-in command, while code may. What the sources hold is as of the last
    `refresh`, which `dispatch` begins with, in a thread.
    """

    def __init__(
        self,
        commands: Iterable[Command] = (),
        *,
        sources: Sequence[CommandSource] = (),
        live: LiveCommands | None = None,
    ) -> None:
        """`live`: the last of the sources."""
        self._commands = {command.name: command for command in commands}
        self._files = tuple(sources)
        self._live = live

    @property
    def _sources(self) -> tuple[CommandSource, ...]:
        return self._files if self._live is None else (*self._files, self._live)

    def beside(self, live: LiveCommands) -> None:
        """Have these commands as well, behind all others."""
        self._live = live

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def refresh(self) -> None:
        """Look at the sources again. Blocking: it reads folders."""
        for source in self._files:
            source.refresh()

    async def refreshed(self, typed: str | None = None) -> CommandRegistry:
        """This registry, after a `refresh` in a thread: a drive that hangs must not stop all sessions. `typed`: the name of
        the command that it is for; None for a list of all."""
        if self._files:
            await asyncio.to_thread(self.refresh)
        if self._live is not None:
            await self._live.look(typed)
        return self

    def copy(self) -> CommandRegistry:
        """A registry of its own with the same commands."""
        return CommandRegistry(self._commands.values(), sources=self._files, live=self._live)

    def register(self, command: Command) -> None:
        """Add it; one of the same name is replaced."""
        if not isinstance(command, Command):
            raise ConfigurationError(f"a command is a Command, not {type(command).__name__}")
        self._commands[command.name] = command

    def unregister(self, name: str) -> Command | None:
        """Take it out and return it; None when no such command was registered. Files cannot be taken out."""
        return self._commands.pop(name, None)

    def find(self, name: str) -> Command | None:
        if name in self._commands:
            return self._commands[name]
        return next((c for source in self._sources for c in source.commands() if c.name == name), None)

    def commands(self) -> Sequence[Command]:
        """All of them by name."""
        return sorted(self._all().values(), key=lambda c: c.name)

    def list(self) -> Sequence[tuple[str, str]]:
        """Name and description of each, by name."""
        return [(c.name, c.description) for c in self.commands()]

    def list_full(self) -> Sequence[CommandInfo]:
        """Name, description and usage of each, by name."""
        return [CommandInfo(c.name, c.description, c.usage) for c in self.commands()]

    def problems(self) -> Sequence[CommandProblem]:
        """What is wrong with command files, and which of them are hidden behind another command of the same name."""
        found: list[CommandProblem] = []
        first = dict(self._commands)
        for source in self._sources:
            commands = source.commands()
            found += source.problems()
            for command in commands:
                other = first.setdefault(command.name, command)
                if other is not command:
                    # Between files that is how one takes the place of another; a registered command is not replaced by one.
                    why = f"/{command.name} is {_origin(other)} already"
                    found.append(
                        CommandProblem(command.source, None, why, fatal=command.name in self._commands, name=command.name)
                    )
        return found

    def is_safe(self, name: str) -> bool:
        """Whether typing this name changes nothing that an open run stands on. An unknown one only gets help."""
        command = self.find(name)
        return command is None or command.safe

    async def dispatch(self, text: str, context: Any) -> CommandOutput | None:
        """Run the command that the text is; None when it is a prompt. Never raises because of the text."""
        typed = parse(text)
        return None if typed is None else await (await self.refreshed(typed.name)).execute(typed, context)

    async def execute(self, typed: Typed, context: Any) -> CommandOutput:
        """Run it. What it raises becomes an output with an `error`, cancellation apart."""
        command = self.find(typed.name)
        if command is None:
            return self._unknown(typed.name)
        try:
            answer = command.execute(typed.arguments, context)
            output: Any = await answer if inspect.isawaitable(answer) else answer
        except GodwitError as error:
            return CommandOutput(_kept(f"/{command.name}: {error.message}"), error=error.code)
        except Exception as error:
            return CommandOutput(_kept(f"/{command.name} broke: {type(error).__name__}: {error}"), error=BROKEN)
        if isinstance(output, str):
            return CommandOutput(_kept(output))
        if not isinstance(output, CommandOutput) or not isinstance(output.text, str):
            return CommandOutput(
                f"/{command.name} broke: it answered with {type(output).__name__}, not with a text", error=BROKEN
            )
        prompt = _storable(output.prompt)
        if prompt is not None and not (prompt.strip() if isinstance(prompt, str) else any(map(_says, prompt))):
            return CommandOutput(f"/{command.name}: its prompt is empty", error=BROKEN)
        return CommandOutput(_kept(output.text), output.state_changed, prompt, output.model, output.error)

    def help(self, name: str = "") -> str:
        """All commands, or one of them."""
        name = name.strip().removeprefix("/")
        if name:
            command = self.find(name)
            if command is None:
                return self._unknown(name).text
            return f"{_usage(command)}\n{command.description}"
        shown = [(_usage(c), c.description) for c in self.commands()]
        width = min(28, max((len(usage) for usage, _ in shown), default=0))
        lines = ["Commands:", *(f"  {usage:<{width}}  {description}" for usage, description in shown)]
        broken = [p for p in self.problems() if p.fatal]
        lines += ["Command files that cannot be used:", *(f"  {p}" for p in broken)] if broken else []
        return "\n".join([*lines, "What begins with // goes to the model with one slash."])

    def _all(self) -> dict[str, Command]:
        found = {c.name: c for source in reversed(self._sources) for c in source.commands()}
        return {**found, **self._commands}

    def _unknown(self, name: str) -> CommandOutput:
        if not name:
            return CommandOutput("A command is a slash and its name.\nType /help for available commands.", error=UNKNOWN)
        shown = name if len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 1]}…"
        lines = [f"Unknown command: /{shown}"]
        lines += [f"It could not be loaded: {p}" for p in self.problems() if p.fatal and p.name == name]
        near = difflib.get_close_matches(name[:NAME_LIMIT], [c.name for c in self.commands()], n=3, cutoff=0.6)
        if near:
            lines.append(f"Did you mean {' or '.join(f'/{n}' for n in near)}?")
        lines.append(f"Type /help for available commands, or //{shown} to say it to the model.")
        return CommandOutput(_kept("\n".join(lines)), error=UNKNOWN)


def _usage(command: Command) -> str:
    return f"/{command.name} {command.usage or ''}".rstrip()


def _origin(command: Command) -> str:
    words = {"builtin": "a built-in command", "code": "a command of the program"}
    return words.get(command.source, command.source)


def _storable(prompt: str | tuple[UserBlock, ...] | None) -> str | tuple[UserBlock, ...] | None:
    """A prompt as it can be stored."""
    if prompt is None or isinstance(prompt, str):
        return prompt and _unicode(prompt)
    return tuple(Text(_unicode(one.text)) if isinstance(one, Text) else one for one in prompt)


def _says(block: UserBlock) -> bool:
    """Whether there is something in it."""
    return not isinstance(block, Text) or bool(block.text.strip())


def _unicode(text: str) -> str:
    """The text as it can be stored: half of a surrogate pair becomes a question mark."""
    return text.encode(errors="replace").decode()


def _kept(text: str) -> str:
    text = _unicode(text)
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}\n… ({len(text) - TEXT_LIMIT} more characters)"
