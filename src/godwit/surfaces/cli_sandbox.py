"""What `godwit doctor` says of sandboxes: which one is taken here, and which promises each keeps.

Asks the backends themselves, which try out whether they work. Leaves out the other checks. Rule: nothing is told as holding
that a backend would not promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ..core.sandbox import PROMISES, Promise, SandboxPolicy

if TYPE_CHECKING:
    from rich.console import Console

    from ..contracts import Sandbox

ASKED = SandboxPolicy(memory_bytes=1 << 32, file_bytes=1 << 30, cpu_s=3600, processes=1000)
"""The policy whose promises are told: no network, and a limit of each kind."""
LIMITED = SandboxPolicy(allowed_hosts=("example.com",))
"""The one that `network_limited` is told of."""


class Finding(msgspec.Struct, frozen=True):
    """Whether a backend keeps a promise here under the policy `ASKED` (or `LIMITED`), and if not, why."""

    backend: str
    promise: Promise
    holds: bool
    why: str = ""


class Found(msgspec.Struct, frozen=True):
    """`taken`: the backend that `auto` takes here. `problems`: of those that do not work here, why."""

    taken: str
    versions: dict[str, str]
    problems: dict[str, str]
    findings: list[Finding]


def look(among: Sequence[Sandbox] = ()) -> Found:
    """Ask all backends; the first time that starts three short processes."""
    from ..workspaces.sandboxes.bubblewrap import Bubblewrap
    from ..workspaces.sandboxes.choice import backends, choose
    from ..workspaces.sandboxes.landlock import Landlock

    known = tuple(among) or backends()
    findings, versions, problems = [], {}, {}
    for one in known:
        problem = one.problem()
        if problem is not None:
            problems[one.name] = problem
        elif isinstance(one, Bubblewrap):
            versions[one.name] = ".".join(map(str, one.version))
        elif isinstance(one, Landlock):
            versions[one.name] = f"ABI {one.abi}"
        gaps = one.gaps(ASKED)
        gaps.pop("network_limited", None)
        gaps |= {promise: why for promise, why in one.gaps(LIMITED).items() if promise == "network_limited"}
        findings += [Finding(one.name, promise, promise not in gaps, gaps.get(promise, "")) for promise in PROMISES]
    return Found(choose(SandboxPolicy(), among=known).name, versions, problems, findings)


def summary(found: Found) -> str:
    """One line: which sandbox commands run in here by default."""
    name = found.taken
    if name == "none":
        why = "; ".join(found.problems.values())
        return f"none works here: COMMANDS RUN UNCONFINED, as you and with all you can reach ({why})"
    version = found.versions.get(name, "")
    return f"{name} {version}".strip() + " confines commands here"


def show(found: Found, console: Console) -> None:
    """The table of promises, and why some are not kept."""
    names = list(dict.fromkeys(f.backend for f in found.findings))
    holds = {(f.backend, f.promise): f for f in found.findings}
    console.print()
    console.print(f"  {'what a sandbox keeps here':<26} " + "".join(f"{name:<14}" for name in names).rstrip())
    for promise in PROMISES:
        marks = ["✓" if holds[name, promise].holds else "✗" for name in names]
        console.print(f"  {promise:<26} " + "".join(f"{mark:<14}" for mark in marks).rstrip())
    for name in names:
        if name in found.problems:
            console.print(f"  {name}: {found.problems[name]}")
        elif name != "none":
            for finding in (f for f in found.findings if f.backend == name and not f.holds):
                console.print(f"  {name} does not keep {finding.promise}: {finding.why}")
