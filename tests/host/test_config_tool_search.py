"""[tool_search] of configuration files: whether models look for the tools of MCP servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host.test_config import Files

import godwit
from godwit import McpServer, ToolSearchPolicy
from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def spec(policy: ToolSearchPolicy | None = None) -> AgentSpec:
    return godwit.Agent("clerk", model="scripted:test", tool_search=policy).spec


def test_what_a_file_says_takes_the_place_of_what_the_agent_says(files: Files) -> None:
    terms = files.load('[tool_search]\nmode = "never"\ntools = 5\n').terms
    assert terms.held(spec()).tool_search == ToolSearchPolicy("never", 5)
    assert terms.held(spec(ToolSearchPolicy("always", share=0.5))).tool_search == ToolSearchPolicy("never", 5, share=0.5)
    assert files.load("").terms.held(spec(ToolSearchPolicy("never"))).tool_search == ToolSearchPolicy("never")


@pytest.mark.parametrize("wrong", ['mode = "often"', "tools = -1", "tokens = -1", "share = 0.0", "share = 2.0", "more = 3"])
def test_what_is_wrong_is_told_with_its_line(files: Files, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.toml:2: .*tool_search"):
        files.load(f"[tool_search]\n{wrong}\n")


def test_a_folder_that_is_not_trusted_only_has_more_looked_for(files: Files) -> None:
    config = files.load("[tool_search]\ntools = 4\n", '[tool_search]\nmode = "always"\ntools = 1000\n')
    assert config.terms.held(spec()).tool_search == ToolSearchPolicy("always", 4)
    assert sum('only say mode = "always"' in str(notice) for notice in config.notices) == 1
    config = files.load("", '[tool_search]\nmode = "never"\n')
    assert config.terms.held(spec()).tool_search == ToolSearchPolicy()


def test_a_server_in_a_file_says_what_is_always_told(files: Files) -> None:
    config = files.load('[mcp.servers.docs]\nurl = "https://docs.example/mcp"\ndefer = false\nalways = ["search"]\n')
    assert config.mcp_servers == (McpServer("docs", "https://docs.example/mcp", defer=False, always=("search",)),)
