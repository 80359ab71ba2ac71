"""Which backend confines commands here: the one that is named, or the strongest that works.

Rules: a named backend that does not work is an error and never a weaker one; so is a promise that is demanded and does not
hold. What was found out about a backend is kept for the life of the process.
"""

from __future__ import annotations

import logging
from functools import cache

from ...contracts import Enclosure, Sandbox
from ...core.errors import ConfigurationError
from ...core.sandbox import SandboxPolicy
from .bubblewrap import Bubblewrap
from .landlock import Landlock
from .none import Unconfined

logger = logging.getLogger("godwit")


@cache
def backends() -> tuple[Sandbox, ...]:
    """All of them, the strongest first."""
    return (Bubblewrap(), Landlock(), Unconfined())


def choose(policy: SandboxPolicy, enclosure: Enclosure | None = None, *, among: tuple[Sandbox, ...] = ()) -> Sandbox:
    """The backend for the policy, checked against what it requires. Blocking: the first time a process is started.

    `enclosure`: what commands will be confined to, where it is known; some promises depend on it. ConfigurationError: the
    named backend does not work here, or a promise that is required, or that a list of hosts needs, does not hold.
    """
    known = among or backends()
    if policy.backend != "auto":
        chosen = next((one for one in known if one.name == policy.backend), None)
        problem = "there is no such backend" if chosen is None else chosen.problem()
        if chosen is None or problem is not None:
            raise ConfigurationError(f"the sandbox {policy.backend!r} cannot be used: {problem}", backend=policy.backend)
        candidates = [chosen]
    else:
        candidates = [one for one in known if one.problem() is None]
    missing = []
    for one in candidates:
        gaps = one.gaps(policy, enclosure)
        lacking = [promise for promise in policy.demands if promise in gaps]
        if not lacking:
            return one
        missing.append((one, lacking[0], gaps[lacking[0]]))
    raise ConfigurationError(
        _refusal(policy, missing[0], known),
        promise=missing[0][1],
        backend=missing[0][0].name,
    )


def _refusal(policy: SandboxPolicy, missing: tuple[Sandbox, str, str], known: tuple[Sandbox, ...]) -> str:
    one, promise, why = missing
    text = f"the sandbox must keep {promise}, and here {one.name} does not: {why}"
    if policy.backend == "auto":
        for stronger in known[: known.index(one)]:
            text += f". {stronger.name}: {stronger.problem()}"
    return text + ". `godwit doctor` shows what holds here"


def warn(sandbox: Sandbox, policy: SandboxPolicy, enclosure: Enclosure) -> None:
    """Say loudly, once, that commands are not confined, or that something of the host's is in their reach."""
    if isinstance(sandbox, Unconfined):
        problems = [problem for one in backends() if (problem := one.problem()) is not None]
        by_choice = policy.backend == "none" or not problems
        why = "the policy says so (backend none)" if by_choice else "; ".join(problems)
        _say(f"commands run WITHOUT A SANDBOX, as you and with all you can reach: {why}")
        return
    gap = sandbox.gaps(policy, enclosure).get("secrets_hidden")
    if gap is not None and "secrets_hidden" not in sandbox.gaps(policy):
        _say(f"{sandbox.name} cannot hide all it should from commands: {gap}. Keep it elsewhere, or install bubblewrap")


@cache
def _say(text: str) -> None:
    logger.warning("%s", text)
