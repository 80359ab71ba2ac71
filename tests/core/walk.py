"""Legal histories of one session, drawn step by step, and strategies for events of any content.

A `Walk` keeps all that is folded from its log: the state, the gate by `admit` alone, the transcript. At each step it looks
at every event that could come up (`candidates`), legal or not, and takes one of those that `fold` admits. What to choose
comes in as numbers, so hypothesis can shrink a walk, and a seeded generator can make a long one.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st

from godwit.core.agent import AgentRef, Permissions
from godwit.core.budget import Budget
from godwit.core.checkpoint import CheckpointRef, LeftAlone
from godwit.core.errors import Conflict, Fault, NotFound
from godwit.core.events import (
    EVENT_TYPES,
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    Draft,
    EntryKept,
    Event,
    EventData,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
    KnownData,
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
from godwit.core.gate import Gate, admit
from godwit.core.goal import Goal
from godwit.core.ids import ActionId, AgentName, ArtifactRef, CallId, InputId, MessageId, RunId, SessionId, TaskId
from godwit.core.lanes import LaneHandler
from godwit.core.messages import Assistant, Message, ProviderBlock, Text, Thinking, ToolCall, ToolResult, Usage, User
from godwit.core.output import OutputSpec
from godwit.core.questions import Question
from godwit.core.rules import ApprovalPolicy
from godwit.core.shared_state import PatchOperation
from godwit.core.state import State, fold
from godwit.core.todos import Todo
from godwit.core.transcript import Transcript
from godwit.core.verification import Check, VerificationReport

SESSION = SessionId("s-1")
CREATED = SessionCreated(AgentRef(AgentName("coder"), 1), workspace="/w", environment={"A": "1"}, metadata={"k": "v"})
STATUSES = ("ok", "error", "denied", "skipped", "invalid", "unknown")

HISTORIES: tuple[tuple[Message, ...], ...] = (
    (),
    (User((Text("before"),)),),
    (
        User((Text("before"),)),
        Assistant(MessageId("old"), (ToolCall(CallId("c-old"), "bash"),)),
        ToolResult(CallId("c-old"), "bash", (Text("out"),)),
    ),
)


def event(seq: int, data: EventData, *, at_ms: int | None = None) -> Event:
    """A stored event as a reader gets it: from its bytes alone."""
    draft = Draft(data, at_ms=seq * 10 if at_ms is None else at_ms)
    return Event(SESSION, seq, draft.at_ms, draft.run, draft.type, draft.body)


def answers(message: MessageId, n: int) -> Iterator[Assistant]:
    """Answers of every kind a model gives. Call ids are told apart by `n`, except one that comes again in each answer."""
    one = ToolCall(CallId(f"c{n}"), "read", {"path": "a"})
    many = (ToolCall(CallId("again"), "bash", {"command": "ls"}), one, ToolCall(CallId(f"d{n}"), "x", {}, malformed="{"))
    usage = Usage(3, 2, requests=1, cost_usd=0.25)
    yield Assistant(message, (Text("done"),), "m", "end_turn", True, usage)
    yield Assistant(message, (Thinking("hm", "sig"), Text("I look"), *many), "m", "tool_use", True, usage)
    yield Assistant(message, (one,), "m", "tool_use", True, usage)
    yield Assistant(message, (), "m", "end_turn")
    yield Assistant(message, (Text("wait"),), "m", "pause")
    yield Assistant(message, (ProviderBlock("p", "search", {"q": 1}),), "m", "end_turn")
    yield Assistant(message, (Thinking("cut"), Text("half"), *many), "m", "interrupted", complete=False)
    yield Assistant(message, (Thinking("cut"), one), "m", "error", complete=False)
    yield Assistant(message, (one, one), "m", "tool_use")  # never legal: two calls of one message share an id


def candidates(state: State) -> Iterator[EventData]:
    """Every event that might come up now: those that fit the state, and their neighbours that do not."""
    n = state.seq
    gate, turn = state.gate, state.turn
    runs = [RunId("r-none"), *([gate.run] if gate.run else [])]
    inputs = [InputId("i-none"), *(q.id for q in gate.queue)]
    actions = [ActionId("a-none"), *(a.id for a in gate.actions)]
    calls = [(CallId("c-none"), "none"), *((c.id, c.name) for c in (turn.calls if turn else ()))]
    asked = (turn.asked if turn else None) or MessageId("m-none")
    follow_ups = tuple(q.id for q in gate.queue if q.delivery == "follow_up")

    yield CREATED
    yield SessionOpened("host")
    yield SessionConfigured(model="p:m", thinking="high", steer_mode="batch")
    yield SessionConfigured(thinking="default", name="new", agent=AgentRef(AgentName("other"), 2), metadata={"k": "w"})
    yield SessionConfigured(permissions=Permissions(allow=("bash",)), approvals=ApprovalPolicy(60), budgets=(Budget(usd=1),))
    yield SessionConfigured(lanes={"execute": LaneHandler("outside")})
    yield SessionConfigured(budgets=(Budget(usd=2),), raised_by=ActionId("a-none"))
    yield SessionPaused("why")
    yield SessionResumed()
    yield from (SessionRewound(to) for to in (-1, 0, 1, n // 2, n - 1, n, n + 3))
    yield SessionRewound(max(1, n // 2), CheckpointRef("tree:1"), ("kept",), CheckpointRef("tree:2"), 1)
    yield SessionRewound(max(1, n // 2), summary="another way was tried")
    yield StateUpdated(value={"n": n}, tell=n % 2 == 0)
    yield StateUpdated((PatchOperation("add", "/n", n), PatchOperation("add", "/list", [n])), tell=True)
    yield StateUpdated((PatchOperation("replace", "/list/0", n),), sender="ann")
    yield SessionRewound(max(1, n // 2), todos=(Todo("as it was"),), goal=Goal("g-old", "as it was"), shared={"n": "old"})
    yield SessionForked(SessionId("origin"), AgentRef(AgentName("coder"), 2), "/fork", name="forked")
    yield SessionForked(
        SessionId("origin"), CREATED.agent, "/w", files=CheckpointRef("tree:1"), undo=CheckpointRef("tree:2")
    )
    yield from (SessionLabelled(seq, label) for seq, label in ((0, "none"), (1, "first"), (max(1, n), "last"), (1, None)))
    yield from (SessionCompacted("so far", to, files_read=("a",)) for to in (-1, 0, 1, n // 2, n, n + 1))
    yield SessionCompacted(" ", 1)
    yield SessionCompacted("so far", max(1, n // 2), todos=(Todo("mend it"),), goal=Goal("g1", "it works"))
    yield SessionCompacted("all so far, at once", max(1, n // 2), trigger="threshold", at_once=True)
    yield from (SessionPruned(before, 0) for before in (0, max(1, n)))
    yield CompactionFailed("overflow", Fault("x", "y"))
    yield SessionArchived()
    yield UserMessage(InputId(f"i{n}"), (Text("go"),), "prompt")
    yield UserMessage(InputId(f"i{n}"), (Text("no, so"),), "steer", "skip")
    yield UserMessage(InputId(f"i{n}"), (Text("and so"),), "steer", "batch")
    yield UserMessage(InputId(f"i{n}"), (Text("then"),), "follow_up")
    yield from (UserMessage(i, (Text("again"),), "follow_up") for i in inputs[1:2])
    for run in runs:
        yield UserInterrupt(run, force=bool(n % 2))
        yield RunClaimed(run, gate.attempt)
        yield RunClaimed(run, gate.attempt + 1, "w")
        yield RunParked(run, tuple(actions[1:]))
        yield RunUnparked(run)
        yield RunYielded(run)
        yield RunRetrying(run, Fault("rate_limited", "slow down"), n % 3 + 1, 500, "p:other")
        yield OutputChecked(run, 1, {"n": 1})
        yield OutputChecked(run, 2, problem="n: missing")
        yield RunNudged(run, ("todos", "empty"), InputId(f"i{n}"), n % 3 + 1)
        yield RunFinished(run, "done")
        yield RunFinished(run, "failed", Fault("model", "broken"), Usage(1, 1))
    yield RunStarted(RunId(f"r{n}"), inputs[-1])
    yield RunStarted(RunId(f"r{n}"))
    yield from (RunStarted(RunId(f"r{n}"), history=history) for history in HISTORIES)
    yield RunStarted(RunId(f"r{n}"), history=HISTORIES[2][:2])  # a call without its result: never legal
    yield RunStarted(RunId(f"r{n}"), resumes=state.last_run, usage=Usage(9, 9), turns=3, tool_calls=4)
    yield RunStarted(RunId(f"r{n}"), unattended=True)
    yield ContextLoaded("be kind", "d1", ("AGENTS.md",), ("pdf",), ("AGENTS.md:1: bad",))
    yield ContextLoaded(" ", "d2")
    yield RunStarted(RunId(f"r{n}"), output=OutputSpec({"type": "object"}))
    for i in inputs:
        yield InputDelivered(i)
        yield InputDelivered(i, (Text("said otherwise"),))
        yield InputWithdrawn(i)
    yield InputReordered(tuple(reversed(follow_ups)))
    yield InputReordered((*follow_ups, InputId("i-none")))
    for action in actions:
        yield UserAnswer(action, "approve", arguments={"n": 2**70, "x": None})
        yield UserAnswer(action, "deny", "no")
        yield UserAnswer(action, "deny", remember="always", rule="bash")
        yield UserAnswer(action, "approve", remember="session", rule="read")
        yield UserAnswer(action, "approve", remember="session")  # never legal: there is nothing to remember
        yield UserAnswer(action, "result", content=(Text("42"),))
        yield ActionClosed(action, "skipped")
    yield TurnStarted(state.turns + 1)
    yield TurnStarted(state.turns)
    yield TurnFinished(turn.index if turn else state.turns)
    yield TurnFinished(state.turns + 1)
    yield ModelStarted(MessageId(f"m{n}"), "p:m")
    yield ModelStarted(asked, "p:m")
    yield from (AgentMessage(a) for a in answers(asked, n))
    yield AgentMessage(Assistant(MessageId("m-none"), (Text("who asked?"),)))
    for call, name in calls:
        yield ToolStarted(call, name, {"path": "a"}, f"k-{call}")
        yield ToolStarted(call, name, {"path": "a"}, f"k-{call}", resumed=True)
        yield ToolAsked(call, name, (Question("q1", "form", "Who?", {"type": "object"}),), "state")
        yield ToolAsked(
            call, name, (Question("q1", "url", "Log in", url="https://x"), Question("q2", "approval", "May it?"))
        )
        yield ToolAsked(call, name, ())  # never legal: it asks nothing
        yield from (ToolFinished(call, name, status, (Text("out"),)) for status in STATUSES)  # type: ignore[arg-type]
        yield ActionOpened(ActionId(f"a{n}"), "approval", call, name, {"path": "a"})
        yield ActionOpened(ActionId(f"a{n}"), "question", call, name, message="which?")
        yield ActionOpened(ActionId(f"a{n}"), "external", call, name)
        yield ActionOpened(ActionId(f"a{n}"), "external", call, name, lane="execute")
        yield from (ActionOpened(a, "approval", call, name) for a in actions[1:2])
    yield ActionOpened(ActionId(f"q{n}"), "approval", None, "budget", {"usd": 1}, "more?", expires_ms=n + 60_000)
    own = [CallId("o-none"), *(c.id for c in state.own_calls)]
    for call in own:
        yield ToolStarted(call, "bash", {"command": "ls"}, f"k-{call}", origin="direct", owner="w")
        yield ToolFinished(call, "bash", "ok", (Text("out"),), origin="direct")
    yield ToolStarted(CallId(f"o{n}"), "bash", {}, "k", origin="verification", owner="w")
    for call, name in calls:  # under the id of a call of the turn: still none of it
        yield ToolStarted(call, name, {}, "k", origin="direct", owner="w")
        yield ToolFinished(call, name, "error", (Text("out"),), origin="verification")
    yield UsageRecorded("summary", "p:m", Usage(5, 5, requests=1))
    yield BudgetWarned("usd", 0.8, 1.0)
    yield BudgetExceeded("tokens", 10, 10, "tree", "spent")
    yield HookBlocked("no-rm", "before_tool", "never", call=CallId("c"))
    yield HookBlocked("tests", "before_finish", "they fail")
    yield HookReported("lint", "after_tool", "it hangs", failed=True)
    yield McpResourceUpdated("docs", "docs://page")
    yield McpUnavailable("docs", "connection", "it does not answer", retrying=True)
    yield from (MemoryRecalled(i, (), "<memories>") for i in inputs)
    yield MemoryFailed("recall", Fault("x", "y"))
    yield WorkspaceCheckpointed(CheckpointRef("tree:1"), "before", turn.index if turn else None)
    yield WorkspaceCheckpointed(None, "after", error="disk full")
    yield WorkspaceRestored(CheckpointRef("tree:1"))
    yield WorkspaceRestored(CheckpointRef("tree:1"), None, (LeftAlone("a", "it was changed meanwhile"),), "gone")
    yield VerificationReported(VerificationReport("it works", (Check("tests", status="passed"),), source="run"))
    yield VerificationReported(VerificationReport("from elsewhere"))
    for action in actions:
        yield SubagentStarted(
            TaskId(f"t{n}"), SessionId(f"child-{n}"), AgentName("helper"), "do it", 1, calls[-1][0], action
        )
    for call, name in calls:
        yield ActionOpened(ActionId(f"a{n}"), "task", call, name)
    yield SubagentStarted(TaskId(f"t{n}"), SessionId(f"child-{n}"), AgentName("helper"), "do it", 1)
    yield SubagentStarted(TaskId(f"t{n}"), SessionId("theirs"), AgentName("helper"), "do it", 1, external=True)
    tasks = [("t-none", SessionId("none"), None), *((t.id, t.session, t.action) for t in gate.tasks)]
    for task, child, _ in tasks:
        yield SubagentProgressed(TaskId(task), "tool_completed", {"tool": "bash"})
        yield SubagentAsked(
            TaskId(task), child, ActionId("a"), "approval", (AgentName("helper"),), "bash", {"command": "ls"}
        )
        yield SubagentFinished(TaskId(task), child, "completed", "done", structured={"x": [1]})
        yield SubagentFinished(TaskId(task), child, "cancelled")
    yield TodosUpdated((Todo("look", "completed"), Todo("mend it", "in_progress"), Todo("tell")), CallId("c"))
    yield TodosUpdated(())
    yield GoalUpdated(Goal(f"g{n}", "it works"))
    yield GoalUpdated(Goal("g-old", "as it was", "met", "the tests pass", "model"), CallId("c"))
    yield TasksCancelled("enough")
    yield CommandExecuted(f"cmd{n}", "cost", "", "nothing")
    yield SessionImported("pi", "b1", "d1", counts={"user": 1}, kept={"label": 1})
    yield EntryKept("label", {"targetId": "x"}, "e1")
    yield ArtifactStored(ArtifactRef("sha256:00"), 3)
    yield Unknown("future.happened", b'{"type":"future.happened","deep":{"x":[1.50,2e3]}}')


# How often each type is taken when it is legal, against 1 for all others: without it a walk would hardly enter a turn.
_WEIGHTS: dict[type, int] = {
    RunStarted: 12,
    RunClaimed: 30,
    InputDelivered: 8,
    TurnStarted: 25,
    ModelStarted: 12,
    AgentMessage: 30,
    ToolStarted: 24,
    ToolAsked: 12,
    ToolFinished: 9,
    ActionOpened: 20,
    RunParked: 30,
    UserAnswer: 8,
    ActionClosed: 6,
    TurnFinished: 20,
    RunFinished: 4,
    UserMessage: 3,
    SessionResumed: 20,
    SessionRewound: 6,
    WorkspaceRestored: 3,
    RunRetrying: 6,
    SubagentStarted: 6,
    SubagentFinished: 4,
}


class Walk:
    """A session's log and what is folded from it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.state = State()
        self.gate = Gate()
        self.transcript = Transcript()

    def take(self, data: EventData) -> Event:
        """Append the event; it must be legal."""
        new = event(self.state.seq + 1, data)
        self.state = fold(self.state, new)
        self.gate = admit(self.gate, new.data)
        self.transcript.apply(new)
        self.events.append(new)
        return new

    def refused(self, data: EventData) -> Conflict | NotFound | None:
        """Why the event may not happen now, or None."""
        try:
            fold(self.state, event(self.state.seq + 1, data))
        except (Conflict, NotFound) as error:
            return error
        return None

    def legal(self) -> list[EventData]:
        return [data for data in candidates(self.state) if self.refused(data) is None]

    def step(self, pick: Callable[[int], int]) -> Event | None:
        """Take one of the legal events; `pick(n)` gives a number below n. None when the session is archived."""
        chosen = choice(self.state, self.legal(), pick)
        return None if chosen is None else self.take(chosen)


