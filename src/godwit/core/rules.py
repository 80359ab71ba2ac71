"""Permission rules as a person writes them: `Tool` or `Tool(pattern)`, read once, matched often.

Owns how a rule is read and what its pattern matches. Leaves out what a call's text is (each tool's `subject`), how a shell
command falls into parts (`contracts.ShellParser`), and which of several rules wins (`engine.permissions`).

A pattern is read in two ways, by what the rule is for. One that allows is read narrowly: in a command, `*` within a word
ends with that word. One that denies or asks is read widely: there `*` matches anything, and upper and lower case are one,
since some file systems hold them to be. So whatever a pattern leaves open is decided the safe way.

Rules a change must keep: a rule that cannot be read is refused where it is given, never read as another one; matching takes
time in proportion to the text, whatever the pattern, so no regular expression is made of it; in paths `*` stops at `/` and
`**` crosses it; `:*` is a prefix on whole words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from .errors import ConfigurationError
from .lanes import Lane

Verdict = Literal["allow", "ask", "deny"]

SubjectKind = Literal["command", "path", "url", "text"]
Reading = Literal["narrow", "wide"]

MAX_RULE = 1000
"""Characters a rule may have: matching costs a little for each."""


SKILL_LIMITS = "allowed_tools"
"""In the metadata of a loaded skill's result: the rules of all that its run may do from then on."""


class Subject(msgspec.Struct, frozen=True):
    """What the patterns of a tool's rules are matched against, for one call.

    `kind` `path`: relative to the workspace or absolute; whoever judges makes it one name per file. `url`: absolute.
    `text`: anything else, by default the arguments as JSON with sorted keys. `tree`: the call reaches what lies below the
    path as well.
    """

    kind: SubjectKind
    text: str
    tree: bool = False


class Rule(msgspec.Struct, frozen=True):
    """A rule that was read. `tool` in lower case, `*` and `?` allowed; `pattern` None: any call of the tool."""

    text: str
    tool: str
    pattern: str | None = None

    def __str__(self) -> str:
        return self.text


class Permissions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which calls may run. Entries are rules; deny beats allow beats ask beats `default`. ConfigurationError."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    default: Verdict = "allow"

    def __post_init__(self) -> None:
        for rule in (*self.allow, *self.ask, *self.deny):
            parse(rule)


ConfirmationInheritance = Literal["auto_approve", "deny_on_ask", "inherit_parent"]
"""What becomes of a call that the rules of a subagent ask about. `inherit_parent`: a person is asked, on the sessions above.
`auto_approve`: its own rules do not ask; those of the sessions above still do. `deny_on_ask`: nobody is asked, and what any
of these rules ask about is denied. Where an agent works for no other, a person is asked."""


class ApprovalPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How calls that must be approved are treated.

    `timeout_s`: seconds after which a pending approval is answered by itself, as `on_timeout` says; None (the default)
    waits for as long as it takes. `auto`: kinds of work that are approved without asking. `on_ask` `deny`: nobody is asked,
    and what would have to be asked is denied.
    """

    timeout_s: float | None = None
    on_timeout: Literal["deny", "approve"] = "deny"
    auto: tuple[Lane, ...] = ()
    on_ask: Literal["wait", "deny"] = "wait"

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ConfigurationError(
                f"approval timeout_s={self.timeout_s!r} must be more than 0 seconds, or None to wait", value=self.timeout_s
            )


# --- reading a rule ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse(text: str) -> Rule:
    """The rule that `text` is. ConfigurationError, naming the rule and what is wrong with it."""
    if not isinstance(text, str):
        raise ConfigurationError(f"a permission rule is a text such as 'bash(git status:*)', not {text!r}", rule=repr(text))
    if not text.strip():
        raise _unreadable(text, "it names no tool")
    if len(text) > MAX_RULE:
        raise _unreadable(text[:60] + "...", f"it has {len(text)} characters, and at most {MAX_RULE} are allowed")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise _unreadable(text, "it holds a control character")
    if text != text.strip():
        raise _unreadable(text, "it begins or ends with a blank")
    tool, opened, rest = text.partition("(")
    pattern: str | None = None
    if opened:
        if not rest.endswith(")"):
            raise _unreadable(text, "the closing parenthesis has to be its last character")
        pattern = rest[:-1]
        if not pattern:
            raise _unreadable(text, f"the pattern is empty; write {tool!r} for any call of the tool")
    if not tool:
        raise _unreadable(text, "no tool stands before the parenthesis")
    if wrong := sorted({c for c in tool if c in "()[]{},'\"\\" or c.isspace()}):
        raise _unreadable(text, f"the tool part {tool!r} holds {' '.join(map(repr, wrong))}")
    if pattern is not None:
        _tokens(pattern, text)
    return Rule(text, tool.lower(), pattern)


def _unreadable(rule: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"permission rule {rule!r} cannot be read: {what}", rule=rule, problem=what)


def literal(text: str) -> str:
    """`text` as a pattern that matches just it."""
    return "".join("\\" + c if c in "\\*?[" else c for c in text)


def open_ended(rule: Rule) -> bool:
    """Whether the pattern matches more than one text."""
    return rule.pattern is None or any(not isinstance(t, str) for t in _tokens(rule.pattern, rule.text).items)


def total(rule: Rule) -> bool:
    """Whether the rule matches its tool's calls whatever their arguments."""
    return rule.pattern is None or rule.pattern in ("*", "**")


def covers(rule: Rule, tool: str) -> bool:
    """Whether the rule is about this tool. `mcp__server` is about all of the server's tools."""
    return _covers(rule.tool, tool.lower())


@lru_cache(maxsize=4096)
def _covers(wanted: str, tool: str) -> bool:
    if _wildcard(wanted, tool):
        return True
    return wanted.startswith("mcp__") and "__" not in wanted[5:] and _wildcard(wanted + "__*", tool)


def _wildcard(pattern: str, text: str) -> bool:
    """`*` and `?` alone; goes back to the last `*` only, which is enough for them."""
    at, p, star, mark = 0, 0, -1, 0
    while at < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark, p = p, at, p + 1
        elif p < len(pattern) and pattern[p] in ("?", text[at]):
            p, at = p + 1, at + 1
        elif star >= 0:
            mark += 1
            p, at = star + 1, mark
        else:
            return False
    return all(c == "*" for c in pattern[p:])


# --- patterns -----------------------------------------------------------------------------------------------------------


