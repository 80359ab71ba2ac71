"""Routes of inputs: what gives a session work, and what waits in its queue."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from .calls import Controlled, Driven, Host, KeyHeader, Watched, Who
from .operations import PREFIX, operation
from .shapes.inputs import (
    Accepted,
    CommandBody,
    Commanded,
    CommandList,
    FollowUpBody,
    OrderBody,
    PromptBody,
    QueueList,
    Started,
    SteerBody,
)
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["inputs"])


@router.post("/prompt")
@operation(takes=PromptBody, gives=Started)
async def prompt(
    service: Host, who: Who, session: Driven, sent: Annotated[PromptBody, Depends(body(PromptBody))], key: KeyHeader
) -> Response:
    """Start a run with this message and return at once. Under the key of an earlier prompt it joins the run of that one."""
    if not await session.is_running():  # else it is refused for that, or was sent before
        await service.tenants.room(who, "runs")
    run = await session.prompt(
        sent.prompt,
        history=sent.history,
        key=sent.key or key,
        sender=sent.sender,
        unattended=sent.unattended,
        output=sent.output,
        attachments=sent.attachments,
        metadata=sent.metadata,
    )
    return answer(Started(run, await session.run_start(run)))


@router.post("/steer")
@operation(takes=SteerBody, gives=Accepted)
async def steer(session: Driven, sent: Annotated[SteerBody, Depends(body(SteerBody))], key: KeyHeader) -> Response:
    """Put a message into the open run at its next boundary."""
    given = await session.steer(
        sent.message,
        mode=sent.mode,
        key=sent.key or key,
        sender=sent.sender,
        attachments=sent.attachments,
        metadata=sent.metadata,
    )
    return answer(Accepted(given))


@router.post("/follow_up")
@operation(takes=FollowUpBody, gives=Accepted)
async def follow_up(
    service: Host, who: Who, session: Driven, sent: Annotated[FollowUpBody, Depends(body(FollowUpBody))], key: KeyHeader
) -> Response:
    """Queue a message for when nothing else is left to do. On an idle session that is now."""
    if not await session.is_running():
        await service.tenants.room(who, "runs")
    given = await session.follow_up(
        sent.message,
        key=sent.key or key,
        sender=sent.sender,
        attachments=sent.attachments,
        metadata=sent.metadata,
    )
    return answer(Accepted(given))


@router.post("/command")
@operation(takes=CommandBody, gives=Commanded)
async def command(
    service: Host, who: Who, session: Driven, sent: Annotated[CommandBody, Depends(body(CommandBody))], key: KeyHeader
) -> Response:
    """Run the slash command that this text is."""
    if not await session.is_running():
        await service.tenants.room(who, "runs")
    done = await session.command(
        sent.text,
        key=sent.key or key,
        sender=sent.sender,
        unattended=sent.unattended,
        output=sent.output,
        metadata=sent.metadata,
    )
    return answer(Commanded(done))


@router.get("/commands")
@operation(gives=CommandList)
async def slash_commands(session: Watched) -> Response:
    """The session's slash commands, those of files as they are now."""
    return answer(CommandList(await session.slash_commands()))


@router.get("/queue")
@operation(gives=QueueList)
async def list_queue(
    session: Watched,
    everything: Annotated[bool, Query(alias="all", description="Every input the session ever had, oldest first.")] = False,
) -> Response:
    """The inputs that wait, in the order of delivery."""
    return answer(QueueList(await session.queue.list(all=everything)))


@router.put("/queue")
@operation(takes=OrderBody)
async def reorder_queue(session: Controlled, sent: Annotated[OrderBody, Depends(body(OrderBody))]) -> Response:
    """Put the follow-ups into this order; it names every one that waits."""
    await session.queue.reorder(sent.order)
    return nothing()


@router.delete("/queue/{input}")
@operation()
async def withdraw_input(session: Controlled, waiting: Annotated[str, Path(alias="input")]) -> Response:
    """Take a waiting input back."""
    await session.queue.withdraw(waiting)
    return nothing()
