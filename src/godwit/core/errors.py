"""Every exception godwit raises on purpose.

    GodwitError
      x InvalidArgument              invalid_argument        the caller passed something that cannot work
        x AttachmentRefused          attachment_refused      the model, or its provider, does not take a file
        x LooksLikeSecret            looks_like_secret       what looks like a key is not kept as a memory
        x ConfigurationError         configuration           an agent, a setting or a model name is wrong
        x PathEscape                 path_escape             a path leads out of the workspace
      x NotFound                     not_found
        x SessionNotFound            session_not_found
        x AgentNotFound              agent_not_found
        x RunNotFound                run_not_found
        x ActionNotFound             action_not_found
        x TaskNotFound               task_not_found
        x InputNotFound              input_not_found
        x ArtifactNotFound           artifact_not_found
        x CheckpointNotFound         checkpoint_not_found
        x ToolNotFound               tool_not_found
        x ModelNotFound              model_not_found
        x DocumentNotFound           document_not_found
        x LaneNotFound               lane_not_found
        x MemoryNotFound             memory_not_found
      x Conflict                     conflict                legal in itself, but not now
        x SessionBusy                session_busy
        x SessionClosed              session_closed
        x SessionPaused              session_paused
        x SessionArchived            session_archived
        x SessionExists              session_exists
        x SessionOwned               session_owned           another live process drives it
        x NoOpenRun                  no_open_run
        x InboxFull                  inbox_full
        x AlreadyAnswered            already_answered
        x IllegalEvent               illegal_event           the transition table has no such move
        x StaleEpoch                 stale_epoch             the writer lost its lease
        x HeadMoved                  head_moved              the log grew since the writer looked
        x RewindConflict             rewind_conflict         a person changed what a rewind would put back
        x BlockedByHook              hook_blocked
        x KeyReused                  key_reused              one idempotency key, two different inputs
        x BudgetExhausted            budget_exhausted        it cannot be paid for
        x DocumentExists             document_exists
        x RevisionConflict           revision_conflict       somebody else changed it meanwhile
        x PatchFailed                patch_failed            a patch does not fit the shared state as it is
        x WorkLost                   work_lost               another worker has it, or will
        x LanesClosed                lanes_closed            no further step is taken
        x IllegalStream              illegal_stream          an event that may not come here in a stream of AG-UI
        x ChannelClosed              channel_closed          nobody reads the stream any more
        x ChannelFull                channel_full            its reader is slower than what is sent
      x Refused                      refused                 not from this caller, or not now
        x Unauthenticated            unauthenticated         no valid key
        x PermissionDenied           permission_denied       the key may not do this
        x TooMany                    too_many                a rate or a quota; `retry_after_s`
        x TooLarge                   too_large
        x NotSupported               not_supported           part of a protocol that godwit does not have
      x StoreError                   store
        x StoreFull                  store_full
        x StoreReadOnly              store_read_only
        x StoreLocked                store_locked
        x StoreCorrupt               store_corrupt
        x StoreClosed                store_closed
        x StoreTooNew                store_too_new           written by a newer godwit
        x SecretUnreadable           secret_unreadable       its key is not here, or it was changed
        x MemoryUnavailable          memory_unavailable      there is no memory here, or it cannot be opened
      x ModelError                   model                   the provider failed; `retryable`, `retry_after_s`
        x ModelUnavailable           model_unavailable
        x RateLimited                rate_limited
        x AuthenticationFailed       authentication_failed
        x ContextTooLong             context_too_long
        x ModelRefused               model_refused           the provider rejected the request itself
        x StreamBroken               stream_broken           the stream ended without its end
        x ReplayMismatch             replay_mismatch
      x ToolFailed                   tool_failed             raised by a tool, becomes an error result
        x InvalidToolArguments       invalid_tool_arguments
        x ToolTimeout                tool_timeout
      x TaskTimedOut                 task_timed_out          a task of a lane took longer than it may
      x Unreachable                  unreachable             no server answers
      x CheckpointFailed             checkpoint_failed       the files cannot be kept, or not be put back
      x HookFailed                   hook_failed             a hook could not answer
      x RunFailed                    run_failed              a run ended as failed; carries the result

`code` is stable and is what surfaces translate. A message says what was wrong, with which value, and what to do.
Faults that belong into the log are data, not exceptions: see `Fault`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from .asked import AnswerAction, Question, QuestionAnswer, Resumption


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure as data, for the log: stable `code`, readable `message`, JSON `details`."""

    code: str
    message: str
    details: dict[str, Any] = {}


