"""Review: what becomes of a call before its effect.

In this order: its form, the hooks of `before_tool`, the permission rules, a person if they say so, the budget. The outcome
is data (`Review`); the tool step writes the events and begins the effect. Rules a change must keep: the arguments that are
approved are those that are run, whoever has changed them, and they are read from the log when the process that asked is
gone; a rule that denies holds for what a hook or a person has changed as well; a review may be made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..contracts import Tool
from ..core.budget import ALLOWED
from ..core.errors import InvalidToolArguments
from ..core.events import ActionOpened, AgentMessage, Event, EventData, HookBlocked, ToolStarted
from ..core.hooks import INTERRUPTED, HookPoint, HookResult
from ..core.ids import ActionId, CallId
from ..core.messages import ResultBlock, ToolCall, ToolStatus
from ..core.questions import Resumption
from ..core.rules import ApprovalPolicy
from ..core.state import Call
from ..core.tool_search import TOOL_SEARCH
from .budget import refusal
from .delegation import Delegates, delegated, results
from .driver import Driver
from .lanes import lane_of
from .permissions import Judgement
from .questions import INSTEAD, NOBODY, can_ask, next_action, resumption
from .results import said
from .returns import received
from .skill_limits import refused_by_skill

EXCLUSIVE = "*"
NOT_FOUND_YET = (
    "Not carried out: what {!r} takes was not known to you, since it had not been found with `tool_search`. From your next"
    " step on it stands in your list of tools: look at its parameters and call it again if it is what you want."
)


@dataclass
class Ready:
    """It may run: its tool, its final arguments, what it must not overlap with, and what to tell the model beside.

    `asks`: what its effect has the run ask once it has ended. `opens`: it was handed to workers, and waits with this.
    `resumed`: it had asked, and goes on with this."""

    call: Call
    tool: Tool
    arguments: dict[str, Any]
    edited: bool
    locks: frozenset[str]
    changed_by: str | None = None
    notes: tuple[str, ...] = ()
    events: tuple[EventData, ...] = ()
    asks: list[EventData] = field(default_factory=list)
    opens: ActionOpened | None = None
    resumed: Resumption | None = None

    def clashes(self, other: Ready) -> bool:
        return EXCLUSIVE in self.locks or EXCLUSIVE in other.locks or bool(self.locks & other.locks)


@dataclass
class Refused:
    """It gets this result without having run. `reason`: why its action, if one is open, is closed."""

    status: ToolStatus
    text: str
    reason: Literal["answered", "skipped", "interrupted", "cancelled"] = "answered"
    events: tuple[EventData, ...] = ()


@dataclass
class Answered:
    """Its result came from outside."""

    status: ToolStatus
    content: tuple[ResultBlock, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    events: tuple[EventData, ...] = ()


@dataclass
class Asks:
    """Somebody outside has to say something first: this is what is opened for it."""

    opened: ActionOpened
    events: tuple[EventData, ...] = ()


@dataclass
class Waits:
    """It goes on waiting; `events` say for what."""

    events: tuple[EventData, ...] = ()


Review = Ready | Refused | Answered | Asks | Waits | Delegates

Key = tuple[CallId, str, ActionId | None, bool, str | None, int, bool]


def key_of(call: Call, *, hurried: bool) -> Key:
    """What a review depends on: with another key it is made again. `hurried`: it goes on without answers, if it asks."""
    hurried = hurried and call.phase == "asking"
    return call.id, call.phase, call.action, call.answer is not None, call.tasks, call.rounds, hurried


@dataclass
class Reviewer:
    """Reviews the calls of one open turn, each once for each thing that has become of it."""

    driver: Driver
    requests: dict[CallId, ToolCall]
    made: dict[Key, Review] = field(default_factory=dict)
    outside: list[tuple[Ready, ActionId]] = field(default_factory=list)

    @classmethod
    async def open(cls, driver: Driver) -> Reviewer:
        """The turn's calls as the model asked for them: from what is staged or from the stored message."""
        turn = driver.state.turn
        assert turn is not None
        assert turn.message_seq is not None
        message = driver.log.staged(AgentMessage)
        if message is None:
            events = await driver.parts.store.read(driver.session, turn.message_seq - 1, limit=1)
            message = events[0].data if isinstance(events[0].data, AgentMessage) else None
        assert message is not None
        return cls(driver, {c.id: c for c in message.message.calls})

    def known(self, call: Call) -> Review | None:
        return self.made.get(key_of(call, hurried=self.hurried))

    @property
    def hurried(self) -> bool:
        """A person has something to say that does not wait for what calls ask."""
        return any(q.delivery == "steer" and q.mode == "skip" for q in self.driver.state.gate.queue)

    async def look_at(self, calls: list[Call]) -> None:
        """Review these calls, in their order, unless that is done; returns early when the driver's token falls.

        Hooks and guards may take their time, so nothing may be staged when this is called.
        """
        driver = self.driver
        ahead = sum(isinstance(r, Ready) for r in (self.known(c) for c in calls))
        for call in calls:
            if self.known(call) is not None:
                continue
            review = await self._review(call, ahead)
            if driver.token.cancelled or review is None:
                return
            self.made[key_of(call, hurried=self.hurried)] = review
            ahead += isinstance(review, Ready)

    async def _review(self, call: Call, ahead: int) -> Review | None:
        driver, request = self.driver, self.requests[call.id]
        tool = driver.tool(call.name)
        away = driver.servers.why_not(call.name, driver.spec)
        if call.phase == "asking" and tool is None and (spare := driver.spare_tool(call.name)) is not None:
            tool, away = spare, None
        if call.phase == "started" and (tool is None or away is not None or not tool.traits.repeatable):
            return Refused(
                "unknown",
                "The process died while this call was under way. Its outcome is unknown: it may or may not have taken"
                " effect. Check before doing it again.",
            )
        if (
            call.phase == "asking"
            and tool is not None
            and (away is None or (call.action is not None and call.answer is None))
        ):
            return await self._asking(call, tool, request)
        if request.malformed is not None:
            return Refused("invalid", f"The arguments are not a JSON object: {request.malformed[:500]}")
        if away is not None and (call.answer is None or call.answer.decision != "deny" or tool is None):
            waits = call.action is not None and call.answer is None
            if not waits and call.phase == "asking":
                # It was begun, and is not gone on with.
                text = f"{away[0].upper()}{away[1:]}. The call had asked something and cannot go on: its outcome is unknown."
                return Refused("unknown", text)
            return Waits() if waits else Refused("error", f"{away[0].upper()}{away[1:]}")
        if tool is None:
            return await self._without_tool(call, request, ahead)
        if call.phase == "started":
            # It had passed all of this when it started; it runs again with the arguments it had.
            started = await self._logged(call)
            arguments = request.arguments if started is None else started.arguments
            ready = self._ready(call, tool, arguments, isinstance(started, ToolStarted) and started.edited)
            if call.rounds and isinstance(ready, Ready):
                ready.resumed = await resumption(driver, call, otherwise=NOBODY)
            return ready
        if call.tasks == "done":
            return Answered(*await results(driver, call))
        if call.answer is not None:
            return await self._answered(call, tool, request, ahead)
        if call.action is not None:
            await self._handed_out(call, call.action, tool)
            return Waits()
        return await self._requested(call, tool, request, ahead)

    async def _asking(self, call: Call, tool: Tool, request: ToolCall) -> Review:
        """A call that was begun, and has stopped to ask: its next question, or with what it goes on."""
        driver = self.driver
        open_now = call.action is not None and call.answer is None
        asks = can_ask(driver) and not self.hurried
        if asks and open_now:
            return Waits()
        if asks and call.left:
            return Asks(await next_action(driver, call))
        started = await self._started(call)
        arguments = request.arguments if started is None else started.arguments
        ready = self._ready(call, tool, arguments, started is not None and started.edited)
        if isinstance(ready, Ready):
            ready.resumed = await resumption(driver, call, otherwise=INSTEAD if self.hurried else NOBODY)
        return ready

    def pending_outside(self) -> list[Ready]:
        """The calls that workers have been given and have not answered."""
        waiting = {a.id for a in self.driver.state.gate.actions if not a.answered}
        return [ready for ready, action in self.outside if action in waiting]

    async def _handed_out(self, call: Call, action: ActionId, tool: Tool) -> None:
        """Know it as one that is done outside, if another driver has handed it out."""
        if any(known == action for _, known in self.outside):
            return
        opened = await self._logged(call)
        if isinstance(opened, ActionOpened) and opened.lane is not None:
            ready = self._ready(call, tool, opened.arguments, False)
            if isinstance(ready, Ready):
                self.outside.append((ready, action))

    async def _requested(self, call: Call, tool: Tool, request: ToolCall, ahead: int) -> Review | None:
        """A call nobody has looked at yet."""
        driver, limits = self.driver, self.driver.spec.limits
        if driver.has_to_look_for(call.name):
            # Whatever the arguments are, they were made up. That it was called is as good as finding it.
            return Refused("error", NOT_FOUND_YET.format(call.name))
        problem = checked(tool, request.arguments)
        if problem is not None:
            return problem
        if call.repeat > limits.max_repeated_calls:
            text = f"Blocked: this is call {call.repeat} in a row with the same arguments. Do something else."
            return Refused("denied", text)
        hooked = await self._hooks(call, tool, request.arguments)
        if hooked is INTERRUPTED:
            return None
        refused = self._refused_by_hook(call, hooked)
        if refused is not None:
            return refused
        arguments, changed_by = request.arguments, None
        if hooked.modified is not None and hooked.modified != request.arguments:
            arguments, changed_by = hooked.modified, hooked.hook or "a hook"
            problem = checked(tool, arguments)
            if problem is not None:
                return Refused("error", f"{changed_by} has changed the arguments into some that do not fit: {problem.text}")
        judgement = driver.judge(tool, arguments)
        if judgement.verdict == "ask":
            # Somebody may have answered this for good meanwhile, in another session.
            await driver.log.commit()
            await driver.load_rules()
            judgement = driver.judge(tool, arguments)
        if judgement.verdict == "deny":
            return Refused("denied", judgement.told)
        if (limited := await refused_by_skill(driver, tool, arguments)) is not None:
            return Refused("denied", limited)
        policy = driver.state.approvals or driver.spec.approvals
        spared = hooked.action == "allow" or lane_of(tool) in policy.auto
        asks = judgement.verdict == "ask" and (judgement.doubted or not spared)
        if hooked.action == "escalate":
            asks = True
        if asks:

            def payload() -> dict[str, Any]:
                return {"tool": call.name, "call": call.id, "arguments": arguments, "reason": judgement.reason}

            asked = await driver.ask_hooks("before_approval", payload)
            if asked is INTERRUPTED:
                return None
            refused = self._refused_by_hook(call, asked, "before_approval")
            if refused is not None:
                return refused
            asks = judgement.doubted or asked.action != "allow"
        if asks or tool.traits.external:
            unattended = driver.state.run is not None and driver.state.run.unattended
            if asks and (unattended or policy.on_ask == "deny"):
                nobody = "This call needs an approval, and nobody can be asked in this run."
                return Refused("denied", f"{nobody} {judgement.told}".rstrip())
            return self._ask(call, tool, arguments, asks=asks, hooked=hooked, policy=policy, judgement=judgement)
        return await self._begun(call, tool, arguments, ahead, changed_by=changed_by, notes=_notes(hooked))

    async def _without_tool(self, call: Call, request: ToolCall, ahead: int) -> Review | None:
        """A call of a tool that the session does not have: refused, unless it was given to a client, whose answer counts
        although the tool was taken away meanwhile."""
        opened = None if call.action is None else await self._logged(call)
        if isinstance(opened, ActionOpened) and opened.kind == "external" and opened.lane is None:
            return Waits() if call.answer is None else await self._answered(call, None, request, ahead)
        names = ", ".join(sorted(t.definition.name for t in self.driver.told_tools()))
        more = f" `{TOOL_SEARCH}` finds others." if self.driver.deferral.active else ""
        return Refused("error", f"There is no tool named {call.name!r}. Tools: {names}.{more}")

    async def _answered(self, call: Call, tool: Tool | None, request: ToolCall, ahead: int) -> Review | None:
        """A call that was asked about, and the answer is here. `tool`: None where a client was given the call and the
        session has its tool no more."""
        answer = call.answer
        assert answer is not None
        if answer.decision != "result":

            def payload() -> dict[str, Any]:
                decided = {"decision": answer.decision, "reason": answer.reason, "sender": answer.sender}
                return {"tool": call.name, "call": call.id, "arguments": answer.arguments, **decided}

            if await self.driver.ask_hooks("after_approval", payload) is INTERRUPTED:
                return None
        if answer.decision == "deny":
            return Refused("denied", f"The user denied this call{f': {answer.reason}' if answer.reason else '.'}")
        opened = await self._logged(call)
        if answer.decision == "result":
            if isinstance(opened, ActionOpened) and opened.lane is not None:
                return Answered(*await received(self.driver, opened, answer))
            return Answered("error" if answer.is_error else "ok", answer.content, answer.metadata)
        assert tool is not None, "only an approval is answered otherwise"
        shown = request.arguments if opened is None else opened.arguments
        arguments = shown if answer.arguments is None else answer.arguments
        edited = arguments != shown
        notes: tuple[str, ...] = ()
        if edited:
            problem = checked(tool, arguments)
            if problem is not None:
                # The person's own edit does not fit: it counts as a denial that says why, not as the model's mistake.
                return Refused("denied", f"The edited arguments do not fit the tool: {problem.text}")
            hooked = await self._hooks(call, tool, arguments)
            if hooked is INTERRUPTED:
                return None
            refused = self._refused_by_hook(call, hooked)
            if refused is not None:
                return refused
            notes = _notes(hooked)
            if hooked.modified is not None and hooked.modified != arguments:
                return Refused("denied", "A hook wanted to change the arguments that a person had edited.")
        judgement = self.driver.judge(tool, arguments)
        if judgement.verdict == "deny":
            return Refused("denied", judgement.told)
        if (limited := await refused_by_skill(self.driver, tool, arguments)) is not None:
            return Refused("denied", limited)
        if tool.traits.external:
            # Approved; now its result has to come from outside.
            opened_for = ActionOpened(ActionId(self.driver.ids.new("act")), "external", call.id, call.name, arguments)
            return Asks(opened_for)
        changed = None if edited or shown == request.arguments else "a hook"
        return await self._begun(call, tool, arguments, ahead, edited=edited, changed_by=changed, notes=notes)

    async def _begun(
        self,
        call: Call,
        tool: Tool,
        arguments: dict[str, Any],
        ahead: int,
        *,
        edited: bool = False,
        changed_by: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> Review:
        """Nobody objects: it may begin, if it can be paid for, here or with children."""
        review = await self._paid(self._ready(call, tool, arguments, edited, changed_by, notes), ahead)
        if not (isinstance(review, Ready) and tool.traits.delegates):
            return review
        given = await delegated(self.driver, call, tool, arguments, edited=edited)
        if isinstance(given, str):
            return Refused("error", given, events=review.events)
        given.before = review.events
        return given

    def _ready(
        self,
        call: Call,
        tool: Tool,
        arguments: dict[str, Any],
        edited: bool,
        changed_by: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> Ready | Refused:
        try:
            exclusive = tool.traits.exclusive
            locks = frozenset((EXCLUSIVE,)) if exclusive else tool.locks(arguments, self.driver.workspace)
        except Exception as error:
            return Refused("error", said(error))
        return Ready(call, tool, arguments, edited, locks, changed_by, notes)

    async def _paid(self, ready: Ready | Refused, ahead: int) -> Review:
        """The same, if it can be paid for."""
        if isinstance(ready, Refused):
            return ready
        budget = self.driver.budget
        decision = await budget.before_tool(ready.call.name, ahead=ahead)
        if decision is ALLOWED:
            return ready
        events = tuple(budget.recorded(decision))
        match decision.verdict:
            case "allow" | "warn":
                ready.events = events
                return ready
            case "ask":
                return Waits(events)
            case "deny":
                return Refused("denied", refusal(decision), events=events)

    def _ask(
        self,
        call: Call,
        tool: Tool,
        arguments: dict[str, Any],
        *,
        asks: bool,
        hooked: HookResult,
        policy: ApprovalPolicy,
        judgement: Judgement,
    ) -> Asks:
        driver = self.driver
        action = ActionId(driver.ids.new("act"))
        if not asks:
            return Asks(ActionOpened(action, "external", call.id, call.name, arguments))
        message = hooked.reason if hooked.action == "escalate" else judgement.told or None
        expires_ms = None if policy.timeout_s is None else driver.clock.now_ms() + round(policy.timeout_s * 1000)
        rules = () if hooked.action == "escalate" else driver.suggest(tool, arguments)
        opened = ActionOpened(
            action,
            "approval",
            call.id,
            call.name,
            arguments,
            message,
            rules=rules,
            expires_ms=expires_ms,
            on_timeout=policy.on_timeout,
        )
        return Asks(opened)

    async def _hooks(self, call: Call, tool: Tool, arguments: dict[str, Any]) -> HookResult:
        def payload() -> dict[str, Any]:
            told = {"tool": call.name, "call": call.id, "arguments": arguments}
            return {**told, "read_only": tool.traits.read_only, "origin": "model"}

        return await self.driver.ask_hooks("before_tool", payload)

    def _refused_by_hook(self, call: Call, hooked: HookResult, point: HookPoint = "before_tool") -> Refused | None:
        if hooked.action == "block":
            reason = hooked.reason or "Blocked"
            blocked = HookBlocked(hooked.hook or "hook", point, reason, call=call.id, failed=hooked.failed)
            return Refused("denied", f"A hook blocked this call: {reason}", events=(blocked,))
        if hooked.action == "skip":
            return Refused("skipped", hooked.reason or "Left out by a hook.")
        return None

    async def _logged(self, call: Call) -> ActionOpened | ToolStarted | None:
        """The newest event that says with which arguments this call is shown or was started."""
        if call.phase == "started":
            return await self._started(call)
        for event in await self._of_turn("action.opened"):
            if isinstance(event.data, ActionOpened) and event.data.action == call.action:
                return event.data
        return None

    async def _started(self, call: Call) -> ToolStarted | None:
        """The newest event that says with which arguments it was begun."""
        for event in await self._of_turn("tool.started"):
            data = event.data
            if isinstance(data, ToolStarted) and data.call == call.id and data.origin == "model":
                return data
        return None

    async def _of_turn(self, wanted: str) -> list[Event]:
        """The turn's events of this type, newest first."""
        turn = self.driver.state.turn
        assert turn is not None
        assert turn.message_seq is not None
        store = self.driver.parts.store
        return await store.read(self.driver.session, turn.message_seq, types=(wanted,), newest_first=True)


def checked(tool: Tool, arguments: dict[str, Any]) -> Refused | None:
    """Why the tool cannot take these arguments."""
    try:
        tool.validate(arguments)
    except InvalidToolArguments as error:
        return Refused("invalid", error.message)
    except Exception as error:
        return Refused("error", f"The tool cannot check its arguments: {said(error)}")
    return None


def _notes(hooked: HookResult) -> tuple[str, ...]:
    return (hooked.note,) if hooked.note else ()
