"""Scenarios of the official MCP conformance suite that godwit's sessions play through; `scripts/conformance` runs all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance import suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(suite.absent() is not None, reason=suite.absent() or ""),
]


@pytest.mark.parametrize(
    ("scenario", "version"),
    [
        ("initialize", "2025-11-25"),
        ("tools_call", "2025-11-25"),
        ("sse-retry", "2025-11-25"),
        ("tools_call", "2026-07-28"),
        ("request-metadata", "2026-07-28"),
        ("http-standard-headers", "2026-07-28"),
        ("http-custom-headers", "2026-07-28"),
        ("http-invalid-tool-headers", "2026-07-28"),
        ("json-schema-ref-no-deref", "2026-07-28"),
        ("auth/metadata-default", "2025-11-25"),
        ("auth/basic-cimd", "2026-07-28"),
        ("auth/pre-registration", "2026-07-28"),
        ("auth/scope-step-up", "2026-07-28"),
        ("auth/authorization-server-migration", "2026-07-28"),
        ("auth/iss-wrong-issuer", "2026-07-28"),
    ],
)
def test_a_scenario_is_passed(scenario: str, version: str, tmp_path: Path) -> None:
    done = suite.run(["--scenario", scenario, "--spec-version", version], results=tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_what_every_server_has_to_do_ours_does(version: str, tmp_path: Path) -> None:
    scenarios = [one for one in suite.required(version, "server") if one not in suite.expected_failures("server")]
    assert len(scenarios) > 8
    with suite.serving() as url:
        for scenario in scenarios:
            done = suite.run_server(url, ["--scenario", scenario, "--spec-version", version], results=tmp_path)
            assert done.returncode == 0, f"{scenario}: {done.stdout}\n{done.stderr}"
