"""AgentTools: which tools agents have in this process: built-in ones, functions of a program, tasks for subagents, skills.

What is Python and not in the database is brought by the agent's name. Leaves out the tools of MCP servers, which a run gets
when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..contracts import HasWebPolicy, Tool
from ..core.agent import AgentSpec, ToolDefinition
from ..core.errors import ConfigurationError, ToolNotFound
from ..core.web import WebPolicy
from .folder_context import FolderContexts
from .home import base_name
from .search import Searching


class AgentTools:
    """`searching`: the toolbox, with the search that a folder's configuration says; `contexts`: where skills come from."""

    def __init__(self, searching: Searching, contexts: FolderContexts | None) -> None:
        self._searching = searching
        self._contexts = contexts
        self._functions: dict[str, list[Tool]] = {}

    def bring(self, agent: str, functions: Sequence[Tool]) -> None:
        """From now on agents of this name have these functions."""
        self._functions[agent] = list(functions)

    def of(self, spec: AgentSpec, folder: str | None = None) -> list[Tool]:
        """The agent's tools for a session in this folder, in fixed order. ToolNotFound, ConfigurationError when a name is
        there twice."""
        from ..tools.external import external_tool
        from ..tools.task import task_tools

        own = {t.definition.name: t for t in self._functions.get(base_name(spec), ())}
        found: list[Tool] = []
        toolbox = self._searching.toolbox(spec.tools, folder)
        for name in spec.tools:
            found += [own[name]] if name in own else toolbox.select([name])
        if spec.subagents:
            found += task_tools(spec.subagents)
        found += [external_tool(d.name, d.description, d.parameters) for d in (*spec.external_tools, *spec.client_tools)]
        loader = None if self._contexts is None else self._contexts.tool(spec, folder)
        if loader is not None and all(tool.definition.name != loader.definition.name for tool in found):
            found.append(loader)
        unique: dict[str, Tool] = {}
        for tool in found if spec.web is None else _within(found, spec.web):
            before = unique.setdefault(tool.definition.name, tool)
            if before is not tool and (tool.traits.external or before.traits.external):
                raise ConfigurationError(f"tool {tool.definition.name!r} is declared twice", tool=tool.definition.name)
        return list(unique.values())

    def named(self, name: str, folder: str | None = None) -> list[Tool]:
        """The tools that this name, of a tool or a set, stands for in this folder; none when there is none."""
        try:
            return self._searching.toolbox([name], folder).select([name])
        except ToolNotFound:
            return []


def tool_search(tools: Callable[[], tuple[ToolDefinition, ...]]) -> Tool:
    """The tool by which a model looks through these."""
    from ..tools.tool_search import ToolSearch

    return ToolSearch(tools)


def _within(tools: Sequence[Tool], policy: WebPolicy) -> list[Tool]:
    """The tools, of which the web tools keep to the policy. ConfigurationError for one that cannot."""
    made: list[Tool] = []
    for tool in tools:
        name = tool.definition.name
        if isinstance(tool, HasWebPolicy):
            tool = tool.within(policy)
        elif name in ("web_fetch", "web_search") and not tool.traits.external:
            raise ConfigurationError(
                f"tool {name!r} does not keep to what `web` of the agent says: it has no `within`", tool=name
            )
        made.append(tool)
    return made
