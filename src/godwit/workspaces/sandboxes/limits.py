"""The shell that stands before a command: it sets the limits and, as the keeper of a command, sees it to its end.

A limit of the kernel can be set only by the process it is for, and a program with threads must not run code of its own
between fork and exec. So a `sh` does it, which costs about half a millisecond. Leaves out which limits hold where, which
each backend says. Rules: POSIX `sh` only; a limit that cannot be set ends the command before it begins; nothing is said on
the command's output but that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.sandbox import SandboxPolicy
from .programs import find, sh

REFUSED = 125
"""Exit code when a limit could not be set."""

# `-f` counts blocks of 512 bytes in a shell called sh, `-v` KiB. dash says -p where others say -u.
_LIMIT = """
limit() { { ulimit "$@"; } 2>/dev/null || { echo "godwit: this system refuses the limit: ulimit $*" >&2; exit 125; }; }
ulimit -c 0 2>/dev/null
"""
_PROCESSES = """
{{ ulimit -u {n}; }} 2>/dev/null || limit -p {n}
"""
# Beside this shell only its keeper (1) and what the command left behind are there. What is about to end by itself, such as
# the end of a pipeline that the shell did not wait for, gets a quarter of a second; whatever is left then dies with us.
_KEEP = """
trap : HUP INT TERM
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
code=$?
exec 3>&-
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
  set -- /proc/[0-9]*
  [ $# -gt 2 ] || break
  sleep 0.02
done
exit $code
"""


def limited(
    argv: Sequence[str], environment: Mapping[str, str], policy: SandboxPolicy, *, keep: bool = False
) -> tuple[tuple[str, ...], dict[str, str]]:
    """`argv` under the policy's limits, and the environment to start it with. `keep`: as the first command of a process
    namespace of its own."""
    script = [_LIMIT]
    if policy.memory_bytes is not None:
        script.append(f"limit -v {-(-policy.memory_bytes // 1024)}\n")
    if policy.file_bytes is not None:
        script.append(f"limit -f {-(-policy.file_bytes // 512)}\n")
    if policy.cpu_s is not None:
        script.append(f"limit -t {policy.cpu_s}\n")
    if policy.processes is not None:
        script.append(_PROCESSES.format(n=policy.processes + (_KEEPERS if keep else 0)))
    script.append(_KEEP if keep else 'exec "$@"\n')
    # What the loader goes by may lead to libraries that a command has written: the shell that sets the limits is spared.
    loader = [f"{name}={value}" for name, value in environment.items() if name.startswith("LD_")]
    if loader:
        argv = (find("env") or "/usr/bin/env", *loader, *argv)
    rest = {name: value for name, value in environment.items() if not name.startswith("LD_")}
    return (sh(), "-c", "".join(script), "sh", *argv), rest


_KEEPERS = 2
"""Processes in the namespace that are not the command's: the keeper and this shell."""
