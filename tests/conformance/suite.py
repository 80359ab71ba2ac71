"""The official MCP conformance suite in client mode: how it is run, and what came of it.

`python -m tests.conformance.suite SET...` plays what frozen sets of requirements require, and fails where that is not as
`expected-failures.yml` says; `scripts/conformance` installs the suite before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def run(arguments: list[str], *, results: Path) -> subprocess.CompletedProcess[str]:
    """The suite's client mode with these arguments; its results go to a folder of their own."""
    client = f"{sys.executable} {HERE / 'mcp_client.py'}"
    return _suite(["client", "--command", client, "--timeout", "60000", "-o", str(results), *arguments])


def required(name: str) -> list[str]:
    """The scenarios for clients that a frozen set requires."""
    told = _suite(["list", "--client", "--requirements", name]).stdout
    listed = told.partition("Client scenarios")[2].partition("\n\n")[0]
    return re.findall(r"^ +- (\S+)", listed, re.MULTILINE)


def expected_failures() -> set[str]:
    return set(re.findall(r"^ +- (\S+)", (HERE / "expected-failures.yml").read_text(encoding="utf-8"), re.MULTILINE))


def main(sets: list[str]) -> int:
    if (why := absent()) is not None:
        print(why, file=sys.stderr)
        return 1
    wrong = 0
    expected = expected_failures()
    for name in sets:
        scenarios = required(name)

        def played(scenario: str, name: str = name) -> tuple[str, subprocess.CompletedProcess[str]]:
            results = FOLDER / "results" / name
            return scenario, run(["--scenario", scenario, "--spec-version", name], results=results)

        passed = 0
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
                print(f"{name}  {scenario}: {words}", flush=True)
        print(f"{name}: {passed} of {len(scenarios)} required scenarios passed")
    return 1 if wrong else 0


def _suite(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    program = node()
    assert program is not None
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [str(program), str(SUITE), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
