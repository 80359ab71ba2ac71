"""What the tests of permissions are written in: policies, what they say of a command, tools to judge and a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from godwit.contracts import ToolTraits
from godwit.core.agent import ToolDefinition
from godwit.core.rules import Permissions, Subject
from godwit.engine.permissions import Judgement, Layer, Policy
from godwit.tools.bash import Bash
from godwit.workspaces.shell import Shell

SHELL = Shell()
BASH = Bash()


def policy(*layers: Permissions, shell: Shell | None = SHELL) -> Policy:
    names = ("agent", "config", "saved", "session")
    return Policy([Layer(name, permissions) for name, permissions in zip(names, layers, strict=False)], shell=shell)


NARROW = policy(
    Permissions(
        allow=(
            "read", "bash(git status:*)", "bash(git log:*)", "bash(git diff:*)", "bash(git commit:*)", "bash(cargo:*)",
            "bash(npm run test:*)", "bash(ls:*)", "bash(cat src/**)", "bash(grep:*)", "bash(tar:*)", "bash(find:*)",
            "bash(sed:*)", "bash(awk:*)", "bash(ssh:*)", "bash(vim:*)", "bash(less:*)", "bash(man:*)", "bash(xargs:*)",
            "bash(env:*)", "bash(sudo:*)", "bash(bash:*)", "bash(sort:*)", "bash(tee:*)", "bash(git fetch:*)", "bash(rg:*)",
            "bash(make)", "bash(zip:*)", "bash(rsync:*)", "bash(read:*)", "bash(export:*)", "bash(test:*)", "bash(printf:*)",
        ),
        deny=("bash(rm:*)", "bash(git push --force*)", "bash(curl:*)", "read(**/.env)", "write(**/*.lock)"),
        ask=("bash",),
    )
)  # fmt: skip
OPEN = policy(Permissions(deny=("bash(rm:*)", "bash(curl:*)")))
"""All is allowed but `rm` and `curl`: what may be one of them has to be asked at least."""


def said(command: str, rules: Policy = NARROW, root: Path | None = None) -> Judgement:
    return rules.judge(BASH, {"command": command}, None if root is None else str(root))


@pytest.fixture(scope="module", name="place")
def a_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a folder in it, and links that lead out."""
    root = tmp_path_factory.mktemp("place")
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "a.txt").write_text("a")
    (root / "out").symlink_to("/etc")
    (root / "src" / "up").symlink_to("/tmp")
    return root


class Pay:
    """A tool without a subject of its own."""

    definition = ToolDefinition("pay", "Pay.", {"type": "object"})
    traits = ToolTraits()

    def validate(self, arguments: dict[str, Any]) -> None: ...
    def locks(self, arguments: dict[str, Any], workspace: Any) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: Any) -> Any: ...


class Odd(Pay):
    definition = ToolDefinition("odd", "Odd.", {"type": "object"})

    def __init__(self, error: Exception) -> None:
        self.error = error

    def subject(self, arguments: dict[str, Any]) -> Subject:
        raise self.error
