"""Projection: a session's log as the frames of a stream and the items of its turns.

A fold, and pure: it reads nothing and asks no clock, so whoever folds the same events gets the same frames and ids, in a
list as in a stream, in this process as in the next. It begins at the beginning of a log or between two runs, from `Facts`
and the messages that wait there. What is on its way and not yet stored is `live.py`'s.

Rules a change must keep: an event's frames and their order follow from the log alone; a call is announced when it is begun,
asked about or over, and a function's not before its result can be taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, assert_never

import msgspec

from ...core.agent import AgentRef
from ...core.errors import Fault
from ...core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    Event,
    InputDelivered,
    InputWithdrawn,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunParked,
    RunStarted,
    RunUnparked,
    SessionArchived,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionOpened,
    ToolFinished,
    ToolStarted,
    UsageRecorded,
    UserAnswer,
    UserMessage,
)
from ...core.ids import ActionId, CallId, InputId, MessageId, RunId, SessionId
from ...core.mcp import server_and_tool
from ...core.messages import Assistant, Text, Thinking, ToolCall, Usage, UserBlock
from ...core.nudges import NUDGE
from ..server.questions import QUESTION, is_form, told
from . import items
from .frames import Frame, ItemFrames
from .ids import Place, call_id, environment_id, event_id, item_id
from .items import Call, ItemStatus, Result
from .views import Facts, SessionStatus, ShownAgent, Turn, TurnStatus, session_body, turn_body, turn_error, usage_body

PROJECTED = (
    "session.created",
    "session.forked",
    "session.opened",
    "session.configured",
    "session.archived",
    "user.message",
    "user.answer",
    "input.delivered",
    "input.withdrawn",
    "run.started",
    "run.claimed",
    "run.parked",
    "run.unparked",
    "run.finished",
    "model.started",
    "agent.message",
    "tool.started",
    "tool.finished",
    "action.opened",
    "action.closed",
    "usage.recorded",
)
"""The event types the fold looks at; a reader may leave out all others."""


class Asked(msgspec.Struct, frozen=True):
    """The model that is being asked: its answer's id, and the seq of the event that began it."""

    message: MessageId
    seq: int


class OpenCall(msgspec.Struct):
    """A call of the answer that is worked on."""

    call: Call
    place: Place
    announced: bool = False