class GodwitError(Exception):
    """Something godwit refuses or could not do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.details = details
        super().__init__(self.message)

    def fault(self) -> Fault:
        """The same failure as data."""
        return Fault(self.code, self.message, self.details)


class InvalidArgument(GodwitError):
    """An argument cannot be used."""

    code = "invalid_argument"


class AttachmentRefused(InvalidArgument):
    """The model, or its provider, does not take a file that goes with a message."""

    code = "attachment_refused"


class LooksLikeSecret(InvalidArgument):
    """What looks like a key or a password is not kept as a memory."""

    code = "looks_like_secret"


class ConfigurationError(InvalidArgument):
    """An agent definition or a setting cannot be used."""

    code = "configuration"


class PathEscape(InvalidArgument):
    """The path leads out of the workspace."""

    code = "path_escape"


class NotFound(GodwitError):
    """There is no such thing."""

    code = "not_found"


class SessionNotFound(NotFound):
    """There is no session with this id."""

    code = "session_not_found"


class AgentNotFound(NotFound):
    """There is no agent with this name and version."""

    code = "agent_not_found"


class RunNotFound(NotFound):
    """The session has no run with this id."""

    code = "run_not_found"


class ActionNotFound(NotFound):
    """There is no pending action with this id."""

    code = "action_not_found"


class TaskNotFound(NotFound):
    """There is no such task, or it has ended already."""

    code = "task_not_found"


class InputNotFound(NotFound):
    """There is no queued input with this id."""

    code = "input_not_found"


class ArtifactNotFound(NotFound):
    """There is no artifact with this reference."""

    code = "artifact_not_found"


class MemoryNotFound(NotFound):
    """There is no such memory."""

    code = "memory_not_found"


class CheckpointNotFound(NotFound):
    """There is no such checkpoint."""

    code = "checkpoint_not_found"


class ToolNotFound(NotFound):
    """No tool of this name is registered."""

    code = "tool_not_found"


class ModelNotFound(NotFound):
    """No model answers to this name."""

    code = "model_not_found"


class DocumentNotFound(NotFound):
    """There is no document of this kind and id."""

    code = "document_not_found"


class McpServerNotFound(NotFound):
    """The session has no MCP server of this name."""

    code = "mcp_server_not_found"


class LaneNotFound(NotFound):
    """There is no lane of that name."""

    code = "lane_not_found"


class Conflict(GodwitError):
    """The session's state does not allow this now."""

    code = "conflict"


class SessionBusy(Conflict):
    """A run is open: wait for it, or send the message as a steer or a follow-up."""

    code = "session_busy"


class SessionClosed(Conflict):
    """This handle was closed: open the session again by its id."""

    code = "session_closed"


class SessionPaused(Conflict):
    """The session is paused: resume it first."""

    code = "session_paused"


class SessionArchived(Conflict):
    """The session is archived and final: start a new one."""

    code = "session_archived"


class SessionExists(Conflict):
    """A session with this id exists already."""

    code = "session_exists"


class SessionOwned(Conflict):
    """Another live process drives this session."""

    code = "session_owned"


class DocumentExists(Conflict):
    """There is one of this kind with this id or name already."""

    code = "document_exists"


class RevisionConflict(Conflict):
    """It was changed by somebody else meanwhile: read it again."""

    code = "revision_conflict"


class PatchFailed(Conflict):
    """The patch does not fit the shared state as it is."""

    code = "patch_failed"


