"""What a session's handle tells: facts read from its log, the same in the process that drives it and over a wire.

Data only. The handle is `contracts.SessionHandle`; what runs come to stands in `record`, what going back does in
`checkpoint`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from .agent import AgentRef, AgentSpec, SteerMode, ThinkingLevel
from .events import ActionKind, Delivery, Origin
from .ids import ActionId, AgentName, ArtifactRef, CallId, InputId, RunId, Seq, SessionId
from .messages import ResultBlock, ToolStatus, UserBlock, text_of

SCHEMA = "godwit.trace/1"
"""Of a `TraceEvent`."""

KEEP_TOKENS = 20_000
"""About how many of the newest tokens a compaction leaves word by word."""

Prompt = str | UserBlock | list[UserBlock] | tuple[UserBlock, ...]
"""What may be sent as a message: a text, or blocks."""
InputStatus = Literal["accepted", "delivered", "withdrawn"]


@dataclass(frozen=True)
class Compaction:
    """A summary that stands for older messages. `seq`: its event; `kept_from`: the first event whose messages stay.

    The numbers are of what the model sees, before and after; tokens are estimated. `waits`: a run is open, and it takes
    effect where that ends. `model`: who wrote it, empty when a hook did.
    """

    seq: Seq
    kept_from: Seq
    summary: str
    model: str
    messages_before: int
    messages_after: int
    tokens_before: int
    tokens_after: int
    focus: str | None = None
    waits: bool = False


@dataclass(frozen=True)
class InputEntry:
    """An input and where it stands. `seq`: the event that accepted it. `metadata`: what its sender has kept with it."""

    id: InputId
    delivery: Delivery
    status: InputStatus
    content: tuple[UserBlock, ...]
    seq: int
    at_ms: int
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return text_of(self.content)


@dataclass(frozen=True)
class PendingAction:
    """`kind`: approval (may this call run?), question, or external (what is this call's result?). `age_s` in seconds.

    An approval without a `call` is asked by the run itself: `name` says by whom, `message` what. `rules`: what may be
    remembered with the answer. `remaining_s`: until the policy answers; None when it never does. `session` asks; where that
    is a subagent's, `path` has the agents that lead there. `asking`: a call that has begun asks this, with a `schema` which
    its answer has to fit, a `url` that a person is to open, or for leave to do what its `arguments` say.
    """

    id: ActionId
    kind: ActionKind
    call: CallId | None
    name: str
    arguments: dict[str, Any]
    message: str | None
    opened_ms: int
    age_s: float
    rules: tuple[str, ...] = ()
    remaining_s: float | None = None
    session: SessionId | None = None
    path: tuple[AgentName, ...] = ()
    schema: dict[str, Any] | None = None
    url: str | None = None
    asking: bool = False


@dataclass(frozen=True)
class ToolCallResult:
    """What a direct call came to. `seq`: its `tool.finished`, 0 when it never started. `duration_ms` of the effect."""

    call: CallId
    name: str
    status: ToolStatus
    content: tuple[ResultBlock, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    duration_ms: int = 0
    seq: Seq = 0

    @property
    def output(self) -> str:
        """The text of the result."""
        return text_of(self.content)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def exit_code(self) -> int:
        """The command's, where there is one; else 0 or 1 (seed 001)."""
        code = self.metadata.get("exit_code")
        return code if isinstance(code, int) else int(not self.ok)

    @property
    def artifact(self) -> str | None:
        """Where the whole output is kept, when only part of it is shown."""
        ref = self.metadata.get("artifact")
        return ref if isinstance(ref, str) else None


@dataclass(frozen=True)
class CommandResult:
    """A command that was run. `run`: the run its prompt started, if it gave one. `seq`: the event that records it."""

    id: str
    name: str
    arguments: str
    text: str
    state_changed: bool
    error: str | None
    run: RunId | None
    seq: Seq


TraceKind = Literal["model_step", "tool_execution", "verification"]


class TraceEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step that has ended (seed 001).

    `name`: of the tool, the model or the subject verified. `argument_keys`: the names of the arguments, sorted.
    `output_bytes`: of the text the model was given, or has given. `artifacts`: refs named by the result, each once.
    `at_ms`: wall time of the end; `seq`: of the event that says so.
    """

    kind: TraceKind
    name: str
    success: bool
    at_ms: int
    seq: Seq
    run: RunId | None = None
    exit_code: int | None = None
    duration_ms: int | None = None
    output_bytes: int = 0
    argument_keys: tuple[str, ...] = ()
    artifacts: tuple[ArtifactRef, ...] = ()
    status: str = ""
    origin: Origin = "model"
    schema: str = SCHEMA


@dataclass
class SessionConfig:
    """The settings in force for the next run."""

    agent: AgentRef
    spec: AgentSpec
    model: str
    thinking: ThinkingLevel | None
    steer_mode: SteerMode
    workspace: str | None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlashCommand:
    """A slash command that a session knows. `safe`: it may be used while a run is open. `source`: `builtin`, `code`, or the
    path of its file."""

    name: str
    description: str
    usage: str | None = None
    safe: bool = False
    source: str = "builtin"


@dataclass(frozen=True)
class ImportReport:
    """What an import came to. `origin`: what the session was called where it came from. `new`: False when it had
    been brought before, and this is the session from then.

    `counts`: what there was, by kind. `kept`: what has no counterpart here and is in the log as `entry.kept`, by kind.
    `adapted`: what had to be said in another way, by reason. `skipped`: lines that were none, by kind. `children`:
    the sessions that came with it and work for it.
    """

    session: SessionId
    format: str
    origin: str
    source: str
    new: bool
    head: Seq
    counts: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    adapted: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    children: tuple[SessionId, ...] = ()


ExportFormat = Literal["html", "md", "jsonl", "pi"]
"""How a session is taken out: as a page or as Markdown to be read, as godwit's own data, or as a session file of pi."""
EXPORT_FORMATS: tuple[ExportFormat, ...] = ("html", "md", "jsonl", "pi")
