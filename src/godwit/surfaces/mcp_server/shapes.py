"""What tools take and what they give: the structs, and the JSON Schemas of them that clients are told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ...contracts import SessionRow
from ...core.budget import Spent
from ...core.events import RunOutcome
from ...core.facts import PendingAction
from ...core.gate import Status
from ...core.messages import Usage
from ...core.record import RunResult

Cancelled = Literal["interrupt", "continue"]
Prompt = Annotated[str, msgspec.Meta(min_length=1, description="What it is to do, with all that it has to know for it.")]
SessionId = Annotated[str, msgspec.Meta(min_length=1, description="The session's id.")]
Key = Annotated[
    Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None,
    msgspec.Meta(description="Any text of your own: the same call again under the same key is done once."),
]
Wait = Annotated[
    Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None,
    msgspec.Meta(
        description="Seconds to wait at most; what is not done by then goes on, see session_wait. 0: return at once."
    ),
]
WhenCancelled = Annotated[
    Cancelled | None,
    msgspec.Meta(
        description="What becomes of the work when this call is cancelled. By default it ends if that is said, and goes on"
        " if only the connection broke."
    ),
]


class Takes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""


class AskAgent(Takes, frozen=True):
    prompt: Prompt
    session: Annotated[
        str | None,
        msgspec.Meta(description="Go on with this session, which knows what was said in it. By default a new one."),
    ] = None
    wait_s: Wait = None
    when_cancelled: WhenCancelled = None
    key: Key = None


class StartSession(Takes, frozen=True):
    agent: Annotated[str, msgspec.Meta(description="The agent: the name of its tool.")]
    prompt: Prompt
    key: Key = None


class SendToSession(Takes, frozen=True):
    session: SessionId
    text: Annotated[str, msgspec.Meta(min_length=1, description="The message.")]
    how: Annotated[
        Literal["auto", "prompt", "steer", "follow_up"],
        msgspec.Meta(
            description="prompt: begin its next work; steer: into the work under way, at its next step; follow_up: once that"
            " is done. auto: steer while it works, else prompt."
        ),
    ] = "auto"
    key: Key = None


class WaitForSession(Takes, frozen=True):
    session: SessionId
    wait_s: Wait = None


class OneSession(Takes, frozen=True):
    session: SessionId


class InterruptSession(Takes, frozen=True):
    session: SessionId
    reason: str | None = None


class ListSessions(Takes, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    waiting: Annotated[bool, msgspec.Meta(description="Only those that wait for an answer.")] = False


class SessionEvents(Takes, frozen=True):
    session: SessionId
    after: Annotated[int, msgspec.Meta(ge=0, le=1 << 53, description="Events behind this seq.")] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class SessionTranscript(Takes, frozen=True):
    session: SessionId
    characters: Annotated[int, msgspec.Meta(ge=100, le=400_000, description="At most so many, from the end.")] = 40_000


class ListActions(Takes, frozen=True):
    session: Annotated[str | None, msgspec.Meta(description="Of this session; by default of all.")] = None


class AnswerAction(Takes, frozen=True):
    session: SessionId
    action: Annotated[str, msgspec.Meta(description="The action's id.")]
    decision: Annotated[
        Literal["approve", "deny", "result"],
        msgspec.Meta(description="approve or deny an approval; result for a question or an external call, or deny."),
    ]
    reason: Annotated[str | None, msgspec.Meta(description="deny: why; the agent is told.")] = None
    result: Annotated[str | None, msgspec.Meta(description="result: the answer; of a form its fields as a JSON object.")] = (
        None
    )
    is_error: Annotated[bool, msgspec.Meta(description="result: the call has failed.")] = False
    arguments: Annotated[
        dict[str, Any] | None, msgspec.Meta(description="approve: these in place of the call's own, all of them.")
    ] = None
    remember: Annotated[
        Literal["session", "always"] | None, msgspec.Meta(description="Decide so from now on for calls like this one.")
    ] = None


class Gives(msgspec.Struct, frozen=True):
    """Structured content."""


class ActionView(Gives, frozen=True):
    """`session`: who asks, which may work for the session that was asked about. `form`: the JSON Schema that the
    answer to a question has to fit; `url`: what a person is to open."""

    action: str
    session: str
    kind: str
    name: str
    arguments: dict[str, Any]
    message: str | None
    agents: list[str]
    remember: list[str]
    form: dict[str, Any] | None
    url: str | None


class UsageView(Gives, frozen=True):
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class SpentView(Gives, frozen=True):
    tokens: int
    usd: float
    turns: int
    tool_calls: int
    time_s: float

    @classmethod
    def of(cls, spent: Spent) -> SpentView:
        return cls(spent.tokens, spent.usd, spent.turns, spent.tool_calls, spent.time_s)


class FaultView(Gives, frozen=True):
    code: str
    message: str


class RunView(Gives, frozen=True):
    """`outcome`: null while it is not over. `actions`: what it waits for."""

    session: str
    run: str | None
    status: str
    outcome: RunOutcome | None = None
    text: str = ""
    output: Any = None
    turns: int = 0
    tool_calls: int = 0
    usage: UsageView | None = None
    error: FaultView | None = None
    actions: list[ActionView] = []


class SessionView(Gives, frozen=True):
    session: str
    status: Status
    agent: str
    name: str | None
    prompt: str
    run: str | None
    parent: str | None
    waiting_for: int
    created_ms: int
    updated_ms: int


class SessionStatus(Gives, frozen=True):
    session: SessionView
    actions: list[ActionView]
    last_text: str
    spent: SpentView
    todos: list[str]


class SessionList(Gives, frozen=True):
    sessions: list[SessionView]


class EventView(Gives, frozen=True):
    seq: int
    type: str
    at_ms: int
    data: dict[str, Any]


class EventPage(Gives, frozen=True):
    """`head`: the newest seq; go on behind that of the last event."""

    session: str
    head: int
    events: list[EventView]


class TranscriptView(Gives, frozen=True):
    session: str
    whole: bool
    text: str


class ActionList(Gives, frozen=True):
    actions: list[ActionView]


class Sent(Gives, frozen=True):
    session: str
    how: str
    run: str | None
    input: str | None = None


class Changed(Gives, frozen=True):
    """`changed`: false when there was nothing to do any more."""

    session: str
    changed: bool


def usage_view(usage: Usage) -> UsageView:
    return UsageView(usage.input_tokens, usage.output_tokens, usage.cost_usd)


def action_view(session: str, action: PendingAction) -> ActionView:
    asks = str(action.session or session)
    agents = [str(name) for name in action.path]
    return ActionView(
        str(action.id),
        asks,
        action.kind,
        action.name,
        action.arguments,
        action.message,
        agents,
        list(action.rules),
        action.schema,
        action.url,
    )


def session_view(row: SessionRow, agent: str) -> SessionView:
    run, parent = (None if one is None else str(one) for one in (row.run, row.parent))
    return SessionView(
        str(row.id),
        row.status,
        agent,
        row.name,
        row.first_prompt,
        run,
        parent,
        row.actions,
        row.created_ms,
        row.updated_ms,
    )


def run_view(session: str, result: RunResult) -> RunView:
    """Of a run that has ended."""
    fault = None if result.error is None else FaultView(result.error.code, result.error.message)
    return RunView(
        session,
        str(result.run),
        "idle",
        result.outcome,
        result.text,
        msgspec.to_builtins(result.output, enc_hook=_plain),
        result.turns,
        result.tool_calls,
        usage_view(result.usage),
        fault,
    )


def _plain(value: Any) -> Any:
    """What the agent's form has made of the answer, as JSON."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


def schema_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema, whole in one piece: many clients know no references."""
    schema = msgspec.json.schema(shape)
    found = _whole({"$ref": schema["$ref"]}, schema["$defs"])
    assert isinstance(found, dict)
    found.pop("title", None)
    found.pop("description", None)
    return found


def _whole(schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_whole(one, named) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(named[schema["$ref"].rpartition("/")[2]], named)
    found = {key: _whole(value, named) for key, value in schema.items()}
    if found.get("type") == "object" and "properties" in found:
        found.pop("title", None)
        found.pop("description", None)
    return found


def arguments_schema(shape: type[Takes]) -> dict[str, Any]:
    """As `schema_of`, for models: what may be left out is just not required."""
    schema = schema_of(shape)
    schema["additionalProperties"] = False
    for name, one in schema["properties"].items():
        kinds = [kind for kind in one.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema["properties"][name] = {**{k: v for k, v in one.items() if k not in ("anyOf", "default")}, **kinds[0]}
    return schema
