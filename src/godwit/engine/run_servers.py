"""RunServers: what a run has of its agent's MCP servers: whose tools the model is told of, and what is said of the others.

Leaves out connecting (`contracts.ToolServers`). Rules a change must keep: tools that a run has been told of stay in its
requests as they were, also while their server is away, since the provider keeps what a request begins with; they change when
their server has another list, `MOST_CHANGES` times at most, when a server is given to the session or taken from it, and with
the next run; the same trouble is told once in a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts import ServerTools, Tool
from ..core.agent import AgentSpec
from ..core.events import McpUnavailable
from ..core.ids import RunId
from ..core.mcp import server_and_tool
from .permissions import rule_names

MOST_CHANGES = 5
"""Changed lists of one server that a run takes up."""
NAMED = 50
"""Tools of a server that are named where one is called that it has not."""


class RunServers:
    def __init__(self) -> None:
        self._run: RunId | None = None
        self._told: set[McpUnavailable] = set()
        self._missing: dict[str, McpUnavailable] = {}
        self._shown: dict[str, tuple[Tool, ...]] = {}
        self._common: dict[str, Tool] = {}
        self._changes: dict[str, int] = {}
        self._found: tuple[Tool, ...] | None = None
        self._offered: frozenset[str] = frozenset()
        self._all: tuple[AgentSpec, Sequence[Tool], list[Tool]] | None = None

    def take(self, run: RunId, found: ServerTools) -> tuple[McpUnavailable, ...]:
        """Take up what is found; returns what has to be told."""
        if self._run != run:
            self._run = run
            self._told, self._shown, self._changes, self._common = set(), {}, {}, {}
            self._found = self._all = None
        self._missing = {one.server: one for one in found.missing}
        if found.tools != self._found:  # asked before each step, and mostly the same
            self._found = found.tools
            self._offered = frozenset(tool.definition.name for tool in found.tools)
            by_server: dict[str, list[Tool]] = {}
            for tool in found.tools:
                if (of := server_and_tool(tool.definition.name)) is not None:
                    by_server.setdefault(of[0], []).append(tool)
            for server, tools in by_server.items():
                self._take_list(server, tuple(tools))
        for tool in found.common:
            known = self._common.get(tool.definition.name)
            if known is None or rule_names(known, None) != rule_names(tool, None):
                self._common[tool.definition.name], self._all = tool, None
        new = tuple(one for one in found.missing if one not in self._told)
        self._told.update(new)
        return new

    def forget(self, name: str) -> None:
        """The session has the server of this name no more, or another one in its place."""
        for kept in (self._missing, self._shown, self._changes):
            kept.pop(name, None)
        self._told = {one for one in self._told if one.server != name}
        self._found = self._all = None

    def tools(self, spec: AgentSpec, own: Sequence[Tool]) -> list[Tool]:
        """All tools of the session: its own, and those of servers, in the agent's order. The same list as long as they are
        the same."""
        if self._all is not None and self._all[0] is spec and self._all[1] is own:
            return self._all[2]
        taken = {tool.definition.name for tool in own}
        theirs = [tool for server in spec.mcp_servers for tool in self._shown.get(server.name, ())]
        theirs += self._common.values()
        made = [*own, *(tool for tool in theirs if tool.definition.name not in taken)]
        self._all = spec, own, made
        return made

    def why_not(self, name: str, spec: AgentSpec) -> str | None:
        """Why this tool of a server cannot be called now, for the model; None when nothing is known against it, or it is of
        no server of the agent."""
        of = server_and_tool(name)
        if of is None or of[0] not in {server.name for server in spec.mcp_servers}:
            return None
        server, tool = of
        if name in self._offered:
            return None  # also of a server that is missing: it may have one by which that is changed
        if (missing := self._missing.get(server)) is not None:
            return missing.message
        shown = [one.definition.name for one in self._shown.get(server, ())]
        if name in shown:
            return None
        more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        names = ", ".join(sorted(shown)[:NAMED]) or "none"
        return f"the MCP server {server!r} has no tool {tool!r} for this agent. Its tools: {names}{more}"

    def _take_list(self, server: str, tools: tuple[Tool, ...]) -> None:
        shown = self._shown.get(server)
        if shown is not None and [t.definition for t in shown] != [t.definition for t in tools]:
            changes = self._changes.get(server, 0)
            if changes >= MOST_CHANGES:
                return
            self._changes[server] = changes + 1
        self._shown[server], self._all = tools, None
