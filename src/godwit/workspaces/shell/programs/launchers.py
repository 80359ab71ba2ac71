"""Launchers: programs that start another beside what they do themselves, where their words do not say so for sure."""

from __future__ import annotations

from itertools import pairwise

from ..commands import Word
from .meaning import Meaning, Program


def _launcher(*verbs: str) -> Program:
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


LAUNCHERS: dict[str, Program] = {
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
