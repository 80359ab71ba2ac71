"""Names of the tools of MCP servers."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from godwit.core.mcp import McpServer, rule_of, server_key, tool_name
from godwit.core.rules import covers, parse

NAMES = st.text(min_size=1, max_size=80) | st.text("ab_-.", min_size=1, max_size=30)


def test_plain_names_stay_as_they_are() -> None:
    assert tool_name("docs", "get_page") == "mcp__docs__get_page"
    assert rule_of("my-docs_2") == "mcp__my-docs_2"


@given(NAMES, NAMES)
def test_every_name_can_be_taken_by_providers_and_is_covered_by_the_rule_of_its_server(server: str, tool: str) -> None:
    name = tool_name(server, tool)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert name.startswith(rule_of(server) + "__")
    assert "__" not in server_key(server)
    assert covers(parse(rule_of(server)), name)


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_tools_have_two_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (tool_name(*one) == tool_name(*other)) == (one == other)


def test_which_tools_an_agent_has() -> None:
    assert McpServer("a", "https://a").has("x")
    assert not McpServer("a", "https://a", without=("x",)).has("x")
    some = McpServer("a", "https://a", tools=("x",))
    assert some.has("x")
    assert not some.has("y")
