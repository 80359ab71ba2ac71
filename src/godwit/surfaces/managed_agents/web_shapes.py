"""What the web tools of a toolset may look at, on the wire: as it is sent, as it is shown, and what it comes to here.

Rule: what is shown is what was sent; of `url_sources` in its long form, with its defaults written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import pydantic

from ...core.errors import ConfigurationError, InvalidArgument
from ...core.web import Domains, FetchPolicy, SearchPolicy, UrlSources, UserLocation, WebPolicy, domain
from .shapes import Shape

WEB_TOOLS = ("web_search", "web_fetch")
LIMITS = {
    "web_fetch": ("allowed_domains", "blocked_domains", "max_content_tokens", "url_sources"),
    "web_search": ("allowed_domains", "blocked_domains", "user_location"),
}
"""What may be said of each."""

DomainList = Annotated[list[str], pydantic.Field(min_length=1, max_length=64)]


class ToolReference(Shape):
    type: Literal["tool_reference"]
    name: Annotated[str, pydantic.Field(min_length=1, max_length=128)]


References = Annotated[list[ToolReference], pydantic.Field(min_length=1, max_length=128)]


class AllOrNone(Shape):
    type: Literal["all", "none"]


class Some(Shape):
    type: Literal["only", "except"]
    tools: References


Person = Literal["all", "none"] | AllOrNone
Filter = Literal["all", "none"] | Annotated[AllOrNone | Some, pydantic.Field(discriminator="type")]


class UrlSourcesShape(Shape):
    user_input: Person | None = None
    server_tool_results: Filter | None = None
    client_tool_results: Filter | None = None


class UserLocationShape(Shape):
    type: Literal["approximate"]
    city: str | None = None
    country: Annotated[str, pydantic.Field(pattern=r"^[A-Z]{2}$")] | None = None
    region: str | None = None
    timezone: str | None = None


class WebConfig(Shape):
    """The fields of a built-in tool's config that say what it may look at."""

    allowed_domains: DomainList | None = None
    blocked_domains: DomainList | None = None
    max_content_tokens: Annotated[int, pydantic.Field(ge=1)] | None = None
    url_sources: UrlSourcesShape | None = None
    user_location: UserLocationShape | None = None


def shown_limits(given: WebConfig, name: str, custom: Sequence[str], where: str) -> dict[str, Any]:
    """What is shown of them. `custom`: the names of the agent's custom tools. InvalidArgument."""
    for field in WebConfig.model_fields:
        if getattr(given, field) is not None and field not in LIMITS.get(name, ()):
            raise InvalidArgument(f"{where}.{field}: {name} has no such setting")
    if given.allowed_domains is not None and given.blocked_domains is not None:
        raise InvalidArgument(f"{where}: allowed_domains and blocked_domains cannot be combined: leave one out")
    made: dict[str, Any] = {}
    for field in ("allowed_domains", "blocked_domains"):
        names = getattr(given, field)
        if names is not None:
            made[field] = _domains(names, f"{where}.{field}", paths=name == "web_search")
    if given.max_content_tokens is not None:
        made["max_content_tokens"] = given.max_content_tokens
    if given.url_sources is not None:
        made["url_sources"] = _shown_sources(given.url_sources, custom, f"{where}.url_sources")
    if given.user_location is not None:
        made["user_location"] = place = given.user_location.model_dump()
        try:
            _location(place)
        except ConfigurationError as error:
            raise InvalidArgument(f"{where}.user_location: {error.message}") from None
    return made


def policy_of(configs: Sequence[dict[str, Any]], custom: Sequence[str]) -> WebPolicy | None:
    """What shown configs come to; None when they say nothing of it."""
    named = {one["name"]: one for one in configs}
    fetch, search = named.get("web_fetch", {}), named.get("web_search", {})
    sources = fetch.get("url_sources")
    made = WebPolicy(
        FetchPolicy(_listed(fetch), fetch.get("max_content_tokens"), None if sources is None else _sources(sources, custom)),
        SearchPolicy(_listed(search), _location(search.get("user_location"))),
    )
    return None if made == WebPolicy() else made


