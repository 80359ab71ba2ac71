"""Which of our variables a command gets: never one that looks like a credential, unless it is named.

Leaves out TMPDIR, which is the sandbox's to say. Rules: what a session's own `environment` gives always passes, under any
policy; without a policy all passes but credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..core.sandbox import CREDENTIAL, ENVIRONMENT, SandboxPolicy

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY")


def variables(policy: SandboxPolicy | None, given: Mapping[str, str], root: str) -> dict[str, str]:
    """The environment of a command in `root`. `given`: what is passed on top of ours."""
    return {**(inherited() if policy is None else _listed(policy)), **given, "PWD": root}


def inherited() -> dict[str, str]:
    """Our own environment without what looks like a credential."""
    return {name: value for name, value in os.environ.items() if not CREDENTIAL.search(name)}


def _listed(policy: SandboxPolicy) -> dict[str, str]:
    built_in = policy.environment is None
    names = ENVIRONMENT if policy.environment is None else policy.environment
    exact = {name for name in names if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
    found = {}
    for name, value in os.environ.items():
        listed = name.startswith(prefixes) or (built_in and policy.network and _harmless_proxy(name, value))
        if name in exact or (listed and not CREDENTIAL.search(name)):
            found[name] = value
    return found


def _harmless_proxy(name: str, value: str) -> bool:
    """A proxy's address is needed to reach the network; one with a password in it is a credential."""
    if name.upper() not in _PROXIES:
        return False
    try:
        return urlsplit(value if "//" in value else f"//{value}").username is None
    except ValueError:
        return False
