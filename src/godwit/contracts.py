"""Layer 1: every part that can be swapped, as a Protocol. Reading this file tells what godwit asks of each.

Parts (`stores/ models/ tools/ workspaces/`) implement these and know nothing else; the engine uses them and knows no part.
`godwit.testing` holds a conformance suite per contract, which users' own parts run as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from .core.agent import AgentRef, AgentSpec, ModelSettings, SteerMode, ThinkingLevel, ToolDefinition
from .core.artifact import ArtifactLimits, HeldArtifact
from .core.budget import Budget, BudgetDecision, Scope, Spent
from .core.checkpoint import (
    Checkpoint,
    CheckpointPolicy,
    CheckpointRef,
    FileChange,
    FileDiff,
    KeptCheckpoint,
    LeftAlone,
    OnConflict,
    RewindPreview,
    RewindResult,
    Turning,
)
from .core.document import Document
from .core.events import Delta, Draft, Event, Labels, Remember, UserAnswer, UserInterrupt, UserMessage
from .core.facts import (
    CommandResult,
    InputEntry,
    PendingAction,
    Prompt,
    SessionConfig,
    SlashCommand,
    ToolCallResult,
    TraceEvent,
)
from .core.feed import FeedEntry
from .core.gate import Status
from .core.hooks import HookPoint, HookResult, HookSpec
from .core.ids import ActionId, AgentName, ArtifactRef, CallId, InputId, MessageId, RunId, Seq, SessionId
from .core.messages import AgentBlock, Message, ResultBlock, StopReason, Usage
from .core.record import ActiveTool, RunPage, RunResult, RunSnapshot, RunStatus
from .core.rules import ApprovalPolicy, Permissions, Subject, Verdict
from .core.sandbox import Promise, SandboxPolicy
from .core.state import State
from .core.transcript import Entry
from .core.verification import VerificationCommand, VerificationPreset, VerificationReport, VerificationSummary

# --- store ----------------------------------------------------------------------------------------------------------


class Appended(msgspec.Struct, frozen=True):
    """Events `first` to `last` were stored. `duplicate`: the idempotency key was known, these are the earlier ones."""

    first: Seq
    last: Seq
    duplicate: bool = False


class Lease(msgspec.Struct, frozen=True):
    """The exclusive right to drive a session. `epoch` fences: every later lease has a greater one."""

    session: SessionId
    epoch: int
    owner: str
    ttl_s: float


class SessionRow(msgspec.Struct, frozen=True):
    """A session as the index lists it. `owner`: the process that drives it now, if any; `run`: the open run, if any;
    `parent`: the session it works for, if any."""

    id: SessionId
    status: Status
    head: Seq
    created_ms: int
    updated_ms: int
    agent: AgentRef
    workspace: str | None = None
    name: str | None = None
    labels: Labels = Labels()
    owner: str | None = None
    run: RunId | None = None
    epoch: int = 0
    queued: int = 0
    actions: int = 0
    first_prompt: str = ""
    parent: SessionId | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """A stored fold: `state` as `encode_state` packed it, at `seq`, of `version` (core.state.SNAPSHOT_VERSION)."""

    seq: Seq
    version: int
    state: bytes


UNLIMITED = ArtifactLimits()


class StoredArtifact(msgspec.Struct, frozen=True):
    ref: ArtifactRef
    size: int
    media_type: str


class SavedRule(msgspec.Struct, frozen=True):
    """A permission rule that a person's answer has left behind. `saved_ms`: when it got this verdict."""

    verdict: Verdict
    rule: str
    saved_ms: int


