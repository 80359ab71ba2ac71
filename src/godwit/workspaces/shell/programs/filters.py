"""Programs whose script or options may run a command or write a file (`sed`, `awk`, `tar`, `tee`)."""

from __future__ import annotations

import re

from ..commands import Word, literal_word, unknown_word
from .meaning import Meaning, Program
from .options import Risk


def _tar(words: list[Word]) -> Meaning:
    made = Meaning()
    risk = Risk(
        short="IFT",
        long=(
            "files-from", "checkpoint-action", "to-command", "use-compress-program", "rsh-command", "info-script",
            "new-volume-script",
            "rmt-command",
        ),
    )  # fmt: skip
    for at, word in enumerate(words[1:], 1):
        why = risk.why(word)
        if why is None and at == 1 and not word.text.startswith("-") and set(word.text) & set("IFT"):
            why = f"its option {word.text[:40]!r} may run a command"
        if why:
            return made.careful(why)
    return made


# Within brackets sed does not look for the end of a pattern, so what stands in them must not be able to hold one.
_SED_SAFE = re.compile(
    r"""(?xs)
    (?: \s*
        (?: (?:[0-9]+|\$|/(?:[^/\\\n\[]|\\[^\n]|\[\^?\]?(?:[^\]/\\\n\[]|\[:[a-z]+:\])*\])*/)
            (?:,(?:[0-9]+|\$|/(?:[^/\\\n\[]|\\[^\n]|\[\^?\]?(?:[^\]/\\\n\[]|\[:[a-z]+:\])*\])*/))? \s* !? \s* )?
        (?: [pdqDPNnhHgGx=]
          | s (?P<end>[/|,\#:@!])
              (?:(?!(?P=end))[^\\\n\[]|\\[^\n]|\[\^?\]?(?:(?!(?P=end))[^\]\\\n\[]|\[:[a-z]+:\])*\])* (?P=end)
              (?:(?!(?P=end))[^\\\n]|\\.)* (?P=end) [gpiI0-9]*
        ) \s* (?:;|\n|\Z)
    )* \s* \Z"""
)
_MAX_SED = 2000


def _sed(words: list[Word]) -> Meaning:
    made = Meaning()
    scripts: list[Word] = []
    operands = False
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if not word.exact and word.option:
            return made.careful("a word that is not known may be a script")
        text = word.text
        if text.startswith("--"):
            name, equals, value = text[2:].partition("=")
            if name in ("expression",):
                scripts.append(literal_word(value) if equals else words[at] if at < len(words) else unknown_word())
                at += 0 if equals else 1
                operands = True
            elif name not in ("quiet", "silent", "in-place", "regexp-extended", "null-data", "separate", "posix", "sandbox"):
                return made.careful(f"its option {text[:40]!r} may run a command")
        elif text.startswith("-") and len(text) > 1:
            cluster = text[1:]
            for position, letter in enumerate(cluster):
                if letter == "e":
                    rest = cluster[position + 1 :]
                    scripts.append(literal_word(rest) if rest else words[at] if at < len(words) else unknown_word())
                    at += 0 if rest else 1
                    operands = True
                    break
                if letter == "i":
                    break
                if letter not in "nErszu":
                    return made.careful(f"its option {text[:40]!r} may run a command")
        elif not operands:
            scripts.append(word)
            operands = True
    for script in scripts:
        if not script.exact or len(script.text) > _MAX_SED or not _SED_SAFE.match(script.text):
            made.careful("its script may run a command or write a file")
    return made


def _awk(words: list[Word]) -> Meaning:
    made = Meaning()
    at = 1
    while at < len(words):
        word = words[at]
        if not word.exact and word.option:
            return made.careful("a word that is not known may be a program")
        if not word.text.startswith("-") or word.text == "-":
            break
        at += 1
        if word.text in ("-F", "-v"):
            if at < len(words) and (words[at].splits or words[at].globs):
                return made.careful("a word that is not known may be a program")
            at += 1
        elif not word.text.startswith(("-F", "-v")):
            return made.careful(f"its option {word.text[:40]!r} may run a command")
    if at < len(words) and (not words[at].exact or re.search(r"system|getline|[|>@]|close|fflush", words[at].text)):
        made.careful("its program may run a command or write a file")
    return made


def _tee(words: list[Word]) -> Meaning:
    made = Meaning()
    for word in words[1:]:
        if not (word.exact and word.text.startswith("-")):
            made.writes.append(word.text if word.exact else None)
    return made


FILTERS: dict[str, Program] = {
    "tar": _tar,
    "gtar": _tar,
    "bsdtar": _tar,
    "sed": _sed,
    "gsed": _sed,
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk", "original-awk"), _awk),
    "tee": _tee,
}
