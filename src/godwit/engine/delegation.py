"""Delegation: a call whose work is done by children of its session.

Owns what is recorded when such a call begins, and what its result is when all its tasks have ended. Leaves out the words
in which models read of it (`task_reports`), and the children themselves (`contracts.Subagents`), which are made when the
tasks are in the log. Rules: what a call asks for is all begun or none of it; a limit is told as a limit, so that no model
takes it for an answer; what is in the background ends by a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..contracts import GivesTasks, Tool
from ..core.errors import GodwitError
from ..core.events import ActionOpened, EventData, SubagentFinished, SubagentStarted, ToolFinished, ToolStarted
from ..core.ids import ActionId, AgentName
from ..core.messages import ResultBlock, Text, ToolStatus
from ..core.state import Call
from ..core.tasks import child_id, task_id
from .driver import Driver
from .task_reports import answers_of
from .tasks import children_of


@dataclass
class Delegates:
    """It is handed to children: what is recorded for it."""

    events: tuple[EventData, ...]
    before: tuple[EventData, ...] = ()


async def delegated(driver: Driver, call: Call, tool: Tool, arguments: dict[str, Any], *, edited: bool) -> Delegates | str:
    """What is recorded when the call's tasks begin; why they cannot, as text for the model."""
    assert isinstance(tool, GivesTasks)
    if driver.parts.subagents is None:
        return "No subagent can be had here: this host runs none."
    try:
        requests, background = tool.requests(arguments)
        await driver.parts.subagents.check(driver.session, driver.spec, driver.state.depth, requests)
        children = await children_of(driver.parts.store, driver.session, requests)
    except GodwitError as error:
        return error.message
    turn, run = driver.state.turn, driver.state.run
    assert turn is not None
    assert run is not None
    action = None if background else ActionId(driver.ids.new("act"))
    started: list[EventData] = []
    for number, request in enumerate(requests):
        task = task_id(driver.session, run.id, turn.index, call.id, number)
        child, reused = children[number] or (child_id(task), 0)
        started.append(
            SubagentStarted(
                task,
                child,
                AgentName(request.agent),
                request.prompt,
                driver.state.depth + 1,
                call.id,
                action,
                request.description,
                reused,
                max_turns=request.max_turns,
                output_schema=request.output_schema,
            )
        )
    if action is not None:
        return Delegates((ActionOpened(action, "task", call.id, call.name, arguments), *started))
    key = call.key or f"{driver.session}/{call.id}"
    told = "\n".join(f"Task {s.task} has begun: {s.agent}." for s in started if isinstance(s, SubagentStarted))
    text = f"{told}\nYou will get a message when it has ended; do not wait for it by asking again and again."
    metadata = {"tasks": [{"task": s.task, "session": s.child} for s in started if isinstance(s, SubagentStarted)]}
    return Delegates(
        (
            ToolStarted(call.id, call.name, arguments, key, edited),
            *started,
            ToolFinished(call.id, call.name, "ok", (Text(text),), metadata),
        )
    )


async def results(driver: Driver, call: Call) -> tuple[ToolStatus, tuple[ResultBlock, ...], dict[str, Any]]:
    """What the call's tasks came to, in the order in which they were asked for."""
    turn = driver.state.turn
    assert turn is not None
    assert turn.message_seq is not None
    types = ("subagent.started", "subagent.finished")
    started: list[SubagentStarted] = []
    finished: dict[str, SubagentFinished] = {}
    for event in await driver.parts.store.read(driver.session, turn.message_seq, types=types):
        match event.data:
            case SubagentStarted() as data if data.call == call.id and data.action == call.action:
                started.append(data)
            case SubagentFinished() as data:
                finished[data.task] = data
            case _:
                pass
    ended = [(s, finished[s.task]) for s in started]
    status: ToolStatus = "ok" if any(f.status == "completed" for _, f in ended) else "error"
    facts = [
        {
            "task": f.task,
            "session": f.child,
            "agent": s.agent,
            "status": f.status,
            "success": f.status == "completed",
            **({} if f.structured is None else {"structured": f.structured}),
            **({} if f.artifact is None else {"artifact": f.artifact}),
        }
        for s, f in ended
    ]
    return status, answers_of(ended), {"tasks": facts}
