"""The measurements run: scenarios at their smallest, the table and the JSON in their shapes. No number is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import godwit
from tests.patience import PATIENCE_S

SCENARIOS = ("answer", "history", "followers", "commands", "checkpoints", "lanes", "mcp", "agui", "kill", "memory")


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(godwit.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def measured(root: Path, folder: Path, scenarios: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What is printed of these scenarios at their smallest, and the report."""
    chosen = [word for name in scenarios for word in ("--only", name)]
    done = run(root, "--tiny", *chosen, "--folder", str(folder), "--json", str(folder / "bench.json"))
    assert done.returncode == 0, done.stderr
    assert [p.name for p in folder.iterdir()] == ["bench.json"], "the databases are gone afterwards"
    return done.stdout, json.loads((folder / "bench.json").read_text())


@pytest.fixture(scope="module")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    return measured(root, tmp_path_factory.mktemp("bench"), SCENARIOS)


def test_each_scenario_measures_each_contender(ran: tuple[str, dict[str, Any]]) -> None:
    _, report = ran
    found = {(m["scenario"].split()[0].rstrip(":"), m["subject"]) for m in report["measurements"]}
    for subject in ("floor", "floor + SQLite", "pydantic-ai direct", "godwit live, disk", "godwit scripted, disk"):
        assert ("answer", subject) in found
    assert {scenario for scenario, _ in found} == set(SCENARIOS)
    for one in report["measurements"]:
        assert one["count"] >= 1
        assert one["low"] <= one["median"] <= one["high"]
        assert one["ratio"] is None or one["ratio"] > 0


def test_the_floor_is_one(ran: tuple[str, dict[str, Any]]) -> None:
    _, report = ran
    ratios = {m["ratio"] for m in report["measurements"] if m["scenario"] == "answer" and m["subject"] == "floor"}
    assert ratios == {1.0}


def test_a_killed_run_is_found_whole(ran: tuple[str, dict[str, Any]]) -> None:
    _, report = ran
    assert [m["median"] for m in report["measurements"] if m["scenario"] == "kill"] == [20.0, 20.0]


def test_goals_say_what_was_not_measured(ran: tuple[str, dict[str, Any]]) -> None:
    text, report = ran
    for goal in report["goals"]:
        assert (goal["met"] is None) == (goal["value"] is None)
    unmeasured = {g["name"] for g in report["goals"] if g["met"] is None}
    assert any("over HTTP" in name for name in unmeasured)
    assert any("5,000 messages" in name for name in unmeasured), "small sizes say nothing of it"
    assert "killed after 20 steps, disk: steps found" in text
    assert {"machine", "sizes", "measurements", "goals", "notes"} == set(report)


@pytest.mark.parametrize(
    "scenarios",
    [
        ("server", "server-followers"),
        pytest.param(("server-streams", "server-memory"), marks=pytest.mark.slow),
    ],
)
def test_a_server_is_measured_beside_the_floor(root: Path, tmp_path: Path, scenarios: Sequence[str]) -> None:
    _, report = measured(root, tmp_path, scenarios)
    found = {(m["scenario"], m["subject"], m["metric"]): m for m in report["measurements"]}
    assert {scenario.split(":")[0] for scenario, _, _ in found} == set(scenarios)
    for (scenario, subject, metric), one in found.items():
        assert one["low"] <= one["median"] <= one["high"]
        if metric == "arrived":
            assert one["median"] == 100, (scenario, subject)
        elif subject == "floor" and one["median"]:
            assert one["ratio"] == 1.0
        if subject == "floor":
            assert (scenario, "godwit", metric) in found
    over_http = [goal for goal in report["goals"] if "over HTTP" in goal["name"]]
    assert [goal["met"] for goal in over_http] == [None, None], "small sizes say nothing of it"


def test_an_unknown_scenario_is_refused_with_the_names(root: Path) -> None:
    done = run(root, "--only", "nothing")
    assert done.returncode == 2
    assert "long-run" in done.stderr
