"""Whether a stream of events is one that AG-UI allows: the rules of version 1.0, as a state machine.

    new --RUN_STARTED--> running --RUN_FINISHED--> finished --RUN_STARTED--> running
     |                      |                          |
     +------RUN_ERROR-------+--------RUN_ERROR---------+--> failed --RUN_STARTED--> running

While a run is running its items come and go: text messages, tool calls, reasoning spans and reasoning messages (four spaces
of ids), steps (by name, for each owner), subagents. What clients of version 1.0 reject is refused here, and of what they let
through or pass over: an end for another run than the open one, interrupts of one id, empty ids, a null or an unknown member
where the protocol has none, an activity that is changed before it is there, an item of chunks that is ended from outside,
and a stream that breaks off.

`rule` of the error says which rule it was:

    first         a stream begins with RUN_STARTED, or with RUN_ERROR
    running       no run starts while another is running
    over          after its end a run says nothing more; one that finished may still fail
    open          nothing begins that is open already
    closed        only what is open goes on, or ends
    owner         what belongs to a subagent, or to the agent itself, is not gone on with by another
    left_open     a run does not finish before all that it began has ended
    run           a run finishes under its own ids
    subagent      a piece of work of a subagent begins once, and after its parent
    activity      an activity is there before it is changed
    chunk         chunks say what they belong to, and do not contradict each other
    built         what chunks build is not ended by another event; it ends by itself
    shape, null, id, patch, interrupts    one event in itself (`fields.py`)
    truncated     a stream ends with the end of a run
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Literal, cast

import msgspec

from ...core.errors import IllegalStream
from .chunks import Lines, expand, refused
from .events import (
    ActivityDelta,
    ActivitySnapshot,
    AnyEvent,
    Attributable,
    Event,
    Given,
    MessagesSnapshot,
    ReasoningEncryptedValue,
    ReasoningEnd,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    ReasoningStart,
    RunError,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    SubagentError,
    SubagentFinished,
    SubagentStarted,
    SubagentSuccess,
    SubagentSuspended,
    TextMessageContent,
    TextMessageEnd,
    TextMessageStart,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)
from .fields import check_fields, from_wire
from .open_items import Kind, Open, endings, key_of, named

Phase = Literal["new", "running", "finished", "failed"]

_ABSENT: Final = object()
_Space = Literal["message", "tool call", "reasoning", "activity"]
"""Within one of these an id has one owner; a reasoning span and the messages in it share theirs."""
_SPACES: Final[dict[Kind, _Space]] = {
    "reasoning message": "reasoning",
    "reasoning span": "reasoning",
    "text message": "message",
    "tool call": "tool call",
}
_SPACE_OF_ROLE: Final[dict[str, _Space]] = {"reasoning": "reasoning", "activity": "activity"}
_KIND_OF: Final[dict[type[Event], Kind]] = {
    TextMessageStart: "text message",
    ToolCallStart: "tool call",
    ReasoningMessageStart: "reasoning message",
}
_ENDED_BY: Final[dict[type[Event], tuple[Kind, str]]] = {
    TextMessageEnd: ("text message", "message_id"),
    ToolCallResult: ("text message", "message_id"),
    ToolCallEnd: ("tool call", "tool_call_id"),
    ReasoningMessageEnd: ("reasoning message", "message_id"),
}
_Tagged = Attributable | SubagentFinished | SubagentError


class _Run(msgspec.Struct):
    """What is known of one run. `owners`: whose what it named is, by kind and id; kept when it has ended."""

    thread_id: str | None = None
    run_id: str | None = None
    open: dict[tuple[Kind, str | None, str], Open] = {}
    owners: dict[tuple[_Space, str], str | None] = {}
    subagents: dict[str, str | None] = {}
    lines: Lines = {}


class Verifier:
    """Follows one stream. Nothing that it refuses changes it."""

    def __init__(self) -> None:
        self._phase: Phase = "new"
        self._run = _Run()
        self._activities: dict[str, None] = {}
        self._count = 0
        self._undo: list[Callable[[], None]] = []

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """A run has started and not ended."""
        return self._phase == "running"

    @property
    def finished(self) -> bool:
        """A run has ended, as a failure or otherwise, and no other has started since."""
        return self._phase in ("finished", "failed")

    @property
    def run_id(self) -> str | None:
        """The run that started last."""
        return self._run.run_id

    @property
    def thread_id(self) -> str | None:
        """The thread of the run that started last."""
        return self._run.thread_id

    @property
    def open(self) -> tuple[Open, ...]:
        """What has begun and not ended, in the order in which it began. As texts they are for people."""
        return tuple(sorted(self._run.open.values(), key=lambda item: item.nth)) if self.running else ()

    # --- events ------------------------------------------------------------------------------------------------------

    def check(self, event: AnyEvent) -> None:
        """Whether the event may come now. IllegalStream."""
        self._take(event)
        self._back()

    def apply(self, event: AnyEvent) -> None:
        """Takes the event in, if it may come now. IllegalStream."""
        self._take(event)
        self._undo.clear()

    def end(self) -> None:
        """Whether the stream may end now. IllegalStream."""
        if not self.finished:
            why = f"run {self.run_id!r} has not ended" if self.running else "it has no event"
            raise IllegalStream(f"the stream broke off: {why}", event=None, id=self.run_id, rule="truncated")

    def closing(
        self, owner: str | None = None, *, outcome: SubagentSuccess | SubagentSuspended | None = None
    ) -> list[AnyEvent]:
        """The events that end what is open, in an order that may be sent: all of it, or what a subagent and those below it
        have, and itself. `outcome`: of the subagents. What chunks are building ends by itself and is left out."""
        items = list(self.open)
        if owner is not None:
            theirs = {owner}
            for one, parent in self._run.subagents.items():  # a parent is always announced before
                if parent in theirs:
                    theirs.add(one)
            items = [item for item in items if (item.id if item.kind == "subagent" else item.owner) in theirs]
        building = {(_KIND_OF[type(line.start)], line.id) for line in self._run.lines.values()}
        return endings((self._as_owned(item) for item in items if (item.kind, item.id) not in building), outcome)

    def _as_owned(self, item: Open) -> Open:
        """With whose it is now: a snapshot of messages may say it anew."""
        space = _SPACES.get(item.kind)
        return item if space is None else msgspec.structs.replace(item, owner=self._owner(space, item.id))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _take(self, event: AnyEvent) -> None:
        try:
            check_fields(event)
            self._check_building(event)
            events, lines = expand(self._run.lines, event)
            for one in events:
                self._step(one)
            self._set(self._run, "lines", lines)
        except BaseException:
            self._back()
            raise

    def _back(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _set(self, holder: object, name: str, value: object) -> None:
        old = getattr(holder, name)
        self._undo.append(lambda: setattr(holder, name, old))
        setattr(holder, name, value)

    def _put(self, mapping: dict[Any, Any], key: object, value: object) -> None:
        old = mapping.get(key, _ABSENT)
        self._undo.append(lambda: mapping.pop(key) if old is _ABSENT else mapping.__setitem__(key, old))
        mapping[key] = value

    def _drop(self, mapping: dict[Any, Any], key: object) -> None:
        old = mapping.pop(key)
        self._undo.append(lambda: mapping.__setitem__(key, old))

    def _step(self, event: AnyEvent) -> None:
        """One event that is no chunk."""
        self._check_phase(event)
        match event:
            case RunStarted():
                self._start_run(event)
            case RunFinished():
                self._finish_run(event)
            case RunError():
                self._set(self, "_phase", "failed")
            case TextMessageStart(message_id=id):
                self._begin(event, "text message", id)
            case TextMessageContent(message_id=id):
                self._go_on(event, "text message", id)
            case TextMessageEnd(message_id=id):
                self._close(event, "text message", id)
            case ToolCallStart():
                self._begin_call(event)
            case ToolCallArgs(tool_call_id=id):
                self._go_on(event, "tool call", id)
            case ToolCallEnd(tool_call_id=id):
                self._close(event, "tool call", id)
            case ToolCallResult(message_id=id):
                self._put(self._run.owners, ("message", id), event.subagent_run_id)
            case ReasoningStart(message_id=id):
                self._begin(event, "reasoning span", id)
            case ReasoningEnd(message_id=id):
                self._close(event, "reasoning span", id)
            case ReasoningMessageStart(message_id=id):
                self._begin(event, "reasoning message", id)
            case ReasoningMessageContent(message_id=id):
                self._go_on(event, "reasoning message", id)
            case ReasoningMessageEnd(message_id=id):
                self._close(event, "reasoning message", id)
            case ReasoningEncryptedValue():
                self._encrypted(event)
            case StepStarted(step_name=name):
                self._begin(event, "step", name)
            case StepFinished(step_name=name):
                self._close(event, "step", name)
            case ActivitySnapshot() | ActivityDelta():
                self._activity(event)
            case MessagesSnapshot(messages=messages):
                self._seed(messages, over=True)
            case SubagentStarted():
                self._begin_subagent(event)
            case SubagentFinished(subagent_run_id=id) | SubagentError(subagent_run_id=id):
                self._close(event, "subagent", id)
            case _:
                pass  # state, RAW and CUSTOM may come anywhere

    def _check_phase(self, event: AnyEvent) -> None:
        match self._phase, event:
            case "running", RunStarted(run_id=name):
                raise refused(event, name, "running", f"run {self.run_id!r} is still running")
            case ("running", _) | (_, RunStarted()) | ("new" | "finished", RunError()):
                pass
            case "new", _:
                raise refused(event, None, "first", "a stream begins with RUN_STARTED")
            case phase, _:
                raise refused(event, self.run_id, "over", f"run {self.run_id!r} has {phase}")

    def _check_building(self, event: AnyEvent) -> None:
        """Clients end by themselves what chunks build; had somebody else ended it before, they could not end the run."""
        kind, name = _ENDED_BY.get(type(event), (None, ""))
        for line in self._run.lines.values():
            if _KIND_OF[type(line.start)] == kind and line.id == getattr(event, name):
                raise refused(event, line.id, "built", f"chunks build {kind} {line.id!r}, which ends by itself")

    def _start_run(self, event: RunStarted) -> None:
        self._set(self, "_run", _Run(event.thread_id, event.run_id))
        self._set(self, "_phase", "running")
        self._seed((event.input or {}).get("messages", ()), over=False)

    def _finish_run(self, event: RunFinished) -> None:
        if left := self.open:
            raise refused(event, left[0].id, "left_open", f"still open: {', '.join(map(str, left))}")
        if (event.thread_id, event.run_id) != (self.thread_id, self.run_id):
            ours, theirs = f"{self.run_id!r} of {self.thread_id!r}", f"{event.run_id!r} of {event.thread_id!r}"
            raise refused(event, event.run_id, "run", f"the open run is {ours}, and not {theirs}")
        self._set(self, "_phase", "finished")

    # --- items -------------------------------------------------------------------------------------------------------

    def _begin(self, event: _Tagged, kind: Kind, name: str) -> None:
        owner = event.subagent_run_id
        if (one := self._run.open.get(key_of(kind, owner, name))) is not None:
            raise refused(event, name, "open", f"{one} is open already")
        if (space := _SPACES.get(kind)) is not None:
            self._belongs(event, space, name)
            owner = self._own(space, name, owner)
        self._opened(kind, name, owner)

    def _begin_call(self, event: ToolCallStart) -> None:
        """A call belongs to whom the message that carries it belongs to."""
        name, tag = event.tool_call_id, event.subagent_run_id
        if ("tool call", None, name) in self._run.open:
            raise refused(event, name, "open", f"tool call {name!r} is open already")
        known = self._owner("tool call", name)
        carrier = known if event.parent_message_id is None else self._owner("message", event.parent_message_id)
        for owner, whose in ((carrier, f"the message {event.parent_message_id!r}"), (known, f"tool call {name!r}")):
            if owner is not _ABSENT and tag not in (None, owner):
                raise refused(event, name, "owner", f"{whose} belongs to {named(owner)}, and not to {named(tag)}")
        if _ABSENT not in (known, carrier) and known != carrier:
            why = f"it belongs to {named(known)}, and message {event.parent_message_id!r} to {named(carrier)}"
            raise refused(event, name, "owner", why)
        self._opened(
            "tool call", name, self._own("tool call", name, carrier if tag is None and carrier is not _ABSENT else tag)
        )

    def _begin_subagent(self, event: SubagentStarted) -> None:
        name, parent = event.subagent_run_id, event.parent_subagent_run_id
        if name in self._run.subagents:
            raise refused(
                event, name, "subagent", f"subagent {name!r} has begun already; each piece of work has an name of its own"
            )
        if parent is not None and parent not in self._run.subagents:
            raise refused(event, name, "subagent", f"its parent {parent!r} has not begun")
        self._put(self._run.subagents, name, parent)
        self._opened("subagent", name, parent)

    def _go_on(self, event: _Tagged, kind: Kind, name: str) -> None:
        owner = event.subagent_run_id
        if key_of(kind, owner, name) not in self._run.open:
            others = [str(item) for item in self._run.open.values() if (item.kind, item.id) == (kind, name)]
            hint = f": {others[0]} is" if others and kind == "step" else ""
            raise refused(event, name, "closed", f"{kind} {name!r} is not open{hint}")
        if (space := _SPACES.get(kind)) is not None:
            self._belongs(event, space, name)

    def _close(self, event: _Tagged, kind: Kind, name: str) -> None:
        self._go_on(event, kind, name)
        self._drop(self._run.open, key_of(kind, event.subagent_run_id, name))

    def _opened(self, kind: Kind, name: str, owner: str | None) -> None:
        self._put(self._run.open, key_of(kind, owner, name), Open(kind, name, owner, self._count))
        self._count += 1  # only ever grows: what a refused event used up is missed by nobody

    def _encrypted(self, event: ReasoningEncryptedValue) -> None:
        space: _Space = "tool call" if event.subtype == "tool-call" else "message"
        if space == "message" and self._owner(space, event.entity_id) is _ABSENT:
            space = "reasoning"
        self._belongs(event, space, event.entity_id)

    def _activity(self, event: ActivitySnapshot | ActivityDelta) -> None:
        name = event.message_id
        if isinstance(event, ActivitySnapshot):
            self._put(self._activities, name, None)
            if event.replace is not False or self._owner("activity", name) is _ABSENT:
                self._put(self._run.owners, ("activity", name), event.subagent_run_id)
            return
        if name not in self._activities:
            raise refused(event, name, "activity", f"there is no activity {name!r} to change: send ACTIVITY_SNAPSHOT first")
        self._belongs(event, "activity", name)

    # --- owners ------------------------------------------------------------------------------------------------------

    def _owner(self, space: _Space, name: str) -> Any:
        """Whose this is: a subagent, None for the agent itself, or _ABSENT where it is not known."""
        return self._run.owners.get((space, name), _ABSENT)

    def _own(self, space: _Space, name: str, owner: str | None) -> str | None:
        """Whose it is from now on: the first that had it."""
        if (known := self._owner(space, name)) is not _ABSENT:
            return cast("str | None", known)
        self._put(self._run.owners, (space, name), owner)
        return owner

    def _belongs(self, event: _Tagged, space: _Space, name: str) -> None:
        tag, owner = event.subagent_run_id, self._owner(space, name)
        if tag is not None and owner is not _ABSENT and owner != tag:
            raise refused(event, name, "owner", f"{name!r} belongs to {named(owner)}, and not to {named(tag)}")

    def _seed(self, messages: Iterable[Mapping[str, Any]], *, over: bool) -> None:
        """Takes in whose the messages are. `over`: also of those that are known."""
        for message in messages:
            owner = message.get("subagentRunId")
            space: _Space = _SPACE_OF_ROLE.get(message["role"], "message")
            keys: list[tuple[_Space, str]] = [(space, message["id"])]
            keys += [("tool call", call["id"]) for call in message.get("toolCalls", ())]
            for key in keys:
                if over or key not in self._run.owners:
                    self._put(self._run.owners, key, owner)
            if space == "activity":
                self._put(self._activities, message["id"], None)


# --- whole streams -------------------------------------------------------------------------------------------------------


def verify(events: Iterable[Given], *, complete: bool = True) -> None:
    """Whether AG-UI allows this stream: events of ours, JSON objects as on the wire, or models of the package
    `ag-ui-protocol`. `complete`: it is the whole stream, and not its beginning. IllegalStream."""
    verifier = Verifier()
    for given in events:
        verifier.apply(from_wire(given))
    if complete:
        verifier.end()


async def verified(events: AsyncIterable[Given], *, complete: bool = True) -> AsyncIterator[AnyEvent]:
    """The events of a stream, each as soon as it is known to be allowed. IllegalStream where one is not."""
    verifier = Verifier()
    async for given in events:
        event = from_wire(given)
        verifier.apply(event)
        yield event
    if complete:
        verifier.end()
