"""Offers: which rules may be remembered with a person's answer.

Owns what is proposed; whether it would suffice is seen by who asks (`permissions`). Rules a change must keep: what is
offered is narrow, for a person answers quickly; nothing is offered that would let other programs run (interpreters, shells,
`sudo`) or that destroys (`rm`); no address is offered with its path, which may hold a secret.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..contracts import ShellPart
from ..core.rules import MAX_RULE, Subject, literal

_BY_SUBCOMMAND = frozenset(
    (
        "bundle", "cargo", "composer", "dotnet", "gh", "git", "go", "gradle", "helm", "hg", "jj", "mix", "mvn", "pip",
        "pip3", "poetry", "rustup", "svn", "swift", "terraform", "uv", "zig",
    )
)  # fmt: skip
"""Programs whose first word says what they do."""
_NOT_BY_SUBCOMMAND = frozenset(
    (
        "add", "api", "apply", "checkout", "clean", "config", "delete", "destroy", "exec", "gc", "generate", "global",
        "install", "publish", "push", "remove", "reset", "restore", "rm", "run", "secret", "tool", "uninstall", "update",
        "upgrade",
    )
)  # fmt: skip
"""First words that do too much to be allowed with whatever follows."""
_SCRIPTS = frozenset(
    (
        "bun", "npm", "pnpm", "yarn",
    )
)  # fmt: skip
"""Programs whose `run` takes a name."""
_BY_NAME = frozenset(
    (
        "basename", "cat", "cmp", "comm", "cut", "df", "diff", "dirname", "du", "eslint", "file", "flake8", "grep", "head",
        "id", "jq", "ls", "md5sum", "mypy", "nl", "paste", "prettier", "pytest", "readlink", "realpath", "rg", "ruff",
        "sha256sum", "stat", "tail", "tr", "tree", "tsc", "uname", "uniq", "wc", "which", "whoami",
    )
)  # fmt: skip
"""Programs that look, or check, whatever their words."""
_NOT_EVEN_ONCE = frozenset(
    (
        ".", "at", "awk", "bash", "batch", "builtin", "busybox", "chmod", "chown", "command", "cp", "crontab", "csh",
        "curl", "dash", "dd", "deno", "doas", "docker", "env", "eval", "eval", "exec", "fdisk", "find", "fish", "gawk",
        "halt", "install", "kill", "killall", "ksh", "kubectl", "launchctl", "ln", "lua", "mkfs", "mount", "mv", "nc",
        "ncat", "nice", "node", "nohup", "osascript", "parallel", "perl", "php", "pkill", "podman", "poweroff",
        "powershell", "pwsh", "python", "reboot", "rm", "rmdir", "rsync", "ruby", "scp", "screen", "sed", "sh", "shred",
        "shutdown", "source", "ssh", "su", "sudo", "systemctl", "tcsh", "tee", "telnet", "time", "timeout", "tmux",
        "truncate", "umount", "unlink", "wget", "xargs", "zsh",
    )
)  # fmt: skip
"""Programs for which a person is asked each time."""
_READ_AGAIN = frozenset(
    (".", "bash", "dash", "eval", "find", "parallel", "sh", "source", "ssh", "sudo", "trap", "watch", "xargs", "zsh")
)
"""Programs whose words are read as commands: too much for a quick look."""
MAX_TEXT = 200


def offered(
    name: str, subject: Subject, parts: Sequence[ShellPart], needing: Sequence[ShellPart], root: str | None
) -> list[str]:
    """Rules to allow calls like this one of the tool `name`. `parts`: of a shell command; `needing`: those of them that no
    rule allows."""
    match subject.kind:
        case "command":
            hidden = any(_program(part) in _READ_AGAIN for part in parts)
            return [] if hidden else _for_command(name, subject.text.strip(), needing)
        case "path":
            return _for_path(name, subject, root)
        case "url":
            scheme, _, rest = subject.text.partition("://")
            host = rest.partition("/")[0]
            if host:
                return [f"{name}({literal(scheme)}://{literal(host)}/**)"]
            return [f"{name}({literal(subject.text)})"] if len(subject.text) <= MAX_TEXT else []
        case "text":
            exact = [f"{name}({literal(subject.text)})"] if len(subject.text) <= MAX_TEXT else []
            return [*exact, name]


def _for_command(name: str, text: str, needing: Sequence[ShellPart]) -> list[str]:
    if not needing or any(not _may_be_offered(part) for part in needing):
        return []
    prefixes = {_prefix(part) for part in needing}
    found = []
    if len(prefixes) == 1 and (prefix := next(iter(prefixes))) is not None:
        found.append(f"{name}({prefix}:*)")
    if all(not part.loose for part in needing) and len(text) <= MAX_TEXT and "\n" not in text:
        found.append(f"{name}({literal(text)})")
    return [rule for rule in found if len(rule) <= MAX_RULE]


def _program(part: ShellPart) -> str:
    return part.words[0].rpartition("/")[2] if part.words else ""


def _may_be_offered(part: ShellPart) -> bool:
    if part.caution is not None or not part.words or 0 in part.loose or "=" in part.words[0]:
        return False
    program = _program(part)
    return program.rstrip("0123456789.") not in _NOT_EVEN_ONCE and program.partition(".")[0] not in _NOT_EVEN_ONCE


def _prefix(part: ShellPart) -> str | None:
    """The words that say what it does; None when only all of them do."""
    words, known = part.words, min(part.loose, default=len(part.words))
    plain = [word if all(c.isalnum() or c in "._-:@+/" for c in word) and word else None for word in words[:known]]
    if plain[0] in _BY_NAME:
        return plain[0]
    if known < 2 or plain[0] is None or plain[1] is None or plain[1].startswith("-"):
        return None
    if plain[0] in _BY_SUBCOMMAND and plain[1] not in _NOT_BY_SUBCOMMAND:
        return f"{plain[0]} {plain[1]}"
    if plain[0] in _SCRIPTS:
        if plain[1] in ("run", "run-script") and known > 2 and plain[2] is not None and not plain[2].startswith("-"):
            return f"{plain[0]} {plain[1]} {plain[2]}"
        return f"{plain[0]} {plain[1]}" if plain[1] == "test" else None
    return None


def _for_path(name: str, subject: Subject, root: str | None) -> list[str]:
    if root is None:
        return []
    base = os.path.realpath(root)
    path = os.path.realpath(os.path.join(base, subject.text))
    if path == base:
        return [f"{name}(**)"] if subject.tree or os.path.isdir(path) else []
    if not path.startswith(base.rstrip("/") + "/"):
        return []
    relative = literal(os.path.relpath(path, base))
    if subject.tree or os.path.isdir(path):
        return [f"{name}({relative}/**)"]
    folder = relative.rpartition("/")[0]
    return [f"{name}({relative})", *([f"{name}({folder}/**)"] if folder else [])]
