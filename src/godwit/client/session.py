"""RemoteSession: a session of a server as `contracts.SessionHandle`; what each method does is told by
`engine.session.Session`.

Closing it or losing it ends nothing: the server drives the session. What needs a process of its own is not here: live hooks,
budget guards, commands registered in code, and a `context` for function tools.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from ..core.agent import SteerMode, ThinkingLevel
from ..core.artifact import HeldArtifact
from ..core.branches import SessionTree
from ..core.budget import Budget, Scope, Spent, budgets_of
from ..core.checkpoint import Checkpoint, FileDiff, OnConflict, RewindPreview, RewindResult, Turning
from ..core.errors import ActionNotFound, ArtifactNotFound, GodwitError, InvalidArgument
from ..core.events import Event, Remember, UserAnswer, UserInterrupt, UserMessage
from ..core.facts import KEEP_TOKENS, Compaction, InputEntry, PendingAction, ToolCallResult
from ..core.ids import ArtifactRef, RunId, Seq
from ..core.json_values import input_metadata
from ..core.lanes import (
    DeadLetter,
    ExternalTask,
    ExternalTaskResult,
    LaneHandler,
    LaneMode,
    MetricsSnapshot,
    QueueStats,
)
from ..core.messages import ResultBlock
from ..core.modes import BUILD
from ..core.questions import filled
from ..core.record import RunResult, RunSnapshot, RunStatus
from ..core.rules import ApprovalPolicy, Permissions
from ..core.verification import (
    VerificationCommand,
    VerificationPreset,
    VerificationReport,
    VerificationSummary,
    commands_of,
)
from ..engine.budget import QUESTION, check_answer
from ..engine.direct import HostCalls
from ..engine.lane_work import handler_given
from ..engine.session import CommandSender
from .connection import segment
from .external_tools import RemoteTools
from .handle import RemoteHandle, no_context
from .mcp_contents import RemoteContents
from .memories import RemoteMemories
from .registering import RemoteAgents
from .sending import RemoteSending
from .session_tasks import RemoteTasks
from .shapes import BudgetTold, Changed, Found, Listed, MetricsTold, Opened, SpentTold, Verified
from .shared_state import RemoteSharedState
from .todos import RemoteTodos


class RemoteQueue:
    """`session.queue`: list, withdraw and reorder what waits."""

    def __init__(self, session: RemoteHandle) -> None:
        self._session = session

    async def list(self, *, all: bool = False) -> list[InputEntry]:  # noqa: A002 - reads as it should
        """What waits, in the order of delivery; with `all`, every input the session ever had, oldest first."""
        return (await self._session._get("/queue", Listed[InputEntry], all=all)).data

    async def withdraw(self, input_id: str) -> None:
        """Take a waiting input back. InputNotFound when it was delivered or withdrawn already."""
        await self._session._post(f"/queue/{segment(input_id)}", object, method="DELETE")

    async def reorder(self, order: Sequence[str]) -> None:
        """Put the follow-ups into this order; it names every one that waits. InputNotFound otherwise."""
        await self._session._post("/queue", object, {"order": list(order)}, method="PUT")


class RemoteActions:
    """`session.approvals`: list and answer what is pending."""

    def __init__(self, session: RemoteHandle) -> None:
        self._session = session

    async def pending(self) -> list[PendingAction]:
        """What waits for an answer, oldest first."""
        return (await self._session._get("/actions", Listed[PendingAction])).data

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """Let the call run; `arguments` replace all of its own. False when it had been answered before."""
        body = {"arguments": arguments, "remember": remember, "rule": rule, "sender": sender}
        return await self._answered(action, "approve", body)

    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """Refuse the call; the model is told the reason. False when it had been answered before."""
        body = {"reason": reason, "remember": remember, "rule": rule, "sender": sender}
        return await self._answered(action, "deny", body)

    async def answer(
        self,
        action: str,
        result: str | tuple[ResultBlock, ...] | Mapping[str, Any],
        *,
        is_error: bool = False,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Give an external call's result, or the answer to a question. False when it had been answered before."""
        body = {"result": result, "is_error": is_error, "sender": sender, "metadata": input_metadata(metadata)}
        return await self._answered(action, "answer", body)

    async def check_arguments(self, action: str, arguments: dict[str, Any]) -> None:
        """Whether the question can be answered with these. InvalidArgument for a budget's that names no amount it can use,
        and for a form that they do not fit; ActionNotFound when nothing of that name waits."""
        opened = next((p for p in await self.pending() if action in (p.id, p.call)), None)
        if opened is None:
            raise ActionNotFound(f"session {self._session.id} waits for no action or call {action!r}", action=action)
        if opened.kind == "question" and opened.schema is not None:
            filled(opened.schema, arguments)
        if opened.call is None and opened.name == QUESTION:
            check_answer(opened.arguments, arguments)

    async def _answered(self, action: str, how: str, body: dict[str, Any]) -> bool:
        return (await self._session._post(f"/actions/{segment(action)}/{how}", Changed, body)).changed


