"""Tools on the wire: what an agent may be given, what of it godwit has, and how it is shown again.

A function is an external tool: the application runs it. `web_search` is godwit's own tool of that name. Tools that come with
an environment (a shell, files) are not listed, as in the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from ...core.agent import AgentSpec, ToolDefinition
from ...core.errors import ConfigurationError, InvalidArgument, NotSupported
from ...core.web import Domains, SearchPolicy, UserLocation, WebPolicy, domain
from .body import Shape
from .mcp_shapes import Mcp, servers_of, shown_mcp, shown_server

WEB_SEARCH = "web_search"
RESULTS = {"low": 4, "high": 16}
"""By a search's context size: how many results it brings when the model does not say; medium is as usual."""
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


class Location(Shape):
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearch(Shape):
    type: Literal["web_search"]
    allowed_domains: Annotated[list[str], pydantic.Field(min_length=1, max_length=100)] | None = None
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
    "computer_use": "there is no browser",
    "automations": "nothing is scheduled",
}


def shown_tools(given: Sequence[Tool], *, kept: bool) -> list[dict[str, Any]]:
    """The tools with their defaults written out, and without credentials. `kept`: they are of an agent that is kept, and
    may have none. InvalidArgument, NotSupported."""
    shown = [_shown(tool, f"tools.{place}", kept) for place, tool in enumerate(given)]
    names = [tool["name"] for tool in shown if tool["type"] == "function"]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidArgument(f"tools: function {twice!r} is defined twice", param="tools")
    labels = [tool["server_label"] for tool in shown if tool["type"] == "mcp"]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidArgument(f"tools: MCP server {label!r} is given twice", param="tools")
    if sum(tool["type"] == "web_search" for tool in shown) > 1:
        raise InvalidArgument("tools: web_search is given twice", param="tools")
    if (size := len(_encoder.encode(shown))) > MOST_BYTES:
        raise InvalidArgument(f"tools: {size} bytes of JSON are more than {MOST_BYTES}", param="tools")
    return shown


def _shown(tool: Tool, at: str, kept: bool) -> dict[str, Any]:
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
        case Mcp():
            return shown_mcp(tool, at, kept=kept)
        case _:
            raise NotSupported(f"{at}: {tool.type} is not supported: {_ABSENT[tool.type]}", param=at)


def _web_search(tool: WebSearch, at: str) -> dict[str, Any]:
    mode = tool.mode or "live"
    if mode == "cached":
        raise NotSupported(f"{at}.mode: there is no cache of search results; use live", param=at)
    for number, text in enumerate(tool.allowed_domains or ()):
        try:
            domain(text)
        except ConfigurationError as error:
            raise InvalidArgument(f"{at}.allowed_domains.{number}: {error.message}", param=at) from None
    shown = {
        "type": "web_search",
        "allowed_domains": tool.allowed_domains,
        "context_size": tool.context_size or "medium",
        "location": None if tool.location is None else tool.location.model_dump(),
        "mode": mode,
    }
    try:
        _searching(shown)
    except ConfigurationError as error:
        raise InvalidArgument(f"{at}.location: {error.message}", param=at) from None
    return shown


def _searching(shown: Mapping[str, Any]) -> SearchPolicy:
    """What a shown search comes to. ConfigurationError."""
    allowed, place = shown["allowed_domains"], shown["location"]
    return SearchPolicy(
        Domains(None if allowed is None else tuple(allowed)),
        None if place is None else UserLocation(place["city"], place["region"], place["country"], place["timezone"]),
        RESULTS.get(shown["context_size"]),
    )


def with_tools(spec: AgentSpec, shown: Sequence[dict[str, Any]]) -> AgentSpec:
    """The spec with these tools; those that come with an environment stay as they are."""
    functions = tuple(_definition(tool) for tool in shown if tool["type"] == "function")
    others = tuple(name for name in spec.tools if name != WEB_SEARCH)
    search = (WEB_SEARCH,) if any(_searches(tool) for tool in shown) else ()
    policy = next((_searching(tool) for tool in shown if _searches(tool)), SearchPolicy())
    web = msgspec.structs.replace(spec.web or WebPolicy(), search=policy)
    web_or_none = None if web == WebPolicy() else web
    return msgspec.structs.replace(
        spec, external_tools=functions, tools=(*others, *search), web=web_or_none, mcp_servers=servers_of(shown)
    )


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
    shown += [shown_server(server) for server in spec.mcp_servers if server.url]
    if WEB_SEARCH in spec.tools:
        shown.append(_shown_search(SearchPolicy() if spec.web is None else spec.web.search))
    return shown


def _shown_search(policy: SearchPolicy) -> dict[str, Any]:
    """The search of an agent that was made elsewhere."""
    place, allowed = policy.location, policy.domains.allowed
    sizes = {results: size for size, results in RESULTS.items()}
    return {
        "type": "web_search",
        "allowed_domains": None if allowed is None else list(allowed),
        "context_size": "medium" if policy.results is None else sizes.get(policy.results, "medium"),
        "location": None if place is None else {name: getattr(place, name) for name in Location.model_fields},
        "mode": "live",
    }


def _definition(tool: dict[str, Any]) -> ToolDefinition:
    return ToolDefinition(tool["name"], tool["description"], tool["parameters"])


def _searches(tool: dict[str, Any]) -> bool:
    return (tool["type"], tool.get("mode")) == ("web_search", "live")
