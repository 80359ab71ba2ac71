"""Names of the tools of MCP servers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from godwit.core.mcp import McpServer, provider_name, rule_of, server_and_tool, tool_name
from godwit.core.rules import covers, parse

NAMES = st.text(min_size=1, max_size=80) | st.text("ab_-.%* ", min_size=1, max_size=30)


def test_names_stay_as_they_are() -> None:
    assert tool_name("docs", "get_page") == "mcp__docs__get_page"
    assert tool_name("docs", "pages.get") == "mcp__docs__pages.get"
    assert tool_name("Bücher", "a/b:c") == "mcp__Bücher__a/b:c"
    assert rule_of("my-docs_2") == "mcp__my-docs_2"


def test_what_a_rule_could_not_hold_is_written_another_way() -> None:
    assert tool_name("My docs", "find (all)") == "mcp__My%20docs__find%20%28all%29"
    assert tool_name("a__b_", "c__d") == "mcp__a%5F_b%5F__c__d"
    assert server_and_tool("mcp__a%5F_b%5F__c__d") == ("a__b_", "c__d")


@given(NAMES, NAMES)
def test_a_name_says_of_which_server_and_tool_it_is(server: str, tool: str) -> None:
    name = tool_name(server, tool)
    assert server_and_tool(name) == (server, tool)
    assert covers(parse(rule_of(server)), name)
    assert covers(parse(name), name)


@pytest.mark.parametrize("name", ["bash", "mcp__", "mcp__docs", "mcp__docs__", "mcp____x", "mcp_docs__x", "\ud800"])
def test_other_tools_are_of_no_server(name: str) -> None:
    assert server_and_tool(name) is None


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_tools_have_two_names_whoever_is_told_them(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (tool_name(*one) == tool_name(*other)) == (one == other)
    assert (provider_name(tool_name(*one)) == provider_name(tool_name(*other))) == (one == other)


@given(NAMES, NAMES)
def test_every_name_can_be_taken_by_providers(server: str, tool: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", provider_name(tool_name(server, tool)))


def test_no_tool_is_named_as_another_one_is_for_providers() -> None:
    changed = provider_name(tool_name("docs", "pages.get"))
    assert changed.startswith("mcp__docs__pages_get-")
    taken = tool_name("docs", changed.removeprefix("mcp__docs__"))
    assert taken == changed
    assert provider_name(taken) != changed


def test_which_tools_an_agent_has() -> None:
    assert McpServer("a", "https://a").has("x")
    assert not McpServer("a", "https://a", without=("x",)).has("x")
    some = McpServer("a", "https://a", tools=("x",))
    assert some.has("x")
    assert not some.has("y")