class RemoteArtifacts:
    """`session.artifacts`: large outputs kept by reference."""

    def __init__(self, session: RemoteHandle) -> None:
        self._session = session

    async def list(self) -> list[HeldArtifact]:
        """What the session holds, oldest first."""
        return (await self._session._get("/artifacts", Listed[HeldArtifact])).data

    async def get(self, ref: str) -> bytes:
        """The content. ArtifactNotFound, which tells whether it was let go of; InvalidArgument when several begin so."""
        return await self._session._get(f"/artifacts/{_ref(ref)}/content", bytes)

    async def pin(self, ref: str) -> bool:
        """Keep it whatever the limits are; False when it was pinned before."""
        return (await self._session._post(f"/artifacts/{_ref(ref)}/pin", Changed, method="PUT")).changed

    async def unpin(self, ref: str) -> bool:
        """Let it go when its time comes; False when it was not pinned."""
        return (await self._session._post(f"/artifacts/{_ref(ref)}/pin", Changed, method="DELETE")).changed

    async def find(self, ref: str) -> ArtifactRef:
        """The whole ref for its beginning."""
        return ArtifactRef((await self._session._get(f"/artifacts/{_ref(ref)}", Found)).ref)


def _ref(ref: str) -> str:
    """The ref as a part of a path. ArtifactNotFound for none."""
    if not ref:
        raise ArtifactNotFound("an artifact is named by its ref, or the beginning of it", ref=ref)
    return segment(ref)


class RemoteRun:
    """One run of a session."""

    def __init__(self, session: RemoteSession, run: RunId) -> None:
        self.id = run
        self._session = session

    async def snapshot(self) -> RunSnapshot:
        return await self._session._get(f"/runs/{self.id}", RunSnapshot)

    async def status(self) -> RunStatus:
        return (await self.snapshot()).status

    async def events(self) -> list[Event]:
        return await self._session.run_events(self.id)

    async def wait(self) -> RunResult:
        """See `RemoteSession.wait`."""
        return await self._session.wait(self.id)

    async def cancel(self) -> bool:
        """Interrupt it if it is still the open run."""
        return await self._session.cancel_run(self.id)


