"""The tool by which models look for others: what it tells of them beforehand, and what it says of those it finds."""

from __future__ import annotations

import pytest
from tests.parts.tool_context import Context

from godwit.core.agent import ToolDefinition
from godwit.core.errors import InvalidToolArguments
from godwit.core.mcp import tool_name
from godwit.core.messages import text_of
from godwit.tools.tool_search import LISTED, ToolSearch, listed


def defined(server: str, name: str, about: str = "Does it.") -> ToolDefinition:
    return ToolDefinition(tool_name(server, name), about, {"type": "object"})


def test_names_are_told_as_far_as_there_is_room_and_each_server_has_its_share() -> None:
    tools = [defined(f"server{n}", f"do_something_with_records_{m:02}") for n in range(20) for m in range(25)]
    lines = listed(tools).splitlines()
    assert len(lines) == 20
    assert all(line.startswith(f"- server{n} (25): do_something_with_records_00, ") for n, line in enumerate(lines))
    assert all(line.endswith(" more") for line in lines)
    assert len(listed(tools)) < LISTED + 20 * 40


def test_strange_names_stay_in_their_line_and_short() -> None:
    tools = [defined("a\nb", "x" * 200), defined("own", "y"), ToolDefinition("plain", "", {"type": "object"})]
    lines = listed(tools).splitlines()
    assert lines == [f"- a b (1): {'x' * 63}…", "- own (1): y", "- others (1): plain"]


def test_the_definition_stays_the_same_as_long_as_the_tools_are() -> None:
    tools: tuple[ToolDefinition, ...] = (defined("docs", "a"),)
    search = ToolSearch(lambda: tools)
    first = search.definition
    assert search.definition is first
    tools = (*tools, defined("docs", "b"))
    assert search.definition != first
    assert search.definition.parameters == first.parameters


async def test_a_result_names_each_with_the_beginning_of_its_description() -> None:
    tools = (defined("docs", "find_pages", "Finds  pages.\n\n" + "More. " * 200), defined("docs", "other"))
    done = await ToolSearch(lambda: tools).run({"query": "pages"}, Context())
    line = text_of(done.content).splitlines()[1]
    assert line.startswith("- mcp__docs__find_pages: Finds pages. More.")
    assert line.endswith("…")
    assert len(line) < 450
    assert done.metadata == {"found": ["mcp__docs__find_pages"], "of": 2}


async def test_what_is_not_there_is_told_with_what_is_like_it() -> None:
    tools = (defined("docs", "find_pages"), defined("docs", "find_page_by_id"))
    done = await ToolSearch(lambda: tools).run({"query": "select:find_page"}, Context())
    assert text_of(done.content).startswith("There is no tool 'find_page'. Like it: mcp__docs__find_pages")
    assert done.metadata["found"] == []
    nothing = await ToolSearch(lambda: tools).run({"query": "weather"}, Context())
    assert text_of(nothing.content).startswith("No tool fits.")


@pytest.mark.parametrize("wrong", [{}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 21}, {"q": "x"}])
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidToolArguments):
        ToolSearch(lambda: ()).validate(wrong)
