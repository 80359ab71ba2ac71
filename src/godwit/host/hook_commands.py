"""Command hooks: a program of the user's that is told of a point as JSON on stdin and answers by exit code, stderr or JSON.

Both what godwit says (`point`, `payload`) and what Claude Code's hooks read (`hook_event_name`, `tool_name`, `tool_input`)
stand in the same object, and both kinds of answer are understood. Owns the process and the reading of its answer; leaves out
when it is called and what an answer comes to (`engine/hooks.py`), which also keeps the time: a command that is cancelled is
killed with all its processes. It is the user's own code and is not sandboxed; the environment it sees has no credentials.

Rules a change must keep: what cannot be understood is a failure, never an answer; a key that is not known is not understood.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import signal
import tempfile
from collections.abc import Callable
from typing import Any

import msgspec

from ..contracts import HookCall, HookHandler
from ..core.errors import HookFailed
from ..core.hooks import CLAUDE_TOOLS, HookAction, HookPoint, HookResult, HookSpec, claude_name
from ..workspaces.command import kill, shell
from ..workspaces.environment import inherited
from ..workspaces.watchdog import WATCHDOG

STDOUT_LIMIT = 1 << 20
"""Bytes an answer may have; a hook that says more is killed and has failed."""
STDERR_LIMIT = 64 * 1024
"""Bytes of stderr that are kept."""
SHOWN_LIMIT = 500
"""Characters of an output that are shown in an error."""
GRACE_S = 0.2
"""Seconds a command that is cut off gets to end by itself."""
DRAIN_S = 0.1
"""After the command has ended: the longest wait for output that processes it left behind may still send."""

_TEXT_IS_NOTE: frozenset[HookPoint] = frozenset(("before_prompt", "before_session"))
"""Where plain text on stdout is a note for the model, as Claude Code's users know it."""


def command_handler(spec: HookSpec) -> HookHandler:
    """What runs the spec's command for a call and reads its answer."""
    command = spec.command
    assert command is not None

    async def run(call: HookCall) -> HookResult:
        code, stdout, stderr = await _executed(command, spec.id, call)
        return answer_of(call.point, code, stdout, stderr)

    return run


def told(call: HookCall) -> dict[str, Any]:
    """What a command reads on its stdin."""
    payload = call.payload
    said: dict[str, Any] = {
        "session_id": call.session,
        "cwd": call.workspace or os.getcwd(),
        "hook_event_name": claude_name(call.point) or call.point,
        "permission_mode": "default",
        "point": call.point,
        "run": call.run,
        "labels": msgspec.to_builtins(call.labels),
        "payload": payload,
    }
    tool, arguments = payload.get("tool"), payload.get("arguments")
    if isinstance(tool, str):
        said["tool_name"] = CLAUDE_TOOLS.get(tool, tool)
        said["tool_input"] = _with_whole_path(arguments, call.workspace)
        said["tool_use_id"] = payload.get("call")
    if call.point == "after_tool":
        status, output = payload.get("status"), payload.get("result")
        known = {k: payload[k] for k in ("status", "exit_code", "duration_ms") if payload.get(k) is not None}
        said["tool_response"] = {"success": status == "ok", "output": output, **known}
        if tool == "bash":
            said["tool_response"] |= {"stdout": output, "stderr": "", "interrupted": False}
        if status != "ok":
            said |= {"hook_event_name": "PostToolUseFailure", "error": output}
    for name in ("prompt", "source", "reason", "stop_hook_active", "last_assistant_message"):
        if name in payload:
            said[name] = payload[name]
    return said


def _with_whole_path(arguments: Any, workspace: str | None) -> Any:
    if not isinstance(arguments, dict) or workspace is None or not isinstance(arguments.get("file_path"), str):
        return arguments
    return {**arguments, "file_path": posixpath.join(workspace, arguments["file_path"])}


# --- the process ------------------------------------------------------------------------------------------------------


