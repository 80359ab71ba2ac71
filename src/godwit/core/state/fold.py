"""Fold: the state after one more event. What others may move is the gate's; the rest is decided here.

Rules a change must keep: an event that may not happen raises a Conflict and changes nothing; a type that is unknown changes
nothing but the seq; there is no default branch.
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec

from ..errors import IllegalEvent
from ..events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    EntryKept,
    Event,
    EventData,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    McpResourceUpdated,
    McpUnavailable,
    MemoryFailed,
    MemoryRecalled,
    ModelStarted,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunParked,
    RunRetrying,
    RunStarted,
    RunUnparked,
    RunYielded,
    SessionArchived,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionOpened,
    SessionPaused,
    SessionPruned,
    SessionResumed,
    SessionRewound,
    StateUpdated,
    SubagentAsked,
    SubagentFinished,
    SubagentProgressed,
    SubagentStarted,
    TasksCancelled,
    TodosUpdated,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Unknown,
    UsageRecorded,
    UserAnswer,
    UserInterrupt,
    UserMessage,
    VerificationReported,
    WorkspaceCheckpointed,
    WorkspaceRestored,
)
from ..gate import admit
from ..goal import GOAL_TOOL
from ..messages import Usage
from ..meter import Meter, metered
from ..modes import BUILD
from ..nudges import NUDGE
from ..rules import Permissions
from ..shared_state import folded
from ..todos import TODO_TOOL, finished_count
from .calls import NEEDS_START, call_named, call_of, need_turn, signature_of, with_changed, with_moved
from .runs import open_run, stopped, touched, verified
from .shape import Call, OwnCall, Question, Restoring, Run, State, Turn


def fold(state: State, event: Event) -> State:
    """The state after `event`. Raises IllegalEvent or another Conflict and changes nothing when it may not happen."""
    data = event.data
    if event.seq != state.seq + 1:
        raise IllegalEvent(f"event {event.seq} does not follow {state.seq}", seq=event.seq, head=state.seq)
    # The inbox limit guards new inputs; a log written under a larger one stays readable.
    gate = admit(state.gate, data, inbox_limit=1 << 31)
    forked = isinstance(data, SessionForked)
    meter = Meter() if forked else metered(state.meter, state.gate.phase, gate.phase, data, event.at_ms)
    state = _fold_rest(state, data, event)
    return msgspec.structs.replace(state, seq=event.seq, gate=gate, updated_ms=event.at_ms, meter=meter)


def _fold_rest(state: State, data: EventData, event: Event) -> State:
    replace = msgspec.structs.replace
    run, turn = state.run, state.turn
    match data:
        case SessionCreated():
            return _born(state, data, event)
        case SessionForked():
            return replace(
                _born(state, data, event),
                run=None,
                turn=None,
                usage=Usage(),
                own_calls=(),
                restoring=None if data.files is None else Restoring(event.seq, data.files, data.undo),
                warned=(),
                origin=data.origin,
                forked_at=event.seq - 1,
            )
        case SessionLabelled():
            labels = {seq: label for seq, label in state.event_labels.items() if seq != data.target}
            if data.label is not None:
                labels[data.target] = data.label
            return replace(state, event_labels=labels)
        case SessionConfigured():
            budgets = state.budgets if data.budgets is None else data.budgets
            if data.budgets is not None and data.raised_by is None:
                state = replace(state, budgets_set=data.budgets)
            elif data.budgets is not None and run is not None:
                # What was set while the run was open stays for the next one.
                budgets = budgets if run.budgets == state.budgets else state.budgets
                run = replace(run, budgets=data.budgets)
            return replace(
                state,
                model=state.model if data.model is None else data.model,
                thinking=state.thinking
                if data.thinking is None
                else (None if data.thinking == "default" else data.thinking),
                steer_mode=state.steer_mode if data.steer_mode is None else data.steer_mode,
                name=state.name if data.name is None else data.name,
                agent=state.agent if data.agent is None else data.agent,
                metadata=state.metadata if data.metadata is None else data.metadata,
                mode=state.mode if data.mode is None else (None if data.mode == BUILD.name else data.mode),
                lanes=state.lanes if data.lanes is None else {**state.lanes, **data.lanes},
                permissions=state.permissions if data.permissions is None else data.permissions,
                approvals=state.approvals if data.approvals is None else data.approvals,
                budgets=budgets,
                run=run,
            )
        case RunStarted():
            opened = Run(
                id=data.run,
                started_ms=event.at_ms,
                seq=event.seq,
                detached=data.history is not None,
                resumes=data.resumes,
                owes_answer=data.resumes is not None,
                model=data.model or state.model,
                thinking=state.thinking,
                turns=data.turns,
                turns_before=data.turns,
                tool_calls=data.tool_calls,
                usage=data.usage,
                checkpoint=event.seq,
                unattended=data.unattended,
                output=data.output,
                budgets=state.budgets,
            )
            # What a guard has warned of it may warn of again in the next run; a limit of the session's is told once.
            warned = tuple(w for w in state.warned if w[0] != "guard")
            return replace(state, run=opened, runs=state.runs + 1, warned=warned)
        case UserMessage():
            if run is None or data.delivery == "prompt" or data.sender == NUDGE or (data.sender or "").startswith("hook "):
                return state
            return replace(state, run=replace(run, held=0, nudges=0))
        case UserInterrupt():
            return replace(state, run=replace(open_run(run, data), interrupt=data))
        case UserAnswer():
            if data.remember is not None and data.rule is not None:
                state = replace(state, permissions=_with_rule(state.permissions, data.decision, data.rule))
            if run is not None and run.question is not None and run.question.action == data.action:
                return replace(state, run=replace(run, question=replace(run.question, answer=data)))
            if turn is None:
                raise IllegalEvent("an action is answered only within its turn", action=data.action)
            calls = tuple(replace(c, answer=data) if c.action == data.action else c for c in turn.calls)
            return replace(state, turn=replace(turn, calls=calls))
        case RunClaimed():
            run = open_run(run, data)
            taken_over = state.gate.claimed
            return replace(
                state, run=replace(run, takeovers=run.takeovers + 1 if taken_over else run.takeovers, retry_at_ms=None)
            )
        case RunParked():
            if turn is None and (run is None or run.question is None):
                raise IllegalEvent("a run is parked only within a turn, or with a question of its own", run=data.run)
            if turn is not None and any(c.phase == "started" for c in turn.calls):
                raise IllegalEvent("a run is parked only with no call under way", run=data.run)
            return state
        case RunRetrying():
            run = open_run(run, data)
            need_turn(turn, data)
            return replace(
                state,
                run=replace(
                    run,
                    retries=data.retry,
                    retry_model=data.model,
                    retry_at_ms=event.at_ms + data.delay_ms,
                ),
            )
        case RunFinished():
            if turn is not None:
                raise IllegalEvent("a run ends only between turns", run=data.run, turn=turn.index)
            run = open_run(run, data)
            return replace(state, run=None, last_run=run.id, last_outcome=data.outcome)
        case InputDelivered():
            run = open_run(run, data)
            if turn is not None:
                raise IllegalEvent("an input is delivered only between turns", input=data.id)
            return replace(state, run=replace(run, owes_answer=True, checkpoint=event.seq, verdict=None, fits=None))
        case TurnStarted():
            run = open_run(run, data)
            if state.gate.phase != "running" or turn is not None:
                raise IllegalEvent("a turn starts only in a running run, after the one before it ended")
            if data.index != state.turns + 1:
                raise IllegalEvent(f"turn {data.index} should be {state.turns + 1}", index=data.index)
            return replace(
                state,
                turn=Turn(data.index),
                turns=data.index,
                run=replace(run, turns=run.turns + 1, retries=0),
            )
        case ModelStarted():
            turn = need_turn(turn, data)
            if state.gate.phase != "running" or turn.message_seq is not None:
                raise IllegalEvent("a model is asked only in a running run, once its turn has no answer yet")
            if data.message == turn.asked:
                raise IllegalEvent("a model that is asked again answers under another id", answer=data.message)
            return replace(state, turn=replace(turn, asked=data.message, model=data.model))
        case AgentMessage():
            run = open_run(run, data)
            turn = need_turn(turn, data)
            message = data.message
            if turn.message_seq is not None or turn.asked != message.id:
                raise IllegalEvent(f"message {message.id!r} is not the one asked for", asked=turn.asked)
            ids = [c.id for c in message.calls]
            if len(set(ids)) != len(ids):
                raise IllegalEvent("two calls of one message share an id", calls=ids)
            last, repeats = run.last_call, run.repeats
            asked: list[Call] = []
            for request in message.calls:
                signature = signature_of(request.name, request.arguments, request.malformed)
                repeats = repeats + 1 if signature == last else 1
                last = signature
                asked.append(Call(request.id, request.name, repeat=repeats))
            return replace(
                state,
                turn=replace(turn, message_seq=event.seq, calls=tuple(asked), stop=message.stop),
                usage=state.usage + message.usage,
                tool_calls=state.tool_calls + len(asked),
                run=replace(
                    run,
                    usage=run.usage + message.usage,
                    tool_calls=run.tool_calls + len(asked),
                    last_call=last if asked else None,
                    repeats=repeats if asked else 0,
                    retries=0,
                    takeovers=0,
                    stopped=stopped(message),
                ),
            )
        case ToolStarted() if data.origin != "model":
            own = OwnCall(data.call, data.name, data.origin, data.owner, event.at_ms)
            others = tuple(c for c in state.own_calls if c.id != data.call)
            return replace(state, own_calls=(*others, own), tool_calls=state.tool_calls + 1)
        case ToolFinished() if data.origin != "model":
            # Whoever may append from outside may say this twice, or of a call that is not there: the log must stay readable.
            others = tuple(c for c in state.own_calls if c.id != data.call)
            if run is not None and data.origin == "verification" and event.run == run.id:
                run = replace(run, takeovers=0)  # it came to its end, so the driver that made it did something
            return replace(state, own_calls=others, run=run)
        case ToolStarted():
            if state.gate.phase != "running":
                raise IllegalEvent(
                    f"a call starts only in a running run, not while it is {state.gate.phase}", call=data.call
                )
            return replace(state, turn=with_moved(turn, data, data.call, phase="started", key=data.key))
        case ToolAsked():
            call = call_named(turn, data, data.call)
            asked_for = {
                "asked": event.seq,
                "left": len(data.questions),
                "rounds": call.rounds + 1,
                "action": None,
                "answer": None,
            }
            run = replace(open_run(run, data), takeovers=0)
            return replace(state, turn=with_moved(turn, data, data.call, phase="asking", **asked_for), run=run)
        case ToolFinished():
            call = call_named(turn, data, data.call)
            if data.status in NEEDS_START and call.phase != "started" and call.answer is None and call.tasks is None:
                raise IllegalEvent(f"a call that never started cannot end as {data.status}", call=data.call)
            run = open_run(run, data)
            return replace(
                state,
                turn=with_moved(turn, data, data.call, phase="finished", status=data.status),
                run=replace(
                    run,
                    takeovers=0,
                    touched=touched(run, call, data),
                    nudges=0 if data.status == "ok" and data.name not in (TODO_TOOL, GOAL_TOOL) else run.nudges,
                ),
            )
        case ActionOpened() if data.call is None:
            run = open_run(run, data)
            if run.question is not None:
                raise IllegalEvent("the run has a question open already", action=run.question.action)
            return replace(state, run=replace(run, question=Question(data.action, data.name, data.arguments)))
        case ActionClosed():
            if run is None or run.question is None or run.question.action != data.action:
                return state
            return replace(state, run=replace(run, question=None))
        case ActionOpened():
            assert data.call is not None
            call = call_named(turn, data, data.call)
            if call.phase == "finished":
                raise IllegalEvent("an action is opened only for a call without a result", call=data.call)
            if call.action is not None and any(a.id == call.action for a in state.gate.actions):
                raise IllegalEvent("the call has an open action already", call=data.call, action=call.action)
            if call.phase == "asking" and not call.left:
                raise IllegalEvent("all that the call has asked is put already", call=data.call)
            left = call.left - 1 if call.phase == "asking" else call.left
            return replace(state, turn=with_changed(turn, replace(call, action=data.action, answer=None, left=left)))
        case SubagentStarted() if data.action is not None:
            call = call_of(turn, data, data.action)
            return replace(state, turn=with_changed(turn, replace(call, tasks="open")))
        case SubagentFinished():
            # The gate has taken it from the open tasks only afterwards: `state.gate` is the one before.
            ended = next((t for t in state.gate.tasks if t.id == data.task), None)
            if ended is None or ended.action is None or turn is None:
                return state
            if any(t.action == ended.action for t in state.gate.tasks if t.id != data.task):
                return state
            call = call_of(turn, data, ended.action)
            return replace(state, turn=with_changed(turn, replace(call, tasks="done")))
        case TurnFinished():
            run = open_run(run, data)
            turn = need_turn(turn, data)
            if turn.index != data.index or turn.unfinished or state.gate.actions:
                raise IllegalEvent(
                    "a turn ends only when each of its calls has its result and its actions are closed",
                    calls=[c.id for c in turn.unfinished],
                )
            invalid = any(c.status == "invalid" for c in turn.calls)
            owes = bool(turn.calls) or turn.stop == "pause" or (run.owes_answer and turn.message_seq is None)
            return replace(
                state,
                turn=None,
                run=replace(
                    run,
                    owes_answer=owes,
                    invalid_turns=run.invalid_turns + 1 if invalid else 0,
                    checkpoint=event.seq,
                ),
            )
        case OutputChecked():
            run = open_run(run, data)
            if turn is not None:
                raise IllegalEvent("an answer is checked only between turns", run=data.run, turn=turn.index)
            if data.problem is None:
                return replace(state, run=replace(run, fits=event.seq, misfits=0, misfit=None))
            return replace(state, run=replace(run, fits=None, misfits=run.misfits + 1, misfit=data.problem))
        case RunNudged():
            run = open_run(run, data)
            if turn is not None:
                raise IllegalEvent("a model is told to go on only between turns", run=data.run, turn=turn.index)
            return replace(state, run=replace(run, nudges=data.attempt))
        case TodosUpdated():
            if run is not None and finished_count(data.todos) > finished_count(state.todos):
                run = replace(run, nudges=0)
            return replace(state, todos=data.todos, run=run)
        case GoalUpdated():
            return replace(state, goal=data.goal, run=None if run is None else replace(run, nudges=0))
        case StateUpdated():
            return replace(state, shared=folded(state.shared, data.patch, data.value), shared_told=data.tell)
        case RunYielded() | RunUnparked():
            open_run(run, data)
            return state
        case UsageRecorded():
            run = None if run is None else replace(run, usage=run.usage + data.usage)
            return replace(state, usage=state.usage + data.usage, run=run)
        case BudgetWarned():
            told = (data.scope, data.resource, data.limit)
            return state if told in state.warned else replace(state, warned=(*state.warned, told))
        case BudgetExceeded():
            # Recorded beside a run, by a call of the host's own, it ends nothing.
            if run is None or event.run != run.id or run.exceeded is not None:
                return state
            return replace(state, run=replace(run, exceeded=data))
        case SessionRewound():
            state = replace(state, todos=data.todos, goal=data.goal, shared=data.shared)
            if data.files is None:
                return state
            return replace(state, restoring=Restoring(event.seq, data.files, data.undo))
        case WorkspaceRestored():
            return replace(state, restoring=None)
        case HookBlocked():
            if run is None or data.point != "before_finish":
                return state
            return replace(state, run=replace(run, held=run.held + 1))
        case WorkspaceCheckpointed():
            if turn is None or data.turn != turn.index or data.when == "manual":
                return state
            files: Literal["before", "after", "failed"] = data.when
            if data.when == "before" and data.ref is None:
                files = "failed"
            return replace(state, turn=replace(turn, files=files))
        case SessionCompacted(at_once=False):
            return state
        case SessionCompacted() | SessionPruned():
            if turn is not None and turn.message_seq is not None:
                raise IllegalEvent("what the model sees changes only before it is asked, not between its calls")
            return state if turn is None else replace(state, turn=replace(turn, made_room=True))
        case VerificationReported():
            if run is None or data.report.source != "run":
                return state
            return replace(state, run=verified(run, data.report, event.seq))
        case (
            InputWithdrawn()
            | ContextLoaded()
            | InputReordered()
            | SessionOpened()
            | SessionPaused()
            | SessionResumed()
            | SessionArchived()
            | CompactionFailed()
            | ArtifactStored()
            | HookReported()
            | McpResourceUpdated()
            | McpUnavailable()
            | MemoryRecalled()
            | MemoryFailed()
            | CommandExecuted()
            | SubagentStarted()
            | SubagentProgressed()
            | SubagentAsked()
            | TasksCancelled()
            | SessionImported()
            | EntryKept()
            | Unknown()
        ):
            return state
        case _:
            assert_never(data)


def _born(state: State, data: SessionCreated | SessionForked, event: Event) -> State:
    """What a session is from its first event on, whether it begins with nothing or with the past of another."""
    return msgspec.structs.replace(
        state,
        created_ms=event.at_ms,
        agent=data.agent,
        workspace=data.workspace,
        environment=data.environment,
        labels=data.labels,
        name=data.name,
        metadata=data.metadata,
        vaults=data.vaults,
        parent=data.parent,
        root=data.root,
        depth=data.depth,
    )


def _with_rule(permissions: Permissions | None, decision: str, rule: str) -> Permissions:
    """The session's own rules with what was answered for good."""
    own = permissions or Permissions()
    if decision == "approve":
        return own if rule in own.allow else msgspec.structs.replace(own, allow=(*own.allow, rule))
    return own if rule in own.deny else msgspec.structs.replace(own, deny=(*own.deny, rule))