class EventStore(Protocol):
    """Append-only logs, one per session, and what belongs to them.

    Promises every implementation keeps, proven by `godwit.testing.StoreConformance`:

    * seqs of a session are 1, 2, 3 ... without a gap; an append is all or nothing and durable when it returns.
    * Every event passes `core.gate.admit` against the session's gate inside the append's own transaction; what
      `consequence` adds is stored right behind its cause. A refusal stores nothing.
    * With `epoch`, the writer is the driver and must hold the newest epoch, else StaleEpoch. Without, only
      what is `core.events.from_outside` is accepted (IllegalEvent).
    * `expect`: HeadMoved unless the head is exactly that.
    * `key`: an idempotency key; the same key again with the same event types and bodies stores nothing and returns the
      first `Appended` with `duplicate=True`; with others it raises KeyReused.
    * Many processes may use one store; one that appends wakes the others' `wait`.

    Errors: SessionNotFound, SessionExists, the conflicts of `admit`, StaleEpoch, HeadMoved, KeyReused, and StoreError's
    leaves (full, read-only, locked, corrupt, closed). After any of them the store is as usable as its disk allows.
    """

    @property
    def owner(self) -> str:
        """This process's name for `claim`, by which others can see whether it is alive."""
        ...

    async def create(self, session: SessionId, events: Sequence[Draft], *, key: str | None = None) -> Appended:
        """A new log beginning with `events`, the first of them `session.created`. SessionExists when there is one,
        SessionNotFound when there is none of the parent's name."""
        ...

    async def append(
        self,
        session: SessionId,
        events: Sequence[Draft],
        *,
        epoch: int | None = None,
        expect: Seq | None = None,
        key: str | None = None,
    ) -> Appended: ...

    async def read(
        self,
        session: SessionId,
        from_seq: Seq = 0,
        *,
        limit: int | None = None,
        types: Sequence[str] | None = None,
        to_seq: Seq | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events with `seq > from_seq` (and `<= to_seq`), in order. SessionNotFound."""
        ...

    async def wait(self, session: SessionId, after: Seq, timeout_s: float | None = None) -> Seq:
        """Return the head as soon as it is greater than `after`, or when the time is over."""
        ...

    async def session(self, session: SessionId) -> SessionRow: ...

    async def sessions(
        self,
        *,
        limit: int = 50,
        before: tuple[int, SessionId] | None = None,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        tenant: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
    ) -> list[SessionRow]:
        """Newest activity first. `before`: (updated_ms, id) of the last row of the page before. `prefix`: of the id."""
        ...

    async def session_page(
        self,
        *,
        tenant: str | None,
        limit: int = 50,
        after: tuple[int, SessionId] | None = None,
        ascending: bool = False,
        statuses: Sequence[Status] | None = None,
        agent: AgentName | None = None,
        agent_version: int | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
        include_archived: bool = True,
    ) -> list[SessionRow]:
        """Sessions of just this tenant (None: of none) in the order they were made, the newest first unless `ascending`.

        `after`: (created_ms, id) of the last row of the page before. The times are inclusive. `agent`: with those of its
        variants (`core.agent.variant_name`). InvalidArgument.
        """
        ...

    async def spent(self, session: SessionId) -> Spent:
        """What the session and all its descendants have used up, counted as `core.meter` does in the transaction of each
        append; descendants that were deleted still count. SessionNotFound."""
        ...

    async def delete(self, session: SessionId) -> None:
        """Remove the log and all that only it used. SessionOwned while a live process drives it.

        Its children go on as those of its own parent.
        """
        ...

    async def alive(self, owner: str) -> bool:
        """Whether this owner may still be at work. False only when it can be seen to have ended."""
        ...

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        """A lease with a new epoch, or None while another live owner holds one; `force` takes it anyway.

        An owner is dead when its lease ran out by the store's clock, or when it can be seen to have died.
        """
        ...

    async def renew(self, lease: Lease) -> bool:
        """Extend the lease by its `ttl_s`. False when it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let go; no error when it was lost already."""
        ...

    async def put_snapshot(self, session: SessionId, snapshot: Snapshot) -> None: ...
    async def get_snapshot(self, session: SessionId) -> Snapshot | None: ...

    async def put_agent(self, spec: AgentSpec, *, expect: int | None = None) -> AgentRef:
        """A new immutable version, or the newest one when it equals `spec`.

        `expect`: RevisionConflict unless that is the newest version now; 0 for none at all.
        """
        ...

    async def get_agent(self, name: str, version: int | None = None) -> tuple[AgentRef, AgentSpec]:
        """That version, or the newest. AgentNotFound."""
        ...

    async def agents(self) -> list[AgentRef]:
        """The newest version of each agent, by name."""
        ...

    async def agent_versions(self, name: str) -> list[AgentRef]: ...

    async def save_rule(
        self, verdict: Verdict, rule: str, *, workspace: str | None = None, tenant: str | None = None
    ) -> None:
        """Keep a permission rule for the sessions of this tenant in this folder. One rule has one verdict: the last one.

        ConfigurationError when it cannot be read.
        """
        ...

    async def rules(self, *, workspace: str | None = None, tenant: str | None = None) -> list[SavedRule]:
        """The rules saved for just this folder and tenant, oldest first."""
        ...

    async def delete_rule(self, rule: str, *, workspace: str | None = None, tenant: str | None = None) -> bool:
        """Forget the rule; False when there is none."""
        ...

    async def session_counts(self) -> dict[Status, int]:
        """How many sessions there are by their status, of all tenants; those of a status that none has are left out."""
        ...

    async def working_sessions(self, tenant: str | None) -> int:
        """How many sessions of just this tenant work or wait for a driver; parked and paused ones do not."""
        ...

    def has_ended(self, owner: str) -> bool:
        """True when `owner` was a process with this store (its own `owner`) and has surely ended."""
        ...

    async def flush(self) -> None:
        """Return when everything appended before is as durable as the store's level promises."""
        ...

    def publish(self, delta: Delta) -> None:
        """Show a delta to whoever watches the session now, in this process and others. Never blocks, may drop."""
        ...

    def watch(self, session: SessionId, show: Callable[[Delta], None]) -> Callable[[], None]:
        """Call `show` with each delta of the session from now on; what is on its way is first shown from its beginning.

        Returns the function that ends it. `show` runs on the event loop and must not block.
        """
        ...

    async def close(self) -> None: ...


class BlobStore(Protocol):
    """Large outputs by content hash. Storing the same bytes twice keeps them once.

    A session holds what it has put until limits make it let go, the oldest first and what it has pinned never. Content is
    there while any session holds it.
    """

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = UNLIMITED,
        pinned: bool = False,
    ) -> StoredArtifact:
        """Keep it for the session, then let go of what is beyond `limits`: of this one as well, when it is too large and not
        `pinned` with it. One that was pinned before stays so.

        Put again, it is as young as a new one and keeps its first media type. SessionNotFound.
        """
        ...

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        """ArtifactNotFound; one that was let go of says so (`released_ms` in its details)."""
        ...

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        """What the session holds, oldest first. SessionNotFound."""
        ...

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        """Pin what the session holds, or take the pin out; False when it was so already. SessionNotFound,
        ArtifactNotFound."""
        ...

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        """Let go of what the session holds, pinned or not; the content goes when nobody else holds it. False when the
        session holds no such thing. SessionNotFound."""
        ...


