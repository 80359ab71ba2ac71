"""The lock files say what pyproject.toml asks for, and no more: `scripts/lock` makes them anew."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)(?:\[[a-z0-9, -]+\])?==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\$")


def locked(path: Path) -> dict[str, tuple[str, str | None]]:
    """name -> (version, marker)"""
    pins: dict[str, tuple[str, str | None]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("    --hash=sha256:"):
            continue
        found = PIN.match(line)
        assert found, f"{path.name}: {line!r} is no pinned requirement"
        pins[canonicalize_name(found["name"])] = (found["version"], found["marker"])
    return pins


def asked(root: Path, *, dev: bool) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    return [
        Requirement(r) for r in [*project["project"]["dependencies"], *(project["dependency-groups"]["dev"] if dev else ())]
    ]


def needed(requirements: list[Requirement]) -> Iterator[str]:
    """The names of all that these need here, as far as it is installed, told by its own metadata."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        yield key[0]
        try:
            own = [Requirement(r) for r in requires(requirement.name) or ()]
        except PackageNotFoundError:
            continue
        extras = requirement.extras or {""}
        waiting += [r for r in own if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in {*extras, ""})]


@pytest.mark.parametrize(("name", "dev"), [("requirements.lock", False), ("requirements-dev.lock", True)])
def test_a_lock_holds_what_is_asked_for_and_no_more(root: Path, name: str, dev: bool) -> None:
    pins = locked(root / name)
    requirements = asked(root, dev=dev)
    for requirement in requirements:
        version, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{name} is out of date: run scripts/lock"
    here = {pin for pin, (_, marker) in pins.items() if marker is None or Marker(marker).evaluate()}
    assert set(needed(requirements)) == here, f"{name} is out of date: run scripts/lock"


def test_both_locks_name_the_same_versions(root: Path) -> None:
    assert locked(root / "requirements.lock").items() <= locked(root / "requirements-dev.lock").items()


def test_a_lock_names_no_address(root: Path) -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (root / name).read_text()
