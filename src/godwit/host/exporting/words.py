"""How the story's pieces are said, on a page and in Markdown alike."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from typing import Any

from ...core.attachments import described
from ...core.events import (
    BudgetExceeded,
    CommandExecuted,
    ContextLoaded,
    EntryKept,
    GoalUpdated,
    HookBlocked,
    MemoryRecalled,
    RunFinished,
    SessionCompacted,
    SessionConfigured,
    SessionForked,
    SessionImported,
    SessionLabelled,
    SessionRewound,
    UserMessage,
    VerificationReported,
)
from ...core.forms import content_lines
from ...core.messages import Document, Image, ResultBlock, Text, Usage, UserBlock, text_of
from .story import Call, Put, Told, Total

SECRETS = (
    "This holds what the session's log holds: what was said, which files were read, what commands printed."
    " Look for secrets before you give it away."
)


def moment(ms: int) -> str:
    """UTC, to the second."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def tokens(count: int) -> str:
    return f"{count / 1e6:.1f}M" if count >= 10**6 else f"{count / 1000:.1f}k" if count >= 1000 else str(count)


def used(usage: Usage) -> str:
    """Tokens in and out, cached ones, and what they cost, as far as that is known."""
    parts = [f"{tokens(usage.input_tokens)} in", f"{tokens(usage.output_tokens)} out"]
    if usage.cache_read_tokens:
        parts.append(f"{tokens(usage.cache_read_tokens)} cached")
    if usage.cost_usd is not None:
        parts.append(f"${usage.cost_usd:.4f}" if usage.cost_usd < 1 else f"${usage.cost_usd:.2f}")
    return ", ".join(parts)


def totals(total: Total) -> list[tuple[str, str]]:
    """What a session came to, as names and values."""
    found = [
        ("from", f"{moment(total.first_ms)} UTC"),
        ("to", f"{moment(total.last_ms)} UTC"),
        ("messages", f"{total.messages} said, {total.answers} answered, {total.calls} calls"),
        ("usage", used(total.usage)),
    ]
    if total.models:
        found.append(("models", ", ".join(f"{name or 'unknown'} ({count})" for name, count in total.models.items())))
    return found


def one_line(text: str, limit: int = 100) -> str:
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def heading(call: Call) -> str:
    """A call in a few words: the command, the path, or what else it is about."""
    arguments = call.call.arguments
    for key in ("command", "file_path", "path", "pattern", "query", "url", "description", "prompt"):
        if isinstance(value := arguments.get(key), str) and value.strip():
            return one_line(value)
    return one_line(call.call.malformed or (json.dumps(arguments, ensure_ascii=False) if arguments else ""))


def outcome(call: Call) -> str:
    return "no result" if call.result is None else call.result.status


def arguments_of(call: Call) -> str:
    """The arguments as text; those of a command alone are the command."""
    given = call.call.arguments
    if call.call.malformed is not None:
        return call.call.malformed
    if set(given) == {"command"} and isinstance(given["command"], str):
        return str(given["command"])
    return json.dumps(given, ensure_ascii=False, indent=2)


def diff_of(call: Call) -> str | None:
    """What a call changed, as a diff: the one it was told with, or one made of the texts it exchanged."""
    metadata = {} if call.result is None else call.result.metadata
    told = metadata.get("diff")
    if isinstance(told, str) and told.strip():
        return told
    patch = metadata.get("structuredPatch")
    if isinstance(patch, list) and (lines := _hunks(patch)):
        return "\n".join(lines)
    given = call.call.arguments
    pairs = [given, *(one for one in given.get("edits") or () if isinstance(one, dict))] if given.get("edits") else [given]
    made = []
    for one in pairs:
        old, new = (next((one[k] for k in keys if isinstance(one.get(k), str)), None) for keys in _EXCHANGED)
        if old is not None and new is not None and len(old) + len(new) < 200_000:
            made += list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))[2:]
    return "\n".join(made) or None


_EXCHANGED = (("old_string", "oldText", "old_text"), ("new_string", "newText", "new_text"))


