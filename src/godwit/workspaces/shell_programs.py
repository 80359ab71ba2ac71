"""What programs do with their words, as far as it decides what runs: which of them start others, and by which options.

Owns knowledge of programs: wrappers (`env`, `xargs`, `bash -c`), options that run commands where one would not expect it
(`tar --to-command`), variables that change what runs, and the shell's own commands that do nothing a rule would have to
allow. Leaves out how a command is read (`shell_grammar`).

Rules a change must keep: this knowledge only ever makes a verdict stricter, but for what is called neutral, and that list
has to be right; an option that is not known to a wrapper makes what it starts uncertain, and so does a word before it that
may become several; long options may be abbreviated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .shell_grammar import Redirect, Simple, Word, literal_word, unknown_word


@dataclass(slots=True)
class Meaning:
    """What a command means. `neutral`: it does nothing by itself that a rule would have to allow. `caution`: why its words
    do not tell what it does. `inner`: what it starts, as words or as a script; `hint`: what it may start, known for
    certain or not, which only rules that deny or ask look at. `writes`: files its words name that it writes.
    """

    neutral: bool = False
    caution: str | None = None
    inner: list[list[Word] | str] = field(default_factory=list)
    hint: list[list[Word] | str] = field(default_factory=list)
    writes: list[str | None] = field(default_factory=list)

    def careful(self, why: str) -> Meaning:
        self.neutral = False
        self.caution = self.caution or why
        return self


def meaning(command: Simple) -> Meaning:
    """What the command means, by its name, which is taken without its folder."""
    words = command.words
    if not words or not words[0].exact:
        return Meaning()
    name = words[0].text.rpartition("/")[2]
    bare = "/" not in words[0].text
    if name in _SHELLS:
        made = _shell(name, words, command.redirects)
    elif found := _BUILTINS.get(name) or _PROGRAMS.get(name):
        made = found(words)
    else:
        made = Meaning()
        if risk := _RISKY.get(name):
            why = next(filter(None, map(risk.why, words[1:])), None)
            return made.careful(why) if why else made
    # By its path it is a program of somebody who gave it that name.
    made.neutral = made.neutral and bare
    return made


# --- variables ----------------------------------------------------------------------------------------------------------

_HARMLESS = frozenset(
    (
        "CI", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "DEBIAN_FRONTEND", "FORCE_COLOR", "GIT_AUTHOR_DATE",
        "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_DATE", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME",
        "GIT_TERMINAL_PROMPT", "GOARCH", "GOOS",
        "LANG", "LANGUAGE", "LINES", "NODE_ENV", "NO_COLOR", "PIP_DISABLE_PIP_VERSION_CHECK", "PY_COLORS",
        "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "RAILS_ENV", "RUST_BACKTRACE",
        "RUST_LOG", "SOURCE_DATE_EPOCH", "TERM", "TZ",
    )
)  # fmt: skip
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")


def harmless(name: str, *, exported: bool) -> bool:
    """Whether setting this variable changes only what programs print. Small letters are the shell's own when they are not
    `exported`."""
    if name in _HARMLESS or name.startswith("LC_"):
        return True
    return not exported and bool(_PLAIN_NAME.match(name)) and not name.endswith("_proxy") and not name.startswith("npm_")


# --- options --------------------------------------------------------------------------------------------------------------


def _operand(words: Sequence[Word], at: int, values: str, flags: str, long_values: str = "", long_flags: str = "") -> int:
    """Where the first word stands that is no option, from `at`; -1 when that is not certain."""
    taking, plain = set(long_values.split()), set(long_flags.split())
    while at < len(words):
        word = words[at]
        if not word.option:
            return at
        if not word.exact:
            return -1
        text = word.text
        if text == "-":
            return at
        at += 1
        if text == "--":
            return at
        if text.startswith("--"):
            name, equals, _ = text[2:].partition("=")
            if name in taking:
                at += 0 if equals else 1
            elif name not in plain or equals:
                return -1
            continue
        for position, letter in enumerate(text[1:], 2):
            if letter in values:
                at += position == len(text)
                break
            if letter not in flags:
                return -1
    return at


def _starts(words: Sequence[Word], at: int, *, neutral: bool = True, why: str = "its options are not known here") -> Meaning:
    """A wrapper whose command begins at `at`; when that is not certain, every word may begin it."""
    if at < 0 or any(word.splits or word.globs for word in words[1:at]):
        return Meaning(hint=[list(words[i:]) for i in range(1, min(len(words), 8))]).careful(why)
    if at >= len(words):
        return Meaning()
    return Meaning(neutral=neutral, inner=[list(words[at:])])


_ABBREVIATION = 3


@dataclass(frozen=True)
class _Risk:
    """Options of a program that run commands, load code, or write where one would not look. `short`: letters, also within a
    cluster unless `alone`. `long`: names, also abbreviated. `where`: patterns searched in the words. `always`: any use.
    """

    short: str = ""
    long: tuple[str, ...] = ()
    where: str = ""
    always: str = ""
    alone: bool = False

    def why(self, word: Word) -> str | None:
        if self.always:
            return self.always
        if not word.exact and word.option:
            return "a word that is not known may be an option that runs a command"
        text = word.text
        if self.where and re.search(self.where, text):
            return f"{text[:40]!r} may run a command"
        if text.startswith("--"):
            name = text[2:].partition("=")[0]
            if any(o == name or (len(name) >= _ABBREVIATION - 1 and o.startswith(name)) for o in self.long):
                return f"its option {text[:40]!r} may run a command"
        elif text.startswith("-") and self.short:
            letters = text[1:2] if self.alone else text[1:]
            if any(letter in letters for letter in self.short):
                return f"its option {text[:40]!r} may run a command"
        return None


# Programs one would allow without thinking of this. Interpreters and build tools are not here: whoever allows them knows.
_RISKY: dict[str, _Risk] = {
    "ag": _Risk(long=("pager",)),
    "ack": _Risk(long=("pager", "ackrc", "env")),
    "bat": _Risk(long=("pager", "config-file")),
    "batcat": _Risk(long=("pager", "config-file")),
    "curl": _Risk(short="K", long=("config", "engine")),
    "ctags": _Risk(long=("options", "options-maybe")),
    "cargo": _Risk(short="Z", long=("config",), where=r"^\+", alone=True),
    "cpio": _Risk(short="F", long=("rsh-command", "file")),
    "date": _Risk(short="s", long=("set",)),
    "dc": _Risk(where="!", short="f", long=("file",)),
    "dpkg": _Risk(long=("pre-invoke", "post-invoke", "admindir", "root", "instdir")),
    "ed": _Risk(always="it runs commands of its own"),
    "emacs": _Risk(always="it runs commands of its own"),
    "ex": _Risk(always="it runs commands of its own"),
    "ftp": _Risk(always="it runs commands of its own"),
    "fzf": _Risk(long=("preview", "bind", "execute", "become", "listen", "with-shell")),
    "gdb": _Risk(always="it runs commands of its own"),
    "go": _Risk(where=r"^--?(toolexec|exec|vettool|overlay|modfile)\b"),
    "gnuplot": _Risk(always="it runs commands of its own"),
    "gpg": _Risk(long=("exec-path", "photo-viewer", "agent-program", "dirmngr-program", "options", "homedir")),
    "groff": _Risk(short="UV"),
    "hg": _Risk(long=("config", "debugger", "config-file", "rsh", "ssh")),
    "info": _Risk(long=("restore", "output"), short="o"),
    "install": _Risk(long=("strip-program",)),
    "ip": _Risk(short="b", where=r"^(-b|-batch|netns|exec)$"),
    "jj": _Risk(long=("config", "config-toml", "config-file")),
    "journalctl": _Risk(where=r"^--(pager)"),
    "ld": _Risk(always="it may load code"),
    "less": _Risk(short="koOP", long=("lesskey-file", "lesskey-src", "lesskey-content", "log-file"), where=r"^\+|^--LOG"),
    "lftp": _Risk(always="it runs commands of its own"),
    "lldb": _Risk(always="it runs commands of its own"),
    "logrotate": _Risk(always="it runs commands of its own"),
    "m4": _Risk(where=r"syscmd|esyscmd"),
    "mail": _Risk(always="it runs commands of its own"),
    "make": _Risk(
        short="fICE", long=("eval", "file", "makefile", "include-dir", "directory"), where=r"^[A-Za-z_][\w.]*[:+?!]*="
    ),
    "man": _Risk(short="PHC", long=("pager", "html", "config-file", "prompt", "preprocessor")),
    "more": _Risk(where=r"^\+"),
    "mutt": _Risk(always="it runs commands of its own"),
    "mysql": _Risk(short="e", long=("execute", "pager")),
    "nano": _Risk(always="it runs commands of its own"),
    "nc": _Risk(short="ec", long=("exec", "sh-exec", "lua-exec")),
    "ncat": _Risk(short="ec", long=("exec", "sh-exec", "lua-exec")),
    "netcat": _Risk(short="ec", long=("exec", "sh-exec", "lua-exec")),
    "nmap": _Risk(long=("script", "script-args", "interactive")),
    "nvim": _Risk(always="it runs commands of its own"),
    "openssl": _Risk(where=r"^-?-(engine|provider|provider-path)$|^engine$"),
    "pandoc": _Risk(short="FL", long=("filter", "lua-filter", "pdf-engine", "defaults", "data-dir")),
    "pdflatex": _Risk(where="shell-escape|write18"),
    "pip": _Risk(long=("python",)),
    "pip3": _Risk(long=("python",)),
    "psql": _Risk(where=r"\\!|\\copy|\\o|(?i:program)"),
    "rg": _Risk(long=("pre", "pre-glob", "hostname-bin", "search-zip"), short="z"),
    "rsync": _Risk(short="eM", long=("rsh", "rsync-path", "remote-option", "early-input")),
    "rview": _Risk(always="it runs commands of its own"),
    "scp": _Risk(short="oSFJD"),
    "sftp": _Risk(short="oSFJbD"),
    "shuf": _Risk(short="o", long=("output",)),
    "socat": _Risk(always="it runs commands of its own"),
    "sort": _Risk(short="oT", long=("compress-program", "output", "temporary-directory")),
    "split": _Risk(long=("filter",)),
    "sqlite3": _Risk(short="c", where=r"\.(?:sh|system|load|import|once|output|o|excel|read|cd|open|save|backup|clone)"),
    "ssh-add": _Risk(short="s"),
    "ssh-keygen": _Risk(short="DO"),
    "svn": _Risk(long=("editor-cmd", "diff-cmd", "diff3-cmd", "config-option", "config-dir")),
    "systemctl": _Risk(where=r"^--(host|machine|root)|^-[HM]|^(edit|link|set-environment|import-environment)$"),
    "sysctl": _Risk(short="w", long=("write", "load", "system"), where="="),
    "tcpdump": _Risk(short="zw"),
    "telnet": _Risk(always="it runs commands of its own"),
    "tig": _Risk(always="it runs commands of its own"),
    "vi": _Risk(always="it runs commands of its own"),
    "view": _Risk(always="it runs commands of its own"),
    "vim": _Risk(always="it runs commands of its own"),
    "vimdiff": _Risk(always="it runs commands of its own"),
    "w3m": _Risk(always="it runs commands of its own"),
    "wget": _Risk(short="e", long=("execute", "use-askpass", "config", "output-file", "append-output")),
    "yq": _Risk(where=r"\b(load|eval|env|system)"),
    "zip": _Risk(short="T", long=("unzip-command", "test")),
    "zypper": _Risk(long=("root",)),
}  # fmt: skip


# --- shells ---------------------------------------------------------------------------------------------------------------

_SHELLS = frozenset(
    ("bash", "sh", "dash", "ash", "rbash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "pwsh", "elvish", "nu")
)
_LIKE_BASH = frozenset(("bash", "sh", "dash", "ash", "rbash"))


def _shell(name: str, words: list[Word], redirects: list[Redirect]) -> Meaning:
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


# --- the shell's own commands ---------------------------------------------------------------------------------------------


def _neutral(_: list[Word]) -> Meaning:
    return Meaning(neutral=True)


def _odd(why: str) -> Callable[[list[Word]], Meaning]:
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
    at = _operand(words, 1, "adinNptu", "ers")
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
    return _starts(words, _operand(words, 1, "", "p"))


def _exec(words: list[Word]) -> Meaning:
    made = _starts(words, _operand(words, 1, "a", "cl"))
    made.neutral |= len(words) == 1
    return made


_SETTING = re.compile(r"[^=]*=")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


def _wait(words: list[Word]) -> Meaning:
    made = Meaning(neutral=True)
    if any(word.option and word.text != "-n" for word in words[1:]):
        made.careful("it may set a variable")
    return made


def _time(words: list[Word]) -> Meaning:
    """The keyword, which takes assignments, or the program."""
    at = _operand(words, 1, "fo", "pavq", "format output", "portability append verbose quiet")
    if any(word.text.startswith(("-o", "--output")) for word in words[1:at]):
        return _starts(words, at, neutral=False)
    return _assigning(words, at, setting=_VARIABLE)


def _assigning(words: Sequence[Word], at: int, *, neutral: bool = True, setting: re.Pattern[str] = _SETTING) -> Meaning:
    """A wrapper that takes `NAME=value` before its command, as `setting` says."""
    if at < 0:
        return _starts(words, at)
    unsafe = None
    while at < len(words) and setting.match(words[at].text if words[at].exact else words[at].head):
        name = words[at].text.partition("=")[0]
        if not harmless(name, exported=True):
            unsafe = unsafe or f"it sets {name[:40]}"
        at += 1
    made = _starts(words, at, neutral=neutral)
    return made.careful(unsafe) if unsafe else made


_BUILTINS: dict[str, Callable[[list[Word]], Meaning]] = {
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
    "builtin": lambda words: _starts(words, _operand(words, 1, "", "")),
    "exec": _exec,
    "wait": _wait,
    "time": _time,
    **dict.fromkeys(("mapfile", "readarray", "getopts", "let"), _odd("it may set a variable or run a command")),
    **dict.fromkeys(
        ("alias", "unalias", "shopt", "enable", "hash", "bind", "complete", "compgen", "compopt", "fc", "history"),
        _odd("it changes what later commands mean"),
    ),
}


# --- wrappers -----------------------------------------------------------------------------------------------------------


def _env(words: list[Word]) -> Meaning:
    at = _operand(words, 1, "u", "i0v", "unset", "ignore-environment null debug")
    if at < 0:
        made = _starts(words, at)
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
    return _assigning(words, at)


def _sudo(words: list[Word]) -> Meaning:
    at = _operand(
        words,
        1,
        "ughpCrtTUDRac",
        "AbBEeHKkNnPSVv",
        "user group host prompt close-from role type command-timeout other-user chdir chroot auth-type login-class",
        "askpass background bell preserve-env edit set-home remove-timestamp reset-timestamp no-update non-interactive "
        "preserve-groups stdin version validate",
    )
    return _assigning(words, at, neutral=False) if at < 0 or at < len(words) else Meaning()


def _doas(words: list[Word]) -> Meaning:
    return _starts(words, _operand(words, 1, "uC", "nL"), neutral=False)


def _nice(words: list[Word]) -> Meaning:
    at = 1
    if len(words) > 1 and words[1].exact and re.fullmatch(r"-{1,2}\d+", words[1].text):
        at = 2
    return _starts(words, _operand(words, at, "n", "", "adjustment"))


def _timeout(words: list[Word]) -> Meaning:
    at = _operand(words, 1, "sk", "vfp", "signal kill-after", "preserve-status foreground verbose")
    # One more word is the duration.
    return _starts(words, at + 1 if 0 <= at < len(words) and words[at].exact else -1)


def _xargs(words: list[Word]) -> Meaning:
    at = _operand(
        words,
        1,
        "InLPsdEa",
        "0rtxpo",
        "replace max-lines max-args max-procs max-chars delimiter eof arg-file process-slot-var",
        "null no-run-if-empty verbose exit interactive open-tty show-limits",
    )
    if at < 0:
        return _starts(words, at)
    if at >= len(words):
        return Meaning(neutral=True, inner=[[literal_word("echo"), unknown_word()]])
    made = _starts(words, at)
    marks = {"{}"}
    for before, word in pairwise(words[1 : at + 1]):
        if before.exact and (mark := re.fullmatch(r"-[0rtxpo]*I(.*)", before.text, re.DOTALL)):
            marks.add(mark[1] or word.text)
        elif before.exact and before.text.startswith("--replace"):
            marks.add(before.text.partition("=")[2] or word.text)
    inner = [_replaced(word, marks) for word in words[at:]]
    made.inner = [[*inner, unknown_word()]]
    return made


def _replaced(word: Word, marks: set[str]) -> Word:
    """A word in which another program puts something."""
    first = min((word.text.find(mark) for mark in marks if mark and mark in word.text), default=-1)
    if first < 0:
        return word
    head = word.head[: min(first, len(word.head))]
    return Word(word.text, exact=False, head=head, splits=word.splits, quoted=word.quoted, raw=word.raw)


def _parallel(words: list[Word]) -> Meaning:
    made = Meaning().careful("it puts commands together from its input")
    at = next((i for i, w in enumerate(words) if i and not w.option), len(words))
    end = next((i for i, w in enumerate(words) if w.text.startswith(":::")), len(words))
    made.hint.append([*words[at:end], unknown_word()])
    made.hint += [words[i:end] for i in range(1, min(end, 10))]
    return made


def _watch(words: list[Word]) -> Meaning:
    at = _operand(
        words, 1, "nq", "dtbegcwxr", "interval equexit", "differences no-title beep errexit chgexit color exec precise"
    )
    if at < 0 or at >= len(words):
        return _starts(words, at)
    if any(w.text == "--exec" or (w.text.startswith("-") and "x" in w.text and w.text[:2] != "--") for w in words[1:at]):
        return _starts(words, at)
    if not all(word.exact for word in words[at:]):
        return Meaning(hint=[list(words[at:])]).careful("what it runs is not known")
    return Meaning(neutral=True, inner=[" ".join(word.text for word in words[at:])])


def _flock(words: list[Word]) -> Meaning:
    at = _operand(
        words, 1, "wE", "sxenuoFv", "timeout conflict-exit-code", "shared exclusive unlock nonblock nb close no-fork verbose"
    )
    if at < 0 or at + 1 >= len(words):
        return _starts(words, at) if at < 0 else Meaning()
    if words[at + 1].exact and words[at + 1].text in ("-c", "--command"):
        script = words[at + 2] if at + 2 < len(words) else unknown_word()
        return Meaning(neutral=True, inner=[script.text]) if script.exact else Meaning().careful("what it runs is not known")
    return _starts(words, at + 1, neutral=False)


def _ssh(words: list[Word]) -> Meaning:
    at = _operand(words, 1, "bcDiLlmpQRWeIJEBwOSF", "46AaCfGgKkMNnqsTtVvXxYy")
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


def _find(words: list[Word]) -> Meaning:
    made = Meaning()
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if not word.exact:
            if word.option:
                made.careful("a word that is not known may be an action")
            continue
        text = word.text
        if text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = at
            while end < len(words) and not (
                words[end].exact and (words[end].text == ";" or (words[end].text == "+" and words[end - 1].text == "{}"))
            ):
                end += 1
            inner = [_replaced(w, {"{}"}) for w in words[at:end]]
            if inner:
                made.inner.append(inner)
            else:
                made.careful("what it runs is not known")
            at = end + 1
        elif text == "-delete":
            made.inner.append([literal_word("rm"), unknown_word()])
        elif text in ("-fprint", "-fprint0", "-fprintf", "-fls"):
            target = words[at] if at < len(words) else unknown_word()
            made.writes.append(target.text if target.exact else None)
        elif text.startswith(("-files0-from",)):
            made.careful("its paths come from a file")
    return made


def _fd(words: list[Word]) -> Meaning:
    made = Meaning()
    for at, word in enumerate(words[1:], 1):
        if not word.exact and word.option:
            made.careful("a word that is not known may be an action")
        elif word.exact and re.match(r"-[a-zA-Z0-9]*[xX]|--exec", word.text):
            inner = [_replaced(w, {"{}", "{/}", "{//}", "{.}", "{/.}"}) for w in words[at + 1 :]]
            attached = word.text.partition("=")[2]
            if attached:
                inner = [literal_word(attached), *inner]
            if inner:
                made.inner.append([*inner, unknown_word()])
            if not attached and not re.fullmatch(r"-[xX]|--exec(?:-batch)?", word.text):
                made.careful("what it runs is not known")
            break
    return made


def _tar(words: list[Word]) -> Meaning:
    made = Meaning()
    risk = _Risk(
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


def _launcher(*verbs: str) -> Callable[[list[Word]], Meaning]:
    """A program that starts another beside what it does itself, perhaps only after one of the words `verbs`."""

    def found(words: list[Word]) -> Meaning:
        made = Meaning()
        start = 1
        if verbs:
            start = next((at + 1 for at, word in enumerate(words) if at and word.text in verbs), len(words))
        for at in range(start, min(len(words), start + 12)):
            made.hint.append(list(words[at:]))
            if at > start and not words[at].option and not words[at - 1].option:
                break
        for before, word in pairwise(words):
            if word.exact and before.text in ("-c", "--command"):
                made.hint.append(word.text)
        return made

    return found


def _busybox(words: list[Word]) -> Meaning:
    return Meaning(inner=[list(words[1:])]) if len(words) > 1 else Meaning()


# --- git ------------------------------------------------------------------------------------------------------------------

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
_GIT_RISKS: dict[str, _Risk] = {
    "grep": _Risk(short="O", long=_GIT_SEARCHES),
    **dict.fromkeys(("diff", "log", "show", "whatchanged", "shortlog", "reflog", "range-diff"), _Risk(long=_GIT_SEARCHES)),
    "clone": _Risk(short="uc", long=("upload-pack", "config", "template"), where=_GIT_ADDRESS, alone=True),
    "init": _Risk(long=("template", "separate-git-dir")),
    **dict.fromkeys(
        ("fetch", "pull", "push", "ls-remote", "remote", "submodule", "fetch-pack", "send-pack"),
        _Risk(long=("upload-pack", "receive-pack", "exec", "template", "strategy"), where=_GIT_ADDRESS),
    ),
    "archive": _Risk(long=("exec", "remote", "output"), short="o", alone=True),
    "format-patch": _Risk(long=("output", "output-directory", "ext-diff"), short="o", alone=True),
    "rebase": _Risk(long=("exec", "interactive", "strategy", "edit-todo"), short="xis"),
    "merge": _Risk(long=("strategy",), short="s", alone=True),
    **dict.fromkeys(("cherry-pick", "revert"), _Risk(long=("strategy",))),
    "config": _Risk(always="it may set what git runs later"),
    "help": _Risk(short="w", long=("web",)),
}


def _git(words: list[Word]) -> Meaning:
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


_PROGRAMS: dict[str, Callable[[list[Word]], Meaning]] = {
    "env": _env,
    "sudo": _sudo,
    "doas": _doas,
    "nohup": lambda words: _starts(words, _operand(words, 1, "", "")),
    "setsid": lambda words: _starts(words, _operand(words, 1, "", "cfw", "", "ctty fork wait")),
    "nice": _nice,
    "ionice": lambda words: _starts(words, _operand(words, 1, "cnpPu", "t", "class classdata pid pgid uid", "ignore")),
    "timeout": _timeout,
    "gtimeout": _timeout,
    "stdbuf": lambda words: _starts(words, _operand(words, 1, "ioe", "", "input output error")),
    "xargs": _xargs,
    "gxargs": _xargs,
    "parallel": _parallel,
    "watch": _watch,
    "flock": _flock,
    "ssh": _ssh,
    "find": _find,
    "gfind": _find,
    "fd": _fd,
    "fdfind": _fd,
    "tar": _tar,
    "gtar": _tar,
    "bsdtar": _tar,
    "sed": _sed,
    "gsed": _sed,
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk", "original-awk"), _awk),
    "tee": _tee,
    "git": _git,
    "busybox": _busybox,
    "toybox": _busybox,
    **dict.fromkeys(
        (
            "apptainer", "bunx", "bwrap", "caffeinate", "capsh", "catchsegv", "chpst", "chroot", "chrt", "cpulimit",
            "daemonize",
            "dbus-run-session", "dumb-init", "entr", "envdir", "fakeroot", "faketime", "firejail", "gdbserver", "gosu",
            "hyperfine", "ltrace", "nix-shell", "npx", "nsenter", "numactl", "perf", "pipx", "pkexec", "prlimit", "proot",
            "proxychains", "rlwrap", "run0", "runuser", "screen", "script", "setarch", "setpriv", "softlimit", "ssh-agent",
            "start-stop-daemon", "strace", "su", "su-exec", "systemd-run", "taskset", "tini", "tmux", "torsocks", "unbuffer",
            "unshare", "uvx", "valgrind", "winpty", "xvfb-run",
        ),
        _launcher(),
    ),
    **dict.fromkeys(
        (
            "asdf", "bundle", "conda", "direnv", "docker", "doppler", "dotenv", "hatch", "kubectl", "mamba", "mise", "nix",
            "op", "pdm", "pipenv", "podman", "poetry", "pyenv", "rbenv", "rustup", "rye", "uv",
        ),
        _launcher("run", "exec", "x", "--"),
    ),
    **dict.fromkeys(("bun", "npm", "pnpm", "yarn"), _launcher("exec", "x", "dlx")),
}  # fmt: skip
