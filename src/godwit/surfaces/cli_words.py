"""Events and calls as short texts for a terminal: one line each, no colour, nothing that could move the cursor.

Knows every event type; how the lines are laid out, coloured or kept moving is the view's business. Text that comes from a
model or a command passes `clean` before it is shown anywhere: an escape sequence in it must not reach the terminal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

from ..core.attachments import described
from ..core.budget import Budget
from ..core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    ArtifactStored,
    BudgetExceeded,
    BudgetWarned,
    CommandExecuted,
    CompactionFailed,
    ContextLoaded,
    Decision,
    EntryKept,
    Event,
    GoalUpdated,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputReordered,
    InputWithdrawn,
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
from ..core.mcp import server_and_tool
from ..core.messages import Text, ToolCall, Usage, text_of
from ..core.shared_state import state_change
from ..core.todos import todos_summary
from ..core.verification import VerificationReport
from ..core.visible import visible as visible

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
DECIDED: dict[Decision, str] = {"approve": "approved", "deny": "denied", "result": "answered"}
_MAIN_ARGUMENTS = ("command", "file_path", "path", "pattern", "query", "url")


def clean(text: str) -> str:
    """The text without anything a terminal would act on; line ends and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, width: int = 100) -> str:
    """The text on one line, cut to `width` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def asker(name: str, path: tuple[str, ...] = ()) -> str:
    """Who asks, of a call of this tool, on one line: `research > order`, `the MCP server db (its tool query)`."""
    found = server_and_tool(name)
    who = _seen(name) if found is None else f"the MCP server {_seen(found[0])} (its tool {_seen(found[1])})"
    return " > ".join([*(_seen(agent) for agent in path), who])


def _seen(text: str) -> str:
    return visible(text).replace("\n", "␊")


def call_text(name: str, arguments: dict[str, Any], width: int = 100) -> str:
    """A call with its main argument on one line: `bash python -m pytest`, `grep TODO path=src`.

    A line end is `⏎`, an argument too long for here is only counted, and what is cut ends in `…`.
    """
    main = next((a for a in _MAIN_ARGUMENTS if isinstance(arguments.get(a), str)), None)
    parts = [name] if main is None else [name, str(arguments[main])]
    for key, value in arguments.items():
        if key != main:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            if len(shown) <= 40 and "\n" not in shown:
                parts += [f"{key}={shown}"] if shown else []
            else:
                parts.append(f"{key}=({counted(shown)})")
    return one_line(" ".join(parts).strip().replace("\r\n", "\n").replace("\n", " ⏎ "), width)


def counted_as(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def counted(text: str) -> str:
    """How much it is: `12 lines`, or `340 characters` when it is one line."""
    lines = text.removesuffix("\n").count("\n") + 1
    return f"{lines} lines" if lines > 1 else f"{len(text)} characters"


def seconds(value: float) -> str:
    if value < 0.1:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def age(ms: int) -> str:
    """How long ago that was: `12 s`, `5 min`, `3 h`, `4 d`."""
    passed = max(0, time.time() - ms / 1000)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if passed < limit:
            return f"{int(passed // size)} {unit}"
    return f"{int(passed // 86400)} d"


def usage_text(usage: Usage) -> str:
    text = f"{usage.input_tokens:,} in"
    if usage.cache_read_tokens:
        text += f" ({usage.cache_read_tokens:,} cached)"
    text += f", {usage.output_tokens:,} out"
    if usage.cost_usd is not None:
        text += f", ${usage.cost_usd:.4f}"
    return text


def ran_text(data: RunFinished) -> str:
    """What the run took: `2 turns, 1 call, 9 in, 3 out`."""
    turns, calls = counted_as(data.turns, "turn"), counted_as(data.tool_calls, "call")
    return f"{turns}, {calls}, {usage_text(data.usage)}"


def result_text(data: ToolFinished) -> str:
    """How a call ended, in brackets' worth of words: `exit 0, 0.8 s`."""
    parts = []
    exit_code = data.metadata.get("exit_code")
    if exit_code is not None:
        parts.append(f"exit {exit_code}")
    if data.status != "ok" and not (data.status == "error" and exit_code):
        parts.insert(0, data.status)
    if data.duration_ms is not None:
        parts.append(seconds(data.duration_ms / 1000))
    return ", ".join(parts)


def diff_of(data: ToolFinished) -> list[str]:
    """The lines of the change a file tool made, empty when its metadata tells of none."""
    diff = data.metadata.get("diff")
    return clean(diff).splitlines() if isinstance(diff, str) else []


