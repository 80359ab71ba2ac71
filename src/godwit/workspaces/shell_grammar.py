"""The grammar of bash, as far as it decides which commands a text would run: simple commands, their words and redirections.

Owns reading. Leaves out what programs do with their words (`shell_programs`) and the second opinion (`shell`). It reads as
bash does with `-c`: no history, no aliases, no extended globs. It runs and expands nothing: a word with an expansion in it
is kept as written and known to be uncertain.

Rules a change must keep: what is not understood for sure is a problem, never a guess; every substitution in every place
(strings, here-documents, defaults of variables, tests, patterns) is read as commands; time grows with the text, and nesting
is limited. Arithmetic on variables is a problem, because bash runs substitutions it finds in their values.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

MAX_DEPTH = 40
"""How deep substitutions and groups may be nested."""
MAX_COMMANDS = 400
MAX_BRACES = 64
"""How many words one word with braces may become."""

_BLANKS = " \t"
_META = " \t\n|&;()<>"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_SUBSCRIPTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
_DESCRIPTOR = re.compile(r"[0-9]+(?=[<>])")
_REDIRECT = re.compile(r"&>>|&>|<<<|<<-|<<|<&|<>|<|>>|>&|>\||>")
_DUPLICATED = re.compile(r"[0-9]*-?\Z")
_CONSTANT = re.compile(r"(?:[0-9\s+*/%()<>=!&|^~?:,-]|\$[?#]|\$\{#[A-Za-z_]*\})*\Z")
"""Arithmetic in which nothing is looked up: numbers, operators, `$?`, `$#`, lengths."""
_SLICE = re.compile(r":\s*(?:-?[0-9]+|\s-[0-9]+)(?::-?[0-9]+)?\}")
_RESERVED = frozenset(
    (
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select", "function",
        "{", "}", "!", "[[", "]]", "time", "coproc", "in",
    )
)  # fmt: skip
_KEYWORD = re.compile(r"(?:[a-z]|\\\n)+|[{}!]|\[\[|\]\]")
# Characters that mean themselves, taken together: in a word (without those of braces), in quotes, in a here-document.
_PLAIN = re.compile(r"[A-Za-z0-9_./=:@%+-]+")
_QUOTED = re.compile(r'[^"$`\\]+')
_HERE = re.compile(r"[^$`\\]+")
_NUMERIC = re.compile(r"-(?:eq|ne|lt|le|gt|ge)\Z")
_NUMBER = re.compile(r"-?[0-9]+\Z|\$[?#]\Z")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
_INDEX = re.compile(r"\[(?:[@*]|[0-9]+)\]")
_EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")
_VARIABLE_DESCRIPTOR = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Unreadable(Exception):
    """The text could not be read further; its message says why."""


@dataclass(slots=True)
class Word:
    """`text`: as bash passes it on, or as written where that is not known (`exact` False). `head`: what it is known to begin
    with. `splits`: it may become several words, or none, which begin with anything; `globs`: with `head`. `quoted`:
    something in it was quoted, so it is no keyword.
    """

    text: str
    exact: bool = True
    head: str = ""
    splits: bool = False
    globs: bool = False
    quoted: bool = False
    raw: str = ""
    start: int = -1

    @property
    def option(self) -> bool:
        """Whether it, or a word it becomes, may begin with a dash."""
        return self.head.startswith("-") or (not self.exact and (self.splits or not self.head))


@dataclass(slots=True)
class Redirect:
    """`target` None: not known. `body`: what a here-document or here-string holds, None when not known. `number`: of the
    file descriptor, when it stands there. `copies`: it names another descriptor, no file.
    """

    operator: str
    target: str | None
    body: str | None = None
    number: str = ""
    copies: bool = False

    @property
    def writes(self) -> bool:
        return ">" in self.operator and not self.copies

    @property
    def reads(self) -> bool:
        return self.operator in ("<", "<>", "<&") and not self.copies

    @property
    def input(self) -> bool:
        """Whether it says where standard input comes from."""
        return self.number.lstrip("0") == "" and (bool(self.number) or self.operator.startswith("<"))


@dataclass(slots=True, eq=False)
class Simple:
    """A simple command. `sets`: variables it sets before its words, loops' variables too; None for a value not known."""

    words: list[Word] = field(default_factory=list)
    sets: list[tuple[str, Word | None]] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    start: int = -1


def literal_word(text: str) -> Word:
    return Word(text, head=text, raw=text)


def unknown_word(text: str = "...") -> Word:
    """What comes from elsewhere, any number of words."""
    return Word(text, exact=False, splits=True, raw=text)