class Projection:
    """`agents`: how each agent of the session is shown; whoever feeds events puts in those that an event names first.

    `facts` and `waiting`: where it begins between two runs, and the messages that wait there; else at the first event.
    """

    def __init__(
        self,
        session: SessionId,
        agents: Mapping[AgentRef, ShownAgent],
        facts: Facts | None = None,
        waiting: Mapping[InputId, tuple[UserBlock, ...]] | None = None,
    ) -> None:
        self.session = session
        self.facts = facts
        self.turn: Turn | None = None
        self.items: dict[Place, dict[str, Any]] = {}
        """Those of the newest turn, in the order of their places once sorted."""
        self.asked: Asked | None = None
        self.calls: dict[CallId, OpenCall] = {}
        self.actions: dict[ActionId, dict[str, Any]] = {}
        """What the open turn waits for, by our action."""
        self.results: dict[str, ActionId] = {}
        """The actions of the newest turn that asked for a function's result, answered or not, by the call's id."""
        self.forms: dict[ActionId, OpenCall] = {}
        """The functions that forms of calls are shown as, while they wait."""
        self._agents = agents
        self._waiting = dict(waiting or {})
        # What no client has said: a model was told to go on.
        self._unsaid: set[InputId] = set()

    # --- how it stands -------------------------------------------------------------------------------------------

    @property
    def seq(self) -> int:
        return 0 if self.facts is None else self.facts.seq

    @property
    def status(self) -> SessionStatus:
        if self.facts is not None and self.facts.archived:
            return "failed"
        if self.turn is None or self.turn.completed_ms is not None:
            return "idle"
        return "requires_action" if self.turn.status == "waiting" else "in_progress"

    def session_body(self) -> dict[str, Any]:
        """The session as it stands."""
        facts = self._facts
        return session_body(self.session, facts, self._agents[facts.agent], self.status, list(self.actions.values()))

    def status_frame(self) -> Frame:
        """How the session stands, for one who begins to read here."""
        name = event_id(self.session, f"{self.seq}_status")
        return Frame({"type": f"agent.session.{self.status}", "event_id": name, "session": self.session_body()})

    # --- the fold ------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> list[Frame]:
        """Take one event in, in log order; what it comes to in the stream."""
        if self.facts is not None:
            self.facts = msgspec.structs.replace(self.facts, seq=event.seq, active_ms=event.at_ms)
        frames = self._frames(event)
        for number, frame in enumerate(frames):
            frame.data.setdefault("event_id", event_id(self.session, f"{event.seq}_{number}"))
        return frames

    def _frames(self, event: Event) -> list[Frame]:
        data, at = event.data, event.at_ms
        match data:
            case SessionCreated():
                hosted = data.workspace is not None
                self.facts = Facts(event.seq, at, at, data.agent, hosted, data.metadata, vaults=data.vaults)
                return [self._of_session("created"), *([self._environment("ready")] if hosted else [])]
            case SessionForked():
                hosted = data.workspace is not None
                ended = self._finished(RunFinished(RunId(""), "interrupted"), at) if self.status != "idle" else []
                self._waiting = {}
                self.facts = Facts(event.seq, at, at, data.agent, hosted, data.metadata)
                return [*ended, self._of_session("created"), *([self._environment("ready")] if hosted else [])]
            case SessionOpened():
                return [self._environment("connected")] if self._facts.hosted else []
            case SessionConfigured():
                agent, metadata = data.agent or self._facts.agent, data.metadata
                kept = self._facts.metadata if metadata is None else metadata
                budgets = self._facts.budgets if data.budgets is None else data.budgets
                self.facts = msgspec.structs.replace(self._facts, agent=agent, metadata=kept, budgets=budgets)
                return []
            case SessionArchived():
                self.facts = msgspec.structs.replace(self._facts, archived=True)
                return [self._of_session("failed")]
            case UserMessage(sender=sender) if sender == NUDGE:
                self._unsaid.add(data.id)
                return []
            case UserMessage():
                self._waiting[data.id] = data.content
                return []
            case InputWithdrawn():
                self._waiting.pop(data.id, None)
                return []
            case InputDelivered() if data.id in self._unsaid:
                self._unsaid.discard(data.id)
                return []
            case InputDelivered():
                said = self._waiting.pop(data.id, ())
                return self._delivered(event, data.content if data.content is not None else said)
            case RunStarted():
                return self._begun(data.run, at)
            case RunClaimed():
                return self._set_turn("in_progress", at)
            case RunParked(children=True):
                return []
            case RunParked():
                return [*self._set_turn("waiting", at), self._of_session("requires_action")]
            case RunUnparked():
                # The turn itself goes on when a driver has taken it.
                if self.turn is not None:
                    self.turn.status = "queued"
                return [self._of_session("in_progress")]
            case RunFinished():
                return self._finished(data, at)
            case ModelStarted():
                self.asked = Asked(data.message, event.seq)
                return []
            case AgentMessage():
                self._count(data.message.usage)
                return self._answered(data.message)
            case UsageRecorded():
                self._count(data.usage)
                return []
            case ToolStarted() if data.origin == "model":
                opened = self.calls.get(data.call)
                if opened is not None:
                    opened.call = msgspec.structs.replace(opened.call, arguments=data.arguments)
                return self._announce(data.call)
            case ToolFinished() if data.origin == "model":
                return self._over(event, data)
            case ActionOpened():
                nobody = data.kind == "task" or data.lane is not None
                return [] if nobody else self._asks(event, data)
            case UserAnswer():
                self.actions.pop(data.action, None)
                if data.action not in self.forms:
                    return []
                ok = data.decision == "result" and not data.is_error
                content = data.content or ((Text(data.reason or "declined"),))
                return self._filled_in(event, data.action, Result("ok" if ok else "error", content))
            case ActionClosed():
                self.actions.pop(data.action, None)
                if data.action not in self.forms:
                    return []
                # Nobody answers it any more, which its result says.
                said = (Text(f"[not answered: {data.reason}]"),)
                return self._filled_in(event, data.action, Result("skipped", said))
            case _:
                return []

    # --- turns ---------------------------------------------------------------------------------------------------

    def _begun(self, run: RunId, at_ms: int) -> list[Frame]:
        self.turn = Turn(run, self._agents[self._facts.agent].id, at_ms)
        self.items, self.calls, self.actions, self.results, self.forms, self.asked = {}, {}, {}, {}, {}, None
        return [self._of_turn("created"), self._of_session("in_progress")]

    def _set_turn(self, status: TurnStatus, at_ms: int) -> list[Frame]:
        turn = self.turn
        if turn is None or turn.status == status:
            return []
        turn.status = status
        if status != "in_progress":
            return []
        if turn.started_ms is None:
            turn.started_ms = at_ms
        return [self._of_turn("in_progress")]

    def _finished(self, data: RunFinished, at_ms: int) -> list[Frame]:
        turn = self.turn
        if turn is None:
            return []
        turn.completed_ms = at_ms
        self.actions.clear()
        failure: list[Frame] = []
        match data.outcome:
            case "done":
                turn.status = "completed"
            case "interrupted":
                turn.status = "cancelled"
            case "failed" | "limited":
                turn.status = "failed"
                turn.error = turn_error(data.error)
                failure = [self._failure(data.error, turn.error)]
            case _:
                assert_never(data.outcome)
        ended = self._of_turn(turn.status)
        ended.data["usage"] = usage_body(turn.usage)
        return [*failure, ended, self._of_session("idle")]

    def _failure(self, fault: Fault | None, error: dict[str, str]) -> Frame:
        kind = "invalid_request_error" if error["code"] == "invalid_request" else "server_error"
        said = {"type": kind, "code": error["code"], "message": error["message"], "param": None}
        return Frame({"type": "error", "session_id": self.session, "error": said})

    def _count(self, usage: Usage) -> None:
        self.facts = msgspec.structs.replace(self._facts, usage=self._facts.usage + usage)
        if self.turn is not None and self.turn.completed_ms is None:
            self.turn.usage = self.turn.usage + usage

    # --- items ---------------------------------------------------------------------------------------------------

    def _delivered(self, event: Event, content: tuple[UserBlock, ...]) -> list[Frame]:
        turn = self.turn
        if turn is None:
            return []
        place = Place(event.seq, 0)
        said = items.user_message(item_id(self.session, place), turn.id, content)
        return [self._added(place, said, None)]

    def _answered(self, message: Assistant) -> list[Frame]:
        turn, asked = self.turn, self.asked
        if turn is None or asked is None:
            return []
        frames: list[Frame] = []
        self.calls = {}
        final = message.complete and not message.calls and message.stop != "pause"
        status: ItemStatus = "completed" if message.complete else "incomplete"
        for index, block in enumerate(message.content):
            place, output = Place(asked.seq, index), turn.outputs + index
            item = item_id(self.session, place)
            match block:
                case Text() if block.text:
                    done = items.message(item, turn.id, block.text, status, "final_answer" if final else "commentary")
                    frames += self.frames.opening(place, "text", output)
                    frames.append(self.frames.delta(place, "text", output, 0, block.text, role="whole"))
                    frames += self.frames.text_done(place, output, block.text)
                    frames.append(self._done(place, done, output))
                case Thinking():
                    frames += self.frames.opening(place, "thinking", output)[: 2 if block.text else 1]
                    if block.text:
                        frames.append(self.frames.delta(place, "thinking", output, 0, block.text, role="whole"))
                        frames += self.frames.thinking_done(place, output, block.text, status)
                    frames.append(self._done(place, items.reasoning(item, turn.id, block.text, status), output))
                case ToolCall():
                    known = block.name in self._agents[self._facts.agent].external
                    arguments: Any = block.arguments if block.malformed is None else block.malformed
                    wire = call_id(self.session, place)
                    call = Call(item, wire, block.id, block.name, arguments, known, output)
                    self.calls[block.id] = OpenCall(call, place)
                case _:
                    pass  # what only a provider understands, and what a model draws, has no item
        turn.outputs += len(message.content)
        self.asked = None
        return frames

    def _announce(self, call: CallId) -> list[Frame]:
        opened = self.calls.get(call)
        if opened is None or opened.announced or self.turn is None:
            return []
        opened.announced = True
        item = items.call_item(opened.call, self.turn.id)
        return [self._added(opened.place, item, opened.call.output_index)]

    def _asks(self, event: Event, data: ActionOpened) -> list[Frame]:
        turn = self.turn
        if turn is None:
            return []
        if data.asking:
            return self._asks_apart(event, data, turn)
        opened = None if data.call is None else self.calls.get(data.call)
        if data.kind == "approval":
            name = data.name if data.call is not None else f"{data.name} (asked by the run)"
            server, tool = server_and_tool(name) or (items.SERVER, name)
            self.actions[data.action] = {
                "type": "mcp_approval_request",
                "request_id": data.action,
                "turn_id": turn.id,
                "request": {
                    "type": "mcp_tool_call",
                    "server_label": server,
                    "name": tool,
                    "arguments": data.arguments,
                    "message": data.message or f"Allow {name}?",
                },
            }
            # A function is announced when its result can be taken: clients run it as soon as they see it.
            return self._announce(opened.call.own) if opened is not None and not opened.call.external else []
        if opened is None:
            return []
        opened.call = msgspec.structs.replace(opened.call, external=True, arguments=data.arguments)
        self.results[opened.call.wire] = data.action
        self.actions[data.action] = {
            "type": "function_call",
            "call_id": opened.call.wire,
            "name": data.name,
            "arguments": data.arguments,
            "turn_id": turn.id,
        }
        return self._announce(opened.call.own)

    def _asks_apart(self, event: Event, data: ActionOpened, turn: Turn) -> list[Frame]:
        """A question of a call that has begun, which stands beside it: a form as a function, all else as an approval."""
        asked = told(data)
        if not is_form(data):
            server, tool = server_and_tool(data.name) or (items.SERVER, data.name)
            at = f" ({data.url})" if data.url is not None else ""
            self.actions[data.action] = {
                "type": "mcp_approval_request",
                "request_id": data.action,
                "turn_id": turn.id,
                "request": {
                    "type": "mcp_tool_call",
                    "server_label": server,
                    "name": QUESTION,
                    "arguments": asked,
                    "message": f"{tool} asks: {data.message or ''}{at}",
                },
            }
            return []
        place = Place(event.seq, 0)
        wire = call_id(self.session, place)
        call = Call(item_id(self.session, place), wire, CallId(""), QUESTION, asked, True, turn.outputs)
        turn.outputs += 1
        self.forms[data.action] = OpenCall(call, place, True)
        self.results[wire] = data.action
        self.actions[data.action] = {
            "type": "function_call",
            "call_id": wire,
            "name": QUESTION,
            "arguments": asked,
            "turn_id": turn.id,
        }
        return [self._added(place, items.call_item(call, turn.id), call.output_index)]

    def _filled_in(self, event: Event, action: ActionId, result: Result) -> list[Frame]:
        """The function that a form was shown as is over."""
        opened, turn = self.forms.pop(action), self.turn
        if turn is None:
            return []
        call = msgspec.structs.replace(opened.call, result=result)
        done = self._done(opened.place, items.call_item(call, turn.id), call.output_index)
        place = Place(event.seq, 0)
        output = items.function_output(item_id(self.session, place), call, turn.id)
        return [done, self._added(place, output, None)]

    def _over(self, event: Event, data: ToolFinished) -> list[Frame]:
        opened, turn = self.calls.get(data.call), self.turn
        if opened is None or turn is None or opened.call.result is not None:
            return []
        frames = self._announce(data.call)
        exit_code = data.metadata.get("exit_code")
        result = Result(data.status, data.content, exit_code if isinstance(exit_code, int) else None, data.duration_ms)
        call = opened.call = msgspec.structs.replace(opened.call, result=result)
        item = items.call_item(call, turn.id)
        if item["type"] == "command_execution" and item["output"]:
            frames.append(self.frames.delta(opened.place, "output", call.output_index, 0, item["output"], role="whole"))
        frames.append(self._done(opened.place, item, call.output_index))
        if call.external:
            place = Place(event.seq, 0)
            frames.append(self._added(place, items.function_output(item_id(self.session, place), call, turn.id), None))
        return frames

    # --- frames --------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> ItemFrames:
        """Makes those of the items of the newest turn."""
        return ItemFrames(self.session, self._open_turn.id)

    def _added(self, place: Place, item: dict[str, Any], output: int | None) -> Frame:
        self.items[place] = item
        return self.frames.added(place, item, output)

    def _done(self, place: Place, item: dict[str, Any], output: int) -> Frame:
        self.items[place] = item
        return self.frames.done(place, item, output)

    def _of_session(self, what: str) -> Frame:
        return Frame({"type": f"agent.session.{what}", "session": self.session_body()})

    def _of_turn(self, what: str) -> Frame:
        turn = self._open_turn
        body = turn_body(turn, self.session)
        return Frame({"type": f"agent.session.turn.{what}", "session_id": self.session, "turn_id": turn.id, "turn": body})

    def _environment(self, status: Literal["ready", "connected"]) -> Frame:
        state = {"id": environment_id(self.session), "type": "openai_hosted", "status": status, "error": None}
        return Frame(
            {
                "type": f"agent.session.environment.{status}",
                "session_id": self.session,
                "turn_id": None,
                "environment": state,
            }
        )

    @property
    def _open_turn(self) -> Turn:
        assert self.turn is not None, "frames of a turn come within one"
        return self.turn

    @property
    def _facts(self) -> Facts:
        assert self.facts is not None, "a log begins with session.created"
        return self.facts