def _hunks(patch: list[Any]) -> list[str]:
    lines: list[str] = []
    for hunk in patch:
        if isinstance(hunk, dict) and isinstance(hunk.get("lines"), list):
            places = (hunk.get(key) for key in ("oldStart", "oldLines", "newStart", "newLines"))
            lines.append("@@ -{},{} +{},{} @@".format(*places))
            lines += [line for line in hunk["lines"] if isinstance(line, str)]
    return lines


def put(question: Put) -> tuple[str, list[str]]:
    """A question of a call on one line, and what was answered: a line for each field, without what is secret."""
    asked, answer = question.asked, question.answer
    at = f" ({asked.url})" if asked.url is not None else ""
    why = f": {answer.reason}" if answer is not None and answer.reason else ""
    who = f" by {answer.sender}" if answer is not None and answer.sender else ""
    if answer is None:
        said = ["not answered"]
    elif answer.is_error:
        said = [f"not answered{why or f': {text_of(answer.content)}'}"]
    elif answer.decision == "deny":
        said = [f"declined{who}{why}"]
    elif asked.schema is not None and answer.arguments:
        said = [f"answered{who}:", *(f"  {name}: {value}" for name, value in content_lines(asked.schema, answer.arguments))]
    else:
        said = [f"{'approved' if asked.kind == 'approval' else 'done'}{who}"]
    told = f" {json.dumps(asked.arguments, ensure_ascii=False)}" if asked.arguments else ""
    return f"Asked: {asked.message or ''}{told}{at}", said


def block_name(block: UserBlock | ResultBlock) -> str:
    match block:
        case Text():
            return block.text
        case Image() | Document():
            return f"[{described(block)}]"


def told(passage: Told) -> tuple[str, str]:
    """A passage as a short line and, where there is more to it, a text."""
    match passage.data:
        case SessionCompacted() as data:
            return "The conversation until here was summed up", data.summary
        case SessionConfigured() as data:
            parts = [f"model {data.model}"] if data.model is not None else []
            parts += [f"thinking {data.thinking}"] if data.thinking is not None else []
            parts += [f"agent {data.agent.name}"] if data.agent is not None else []
            return "From here on: " + ", ".join(parts), ""
        case SessionRewound() as data:
            return f"The conversation went back to event {data.to}", data.summary or ""
        case SessionForked() as data:
            return f"From here on a session of its own, forked from {data.origin}", ""
        case SessionLabelled() as data:
            return f"Event {data.target} " + ("has no label any more" if data.label is None else f"is “{data.label}”"), ""
        case SessionImported() as data:
            return f"Imported from {data.format}: {data.source or data.origin}", _counted(data)
        case RunFinished() as data:
            return f"The run was {data.outcome}", "" if data.error is None else data.error.message
        case CommandExecuted() as data:
            return one_line(f"/{data.name} {data.arguments}".strip()), data.text
        case VerificationReported() as data:
            return f"Verified: {data.report.status}", ""
        case HookBlocked() as data:
            return f"Hook {data.hook} blocked {data.point}", data.reason
        case BudgetExceeded() as data:
            return f"Budget exceeded: {data.resource} {data.consumed:g} of {data.limit:g}", data.reason
        case UserMessage() as data:
            return "The model had stopped, and was told to go on", text_of(data.content)
        case GoalUpdated(goal=goal):
            return f"Goal {goal.status if not goal.open else 'set'}", goal.reason or goal.text
        case ContextLoaded() as data:
            named = [*data.files, *(f"skill {name}" for name in data.skills)]
            return f"Told from files: {', '.join(named) or 'nothing any more'}", data.text
        case MemoryRecalled() as data:
            count = len(data.memories)
            return f"Recalled: {count} {'memory' if count == 1 else 'memories'}", data.text
        case EntryKept() as data:
            return f"Kept from the import: {data.kind}", json.dumps(data.data, ensure_ascii=False, indent=2)
        case None:
            return "", ""


def _counted(data: SessionImported) -> str:
    groups = (("", data.counts), ("kept as data: ", data.kept), ("adapted: ", data.adapted), ("skipped: ", data.skipped))
    return "\n".join(
        said + ", ".join(f"{number} {what}" for what, number in found.items()) for said, found in groups if found
    )