def limits_of(policy: WebPolicy | None, name: str, custom: Sequence[str]) -> dict[str, Any]:
    """How the policy of an agent that was made elsewhere is shown for the tool of this name."""
    if policy is None or name not in WEB_TOOLS:
        return {}
    domains = policy.fetch.domains if name == "web_fetch" else policy.search.domains
    made: dict[str, Any] = {} if domains.allowed is None else {"allowed_domains": list(domains.allowed)}
    if domains.blocked:
        made["blocked_domains"] = list(domains.blocked)
    if name == "web_search":
        place = policy.search.location
        if place is not None:
            there = {field: getattr(place, field) for field in ("city", "country", "region", "timezone")}
            made["user_location"] = {"type": "approximate", **there}
        return made
    if policy.fetch.max_content_tokens is not None:
        made["max_content_tokens"] = policy.fetch.max_content_tokens
    if policy.fetch.sources is not None:
        made["url_sources"] = {
            "user_input": {"type": "all" if policy.fetch.sources.messages else "none"},
            "server_tool_results": _filter_of(policy.fetch.sources, WEB_TOOLS),
            "client_tool_results": _filter_of(policy.fetch.sources, custom),
        }
    return made


def _domains(given: list[str], where: str, *, paths: bool) -> list[str]:
    for number, text in enumerate(given):
        try:
            domain(text, paths=paths)
        except ConfigurationError as error:
            raise InvalidArgument(f"{where}.{number}: {error.message}") from None
    return given


def _listed(config: dict[str, Any]) -> Domains:
    allowed = config.get("allowed_domains")
    return Domains(None if allowed is None else tuple(allowed), tuple(config.get("blocked_domains", ())))


def _location(given: dict[str, Any] | None) -> UserLocation | None:
    return None if given is None else UserLocation(given["city"], given["region"], given["country"], given["timezone"])


def _shown_sources(given: UrlSourcesShape, custom: Sequence[str], where: str) -> dict[str, Any]:
    person = given.user_input or "all"
    made = {
        "user_input": {"type": person if isinstance(person, str) else person.type},
        "server_tool_results": _shown_filter(given.server_tool_results, WEB_TOOLS, f"{where}.server_tool_results"),
        "client_tool_results": _shown_filter(given.client_tool_results, custom, f"{where}.client_tool_results"),
    }
    if all(one["type"] == "none" for one in made.values()):
        raise InvalidArgument(f"{where}: with none of the three web_fetch could fetch nothing: disable it instead")
    return made


def _shown_filter(given: str | AllOrNone | Some | None, known: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(given, Some):
        return {"type": given.type if isinstance(given, AllOrNone) else given or "all"}
    names = [one.name for one in given.tools]
    for number, name in enumerate(names):
        if name not in known:
            there = ", ".join(known) or "none"
            raise InvalidArgument(f"{where}.tools.{number}: {name!r} is not one of the tools that this is about: {there}")
        if name in names[:number]:
            raise InvalidArgument(f"{where}.tools: {name!r} is there twice")
    return {"type": given.type, "tools": [{"type": "tool_reference", "name": name} for name in names]}


def _sources(shown: dict[str, Any], custom: Sequence[str]) -> UrlSources:
    tools = (*_chosen(shown["server_tool_results"], WEB_TOOLS), *_chosen(shown["client_tool_results"], custom))
    return UrlSources(shown["user_input"]["type"] == "all", tools)


def _chosen(shown: dict[str, Any], known: Sequence[str]) -> Iterator[str]:
    named = {one["name"] for one in shown.get("tools", ())}
    kept = {"all": set(known), "none": set[str](), "only": named, "except": set(known) - named}[shown["type"]]
    return (name for name in known if name in kept)


def _filter_of(sources: UrlSources, known: Sequence[str]) -> dict[str, Any]:
    kept = [name for name in known if name in sources.tools]
    if len(kept) == len(known):
        return {"type": "all"}
    return (
        {"type": "only", "tools": [{"type": "tool_reference", "name": name} for name in kept]} if kept else {"type": "none"}
    )