def choice(state: State, legal: list[EventData], pick: Callable[[int], int]) -> EventData | None:
    """One of the legal events, by the weight of its type; `pick(n)` gives a number below n. None when there is none."""
    by_type: dict[tuple[type, str], list[EventData]] = {}
    for data in legal:
        by_type.setdefault((type(data), getattr(data, "origin", "model")), []).append(data)
    if state.gate.phase != "none" or state.turns < 2:
        by_type.pop((SessionArchived, "model"), None)  # a walk that ends at once shows little
    weight = {kind: _WEIGHTS.get(kind[0], 1) if kind[1] == "model" else 1 for kind in by_type}
    ladder = [kind for kind in by_type for _ in range(weight[kind])]
    if not ladder:
        return None
    variants = by_type[ladder[pick(len(ladder))]]
    return variants[pick(len(variants))]


def ending(state: State) -> Iterator[EventData]:
    """What ends the open run from any state, as a driver that gives up writes it."""
    gate, turn = state.gate, state.turn
    assert gate.run is not None
    yield from (SubagentFinished(t.id, t.session, "cancelled") for t in gate.tasks if t.action is not None)
    yield from (ActionClosed(a.id, "interrupted") for a in gate.actions)
    if turn is not None:
        yield from (ToolFinished(c.id, c.name, "skipped") for c in turn.unfinished)
        yield TurnFinished(turn.index)
    yield from (InputWithdrawn(q.id, "run_finished") for q in gate.queue if q.delivery != "follow_up")
    yield RunFinished(gate.run, "interrupted")