class _Set(msgspec.Struct, frozen=True):
    """`[...]`: single characters and ranges."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def holds(self, c: str) -> bool:
        return any(low <= c <= high for low, high in self.ranges) != self.negated


class _Any(msgspec.Struct, frozen=True):
    """`?`."""


class _Star(msgspec.Struct, frozen=True):
    """`*`, or `**` when `deep`. `word`: it stands alone between blanks."""

    deep: bool
    word: bool = False


class _Folders(msgspec.Struct, frozen=True):
    """`**/` at the beginning of a name: any number of folders, none included."""


class _Below(msgspec.Struct, frozen=True):
    """`/**` at the end: the folder itself and all that is in it."""


class _Words(msgspec.Struct, frozen=True):
    """`:*` at the end: nothing more, or a blank and anything."""


_Token = str | _Set | _Any | _Star | _Folders | _Below | _Words


class _Tokens(msgspec.Struct, frozen=True):
    items: tuple[_Token, ...]


@lru_cache(maxsize=4096)
def _tokens(pattern: str, rule: str) -> _Tokens:
    """What the pattern is made of; single characters as they are. ConfigurationError."""
    found: list[_Token] = []
    at, end = 0, len(pattern)
    prefix = pattern.endswith(":*") and not _escaped(pattern, end - 2)
    if prefix:
        end -= 2
        if end == 0:
            raise _unreadable(rule, "nothing stands before ':*'; write '*' for everything")
        if pattern[end - 1] == " ":
            raise _unreadable(rule, "a blank stands before ':*', which begins a new word by itself")
    while at < end:
        c = pattern[at]
        if c == "\\":
            if at + 1 == end:
                raise _unreadable(rule, "it ends in a lone backslash; write two for one")
            found.append(pattern[at + 1])
            at += 2
        elif c == "*":
            stop = at
            while stop < end and pattern[stop] == "*":
                stop += 1
            deep = stop - at > 1
            first = at == 0 or pattern[at - 1] == "/"
            if deep and first and stop < end and pattern[stop] == "/":
                found.append(_Folders())
                stop += 1
            elif deep and stop == end and not prefix and found and found[-1] == "/":
                found[-1] = _Below()
            else:
                alone = (at == 0 or pattern[at - 1] == " ") and (stop == end or pattern[stop] == " ")
                found.append(_Star(deep, alone))
            at = stop
        elif c == "?":
            found.append(_Any())
            at += 1
        elif c == "[":
            made, at = _set(pattern, at, end, rule)
            found.append(made)
        else:
            found.append(c)
            at += 1
    if prefix:
        found.append(_Words())
    return _Tokens(tuple(found))


def _escaped(pattern: str, at: int) -> bool:
    """Whether the character at `at` is taken literally: an odd number of backslashes stands before it."""
    before = pattern[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _set(pattern: str, at: int, end: int, rule: str) -> tuple[_Set, int]:
    start = at
    at += 1
    negated = at < end and pattern[at] in "!^"
    at += negated
    ranges: list[tuple[str, str]] = []

    def one(at: int) -> tuple[str, int]:
        if pattern[at] == "\\" and at + 1 < end:
            return pattern[at + 1], at + 2
        return pattern[at], at + 1

    first = True
    while at < end and (first or pattern[at] != "]"):
        first = False
        low, at = one(at)
        high = low
        if at + 1 < end and pattern[at] == "-" and pattern[at + 1] != "]":
            high, at = one(at + 1)
            if high < low:
                raise _unreadable(rule, f"the range {low}-{high} in '[...]' runs backwards")
        ranges.append((low, high))
    if at >= end:
        raise _unreadable(
            rule, f"the '[' at character {start + 1} of the pattern is not closed; for the character itself write '\\['"
        )
    return _Set(tuple(ranges), negated), at + 1


# A pattern becomes an automaton whose states are the bits of one integer: state i means that the first i tokens have been
# matched. One step per character, whatever the pattern.


class Matcher:
    """A pattern ready to be matched, read one way for one kind of subject. Use `matcher`."""

    __slots__ = ("_accept", "_end", "_folded", "_free", "_head", "_known", "_loops", "_sets", "_singles", "_skips")

    def __init__(self, items: tuple[_Token, ...], kind: SubjectKind, reading: Reading) -> None:
        self._folded = reading == "wide"
        names = kind in ("path", "url")
        # What a `*` and a `?` do not cross.
        if names:
            shallow, deep = "/", ""
        elif kind == "command" and reading == "narrow":
            shallow, deep = "/ \t\n", " \t\n"
        else:
            shallow = deep = ""
        states: list[tuple[str, object]] = []
        skips = 0
        above = 0
        for item in items:
            bit = len(states)
            match item:
                case str():
                    states.append(("one", item.casefold() if self._folded else item))
                case _Set():
                    states.append(("set", (item, shallow)))
                case _Any():
                    states.append(("set", (None, shallow)))
                case _Star(deep=crosses, word=alone):
                    states.append(("star", "" if alone and not names else deep if crosses else shallow))
                case _Folders() if names or reading == "wide":
                    skips |= 1 << bit
                    states += [("skip", ""), ("star", ""), ("one", "/")]
                case _Folders():
                    states += [("star", deep), ("one", "/")]
                case _Below() if names:
                    above |= 1 << bit
                    states += [("one", "/"), ("star", "")]
                case _Below():
                    states += [("one", "/"), ("star", deep)]
                case _Words():
                    above |= 1 << bit
                    ends = "/" if names else " \t\n" if reading == "narrow" else " \t\n;&|<>()`"
                    states += [("set", (ends, "")), ("star", "")]
        self._accept = (1 << len(states)) | above
        self._skips = skips
        self._free = skips | sum(1 << i for i, (what, _) in enumerate(states) if what == "star")
        # A last star that takes anything: once there, every text is matched.
        self._end = 1 << (len(states) - 1) if states and states[-1] == ("star", "") else 0
        self._singles = [(i, str(what)) for i, (k, what) in enumerate(states) if k == "one"]
        self._sets: list[tuple[int, object, str]] = [
            (i, what[0], what[1]) for i, (k, what) in enumerate(states) if k == "set" and isinstance(what, tuple)
        ]
        self._loops = [(i, str(what)) for i, (k, what) in enumerate(states) if k == "star"]
        self._known: dict[str, tuple[int, int]] = {}
        length = next((i for i, (what, c) in enumerate(states) if what != "one" or len(str(c)) > 1), len(states))
        self._head = "".join(wanted for _, wanted in self._singles[:length])
        """The characters every match begins with: most texts are told apart by them, at the cost of one comparison."""

    def matches(self, text: str) -> bool:
        """Whether the whole text is matched."""
        return bool(self._run(text) & self._accept)

    def could(self, beginning: str) -> bool:
        """Whether some text that begins so is matched."""
        return bool(self._run(beginning))

    def always(self, beginning: str) -> bool:
        """Whether every text that begins so is matched."""
        return bool(self._run(beginning) & self._end)

    def _run(self, text: str) -> int:
        head = self._head
        now, rest = 1, text
        if text.isascii():
            begins = text[: len(head)].lower() if self._folded else text[: len(head)]
            if not head.startswith(begins):
                return 0
            now, rest = 1 << len(begins), text[len(begins) :]
        now = self._closed(now)
        known = self._known
        for c in rest:
            if not now or now & self._end:
                break
            step = known.get(c)
            if step is None:
                step = self._step(c)
                if len(known) < 1024:
                    known[c] = step
            now = self._closed(((now & step[0]) << 1) | (now & step[1]))
        return now

    def _closed(self, now: int) -> int:
        """With the states that are reached without a character."""
        free = self._free
        while more := ((now & free) << 1 | (now & self._skips) << 3) & ~now:
            now |= more
        return now

    def _step(self, c: str) -> tuple[int, int]:
        """The states that `c` leads on from, and those in which it stays."""
        forms = {c, c.lower(), c.upper()} if self._folded else {c}
        folded = c.casefold() if self._folded else c
        on = sum(1 << i for i, wanted in self._singles if wanted == folded)
        for i, inside, not_these in self._sets:
            if c in not_these:
                continue
            if (
                inside is None
                or (isinstance(inside, str) and c in inside)
                or (isinstance(inside, _Set) and any(inside.holds(form) for form in forms))
            ):
                on |= 1 << i
        stay = sum(1 << i for i, not_these in self._loops if c not in not_these)
        return on, stay


@lru_cache(maxsize=4096)
def matcher(rule: Rule, kind: SubjectKind, reading: Reading) -> Matcher:
    """The rule's pattern, ready to be matched. A leading `./` of a path is nothing."""
    if total(rule) or rule.pattern is None:
        return Matcher((_Star(True, True),), "text", reading)
    items = _tokens(rule.pattern, rule.text).items
    while kind == "path" and items[:2] == (".", "/") and len(items) > 2:
        items = items[2:]
    return Matcher(items, kind, reading)