async def _executed(command: str, hook: str, call: HookCall) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr. HookFailed when it cannot be started or says too much."""
    loop = asyncio.get_running_loop()
    environment = inherited() | {"GODWIT_SESSION": call.session, "GODWIT_HOOK": hook, "GODWIT_POINT": call.point}
    if call.workspace is not None:
        environment |= {"GODWIT_WORKSPACE": call.workspace, "CLAUDE_PROJECT_DIR": call.workspace, "PWD": call.workspace}
    out, err = _Pipe(STDOUT_LIMIT), _Pipe(STDERR_LIMIT)
    exited: asyncio.Future[int] | None = None
    leader = 0
    try:
        # A file and no pipe: a command may read it or not, early or late, and nobody has to wait.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(msgspec.json.encode(told(call)))
            stdin.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    shell(),
                    "-c",
                    command,
                    cwd=call.workspace,
                    env=environment,
                    stdin=stdin,
                    stdout=out.writer,
                    stderr=err.writer,
                    start_new_session=True,
                )
            except OSError as error:
                raise HookFailed(f"its command could not be started: {(error.strerror or str(error)).lower()}") from None
        leader = process.pid
        WATCHDOG.add(leader)
        out.listen(loop)
        err.listen(loop)
        exited = asyncio.ensure_future(process.wait())
        full = asyncio.ensure_future(out.full.wait())
        try:
            await asyncio.wait([exited, full], return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                ends = [asyncio.ensure_future(pipe.ended.wait()) for pipe in (out, err)]
                await asyncio.wait(ends, timeout=DRAIN_S)
                for end in ends:
                    end.cancel()
        finally:
            full.cancel()
        if out.full.is_set():
            raise HookFailed(f"its command said more than {STDOUT_LIMIT} bytes")
        return exited.result(), bytes(out.heard), bytes(err.heard)
    finally:
        if exited is not None and not exited.done():
            await asyncio.shield(asyncio.ensure_future(_ended(leader, exited)))
        if leader:
            WATCHDOG.remove(leader)
        out.close(loop)
        err.close(loop)


async def _ended(leader: int, exited: asyncio.Future[int]) -> None:
    """End a command that was cut off: ask its processes, then kill them."""
    try:
        os.killpg(leader, signal.SIGTERM)
        await asyncio.wait([exited], timeout=GRACE_S)
    except ProcessLookupError:
        pass
    await kill(leader, exited)


class _Pipe:
    """What a command says, up to a limit; what comes after it is read and dropped."""

    def __init__(self, limit: int) -> None:
        self.reader, self.writer = os.pipe()
        self.heard = bytearray()
        self.full = asyncio.Event()
        self.ended = asyncio.Event()
        self._limit = limit
        self._open = True

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        os.close(self.writer)
        self.writer = -1
        os.set_blocking(self.reader, False)
        loop.add_reader(self.reader, self._read, loop)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            chunk = os.read(self.reader, 1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        if not chunk:
            loop.remove_reader(self.reader)
            self.ended.set()
            return
        self.heard += chunk[: self._limit - len(self.heard) + 1]
        if len(self.heard) > self._limit:
            del self.heard[self._limit :]
            self.full.set()

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self.reader)
        os.close(self.reader)
        if self.writer >= 0:
            os.close(self.writer)


# --- the answer -------------------------------------------------------------------------------------------------------


def answer_of(point: HookPoint, code: int, stdout: bytes, stderr: bytes) -> HookResult:
    """What a command's end means. HookFailed when it cannot be understood.

    0: go on, or what the JSON on stdout says; 2: block, with stderr as the reason; any other code is a failure.
    """
    said = stderr.decode(errors="replace").strip()
    if code == 2:
        return HookResult("block", reason=said or "Blocked")
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise HookFailed(f"its command {how}{': ' + said[-SHOWN_LIMIT:] if said else ''}")
    text = stdout.decode(errors="replace").strip()
    if not text:
        return HookResult()
    if not text.startswith(("{", "[")):
        return HookResult(note=text if point in _TEXT_IS_NOTE else None)
    try:
        answer = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HookFailed(f"its answer is no JSON: {error}: {text[:SHOWN_LIMIT]}") from None
    if not isinstance(answer, dict):
        raise HookFailed(f"its answer is no JSON object: {text[:SHOWN_LIMIT]}")
    return _our_answer(answer) if "action" in answer else _claude_answer(point, answer)


class _OurAnswer(msgspec.Struct, forbid_unknown_fields=True):
    action: HookAction
    reason: str | None = None
    modified: dict[str, Any] | None = None
    delay_s: float = 1.0
    note: str | None = None
    message: str | None = None
    end_run: bool = False


def _our_answer(answer: dict[str, Any]) -> HookResult:
    said = _read(answer, _OurAnswer)
    return HookResult(
        said.action,
        said.reason,
        said.modified,
        said.delay_s,
        said.note,
        message=said.message,
        end_run=said.end_run,
    )


class _Behaviour(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Claude Code's `decision` object of a PermissionRequest."""

    behavior: str
    message: str | None = None
    updated_input: dict[str, Any] | None = None
    interrupt: bool = False


