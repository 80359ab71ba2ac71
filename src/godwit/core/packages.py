"""Packages: what a policy may ask to be installed, of which managers, and the registries that these fetch from.

Pure; installing is the host's (`host.packages`). Rules: a package is named as its own manager names it, version and all, and
comes from a registry: what would be read as an option, a path or an address is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from .errors import ConfigurationError

Manager = Literal["apt", "cargo", "gem", "go", "npm", "pip"]
MANAGERS: tuple[Manager, ...] = get_args(Manager)
"""In the order in which they are run."""
REGISTRIES: Mapping[Manager, tuple[str, ...]] = {
    "apt": (
        "deb.debian.org",
        "security.debian.org",
        "archive.ubuntu.com",
        "security.ubuntu.com",
        "ports.ubuntu.com",
    ),
    "cargo": ("crates.io", "index.crates.io", "static.crates.io"),
    "gem": ("rubygems.org", "index.rubygems.org", "api.rubygems.org"),
    "go": ("proxy.golang.org", "sum.golang.org"),
    "npm": ("registry.npmjs.org",),
    "pip": ("pypi.org", "files.pythonhosted.org"),
}
"""The public registries of each manager."""
OTHER_REGISTRIES = ("registry.yarnpkg.com", "static.rust-lang.org", "nodejs.org")
"""Beside those, what package managers commonly fetch from. No host is here that keeps what everybody puts there."""
MOST = 200

_SPEC = re.compile(r"[A-Za-z0-9@][^\x00-\x1f\x7f]*")
_ELSEWHERE = re.compile(
    r"://|\\|^(?:git|file|link|github|gitlab|bitbucket|ssh)[+:@]|^\.{0,2}/|(?:^|/)\.\.?(?:/|$)", re.IGNORECASE
)


def package(text: str) -> tuple[Manager, str]:
    """`pip:pandas==2.2.0` as its manager and what that is given. ConfigurationError."""
    name, colon, spec = text.partition(":")
    if not colon or name not in MANAGERS:
        raise ConfigurationError(
            f"package {text[:200]!r} does not begin with a manager: take {', '.join(MANAGERS)}, as in pip:pandas==2.2.0",
            package=text,
        )
    if len(spec) > 300 or not _SPEC.fullmatch(spec) or _ELSEWHERE.search(spec):
        raise ConfigurationError(
            f"package {text[:200]!r} is no package of a registry, as in {_EXAMPLES[name]}", package=text
        )
    return name, spec


_EXAMPLES: Mapping[str, str] = {
    "apt": "apt:ffmpeg",
    "cargo": "cargo:ripgrep@14.0.0",
    "gem": "gem:rails:7.1.0",
    "go": "go:golang.org/x/tools/cmd/goimports@latest",
    "npm": "npm:express@4.18.0",
    "pip": "pip:pandas==2.2.0",
}


def by_manager(packages: Iterable[str]) -> dict[Manager, tuple[str, ...]]:
    """What each manager is given, in the order of the managers. ConfigurationError."""
    pairs = [package(text) for text in packages]
    found = {manager: tuple(dict.fromkeys(spec for one, spec in pairs if one == manager)) for manager in MANAGERS}
    return {manager: specs for manager, specs in found.items() if specs}


def registries(managers: Iterable[Manager] | None = None) -> tuple[str, ...]:
    """The hosts that these fetch from; None: all that package managers commonly do."""
    if managers is None:
        return tuple(dict.fromkeys([host for hosts in REGISTRIES.values() for host in hosts] + list(OTHER_REGISTRIES)))
    return tuple(dict.fromkeys(host for manager in managers for host in REGISTRIES[manager]))
