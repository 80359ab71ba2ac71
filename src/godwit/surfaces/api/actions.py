"""Routes of actions: what a session waits for somebody to answer. An action may be named by the id of its call."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from .calls import Controlled, Watched
from .operations import PREFIX, operation
from .shapes.actions import ActionList, AnswerBody, ApproveBody, DenyBody
from .shapes.common import Changed
from .wire import answer, body

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}/actions", tags=["actions"])
ActionPath = Annotated[str, Path(alias="action", description="The action's id, or that of the call it is about.")]


@router.get("")
@operation(gives=ActionList)
async def list_actions(session: Watched) -> Response:
    """What waits for an answer, oldest first."""
    return answer(ActionList(await session.approvals.pending()))


@router.post("/{action}/approve")
@operation(takes=ApproveBody, gives=Changed, scope="answer")
async def approve(
    session: Controlled, action: ActionPath, sent: Annotated[ApproveBody, Depends(body(ApproveBody))]
) -> Response:
    """Let the call run; `arguments` replace all of its own, `remember` lets what `rule` matches run from now on."""
    done = await session.approve(
        action, arguments=sent.arguments, remember=sent.remember, rule=sent.rule, sender=sent.sender
    )
    return answer(Changed(done))


@router.post("/{action}/deny")
@operation(takes=DenyBody, gives=Changed, scope="answer")
async def deny(session: Controlled, action: ActionPath, sent: Annotated[DenyBody, Depends(body(DenyBody))]) -> Response:
    """Refuse the call; the model is told the reason."""
    done = await session.deny(action, sent.reason, remember=sent.remember, rule=sent.rule, sender=sent.sender)
    return answer(Changed(done))


@router.post("/{action}/answer")
@operation(takes=AnswerBody, gives=Changed, scope="answer")
async def answer_action(
    session: Controlled, action: ActionPath, sent: Annotated[AnswerBody, Depends(body(AnswerBody))]
) -> Response:
    """Give an external call's result, or the answer to a question."""
    given = tuple(sent.result) if isinstance(sent.result, list) else sent.result
    done = await session.answer(action, given, is_error=sent.is_error, sender=sent.sender, metadata=sent.metadata)
    return answer(Changed(done))