def walks(max_steps: int = 60) -> st.SearchStrategy[list[int]]:
    """Numbers for a walk: two for each step."""
    return st.lists(st.integers(0, 1 << 16), min_size=8, max_size=2 * max_steps)


def picker(numbers: list[int]) -> Callable[[int], int]:
    rest = iter(numbers)
    return lambda below: next(rest, 0) % below


# --- events of any content ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


# Types that refuse most contents, by what they may hold.
CHECKED: dict[Any, list[Any]] = {
    Permissions: [Permissions(), Permissions(("bash",), ("write",), ("x*",), "deny")],
    OutputSpec: [OutputSpec({}), OutputSpec({"type": "object", "required": ["n"]}, 0)],
    ApprovalPolicy: [ApprovalPolicy(), ApprovalPolicy(1.5, "approve", ("query",))],
    LaneHandler: [LaneHandler(), LaneHandler("outside", 1.5, {"os": "linux"}, 5.5)],
    Budget: [Budget(), Budget(usd=0.5, scope="tree", on_limit="ask"), Budget(tokens=0)],
}


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type as the events' annotations name them."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return JSON
    if isinstance(hint, typing.NewType):
        return of(hint.__supertype__)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of(a) for a in args])
    if origin is tuple:
        return st.lists(of(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(of(args[0]), of(args[1]), max_size=3)
    if hint in CHECKED:
        return st.sampled_from(CHECKED[hint])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        fields = typing.get_type_hints(hint)
        return st.builds(hint, **{name: of(fields[name]) for name in hint.__struct_fields__})
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=12),
        int: st.integers(-(2**63), 2**63),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        bytes: st.binary(max_size=12),
        type(None): st.none(),
    }
    return plain[hint]


ANY_EVENT: dict[str, st.SearchStrategy[KnownData]] = {name: of(kind) for name, kind in EVENT_TYPES.items()}
