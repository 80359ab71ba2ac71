"""Routes that stop a session's work and let it go on, and that say what it may spend."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from ...core.budget import Scope
from .calls import Controlled, Host, KeyHeader, Row, Watched
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.control import BudgetBody, BudgetView, InterruptBody, PauseBody, SpentView
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["control"])


@router.post("/interrupt")
@operation(takes=InterruptBody, gives=Changed)
async def interrupt(
    service: Host, row: Row, sent: Annotated[InterruptBody, Depends(body(InterruptBody))], key: KeyHeader
) -> Response:
    """End the open run at once, keeping what was streamed; answers when it has ended."""
    ended = await service.runtime.interrupt(row.id, run=sent.run, force=sent.force, reason=sent.reason, key=key)
    return answer(Changed(ended))


@router.post("/pause")
@operation(takes=PauseBody, gives=Changed)
async def pause(service: Host, row: Row, sent: Annotated[PauseBody, Depends(body(PauseBody))]) -> Response:
    """Stop at the next checkpoint; inputs are accepted and wait."""
    return answer(Changed(await service.runtime.pause(row.id, sent.reason)))


@router.post("/resume")
@operation(gives=Changed)
async def resume(service: Host, row: Row) -> Response:
    """Go on from the checkpoint."""
    return answer(Changed(await service.runtime.resume(row.id)))


@router.get("/budget")
@operation(gives=BudgetView)
async def get_budget(session: Watched, scope: Annotated[Scope, Query()] = "session") -> Response:
    """What may be spent, as it counts from the next prompt on."""
    return answer(BudgetView(await session.budget(scope)))


@router.put("/budget")
@operation(takes=BudgetBody)
async def set_budget(session: Controlled, sent: Annotated[BudgetBody, Depends(body(BudgetBody))]) -> Response:
    """From the next prompt on this is what may be spent. What was spent stays spent."""
    await session.set_budget(sent.budgets)
    return nothing()


@router.get("/spent")
@operation(gives=SpentView)
async def get_spent(
    session: Watched, tree: Annotated[bool, Query(description="With all that worked for it.")] = False
) -> Response:
    """What the session has used up."""
    return answer(SpentView(await session.spent(tree=tree)))