class Reader:
    """Reads one text. `commands`: in the order they are met, also when `read` ends early. `problems`: why no verdict may
    rest on them alone. `starts`: where their first words stand. `scripts`: what stood in backquotes, which are read apart.
    """

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text = text
        self.commands: list[Simple] = []
        self.problems: list[str] = []
        self.starts: set[int] = set()
        self.scripts: list[Reader] = []
        self._at = 0
        self._end = len(text)
        self._depth = depth
        self._pending: list[tuple[Redirect, str, bool, bool]] = []

    def read(self) -> None:
        """Read all of it. What cannot be read ends as a problem."""
        try:
            if found := _CONTROL.search(self.text):
                raise Unreadable(f"it holds the control character {found[0]!r}")
            self._list(())
            if self._at < self._end:
                raise self._unexpected()
            self._no_pending()
        except Unreadable as error:
            self.problems.append(str(error))

    # --- characters ---------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self.text[at] if at < self._end else ""

    def _looking_at(self, wanted: str) -> bool:
        return self.text.startswith(wanted, self._at)

    def _unexpected(self) -> Unreadable:
        rest = self.text[self._at : self._at + 20]
        return Unreadable(f"{rest!r} is not expected there" if rest else "it ends in the middle of a command")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"it is nested more than {MAX_DEPTH} deep")

    def _continuation(self) -> None:
        """A backslash before a newline, outside quotes: nothing. Where it could join parts of an operator it is refused."""
        before = self.text[self._at - 1] if self._at else " "
        self._at += 2
        after = self._peek() or " "
        joins = "_./=,:@%+-"
        if before in _BLANKS or before == "\n" or after in _BLANKS or after == "\n":
            return
        if (before.isalnum() or before in joins) and (after.isalnum() or after in joins):
            return
        raise Unreadable(f"a line is continued between {before!r} and {after!r}")

    def _blanks(self) -> None:
        """Skip blanks, continued lines, and a comment."""
        while True:
            c = self._peek()
            if c and c in _BLANKS:
                self._at += 1
            elif c == "\\" and self._peek(1) == "\n":
                self._continuation()
            elif c == "#" and (self._at == 0 or self.text[self._at - 1] in _META):
                end = self.text.find("\n", self._at)
                self._at = self._end if end < 0 else end
                return
            else:
                return

    def _newlines(self) -> None:
        while True:
            self._blanks()
            if self._peek() != "\n":
                return
            self._newline()

    def _newline(self) -> None:
        self._at += 1
        pending, self._pending = self._pending, []
        for redirect, delimiter, quoted, stripped in pending:
            self._here_document(redirect, delimiter, quoted, stripped)

    def _newlines_within(self) -> None:
        """As `_newlines`, where no here-document may begin."""
        if self._pending:
            self._blanks()
            if self._peek() == "\n":
                raise Unreadable("a here-document begins within brackets")
        self._newlines()

    def _no_pending(self) -> None:
        if self._pending:
            raise Unreadable("a here-document has no text")

    # --- lists and compound commands ------------------------------------------------------------------------------------

    def _list(self, ends: tuple[str, ...]) -> None:
        """Commands up to one of the reserved words `ends`, a `)`, a `;;`, or the end."""
        while True:
            self._newlines()
            if self._closing(ends):
                return
            self._and_or()
            self._blanks()
            c = self._peek()
            if c == ";" and self._peek(1) in (";", "&"):
                return
            if c == ";" or (c == "&" and self._peek(1) not in ("&", ">")):
                self._at += 1
                self._not_continued()
            elif c == "\n":
                continue
            elif c not in ("", ")"):
                raise self._unexpected()

    def _closing(self, ends: tuple[str, ...]) -> bool:
        c = self._peek()
        if c in ("", ")") or (c == ";" and self._peek(1) in (";", "&")):
            return True
        return bool(ends) and self._keyword() in ends

    def _keyword(self) -> str | None:
        """The reserved word that stands here, which is not taken."""
        found = _KEYWORD.match(self.text, self._at)
        if found is None:
            return None
        word = found[0].replace("\\\n", "")
        after = self.text[found.end() : found.end() + 1]
        if word not in _RESERVED or (after and after not in _META):
            return None
        return word

    def _take(self, keyword: str) -> None:
        self._blanks()
        if self._keyword() != keyword:
            raise self._unexpected()
        found = _KEYWORD.match(self.text, self._at)
        assert found is not None
        self._at = found.end()

    def _not_continued(self) -> None:
        """After an operator: a continued line must not make it a longer one."""
        if self._looking_at("\\\n") and self._peek(2) in tuple("&|;<>()"):
            raise Unreadable("a line is continued within an operator")

    def _and_or(self) -> None:
        while True:
            self._pipeline()
            self._blanks()
            if not (self._looking_at("&&") or self._looking_at("||")):
                return
            self._at += 2
            self._not_continued()
            self._newlines()

    def _pipeline(self) -> None:
        while True:
            self._blanks()
            while self._keyword() == "!":
                self._take("!")
                self._blanks()
            self._command()
            self._blanks()
            if self._peek() != "|" or self._peek(1) == "|":
                return
            self._at += 2 if self._peek(1) == "&" else 1
            self._not_continued()
            self._newlines()

    def _command(self) -> None:
        self._deeper()
        self._blanks()
        c = self._peek()
        if c == "(":
            if self._peek(1) == "(":
                self._at += 2
                self._arithmetic("))")
            else:
                self._at += 1
                self._not_continued()
                self._list(())
                self._expect(")")
            self._redirected()
        else:
            match self._keyword():
                case None:
                    self._simple()
                case "{":
                    self._take("{")
                    self._list(("}",))
                    self._take("}")
                    self._redirected()
                case "if":
                    self._if()
                    self._redirected()
                case "while" | "until" as word:
                    self._take(word)
                    self._list(("do",))
                    self._do()
                    self._redirected()
                case "for" | "select" as word:
                    self._for(word)
                    self._redirected()
                case "case":
                    self._case()
                    self._redirected()
                case "[[":
                    self._take("[[")
                    self._test()
                    self._redirected()
                case "function":
                    self._take("function")
                    self._blanks()
                    name = self._word()
                    if name is None:
                        raise self._unexpected()
                    self._blanks()
                    if self._peek() == "(":
                        self._at += 1
                        self._blanks()
                        self._expect(")")
                    self._body()
                case "time":
                    self._time()
                case "coproc":
                    self._note("it starts a coprocess")
                    self._take("coproc")
                    self._command()
                case _:
                    raise self._unexpected()
        self._depth -= 1

    def _expect(self, c: str) -> None:
        if self._peek() != c:
            raise self._unexpected()
        self._at += 1

    def _time(self) -> None:
        """The keyword, when a compound command follows; else `time` is read as the program it also is."""
        start = self._at
        self._take("time")
        self._blanks()
        if self._looking_at("-p") and self._peek(2) in _BLANKS:
            self._at += 2
            self._blanks()
        if self._peek() == "(" or self._keyword() is not None:
            self._pipeline()
        else:
            self._at = start
            self._simple()

    def _if(self) -> None:
        self._take("if")
        self._list(("then",))
        self._take("then")
        self._list(("elif", "else", "fi"))
        while self._keyword() == "elif":
            self._take("elif")
            self._list(("then",))
            self._take("then")
            self._list(("elif", "else", "fi"))
        if self._keyword() == "else":
            self._take("else")
            self._list(("fi",))
        self._take("fi")

    def _do(self) -> None:
        self._take("do")
        self._list(("done",))
        self._take("done")

    def _for(self, word: str) -> None:
        self._take(word)
        self._blanks()
        if self._looking_at("(("):
            self._at += 2
            self._arithmetic("))")
            self._blanks()
            if self._peek() == ";":
                self._at += 1
            self._newlines()
            self._do()
            return
        name = self._word()
        if name is None or not _NAME.fullmatch(name.text) or not name.exact:
            raise self._unexpected()
        self._newlines()
        if self._keyword() == "in":
            self._take("in")
            while True:
                self._blanks()
                value = self._word()
                if value is None:
                    break
            self._add(Simple(sets=[(name.text, None)]))
            if self._peek() not in (";", "\n"):
                raise self._unexpected()
        else:
            self._add(Simple(sets=[(name.text, None)]))
        if self._peek() == ";":
            self._at += 1
        self._newlines()
        self._do()

    def _case(self) -> None:
        self._take("case")
        self._blanks()
        if self._word() is None:
            raise self._unexpected()
        self._newlines()
        self._take("in")
        while True:
            self._newlines()
            if self._keyword() == "esac":
                break
            if self._peek() == "(":
                self._at += 1
            while True:
                self._blanks()
                if self._word() is None:
                    raise self._unexpected()
                self._blanks()
                if self._peek() != "|":
                    break
                self._at += 1
            self._expect(")")
            self._list(("esac",))
            if self._peek() == ";":
                self._at += 2
                if self.text[self._at - 1] == ";" and self._peek() == "&":
                    self._at += 1
            elif self._keyword() != "esac":
                raise self._unexpected()
        self._take("esac")

    def _body(self) -> None:
        """A function's body. It is judged where it is defined, so calling it needs no further look."""
        self._newlines()
        if self._peek() != "(" and self._keyword() not in ("{", "if", "while", "until", "for", "select", "case", "[["):
            raise self._unexpected()
        self._command()

    def _test(self) -> None:
        """What stands between `[[` and `]]`."""
        before: Word | None = None
        while True:
            self._newlines_within()
            if self._keyword() == "]]":
                self._take("]]")
                return
            c = self._peek()
            if c == "":
                raise self._unexpected()
            if self._looking_at("&&") or self._looking_at("||"):
                self._at += 2
                before = None
            elif c in "<>" and self._peek(1) == "(":
                self._word()
                before = None
            elif c in "()<>":
                self._at += 1
                before = None
            elif c in "|&;":
                raise self._unexpected()
            else:
                pattern = before is not None and before.text in ("=~", "==", "=", "!=")
                word = self._pattern() if pattern else self._word()
                if word is None:
                    raise self._unexpected()
                if before is not None:
                    left, right = before.text, word.text
                    if (_NUMERIC.match(left) and not _NUMBER.match(right)) or (
                        _NUMERIC.match(right) and not _NUMBER.match(left)
                    ):
                        self._note("it compares numbers that are not known, which may run a command")
                    if left in ("-v", "-R") and not _NAME.fullmatch(right):
                        self._note("it looks up a variable by a name that may run a command")
                before = word

    def _pattern(self) -> Word:
        """The right side of a comparison in `[[ ]]`, where parentheses and bars are part of the word."""
        start = self._at
        level = 0
        while True:
            c = self._peek()
            if c == "":
                raise self._unexpected()
            if level == 0 and c in " \t\n&;":
                break
            if c == "(":
                level += 1
                self._at += 1
            elif c == ")":
                if level == 0:
                    break
                level -= 1
                self._at += 1
            elif c in "|" or (level and c in " \t\n<>&;"):
                self._at += 1
            elif c in "<>":
                break
            else:
                self._pieces([], True)
        raw = self.text[start : self._at]
        return Word(raw, exact=False, raw=raw)

    # --- simple commands --------------------------------------------------------------------------------------------------

    def _add(self, command: Simple) -> None:
        self.commands.append(command)
        if len(self.commands) > MAX_COMMANDS:
            raise Unreadable(f"it has more than {MAX_COMMANDS} commands")

    def _simple(self) -> None:
        command = Simple()
        # Substitutions within are met first; the command itself keeps its place before them.
        self._add(command)
        taken = False
        while True:
            self._blanks()
            if self._redirect(command):
                taken = True
                continue
            if not command.words and self._assigned(command):
                taken = True
                continue
            start = self._at
            words = self._words()
            if words is None:
                break
            if not command.words:
                first = words[0]
                if not first.quoted and first.text in _RESERVED and first.text != "time":
                    raise Unreadable(f"the keyword {first.text!r} stands where it is none")
                if "\\\n" in first.raw and (_ASSIGNMENT.match(first.text) or _SUBSCRIPTED.match(first.text)):
                    raise Unreadable("a variable is set over a continued line")
                command.start = start
                self.starts.add(start)
                self._blanks()
                if self._peek() == "(":
                    self._function(words)
                    self.commands.remove(command)
                    self.starts.discard(start)
                    return
            if self._peek() in ("<", ">") and _VARIABLE_DESCRIPTOR.match(words[-1].raw):
                raise Unreadable("a redirection sets a variable")
            taken = True
            command.words += words
        if not taken:
            raise self._unexpected()
        if self._peek() == "(":
            raise self._unexpected()

    def _function(self, words: list[Word]) -> None:
        """`name ( )` and a body."""
        self._at += 1
        self._blanks()
        self._expect(")")
        if len(words) != 1 or not words[0].exact or words[0].quoted:
            raise Unreadable("a function has an odd name")
        self._body()

    def _assigned(self, command: Simple) -> bool:
        if _SUBSCRIPTED.match(self.text, self._at):
            raise Unreadable("it sets an element of an array, whose index may run a command")
        found = _ASSIGNMENT.match(self.text, self._at)
        if found is None:
            return False
        self._at = found.end()
        name = found[1]
        if self._peek() == "(":
            self._at += 1
            self._array()
            command.sets.append((name, None))
            return True
        value = self._word(assignment=True)
        command.sets.append((name, value or literal_word("")))
        return True

    def _array(self) -> None:
        while True:
            self._newlines_within()
            if self._peek() == ")":
                self._at += 1
                return
            if self._peek() == "[":
                raise Unreadable("it sets an element of an array, whose index may run a command")
            if self._word() is None:
                raise self._unexpected()

    def _redirected(self) -> None:
        """The redirections of a compound command, kept as a command without words."""
        command = Simple()
        self._blanks()
        while self._redirect(command):
            self._blanks()
        if command.redirects:
            self._add(command)

    def _redirect(self, command: Simple) -> bool:
        start = self._at
        number = ""
        if found := _DESCRIPTOR.match(self.text, self._at):
            number = found[0]
            if self.text[found.end() : found.end() + 2] in ("<(", ">("):
                return False
            self._at = found.end()
        found = _REDIRECT.match(self.text, self._at)
        if found is None or self.text[self._at : self._at + 2] in ("<(", ">("):
            self._at = start
            return False
        operator = found[0]
        self._at = found.end()
        self._not_continued()
        self._blanks()
        if operator in ("<<", "<<-"):
            self._delimited(command, operator, number)
            return True
        if operator in ("<&", ">&") and self._peek() == "-":
            # The dash closes a descriptor and is a word of its own, whatever follows it.
            self._at += 1
            self._not_continued()
            command.redirects.append(Redirect(operator, None, number=number, copies=True))
            return True
        word = self._word()
        if word is None:
            raise self._unexpected()
        redirect = Redirect(operator, word.text if word.exact else None, number=number)
        command.redirects.append(redirect)
        if operator == "<<<":
            redirect.body = word.text + "\n" if word.exact else None
        elif word.text.startswith(("/dev/tcp", "/dev/udp")):
            self._note("it redirects to the network")
        elif operator in ("<&", ">&") and word.exact and _DUPLICATED.match(word.text):
            redirect.copies = True
        return True

    def _delimited(self, command: Simple, operator: str, number: str) -> None:
        """The word a here-document ends at, which is not expanded; the text itself comes after the line."""
        start = self._at
        items = self._items()
        if items is None:
            raise self._unexpected()
        if "\n" in self.text[start : self._at] or any(i.kind == "expansion" for i in items):
            raise Unreadable("a here-document ends at a word that is not plain")
        redirect = Redirect(operator, None, number=number)
        command.redirects.append(redirect)
        quoted = any(i.quoted for i in items)
        self._pending.append((redirect, "".join(i.text for i in items), quoted, operator == "<<-"))

    def _here_document(self, redirect: Redirect, delimiter: str, quoted: bool, stripped: bool) -> None:
        begin = self._at
        lines: list[str] = []
        joined: str | None = None
        while True:
            if self._at >= self._end:
                raise Unreadable("a here-document has no end")
            end = self.text.find("\n", self._at)
            end = self._end if end < 0 else end
            raw = self.text[self._at : end]
            line = raw.lstrip("\t") if stripped else raw
            if joined is None and line == delimiter:
                break
            if joined is not None and delimiter in (raw, line, joined + raw, joined + line):
                raise Unreadable("the end of a here-document is on a continued line")
            whole = (joined or "") + line
            odd = (len(whole) - len(whole.rstrip("\\"))) % 2 == 1
            joined = whole[:-1] if odd and not quoted else None
            lines.append(line + "\n")
            self._at = end + 1
        stop = self._at
        redirect.body = "".join(lines)
        if not quoted:
            inner = Reader(redirect.body, self._depth)
            inner._deeper()
            inner.commands, inner.problems, inner.scripts = self.commands, self.problems, self.scripts
            redirect.body = inner._within_here_document()
            # With tabs taken out its places are not those of the whole text.
            if inner.starts and stripped:
                self._note("commands stand in a here-document with tabs taken out")
            self.starts |= {begin + start for start in inner.starts}
        end = self.text.find("\n", stop)
        self._at = self._end if end < 0 else end + 1

    def _within_here_document(self) -> str | None:
        """Read the substitutions of this text; its own text when there are none, with escapes resolved."""
        out: list[str] = []
        known = True
        while self._at < self._end:
            c = self._peek()
            if c == "\\":
                after = self._peek(1)
                if after == "\n":
                    self._at += 2
                elif after and after in "$`\\":
                    out.append(after)
                    self._at += 2
                else:
                    out.append(c)
                    self._at += 1
            elif c in "$`":
                if self._substitution([], inside=True):
                    known = False
                else:
                    out.append(c)
            else:
                run = _HERE.match(self.text, self._at)
                assert run is not None
                out.append(run[0])
                self._at = run.end()
        return "".join(out) if known else None

    # --- words ------------------------------------------------------------------------------------------------------------

    def _word(self, *, assignment: bool = False) -> Word | None:
        """One word, or None when none begins here. One that becomes several comes back as uncertain."""
        start = self._at
        items = self._items()
        if items is None:
            return None
        if not assignment:
            several = _braces(items)
            if several is None or len(several) != 1:
                raw = self.text[start : self._at]
                return Word(raw, exact=False, splits=True, quoted=any(i.quoted for i in items), raw=raw, start=start)
            items = several[0]
        return self._made(items, start, assignment)

    def _words(self) -> list[Word] | None:
        """One word as the words that braces make of it, or None when none begins here."""
        start = self._at
        items = self._items()
        if items is None:
            return None
        several = _braces(items)
        if several is None:
            raw = self.text[start : self._at]
            return [Word(raw, exact=False, splits=True, quoted=True, raw=raw, start=start)]
        made = [self._made(one, start, False) for one in several]
        # An empty word that nothing quoted is dropped, as bash does.
        kept = [word for word in made if word.text or word.quoted or not word.exact]
        return kept or [Word("", exact=False, splits=True, quoted=True, raw=self.text[start : self._at], start=start)]

    def _items(self) -> list[_Item] | None:
        start = self._at
        items: list[_Item] = []
        if not self._pieces(items, False):
            return None
        if "\n" in self.text[start : self._at] and self._pending:
            raise Unreadable("a word goes over lines that a here-document begins on")
        return items

    def _made(self, items: list[_Item], start: int, assignment: bool) -> Word:
        text = "".join(i.text for i in items)
        raw = self.text[start : self._at]
        exact, splits, quoted = True, False, False
        head: list[str] = []
        open_ = True
        plain = ""
        for item in items:
            quoted |= item.quoted
            if item.kind == "expansion":
                exact = False
                splits |= not item.quoted and not assignment
                open_ = False
            elif open_:
                head.append(item.text)
            plain += item.text if item.kind == "plain" else "\0" * len(item.text)
        globs = not assignment and plain not in ("[", "]", "[[", "]]") and any(c in plain for c in "*?[")
        if globs:
            exact = False
            first = min(plain.index(c) for c in "*?[" if c in plain)
            # The expansion begins with what stands before the first of them.
            known = "".join(head)
            head = [known[: min(first, len(known))]]
        return Word(text, exact, "".join(head), splits, globs, quoted, raw, start)

    def _pieces(self, items: list[_Item], inside: bool) -> bool:
        """The pieces of a word, up to a blank or an operator. False when there is none."""
        found = False
        while True:
            c = self._peek()
            if c == "" or (c in _META and not (c in "<>" and self._peek(1) == "(")):
                if c == "(" and found and not inside and items and not self._function_follows(items):
                    raise Unreadable("a parenthesis follows a word")
                return found
            if c in "<>":
                start = self._at
                self._at += 2
                self._substituted()
                items.append(_Item(self.text[start : self._at], "expansion", True))
            elif c == "\\":
                after = self._peek(1)
                if after == "\n":
                    self._continuation()
                    if not found and (self._peek() == "" or self._peek() in _META or self._peek() == "#"):
                        raise Unreadable("a line is continued where a word would begin")
                    continue
                if after == "":
                    raise Unreadable("it ends in a backslash")
                items.append(_Item(after, "quoted", True))
                self._at += 2
            elif c == "'":
                end = self.text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed")
                items.append(_Item(self.text[self._at + 1 : end], "quoted", True))
                self._at = end + 1
            elif c == '"':
                self._at += 1
                self._string(items)
            elif c in "$`":
                if not self._substitution(items):
                    items.append(_Item("$", "plain"))
            elif run := _PLAIN.match(self.text, self._at):
                items.append(_Item(run[0], "plain"))
                self._at = run.end()
            else:
                if not c.isascii():
                    self._checked(c)
                items.append(_Item(c, "plain"))
                self._at += 1
            found = True
            if inside and self._peek() in ("|", ")", "("):
                return True

    def _function_follows(self, items: list[_Item]) -> bool:
        return _EMPTY_PARENTHESES.match(self.text, self._at) is not None and all(i.kind == "plain" for i in items)

    def _checked(self, c: str) -> None:
        """A character that is not ASCII and not quoted: some shells take some of their bytes for blanks."""
        if unicodedata.category(c)[0] in "ZC":
            raise Unreadable(f"it holds the invisible character U+{ord(c):04X} outside quotes")
        if any(byte in (0x85, 0xA0) for byte in c.encode()):
            self._note(f"some shells take {c!r} outside quotes for a blank")

    def _string(self, items: list[_Item]) -> None:
        """The rest of a double-quoted string."""
        items.append(_Item("", "quoted", True))
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a quote is not closed")
            if c == '"':
                self._at += 1
                return
            if c == "\\":
                after = self._peek(1)
                if after == "\n":
                    if self.text[self._at - 1] in "$`":
                        raise Unreadable("a line is continued within a substitution")
                elif after and after in '$`"\\':
                    items.append(_Item(after, "quoted", True))
                else:
                    items.append(_Item(c + after, "quoted", True))
                self._at += 2
            elif c in "$`":
                if not self._substitution(items, inside=True):
                    items.append(_Item("$", "quoted", True))
            else:
                run = _QUOTED.match(self.text, self._at)
                assert run is not None
                items.append(_Item(run[0], "quoted", True))
                self._at = run.end()

    def _substitution(self, items: list[_Item], *, inside: bool = False) -> bool:
        """What `$` or a backquote begins, `inside` double quotes or not. False for a lone `$`, which is passed over."""
        start = self._at
        steady = False
        if self._peek() == "`":
            self._backquoted(inside)
        else:
            self._at += 1
            c = self._peek()
            if c == "\\" and self._peek(1) == "\n":
                raise Unreadable("a line is continued within a substitution")
            if c == "(" and self._peek(1) == "(":
                self._at += 2
                self._arithmetic("))")
                steady = True
            elif c == "(":
                self._at += 1
                self._substituted()
            elif c == "{":
                self._at += 1
                self._parameter(inside)
            elif c == "[":
                self._at += 1
                self._note("it uses an old form of arithmetic")
                self._arithmetic("]")
            elif c == "'" and not inside:
                items.append(_Item(self._escaped(), "quoted", True))
                return True
            elif c == '"' and not inside:
                self._at += 1
                self._string(items)
                return True
            elif found := _NAME.match(self.text, self._at):
                self._at = found.end()
                if found[0] == "IFS":
                    self._note("it uses IFS")
            elif c and c in "*@#?-$!0123456789":
                self._at += 1
                steady = c in "?#$"
            else:
                return False
        items.append(_Item(self.text[start : self._at], "expansion", inside or steady))
        return True

    def _substituted(self) -> None:
        """The rest of `$(...)`, `<(...)` or `>(...)`."""
        outer, self._pending = self._pending, []
        self._deeper()
        self._not_continued()
        self._list(())
        self._no_pending()
        self._expect(")")
        self._depth -= 1
        self._pending = outer

    def _backquoted(self, inside: bool) -> None:
        self._at += 1
        out: list[str] = []
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a backquote is not closed")
            if c == "`":
                break
            if c == "\\":
                after = self._peek(1)
                if inside and after == '"':
                    raise Unreadable("quotes are escaped within backquotes within quotes")
                if after in ("$", "`", "\\"):
                    out.append(after)
                else:
                    out.append(c + after)
                self._at += 2
            else:
                out.append(c)
                self._at += 1
        self._at += 1
        inner = Reader("".join(out), self._depth)
        inner._deeper()
        inner.commands, inner.problems, inner.scripts = self.commands, self.problems, self.scripts
        self.scripts.append(inner)
        # Where it ends is known: what is wrong inside does not keep the rest from being read.
        inner.read()

    def _parameter(self, inside: bool) -> None:
        """The rest of `${...}`."""
        start = self._at
        if self._peek() == "!":
            self._note("it looks up a variable by a name that may run a command")
            self._at += 1
        elif self._peek() == "#" and self._peek(1) != "}":
            self._at += 1
        found = _PARAMETER.match(self.text, self._at)
        if found is None:
            raise Unreadable("a '${' is not followed by a name")
        self._at = found.end()
        if found[0] == "IFS":
            self._note("it uses IFS")
        if self._peek() == "[":
            index = _INDEX.match(self.text, self._at)
            if index is None:
                raise Unreadable("the index of an array may run a command")
            self._at = index.end()
        c = self._peek()
        if c == "}":
            self._at += 1
            return
        two = self.text[self._at : self._at + 2]
        if two == ":=" or c == "=":
            self._note(f"it sets the variable {found[0]!r} while it is looked up")
            self._at += 2 if c == ":" else 1
        elif two in (":-", ":+", ":?"):
            self._at += 2
        elif c == ":":
            piece = _SLICE.match(self.text, self._at)
            if piece is None:
                raise Unreadable("the part of a variable is taken by a calculation that may run a command")
            self._at = piece.end()
            return
        elif c == "@":
            if self._peek(1) not in tuple("QEAaUuLkK") or self._peek(2) != "}":
                raise Unreadable("a variable is expanded like a prompt, which may run a command")
            self._at += 3
            return
        elif c and c in "-+?#%/^,":
            self._at += 1
        else:
            raise Unreadable(f"'${{{self.text[start : self._at + 1]}' is not understood")
        self._deeper()
        self._until_brace(inside)
        self._depth -= 1

    def _until_brace(self, inside: bool) -> None:
        """The word within `${...}`, with the brace that ends it."""
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a '${' is not closed")
            if c == "}":
                self._at += 1
                return
            if c == "\\":
                if self._peek(1) in ("", "\n"):
                    raise Unreadable("a line is continued within a '${'")
                self._at += 2
            elif c == "'":
                if inside:
                    raise Unreadable("a single quote stands within '${' within quotes")
                end = self.text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed")
                self._at = end + 1
            elif c == '"':
                self._at += 1
                self._string([])
            elif c in "$`":
                self._substitution([], inside=inside)
            elif c in "<>" and self._peek(1) == "(" and not inside:
                self._at += 2
                self._substituted()
            else:
                self._at += 1

    def _arithmetic(self, end: str) -> None:
        """The rest of an arithmetic expression, with what ends it. Only numbers, operators and a few variables that hold
        numbers are no problem: the value of any other is itself read as an expression, in which commands may stand."""
        start = self._at
        level = 0
        self._deeper()
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("arithmetic is not closed")
            if level == 0 and self._looking_at(end):
                break
            if c == "(" and end == "))":
                level += 1
                self._at += 1
            elif c == ")" and end == "))":
                if level == 0:
                    raise Unreadable("'((' begins something that is no arithmetic")
                level -= 1
                self._at += 1
            elif c in "$`":
                self._substitution([], inside=True)
            elif c in "'\"\\":
                raise Unreadable("arithmetic holds a quote")
            else:
                self._at += 1
        inner = self.text[start : self._at]
        if not _CONSTANT.match(inner):
            self._note("it calculates with variables, which may run a command")
        self._at += len(end)
        self._depth -= 1

    def _escaped(self) -> str:
        """The rest of `$'...'`."""
        self._at += 1
        out = bytearray()
        while True:
            c = self._peek()
            if c == "":
                raise Unreadable("a quote is not closed")
            if c == "'":
                self._at += 1
                break
            if c != "\\":
                out += c.encode()
                self._at += 1
                continue
            after = self._peek(1)
            if after in _SIMPLE_ESCAPES:
                out += _SIMPLE_ESCAPES[after]
                self._at += 2
            elif found := _CODE.match(self.text, self._at):
                octal, hexadecimal, short, long = found.groups()
                point = short or long
                if point is not None:
                    code = int(point, 16)
                    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                        raise Unreadable("an escape names no character")
                    out += chr(code).encode()
                else:
                    code = int(octal, 8) if octal is not None else int(hexadecimal, 16)
                    out.append(code & 0xFF)
                self._at = found.end()
            elif after in ("c", "") or self._looking_at("\\x{"):
                raise Unreadable("an unusual escape is used")
            else:
                out += (c + after).encode()
                self._at += 2
        try:
            text = out.decode()
        except UnicodeDecodeError:
            raise Unreadable("an escape makes no proper text") from None
        if "\0" in text:
            raise Unreadable("an escape makes a NUL character")
        return text