class _Specific(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    hook_event_name: str | None = None
    permission_decision: str | None = None
    permission_decision_reason: str | None = None
    updated_input: dict[str, Any] | None = None
    additional_context: str | None = None
    decision: _Behaviour | None = None


class _ClaudeAnswer(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    continue_: bool = msgspec.field(name="continue", default=True)
    stop_reason: str | None = None
    suppress_output: bool = False
    system_message: str | None = None
    decision: str | None = None
    reason: str | None = None
    hook_specific_output: _Specific | None = None


_PERMISSION: dict[str | None, HookAction] = {"allow": "allow", "deny": "block", "ask": "escalate", "defer": "escalate"}
_DECISION: dict[str | None, HookAction] = {None: "continue", "approve": "allow", "allow": "allow", "block": "block"}
_BEHAVIOUR: dict[str | None, HookAction] = {"allow": "allow", "deny": "block"}


def _claude_answer(point: HookPoint, answer: dict[str, Any]) -> HookResult:
    said = _read(answer, _ClaudeAnswer)
    specific = said.hook_specific_output or _Specific()
    named = specific.hook_event_name
    if named is not None and named not in (claude_name(point), "PostToolUseFailure" if point == "after_tool" else None):
        raise HookFailed(f"its hookEventName is {named!r}, but it was called for {claude_name(point) or point}")
    action, reason = _one_of("decision", _DECISION, said.decision), said.reason
    modified, end_run = specific.updated_input, False
    if specific.permission_decision is not None:
        action = _one_of("permissionDecision", _PERMISSION, specific.permission_decision)
        reason = specific.permission_decision_reason or reason
    elif specific.decision is not None:
        action = _one_of("behavior", _BEHAVIOUR, specific.decision.behavior)
        reason = specific.decision.message or reason
        modified, end_run = specific.decision.updated_input, specific.decision.interrupt
    if not said.continue_:
        # "Do not go on": at the end of a run that is what happens anyway.
        reason = said.stop_reason or reason
        action, end_run = ("continue", False) if point == "before_finish" else (action, True)
    return HookResult(
        action, reason, modified, note=specific.additional_context, message=said.system_message, end_run=end_run
    )


def _one_of(name: str, table: dict[str | None, HookAction], value: str | None) -> HookAction:
    action = table.get(value)
    if action is None:
        raise HookFailed(f"its {name} is {value!r}, which is none of {', '.join(k for k in table if k)}")
    return action


def _read(answer: dict[str, Any], shape: Callable[..., Any]) -> Any:
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise HookFailed(f"its answer cannot be understood: {error}") from None
