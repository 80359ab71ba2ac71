"""Deferral: which of a session's tools its requests tell the model of, and which it has to look for.

Owns when tools are deferred and what has been found. Leaves out the search itself (`tools.tool_search`). Rules a change must
keep:

* What has been found follows from the log alone, and so does the order: tools come to a request's list in the order in
  which they were found, at its end, and stay. A compaction takes none away; going back takes those that were found after
  that place.
* A tool that a run has been told of is told until the run ends; once a run's tools are deferred, they are until then.
* Deferring takes nothing away but what a request says: rules, hooks and everything else see the same tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..contracts import Tool
from ..core.agent import AgentSpec, ToolDefinition
from ..core.ids import RunId
from ..core.messages import ToolResult
from ..core.tool_search import TOOL_SEARCH, DeferredTool
from ..core.transcript import Entry, Transcript
from .estimate import CHARACTERS_PER_TOKEN
from .permissions import Policy, rule_names

MakeSearch = Callable[[Callable[[], tuple[ToolDefinition, ...]]], Tool]
"""Makes the tool that looks through the tools there are now."""


class FoundTools:
    """What a conversation's model has found or called, in the order of the first time. Reads what is new of it."""

    def __init__(self) -> None:
        self._entries: Sequence[Entry] | None = None
        self._read = 0
        self._names: dict[str, None] = {}

    def names(self, transcript: Transcript) -> dict[str, None]:
        entries = transcript.entries
        if entries is not self._entries or len(entries) < self._read:
            self._entries, self._read, self._names = entries, 0, {}
            if entries is transcript.own_entries:
                self._take(transcript.behind)
        self._take(entries[self._read :])
        self._read = len(entries)
        return self._names

    def _take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry.message, ToolResult):
                self._names.update(dict.fromkeys(entry.found or (entry.message.name,)))


class Deferral:
    """The tools of one drive. `make`: without it nothing is deferred."""

    def __init__(self, make: MakeSearch | None) -> None:
        self._make = make
        self._run: RunId | None = None
        self._all: list[Tool] = []
        self._made: list[Tool] = []
        self._spec: AgentSpec | None = None
        self._search: Tool | None = None
        self._deferred: dict[str, Tool] = {}
        self._told: Sequence[Tool] = ()
        self._found = FoundTools()
        self._policy: Policy | None = None
        self._first: list[Tool] = []
        self._open: dict[str, Tool] = {}
        self._catalogue: tuple[ToolDefinition, ...] = ()
        self._sizes: dict[int, tuple[Tool, int]] = {}

    @property
    def active(self) -> bool:
        """Whether there is something to look for."""
        return self._search is not None

    @property
    def tools(self) -> list[Tool]:
        """All that there are, the search among them where some are deferred."""
        return self._made

    def settled(self, run: RunId, spec: AgentSpec, tools: list[Tool]) -> bool:
        """Whether it is decided about just these."""
        return run == self._run and spec is self._spec and tools is self._all

    def take(self, run: RunId, spec: AgentSpec, tools: list[Tool], policy: Policy, window: int | None) -> list[Tool]:
        """Decide about these tools; returns `tools`. `window`: tokens that the model reads, where that is known."""
        if self.settled(run, spec, tools):
            return self._made
        self._told = told = self._told if run == self._run else ()
        deferring = self.active and run == self._run
        self._run, self._spec, self._all = run, spec, tools
        wanted = self._wanted(spec, tools, policy, frozenset(tool.definition.name for tool in told))
        if wanted and (deferring or self._too_many(spec, tools, policy, window)):
            assert self._make is not None
            self._search = self._search or self._make(lambda: self._catalogue)
            self._deferred, self._made = wanted, [*tools, self._search]
        else:
            self._search, self._deferred, self._made = None, {}, tools
        self._policy = None
        self._look(policy)
        return self._made

    def told(self, policy: Policy, transcript: Transcript) -> list[Tool]:
        """The tools that the next request tells of, in its order."""
        self._look(policy)
        if not self._open:
            return self._first
        found = self._found.names(transcript)
        return [*self._first, *(tool for name in found if (tool := self._open.get(name)) is not None)]

    def telling(self, tools: Sequence[Tool]) -> None:
        """A request tells of these now."""
        self._told = tools

    def is_unknown(self, name: str, transcript: Transcript) -> bool:
        """Whether the tool is one that the model has not found yet."""
        return name in self._deferred and name not in self._found.names(transcript)

    def deferred(self, policy: Policy, transcript: Transcript) -> list[DeferredTool]:
        """Those that can be looked for."""
        self._look(policy)
        found = self._found.names(transcript)
        return [DeferredTool(name, name in found) for name in self._open]

    def _wanted(self, spec: AgentSpec, tools: Sequence[Tool], policy: Policy, told: frozenset[str]) -> dict[str, Tool]:
        """Those that may be deferred in this run."""
        if self._make is None or spec.tool_search.mode == "never" or policy.hidden(TOOL_SEARCH):
            return {}
        named = {tool.definition.name: tool for tool in tools}
        if TOOL_SEARCH in named:  # the agent's own, which is something else
            return {}
        known = told if not self.active else told - self._deferred.keys()
        return {
            name: tool
            for name, tool in named.items()
            if name not in known and spec.tool_search.is_for(name, spec.mcp_servers)
        }

    def _too_many(self, spec: AgentSpec, tools: Sequence[Tool], policy: Policy, window: int | None) -> bool:
        """Whether the tools that may be deferred would take too much of each request, those counted that it has already."""
        limits = spec.tool_search
        if limits.mode == "always":
            return True
        each = [
            tool for tool in tools if limits.is_for(tool.definition.name, spec.mcp_servers) and not _hidden(policy, tool)
        ]
        if len(each) > limits.tools:
            return True
        return sum(map(self._size, each)) // CHARACTERS_PER_TOKEN > limits.most_tokens(window)

    def _size(self, tool: Tool) -> int:
        known = self._sizes.get(id(tool))
        if known is None:
            known = self._sizes[id(tool)] = (tool, len(msgspec.json.encode(tool.definition)))
        return known[1]

    def _look(self, policy: Policy) -> None:
        """See which tools a model may have under these rules: at once, and by looking for them. They stay the same for
        many steps."""
        if policy is self._policy:
            return
        self._policy = policy
        at_once = (tool for tool in self._made if tool.definition.name not in self._deferred)
        # A search that rules have closed meanwhile is of no use: it is left out, and the tools stay away.
        self._first = [tool for tool in at_once if not _hidden(policy, tool)]
        self._open = {name: tool for name, tool in self._deferred.items() if not _hidden(policy, tool)}
        found = tuple(tool.definition for tool in self._open.values())
        if found != self._catalogue:
            self._catalogue = found


def _hidden(policy: Policy, tool: Tool) -> bool:
    return policy.hidden(tool.definition.name, rule_names(tool, None))


__all__ = ["Deferral", "FoundTools", "MakeSearch"]
