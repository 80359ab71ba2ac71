"""The tool `tool_search`: a model looks for tools that its requests do not tell it of.

Owns what it is told of them beforehand and what a search says. Leaves out which tools these are, and that those which were
found are told from then on (`engine.deferral`). Rule: what it is told beforehand depends on the tools that may be found and
on nothing else, so that a request begins in the same way before and after a search.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits
from ..core.agent import ToolDefinition
from ..core.mcp import provider_name, server_and_tool
from ..core.tool_ranking import SELECT, ToolIndex
from ..core.tool_search import FOUND, TOOL_SEARCH
from .schema import inlined
from .typed import Arguments, TypedTool, told

LISTED = 6000
"""Characters of the names that stand in the description, of all servers together."""
LEAST_LISTED = 80
"""Of each server's, however many servers there are."""
LONGEST_NAME = 64
"""Characters of a name that are shown there."""
DESCRIPTION = 400
"""Characters of a found tool's description: the whole of it comes with the tool."""
MOST = 20
OTHERS = "others"
_ABOUT = (
    "Find tools. Beside the tools in your list there are the ones named below, which you can call only once you have found"
    " them here: from your next step on they stand in your list, with their parameters, and stay there."
)


class ToolSearchArguments(Arguments, frozen=True):
    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="What the tool should do, in a few words; a word with + in front has to stand in its name. Or"
            f" `{SELECT}NAME,NAME` for tools that you know by name.",
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=MOST, description="How many at most.")] = 5


class ToolSearch(TypedTool[ToolSearchArguments]):
    """Looks through these tools. `tools`: those that there are now; the same tuple as long as they are the same."""

    name = TOOL_SEARCH
    description = _ABOUT
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = ToolSearchArguments

    def __init__(self, tools: Callable[[], tuple[ToolDefinition, ...]]) -> None:
        self._tools = tools
        self._index: tuple[tuple[ToolDefinition, ...], ToolIndex] | None = None
        self._told: tuple[tuple[ToolDefinition, ...], ToolDefinition] | None = None

    @property
    def definition(self) -> ToolDefinition:  # it says which tools there are now
        tools = self._tools()
        if self._told is None or self._told[0] is not tools:
            self._told = tools, ToolDefinition(self.name, f"{_ABOUT}\n\n{listed(tools)}", _parameters())
        return self._told[1]

    async def work(self, arguments: ToolSearchArguments, context: ToolContext) -> ToolOutput:
        tools = self._tools()
        if self._index is None or self._index[0] is not tools:
            self._index = tools, ToolIndex(tools)
        index = self._index[1]
        # In a thread: the words of many descriptions are read the first time.
        chosen = await asyncio.to_thread(index.find, arguments.query, arguments.limit)
        found = [tools[place] for place in chosen.places]
        said = []
        if found:
            said.append("Found; from your next step on you can call:")
            said += [_line(tool) for tool in found]
        for name in chosen.unknown:
            near = [tools[place] for place in index.find(name, 3).places]
            said.append(f"There is no tool {name[:200]!r}." + (f" Like it: {', '.join(map(_name, near))}" if near else ""))
        if not said:
            said.append(
                "No tool fits. Use other words: what it does, what it is about, or the name of a server. The servers are"
                f" named in the description of `{TOOL_SEARCH}`."
            )
        return told("\n".join(said), {FOUND: [tool.name for tool in found], "of": len(tools)})


@functools.cache
def _parameters() -> dict[str, Any]:
    return inlined(msgspec.json.schema(ToolSearchArguments))


def listed(tools: Sequence[ToolDefinition]) -> str:
    """Which tools there are, a line for each server, as far as there is room."""
    servers: dict[str, list[str]] = {}
    for tool in tools:
        server, name = server_and_tool(tool.name) or (OTHERS, tool.name)
        servers.setdefault(server, []).append(name)
    room = max(LEAST_LISTED, LISTED // max(1, len(servers)))
    return "\n".join(f"- {_short(server)} ({len(names)}): {_as_room_is(names, room)}" for server, names in servers.items())


def _as_room_is(names: Sequence[str], room: int) -> str:
    shown: list[str] = []
    for name in map(_short, names):
        room -= len(name) + 2
        if room < 0 and shown:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


def _short(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 1]}…"


def _name(tool: ToolDefinition) -> str:
    return provider_name(tool.name)


def _line(tool: ToolDefinition) -> str:
    about = " ".join(tool.description.split())
    return f"- {_name(tool)}: {about if len(about) <= DESCRIPTION else f'{about[: DESCRIPTION - 1]}…'}"


__all__ = ["ToolSearch", "listed"]