class WorkLost(Conflict):
    """The worker's lease is gone, and with it the work: leave it to whoever has it now, and poll for other work."""

    code = "work_lost"


class LanesClosed(Conflict):
    """The lanes are closed: no further step is taken."""

    code = "lanes_closed"


class IllegalStream(Conflict):
    """An event may not come here in a stream of AG-UI; `rule` says which rule it breaks, `event` and `id` where."""

    code = "illegal_stream"


class ChannelClosed(Conflict):
    """Nobody reads this stream any more, or it was ended."""

    code = "channel_closed"


class ChannelFull(Conflict):
    """As many events as the stream holds wait to be read: send with `send`, which waits."""

    code = "channel_full"


class NoOpenRun(Conflict):
    """No run is open: send a prompt instead."""

    code = "no_open_run"


class InboxFull(Conflict):
    """Too many inputs wait in this session: let it work some off, or withdraw some."""

    code = "inbox_full"


class AlreadyAnswered(Conflict):
    """This action has been answered already."""

    code = "already_answered"


class IllegalEvent(Conflict):
    """The transition table has no such move."""

    code = "illegal_event"


class StaleEpoch(Conflict):
    """The writer's lease is gone: another driver has taken the session over."""

    code = "stale_epoch"


class HeadMoved(Conflict):
    """The log grew since the writer looked: read on and decide again."""

    code = "head_moved"


class RewindConflict(Conflict):
    """Files that the rewind would put back were changed by a person meanwhile; `paths` names them."""

    code = "rewind_conflict"


class BlockedByHook(Conflict):
    """A hook does not let this happen; `hook` and `point` say which and where."""

    code = "hook_blocked"


class KeyReused(Conflict):
    """The idempotency key was used before, for another input."""

    code = "key_reused"


class BudgetExhausted(Conflict):
    """A limit of the session's budget was met: raise it, or end the work here."""

    code = "budget_exhausted"


class SubagentLimit(Conflict):
    """Subagents are limited here: in depth, or in number. This is a limit, and no answer."""

    code = "subagent_limit"


class Refused(GodwitError):
    """A surface does not let this caller do this now."""

    code = "refused"


class Unauthenticated(Refused):
    """There was no valid key."""

    code = "unauthenticated"


class PermissionDenied(Refused):
    """The key may not do this."""

    code = "permission_denied"


class TooMany(Refused):
    """Too much was asked for in too short a time, or is there already. `retry_after_s`: when to try again, if ever."""

    code = "too_many"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class TooLarge(Refused):
    """What was sent is larger than what is taken."""

    code = "too_large"


class NotSupported(Refused):
    """This part of the protocol is not there."""

    code = "not_supported"


class StoreError(GodwitError):
    """The store could not do its work."""

    code = "store"


class StoreFull(StoreError):
    """No space is left for the store: free some, then go on; nothing acknowledged was lost."""

    code = "store_full"


class StoreReadOnly(StoreError):
    """The store's file cannot be written."""

    code = "store_read_only"


class StoreLocked(StoreError):
    """Another process holds the store's write lock for too long."""

    code = "store_locked"


class StoreCorrupt(StoreError):
    """The store's file is damaged."""

    code = "store_corrupt"


class StoreClosed(StoreError):
    """The store has been closed."""

    code = "store_closed"


class StoreUnreachable(StoreError):
    """The store's server is not there. What was being written when it went may be stored if the details have `unknown`."""

    code = "store_unreachable"


class StoreTooNew(StoreError):
    """The store was written by a newer godwit: upgrade this one."""

    code = "store_too_new"


class SecretUnreadable(StoreError):
    """A secret cannot be opened: its key is not here, or it was moved or changed."""

    code = "secret_unreadable"


class MemoryUnavailable(StoreError):
    """There is no memory here, or it cannot be opened."""

    code = "memory_unavailable"