class RemoteSession(RemoteSending, RemoteTodos, RemoteSharedState, RemoteAgents, RemoteTools, RemoteContents, HostCalls):
    """One durable conversation with an agent, on a server. Get one from `RemoteRuntime`."""

    @property
    def queue(self) -> RemoteQueue:
        """The inputs that wait."""
        return RemoteQueue(self)

    @property
    def approvals(self) -> RemoteActions:
        """What the session waits for, and the answers."""
        return RemoteActions(self)

    @property
    def artifacts(self) -> RemoteArtifacts:
        """Its large outputs."""
        return RemoteArtifacts(self)

    @property
    def tasks(self) -> RemoteTasks:
        """What it has handed to other agents."""
        return RemoteTasks(self)

    @property
    def memory(self) -> RemoteMemories:
        """What it remembers beyond itself."""
        return RemoteMemories(self._connection, session=self.id)

    async def current_run(self) -> RemoteRun | None:
        """The open run, if any."""
        run = (await self._row()).run
        return None if run is None else RemoteRun(self, run)

    async def send_event(self, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None) -> None:
        """Send an input as its event: a message (prompt, steer or follow-up), an interrupt, or an answer (seed 003)."""
        self._check_open()
        match event:
            case UserMessage(delivery="prompt"):
                await self.prompt(event.content, key=key, sender=event.sender, metadata=event.metadata)
            case UserMessage(delivery="steer"):
                await self.steer(event.content, mode=event.mode, key=key, sender=event.sender, metadata=event.metadata)
            case UserMessage():
                await self.follow_up(event.content, key=key, sender=event.sender, metadata=event.metadata)
            case UserInterrupt():
                await self.interrupt(run=event.run, force=event.force, reason=event.reason)
            case UserAnswer(decision="approve"):
                await self.approvals.approve(
                    event.action,
                    arguments=event.arguments,
                    remember=event.remember,
                    rule=event.rule,
                    sender=event.sender,
                )
            case UserAnswer(decision="deny"):
                await self.approvals.deny(
                    event.action, event.reason, remember=event.remember, rule=event.rule, sender=event.sender
                )
            case UserAnswer():
                await self.approvals.answer(
                    event.action,
                    event.content,
                    is_error=event.is_error,
                    sender=event.sender,
                    metadata=event.metadata,
                )

    def command_tx(self) -> CommandSender:
        """The raw way to send commands, from any task of this event loop (seed 002)."""
        return CommandSender(self)

    # --- control ---------------------------------------------------------------------------------------------------

    async def interrupt(
        self, *, run: RunId | str | None = None, force: bool = False, reason: str | None = None, key: str | None = None
    ) -> bool:
        """End the open run at once, keeping what was streamed; returns when it has ended. False when there was none."""
        body = {"run": run, "force": force, "reason": reason}
        return (await self._post("/interrupt", Changed, body, key=key)).changed

    async def pause(self, reason: str | None = None) -> bool:
        """Stop at the next checkpoint. False when it was paused already."""
        self._check_open()
        return (await self._post("/pause", Changed, {"reason": reason})).changed

    async def resume(self) -> bool:
        """Go on from the checkpoint. False when it was not paused."""
        self._check_open()
        return (await self._post("/resume", Changed)).changed

    async def set_model(self, model: str) -> None:
        """Use this model from the next prompt on, or the one that this hint means. ModelNotFound, AuthenticationFailed."""
        await self.configure(model=model)

    async def set_mode(self, mode: str) -> None:
        """What the session may do from the next call on: `build`, `plan`, or a mode of the agent's own. InvalidArgument."""
        await self.configure(mode=mode)

    async def mode(self) -> str:
        """The mode it is in; `build` where nothing is taken away."""
        return (await self.state()).mode or BUILD.name

    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
        permissions: Permissions | None = None,
        approvals: ApprovalPolicy | None = None,
        mode: str | None = None,
    ) -> None:
        """Change settings for the runs that start from now on; None leaves one as it is."""
        self._check_open()
        if thinking is not None and thinking not in get_args(ThinkingLevel):
            known = ", ".join(get_args(ThinkingLevel))
            raise InvalidArgument(f"thinking level {thinking!r} is none of {known}", thinking=thinking)
        body = {
            "model": model,
            "thinking": thinking,
            "steer_mode": steer_mode,
            "name": name,
            "permissions": permissions,
            "approvals": approvals,
            "mode": mode,
        }
        await self._post("", object, body, method="PATCH")
        before = self._config
        if model is not None:
            # The server says which model its names and hints mean.
            model = (await self._get("", Opened)).config.model
        self._config = dataclasses.replace(
            before,
            model=model or before.model,
            thinking=thinking or before.thinking,
            steer_mode=steer_mode or before.steer_mode,
        )

    async def set_budget(self, budget: Budget | Mapping[str, Any] | Sequence[Budget | Mapping[str, Any]] | None) -> None:
        """From the next prompt on this is what may be spent. None: the agent's own again. ConfigurationError."""
        self._check_open()
        given = None if budget is None else budgets_of(budget)
        await self._post("/budget", object, {"budgets": given}, method="PUT")

    async def budget(self, scope: Scope = "session") -> Budget | None:
        """What may be spent, as it counts from the next prompt on."""
        return (await self._get("/budget", BudgetTold, scope=scope)).budget

    async def spent(self, *, tree: bool = False) -> Spent:
        """What the session has used up; with `tree` together with all that worked for it."""
        return (await self._get("/spent", SpentTold, tree=tree)).spent

    async def save(self) -> None:
        """Return when the server answers: what it has answered before is as durable as its store promises."""
        await self._row()

    async def close(self) -> None:
        """Refuse further calls on this handle and give its connections up. The server goes on. Safe to repeat."""
        self._closed = True
        for follower in list(self._followers):
            with contextlib.suppress(GodwitError):
                await follower.close()

    async def detach(self) -> None:
        """The same as `close`: nothing ends with a remote handle."""
        await self.close()

    # --- answers ---------------------------------------------------------------------------------------------------

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `engine.approvals.Approvals.approve`."""
        return await self.approvals.approve(action, arguments=arguments, remember=remember, rule=rule, sender=sender)

    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `engine.approvals.Approvals.deny`."""
        return await self.approvals.deny(action, reason, remember=remember, rule=rule, sender=sender)

    async def answer(
        self,
        action: str,
        result: str | tuple[ResultBlock, ...] | Mapping[str, Any],
        *,
        is_error: bool = False,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """See `engine.approvals.Approvals.answer`."""
        return await self.approvals.answer(action, result, is_error=is_error, sender=sender, metadata=metadata)

    # --- lanes -----------------------------------------------------------------------------------------------------

    async def set_lane_handler(self, lane: str, handler: LaneHandler | LaneMode | Mapping[str, Any]) -> None:
        """From the next call on this is who does the session's calls of the lane. LaneNotFound, ConfigurationError."""
        self._check_open()
        await self._post(f"/lanes/{segment(lane)}", object, handler_given(handler), method="PUT")

    async def pending_external_tasks(self) -> list[ExternalTask]:
        """Calls that wait for somebody outside, the oldest first."""
        return (await self._get("/external_tasks", Listed[ExternalTask])).data

    async def complete_external_task(
        self, task_id: str, result: ExternalTaskResult | Mapping[str, Any], *, sender: str | None = None
    ) -> bool:
        """Answer a pending external task, whoever works on it. False when it does not wait any more."""
        self._check_open()
        given = result if isinstance(result, ExternalTaskResult) else msgspec.convert(result, ExternalTaskResult)
        body = {"result": given, "sender": sender}
        return (await self._post(f"/external_tasks/{segment(task_id)}/complete", Changed, body)).changed

    async def queue_stats(self) -> QueueStats:
        """What of this session waits, runs, and is done outside, in each lane of the server."""
        return await self._get("/queue_stats", QueueStats)

    async def queue_metrics(self) -> MetricsSnapshot | None:
        """What became of all steps of the server; None unless its lanes tell, and for a key of a tenant's."""
        return (await self._get("/queue_metrics", MetricsTold)).metrics

    async def dead_letters(self) -> list[DeadLetter]:
        """The session's calls whose last try outside failed, the oldest first."""
        return (await self._get("/dead_letters", Listed[DeadLetter])).data

    async def requeue_dead_letter(self, task_id: str) -> bool:
        """Hand it out again; the model gets its result as a follow-up. False when there is none of that id."""
        self._check_open()
        return (await self._post(f"/dead_letters/{segment(task_id)}/requeue", Changed)).changed

    async def drop_dead_letter(self, task_id: str) -> bool:
        """Remove it; False when there is none of that id."""
        self._check_open()
        return (await self._post(f"/dead_letters/{segment(task_id)}", Changed, method="DELETE")).changed

    # --- tools and evidence ----------------------------------------------------------------------------------------

    async def tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        context: Any = None,
        timeout_s: float | None = None,
        key: str | None = None,
    ) -> ToolCallResult:
        """Run a tool on the server. One that fails and a name that is unknown are results. Needs the scope `admin`."""
        self._check_open()
        no_context(context)
        body = {"arguments": arguments or {}, "timeout_s": timeout_s}
        return await self._post(f"/tools/{segment(name)}", ToolCallResult, body, key=key)

    async def verify_commands(self, subject: str, commands: Sequence[VerificationCommand | str]) -> VerificationReport:
        """Run these commands on the server and record what came of them. Needs the scope `admin`."""
        self._check_open()
        body = {"subject": subject, "commands": commands_of(commands)}
        return await self._post("/verification", VerificationReport, body)

    async def verification_presets(self) -> list[VerificationPreset]:
        """Commands that fit the workspace, by its files."""
        return (await self._get("/verification/presets", Listed[VerificationPreset])).data

    async def verification_reports(self) -> list[VerificationReport]:
        """Every report recorded for the session, oldest first."""
        return (await self._get("/verification", Verified)).reports

    async def verification_summary(self) -> VerificationSummary:
        """What holds now."""
        return (await self._get("/verification", Verified)).summary

    async def verification_summary_text(self) -> str:
        """The same in one line."""
        return (await self._get("/verification", Verified)).text

    async def record_verification_reports(self, reports: Sequence[VerificationReport]) -> None:
        """Add reports that were made elsewhere, all of them or none."""
        self._check_open()
        await self._post("/verification/reports", object, {"reports": list(reports)})

    # --- going back ------------------------------------------------------------------------------------------------

    async def rewind(self, seq: Seq, *, files: bool = False, on_conflict: OnConflict = "refuse") -> RewindResult:
        """Go back to where the conversation stood at `seq`, with `files` also to what the workspace was then."""
        self._check_open()
        body = {"seq": seq, "files": files, "on_conflict": on_conflict}
        return await self._post("/rewind", RewindResult, body)

    async def preview_rewind(self, seq: Seq) -> RewindPreview:
        """What going back would do to the files; does nothing."""
        self._check_open()
        return await self._get("/preview_rewind", RewindPreview, seq=seq)

    async def redo(self, *, on_conflict: OnConflict = "refuse") -> RewindResult:
        """Take the last rewind back that is not taken back yet."""
        self._check_open()
        return await self._post("/redo", RewindResult, {"on_conflict": on_conflict})

    async def preview_redo(self) -> RewindPreview:
        """What `redo` would do to the files; does nothing."""
        self._check_open()
        return await self._get("/preview_redo", RewindPreview)

    async def tree(self) -> SessionTree:
        """Every message there ever was, what came before each, and where the conversation stands now."""
        return await self._get("/branches", SessionTree)

    async def label(self, seq: Seq, label: str | None) -> None:
        """Name a place of the tree; None takes the name away."""
        self._check_open()
        await self._post("/label", object, {"seq": seq, "label": label})

    async def navigate(
        self,
        to: Seq | str,
        *,
        files: bool = False,
        on_conflict: OnConflict = "refuse",
        summary: bool = False,
        focus: str | None = None,
    ) -> RewindResult:
        """Go to any place there ever was in the conversation, on whatever branch."""
        self._check_open()
        body = {"to": to, "files": files, "on_conflict": on_conflict, "summary": summary, "focus": focus}
        return await self._post("/navigate", RewindResult, body)

    async def fork(
        self,
        at: Seq | str | None = None,
        *,
        workspace: str | os.PathLike[str] | None = None,
        own_workspace: bool | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        key: str | None = None,
    ) -> RemoteSession:
        """A new session that begins as this one did up to `at`. `workspace`: an empty folder of the server's;
        `own_workspace`: a new one is made there, as it is where this session has one of its own."""
        self._check_open()
        body = {
            "at": at,
            "workspace": None if workspace is None else os.path.abspath(workspace),
            "own_workspace": own_workspace,
            "name": name,
            "metadata": None if metadata is None else dict(metadata),
            "session": session,
        }
        return RemoteSession(self._connection, await self._post("/fork", Opened, body, key=key))

    async def compact(self, focus: str | None = None, *, keep_tokens: int = KEEP_TOKENS) -> Compaction:
        """Have the session's model write a summary that stands for the older messages from here on."""
        self._check_open()
        return await self._post("/compact", Compaction, {"focus": focus, "keep_tokens": keep_tokens})

    async def turnings(self) -> list[Turning]:
        """The messages of users that the conversation holds, each with the seq to rewind to before it."""
        return (await self._get("/turnings", Listed[Turning])).data

    async def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints of files that the log names, oldest first."""
        return (await self._get("/checkpoints", Listed[Checkpoint])).data

    async def checkpoint(self) -> Checkpoint:
        """Keep the files as they are now. CheckpointFailed."""
        self._check_open()
        return await self._post("/checkpoints", Checkpoint)

    async def diff(
        self, start: Seq | str | None = None, end: Seq | str | None = None, *, paths: Sequence[str] | None = None
    ) -> FileDiff:
        """What changed in the files between two moments."""
        return await self._get("/diff", FileDiff, start=start, end=end, paths=None if paths is None else list(paths))
