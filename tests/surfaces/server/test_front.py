"""What the front does before any dialect is asked."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from godwit.core.errors import ConfigurationError
from godwit.surfaces.server import ServerSettings

from .running import running


def test_a_server_answers_and_names_its_requests(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models={}) as server:
        answer = httpx2.get(f"{server.url}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["request-id"].startswith("req_")


def test_a_server_that_others_can_reach_needs_keys() -> None:
    assert ServerSettings(host="0.0.0.0").asks_for_keys
    assert not ServerSettings().asks_for_keys
    with pytest.raises(ConfigurationError):
        ServerSettings(host="0.0.0.0", keys=False)


def test_a_model_is_found_by_its_longest_name() -> None:
    settings = ServerSettings(models={"claude-*": "a:b", "claude-sonnet*": "c:d", "x": "e:f"})
    assert [settings.model(n) for n in ("claude-opus", "claude-sonnet-5", "x", "y:z")] == ["a:b", "c:d", "e:f", "y:z"]


def test_a_model_whose_name_tells_its_provider_needs_no_setting() -> None:
    settings = ServerSettings(models={"gpt-5": "azure:five"})
    names = ("claude-opus-5", "gpt-5", "gpt-6-mini", "o4-mini", "gemini-3", "ollama:gpt-oss", "local")
    assert [settings.model(n) for n in names] == [
        "anthropic:claude-opus-5",
        "azure:five",
        "openai:gpt-6-mini",
        "openai:o4-mini",
        "google:gemini-3",
        "ollama:gpt-oss",
        "local",
    ]