def owner_text(owner: str) -> str:
    """The process behind a store's owner name (`host-pid-token`)."""
    host, _, rest = owner.rpartition("-")[0].rpartition("-")
    return f"process {rest} on {host}" if rest.isdigit() else owner


def event_text(event: Event) -> str:
    """What the event says, on one line."""
    data = event.data
    match data:
        case UserMessage():
            brought = ", ".join(described(block) for block in data.content if not isinstance(block, Text))
            words = one_line(text_of(data.content)) + (f" (with {one_line(brought)})" if brought else "")
            return f"{data.delivery.replace('_', '-')}: {words}"
        case UserInterrupt():
            return ("forced" if data.force else "asked") + (f": {one_line(data.reason)}" if data.reason else "")
        case UserAnswer():
            edited = " with other arguments" if data.arguments is not None and data.decision == "approve" else ""
            return f"{DECIDED[data.decision]} {data.action}{edited}" + (f": {one_line(data.reason)}" if data.reason else "")
        case InputDelivered():
            return data.id
        case InputWithdrawn():
            return f"{data.id} ({data.reason})"
        case InputReordered():
            return " ".join(data.order)
        case SessionCreated():
            return f"agent {data.agent.name} v{data.agent.version}" + (f" in {data.workspace}" if data.workspace else "")
        case SessionForked():
            return f"from {data.origin}" + (f" in {data.workspace}" if data.workspace else "")
        case SessionLabelled():
            return f"event {data.target}" + (
                f" is {one_line(data.label)}" if data.label is not None else " has no label any more"
            )
        case SessionOpened():
            return owner_text(data.host) if data.host else ""
        case SessionConfigured():
            fields = {
                "model": data.model,
                "thinking": data.thinking,
                "steer": data.steer_mode,
                "name": data.name,
                "mode": data.mode,
            }
            if data.agent is not None:
                fields["agent"] = f"{data.agent.name} v{data.agent.version}"
            if data.budgets is not None:
                fields["budget"] = budget_text(data.budgets) or "the agent's"
            changed = {"permissions": data.permissions, "approvals": data.approvals}
            said = [f"{key} {value}" for key, value in fields.items() if value is not None]
            return ", ".join([*said, *(key for key, value in changed.items() if value is not None)])
        case SessionPaused():
            return one_line(data.reason or "")
        case SessionRewound():
            return f"to {data.to}" + (f", files as of {data.files[:17]}" if data.files else "")
        case SessionCompacted():
            return (
                f"{data.messages_before} messages to {data.messages_after}, about {data.tokens_before:,} tokens to"
                f" {data.tokens_after:,}"
            )
        case SessionPruned():
            return f"{data.results} results, about {data.tokens_before:,} tokens to {data.tokens_after:,}"
        case CompactionFailed():
            return f"{data.trigger}: {one_line(data.error.message)}"
        case ContextLoaded():
            skills = f"{len(data.skills)} skill{'s' * (len(data.skills) != 1)}" if data.skills else ""
            return ", ".join(part for part in (*map(one_line, data.files), skills) if part) or "none any more"
        case SessionResumed() | SessionArchived():
            return ""
        case RunStarted():
            return data.run + (f", goes on from {data.resumes}" if data.resumes else "")
        case RunClaimed():
            return f"attempt {data.attempt}" + (f" by {owner_text(data.worker)}" if data.worker else "")
        case RunParked():
            return f"waits for {', '.join(data.actions)}"
        case RunUnparked():
            return ""
        case RunYielded():
            return data.reason
        case RunRetrying():
            return (
                f"{data.error.code}: {one_line(data.error.message)}; again in {data.delay_ms / 1000:g} s with {data.model}"
            )
        case RunFinished():
            why = f": {data.error.code}: {one_line(data.error.message)}" if data.error else ""
            return f"{data.outcome}{why} ({ran_text(data)})"
        case RunNudged():
            return f"{', '.join(data.reasons)}, attempt {data.attempt}"
        case StateUpdated():
            return one_line(state_change(data.patch, data.value), 120)
        case TodosUpdated():
            return one_line(todos_summary(data.todos), 120)
        case GoalUpdated():
            goal = data.goal
            return one_line(f"{goal.status}: {goal.reason or goal.text}", 120)
        case TurnStarted() | TurnFinished():
            return str(data.index)
        case ModelStarted():
            return "; ".join([data.model, *(one.text for one in data.adjusted)])
        case AgentMessage():
            return message_text(data)
        case ToolStarted():
            origin = f"{data.origin}: " if data.origin != "model" else ""
            notes = (" (arguments edited)" if data.edited else "") + (" (goes on with the answers)" if data.resumed else "")
            return origin + call_text(data.name, data.arguments) + notes
        case ToolAsked():
            return f"{data.name}: {'; '.join(one_line(question.message, 60) for question in data.questions)}"
        case ToolFinished():
            return f"{data.name} {data.status}" + (f" ({result_text(data)})" if result_text(data) else "")
        case ActionOpened():
            return f"{data.kind} {data.action}: {one_line(data.message or call_text(data.name, data.arguments))}"
        case ActionClosed():
            return f"{data.action} {data.reason}"
        case ArtifactStored():
            return f"{data.ref} ({data.size:,} bytes)"
        case UsageRecorded():
            return f"{data.purpose}: {data.model} ({usage_text(data.usage)})"
        case BudgetWarned() | BudgetExceeded():
            why = f": {one_line(data.reason)}" if data.reason else ""
            return f"{data.scope} {data.resource}: {data.consumed:g} of {data.limit:g}{why}"
        case HookBlocked():
            return f"{data.hook} at {data.point}{' failed' if data.failed else ''}: {one_line(data.reason)}"
        case OutputChecked():
            return (
                "it has the form that was asked for"
                if data.problem is None
                else f"it does not fit: {one_line(data.problem)}"
            )
        case HookReported():
            return f"{data.hook} at {data.point}{' failed' if data.failed else ''}: {one_line(data.text)}"
        case McpResourceUpdated():
            return f"{data.server}: {one_line(data.uri)}"
        case McpUnavailable():
            return f"{data.server}: {one_line(data.message)}{', still tried' if data.retrying else ''}"
        case MemoryRecalled():
            return f"{len(data.memories)} of memory, about {data.tokens:,} tokens"
        case MemoryFailed():
            return f"{data.what}: {one_line(data.error.message)}"
        case WorkspaceCheckpointed():
            where = f"{data.when} turn {data.turn}" if data.turn is not None else data.when
            return f"{where}: {data.ref[:17] if data.ref else one_line(data.error or 'not kept')}"
        case WorkspaceRestored():
            stays = f", {counted_as(len(data.left), 'path')} left as found" if data.left else ""
            return f"{data.ref[:17]}{stays}" if data.error is None else f"not possible: {one_line(data.error)}"
        case VerificationReported():
            return verified_text(data.report)
        case CommandExecuted():
            answer = one_line(data.text, 60)
            return one_line(f"/{data.name} {data.arguments}".strip(), 60) + (f" → {answer}" if answer else "")
        case SubagentStarted():
            how = " (in the background)" if data.action is None else ""
            return f"{data.agent} {data.child}: {one_line(data.description or data.prompt, 60)}{how}"
        case SubagentProgressed():
            return f"{data.task} {data.status}"
        case TasksCancelled():
            return one_line(data.reason)
        case SubagentAsked():
            who = " > ".join(data.path)
            return f"{who}: {data.kind} {data.action}: {one_line(data.message or call_text(data.name, data.arguments))}"
        case SubagentFinished():
            why = f": {one_line(data.error.message)}" if data.error else ""
            return f"{data.task} {data.status}{why}" + (f": {one_line(data.output, 60)}" if data.output else "")
        case SessionImported():
            return f"{data.format} {data.origin}: {', '.join(f'{n} {what}' for what, n in data.counts.items())}"
        case EntryKept():
            return data.kind if data.id is None else f"{data.kind} {data.id}"
        case Unknown():
            return "(of a type this version does not know)"
        case _:
            assert_never(data)


def budget_text(budgets: Sequence[Budget]) -> str:
    """Budgets on one line: `session usd 5, tokens 100000`."""
    said = []
    for budget in budgets:
        limits = ", ".join(f"{name} {value:.15g}" for name, value in budget.limits.items()) or "no limits"
        said.append(f"{budget.scope} {limits}")
    return "; ".join(said)


def verified_text(report: VerificationReport) -> str:
    """What was found out, and by which checks: `run: failed (tests passed, lint failed)`."""
    checks = ", ".join(f"{c.id} {c.status.replace('_', ' ')}" for c in report.checks)
    return one_line(f"{one_line(report.subject, 60)}: {report.status.replace('_', ' ')} ({checks or 'no checks'})", 200)


def message_text(data: AgentMessage) -> str:
    message = data.message
    said = [one_line(b.text) for b in message.content if isinstance(b, Text) and b.text.strip()]
    said += [f"→ {call_text(b.name, b.arguments, 60)}" for b in message.content if isinstance(b, ToolCall)]
    return " ".join(said) + ("" if message.complete else " [cut]")


def date_of(ms: int | None, *, seconds: bool = False) -> str:
    """A time in ms since 1970 as a person reads it, in UTC; `-` for none."""
    return (
        "-" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''}")
    )