class DocumentStore(Protocol):
    """What a host keeps beside its sessions, see `core.document`.

    A tenant sees only its own; None sees those of no tenant. What has expired is not seen. Times are by the store's clock.
    Proven by `godwit.testing.StoreConformance`.
    """

    async def put_documents(
        self, documents: Sequence[Document], *, contents: Mapping[str, bytes] | None = None
    ) -> list[Document]:
        """Store all of them or none; returns them as stored. `contents`: bytes to keep beside a document, by its id.

        DocumentExists when a new one's id, or a unique key, is taken; DocumentNotFound and RevisionConflict when a known one
        is gone, or has another revision than the given one.
        """
        ...

    async def get_document(self, kind: str, id: str, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """DocumentNotFound."""
        ...

    async def document_content(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """The bytes kept beside it; none when there are none. DocumentNotFound."""
        ...

    async def find_document(self, kind: str, key: str, value: str) -> Document | None:
        """The first with this key, of whatever tenant: for what tells who is asking."""
        ...

    async def find_documents(
        self, kind: str, key: str, value: str, *, limit: int = 50, after: tuple[int, str] | None = None
    ) -> list[Document]:
        """Those with this key, of all tenants, the oldest first: for what a host does for all of them. `after`: (created_ms,
        id) of the last one seen. InvalidArgument."""
        ...

    async def documents(
        self,
        kind: str,
        *,
        tenant: str | None,
        keys: Mapping[str, str] | None = None,
        limit: int = 50,
        after: tuple[int, str] | None = None,
        ascending: bool = False,
        archived: bool | None = None,
        created_from_ms: int | None = None,
        created_to_ms: int | None = None,
    ) -> list[Document]:
        """Those with all of these keys, the newest first unless `ascending`; `after`: (created_ms, id) of the last one seen.

        `archived`: only those that are, or are not. The times are inclusive. InvalidArgument.
        """
        ...

    async def delete_document(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """Remove it and what is kept beside it; False when there is none."""
        ...

    async def purge_documents(self) -> int:
        """Remove what has expired; returns how many there were."""
        ...

    async def document_bytes(self, tenant: str | None, *, leave_out: Collection[str] = ()) -> int:
        """Bytes of all that is kept for just this tenant, but for these kinds: bodies and what is kept beside them."""
        ...


class Feed(Protocol):
    """What happens anywhere in the store, for who follows all of it: see `core.feed`.

    Only chosen types are fed, by default none. An entry is committed with what it tells, both or neither; positions grow in
    the order of commits, so who has seen one will meet no lower one. Entries stay until they are trimmed: one follower
    at a time reads the feed and takes away what it has done. Proven by `godwit.testing.StoreConformance`.
    """

    async def set_feed_types(self, types: Collection[str]) -> None:
        """Feed from now on the events of these types (`session.deleted` is one) and what becomes of documents of these
        kinds, as `document.<kind>`; by whatever process it is done."""
        ...

    async def feed(self, after: int = 0, *, limit: int = 256) -> list[FeedEntry]:
        """Entries with a greater position, in order. InvalidArgument."""
        ...

    async def wait_feed(self, after: int, timeout_s: float | None = None) -> int:
        """Return the last position as soon as it is greater than `after`, or when the time is over."""
        ...

    async def trim_feed(self, to: int) -> None:
        """Take away the entries up to this position."""
        ...


class SecretStore(Protocol):
    """Small secrets, such as tokens: who has the database alone cannot read them.

    A secret belongs to something of a tenant that has a kind and an id, and opens as that alone. What it is stands in no
    error, no log and no repr. SecretUnreadable when the key is not here, or what is stored was moved or changed.
    """

    async def seal(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> Document:  # noqa: A002 - the field's name
        """The secret as a document, in place of the one there is: for `put_documents`, together with what it belongs to."""
        ...

    async def put(self, kind: str, id: str, secret: bytes, *, tenant: str | None) -> None:  # noqa: A002 - as above
        """Keep it in place of the one there is."""
        ...

    async def get(self, kind: str, id: str, *, tenant: str | None) -> bytes:  # noqa: A002 - as above
        """DocumentNotFound, SecretUnreadable."""
        ...

    async def delete(self, kind: str, id: str, *, tenant: str | None) -> bool:  # noqa: A002 - as above
        """Forget it; False when there is none."""
        ...


class Store(EventStore, BlobStore, DocumentStore, Feed, Protocol):
    """All in one, as a runtime takes it."""


# --- model ----------------------------------------------------------------------------------------------------------


class ModelRequest(msgspec.Struct, frozen=True):
    """One question to a model. `entries` end with a user message or tool results; see `core.transcript.Entry.encoded`."""

    entries: Sequence[Entry]
    instructions: str
    tools: tuple[ToolDefinition, ...]
    settings: ModelSettings
    session: SessionId
    message: MessageId
    turn: int = 1


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """`block` numbers the content blocks of the answer from 0."""

    block: int
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag="thinking"):
    block: int
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call"):
    """`text`: the next piece of the arguments' JSON. `id` and `name` stand in the first delta of a block."""

    block: int
    text: str = ""
    id: str | None = None
    name: str | None = None


class ModelAnswer(msgspec.Struct, frozen=True, tag="answer"):
    """The last chunk of every stream that ended properly: the whole answer."""

    content: tuple[AgentBlock, ...]
    stop: StopReason
    usage: Usage
    model: str
    response_id: str | None = None


ModelChunk = TextDelta | ThinkingDelta | ToolCallDelta | ModelAnswer


class Model(Protocol):
    """One model of one provider.

    `stream` yields deltas and last of all one `ModelAnswer`. It raises a `ModelError`: a stream that ends without its end
    is `StreamBroken`. It does not retry; the engine does. When the caller closes the iterator or is cancelled, the
    connection is closed at once. It must not change the request, but may keep encodings in `Entry.encoded[self.wire]`.
    """

    @property
    def name(self) -> str:
        """`provider:model`, as `ModelRegistry.resolve` takes it."""
        ...

    @property
    def wire(self) -> str:
        """The key of this adapter's encodings: models of equal `wire` read each other's."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]: ...


class ModelRegistry(Protocol):
    def resolve(self, name: str) -> Model:
        """The model for `provider:model` or a registered name. ModelNotFound, AuthenticationFailed (no key)."""
        ...


@runtime_checkable
class SupportsPrice(Protocol):
    """A model that knows what it costs, so that a budget in money can be kept."""

    def cost_usd(self, usage: Usage) -> float | None:
        """What this usage costs in USD; None when the price is not known. May take a while: called off the event loop."""
        ...


@runtime_checkable
class SupportsPrices(Protocol):
    """A registry that knows what its models cost. With one that does not, no price is known."""

    def cost_usd(self, name: str, usage: Usage) -> float | None:
        """As for `SupportsPrice`, of the model of this name. Raises what `resolve` does."""
        ...


# --- workspace ------------------------------------------------------------------------------------------------------


class FileInfo(msgspec.Struct, frozen=True):
    """`path` is relative to the workspace, with `/`. `size` in bytes."""

    path: str
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    modified_ms: int


class Execution(msgspec.Struct, frozen=True):
    """How a command ended. `exit_code` is None when it was killed: by the timeout, or because it was `cancelled`."""

    exit_code: int | None
    timed_out: bool = False
    cancelled: bool = False


class CancelToken(Protocol):
    """A switch that goes one way. Children fall with their parent."""

    @property
    def cancelled(self) -> bool: ...
    def cancel(self) -> None: ...
    async def wait(self) -> None: ...
    def child(self) -> CancelToken: ...
    def on_cancel(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call it when cancelled, at once if that has happened; returns the function that takes it back."""
        ...


class Workspace(Protocol):
    """The files and the place commands run in. Paths are relative to `root` or absolute within it; a path that leads
    out, by `..`, by a symlink or by a race, raises PathEscape. File errors are ToolFailed with a readable message."""

    @property
    def root(self) -> str: ...

    async def read(self, path: str) -> bytes: ...

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        """Replace the file as a whole (a reader sees the old or the new one), making parent folders."""
        ...

    async def delete(self, path: str) -> None: ...
    async def info(self, path: str) -> FileInfo | None:
        """None when there is nothing."""
        ...

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        """A folder's entries by name."""
        ...

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        """Files matching (`**` crosses folders), newest first; ignored ones (.gitignore, .git) are left out."""
        ...

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        """(path, line number from 1, line) for each line the regular expression is found in."""
        ...

    async def execute(
        self,
        command: str,
        *,
        output: Callable[[bytes], None],
        timeout_s: float | None = None,
        grace_s: float = 2.0,
        cancel: CancelToken | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Execution:
        """Run a shell command in the root; `output` gets stdout and stderr as they come.

        On cancel or timeout its whole process group gets SIGTERM and, `grace_s` later, SIGKILL; it has died on return.
        """
        ...


# --- what confines commands, keeps files, reads shell -----------------------------------------------------------------


Access = Literal["read", "write", "hidden"]


@runtime_checkable
class HasLinks(Protocol):
    """What a workspace may also be: one whose folders have other names, see `SandboxPolicy.links`."""

    @property
    def links(self) -> Sequence[tuple[str, str]]:
        """Each such name, absolute, with the folder's path from the root."""
        ...


class Enclosure(msgspec.Struct, frozen=True):
    """What a confined command may touch: `access` by path, an outer one before those within it; the innermost counts.

    Paths are real and absolute. `root` is the workspace; `temporary` the command's own temporary folder. `kept`: paths that
    do not exist and must not come into being; one that is to be a folder ends in `/`.
    """

    root: str
    temporary: str
    access: tuple[tuple[str, Access], ...]
    kept: tuple[str, ...] = ()


class Confinement(msgspec.Struct, frozen=True):
    """How one command is started so that it is confined: `argv`, in the enclosure's root, with this environment alone.

    `promises`: what holds for it. `setup` is called in a thread of its own that then starts the process and waits for
    its end: what it does to the thread (credentials, filters), the process inherits. `done`: called there at the end,
    even when it could not be started, and once nothing is left that a keeper kept. `descriptors` stay open in the
    process. `leaves`: processes that the command leaves behind may live on. `keeper`: the process started is not the
    command but keeps it: it passes no signal on, and its end is the end of all. `begun`, of a keeper: asked after its
    end whether the command was begun at all; if it was not, what was printed is the keeper's, begins with `complaint`
    and says why.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    promises: frozenset[Promise] = frozenset()
    setup: Callable[[], None] | None = None
    keeper: bool = False
    leaves: bool = True
    done: Callable[[], None] | None = None
    descriptors: tuple[int, ...] = ()
    begun: Callable[[], bool] | None = None
    complaint: bytes = b""


class Sandbox(Protocol):
    """A way to confine commands. It promises only what its tests prove; `godwit.testing` tries to escape.

    Loading a backend changes nothing. Asked for the first time what holds here, it may start a process that does nothing.
    """

    @property
    def name(self) -> str: ...

    def problem(self) -> str | None:
        """Why this backend does not work here, in words that say what would help; None when it works. Blocking."""
        ...

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        """What does not hold here under this policy, and why; of an enclosure, if it is given. Blocking."""
        ...

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        """How to start `argv` in the enclosure's root. `environment` lacks TMPDIR, which is the backend's to say.

        Blocking. ToolFailed: it cannot be done now.
        """
        ...


class Checkpoints(Protocol):
    """States of a workspace's files, each content kept once. Works beside whatever the folder holds, and never touches it
    but in `restore`; the folder's own repository (`.git` and its kin) is never read for this nor written.

    Promises every implementation keeps, proven by `godwit.testing.CheckpointsConformance`:

    * A ref is returned only when all it names is kept, as durably as was asked for; equal states have equal refs.
    * A state held for a session stays until `retain` or `release` lets go of it, whatever other sessions do.
    * Restoring loses nobody's work: what is neither as in `base` nor as in `target` is left as it is and named.
    * Nothing outside `root` is read or written, whatever links lead there and whoever swaps folders meanwhile.

    Several processes may work on one store at a time. Errors: StoreError's leaves where the kept files are at fault.
    """

    async def take(self, session: SessionId, root: str, policy: CheckpointPolicy) -> CheckpointRef:
        """Keep the files as they are now, for this session. Only what changed since the last time is read again.

        CheckpointFailed when the folder cannot be read or is larger than the policy allows.
        """
        ...

    async def changes(self, before: CheckpointRef, after: CheckpointRef) -> list[FileChange]:
        """What leads from one state to the other, by path, lines not counted. CheckpointNotFound."""
        ...

    async def diff(
        self,
        before: CheckpointRef,
        after: CheckpointRef,
        *,
        paths: Collection[str] | None = None,
        limit: int = ...,
    ) -> FileDiff:
        """The same with lines counted, and as a unified diff of at most `limit` characters; of these paths, or of all.

        CheckpointNotFound.
        """
        ...

    async def merge(
        self, session: SessionId, base: CheckpointRef, target: CheckpointRef, paths: Collection[str] | None = None
    ) -> tuple[CheckpointRef, list[LeftAlone]]:
        """The state that is `target` at these paths (None: at all) and `base` elsewhere, held for the session, and what
        could not be taken over: it can be reached from `base` without losing what is not kept. CheckpointNotFound."""
        ...

    async def restore(self, root: str, base: CheckpointRef, target: CheckpointRef) -> list[LeftAlone]:
        """Make the folder, which is as `base` says, what `target` says; returns what was left alone.

        Each file is replaced as a whole. Broken off, by an error or a crash, it is done again with the same two and ends in
        the same state. CheckpointNotFound; CheckpointFailed when the disk is at fault.
        """
        ...

    async def kept(self, session: SessionId) -> list[KeptCheckpoint]:
        """The states held for the session, the one seen last first."""
        ...

    async def retain(
        self, session: SessionId, policy: CheckpointPolicy, *, named: Collection[CheckpointRef] | None = None
    ) -> int:
        """Let go of the session's states beyond what the policy keeps, and of those that are not among `named`, unless that
        is None; returns the bytes that were freed."""
        ...

    async def release(self, session: SessionId) -> int:
        """Let go of all states of the session; returns the bytes that were freed."""
        ...

    async def close(self) -> None: ...


class ShellPart(msgspec.Struct, frozen=True):
    """One simple command within a shell command. `words`: as the shell would pass them, as far as that is known from the
    text; `loose`: the places, from 0, of those that are not known, which are given as written. `text`: the words joined by
    blanks, those that would be mistaken in quotes.

    `writes`, `reads`: files its redirections name, None for one that is not known. `depth`: how many wrappers (env, sudo,
    bash -c, xargs) it stood in. `neutral`: it does nothing by itself that a rule would have to allow, since all it does is
    to print, to test, or to start other parts; or it is a guess, for rules that deny or ask. `caution`: why its words do not
    tell what it does.
    """

    words: tuple[str, ...]
    text: str
    loose: tuple[int, ...] = ()
    writes: tuple[str | None, ...] = ()
    reads: tuple[str | None, ...] = ()
    depth: int = 0
    neutral: bool = False
    caution: str | None = None

    @property
    def exact(self) -> bool:
        return not self.loose


class ShellCommand(msgspec.Struct, frozen=True):
    """A shell command as its simple commands. `problem`: why it could not be read as a whole; then it must be asked."""

    parts: tuple[ShellPart, ...]
    problem: str | None = None


class ShellParser(Protocol):
    def parse(self, command: str) -> ShellCommand:
        """Never raises. Wrappers are unwrapped: both `env X=1 rm a` and `rm a` are parts then."""
        ...


# --- around a step ----------------------------------------------------------------------------------------------------


class HookCall(msgspec.Struct, frozen=True):
    """What a hook is told. `payload` is JSON; its keys by point stand in docs/hooks.md. `labels` are the session's."""

    point: HookPoint
    session: SessionId
    run: RunId | None
    labels: Labels
    workspace: str | None
    payload: dict[str, Any]


HookHandler = Callable[[HookCall], HookResult | Awaitable[HookResult | None] | None]
"""A hook in the process: returns a result, or None for `continue`."""


class HookKit(Protocol):
    """What the engine asks of its host for hooks."""

    def matcher(self, spec: HookSpec) -> Callable[[str | None, str | None, str | None], bool]:
        """The spec's matcher compiled: whether it matches a tool, its file and its shell command, each None where there is
        none. Takes time linear in their length. ConfigurationError, naming the hook, the pattern and why."""
        ...

    def command(self, spec: HookSpec) -> HookHandler:
        """What runs the spec's command. ConfigurationError when it has none."""
        ...


class BudgetCheck(msgspec.Struct, frozen=True):
    """What a guard is asked before a step. `estimated_tokens`: of the request, for a model step. `run` is None for a call
    that the host makes while no run is open."""

    session: SessionId
    run: RunId | None
    labels: Labels
    spent: Spent
    estimated_tokens: int = 0
    tool: str | None = None


class BudgetGuard(Protocol):
    """Decides whether a step may be paid for. A method that raises, answers nonsense or takes longer than 5 s denies; one
    that is missing allows (seed 001)."""

    async def before_model(self, check: BudgetCheck) -> BudgetDecision: ...
    async def before_tool(self, check: BudgetCheck) -> BudgetDecision: ...
    async def after_model(self, check: BudgetCheck, usage: Usage) -> None:
        """Called once per model step that ended with an answer."""
        ...


# --- tool -----------------------------------------------------------------------------------------------------------


class ToolOutput(msgspec.Struct, frozen=True):
    """What a tool gives back. `metadata` is JSON for people and followers, the model does not see it."""

    content: tuple[ResultBlock, ...]
    is_error: bool = False
    metadata: dict[str, Any] = {}


class ToolTraits(msgspec.Struct, frozen=True):
    """How a tool may be run.

    `repeatable`: running the call again after a crash does no harm. `exclusive`: no other call runs beside it.
    `external`: it has no body; the call is answered from outside. `timeout_s`: None takes the agent's limit.
    """

    repeatable: bool = False
    exclusive: bool = False
    external: bool = False
    read_only: bool = False
    timeout_s: float | None = None


class Verified(NamedTuple):
    """What checks came to: the recorded report, and the output of each command by its check's id."""

    report: VerificationReport
    outputs: Mapping[str, str]


class ToolContext(Protocol):
    """What a running tool may ask of the engine."""

    @property
    def session(self) -> SessionId: ...
    @property
    def run(self) -> RunId | None:
        """None for a call that belongs to no run."""
        ...

    @property
    def call(self) -> CallId: ...
    @property
    def key(self) -> str:
        """The idempotency key of this call: the same when it is run again after a crash."""
        ...

    @property
    def workspace(self) -> Workspace:
        """ToolFailed when the session has none."""
        ...

    @property
    def labels(self) -> Labels: ...
    @property
    def context(self) -> Any:
        """The value given with `send`, or None."""
        ...

    @property
    def cancel(self) -> CancelToken: ...
    @property
    def grace_s(self) -> float:
        """Seconds between telling this call's process to end and killing it; 0 when the interrupt is forced."""
        ...

    async def verify(self) -> Verified:
        """Run the session's checks: those of the agent's verification policy, else the required ones that fit the
        workspace's files. The call's cancel ends them. ToolFailed when it did, or where checks cannot be run;
        BudgetExhausted, and nothing is reported, when a model's call cannot have one of them paid for. Under a budget that
        asks, the run asks for more once the call has ended."""
        ...

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        """What the session's rules say of this tool with these arguments, for one that is led elsewhere than it was sent.

        Nobody is asked. A call of the host is allowed everything.
        """
        ...

    def output(self, text: str) -> None:
        """Show a piece of output live."""
        ...

    def progress(self, text: str) -> None:
        """Say how far it is, live."""
        ...

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        """Ask a model beside the conversation, by default the run's own, and return the text of its answer.

        It is budgeted and recorded as used for `purpose`. BudgetExhausted, ModelError's leaves, ModelNotFound, ToolFailed
        when the call was ended meanwhile.
        """
        ...


class Tool(Protocol):
    """Something a model can call. It reports failure by raising ToolFailed or by `is_error`, never by text alone.

    It may be `HasSubject` as well.
    """

    @property
    def definition(self) -> ToolDefinition: ...
    @property
    def traits(self) -> ToolTraits: ...

    def validate(self, arguments: dict[str, Any]) -> None:
        """Raise InvalidToolArguments, naming the parameter, when they do not fit. Runs before any approval."""
        ...

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        """Names of what the call writes; calls that share one run one after the other. Empty when it writes nothing."""
        ...

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput: ...


@runtime_checkable
class HasSubject(Protocol):
    """A tool that says what the patterns of permission rules are matched against. For one that does not it is the
    arguments as JSON, with sorted keys and without blanks."""

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """Of arguments that fit. ToolFailed when it cannot be told; then a person is asked."""
        ...


class Toolbox(Protocol):
    """The tools by name. `select` turns an agent's list (tool and toolset names) into tools, in a stable order."""

    def select(self, names: Sequence[str]) -> list[Tool]:
        """ToolNotFound, naming the ones that exist."""
        ...


# --- session --------------------------------------------------------------------------------------------------------


class Events(Protocol):
    """Stored events behind `seq` and then each new one: once each, in order, for ever; safe to cancel."""

    seq: Seq
    """The last event returned, or where it began."""

    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __anext__(self) -> Event: ...
    async def wait(self) -> None:
        """Return when there is a next event."""
        ...

    async def recv(self) -> Event | None:
        """The next event; None when the session rests and all are taken."""
        ...


class OneRun(Protocol):
    """One run of a session, as `engine.runs.RunHandle` tells of it."""

    @property
    def id(self) -> RunId: ...
    async def snapshot(self) -> RunSnapshot: ...
    async def status(self) -> RunStatus: ...
    async def events(self) -> list[Event]: ...
    async def wait(self) -> RunResult: ...
    async def cancel(self) -> bool: ...


class InputQueue(Protocol):
    """`session.queue`, see `engine.queue.Queue`."""

    async def list(self, *, all: bool = False) -> list[InputEntry]: ...  # noqa: A002 - reads as it should
    async def withdraw(self, input_id: str) -> None: ...
    async def reorder(self, order: Sequence[str]) -> None: ...


class PendingActions(Protocol):
    """`session.approvals`, see `engine.approvals.Approvals`."""

    async def pending(self) -> list[PendingAction]: ...
    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool: ...
    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool: ...
    async def answer(
        self, action: str, result: str | tuple[ResultBlock, ...], *, is_error: bool = False, sender: str | None = None
    ) -> bool: ...
    async def check_arguments(self, action: str, arguments: dict[str, Any]) -> None: ...


class HeldArtifacts(Protocol):
    """`session.artifacts`, see `engine.artifacts.Artifacts`."""

    async def list(self) -> list[HeldArtifact]: ...
    async def get(self, ref: str) -> bytes: ...
    async def pin(self, ref: str) -> bool: ...
    async def unpin(self, ref: str) -> bool: ...
    async def find(self, ref: str) -> ArtifactRef: ...


class SessionHandle(Protocol):
    """A session as its holder sees it, whether it is driven in this process (`engine.session.Session`, which tells what
    each method does) or by a server (`client.RemoteSession`): same names, arguments, results and errors.

    What is not here needs the process that drives the session: function tools and their `context`, live hooks, budget
    guards, commands registered in code.
    """

    @property
    def id(self) -> SessionId: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def workspace(self) -> str | None: ...
    @property
    def agent(self) -> AgentRef: ...
    @property
    def model(self) -> str: ...
    @property
    def thinking(self) -> ThinkingLevel | None: ...
    @property
    def config(self) -> SessionConfig: ...
    @property
    def cwd(self) -> str | None: ...
    @property
    def tenant_id(self) -> str | None: ...
    @property
    def principal(self) -> str | None: ...
    @property
    def agent_template_id(self) -> str | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def queue(self) -> InputQueue: ...
    @property
    def approvals(self) -> PendingActions: ...
    @property
    def artifacts(self) -> HeldArtifacts: ...

    # How it stands, and what was done.

    async def status(self) -> Status: ...
    async def state(self) -> State: ...
    async def is_running(self) -> bool: ...
    async def history(self) -> tuple[Message, ...]: ...
    async def events(self, from_seq: Seq = 0) -> list[Event]: ...
    def follow(self, from_seq: Seq = 0) -> Events: ...
    def watch(self, from_seq: Seq | None = None) -> AsyncIterator[Event | Delta]: ...
    def event_rx(self, from_seq: Seq | None = None) -> Events: ...
    async def recv_event(self) -> Event | None: ...
    async def runs(self, *, limit: int | None = None) -> list[RunSnapshot]: ...
    async def run_count(self) -> int: ...
    async def run_snapshot(self, run: RunId | str) -> RunSnapshot | None: ...
    async def run_events(self, run: RunId | str) -> list[Event]: ...
    async def run_start(self, run: RunId | str) -> Seq: ...
    async def run_page(self, run: RunId | str, after: Seq = 0, *, limit: int = 100) -> RunPage: ...
    async def current_run(self) -> OneRun | None: ...
    async def active_tools(self) -> list[ActiveTool]: ...
    async def trace_events(self, *, limit: int | None = None) -> list[TraceEvent]: ...
    def tool_definitions(self) -> list[ToolDefinition]: ...
    def tool_names(self) -> list[str]: ...
    async def slash_commands(self) -> list[SlashCommand]: ...

    # Work for it.

    async def send(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> RunResult: ...
    async def prompt(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> RunId: ...
    async def prompt_and_wait(self, prompt: Prompt, *, context: Any = None) -> RunResult: ...
    async def command(
        self,
        text: str,
        *,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> CommandResult | None: ...
    def stream(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> AsyncIterator[Event | Delta]: ...
    async def wait(self, run: RunId | str | None = None) -> RunResult: ...
    async def steer(
        self, message: Prompt, *, mode: SteerMode | None = None, key: str | None = None, sender: str | None = None
    ) -> InputId: ...
    async def follow_up(self, message: Prompt, *, key: str | None = None, sender: str | None = None) -> InputId: ...
    async def resume_run(self, run: RunId | str) -> RunResult: ...
    async def continue_run(self, run: RunId | str) -> RunId: ...
    async def send_event(self, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None: ...

    # Stopping it, and what holds for it.

    async def interrupt(self, *, run: RunId | str | None = None, force: bool = False, reason: str | None = None) -> bool: ...
    async def cancel(self) -> bool: ...
    async def abort(self) -> bool: ...
    async def cancel_run(self, run: RunId | str) -> bool: ...
    async def pause(self, reason: str | None = None) -> bool: ...
    async def resume(self) -> bool: ...
    async def set_model(self, model: str) -> None: ...
    async def set_thinking(self, level: ThinkingLevel) -> None: ...
    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
        permissions: Permissions | None = None,
        approvals: ApprovalPolicy | None = None,
    ) -> None: ...
    async def set_budget(self, budget: Budget | Mapping[str, Any] | Sequence[Budget | Mapping[str, Any]] | None) -> None: ...
    async def budget(self, scope: Scope = "session") -> Budget | None: ...
    async def spent(self, *, tree: bool = False) -> Spent: ...
    async def save(self) -> None: ...
    async def close(self) -> None: ...
    async def detach(self) -> None: ...

    # Answers to what it waits for.

    async def pending_confirmations(self) -> list[PendingAction]: ...
    async def cancel_confirmations(self) -> int: ...
    async def confirm_tool_use(self, tool_id: str, approved: bool, reason: str | None = None) -> bool: ...
    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool: ...
    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool: ...
    async def answer(
        self, action: str, result: str | tuple[ResultBlock, ...], *, is_error: bool = False, sender: str | None = None
    ) -> bool: ...

    # Tools called by the host.

    async def tool(
        self, name: str, arguments: dict[str, Any] | None = None, *, context: Any = None, timeout_s: float | None = None
    ) -> ToolCallResult: ...
    async def read_file(self, path: str, *, offset: int | None = None, limit: int | None = None) -> str: ...
    async def write_file(self, path: str, content: str) -> str: ...
    async def edit_file(self, path: str, old: str, new: str, replace_all: bool = False) -> str: ...
    async def patch_file(self, path: str, diff: str) -> str: ...
    async def ls(self, path: str | None = None) -> str: ...
    async def glob(self, pattern: str, *, path: str | None = None) -> list[str]: ...
    async def grep(self, pattern: str, *, path: str | None = None, glob: str | None = None) -> str: ...
    async def bash(self, command: str, *, timeout_s: float | None = None) -> str: ...

    # Evidence.

    async def verify_commands(self, subject: str, commands: Sequence[VerificationCommand | str]) -> VerificationReport: ...
    async def verification_presets(self) -> list[VerificationPreset]: ...
    async def verification_reports(self) -> list[VerificationReport]: ...
    async def verification_summary(self) -> VerificationSummary: ...
    async def verification_summary_text(self) -> str: ...
    async def record_verification_reports(self, reports: Sequence[VerificationReport]) -> None: ...

    # Going back.

    async def rewind(self, seq: Seq, *, files: bool = False, on_conflict: OnConflict = "refuse") -> RewindResult: ...
    async def preview_rewind(self, seq: Seq) -> RewindPreview: ...
    async def redo(self, *, on_conflict: OnConflict = "refuse") -> RewindResult: ...
    async def preview_redo(self) -> RewindPreview: ...
    async def turnings(self) -> list[Turning]: ...
    async def checkpoints(self) -> list[Checkpoint]: ...
    async def checkpoint(self) -> Checkpoint: ...
    async def diff(
        self, start: Seq | str | None = None, end: Seq | str | None = None, *, paths: Sequence[str] | None = None
    ) -> FileDiff: ...


# --- host -----------------------------------------------------------------------------------------------------------


class Dispatcher(Protocol):
    """Sees to it that a session with work to do is driven by somebody. It may call twice, late, or never forget."""

    def wake(self, session: SessionId) -> None: ...


@runtime_checkable
class SupportsClose(Protocol):
    def close(self) -> Awaitable[None]: ...


__all__ = [
    "Access",
    "Enclosure",
    "ShellPart",
    "ShellParser",
    "ShellCommand",
    "Sandbox",
    "HookHandler",
    "HookKit",
    "HookCall",
    "Confinement",
    "Checkpoints",
    "BudgetGuard",
    "BudgetCheck",
    "ActionId",
    "UNLIMITED",
    "Appended",
    "BlobStore",
    "CancelToken",
    "Dispatcher",
    "EventStore",
    "HasSubject",
    "Subject",
    "Execution",
    "FileInfo",
    "Lease",
    "Model",
    "ModelAnswer",
    "ModelChunk",
    "ModelRegistry",
    "ModelRequest",
    "SavedRule",
    "Events",
    "HeldArtifacts",
    "InputQueue",
    "OneRun",
    "PendingActions",
    "SessionHandle",
    "SessionRow",
    "Store",
    "Snapshot",
    "StoredArtifact",
    "SupportsClose",
    "SupportsPrice",
    "SupportsPrices",
    "TextDelta",
    "ThinkingDelta",
    "Tool",
    "ToolCallDelta",
    "ToolContext",
    "ToolOutput",
    "ToolTraits",
    "Toolbox",
    "Verified",
    "Workspace",
]
