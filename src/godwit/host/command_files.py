"""Command files: slash commands written as Markdown, one file each, found in folders.

Owns where they lie, how a file is read and how it becomes a prompt. Rules a change must keep: nothing in a file is ever
executed, and it grants no permission. A file that is wrong hides no other one, and says with its line what is wrong.
What is read, the files themselves and those they name with `@`, does not lead out of its folder through `..` or a link.
Files are looked at again with each `refresh`, and read again when they have changed; no watcher.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..core.errors import ConfigurationError, GodwitError, PathEscape, ToolFailed
from ..core.rules import Subject
from ..engine.builtin_commands import CommandContext, builtin_commands
from ..engine.commands import Command, CommandOutput, CommandProblem, CommandRegistry, CommandSource, check_name
from ..engine.permissions import Policy
from ..workspaces.confined import Confined
from .found_files import FILE_LIMIT, Bad, Found, FoundFiles, Mark, entries, front_matter, text_of

FOLDERS = (".godwit/commands", ".claude/commands", "~/.config/godwit/commands")
"""Where command files are looked for unless told: relative ones in the session's folder. The first one of a name counts."""

INCLUDED_LIMIT = 256 * 1024
"""Bytes of all files that one prompt includes; each may have as many as a command file."""

_PLACE = re.compile(r"(\\?)\$(ARGUMENTS|[1-9])(?![0-9A-Za-z_])")
_INCLUDE = re.compile(r"(?<![\w`@/.])@(?:\"([^\"\n]+)\"|([^\s`'\"<>(){}\[\],;|]+))")
_SHELL = re.compile(r"!`[^`\n]+`")
_PLAIN_KEYS = ("description", "argument-hint")
_KEYS = ("description", "argument-hint", "model", "allowed-tools")


class Value(NamedTuple):
    """A value of the front matter: a text or several, as they were written."""

    texts: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class CommandFile:
    """A file, read. `notes`: what of it has no effect here, with its line."""

    description: str
    hint: str | None
    model: str | None
    body: str
    notes: tuple[tuple[int, str], ...] = ()


class Loaded(NamedTuple):
    """What became of one file."""

    mark: Mark
    command: Command | None
    problems: tuple[CommandProblem, ...]


class Read(NamedTuple):
    """What a folder held when it was looked at last."""

    files: dict[str, Loaded]
    commands: tuple[Command, ...]
    problems: tuple[CommandProblem, ...]


class CommandFiles:
    """The command files of one folder. A relative one lies in `workspace`; without a workspace it holds nothing."""

    def __init__(self, folder: str | os.PathLike[str], workspace: str | None) -> None:
        self._files = FoundFiles(folder, workspace, (".md",), "commands")
        self._read: Read | None = None

    def commands(self) -> Sequence[Command]:
        return self._last().commands

    def problems(self) -> Sequence[CommandProblem]:
        return self._last().problems

    def _last(self) -> Read:
        if self._read is None:
            self.refresh()
        assert self._read is not None
        return self._read

    def refresh(self) -> None:
        before = {} if self._read is None else self._read.files
        found, unread = self._files.look()
        files: dict[str, Loaded] = {}
        problems = [CommandProblem(one.shown, None, one.message) for one in unread]
        for file in found:
            known = before.get(file.relative)
            files[file.relative] = known if known is not None and known.mark == file.mark else self._load(file)
        by_name: dict[str, Command] = {}
        for loaded in files.values():
            problems += loaded.problems
            if loaded.command is not None:
                name, first = loaded.command.name, by_name.setdefault(loaded.command.name, loaded.command)
                if first is not loaded.command:
                    message = f"/{name} is {first.source} already: rename one of them"
                    problems.append(CommandProblem(loaded.command.source, None, message, name=name))
        # At once, since another thread may be reading.
        self._read = Read(files, tuple(by_name.values()), tuple(problems))

    def _load(self, file: Found) -> Loaded:
        name = unicodedata.normalize("NFC", file.relative.removesuffix(".md").replace("/", ":"))
        try:
            try:
                if ":" in file.relative:
                    raise ConfigurationError("the name of a command file holds no colon: a folder makes one")
                check_name(name)
            except GodwitError as error:
                raise Bad(None, error.message) from None
            read = read_file(self._files.content(file))
        except Bad as bad:
            return Loaded(file.mark, None, (CommandProblem(file.shown, bad.line, bad.message, name=name),))
        notes = tuple(CommandProblem(file.shown, line, message, fatal=False, name=name) for line, message in read.notes)
        command = Command(name, read.description, Expansion(read, file.shown).run, read.hint, source=file.shown)
        return Loaded(file.mark, command, notes)


