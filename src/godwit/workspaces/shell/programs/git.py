"""git: which of its commands, options and settings run others."""

from __future__ import annotations

import re
from itertools import pairwise

from ..commands import Word
from .meaning import Meaning
from .options import Risk

_GIT_SETTINGS = re.compile(
    r"(?i)(user\.(name|email)|core\.(quotepath|autocrlf)|color\.\w+|advice\.\w+|init\.defaultbranch)="
)
_GIT_ADDRESS = r"^[a-z]+::"
_GIT_SEARCHES = ("open-files-in-pager", "ext-diff", "output", "textconv")
_GIT_ALWAYS = frozenset(
    (
        "cvsimport", "credential", "daemon", "difftool", "fast-import", "filter-branch", "hook", "http-backend", "instaweb",
        "mergetool", "p4", "remote-ext", "send-email", "sh-setup", "shell", "svn", "upload-archive", "web--browse",
    )
)  # fmt: skip
_GIT_RISKS: dict[str, Risk] = {
    "grep": Risk(short="O", long=_GIT_SEARCHES),
    **dict.fromkeys(("diff", "log", "show", "whatchanged", "shortlog", "reflog", "range-diff"), Risk(long=_GIT_SEARCHES)),
    "clone": Risk(short="uc", long=("upload-pack", "config", "template"), where=_GIT_ADDRESS, alone=True),
    "init": Risk(long=("template", "separate-git-dir")),
    **dict.fromkeys(
        ("fetch", "pull", "push", "ls-remote", "remote", "submodule", "fetch-pack", "send-pack"),
        Risk(long=("upload-pack", "receive-pack", "exec", "template", "strategy"), where=_GIT_ADDRESS),
    ),
    "archive": Risk(long=("exec", "remote", "output"), short="o", alone=True),
    "format-patch": Risk(long=("output", "output-directory", "ext-diff"), short="o", alone=True),
    "rebase": Risk(long=("exec", "interactive", "strategy", "edit-todo"), short="xis"),
    "merge": Risk(long=("strategy",), short="s", alone=True),
    **dict.fromkeys(("cherry-pick", "revert"), Risk(long=("strategy",))),
    "config": Risk(always="it may set what git runs later"),
    "help": Risk(short="w", long=("web",)),
}


def git(words: list[Word]) -> Meaning:
    made = Meaning()
    at = 1
    while at < len(words):
        word = words[at]
        if not word.exact:
            return (
                made.careful("which of its commands runs is not known") if word.option else made.careful("it runs an alias")
            )
        text = word.text
        if not text.startswith("-"):
            break
        at += 1
        if text == "-c" or text.startswith("--config-env"):
            setting = words[at] if at < len(words) and text in ("-c", "--config-env") else word
            at += text in ("-c", "--config-env")
            value = setting.text.partition("=")[2]
            if value.startswith("!"):
                made.inner.append(value[1:])
            if not (text == "-c" and setting.exact and _GIT_SETTINGS.match(setting.text)):
                made.careful(f"it is told {setting.text[:40]!r}, which may run a command")
        elif text == "-C":
            if at < len(words) and (words[at].splits or words[at].globs):
                made.careful("which of its commands runs is not known")
            at += 1
        elif text in ("--git-dir", "--work-tree", "--namespace", "--exec-path", "--super-prefix", "--attr-source"):
            at += 1
            made.careful(f"its option {text!r} may run a command")
        elif text not in ("--no-pager", "-P", "--version", "--help", "--bare", "--no-optional-locks", "--literal-pathspecs"):
            made.careful(f"its option {text[:40]!r} may run a command")
    if at >= len(words):
        return made
    name, rest = words[at].text, words[at + 1 :]
    if name in _GIT_ALWAYS:
        return made.careful(f"git {name} runs commands")
    if name == "config" and rest and all(w.exact for w in rest):
        if rest[0].text in ("--get", "--get-all", "--list", "-l", "get", "list", "--get-regexp"):
            return made
        if len(rest) == 2 and _GIT_SETTINGS.match(rest[0].text + "="):
            return made
        if len(rest) == 1 and not rest[0].text.startswith("-"):
            return made
    for marker, wanted in (("bisect", "run"), ("submodule", "foreach")):
        if name == marker and any(w.text == wanted for w in rest[:4]):
            start = next(i for i, w in enumerate(rest) if w.text == wanted) + 1
            inner = [w for w in rest[start:] if not (w.exact and w.text in ("--recursive", "--quiet", "-q"))]
            if len(inner) == 1 and inner[0].exact:
                made.inner.append(inner[0].text)
            elif inner:
                made.inner.append(inner)
            made.careful(f"git {name} {wanted} runs a command")
    if risk := _GIT_RISKS.get(name):
        for word in rest:
            if why := risk.why(word):
                made.careful(why)
                break
    if name == "rebase":
        for before, word in pairwise(rest):
            if before.exact and before.text in ("-x", "--exec") and word.exact:
                made.inner.append(word.text)
    return made
