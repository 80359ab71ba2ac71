"""Shell: a shell command as the simple commands it would run, so that each can be judged by itself.

Owns putting together what the grammar reads and what programs do with their words, and the second opinion: tree-sitter's
grammar of bash has to find the same commands in the same places, or the text counts as not understood. Leaves out verdicts
(`engine.permissions`). Nothing is run and no file is looked at.

Rules a change must keep: `parse` never raises; whatever is not understood by both readers is a problem; parts that were
found before a problem are kept, so that a rule that denies one of them still does. tree-sitter is loaded with the first
command.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ...contracts import ShellCommand, ShellPart
from .commands import Simple, Word, literal_word
from .grammar import Reader
from .programs import harmless, meaning

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_COMMAND = 32 * 1024
"""Characters beyond which a command is not read at all."""
MAX_PARTS = 500
MAX_SCRIPTS = 8
"""How deep scripts within scripts (`bash -c "bash -c ..."`) are followed."""
MAX_WRAPPERS = 16
_KEPT = 256
_COMMANDS = frozenset(("command_name", "declaration_command", "unset_command"))
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_OPERATORS = re.compile(r"[;&|\n(){}`]+")


class Shell:
    """Implements `godwit.contracts.ShellParser`. May be shared by threads."""

    def __init__(self) -> None:
        self._parser: Parser | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[str, ShellCommand] = OrderedDict()

    def parse(self, command: str) -> ShellCommand:
        with self._lock:
            known = self._known.get(command)
            if known is None:
                known = self._known[command] = self._parsed(command)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(command)
            return known

    def _parsed(self, command: str) -> ShellCommand:
        if len(command) > MAX_COMMAND:
            return ShellCommand((), f"it has {len(command)} characters, more than the {MAX_COMMAND} that are read")
        if self._parser is None:
            self._parser = _load()
        work = _Work(self._parser)
        try:
            work.script(command, 0, shadow=False)
        except RecursionError:
            work.problems.append("it is nested too deep")
        return ShellCommand(tuple(work.parts[:MAX_PARTS]), "; ".join(work.problems) or None)


def _load() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


class _Work:
    """The reading of one command. `shadow`: what is only guessed to run; rules that deny or ask look at it."""

    def __init__(self, parser: Parser) -> None:
        self.parts: list[ShellPart] = []
        self.problems: list[str] = []
        self._parser = parser
        self._seen: set[tuple[str, ...]] = set()

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def script(self, text: str, depth: int, *, shadow: bool, scripts: int = 0) -> None:
        """Everything a text of commands runs."""
        if scripts > MAX_SCRIPTS:
            self.problem("scripts are nested too deep")
            return
        reader = Reader(text)
        reader.read()
        before = len(self.problems)
        for found in reader.problems:
            self.problem(found)
        if not reader.problems:
            self._compare(reader)
        for command in reader.commands:
            self._command(command, depth, shadow, scripts)
        if len(self.problems) > before:
            self._salvage(text, depth, reader)

    def _command(self, command: Simple, depth: int, shadow: bool, scripts: int) -> None:
        if len(self.parts) >= MAX_PARTS:
            self.problem(f"it has more than {MAX_PARTS} parts")
            return
        if shadow:
            key = tuple(word.raw or word.text for word in command.words)
            if key in self._seen:
                return
            self._seen.add(key)
        writes = tuple(r.target for r in command.redirects if r.writes)
        reads = tuple(r.target for r in command.redirects if r.reads)
        words = command.words
        builtin_read = bool(words) and words[0].exact and words[0].text == "read"
        unsafe = [
            _assignment(name, value)
            for name, value in command.sets
            if not harmless(name, exported=bool(words)) and not (builtin_read and name == "IFS")
        ]
        if unsafe:
            # The variables belong to what the command is: a rule has to name them to allow it.
            self._part([*unsafe, *words], depth, neutral=shadow)
        if not words:
            if writes or reads:
                self._part([], depth, writes=writes, reads=reads, neutral=True)
            return
        meant = meaning(command)
        self._part(
            words,
            depth,
            writes=(*writes, *meant.writes),
            reads=reads,
            neutral=shadow or meant.neutral or bool(unsafe),
            caution=meant.caution,
        )
        for inner in meant.inner:
            if isinstance(inner, str):
                self.script(inner, depth + 1, shadow=shadow, scripts=scripts + 1)
            else:
                self._started(inner, depth + 1, shadow, scripts)
        for hint in meant.hint:
            if isinstance(hint, str):
                self.script(hint, depth + 1, shadow=True, scripts=scripts + 1)
            else:
                self._started(hint, depth + 1, True, scripts)

    def _started(self, words: list[Word], depth: int, shadow: bool, scripts: int) -> None:
        """A command given as words."""
        if depth > MAX_WRAPPERS:
            self.problem("wrappers are nested too deep")
        elif words:
            self._command(Simple(words), depth, shadow, scripts)

    def _part(
        self,
        words: list[Word],
        depth: int,
        *,
        neutral: bool,
        writes: tuple[str | None, ...] = (),
        reads: tuple[str | None, ...] = (),
        caution: str | None = None,
    ) -> None:
        self.parts.append(
            ShellPart(
                words=tuple(word.text if word.exact else word.raw or word.text for word in words),
                text=" ".join(_shown(word) for word in words),
                loose=tuple(at for at, word in enumerate(words) if not word.exact),
                writes=writes,
                reads=reads,
                depth=depth,
                neutral=neutral,
                caution=caution,
            )
        )

    # --- the second opinion -------------------------------------------------------------------------------------------

    def _compare(self, reader: Reader) -> None:
        """Both readers have to find the same commands in a text, and in what stands in backquotes in it."""
        for one in (reader, *reader.scripts):
            if one.starts != self._starts(one.text):
                self.problem("it can be read in more than one way")

    def _starts(self, text: str) -> set[int] | None:
        """Where tree-sitter sees commands begin, outside backquotes; None when it could not read the text.

        Its grammar crashes the process on characters beyond the first plane, and none but ASCII has a meaning in it: the
        others are given as a letter, which also makes its bytes our characters.
        """
        root = self._parser.parse(_BEYOND_ASCII.sub("x", text).encode("ascii")).root_node
        if root.has_error:
            return None
        found: set[int] = set()
        nodes = [root]
        while nodes:
            node = nodes.pop()
            kind = node.type
            if kind in _COMMANDS or (kind == "test_command" and _first(node) == "["):
                found.add(node.start_byte)
            if kind == "command_substitution" and _first(node) == "`":
                continue
            nodes += node.named_children
        return found

    def _salvage(self, text: str, depth: int, read: Reader) -> None:
        """What may be a command in a text that could not be read as a whole: whatever stands between operators."""
        self._seen |= {tuple(word.raw or word.text for word in command.words) for command in read.commands}
        for piece in _OPERATORS.split(text, maxsplit=MAX_PARTS):
            reader = Reader(piece)
            reader.read()
            for command in reader.commands:
                self._command(command, depth, True, MAX_SCRIPTS)


def _assignment(name: str, value: Word | None) -> Word:
    if value is None:
        return Word(f"{name}=...", exact=False, head=f"{name}=", raw=f"{name}=...")
    if value.exact:
        return literal_word(f"{name}={value.text}")
    return Word(f"{name}={value.raw}", exact=False, head=f"{name}={value.head}", raw=f"{name}={value.raw}")


def _shown(word: Word) -> str:
    """The word as part of a text in which words are told apart by blanks."""
    if not word.exact:
        return word.raw or word.text
    text = word.text
    if text and not any(c in "'\"\\" or c.isspace() for c in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _first(node: Node) -> str:
    return node.children[0].type if node.child_count else ""
