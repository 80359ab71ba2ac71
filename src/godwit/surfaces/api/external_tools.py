"""Routes of a client's tools: those without a body that a session has beside its agent's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from .calls import Driven, Watched
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.external_tools import ExternalToolList, ExternalToolsBody
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}/external_tools", tags=["external tools"])


@router.get("")
@operation(gives=ExternalToolList)
async def list_external_tools(session: Watched) -> Response:
    """The tools that a client has set, beside the agent's own."""
    return answer(ExternalToolList(await session.external_tools()))


@router.put("")
@operation(takes=ExternalToolsBody, gives=Changed)
async def set_external_tools(
    session: Driven, sent: Annotated[ExternalToolsBody, Depends(body(ExternalToolsBody))]
) -> Response:
    """Have these tools in the session, in place of those set before. Calls of them are pending actions (`external`); the
    model is told of them from the next run on at the latest. None may have the name of a tool that the session has from
    elsewhere."""
    return answer(Changed(await session.set_external_tools(sent.tools)))
