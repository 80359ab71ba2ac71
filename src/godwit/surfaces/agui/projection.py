"""Projection: the logs of a session and of those that work for it, and what is on its way between, as events of AG-UI.

A fold, and pure: whoever folds the same events and deltas gets the same. What was shown of an answer while it came is not
said again when it is stored. It says no run's beginning or end: that depends on who follows (`following.py`), who is told
here whether there is one (`ended`, `resting`).

Rules a change must keep: whatever begins here ends here, or is told by `reopen` and ended by whoever ends the run; an id is
the same for all who follow; a front end's own call has no result from us, unless somebody else gave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...core.errors import Fault
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    Delta,
    Event,
    InputDelivered,
    InputWithdrawn,
    ModelStarted,
    OutputChecked,
    RunClaimed,
    RunFinished,
    RunParked,
    RunStarted,
    RunUnparked,
    SessionForked,
    SessionRewound,
    StateUpdated,
    SubagentFinished,
    SubagentStarted,
    TodosUpdated,
    ToolFinished,
    TurnFinished,
    TurnStarted,
    UsageRecorded,
    UserAnswer,
    UserMessage,
)
from ...core.ids import CallId, SessionId
from ...core.messages import Usage
from ...core.senders import is_written_here
from ...core.shared_state import folded
from . import events as e
from .answers import Answers, closed, reopened
from .conversation import result_body, user_body
from .interrupts import interrupt_of
from .outcome import Ended, ended_by
from .parts import Answer, Part

TODOS = "godwit.todos"
"""Type of the activity that shows a session's list of todos."""
OUTPUT = "godwit.tool_output"
"""Name of the custom event with a piece of what a running tool says."""


