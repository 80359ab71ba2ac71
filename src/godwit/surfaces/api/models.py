"""Routes of models: which there are, and what is known of each. Which key is where is told to nobody."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from ...core.model_info import ModelInfo
from .calls import Host
from .operations import PREFIX, operation
from .shapes.agents import ModelList
from .wire import answer

router = APIRouter(prefix=f"{PREFIX}/models", tags=["models"])


@router.get("")
@operation(gives=ModelList)
async def list_models(
    service: Host,
    provider: Annotated[str | None, Query(description="Only those of this provider.")] = None,
    ready: Annotated[bool, Query(description="Only those that can be asked here.")] = False,
    deprecated: Annotated[bool, Query(description="Also those that their provider gives up.")] = False,
) -> Response:
    """The models that this server knows, by their names. It may ask others as well, by their names."""
    found = await service.runtime.list_models(provider, ready=ready, deprecated=deprecated)
    return answer(ModelList([told(info) for info in found]))


@router.get("/{model:path}")
@operation(gives=ModelInfo)
async def find_model(
    service: Host,
    model: Annotated[str, Path(description="`provider:model`, or a hint such as `sonnet`; a slash stands as it is.")],
) -> Response:
    """What is known of the model that this name or hint means to a session here."""
    return answer(told(await service.runtime.find_model(service.settings.model(model))))


def told(info: ModelInfo) -> ModelInfo:
    """As clients may see it: without the names of this machine's variables."""
    return msgspec.structs.replace(info, missing=())
