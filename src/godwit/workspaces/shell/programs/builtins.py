"""The shell's own commands: those that do nothing a rule would have to allow, and those that run or change others."""

from __future__ import annotations

import re

from ..commands import Word
from .meaning import Meaning, Program
from .options import assigning, operand, starts
from .variables import harmless


def _neutral(_: list[Word]) -> Meaning:
    return Meaning(neutral=True)


def _odd(why: str) -> Program:
    return lambda _: Meaning().careful(why)


def _printf(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    first = words[1] if len(words) > 1 else None
    if first is not None and first.option and first.text != "--" and (not first.exact or first.text.startswith("-v")):
        made.careful("it may set a variable")
    return made


_BINARY = frozenset(
    ("=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef", "-a", "-o")
)  # fmt: skip
_UNARY = frozenset(f"-{letter}" for letter in "bcdefghkprstuwxGLNOSzn")


def _test(words: list[Word]) -> Meaning:
    """`test` and `[`. `-v` looks a variable up by a name in which commands may stand; what is not known may be a `-v`."""
    made = Meaning(neutral=True)
    inner = words[1:-1] if words[0].text.endswith("[") and words[-1].text == "]" else words[1:]
    for at, word in enumerate(inner):
        if word.exact:
            if word.text in ("-v", "-R"):
                made.careful("it looks up a variable by a name that may run a command")
            continue
        before = inner[at - 1] if at else None
        after = inner[at + 1] if at + 1 < len(inner) else None
        sure = (
            len(inner) == 1
            or (before is not None and before.exact and before.text in _BINARY | _UNARY)
            or (after is not None and after.exact and after.text in _BINARY - {"-a", "-o"})
        )
        if word.splits or word.globs or not sure:
            made.careful("what it tests is not known, and may be a test that runs a command")
    return made


_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\+?=.*)?\Z", re.DOTALL)


def _declare(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    exports = words[0].text == "export"
    for word in words[1:]:
        found = _ASSIGNED.match(word.text)
        known = found is not None and (word.exact or word.head.startswith(f"{found[1]}=")) and not word.splits
        if word.exact and word.text.startswith(("-", "+")):
            exports |= "x" in word.text
            if set(word.text[1:]) - set("xrgp-"):
                made.careful(f"its option {word.text[:40]!r} is not known here")
        elif not known or found is None:
            made.careful("which variable it sets is not known")
        elif not harmless(found[1], exported=exports):
            made.careful(f"it sets {found[1]}")
    return made


def _unset(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    for word in words[1:]:
        if word.text in ("-v", "-f") and word.exact:
            continue
        if not word.exact or not harmless(word.text, exported=False):
            made.careful("it takes a variable away that may change what runs")
    return made


def _read(words: list[Word]) -> Meaning:
    at = operand(words, 1, "adinNptu", "ers")
    if at < 0 or any(word.exact and word.text.startswith("-") and "a" in word.text for word in words[1:at]):
        return Meaning().careful("which variable it sets is not known")
    for word in words[at:]:
        if not word.exact or not harmless(word.text, exported=False):
            return Meaning().careful(f"it sets {word.text[:40]}")
    return Meaning(neutral=True)


_SETTINGS = frozenset(("errexit", "nounset", "pipefail", "xtrace", "verbose", "noglob", "noclobber", "errtrace"))


def _set(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if word.exact and word.text in ("--", "-"):
            break
        if not word.exact:
            return made.careful("what it sets is not known") if word.option else made
        if not word.text.startswith(("-", "+")):
            break
        if set(word.text[1:]) - set("euxvofCE"):
            made.careful(f"its option {word.text[:40]!r} changes how commands are read")
        for _ in range(word.text.count("o")):
            if at < len(words) and not (words[at].exact and words[at].text in _SETTINGS):
                made.careful("it changes how commands are read")
            at += 1
    return made


def _eval(words: list[Word]) -> Meaning:
    rest = words[1:]
    if rest and rest[0].exact and rest[0].text == "--":
        rest = rest[1:]
    if not all(word.exact for word in rest):
        return Meaning(hint=[rest]).careful("what it runs is not known")
    return Meaning(neutral=True, inner=[" ".join(word.text for word in rest)])


def _trap(words: list[Word]) -> Meaning:
    at = 2 if len(words) > 1 and words[1].exact and words[1].text == "--" else 1
    if at >= len(words) or (words[at].exact and words[at].text in ("-l", "-p", "-")):
        return Meaning(neutral=True)
    if not words[at].exact:
        return Meaning().careful("what it runs is not known")
    return Meaning(neutral=True, inner=[words[at].text])


def _source(_: list[Word]) -> Meaning:
    return Meaning().careful("it runs the commands of a file")


def _command(words: list[Word]) -> Meaning:
    if len(words) > 1 and words[1].exact and words[1].text in ("-v", "-V"):
        return Meaning(neutral=True)
    return starts(words, operand(words, 1, "", "p"))


def _exec(words: list[Word]) -> Meaning:
    made = starts(words, operand(words, 1, "a", "cl"))
    made.neutral |= len(words) == 1
    return made


def _wait(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    if any(word.option and word.text != "-n" for word in words[1:]):
        made.careful("it may set a variable")
    return made


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


def _time(words: list[Word]) -> Meaning:
    """The keyword, which takes assignments, or the program."""
    at = operand(words, 1, "fo", "pavq", "format output", "portability append verbose quiet")
    if any(word.text.startswith(("-o", "--output")) for word in words[1:at]):
        return starts(words, at, neutral=False)
    return assigning(words, at, setting=_VARIABLE)


BUILTINS: dict[str, Program] = {
    **dict.fromkeys((":", "true", "false", "echo", "pwd", "exit", "return", "break", "continue", "shift"), _neutral),
    "printf": _printf,
    "test": _test,
    "[": _test,
    **dict.fromkeys(("export", "declare", "typeset", "local", "readonly"), _declare),
    "unset": _unset,
    "read": _read,
    "set": _set,
    "eval": _eval,
    "trap": _trap,
    "source": _source,
    ".": _source,
    "command": _command,
    "builtin": lambda words: starts(words, operand(words, 1, "", "")),
    "exec": _exec,
    "wait": _wait,
    "time": _time,
    **dict.fromkeys(("mapfile", "readarray", "getopts", "let"), _odd("it may set a variable or run a command")),
    **dict.fromkeys(
        ("alias", "unalias", "shopt", "enable", "hash", "bind", "complete", "compgen", "compopt", "fc", "history"),
        _odd("it changes what later commands mean"),
    ),
}
