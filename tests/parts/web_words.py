"""What the tests of web tools are written in: a site, tools that may reach it, and what they show or refuse."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.parts.tool_context import Context, call, text
from tests.parts.web_site import Site, site

from godwit.contracts import Tool
from godwit.core.errors import ToolFailed
from godwit.tools.web import WebFetch

SECRET = "hunter2hunter2"


@pytest.fixture(name="here")
async def a_here() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


def fetcher(*sites: Site, **options: Any) -> WebFetch:
    """A tool that may reach these sites, by their addresses."""
    return WebFetch(allow_private=[s.here for s in sites], **options)


def within(shown: str) -> str:
    """What stands between the two lines of untrusted content."""
    found = re.search(r"^<<< (\w{16})\n(.*)\n>>> \1$", shown, re.DOTALL | re.MULTILINE)
    assert found, shown
    return found[2]


async def fetched(tool: Tool, url: str, **arguments: Any) -> str:
    return within(await text(tool, Context(), url=url, **arguments))


async def refusal(tool: Tool, url: str, **arguments: Any) -> str:
    with pytest.raises(ToolFailed) as caught:
        await call(tool, Context(), url=url, **arguments)
    return caught.value.message
