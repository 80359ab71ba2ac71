"""Files of MCP servers as other tools have them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import MODEL, Bench
from tests.parts import mcp_program

import godwit
from godwit import McpOAuth, McpServer
from godwit.core.errors import ConfigurationError
from godwit.host.mcp.editing import add_to_mcp_json


def written(folder: Path, content: Any) -> Path:
    path = folder / ".mcp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_what_it_names_are_servers(tmp_path: Path) -> None:
    servers = {
        "git": {
            "command": "uvx",
            "args": ["mcp-server-git", "${REPO}"],
            "env": {"GIT_TOKEN": "${TOKEN}"},
            "alwaysAllow": ["x"],
        },
        "docs": {"type": "streamable-http", "url": "${BASE:-https://docs.example}/mcp", "headers": {"X-Api-Key": "${KEY}"}},
        "old": {"type": "sse", "url": "https://old.example/sse", "disabled": True},
        "here": {"type": "stdio", "command": "${BIN}/serve", "cwd": "${BIN}"},
    }
    found = godwit.mcp_servers_from(written(tmp_path, {"mcpServers": servers}), environment={"BIN": "/opt/bin"})
    assert found == (
        McpServer("git", command="uvx", args=("mcp-server-git", "${REPO}"), env={"GIT_TOKEN": "${TOKEN}"}),
        McpServer("docs", "https://docs.example/mcp", transport="http", headers={"X-Api-Key": "${KEY}"}),
        McpServer("old", "https://old.example/sse", transport="sse", enabled=False),
        McpServer("here", command="/opt/bin/serve", transport="stdio", cwd="/opt/bin"),
    )
    assert godwit.mcp_servers_from(written(tmp_path, {"servers": {"git": {"command": "git-mcp"}}})) == (
        McpServer("git", command="git-mcp"),
    )


SAID: dict[str, dict[str, Any]] = {
    "tools": {"godwit": {"tools": ["a"]}},
    "without": {"godwit": {"without": ["a"]}},
    "timeout_s": {"godwit": {"timeout_s": 5}},
    "connect_timeout_s": {"godwit": {"connect_timeout_s": 5}},
    "log_level": {"godwit": {"log_level": "info"}},
    "defer": {"godwit": {"defer": False}},
    "always": {"godwit": {"always": ["a"]}},
    "sampling": {"godwit": {"sampling": "deny"}},
    "enabled": {"disabled": True},
    "transport": {"type": "sse"},
    "headers": {"headers": {"X-A": "b"}},
    "oauth": {
        "oauth": {
            "clientId": "me",
            "clientSecret": "${SECRET}",
            "issuer": "https://login.example",
            "clientMetadataUrl": "https://me.example/client.json",
            "scopes": "read write",
            "callbackPort": 8123,
            "grant": "client_credentials",
        }
    },
    "args": {"url": "", "command": "x", "args": ["a"]},
    "env": {"url": "", "command": "x", "env": {"A": "b"}},
    "cwd": {"url": "", "command": "x", "cwd": "a"},
}
"""An entry that says each setting, where it is other than by default."""


def test_each_setting_can_be_said_and_is_written_as_it_is_read(tmp_path: Path) -> None:
    assert set(SAID) == set(McpServer.__struct_fields__) - {"name", "url", "command"}
    for field, said in SAID.items():
        entry = {"url": "https://a.example/mcp", **said}
        (server,) = godwit.mcp_servers_from(written(tmp_path, {"mcpServers": {"a": entry}}))
        plain = McpServer("a", server.url, command=server.command)
        assert getattr(server, field) != getattr(plain, field), field
        (tmp_path / field).mkdir()
        path = tmp_path / field / ".mcp.json"
        add_to_mcp_json(str(path), server)
        (again,) = godwit.mcp_servers_from(path)
        # Which way it goes is written out for other tools.
        assert msgspec.structs.replace(again, transport=server.transport) == server, field
    (login,) = godwit.mcp_servers_from(
        written(tmp_path, {"mcpServers": {"a": {"url": "https://a.example", **SAID["oauth"]}}})
    )
    assert login.oauth == McpOAuth(
        "me",
        "${SECRET}",
        "https://login.example",
        "https://me.example/client.json",
        ("read", "write"),
        8123,
        "client_credentials",
    )


def test_settings_of_ours_stand_apart_from_what_other_tools_call_the_same(tmp_path: Path) -> None:
    entry = {"command": "x", "tools": ["*"], "timeout_s": "soon", "always": 1}
    assert godwit.mcp_servers_from(written(tmp_path, {"mcpServers": {"a": entry}})) == (McpServer("a", command="x"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ([], "an object mcpServers"),
        ({"mcpServers": {"a": {"command": 5}}}, "'a': Expected `str`"),
        ({"mcpServers": {"a": {"type": "ws", "url": "https://a.example"}}}, "'a': its type 'ws'"),
        ({"mcpServers": {"a": {}}}, "'a': MCP server 'a': its url"),
        ({"mcpServers": {"a": {"command": "x", "env": {"API_KEY": "sk-literal"}}}}, "API_KEY looks like a credential"),
        ({"mcpServers": {"a": {"command": "x", "godwit": {"url": "y"}}}}, "'a': its godwit has no 'url': it takes tools"),
        ({"mcpServers": {"a": {"command": "x", "godwit": {"sampling": "no"}}}}, "Invalid enum value 'no'"),
        ({"mcpServers": {"a": {"command": "${NOWHERE_SET}"}}}, "the variable NOWHERE_SET, which is not set"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file(tmp_path: Path, content: Any, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigurationError) as raised:
        godwit.mcp_servers_from(path)
    assert words in raised.value.message
    assert str(path) in raised.value.message
    assert "sk-literal" not in raised.value.message


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        godwit.mcp_servers_from(tmp_path / "none.json")


async def test_its_servers_are_those_of_an_agent(bench: Bench, tmp_path: Path) -> None:
    entry = {"command": sys.executable, "args": [mcp_program.__file__]}
    servers = godwit.mcp_servers_from(written(tmp_path, {"mcpServers": {"prog": entry}}))
    runtime = await bench.runtime([])
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, mcp_servers=servers))
    assert (await session.tool("mcp__prog__echo", {"text": "hello"})).output == "hello"
