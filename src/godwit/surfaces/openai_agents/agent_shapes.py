"""Agents on the wire: bodies, what they make of an agent's spec, and what an agent shows.

The spec says what counts. What only this protocol knows (the model's name as it was asked for, an effort that godwit has no
word for) is kept beside it as an extension, and shown while the spec still says the same: an agent may be changed elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pydantic

from ...core.agent import AgentSpec, ThinkingLevel
from ...core.errors import ConfigurationError, InvalidArgument, NotSupported
from ...core.ids import AgentName
from ...core.output import OutputSpec
from ...host.agent_registry import StoredAgent
from ...host.output_types import TypedOutputs
from ..server.settings import ServerSettings
from .body import Shape, metadata_of
from .tool_shapes import Tools, shown_tools, tools_of, with_tools

SURFACE = "openai_agents"
"""Of the extension in an agent's spec."""
NEW = AgentName("new")

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "priority", "fast", "ultrafast"]
Model = Annotated[str, pydantic.Field(min_length=1, max_length=256)]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=256)]

THINKING: dict[Effort, ThinkingLevel] = {
    "none": "off",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_EFFORTS: dict[ThinkingLevel, Effort] = {level: effort for effort, level in THINKING.items() if effort != "max"}
_SUMMARY, _TIER, _VERBOSITY = "openai_reasoning_summary", "service_tier", "openai_text_verbosity"
"""Under which names of `ModelSettings.extra` a model gets them; models of other providers pass over them."""


class Compaction(Shape):
    async_: Annotated[bool | None, pydantic.Field(alias="async")] = None


class Experimental(Shape):
    time_awareness: bool = False


class MultiAgent(Shape):
    enabled: bool
    max_concurrent_subagents: int | None = None


class Reasoning(Shape):
    effort: Effort | None = None
    summary: Literal["concise", "detailed", "auto"] | None = None


class TextFormat(Shape):
    type: Literal["text", "json_schema"]
    schema_: Annotated[dict[str, Any] | None, pydantic.Field(alias="schema")] = None


class TextConfig(Shape):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class AgentFields(Shape):
    """What an agent and a session's own settings share. What is left out stays; null puts the default back."""

    model: Model = ""
    compaction: Compaction | None = None
    experimental: Experimental = Experimental()
    instructions: str | None = None
    multi_agent: MultiAgent | None = None
    reasoning: Reasoning | None = None
    service_tier: Tier | None = None
    text: TextConfig | None = None
    tools: Tools | None = None


class AgentUpdate(AgentFields):
    name: Name | None = None
    metadata: dict[str, str] | None = None


class AgentCreate(AgentUpdate):
    model: Model


class EffortUpdate(Shape):
    effort: Effort | None = None


class SessionAgentUpdate(Shape):
    """What of its agent a session may change once it is there."""

    model: Model = ""
    reasoning: EffortUpdate = EffortUpdate()
    service_tier: Tier | None = None
    tools: Tools | None = None


def created(given: AgentCreate | AgentFields, settings: ServerSettings) -> AgentSpec:
    """The spec of a new agent. InvalidArgument, NotSupported."""
    if not given.model:
        raise InvalidArgument("agent.model: an agent without agent_id needs a model", param="agent.model")
    return changed(AgentSpec(NEW, (settings.model(given.model),)), given, settings)


def changed(spec: AgentSpec, given: AgentFields, settings: ServerSettings) -> AgentSpec:
    """The spec with what was given. InvalidArgument, NotSupported."""
    _check_absent(given)
    own = dict(spec.extensions.get(SURFACE, {}))
    extra = dict(spec.settings.extra)
    thinking = spec.settings.thinking
    if given.has("model"):
        spec, own["model"] = _with_model(spec, given.model, settings), given.model
    if given.has("instructions"):
        spec = msgspec.structs.replace(spec, instructions=given.instructions or "")
    if given.has("reasoning"):
        reasoning = given.reasoning or Reasoning()
        own["effort"] = reasoning.effort
        thinking = None if reasoning.effort is None else THINKING[reasoning.effort]
        _put(extra, _SUMMARY, reasoning.summary)
    if given.has("service_tier"):
        _put(extra, _TIER, None if given.service_tier in (None, "auto") else given.service_tier)
    if given.has("text"):
        verbosity = given.text.verbosity if given.text is not None else None
        _put(extra, _VERBOSITY, None if verbosity in (None, "medium") else verbosity)
        spec = msgspec.structs.replace(spec, output=_output(None if given.text is None else given.text.format))
    if given.has("tools"):
        own["tools"] = shown_tools(given.tools or [], kept=isinstance(given, AgentUpdate))
        spec = with_tools(spec, own["tools"])
    if isinstance(given, AgentUpdate):
        if given.has("name"):
            spec = msgspec.structs.replace(spec, title=given.name or "")
        if given.has("metadata"):
            spec = msgspec.structs.replace(spec, metadata=metadata_of(given.metadata))
    return msgspec.structs.replace(
        spec,
        settings=msgspec.structs.replace(spec.settings, thinking=thinking, extra=extra),
        extensions={**spec.extensions, SURFACE: own},
    )


def with_session_settings(spec: AgentSpec, given: SessionAgentUpdate, settings: ServerSettings) -> AgentSpec:
    """The spec as a session goes on with it. InvalidArgument, NotSupported."""
    fields: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set if name != "reasoning"}
    if given.has("reasoning") and given.reasoning.has("effort"):
        fields["reasoning"] = Reasoning(effort=given.reasoning.effort, summary=spec.settings.extra.get(_SUMMARY))
    return changed(spec, AgentFields.model_construct(set(fields), **fields), settings)


