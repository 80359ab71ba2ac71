"""Shells: `bash -c` and what they are told otherwise."""

from __future__ import annotations

from ..commands import Redirect, Word
from .meaning import Meaning

SHELLS = frozenset(
    ("bash", "sh", "dash", "ash", "rbash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "pwsh", "elvish", "nu")
)
_LIKE_BASH = frozenset(("bash", "sh", "dash", "ash", "rbash"))


def shell(name: str, words: list[Word], redirects: list[Redirect]) -> Meaning:
    """A shell: with `-c` the script stands in its words; without a file it is read from the input."""
    made = Meaning()
    if name not in _LIKE_BASH:
        made.careful(f"{name} reads commands in its own way")
    at, script, reads = 1, False, False
    while at < len(words):
        word = words[at]
        if not word.exact and (word.option or word.head.startswith("+")):
            return made.careful("its options are not known")
        text = word.text
        if not text.startswith(("-", "+")) or not word.exact:
            break
        at += 1
        if text in ("-", "--"):
            break
        if text.startswith("--"):
            if text not in (
                "--login",
                "--norc",
                "--noprofile",
                "--posix",
                "--version",
                "--help",
                "--restricted",
                "--verbose",
            ):
                made.careful(f"its option {text[:40]!r} is not known here")
            continue
        letters = text[1:]
        script |= text[0] == "-" and "c" in letters
        reads |= text[0] == "-" and "s" in letters
        if set(letters) - set("abcefhiklmnoprsuvxBCDEHPTO"):
            made.careful(f"its option {text[:40]!r} is not known here")
        if set(letters) & set("aki"):
            made.careful(f"its option {text[:40]!r} changes what words mean")
        for _ in range(sum(letter in "oO" for letter in letters)):
            if at < len(words) and not words[at].exact:
                return made.careful("its options are not known")
            at += 1
    if script:
        if at >= len(words):
            return made.careful("its script is missing")
        if not words[at].exact:
            return made.careful("its script is not known")
        made.inner.append(words[at].text)
        made.neutral = made.caution is None
        return made
    if at < len(words) and not reads:
        # It runs a file, as any program does that is named by its path.
        if not words[at].exact or words[at].text.startswith(("/dev/", "/proc/")):
            made.careful("the file it runs is not known")
        return made
    if any(word.text in ("--version", "--help") for word in words):
        return made
    inputs = [redirect for redirect in redirects if redirect.input]
    if inputs and (body := inputs[-1].body) is not None:
        made.inner.append(body)
        made.neutral = made.caution is None
        return made
    return made.careful("it runs the commands of its input")