_SIMPLE_ESCAPES = {
    "a": b"\a", "b": b"\b", "e": b"\x1b", "E": b"\x1b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v",
    "\\": b"\\", "'": b"'", '"': b'"', "?": b"?",
}  # fmt: skip
_CODE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8}))")


@dataclass(slots=True, frozen=True)
class _Item:
    """A piece of a word. `kind`: plain, quoted, or expansion; an expansion that is `quoted` stays one word."""

    text: str
    kind: str
    quoted: bool = False


def _braces(items: list[_Item]) -> list[list[_Item]] | None:
    """The words that brace expansion makes of one; None when it cannot be told."""
    opened = sum(i.kind == "plain" and i.text == "{" for i in items)
    if not opened:
        return [items]
    return _expanded(items, 0) if opened <= MAX_BRACES else None


def _expanded(items: list[_Item], depth: int) -> list[list[_Item]] | None:
    if depth > 8:
        return None
    for at, item in enumerate(items):
        if item.kind != "plain" or item.text != "{":
            continue
        level, commas, close = 0, [], -1
        for inner in range(at, len(items)):
            if items[inner].kind != "plain":
                continue
            match items[inner].text:
                case "{":
                    level += 1
                case "}":
                    level -= 1
                    if level == 0:
                        close = inner
                        break
                case "," if level == 1:
                    commas.append(inner)
        if close < 0:
            continue
        if not commas:
            between = "".join(i.text for i in items[at + 1 : close] if i.kind == "plain")
            if ".." in between:
                return None
            continue
        cuts = [at, *commas, close]
        before, after = items[:at], items[close + 1 :]
        rest = _expanded(after, depth + 1)
        if rest is None:
            return None
        found: list[list[_Item]] = []
        for left, right in pairwise(cuts):
            middle = _expanded(items[left + 1 : right], depth + 1)
            if middle is None:
                return None
            found += [[*before, *one, *tail] for one in middle for tail in rest]
            if len(found) > MAX_BRACES:
                return None
        return found
    return [items]
