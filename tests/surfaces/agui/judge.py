"""The official clients' own verdict on a stream, from one node process that lives as long as the tests of a module.

`STRICTER` are the rules of ours that they do not have, and `STRICTER_IN` what they do not have of others; for all else the
verdicts are to agree, event for event.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

HERE = Path(__file__).parent
NODE = HERE.parents[2] / ".clients" / "node"
STRICTER = {"run", "id", "activity", "built"}
STRICTER_IN = {"patch": "into itself", "interrupts": "two interrupts"}


class Verdict(NamedTuple):
    """`at`: the first event that is refused, or None; `why`: in the client's words."""

    at: int | None
    why: str = ""


class Judge:
    def __init__(self) -> None:
        environment = {**os.environ, "SUPPRESS_TRANSFORMATION_WARNINGS": "true"}
        self._node = subprocess.Popen(
            ["node", os.fspath(HERE / "judge.mjs")],
            cwd=NODE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, client: Literal["new", "old"], events: list[dict[str, Any]]) -> Verdict:
        said = self._ask({"client": client, "events": events})
        return Verdict(None if said["at"] < 0 else said["at"], said.get("why", ""))

    def expand(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What today's client makes of a stream with chunks."""
        expanded: list[dict[str, Any]] = self._ask({"client": "new", "events": events, "expand": True})
        return expanded

    def patched(self, state: Any, patch: list[dict[str, Any]]) -> Any:
        """What the client makes of a state by a patch."""
        return self._ask({"state": state, "patch": patch})["state"]

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(request) + "\n")
        self._node.stdin.flush()
        return json.loads(self._node.stdout.readline())

    def close(self) -> None:
        self._node.communicate()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    there = (NODE / "node_modules" / name / "package.json" for name in ("@ag-ui/client", "agui-old"))
    if shutil.which("node") is None or not all(package.exists() for package in there):
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    judge = Judge()
    yield judge
    judge.close()