def checked_folders(folders: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """These as a tuple. ConfigurationError when they are not several, or one has no name."""
    if isinstance(folders, str | os.PathLike):
        raise ConfigurationError(f"command_folders={os.fspath(folders)!r} is one folder: put it into a list")
    given = tuple(os.fspath(folder) for folder in folders)
    if any(not folder.strip() for folder in given):
        raise ConfigurationError(f"command_folders={given!r}: a folder needs a path")
    return given


def registry_of(
    workspace: str | None,
    commands: Iterable[Command] = (),
    folders: Sequence[str | os.PathLike[str]] = FOLDERS,
    others: Sequence[CommandSource] = (),
) -> CommandRegistry:
    """The built-in commands, these, those of the folders, and those of other sources."""
    files = [CommandFiles(folder, workspace) for folder in folders]
    return CommandRegistry([*builtin_commands(), *commands], sources=[*files, *others])


# --- reading --------------------------------------------------------------------------------------------------------


def read_file(content: bytes) -> CommandFile:
    """A command file's content: front matter between lines of `---`, if it has any, and the text of the prompt. Bad."""
    source, body, first = front_matter(text_of(content))
    values = {} if source is None else _values(source)
    if not body.strip():
        raise Bad(first, "has no text: what stands below the front matter is what the model is told")
    if "\0" in body:
        raise Bad(first + body.count("\n", 0, body.index("\0")), "holds a NUL character")
    notes = [(value.line, f"{key!r} has no meaning here") for key, value in values.items() if key not in _KEYS]
    if "allowed-tools" in values:
        line = values["allowed-tools"].line
        notes.append((line, "'allowed-tools' grants nothing: what a tool may do is ruled by the session's permissions"))
    model = _text(values, "model")
    if model is not None and ":" not in model:
        if model != "inherit":
            notes.append((values["model"].line, f"model {model!r} is not used: it is no provider:model"))
        model = None
    for match in _SHELL.finditer(body):
        line = first + body.count("\n", 0, match.start())
        notes.append((line, f"{match[0]} is not run: the model gets it as it stands"))
    description = _text(values, "description") or _first_line(body)
    return CommandFile(description, _text(values, "argument-hint"), model, body.strip("\n"), tuple(notes))


def _text(values: dict[str, Value], key: str) -> str | None:
    texts = values[key].texts if key in values else ()
    return " ".join(" ".join(texts).split()) or None


def _first_line(body: str) -> str:
    found = (line.strip().lstrip("#").strip() for line in body.splitlines())
    line = next(filter(None, found), "No description.")
    return line if len(line) <= 80 else f"{line[:79]}…"


def _values(source: str) -> dict[str, Value]:
    """The mapping's texts, never converted: `yes` is a word here. Bad."""
    import yaml

    found: dict[str, Value] = {}
    for key, line, node, plain, _ in entries(source, _PLAIN_KEYS, line=2, what="the front matter"):
        if key not in _KEYS:
            found[key] = Value((), line)
        elif isinstance(node, yaml.ScalarNode):
            found[key] = Value((node.value,), line)
        elif plain is not None:
            found[key] = Value((plain,), line)
        elif isinstance(node, yaml.SequenceNode) and all(isinstance(v, yaml.ScalarNode) for v in node.value):
            found[key] = Value(tuple(v.value for v in node.value), line)
        else:
            raise Bad(line, f"{key!r} is a text or a list of texts")
    return found


# --- becoming a prompt ----------------------------------------------------------------------------------------------


def filled(body: str, arguments: str) -> str:
    """The body with `$ARGUMENTS` (all of them, as typed) and `$1` to `$9` (words, quotes as in a shell) put in.

    One that is missing is empty; `\\$1` stays `$1`. A body without any of them gets the arguments as its last line.
    """
    words = _words(arguments)
    taken = False

    def put(match: re.Match[str]) -> str:
        nonlocal taken
        if match[1]:
            return match[0][1:]
        taken = True
        if match[2] == "ARGUMENTS":
            return arguments
        place = int(match[2]) - 1
        return words[place] if place < len(words) else ""

    text = _PLACE.sub(put, body)
    return text if taken or not arguments else f"{text}\n\nArguments: {arguments}"


def _words(arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError:  # a quote that is not closed, or an apostrophe
        return arguments.split()


@dataclass(frozen=True)
class Expansion:
    """Makes a prompt of a file and what is typed behind its name."""

    file: CommandFile
    shown: str

    async def run(self, arguments: str, context: CommandContext) -> CommandOutput:
        prompt = filled(self.file.body, arguments)
        if context.workspace is not None and "@" in prompt:
            prompt = await asyncio.to_thread(self._with_files, prompt, context.workspace, context.policy)
        return CommandOutput(prompt=prompt, model=self.file.model)

    def _with_files(self, prompt: str, workspace: str, policy: Policy) -> str:
        """The prompt, and below it the content of each file it names with `@`. What is no file stays as it is.

        What the model may not read is left out. PathEscape for a path that leads out of the workspace.
        """
        confined = Confined(os.path.realpath(workspace), workspace)
        parts: dict[str, str] = {}
        left = INCLUDED_LIMIT
        for match in _INCLUDE.finditer(prompt):
            path = match[1] or match[2].rstrip(".,:;!?")
            if not path or path in parts:
                continue
            if path.startswith("~"):
                raise PathEscape(f"@{path} of {self.shown} is outside the workspace", path=path)
            try:
                info = confined.info(path)
            except PathEscape as error:
                raise PathEscape(f"@{path} of {self.shown}: {error.message}", path=path) from None
            except (ToolFailed, OSError, ValueError):
                continue
            if info is None or info.kind != "file":
                continue
            judged = policy.judge_subject("read", Subject("path", path), confined.root)
            if judged.verdict == "deny" or (judged.verdict == "ask" and judged.rule is not None):
                why = "must not be read" if judged.verdict == "deny" else "is read only with an approval"
                parts[path] = f'<file path="{path}">left out: it {why}</file>'
                continue
            if info.size > min(FILE_LIMIT, left):
                parts[path] = f'<file path="{path}">left out: {info.size:,} bytes are too many</file>'
                continue
            content = confined.read(path)
            left -= len(content)
            try:
                text = content.decode()
            except UnicodeDecodeError:
                parts[path] = f'<file path="{path}">left out: it is no text</file>'
            else:
                parts[path] = f'<file path="{path}">\n{text}{"" if text.endswith(chr(10)) else chr(10)}</file>'
        return "\n\n".join([prompt, *parts.values()])
