"""ProjectedTurn: one model request, its answer and what becomes of its calls, as events of this protocol.

Order within a turn is theirs and not ours: a call is shown when it is known whether it may run, which our log says only
after the answer. The verdicts of a turn's calls are stored in one append; those that it does not name have been let pass
and wait for room. So they are shown when something else follows, or when nothing more is stored, and in both cases stand at
the place of the last verdict (`judged`). An answer's span ends behind its calls, and results that come sooner are held until
then.

Rule: each span has one end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...core.events import ActionOpened, ToolFinished
from ...core.ids import CallId, Seq
from ...core.mcp import server_and_tool
from ...core.messages import Assistant, Text, Thinking, ToolCall, Usage
from .content import written
from .event_fields import BUILT_IN, usage_of
from .event_ids import MESSAGE, SPAN_END, SPAN_START, THINKING, call_index, event_id
from .projected import Body, Place, Sink

Verdict = Literal["allow", "ask", "deny"]


@dataclass
class ShownCall:
    """One call of the turn. `judged`: it was shown, under the id `shown`; `custom`: as one of a client's own tools;
    `external`: a client is to answer it, and `answered`: has."""

    number: int
    request: ToolCall
    shown: str | None = None
    custom: bool = False
    external: bool = False
    answered: bool = False
    judged: bool = False


class ProjectedTurn:
    """`request`: where its model request began; None while there is none."""

    def __init__(self, sink: Sink, request: Seq | None = None) -> None:
        self._sink = sink
        self._request = request
        self._span: Seq | None = None
        self._calls: dict[CallId, ShownCall] = {}
        self._usage = Usage()
        self._failed = False
        self._named = False
        self._judged: tuple[Place, int] | None = None
        self._held: list[tuple[str, int, str, Body]] = []

    @property
    def asking(self) -> Seq | None:
        """Where the model request began that is under way."""
        return self._request if self._span is not None else None

    def call(self, call: CallId | None) -> ShownCall | None:
        return None if call is None else self._calls.get(call)

    # --- the request and its answer -----------------------------------------------------------------------------------

    def begin_span(self) -> None:
        self._span = self._sink.seq
        self._sink.show("span.model_request_start", {}, id=event_id(self._sink.session, self._sink.seq, SPAN_START))

    def end_span(self, *, cut: bool = False) -> None:
        """The model request is over; `cut`: if it is without an answer, it gets none any more."""
        if self._span is None or (cut and self._calls):
            return
        session = self._sink.session
        body: Body = {"model_request_start_id": event_id(session, self._span, SPAN_START)}
        body.update(is_error=cut or self._failed, model_usage=usage_of(self._usage))
        self._sink.show("span.model_request_end", body, id=event_id(session, self._span, SPAN_END))
        self._span = self._judged = None
        for id_, at_ms, type_, fields in self._held:
            self._sink.show(type_, fields, id=id_, at_ms=at_ms)
        self._held = []

    def answered(self, message: Assistant) -> None:
        """The answer, but for its calls: these are shown when it is known what becomes of them."""
        if self._span is None:
            # Its request was given up for lost, and answers all the same.
            self._sink.run()
            self.begin_span()
        if any(isinstance(b, Thinking) for b in message.content):
            self._sink.show("agent.thinking", {}, id=self._id(THINKING))
        texts = [{"type": "text", "text": b.text} for b in message.content if isinstance(b, Text) and b.text]
        if texts:
            self._sink.show("agent.message", {"content": texts}, id=self._id(MESSAGE))
        self._calls = {c.id: ShownCall(number, c) for number, c in enumerate(message.calls)}
        self._failed, self._usage = message.stop == "error", message.usage
        if not self._calls:
            self.end_span()

    def _id(self, index: int) -> str:
        assert self._request is not None
        return event_id(self._sink.session, self._request, index)

    # --- verdicts -----------------------------------------------------------------------------------------------------

    def judge(self, call: ShownCall, verdict: Verdict, *, external: bool = False) -> None:
        """It is known what becomes of this call, and so of those before it."""
        calls = self._calls.values()
        for other in calls:
            if other.number < call.number and not other.judged:
                self._show_call(other, "allow")
        if not call.judged:
            self._show_call(call, verdict, external=external)
        self._named = True
        if all(c.judged for c in calls):
            self.end_span()

    def note_verdicts(self) -> None:
        """An event has been folded: when it named verdicts, what these do not name stands behind it."""
        if self._named and self._span is not None:
            self._judged = self._sink.place, self._sink.at_ms
        self._named = False

    @property
    def awaits_verdicts(self) -> bool:
        """Some calls were named, and others may be by what comes next."""
        return self._judged is not None

    def show_rest(self) -> None:
        """The calls that were not named have been let pass."""
        self._judged = None
        if self._span is not None and self._calls:
            for call in self._calls.values():
                if not call.judged:
                    self._show_call(call, "allow")
            self.end_span()

    def show_rest_behind(self) -> None:
        """The same, at the place of the last verdict; nothing happens when there is none."""
        if self._judged is not None:
            with self._sink.behind(*self._judged):
                self.show_rest()

    def _show_call(self, call: ShownCall, verdict: Verdict, *, external: bool = False) -> None:
        """As the client's own when it is to answer it; what was refused is shown as refused, whoever would have run it, so
        that no client begins it."""
        call.judged = True
        request = call.request
        call.custom = external and request.name not in BUILT_IN
        call.external = external
        call.shown = self._id(call_index(call.number))
        body: Body = {"name": request.name, "input": request.arguments}
        if call.custom:
            self._sink.show("agent.custom_tool_use", body, id=call.shown)
            return
        body["evaluated_permission"] = verdict
        if verdict != "deny":
            body["evaluation"] = {"type": "always_allow" if verdict == "allow" else "always_ask"}
        if (of := server_and_tool(request.name)) is not None:
            server, name = of
            self._sink.show("agent.mcp_tool_use", {**body, "mcp_server_name": server, "name": name}, id=call.shown)
        else:
            self._sink.show("agent.tool_use", body, id=call.shown)

    # --- what is asked about a call, and what it came to --------------------------------------------------------------

    def asked(self, call: ShownCall, data: ActionOpened) -> None:
        """Somebody is asked whether it may run, or for its result."""
        if data.kind == "approval":
            self._sink.run()
            self.judge(call, "ask")
        elif not call.judged:
            self._sink.run()
            self.judge(call, "allow", external=True)
        elif not call.custom and call.request.name not in BUILT_IN:
            # Asked about first and allowed: now it is the client's.
            self._sink.run()
            call.custom = call.external = True
            call.shown = self._id(call_index(call.number, handed_out=True))
            self._sink.show("agent.custom_tool_use", {"name": data.name, "input": data.arguments}, id=call.shown)
        else:
            call.external = True

    def finished(self, data: ToolFinished) -> None:
        call = self._calls.get(data.call)
        if call is None:
            return
        if not call.judged:
            self._sink.run()
            self.judge(call, "deny")
        if call.answered:
            return
        body: Body = {"content": written(data.content), "is_error": data.status != "ok"}
        if call.external:
            # It was the client's, and nobody answers it any more: its result says so, or a client would begin it again.
            self.client_answered(call, body)
            return
        self._sink.run()
        kind = "agent.mcp_tool_result" if server_and_tool(call.request.name) else "agent.tool_result"
        named = {"mcp_tool_use_id" if kind == "agent.mcp_tool_result" else "tool_use_id": call.shown, **body}
        if self._span is None:
            self._sink.show(kind, named)
        else:
            self._held.append((self._sink.new_id(), self._sink.at_ms, kind, named))

    def client_answered(self, call: ShownCall, body: Body) -> None:
        """A client's result of a call that was its own."""
        call.answered = True
        if call.custom:
            self._sink.show("user.custom_tool_result", {"custom_tool_use_id": call.shown, **body})
        else:
            self._sink.show("user.tool_result", {"tool_use_id": call.shown, **body})