class Projection:
    """`known`: ids of messages that whoever follows has already; those told here are added."""

    def __init__(self, session: SessionId, known: set[str]) -> None:
        self.root = Part(session)
        self.parts: dict[SessionId, Part] = {session: self.root}
        self.known = known
        self.answers = Answers(known)
        self.ended: Ended | None = None
        """How the run of the first session has ended, once it has."""
        self.usage: dict[str, Usage] = {}
        """What was used, by model, since it was last cleared."""
        self.shared: Any = None
        """The state that the session shares with its front ends."""
        self._output: Any = None

    @property
    def stale(self) -> bool:
        """Something was shown that is no part of the conversation: a snapshot of that puts it right."""
        return self.answers.stale

    @stale.setter
    def stale(self, stale: bool) -> None:
        self.answers.stale = stale

    # --- events -------------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> list[e.AnyEvent]:
        """Take one event in, in the order of its log; what it comes to. Sessions that were not announced are left out."""
        part = self.parts.get(event.session)
        if part is None or event.seq <= part.seq:
            return []
        part.seq = event.seq
        return list(self._told(part, event))

    def _told(self, part: Part, event: Event) -> Iterator[e.AnyEvent]:
        data = event.data
        match data:
            case UserMessage():
                part.waiting[data.id] = data
            case InputWithdrawn():
                part.waiting.pop(data.id, None)
            case InputDelivered():
                message = part.waiting.pop(data.id, None)
                if message is not None and not part.aside and not is_written_here(message):
                    yield from self._said(part, user_body(message, data.content))
            case RunStarted():
                part.run, part.parked, part.aside = data.run, False, data.history is not None
                if part is self.root:
                    self.ended, self._output = None, None
            case RunClaimed() | RunUnparked():
                part.parked = False
            case RunParked():
                part.parked, part.by_children = True, data.children
            case RunFinished():
                yield from self._over(part, data)
            case SessionForked():
                yield from self._forked(part)
            case TurnStarted():
                part.step = f"turn {data.index}"
                yield e.StepStarted(step_name=part.step, subagent_run_id=part.tag)
            case TurnFinished():
                yield from self._end_step(part)
            case ModelStarted():
                yield from self.answers.given_up(part)
                part.model = data.model
                part.answer = None if part.aside else Answer(data.message, data.model)
            case AgentMessage():
                self._count(part.model or data.message.model, data.message.usage)
                if not part.aside:
                    yield from self.answers.stored(part, data.message)
            case UsageRecorded():
                self._count(data.model, data.usage)
            case ToolFinished(origin="model") if not part.aside:
                yield from self._result(part, data)
            case ActionOpened() if data.kind != "task" and data.lane is None:
                (part.front if data.kind == "external" else part.asks)[data.action] = data
            case UserAnswer():
                part.asks.pop(data.action, None)
                opened = part.front.pop(data.action, None)
                if opened is not None and opened.call is not None and data.decision == "result":
                    part.answered.add(opened.call)
            case ActionClosed():
                part.asks.pop(data.action, None)
                part.front.pop(data.action, None)
            case SubagentStarted():
                yield from self._begun(part, data)
            case SubagentFinished():
                yield from self._done(data)
            case StateUpdated() if part is self.root:
                self.shared = folded(self.shared, data.patch, data.value)
                if data.patch:
                    yield e.StateDelta(delta=[msgspec.to_builtins(one) for one in data.patch])
                else:
                    yield e.StateSnapshot(snapshot=shown(self.shared))
            case SessionRewound() if part is self.root:
                self.shared = data.shared
                self.stale = True  # messages are gone
            case TodosUpdated():
                content = {"todos": [msgspec.to_builtins(one) for one in data.todos]}
                name = f"{part.session}:todos"
                yield e.ActivitySnapshot(message_id=name, activity_type=TODOS, content=content, subagent_run_id=part.tag)
            case OutputChecked() if part is self.root:
                self._output = data.value
            case _:
                pass

    def _said(self, part: Part, body: dict[str, Any]) -> Iterator[e.AnyEvent]:
        """A message that somebody else has sent."""
        name = body["id"]
        if name in self.known:
            return
        self.known.add(name)
        content = body["content"]
        if not isinstance(content, str):
            content = "\n\n".join(one["text"] for one in content if one["type"] == "text")
            self.stale = self.stale or part is self.root  # its files are told by a snapshot
        yield e.TextMessageStart(message_id=name, role="user", subagent_run_id=part.tag)
        if content:
            yield e.TextMessageContent(message_id=name, delta=content, subagent_run_id=part.tag)
        yield e.TextMessageEnd(message_id=name, subagent_run_id=part.tag)

    def _over(self, part: Part, data: RunFinished) -> Iterator[e.AnyEvent]:
        yield from self.answers.given_up(part)
        yield from self._end_step(part)
        part.run, part.parked, part.aside = None, False, False
        part.asks.clear()
        part.front.clear()
        if part is not self.root:
            return
        self.ended = ended_by(data, self._output)
        if data.outcome == "done" and (asks := self.interrupts()):
            self.ended = Ended(e.Interrupted(interrupts=asks), self._output)

    def _forked(self, part: Part) -> Iterator[e.AnyEvent]:
        """The log begins as another's did, and what was open there is not open here."""
        yield from self.answers.given_up(part)
        yield from self._end_step(part)
        for below in [one for one in self.parts.values() if one.above == part.session]:
            yield from self._left(below)
        if part is self.root and part.run is not None:
            self.ended = Ended(e.Cancelled())
        self.parts[part.session] = made = Part(part.session, part.tag, seq=part.seq)
        if part is self.root:
            self.root = made

    def _end_step(self, part: Part) -> Iterator[e.AnyEvent]:
        if part.step is not None:
            yield e.StepFinished(step_name=part.step, subagent_run_id=part.tag)
            part.step = None

    def _result(self, part: Part, data: ToolFinished) -> Iterator[e.AnyEvent]:
        body = result_body(data)
        if data.call in part.answered and body["id"] in self.known:
            return  # it came from whoever follows
        self.known.add(body["id"])
        if part.tag is not None:
            body["id"] = part.wire(body["id"])
        yield e.ToolCallResult(
            message_id=body["id"],
            tool_call_id=part.wire(data.call),
            content=body["content"],
            subagent_run_id=part.tag,
            metadata={"godwit": {"status": data.status}} if data.status != "ok" else None,
        )

    # --- what is on its way -------------------------------------------------------------------------------------------

    def delta(self, delta: Delta) -> list[e.AnyEvent]:
        """Take in what is on its way; what it comes to."""
        part = self.parts.get(delta.session)
        if part is None:
            return []
        if delta.kind == "tool_output":
            return list(self._output_of(part, delta))
        return list(self.answers.growing(part, delta))

    def _output_of(self, part: Part, delta: Delta) -> Iterator[e.AnyEvent]:
        if CallId(delta.id) in part.callers and delta.text:
            told = {"toolCallId": part.wire(delta.id), "offset": delta.offset, "text": delta.text}
            yield e.Custom(name=OUTPUT, value=told, subagent_run_id=part.tag)

    # --- subagents ----------------------------------------------------------------------------------------------------

    def _begun(self, part: Part, data: SubagentStarted) -> Iterator[e.AnyEvent]:
        child = self.parts.get(data.child)
        if child is None:
            child = self.parts[data.child] = Part(data.child)
        child.tag, child.name, child.above = data.task, data.agent, part.session
        child.call = None if data.call is None else part.wire(data.call)
        child.message = None if data.call is None else part.callers.get(data.call)
        child.description, child.background = data.description, data.action is None
        yield self._announced(child)

    def _announced(self, child: Part) -> e.SubagentStarted:
        assert child.tag is not None
        above = None if child.above is None else self.parts[child.above]
        return e.SubagentStarted(
            subagent_run_id=child.tag,
            name=child.name,
            description=child.description or None,
            parent_subagent_run_id=None if above is None else above.tag,
            parent_tool_call_id=child.call,
            parent_message_id=child.message,
        )

    def _done(self, data: SubagentFinished) -> Iterator[e.AnyEvent]:
        child = self.parts.get(data.child)
        if child is None or child.tag != data.task:
            return
        yield from self.answers.given_up(child)
        yield from self._end_step(child)
        for below in [one for one in self.parts.values() if one.above == child.session and one.tag is not None]:
            yield from self._left(below)
        if data.status == "completed":
            result = data.structured if data.structured is not None else data.output
            yield e.SubagentFinished(subagent_run_id=data.task, result=result, outcome=e.SubagentSuccess())
        else:
            fault = data.error or Fault(data.status, f"the task was {data.status}")
            yield e.SubagentError(subagent_run_id=data.task, message=fault.message, code=fault.code)
        del self.parts[data.child]

    def _left(self, part: Part) -> Iterator[e.AnyEvent]:
        """Nothing more is told of a subagent whose own subagent has ended: it goes on in the background."""
        for below in [one for one in self.parts.values() if one.above == part.session and one.tag is not None]:
            yield from self._left(below)
        yield from self.answers.given_up(part)
        yield from self._end_step(part)
        assert part.tag is not None
        yield e.SubagentFinished(subagent_run_id=part.tag, outcome=e.SubagentSuspended())
        del self.parts[part.session]

    def adopt(self, started: SubagentStarted) -> None:
        """A subagent that was begun before, and works still."""
        list(self._begun(self.root, started))

    # --- who joins, and who leaves ------------------------------------------------------------------------------------

    def reopen(self) -> list[e.AnyEvent]:
        """What is open, for one who begins to follow here: a parent before its children."""
        found: list[e.AnyEvent] = []
        for part in self._from_above():
            if part.tag is not None:
                found.append(self._announced(part))
            if part.step is not None:
                found.append(e.StepStarted(step_name=part.step, subagent_run_id=part.tag))
            if (live := part.answer) is not None:
                found += reopened(part, live)
        return found

    def close(self) -> list[e.AnyEvent]:
        """The ends of all that is open, for one whose run ends here: children before their parents."""
        found: list[e.AnyEvent] = []
        for part in reversed(list(self._from_above())):
            if (live := part.answer) is not None:
                found += closed(part, live)
            if part.step is not None:
                found.append(e.StepFinished(step_name=part.step, subagent_run_id=part.tag))
            if part.tag is not None:
                waits = [str(one) for one in part.asks] or None
                found.append(e.SubagentFinished(subagent_run_id=part.tag, outcome=e.SubagentSuspended(interrupt_ids=waits)))
        return found

    def interrupts(self) -> list[e.Interrupt]:
        """What waits for a person, in the whole tree."""
        return [
            interrupt_of(
                opened,
                call=None if opened.call is None else part.wire(opened.call),
                subagent=part.tag,
            )
            for part in self._from_above()
            for opened in part.asks.values()
        ]

    def resting(self) -> Ended | None:
        """How a run ends for whoever follows, since nothing goes on before somebody answers; None while something does."""
        if self.root.run is None:
            # What works in the background goes on without one, and its end begins one.
            below = [one for one in self.parts.values() if one.above == self.root.session]
            if not all(self._rests(one) for one in below):
                return None
            asks = self.interrupts()
            return Ended(e.Interrupted(interrupts=asks) if asks else e.Success())
        if not self._rests(self.root):
            return None
        if asks := self.interrupts():
            return Ended(e.Interrupted(interrupts=asks))
        calls = [self.root.wire(one.call) for one in self.root.front.values() if one.call is not None]
        return Ended(e.Success(pending_tool_call_ids=calls)) if calls else None

    def _rests(self, part: Part) -> bool:
        if part.run is None or not part.parked:
            return False
        if not part.by_children:
            return True
        below = [one for one in self.parts.values() if one.above == part.session and not one.background]
        return bool(below) and all(self._rests(one) for one in below)

    def _from_above(self) -> Iterator[Part]:
        """All parts, each behind the one it works for."""
        waiting = [self.root]
        while waiting:
            part = waiting.pop(0)
            yield part
            waiting += [one for one in self.parts.values() if one.above == part.session and one is not part]

    # --- usage --------------------------------------------------------------------------------------------------------

    def _count(self, model: str, usage: Usage) -> None:
        self.usage[model] = self.usage.get(model, Usage()) + usage

    def used(self) -> list[e.TokenUsage] | None:
        """What was used, for each model."""
        return [_usage(model, usage) for model, usage in self.usage.items()] or None


def shown(state: Any) -> Any:
    """A shared state as front ends have it: an empty object while there is none."""
    return {} if state is None else state


def _usage(model: str, usage: Usage) -> e.TokenUsage:
    provider, _, name = model.rpartition(":")
    return e.TokenUsage(
        provider=provider or None,
        model=name or None,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        reasoning_tokens=usage.thinking_tokens or None,
        cached_input_tokens=usage.cache_read_tokens or None,
        cache_write_input_tokens=usage.cache_write_tokens or None,
    )


__all__ = ["Projection", "shown"]
