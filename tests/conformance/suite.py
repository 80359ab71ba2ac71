"""The official MCP conformance suite in client and in server mode: how it is run, and what came of it.

`python -m tests.conformance.suite SET...` plays what frozen sets of requirements require, and fails where that is not as
`expected-failures.yml` says; `scripts/conformance` installs the suite before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from tests.surfaces.server.running import running

import godwit
from godwit.host.agent_registry import AgentRegistry
from godwit.models.script import ScriptedModel

Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "conformance"
FOLDER = ROOT / ".clients" / "conformance"
PACKAGES = FOLDER / "node_modules"
SUITE = PACKAGES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


def node() -> Path | None:
    """The Node that the suite needs, when it is installed."""
    found = [path for path in PACKAGES.glob("node-*/bin/node") if os.access(path, os.X_OK)]
    return found[0] if found else None


def absent() -> str | None:
    """Why the suite cannot be run."""
    if not SUITE.exists() or node() is None:
        return "the MCP conformance suite is not installed: scripts/conformance does that"
    return None


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server of ours, with an agent."""
    model = ScriptedModel(["Done."])

    async def prepare(runtime: godwit.Runtime) -> None:
        spec = godwit.Agent("coder", model="scripted:suite").spec
        named = msgspec.structs.replace(spec, title="coder", description="Says that it is done.")
        await AgentRegistry(runtime.store).create(named, tenant=None)

    with tempfile.TemporaryDirectory() as folder:
        with running(Path(folder) / "godwit.db", models={"scripted:suite": model}, prepare=prepare) as server:
            yield f"{server.url}/mcp"


def run_server(url: str, arguments: list[str], *, results: Path) -> subprocess.CompletedProcess[str]:
    """The suite's server mode against this address."""
    return _suite(["server", "--url", url, "--timeout", "60000", "-o", str(results), *arguments])


def run(arguments: list[str], *, results: Path) -> subprocess.CompletedProcess[str]:
    """The suite's client mode with these arguments; its results go to a folder of their own."""
    client = f"{sys.executable} {HERE / 'mcp_client.py'}"
    return _suite(["client", "--command", client, "--timeout", "60000", "-o", str(results), *arguments])


def required(name: str, side: Side = "client") -> list[str]:
    """The scenarios for clients, or for servers, that a frozen set requires."""
    told = _suite(["list", f"--{side}", "--requirements", name]).stdout
    listed = told.partition(f"{side.capitalize()} scenarios")[2].partition("\n\n")[0]
    return re.findall(r"^ +- (\S+)", listed, re.MULTILINE)


def expected_failures(side: Side = "client") -> set[str]:
    told = (HERE / "expected-failures.yml").read_text(encoding="utf-8")
    section = re.search(rf"^{side}:\n((?:[ #].*\n|\n)*)", told, re.MULTILINE)
    return set() if section is None else set(re.findall(r"^ +- (\S+)", section[1], re.MULTILINE))


def main(sets: list[str]) -> int:
    if (why := absent()) is not None:
        print(why, file=sys.stderr)
        return 1
    with serving() as url:
        wrong = sum(_played(name, side, url) for name in sets for side in SIDES)
    return 1 if wrong else 0


def _played(name: str, side: Side, url: str) -> int:
    """How many scenarios of one set came out otherwise than was expected."""
    scenarios, expected = required(name, side), expected_failures(side)
    wrong = passed = 0

    def played(scenario: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        results = FOLDER / "results" / name
        words = ["--scenario", scenario, "--spec-version", name]
        return scenario, run_server(url, words, results=results) if side == "server" else run(words, results=results)

    # Not the suite's own way, which starts all at once and takes those that a busy machine is slow with for failed.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for scenario, done in pool.map(played, scenarios):
            ok = done.returncode == 0
            passed += ok
            words = "passed" if ok else "failed"
            if ok == (scenario in expected):
                wrong += 1
                words += ", and stands among expected failures" if ok else ", which was not expected"
                if not ok:
                    words += f"\n{done.stdout[-3000:]}\n{done.stderr[-1000:]}"
            print(f"{name}  {side}  {scenario}: {words}", flush=True)
    print(f"{name}: {passed} of {len(scenarios)} required scenarios passed as a {side}")
    return wrong


def _suite(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    program = node()
    assert program is not None
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [str(program), str(SUITE), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
