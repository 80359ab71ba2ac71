"""LiveTools: the part of a session's handle by which a client gives the session tools that the client itself answers.

Owns which of the session's tools without a body are a client's: they stand in its agent beside the agent's own
(`client_tools`), so they are known wherever it is opened, and a client that sets them again replaces only these. Rule: a
client's tool never stands for one that the session has from elsewhere, since rules and people go by names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..core.agent import AgentSpec, ToolDefinition, with_client_tools
from ..core.errors import ConfigurationError, InvalidArgument
from ..core.mcp import server_and_tool
from ..core.tool_search import TOOL_SEARCH
from .agent_changes import AgentChanges
from .log import load_state

MOST_TOOLS: Final = 128
"""Of one client; providers take no more."""
MOST_BYTES: Final = 262_144
"""Of all their definitions, as JSON."""


class LiveTools(AgentChanges):
    """Tools of the session's client."""

    async def set_external_tools(self, tools: Sequence[ToolDefinition | Mapping[str, Any]]) -> bool:
        """Have these tools in the session, in place of those set before; the agent's own stay. Calls of them wait for an
        answer from outside (`answer`). False when it had just these, and then nothing is recorded.

        The model is told of them when the session is next driven, from the next run on at the latest; they are kept with
        the session. ConfigurationError for what is no tool, and for names that the session has already, which `names` of
        its details tells; InvalidArgument for too many. Nothing has changed then.
        """
        self._check_open()
        given = definitions(tools)
        changed = False

        def change(spec: AgentSpec) -> AgentSpec:
            nonlocal changed
            # In another order they are the same: what a model reads first stays as it was.
            changed = sorted(given, key=_name) != sorted(spec.client_tools, key=_name)
            if not changed:
                return spec
            self._check_names(spec, given)
            made = with_client_tools(spec, given)
            if self._drives:
                self._home.tools_of(made, self.workspace)  # refuses a schema that cannot be used
            return made

        await self._change_agent(change)
        return changed

    async def external_tools(self) -> list[ToolDefinition]:
        """The tools that a client has set, beside the agent's own."""
        self._check_open()
        state = await load_state(self._store, self.id)
        assert state.agent is not None
        return list((await self._store.get_agent(state.agent.name, state.agent.version))[1].client_tools)

    def _check_names(self, spec: AgentSpec, tools: Sequence[ToolDefinition]) -> None:
        """ConfigurationError for names that the session has already."""
        own = with_client_tools(spec, ())
        has = {TOOL_SEARCH, *own.tools, *(tool.name for tool in own.external_tools)}
        if self._drives:
            has |= {tool.definition.name for tool in self._home.tools_of(own, self.workspace)}
        served = self._with_servers(own)
        if served.mcp_servers and (servers := self._home.parts.tool_servers) is not None:
            known = servers.known(served, self._served())
            has |= {tool.definition.name for tool in (*known.tools, *known.common)}
        theirs = {server.name for server in served.mcp_servers}
        taken = sorted(
            tool.name
            for tool in tools
            if tool.name in has or ((of := server_and_tool(tool.name)) is not None and of[0] in theirs)
        )
        if taken:
            raise ConfigurationError(
                f"the session has tools of these names already: {', '.join(taken)}. Name a client's tools otherwise",
                names=taken,
            )


def _name(tool: ToolDefinition) -> str:
    return tool.name


def definitions(tools: Sequence[ToolDefinition | Mapping[str, Any]]) -> tuple[ToolDefinition, ...]:
    """The tools as they are kept. ConfigurationError, InvalidArgument."""
    if len(tools) > MOST_TOOLS:
        raise InvalidArgument(f"{len(tools)} tools are too many: a session takes {MOST_TOOLS} of a client", limit=MOST_TOOLS)
    found = tuple(_definition(place, one) for place, one in enumerate(tools))
    names = [tool.name for tool in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"tools of one name: {', '.join(twice)}", names=twice)
    try:
        size = len(msgspec.json.encode(found))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigurationError(f"a tool cannot be written as JSON: {error}") from None
    if size > MOST_BYTES:
        raise InvalidArgument(
            f"the tools have {size:,} bytes as JSON, and may have {MOST_BYTES:,}", bytes=size, limit=MOST_BYTES
        )
    return found


def _definition(place: int, given: ToolDefinition | Mapping[str, Any]) -> ToolDefinition:
    if isinstance(given, ToolDefinition):
        return given
    wanted = f"tool {place} is to have a name, a description and parameters, and nothing else"
    if not isinstance(given, Mapping):
        raise ConfigurationError(wanted)
    if set(given) != {"name", "description", "parameters"}:
        raise ConfigurationError(wanted)
    try:
        return msgspec.convert(dict(given), ToolDefinition)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"tool {place} cannot be read: {error}") from None


__all__ = ["LiveTools", "definitions"]