class ModelError(GodwitError):
    """The model's provider failed.

    `retryable`: asking again may help. `retry_after_s`: seconds the provider asked to wait, or None.
    """

    code = "model"
    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after_s = retry_after_s


class ModelUnavailable(ModelError):
    """The provider cannot be reached or is failing."""

    code = "model_unavailable"
    retryable_by_default = True


class RateLimited(ModelError):
    """The provider limits the rate of requests."""

    code = "rate_limited"
    retryable_by_default = True


class AuthenticationFailed(ModelError):
    """The provider does not accept the key: set the right one."""

    code = "authentication_failed"


class ContextTooLong(ModelError):
    """The request is longer than the model's context window."""

    code = "context_too_long"


class ModelRefused(ModelError):
    """The provider rejected the request."""

    code = "model_refused"


class StreamBroken(ModelError):
    """The provider's stream ended without its end."""

    code = "stream_broken"
    retryable_by_default = True


class ReplayMismatch(ModelError):
    """The request differs from the recorded one."""

    code = "replay_mismatch"


class ToolFailed(GodwitError):
    """A tool could not do its work; the model gets the message as an error result."""

    code = "tool_failed"


class InvalidToolArguments(ToolFailed):
    """The arguments do not fit the tool's schema."""

    code = "invalid_tool_arguments"


class OutcomeUnknown(ToolFailed):
    """A call was under way and is lost: it may or may not have taken effect."""

    code = "outcome_unknown"


class ToolTimeout(ToolFailed):
    """The tool took longer than it may."""

    code = "tool_timeout"


class TaskTimedOut(GodwitError):
    """A task took longer than its lane allows."""

    code = "task_timed_out"


class Unreachable(GodwitError):
    """The server does not answer: what was sent may have been done; sending it again under its key is safe."""

    code = "unreachable"


class McpServerFailed(GodwitError):
    """An MCP server cannot be used now: it cannot be connected, needs a credential, or answers with an error."""

    code = "mcp_server_failed"


class McpInputRequired(McpServerFailed):
    """An MCP server asks something before it answers: `questions`. The request is made again with what `answered` gives."""

    code = "mcp_input_required"

    def __init__(
        self, message: str | None = None, *, questions: Iterable[Question] = (), state: str = "", **details: Any
    ) -> None:
        self.questions = msgspec.convert(list(questions), tuple[Question, ...])
        self.state = state
        super().__init__(message, questions=msgspec.to_builtins(self.questions), state=state, **details)

    def answered(self, answers: Mapping[str, Mapping[str, Any] | AnswerAction]) -> Resumption:
        """The answers by the keys of the questions: what is filled into a form, or `accept`, `decline` or `cancel`, which
        is what one without an answer gets. InvalidArgument."""
        if unknown := sorted(set(answers) - {one.key for one in self.questions}):
            raise InvalidArgument(f"{unknown[0]!r} is not asked: {', '.join(one.key for one in self.questions)} is")
        made: list[QuestionAnswer] = []
        for key, answer in answers.items():
            if isinstance(answer, Mapping):
                made.append(QuestionAnswer(key, "accept", dict(answer)))
            elif answer in ("accept", "decline", "cancel"):
                made.append(QuestionAnswer(key, answer))
            else:
                raise InvalidArgument(f"{key!r}: {answer!r} is neither the fields of a form nor accept, decline or cancel")
        return Resumption(self.state, tuple(made))


class McpLoginFailed(GodwitError):
    """A login to an MCP server came to nothing: it does not say where one logs in, or the authorization server refused
    it."""

    code = "mcp_login_failed"


class CheckpointFailed(GodwitError):
    """The workspace's files could not be kept, or not be put back."""

    code = "checkpoint_failed"


class HookFailed(GodwitError):
    """A hook could not answer. At a gating point that blocks, elsewhere it is recorded and passed over."""

    code = "hook_failed"


class RunFailed(GodwitError):
    """The run ended as failed; `result` holds what it did until then."""

    code = "run_failed"

    def __init__(self, message: str | None = None, *, result: Any = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.result = result
