"""Tools on the wire: what an agent may be given, what of it godwit has, and how it is shown again.

A function is an external tool: the application runs it. `web_search` is godwit's own tool of that name. Tools that come with
an environment (a shell, files) are not listed, as in the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from ...core.agent import AgentSpec, ToolDefinition
from ...core.errors import InvalidArgument, NotSupported
from .body import Shape

WEB_SEARCH = "web_search"
MOST_BYTES = 3 * 1024 * 1024
"""Of an agent's tools as JSON."""
_encoder = msgspec.json.Encoder()


class Function(Shape):
    type: Literal["function"]
    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str
    parameters: dict[str, Any]
    defer_loading: bool = False
    async_: Annotated[bool, pydantic.Field(alias="async")] = False


class ToolSearch(Shape):
    type: Literal["tool_search"]


class ProgrammaticToolCalling(Shape):
    type: Literal["programmatic_tool_calling"]
    enabled: bool = True


class Mcp(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    type: Literal["mcp"]


class Location(Shape):
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearch(Shape):
    type: Literal["web_search"]
    allowed_domains: list[str] | None = None
    context_size: Literal["low", "medium", "high"] | None = None
    location: Location | None = None
    mode: Literal["disabled", "cached", "live"] | None = None


class ComputerUse(Shape):
    type: Literal["computer_use"]
    include_screenshots: bool = False


class Automations(Shape):
    type: Literal["automations"]


Tool = Annotated[
    Function | ToolSearch | ProgrammaticToolCalling | Mcp | WebSearch | ComputerUse | Automations,
    pydantic.Field(discriminator="type"),
]
Tools = list[Tool]

_ABSENT = {
    "tool_search": "every function is shown to the model from the start",
    "mcp": "no MCP servers are connected through this protocol",
    "computer_use": "there is no browser",
    "automations": "nothing is scheduled",
}


def shown_tools(given: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools with their defaults written out. InvalidArgument, NotSupported."""
    shown = [_shown(tool, f"tools.{place}") for place, tool in enumerate(given)]
    names = [tool["name"] for tool in shown if tool["type"] == "function"]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidArgument(f"tools: function {twice!r} is defined twice", param="tools")
    if sum(tool["type"] == "web_search" for tool in shown) > 1:
        raise InvalidArgument("tools: web_search is given twice", param="tools")
    if (size := len(_encoder.encode(shown))) > MOST_BYTES:
        raise InvalidArgument(f"tools: {size} bytes of JSON are more than {MOST_BYTES}", param="tools")
    return shown


def _shown(tool: Tool, at: str) -> dict[str, Any]:
    match tool:
        case Function():
            if tool.defer_loading:
                raise NotSupported(f"{at}.defer_loading: there is no tool search; leave it out", param=at)
            if tool.async_:
                raise NotSupported(f"{at}.async: a turn waits for its functions; leave it out", param=at)
            if tool.parameters.get("type") != "object":
                raise InvalidArgument(f'{at}.parameters: a JSON schema with "type": "object" is needed', param=at)
            return {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "defer_loading": False,
            }
        case ProgrammaticToolCalling():
            if tool.enabled:
                raise NotSupported(f"{at}: tools are not called from code; leave it out", param=at)
            return {"type": "programmatic_tool_calling", "enabled": False}
        case WebSearch():
            return _web_search(tool, at)
        case _:
            raise NotSupported(f"{at}: {tool.type} is not supported: {_ABSENT[tool.type]}", param=at)


def _web_search(tool: WebSearch, at: str) -> dict[str, Any]:
    mode = tool.mode or "live"
    if mode == "cached":
        raise NotSupported(f"{at}.mode: there is no cache of search results; use live", param=at)
    for name in ("allowed_domains", "location", "context_size"):
        if getattr(tool, name) is not None and (name, tool.context_size) != ("context_size", "medium"):
            raise NotSupported(f"{at}.{name}: a search cannot be narrowed; leave it out", param=at)
    return {"type": "web_search", "allowed_domains": None, "context_size": "medium", "location": None, "mode": mode}


def with_tools(spec: AgentSpec, shown: Sequence[dict[str, Any]]) -> AgentSpec:
    """The spec with these tools; those that come with an environment stay as they are."""
    functions = tuple(_definition(tool) for tool in shown if tool["type"] == "function")
    others = tuple(name for name in spec.tools if name != WEB_SEARCH)
    search = (WEB_SEARCH,) if any(_searches(tool) for tool in shown) else ()
    return msgspec.structs.replace(spec, external_tools=functions, tools=(*others, *search))


def tools_of(spec: AgentSpec, kept: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The tools as they are shown. `kept`: as they were given here, which counts while the spec still says the same."""
    if kept is not None and with_tools(spec, kept) == spec:
        return [dict(tool) for tool in kept]
    shown = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "defer_loading": False,
        }
        for tool in spec.external_tools
    ]
    if WEB_SEARCH in spec.tools:
        shown.append(_web_search(WebSearch(type="web_search"), "tools"))
    return shown


def _definition(tool: dict[str, Any]) -> ToolDefinition:
    return ToolDefinition(tool["name"], tool["description"], tool["parameters"])


def _searches(tool: dict[str, Any]) -> bool:
    return (tool["type"], tool.get("mode")) == ("web_search", "live")