def _output(form: TextFormat | None) -> OutputSpec | None:
    if form is None or form.type == "text":
        return None
    if form.schema_ is None:
        raise InvalidArgument("text.format.schema: a format of type json_schema needs one", param="text.format.schema")
    try:
        return TypedOutputs().spec(form.schema_)
    except ConfigurationError as error:
        raise InvalidArgument(f"text.format.schema: {error.message}", param="text.format.schema") from None


def _format(spec: AgentSpec) -> dict[str, Any]:
    return {"type": "text"} if spec.output is None else {"type": "json_schema", "schema": spec.output.schema}


def _with_model(spec: AgentSpec, name: str, settings: ServerSettings) -> AgentSpec:
    return msgspec.structs.replace(spec, models=(settings.model(name), *spec.models[1:]))


def _put(extra: dict[str, Any], name: str, value: str | None) -> None:
    extra.pop(name, None)
    if value is not None:
        extra[name] = value


def _check_absent(given: AgentFields) -> None:
    """NotSupported for what of an agent godwit does not have."""
    if given.compaction is not None and given.compaction.async_:
        raise NotSupported("compaction.async: context is not compacted in the background", param="compaction")
    if given.has("experimental") and given.experimental.time_awareness:
        raise NotSupported("experimental.time_awareness: the model is not told the time", param="experimental")
    if given.multi_agent is not None and given.multi_agent.enabled:
        text = "a model makes no agents here as it goes; subagents of an agent are put through godwit's own API"
        raise NotSupported(f"multi_agent: {text}", param="multi_agent")
    if given.service_tier in ("fast", "ultrafast"):
        raise NotSupported(f"service_tier: {given.service_tier} is no tier of the models here", param="service_tier")


def shown(spec: AgentSpec, settings: ServerSettings) -> dict[str, Any]:
    """What an agent and a session's snapshot of one both show of a spec."""
    own = spec.extensions.get(SURFACE, {})
    model, effort = own.get("model"), own.get("effort")
    thinking, extra = spec.settings.thinking, spec.settings.extra
    return {
        "instructions": spec.instructions or None,
        "model": model if model is not None and settings.model(model) == spec.models[0] else spec.models[0],
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "reasoning": {
            "effort": effort if effort is not None and THINKING[effort] == thinking else _effort_of(thinking),
            "summary": extra.get(_SUMMARY),
        },
        "service_tier": extra.get(_TIER, "auto"),
        "text": {"format": _format(spec), "verbosity": extra.get(_VERBOSITY, "medium")},
        "tools": tools_in(spec),
        "compaction": {"async": False},
        "experimental": {"time_awareness": False},
    }


def tools_in(spec: AgentSpec) -> list[dict[str, Any]]:
    """The spec's tools as they are shown."""
    return tools_of(spec, spec.extensions.get(SURFACE, {}).get("tools"))


def _effort_of(thinking: ThinkingLevel | None) -> Effort | None:
    return None if thinking is None else _EFFORTS[thinking]


def shown_agent(agent: StoredAgent, settings: ServerSettings) -> dict[str, Any]:
    """An agent as it is answered."""
    return {
        "id": agent.id,
        "object": "agent",
        "created_at": agent.created_ms // 1000,
        "updated_at": agent.updated_ms // 1000,
        "name": agent.spec.title or None,
        "metadata": dict(agent.spec.metadata),
        **shown(agent.spec, settings),
    }
