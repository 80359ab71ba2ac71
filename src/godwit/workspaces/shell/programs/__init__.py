"""What programs do with their words, as far as it decides what runs: which of them start others, and by which options.

Owns knowledge of programs: wrappers (`env`, `xargs`, `bash -c`), options that run commands where one would not expect it
(`tar --to-command`), variables that change what runs, and the shell's own commands that do nothing a rule would have to
allow. Leaves out how a command is read (`grammar`).

Rules a change must keep: this knowledge only ever makes a verdict stricter, but for what is called neutral, and that list
has to be right; an option that is not known to a wrapper makes what it starts uncertain, and so does a word before it that
may become several; long options may be abbreviated.
"""

from __future__ import annotations

from ..commands import Simple
from .builtins import BUILTINS
from .filters import FILTERS
from .finders import FINDERS
from .git import git
from .launchers import LAUNCHERS
from .meaning import Meaning, Program
from .risks import RISKY
from .shells import SHELLS, shell
from .variables import harmless
from .wrappers import WRAPPERS

_PROGRAMS: dict[str, Program] = {
    **BUILTINS, **WRAPPERS, **FINDERS, **FILTERS, **LAUNCHERS, "git": git,
}  # fmt: skip


def meaning(command: Simple) -> Meaning:
    """What the command means, by its name, which is taken without its folder."""
    words = command.words
    if not words or not words[0].exact:
        return Meaning()
    name = words[0].text.rpartition("/")[2]
    bare = "/" not in words[0].text
    if name in SHELLS:
        made = shell(name, words, command.redirects)
    elif found := _PROGRAMS.get(name):
        made = found(words)
    else:
        made = Meaning()
        if risk := RISKY.get(name):
            why = next(filter(None, map(risk.why, words[1:])), None)
            return made.careful(why) if why else made
    # By its path it is a program of somebody who gave it that name.
    made.neutral = made.neutral and bare
    return made


__all__ = ["Meaning", "harmless", "meaning"]
