"""Commands that show how the session stands, what was said and what there is; and what may be called and by which rules."""

from __future__ import annotations

import json

from ...core.errors import InvalidArgument
from ...core.mcp import server_and_tool
from ...core.messages import Assistant, ToolResult, User, text_of
from ...core.rules import Subject, SubjectKind
from ...core.tool_search import TOOL_SEARCH
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin, count_of, counted, line, needed

_FILE_TOOLS = ("read", "write", "edit", "patch", "ls", "glob", "grep")
_SUBJECTS: dict[str, SubjectKind] = {"bash": "command", "web_fetch": "url", **dict.fromkeys(_FILE_TOOLS, "path")}
"""What the text of a call of a built-in tool is."""


def _help(arguments: str, context: CommandContext) -> str:
    return context.commands.help(arguments)


def _status(context: CommandContext) -> str:
    state = context.state
    thinking = context.session.thinking
    lines = [
        f"Session: {context.id}",
        f"Status: {context.status}" + (f", run {context.run}" if context.run else ""),
        f"Model: {context.model}" + (f", thinking {thinking}" if thinking else ""),
        f"Turns: {state.turns}",
        f"Tokens: {context.tokens}" + (f", ${context.cost_usd:.4f}" if context.cost_usd is not None else ""),
        f"Queue: {counted(len(state.gate.queue), 'message')}",
        f"To answer: {sum(not a.answered for a in state.gate.actions)}",
    ]
    if context.workspace is not None:
        lines.insert(1, f"Workspace: {context.workspace}")
    return "\n".join(lines)


async def _history(arguments: str, context: CommandContext) -> str:
    messages = await context.history()
    shown = messages[-count_of(arguments) :]
    lines = [f"Messages: {len(messages)}"]
    lines += [f"  … {len(messages) - len(shown)} before"] if len(shown) < len(messages) else []
    for message in shown:
        match message:
            case User():
                lines.append(f"  user: {line(text_of(message.content))}")
            case Assistant():
                calls = "".join(f" → {call.name}" for call in message.calls)
                lines.append(f"  assistant: {line(message.text)}{calls}")
            case ToolResult():
                lines.append(f"  {message.name}: {line(message.text)}")
    return "\n".join(lines)


async def _tools(context: CommandContext) -> str:
    names = context.tool_names
    deferred = await context.deferred_tools()
    mcp = [n for n in names if server_and_tool(n) is not None]
    own = [n for n in names if n not in mcp]
    lines = [f"Tools: {len(names)} total"]
    for title, group in (("Builtin", own), ("MCP", mcp)):
        if group:
            lines.append(f"{title} ({len(group)}): {', '.join(group)}")
    if deferred:
        found = [one.name for one in deferred if one.found]
        lines.append(f"To be looked for with {TOOL_SEARCH}: {len(deferred)}, of which {len(found)} found")
        if found:
            lines.append(f"Found ({len(found)}): {', '.join(found)}")
    return "\n".join(lines)


def _mcp(context: CommandContext) -> str:
    servers = context.mcp_servers
    if not servers:
        return "No MCP servers connected."
    lines = [f"MCP: {counted(len(servers), 'server')}, {counted(sum(servers.values()), 'tool')}"]
    found = [of for name in context.tool_names if (of := server_and_tool(name)) is not None]
    for server in servers:
        lines.append(f"  {server}: {', '.join(tool for of, tool in found if of == server)}")
    return "\n".join(lines)


async def _runs(arguments: str, context: CommandContext) -> str:
    lines = [f"Runs: {await context.session.run_count()}"]
    for run in await context.session.runs(limit=count_of(arguments)):
        took = f"{counted(run.turns, 'turn')}, {counted(run.tool_calls, 'call')}"
        lines.append(f"  {run.id}  {run.status}, {took}  {line(run.prompt)}")
    return "\n".join(lines)


async def _artifacts(arguments: str, context: CommandContext) -> CommandOutput:
    held = context.session.artifacts
    word, _, rest = arguments.partition(" ")
    if word == "pin":
        if await held.pin(ref := needed(rest, "artifacts pin", "REF")):
            return CommandOutput(f"Pinned: {await held.find(ref)}", state_changed=True)
        return CommandOutput("It was pinned already.")
    if word == "unpin":
        if await held.unpin(ref := needed(rest, "artifacts unpin", "REF")):
            return CommandOutput(f"Not pinned any more: {await held.find(ref)}", state_changed=True)
        return CommandOutput("It was not pinned.")
    found = await held.list()
    lines = [f"Artifacts: {len(found)}"]
    for one in found[-count_of(arguments) :]:
        lines.append(f"  {one.ref}  {one.size} bytes  {one.media_type}{'  pinned' if one.pinned else ''}")
    return CommandOutput("\n".join(lines))


def _permissions(arguments: str, context: CommandContext) -> str:
    word, _, rest = arguments.partition(" ")
    if word == "check":
        return _checked(rest, context)
    if arguments:
        raise InvalidArgument(f"{line(word)!r} is nothing it does: type /permissions, or /permissions check TOOL TEXT")
    policy = context.policy
    lines = [f"Permissions: {policy.default} what no rule is about"]
    for verdict in ("deny", "ask", "allow"):
        for layer in policy.layers:
            for rule in getattr(layer.permissions, verdict):
                lines.append(f"  {verdict:<5}  {json.dumps(rule)}  ({layer.name})")
    return "\n".join(lines)


def _checked(arguments: str, context: CommandContext) -> str:
    """What the rules say of a call with this text, and why."""
    name, _, text = needed(arguments, "permissions check", "TOOL TEXT").partition(" ")
    kind = _SUBJECTS.get(name, "text")
    judged = context.policy.judge_subject(name, Subject(kind, text.strip()), context.workspace)
    lines = [f"{judged.verdict}: {judged.reason}"]
    for part in judged.parts:
        lines.append(f"  {part.verdict:<5}  {json.dumps(part.text)}  {part.reason}")
    return "\n".join(lines)


def _hooks(context: CommandContext) -> str:
    hooks = context.session.hooks()
    lines = [f"Hooks: {len(hooks)}"]
    for hook in hooks:
        fields = hook.matcher.__struct_fields__
        when = [f"{name} {getattr(hook.matcher, name)}" for name in fields if getattr(hook.matcher, name)]
        what = "" if hook.command is None else f": {line(hook.command, 60)}"
        lines.append(f"  {hook.point}  {hook.id}{what}" + (f"  (when {', '.join(when)})" if when else ""))
    return "\n".join(lines)


LOOKING: tuple[Command, ...] = (
    builtin("help", "List the commands, or explain one.", _help, "[COMMAND]"),
    builtin("status", "Show where the session stands.", alone(_status)),
    builtin("history", "Show the last messages of the transcript.", _history, "[COUNT]"),
    builtin("tools", "List the tools the model can call, or look for.", alone(_tools)),
    builtin("mcp", "List the connected MCP servers.", alone(_mcp)),
    builtin("runs", "List the last runs.", _runs, "[COUNT]"),
    builtin("artifacts", "List outputs kept by reference, or pin one.", _artifacts, "[COUNT|pin REF|unpin REF]"),
    builtin("permissions", "List the rules for what may run, or try them.", _permissions, "[check TOOL TEXT]"),
    builtin("hooks", "List the hooks that are registered in this process.", alone(_hooks)),
)
