"""Context: builds the request for a model step from the agent, the run and the transcript.

The same state gives the same request to the byte: tools stand in a fixed order, and nothing that changes by itself (a
date, a working directory's listing) is mixed in, so the provider's prompt cache holds across turns and restarts.
"""

from __future__ import annotations

import asyncio

import msgspec

from ..contracts import ModelRegistry, ModelRequest, SupportsModelInfo, Tool
from ..core.agent import AgentSpec, ThinkingLevel
from ..core.errors import GodwitError
from ..core.ids import MessageId, SessionId
from ..core.model_info import Adjustment, ModelInfo, left_out, thinking_for
from ..core.output import told
from ..core.state import Run, State, Turn
from ..core.transcript import Transcript


def build_request(
    *,
    spec: AgentSpec,
    run: Run,
    turn: Turn,
    transcript: Transcript,
    tools: list[Tool],
    session: SessionId,
    message: MessageId,
    info: ModelInfo | None = None,
) -> ModelRequest:
    """The next question. `tools`: those it tells of (`Deferral.told`). `info`: what is known of the model, which is asked
    for a thinking level that it has.

    The turn is numbered within the session, not within its run: who keeps answers by session and turn (a recording) takes
    two of one number for the same question asked again.
    """
    settings = spec.settings
    thinking, _ = thinking_for(info, _asked(spec, run))
    if thinking != settings.thinking:
        settings = msgspec.structs.replace(settings, thinking=thinking)
    return ModelRequest(
        entries=transcript.entries,
        instructions=instructions_of(spec),
        tools=tuple(t.definition for t in tools),
        settings=settings,
        session=session,
        message=message,
        turn=turn.index,
    )


def instructions_of(spec: AgentSpec) -> str:
    """What the model is told of the agent, with the form its answers must have."""
    parts = [spec.instructions] if spec.output is None else [spec.instructions, told(spec.output)]
    return "\n\n".join(part for part in parts if part)


def adjustments(info: ModelInfo | None, spec: AgentSpec, run: Run, transcript: Transcript) -> tuple[Adjustment, ...]:
    """What of the next question the model cannot take."""
    if info is None:
        return ()
    _, thinking = thinking_for(info, _asked(spec, run))
    found = [] if thinking is None else [thinking]
    if info.images is False or info.documents is False:
        found += left_out(info, [block for entry in transcript.entries for block in entry.message.content])
    return tuple(found)


def _asked(spec: AgentSpec, run: Run) -> ThinkingLevel | None:
    return spec.settings.thinking if run.thinking is None else run.thinking


def models_of(spec: AgentSpec, chosen: str | None) -> tuple[str, ...]:
    """An agent's models in the order they are asked: the one that was chosen first, then the agent's that come after it."""
    if chosen is None:
        return spec.models
    if chosen in spec.models:
        return spec.models[spec.models.index(chosen) :]
    return (chosen, *spec.models)


def models_now(state: State, spec: AgentSpec) -> tuple[str, ...]:
    """The models that a session works with now: those of its open run, or of its next one."""
    return models_of(spec, state.model if state.run is None else state.run.model)


async def info_of(models: ModelRegistry, name: str) -> ModelInfo | None:
    """What is known of the model; None when the registry knows nothing of models, or not this one."""
    if not isinstance(models, SupportsModelInfo):
        return None
    try:
        info = models.known(name)
        return info if info is not None else await asyncio.to_thread(models.find, name)
    except GodwitError:
        return None  # it is told when the model is asked
