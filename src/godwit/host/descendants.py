"""How many sessions may work below the first one, and how deep: what keeps a runaway from going on (`Limits`).

The number is that of one piece of work, so that a conversation may go on for years: it counts from the last prompt or
follow-up that somebody has given to the first session, or from where that last rested. What the ends of its own tasks begin
is part of the same work. Rule: nothing that models do alone may begin a new count.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts import EventStore
from ..core.agent import AgentSpec
from ..core.errors import SessionNotFound, SubagentLimit
from ..core.events import Event, RunFinished, RunStarted, SubagentFinished, SubagentStarted, UserMessage
from ..core.ids import InputId, SessionId, TaskId
from ..core.state import State
from ..engine.log import load_state
from ..engine.tasks import report_id

LIMIT = "This is a limit, and no answer: do the work yourself, or say that it is not done."
PAGE = 64
"""Events read at a time, the newest first: what is looked for is near the end of a log."""
_TYPES = ("user.message", "run.started", "run.finished", "subagent.started", "subagent.finished")


async def check_room(store: EventStore, session: SessionId, spec: AgentSpec, depth: int, more: int) -> None:
    """Whether a session at this depth may have that many children more. SubagentLimit."""
    limits = spec.limits
    if depth + 1 > limits.max_depth:
        raise SubagentLimit(
            f"a subagent at depth {depth + 1} would be deeper than the limit of {limits.max_depth}. {LIMIT}",
            depth=depth + 1,
            limit=limits.max_depth,
        )
    if more:
        state = await load_state(store, session)
        there = set(await store.descendants(state.root or session)) if state.gate.tasks else set()
        waiting = sum(not t.external and t.session not in there for t in state.gate.tasks)
        await check_number(store, session, state, spec, waiting + more)


async def check_number(store: EventStore, session: SessionId, state: State, spec: AgentSpec, more: int) -> None:
    """Whether there may be that many sessions more below the first one. SubagentLimit."""
    limit = spec.limits.max_descendants
    since_ms = await _work_began_ms(store, session, state)
    made = () if since_ms is None else await store.descendants(state.root or session, created_from_ms=since_ms)
    count = len(made) + more
    if count > limit:
        raise SubagentLimit(
            f"there would be {count} subagents for this piece of work, and the limit is {limit}. {LIMIT}",
            count=count,
            limit=limit,
        )


async def _work_began_ms(store: EventStore, session: SessionId, state: State) -> int | None:
    """When the present work of the first session in the line that works began; None while none of them does."""
    began: int | None = None
    at: SessionId | None = session
    below: SessionId | None = None
    while at is not None:
        try:
            state = await load_state(store, at)
        except SessionNotFound:
            break
        here = await _began_ms(store, at, state)
        if here is None and began is not None and below is not None:
            # It rests, and what it handed on goes on: that is still the work in which it did so.
            here = await _began_ms(store, at, state, with_task_of=below)
        began = began if here is None else here
        at, below = state.parent, at
    return began


async def _began_ms(
    store: EventStore, session: SessionId, state: State, *, with_task_of: SessionId | None = None
) -> int | None:
    """When the session's present work began: with the newest message from outside, or where it last rested. None: it rests
    now. Work that the host does its own way does not count. `with_task_of`: the work in which this child was given its
    newest task, in place of the present one; None when it was given none."""
    runs = state.gate.run is not None
    tasks = {t.id for t in state.gate.tasks if not t.external}
    reached = with_task_of is None
    if not runs and not tasks and reached:
        return None
    told: set[InputId] = set()
    began_ms, upto = 0, state.seq
    while page := await _before(store, session, upto):
        for event in page:
            began_ms = event.at_ms
            reached = reached or (isinstance(event.data, SubagentStarted) and event.data.child == with_task_of)
            # From the newest to the oldest: what has ended had begun before, so it was open there.
            match event.data:
                case UserMessage() as said if reached and said.delivery != "steer" and not _reports(session, said):
                    return began_ms
                case RunFinished():
                    runs = True
                case RunStarted(input=said_first):
                    runs = False
                    told |= set() if said_first is None else {said_first}
                case SubagentFinished(task=task):
                    # What a task's end begins is recorded with it: there was no rest in between.
                    tasks.add(task)
                    told.discard(report_id(session, task))
                case SubagentStarted(task=task):
                    tasks.discard(task)
                case _:
                    continue
            if reached and not runs and not tasks and not told:
                return began_ms
        upto = page[-1].seq - 1
    return began_ms if reached else None


async def _before(store: EventStore, session: SessionId, upto: int) -> Sequence[Event]:
    if upto <= 0:
        return ()
    return await store.read(session, to_seq=upto, types=_TYPES, newest_first=True, limit=PAGE)


def _reports(session: SessionId, said: UserMessage) -> bool:
    """It tells of the end of one of the session's own tasks."""
    word, _, task = (said.sender or "").partition(" ")
    return word == "task" and said.id == report_id(session, TaskId(task))


__all__ = ["LIMIT", "check_number", "check_room"]
