"""Items: what calls are shown as."""

from __future__ import annotations

import pytest

from godwit.core.ids import CallId
from godwit.core.mcp import tool_name
from godwit.surfaces.openai_agents.items import Call, call_item


@pytest.mark.parametrize(
    ("name", "server", "shown"),
    [
        ("read", "godwit", "read"),
        (tool_name("docs", "pages.get"), "docs", "pages.get"),
        (tool_name("My docs", "a__b"), "My docs", "a__b"),
    ],
)
def test_a_call_is_one_of_its_server(name: str, server: str, shown: str) -> None:
    item = call_item(Call("item_1", "call_1", CallId("call_1"), name, {}, external=False, output_index=0), "turn_1")
    assert (item["type"], item["server_label"], item["name"]) == ("mcp_call", server, shown)
