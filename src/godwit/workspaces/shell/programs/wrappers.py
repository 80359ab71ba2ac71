"""Wrappers: programs that run the command in their words, with something changed around it (`env`, `sudo`, `timeout`)."""

from __future__ import annotations

import re

from ..commands import Word, unknown_word
from .meaning import Meaning, Program
from .options import assigning, operand, starts


def _env(words: list[Word]) -> Meaning:
    at = operand(words, 1, "u", "i0v", "unset", "ignore-environment null debug")
    if at < 0:
        made = starts(words, at)
        # -S splits its text into words; as a script it is read more strictly than that.
        for before, word in zip(words, [*words[1:], None], strict=True):
            text = before.text
            if before.exact and re.match(r"-[a-zA-Z0-9]*S|--s", text):
                value = re.sub(r"^(?:-[a-zA-Z0-9]*?S|--s[a-z-]*=?)", "", text)
                made.inner.append(value or (word.text if word is not None else ""))
        return made
    if at < len(words) and words[at].exact and words[at].text == "-":
        at += 1
    if at >= len(words):
        return Meaning()
    return assigning(words, at)


def _sudo(words: list[Word]) -> Meaning:
    at = operand(
        words,
        1,
        "ughpCrtTUDRac",
        "AbBEeHKkNnPSVv",
        "user group host prompt close-from role type command-timeout other-user chdir chroot auth-type login-class",
        "askpass background bell preserve-env edit set-home remove-timestamp reset-timestamp no-update non-interactive "
        "preserve-groups stdin version validate",
    )
    return assigning(words, at, neutral=False) if at < 0 or at < len(words) else Meaning()


def _doas(words: list[Word]) -> Meaning:
    return starts(words, operand(words, 1, "uC", "nL"), neutral=False)


def _nice(words: list[Word]) -> Meaning:
    at = 1
    if len(words) > 1 and words[1].exact and re.fullmatch(r"-{1,2}\d+", words[1].text):
        at = 2
    return starts(words, operand(words, at, "n", "", "adjustment"))


def _timeout(words: list[Word]) -> Meaning:
    at = operand(words, 1, "sk", "vfp", "signal kill-after", "preserve-status foreground verbose")
    # One more word is the duration.
    return starts(words, at + 1 if 0 <= at < len(words) and words[at].exact else -1)


def _watch(words: list[Word]) -> Meaning:
    at = operand(
        words, 1, "nq", "dtbegcwxr", "interval equexit", "differences no-title beep errexit chgexit color exec precise"
    )
    if at < 0 or at >= len(words):
        return starts(words, at)
    if any(w.text == "--exec" or (w.text.startswith("-") and "x" in w.text and w.text[:2] != "--") for w in words[1:at]):
        return starts(words, at)
    if not all(word.exact for word in words[at:]):
        return Meaning(hint=[list(words[at:])]).careful("what it runs is not known")
    return Meaning(neutral=True, inner=[" ".join(word.text for word in words[at:])])


def _flock(words: list[Word]) -> Meaning:
    at = operand(
        words, 1, "wE", "sxenuoFv", "timeout conflict-exit-code", "shared exclusive unlock nonblock nb close no-fork verbose"
    )
    if at < 0 or at + 1 >= len(words):
        return starts(words, at) if at < 0 else Meaning()
    if words[at + 1].exact and words[at + 1].text in ("-c", "--command"):
        script = words[at + 2] if at + 2 < len(words) else unknown_word()
        return Meaning(neutral=True, inner=[script.text]) if script.exact else Meaning().careful("what it runs is not known")
    return starts(words, at + 1, neutral=False)


def _ssh(words: list[Word]) -> Meaning:
    at = operand(words, 1, "bcDiLlmpQRWeIJEBwOSF", "46AaCfGgKkMNnqsTtVvXxYy")
    made = Meaning()
    for word in words[1 : at if at >= 0 else len(words)]:
        if word.option and (not word.exact or re.match(r"-[46AaCfGgKkMNnqsTtVvXxYy]*[oFSIJWE]", word.text)):
            made.careful(f"its option {word.text[:40]!r} may run a command")
    if at < 0:
        made.careful("its options are not known here")
    rest = words[at + 1 :] if at >= 0 else words[2:]
    if rest:
        # It runs on the other machine; what may not run here is not to run there either.
        if all(word.exact for word in rest):
            made.inner.append(" ".join(word.text for word in rest))
        else:
            made.hint.append(list(rest))
            made.careful("what it runs is not known")
    return made


WRAPPERS: dict[str, Program] = {
    "env": _env,
    "sudo": _sudo,
    "doas": _doas,
    "nohup": lambda words: starts(words, operand(words, 1, "", "")),
    "setsid": lambda words: starts(words, operand(words, 1, "", "cfw", "", "ctty fork wait")),
    "nice": _nice,
    "ionice": lambda words: starts(words, operand(words, 1, "cnpPu", "t", "class classdata pid pgid uid", "ignore")),
    "timeout": _timeout,
    "gtimeout": _timeout,
    "stdbuf": lambda words: starts(words, operand(words, 1, "ioe", "", "input output error")),
    "watch": _watch,
    "flock": _flock,
    "ssh": _ssh,
}
