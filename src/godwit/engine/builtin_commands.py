"""The built-in slash commands: what can be asked of a session and done with its run, for people at a keyboard.

Owns what each of them says and does, and the `CommandContext` every command gets. Each is a few lines over the session's own
methods: nothing can be done here that a program could not do with the handle. Summarising a history (`/compact`) is not
among them, since godwit cannot do it yet.

Rules a change must keep: a command that is `safe` can be used while a run is open, so it neither starts one then nor moves
the transcript nor waits for the run (but for `/interrupt`, which ends it). None runs a shell command that was typed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import msgspec

from ..core.agent import ThinkingLevel
from ..core.budget import RESOURCES, Budget, Scope
from ..core.checkpoint import FileChange, shown_path
from ..core.errors import ActionNotFound, InputNotFound, InvalidArgument, ToolNotFound
from ..core.events import Labels, Remember, UserAnswer
from ..core.gate import Status
from ..core.ids import RunId, Seq, SessionId
from ..core.messages import Assistant, Message, Text, ToolResult, Usage, User, text_of
from ..core.rules import Subject, SubjectKind
from ..core.state import State
from ..core.verification import WORKSPACE, VerificationPolicy
from .approvals import PendingAction
from .commands import Command, CommandOutput, CommandRegistry
from .permissions import Policy
from .rewind import OnConflict, RewindResult
from .session import Session

Answer = CommandOutput | str | Awaitable[CommandOutput] | Awaitable[str]
MCP_PREFIX = "mcp__"
_FILE_TOOLS = ("read", "write", "edit", "patch", "ls", "glob", "grep")
_SUBJECTS: dict[str, SubjectKind] = {"bash": "command", "web_fetch": "url", **dict.fromkeys(_FILE_TOOLS, "path")}
"""What the text of a call of a built-in tool is."""
FIRST: Seq = 1
"""Where every log begins: nothing has been said there."""
SHOWN = 10
"""Entries that a list shows of its end unless told."""


@dataclass(frozen=True)
class CommandContext:
    """What a command is given: its session, and where it stands as the command begins.

    `commands`: the session's registry. `sender`: who typed it, as given to `send`. `state`: the fold of the log.
    `policy`: the permission rules of all layers.
    """

    session: Session
    commands: CommandRegistry
    state: State
    policy: Policy
    sender: str | None = None

    @property
    def id(self) -> SessionId:
        return self.session.id

    @property
    def workspace(self) -> str | None:
        """The absolute folder the session works in."""
        return self.session.workspace

    @property
    def model(self) -> str:
        """The model of the next run."""
        return self.session.model

    @property
    def status(self) -> Status:
        return self.state.gate.status

    @property
    def run(self) -> RunId | None:
        """The open run, if any."""
        return self.state.gate.run

    @property
    def usage(self) -> Usage:
        """All that the session has used."""
        return self.state.usage

    @property
    def tokens(self) -> int:
        return self.state.usage.total_tokens

    @property
    def cost_usd(self) -> float | None:
        """None when no price is known."""
        return self.state.usage.cost_usd

    @property
    def labels(self) -> Labels:
        return self.session.labels

    @property
    def tool_names(self) -> list[str]:
        """As the agent lists them when this process does not have them all."""
        try:
            return self.session.tool_names()
        except ToolNotFound:
            spec = self.session.config.spec
            return [*spec.tools, *(t.name for t in spec.external_tools)]

    @property
    def mcp_servers(self) -> dict[str, int]:
        """Connected servers and how many tools each has. Empty: godwit connects to none yet."""
        return {}

    async def history(self) -> tuple[Message, ...]:
        """The session's messages."""
        return await self.session.history()

    async def history_len(self) -> int:
        """How many messages there are."""
        return len(await self.session.history())


# --- looking --------------------------------------------------------------------------------------------------------


def _help(arguments: str, context: CommandContext) -> str:
    return context.commands.help(arguments)


def _cost(context: CommandContext) -> str:
    usage = context.usage
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
    return "\n".join(
        [
            f"Session: {context.id}",
            f"Model: {context.model}",
            f"Tokens: {usage.total_tokens} ({usage.input_tokens} in, {usage.output_tokens} out)",
            f"Cost: {cost}",
        ]
    )


def _status(context: CommandContext) -> str:
    state = context.state
    thinking = context.session.thinking
    lines = [
        f"Session: {context.id}",
        f"Status: {context.status}" + (f", run {context.run}" if context.run else ""),
        f"Model: {context.model}" + (f", thinking {thinking}" if thinking else ""),
        f"Turns: {state.turns}",
        f"Tokens: {context.tokens}" + (f", ${context.cost_usd:.4f}" if context.cost_usd is not None else ""),
        f"Queue: {_counted(len(state.gate.queue), 'message')}",
        f"To answer: {sum(not a.answered for a in state.gate.actions)}",
    ]
    if context.workspace is not None:
        lines.insert(1, f"Workspace: {context.workspace}")
    return "\n".join(lines)


async def _history(arguments: str, context: CommandContext) -> str:
    messages = await context.history()
    shown = messages[-_count(arguments) :]
    lines = [f"Messages: {len(messages)}"]
    lines += [f"  … {len(messages) - len(shown)} before"] if len(shown) < len(messages) else []
    for message in shown:
        match message:
            case User():
                lines.append(f"  user: {_line(text_of(message.content))}")
            case Assistant():
                calls = "".join(f" → {call.name}" for call in message.calls)
                lines.append(f"  assistant: {_line(message.text)}{calls}")
            case ToolResult():
                lines.append(f"  {message.name}: {_line(message.text)}")
    return "\n".join(lines)


def _tools(context: CommandContext) -> str:
    names = context.tool_names
    mcp = [n for n in names if n.startswith(MCP_PREFIX)]
    own = [n for n in names if n not in mcp]
    lines = [f"Tools: {len(names)} total"]
    for title, group in (("Builtin", own), ("MCP", mcp)):
        if group:
            lines.append(f"{title} ({len(group)}): {', '.join(group)}")
    return "\n".join(lines)


def _mcp(context: CommandContext) -> str:
    servers = context.mcp_servers
    if not servers:
        return "No MCP servers connected."
    lines = [f"MCP: {_counted(len(servers), 'server')}, {_counted(sum(servers.values()), 'tool')}"]
    for server in servers:
        prefix = f"{MCP_PREFIX}{server}__"
        names = [n.removeprefix(prefix) for n in context.tool_names if n.startswith(prefix)]
        lines.append(f"  {server}: {', '.join(names)}")
    return "\n".join(lines)


async def _runs(arguments: str, context: CommandContext) -> str:
    lines = [f"Runs: {await context.session.run_count()}"]
    for run in await context.session.runs(limit=_count(arguments)):
        took = f"{_counted(run.turns, 'turn')}, {_counted(run.tool_calls, 'call')}"
        lines.append(f"  {run.id}  {run.status}, {took}  {_line(run.prompt)}")
    return "\n".join(lines)


async def _artifacts(arguments: str, context: CommandContext) -> CommandOutput:
    held = context.session.artifacts
    word, _, rest = arguments.partition(" ")
    if word == "pin":
        if await held.pin(ref := _needed(rest, "artifacts pin", "REF")):
            return CommandOutput(f"Pinned: {await held.find(ref)}", state_changed=True)
        return CommandOutput("It was pinned already.")
    if word == "unpin":
        if await held.unpin(ref := _needed(rest, "artifacts unpin", "REF")):
            return CommandOutput(f"Not pinned any more: {await held.find(ref)}", state_changed=True)
        return CommandOutput("It was not pinned.")
    found = await held.list()
    lines = [f"Artifacts: {len(found)}"]
    for one in found[-_count(arguments) :]:
        lines.append(f"  {one.ref}  {one.size} bytes  {one.media_type}{'  pinned' if one.pinned else ''}")
    return CommandOutput("\n".join(lines))


async def _budget(arguments: str, context: CommandContext) -> CommandOutput:
    session = context.session
    if arguments == "none":
        await session.set_budget(None)
        return CommandOutput("The agent's own budget again, from the next prompt on.", state_changed=True)
    if arguments:
        given = _limits(arguments)
        scope: Any = given.pop("scope", "session")
        before = msgspec.structs.asdict(await session.budget(scope) or Budget(scope=scope))
        kept = {name: value for name, value in {**before, **given}.items() if value is not None}
        await session.set_budget(kept)
        return CommandOutput(f"From the next prompt on: {_limits_text(await session.budget(scope))}", state_changed=True)
    lines = []
    for scope in get_args(Scope):
        budget = await session.budget(scope)
        spent = await session.spent(tree=scope == "tree")
        name = "session" if scope == "session" else "session and all that works for it"
        lines.append(f"Budget of the {name}: {_limits_text(budget)}")
        lines += [f"  {r}: {spent.of(r):g} of {limit:g}" for r, limit in (budget.limits if budget else {}).items()]
    spent = await session.spent()
    used = ", ".join(f"{spent.of(resource):g} {resource}" for resource in RESOURCES)
    return CommandOutput("\n".join([*lines, f"Spent: {used}"]))


def _limits(text: str) -> dict[str, Any]:
    """`tokens=1000 usd=none on_limit=ask` as a table. InvalidArgument."""
    given: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name in given:
            raise InvalidArgument(
                f"{_line(word)!r} is not understood: type a limit such as tokens=50000, usd=2.5 or turns=none"
            )
        try:
            given[name] = None if value == "none" else int(value) if value.isdecimal() else float(value)
        except ValueError:
            given[name] = value
    return given


def _limits_text(budget: Budget | None) -> str:
    if budget is None or not budget.limits:
        return "no limits"
    told = ", ".join(f"{name} {limit:g}" for name, limit in budget.limits.items())
    return f"{told}; at a limit it {'asks' if budget.on_limit == 'ask' else 'stops'}"


def _permissions(arguments: str, context: CommandContext) -> str:
    word, _, rest = arguments.partition(" ")
    if word == "check":
        return _checked(rest, context)
    if arguments:
        raise InvalidArgument(f"{_line(word)!r} is nothing it does: type /permissions, or /permissions check TOOL TEXT")
    policy = context.policy
    lines = [f"Permissions: {policy.default} what no rule is about"]
    for verdict in ("deny", "ask", "allow"):
        for layer in policy.layers:
            for rule in getattr(layer.permissions, verdict):
                lines.append(f"  {verdict:<5}  {json.dumps(rule)}  ({layer.name})")
    return "\n".join(lines)


def _checked(arguments: str, context: CommandContext) -> str:
    """What the rules say of a call with this text, and why."""
    name, _, text = _needed(arguments, "permissions check", "TOOL TEXT").partition(" ")
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
        what = "" if hook.command is None else f": {_line(hook.command, 60)}"
        lines.append(f"  {hook.point}  {hook.id}{what}" + (f"  (when {', '.join(when)})" if when else ""))
    return "\n".join(lines)


# --- verification ---------------------------------------------------------------------------------------------------


async def _verify(arguments: str, context: CommandContext) -> CommandOutput:
    """Runs the checks of the agent, or else those that the project's files ask for, and never what was typed: who may send
    a text must not be able to run a command by it."""
    session = context.session
    policy = session.config.spec.verification or VerificationPolicy(presets=True)
    found = policy.chosen(await session.verification_presets() if policy.presets else ())
    commands = [c for c in found if arguments in ("", c.id)]
    if not commands:
        known = ", ".join(c.id for c in found)
        why = f"no check is named {_line(arguments)!r}: there are {known}" if found else "nothing here says what to check"
        raise InvalidArgument(why)
    report = await session.verify_commands(arguments or WORKSPACE, commands)
    lines = [
        f"{check.status}: {check.id}" + (f" ({check.residual_risk})" if check.residual_risk else "")
        for check in report.checks
    ]
    lines.append(await session.verification_summary_text())
    return CommandOutput("\n".join(lines), state_changed=True)


# --- going back -----------------------------------------------------------------------------------------------------


async def _clear(context: CommandContext) -> CommandOutput:
    count = await context.history_len()
    if not count:
        return CommandOutput("Cleared 0 messages.")
    await context.session.rewind(FIRST)
    return CommandOutput(
        f"Cleared {_counted(count, 'message')}. The log stays, and /redo brings them back.", state_changed=True
    )


async def _rewind(arguments: str, context: CommandContext) -> CommandOutput:
    session = context.session
    if not arguments:
        places = await session.turnings()
        lines = [f"Places to go back to: {len(places)}"]
        lines += [f"  {place.seq}  before: {_line(place.text)}" for place in places]
        return CommandOutput("\n".join([*lines, "/rewind SEQ goes there, /rewind SEQ files puts the files back as well."]))
    where, *words = arguments.split()
    files = words[:1] == ["files"]
    if words and not files:
        raise InvalidArgument(f"{_line(words[0])!r} is nothing it does: type /rewind SEQ, or /rewind SEQ files")
    result = await session.rewind(await _place(where, context), files=files, on_conflict=_on_conflict(words[1:]))
    return CommandOutput(_went(f"Went back to event {result.to}.", result), state_changed=True)


async def _redo(arguments: str, context: CommandContext) -> CommandOutput:
    result = await context.session.redo(on_conflict=_on_conflict(arguments.split()))
    return CommandOutput(_went("The last rewind is taken back.", result), state_changed=True)


async def _diff(arguments: str, context: CommandContext) -> str:
    words = arguments.split()
    if len(words) > 2:
        raise InvalidArgument(f"{_line(arguments)!r} is too much: type /diff, /diff FROM or /diff FROM TO")
    found = await context.session.diff(*[await _place(word, context) for word in words])
    if not found.changes:
        return "No file has changed."
    lines = [_change(change) for change in found.changes] if found.cut else []
    return "\n".join([found.text.rstrip("\n"), *lines])


async def _checkpoints(context: CommandContext) -> str:
    kept = await context.session.checkpoints()
    lines = [f"Checkpoints of files: {len(kept)}"]
    for one in kept:
        when = one.when if one.turn is None else f"{one.when} turn {one.turn}"
        what = f"not kept: {_line(one.error or '')}" if one.ref is None else one.ref[:17]
        lines.append(f"  {one.seq}  {when}  {what}{'' if one.kept or one.ref is None else '  let go of'}")
    return "\n".join(lines)


async def _place(word: str, context: CommandContext) -> Seq:
    """The seq that a word names: a number, or `last` for the place before the last message."""
    if word == "last":
        places = await context.session.turnings()
        if not places:
            raise InvalidArgument("there is no message to go back behind")
        return places[-1].seq
    if not (word.isascii() and word.isdigit()):
        raise InvalidArgument(f"{_line(word)!r} is no place: type the number of an event, or last")
    return int(word[:18])


def _on_conflict(words: Sequence[str]) -> OnConflict:
    given = " ".join(words) or "refuse"
    found = next((known for known in get_args(OnConflict) if known == given), None)
    if found is None:
        raise InvalidArgument(f"{_line(given)!r} is neither keep nor overwrite, which say what becomes of others' changes")
    chosen: OnConflict = found
    return chosen


def _went(said: str, result: RewindResult) -> str:
    lines = [said, *(_change(change) for change in result.changes)]
    lines += [f"  left as it is: {shown_path(one.path)} ({one.reason})" for one in result.left]
    lines += [f"The files are not back: {result.error}"] if result.error else []
    return "\n".join([*lines, *([f"Taken back: {result.text}"] if result.text else [])])


def _change(change: FileChange) -> str:
    return f"  {change.change}: {shown_path(change.path)}"


# --- the open run ---------------------------------------------------------------------------------------------------


async def _steer(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.steer(_needed(arguments, "steer", "TEXT"), sender=context.sender)
    return CommandOutput("Accepted; it is delivered at the next step.", state_changed=True)


async def _follow_up(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.follow_up(_needed(arguments, "follow-up", "TEXT"), sender=context.sender)
    said = "Queued for when the run would end." if context.run else "Sent: nothing else was left to do."
    return CommandOutput(said, state_changed=True)


async def _queue(arguments: str, context: CommandContext) -> CommandOutput | str:
    queue = context.session.queue
    word, _, rest = arguments.partition(" ")
    if word == "withdraw":
        typed = _needed(rest, "queue withdraw", "ID")
        found = [entry.id for entry in await queue.list() if entry.id.startswith(typed)]
        if len(found) != 1:
            raise InputNotFound(f"{len(found) or 'no'} waiting messages' ids begin with {typed!r}", input=typed)
        await queue.withdraw(found[0])
        return CommandOutput(f"Withdrawn: {found[0]}", state_changed=True)
    if word:
        raise InvalidArgument(f"{_line(word)!r} is nothing it does: type /queue, or /queue withdraw ID")
    entries = await queue.list()
    lines = [f"Queue: {_counted(len(entries), 'message')}"]
    lines += [f"  {entry.id}  {entry.delivery.replace('_', '-')}  {_line(entry.text)}" for entry in entries]
    return "\n".join(lines)


async def _pause(arguments: str, context: CommandContext) -> CommandOutput:
    if await context.session.pause(arguments or None):
        return CommandOutput("Paused; /resume lets it go on.", state_changed=True)
    return CommandOutput("It was paused already.")


async def _resume(context: CommandContext) -> CommandOutput:
    if await context.session.resume():
        return CommandOutput("It goes on.", state_changed=True)
    return CommandOutput("It was not paused.")


async def _interrupt(arguments: str, context: CommandContext) -> CommandOutput:
    if arguments not in ("", "force"):
        raise InvalidArgument(f"{_line(arguments)!r} is nothing it does: type /interrupt, or /interrupt force")
    ended = await context.session.interrupt(force=arguments == "force", reason="/interrupt")
    return CommandOutput("Interrupted." if ended else "No run is open.", state_changed=ended)


# --- what waits for an answer ---------------------------------------------------------------------------------------


async def _pending(context: CommandContext) -> str:
    actions = await context.session.approvals.pending()
    lines = [f"To answer: {len(actions)}"]
    for action in actions:
        left = "" if action.remaining_s is None else f", {action.remaining_s:.0f} s left"
        lines.append(f"  {action.id}  {action.kind}, for {action.age_s:.0f} s{left}: {_call(action)}")
        lines += [f"    {_line(action.message)}"] if action.message else []
        lines += [f"    may be remembered: {json.dumps(rule)}" for rule in action.rules]
    return "\n".join(lines)


async def _approve(arguments: str, context: CommandContext) -> CommandOutput:
    first, _, rest = arguments.partition(" ")
    typed, rest = ("", arguments) if first in get_args(Remember) else (first, rest.strip())
    far, _, rule = rest.partition(" ")
    if far and far not in get_args(Remember):
        raise InvalidArgument(f"{_line(far)!r} is neither session nor always, which say how far it is remembered")
    remember: Any = far or None
    action = await _the_action(context, typed, ("approval",))
    await context.session.approve(action.id, remember=remember, rule=rule.strip() or None, sender=context.sender)
    kept = {"": "", "session": ", and so from now on in this session", "always": ", and so from now on"}[far]
    return CommandOutput(f"Approved{kept}: {_call(action)}", state_changed=True)


async def _deny(arguments: str, context: CommandContext) -> CommandOutput:
    typed, reason = await _id_and_rest(arguments, context)
    action = await _the_action(context, typed, ("approval", "question", "external"))
    await context.session.deny(action.id, reason or None, sender=context.sender)
    return CommandOutput(f"Denied: {_call(action)}", state_changed=True)


async def _answer(arguments: str, context: CommandContext) -> CommandOutput:
    typed, text = await _id_and_rest(arguments, context)
    action = await _the_action(context, typed, ("question", "external"))
    content = (Text(_needed(text, "answer", "TEXT")),)
    await context.session.send_event(UserAnswer(action.id, "result", content=content, sender=context.sender))
    return CommandOutput(f"Answered: {_call(action)}", state_changed=True)


async def _id_and_rest(arguments: str, context: CommandContext) -> tuple[str, str]:
    """The id of an action or its call, if the first word is a whole one, and what follows it."""
    first, _, rest = arguments.partition(" ")
    named = any(first and first in (a.id, a.call) for a in await context.session.approvals.pending())
    return (first, rest.strip()) if named else ("", arguments)


async def _the_action(context: CommandContext, typed: str, kinds: Sequence[str]) -> PendingAction:
    """The action named, or the only one that waits."""
    pending = [a for a in await context.session.approvals.pending() if a.kind in kinds]
    found = [a for a in pending if a.id.startswith(typed) or a.call == typed]
    if not found:
        raise ActionNotFound("nothing waits for this answer" + (f" under {typed!r}" if typed else ""), action=typed)
    if len(found) > 1:
        raise InvalidArgument(f"{len(found)} wait for an answer, name one: {', '.join(a.id for a in found)}")
    return found[0]


# --- settings -------------------------------------------------------------------------------------------------------


async def _model(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(f"Current model: {context.model}")
    await context.session.set_model(arguments)
    return CommandOutput(f"{arguments} from the next prompt on.", state_changed=True)


async def _thinking(arguments: str, context: CommandContext) -> CommandOutput:
    if not arguments:
        return CommandOutput(f"Current thinking level: {context.session.thinking or 'as the model does'}")
    level: Any = arguments
    await context.session.set_thinking(level)
    return CommandOutput(f"Thinking {arguments} from the next prompt on.", state_changed=True)


async def _name(arguments: str, context: CommandContext) -> CommandOutput:
    await context.session.configure(name=_needed(arguments, "name", "TEXT"))
    return CommandOutput(f"Named: {arguments}", state_changed=True)


# --- the list -------------------------------------------------------------------------------------------------------


@cache
def builtin_commands() -> tuple[Command, ...]:
    """Every built-in command, by name."""
    levels = "|".join(get_args(ThinkingLevel))
    return tuple(
        sorted(
            (
                _command("help", "List the commands, or explain one.", _help, "[COMMAND]"),
                _command("cost", "Show what the session has used.", _alone(_cost)),
                _command("status", "Show where the session stands.", _alone(_status)),
                _command("history", "Show the last messages of the transcript.", _history, "[COUNT]"),
                _command("tools", "List the tools the model can call.", _alone(_tools)),
                _command("mcp", "List the connected MCP servers.", _alone(_mcp)),
                _command(
                    "budget", "Show what may be spent and what was, or set a limit.", _budget, "[LIMIT=VALUE ...|none]"
                ),
                _command("runs", "List the last runs.", _runs, "[COUNT]"),
                _command(
                    "artifacts", "List outputs kept by reference, or pin one.", _artifacts, "[COUNT|pin REF|unpin REF]"
                ),
                _command("permissions", "List the rules for what may run, or try them.", _permissions, "[check TOOL TEXT]"),
                _command("hooks", "List the hooks that are registered in this process.", _alone(_hooks)),
                _command("verify", "Run the project's checks, or one of them.", _verify, "[CHECK]", safe=False),
                _command("clear", "Begin the transcript anew; the log stays.", _alone(_clear), safe=False),
                _command(
                    "rewind",
                    "List the places to go back to, or go there, with the files if you say so.",
                    _rewind,
                    "[SEQ|last [files [keep|overwrite]]]",
                    safe=False,
                ),
                _command("redo", "Take the last rewind back.", _redo, "[keep|overwrite]", safe=False),
                _command("diff", "Show what changed in the files, by default in the whole session.", _diff, "[SEQ [SEQ]]"),
                _command("checkpoints", "List the states of the files that are kept.", _alone(_checkpoints)),
                _command("steer", "Put a message into the open run at its next step.", _steer, "TEXT"),
                _command("follow-up", "Queue a message for when the run would end.", _follow_up, "TEXT"),
                _command("queue", "List what waits to be delivered, or take a message back.", _queue, "[withdraw ID]"),
                _command("pause", "Stop at the next step.", _pause, "[REASON]"),
                _command("resume", "Go on after a pause.", _alone(_resume)),
                _command("interrupt", "End the open run at once; force gives its tools no grace.", _interrupt, "[force]"),
                _command("stop", "The same as /interrupt.", _interrupt, "[force]"),
                _command("pending", "List what waits for an answer, with its arguments.", _alone(_pending)),
                _command(
                    "approve",
                    "Let a call run that waits for approval, and remember it.",
                    _approve,
                    "[ID] [session|always [RULE]]",
                ),
                _command("deny", "Refuse a call that waits; the model is told the reason.", _deny, "[ID] [REASON]"),
                _command("answer", "Answer a question, or give the result of a call made outside.", _answer, "[ID] TEXT"),
                _command("model", "Show the model, or use another one from the next prompt on.", _model, "[PROVIDER:MODEL]"),
                _command(
                    "thinking", "Show or set how much the model thinks from the next prompt on.", _thinking, f"[{levels}]"
                ),
                _command("name", "Name the session.", _name, "TEXT"),
            ),
            key=lambda c: c.name,
        )
    )


def _command(name: str, description: str, execute: Any, usage: str | None = None, *, safe: bool = True) -> Command:
    return Command(name, description, execute, usage, safe, "builtin")


def _alone(execute: Callable[[CommandContext], Answer]) -> Callable[[str, CommandContext], Answer]:
    """The body of a command that takes no arguments."""

    def checked(arguments: str, context: CommandContext) -> Answer:
        if arguments:
            raise InvalidArgument(f"it takes nothing behind it, and got {_line(arguments)!r}")
        return execute(context)

    return checked


def _needed(text: str, command: str, what: str) -> str:
    if not text.strip():
        raise InvalidArgument(f"it needs something behind it: /{command} {what}")
    return text.strip()


def _count(arguments: str) -> int:
    if not arguments:
        return SHOWN
    if not (arguments.isascii() and arguments.isdigit() and int(arguments[:9]) > 0):
        raise InvalidArgument(f"{_line(arguments)!r} is no count: type a number from 1")
    return int(arguments[:9])


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _call(action: PendingAction) -> str:
    # In JSON nothing is invisible: what is approved must not hide behind a control character.
    return f"{action.name} {json.dumps(action.arguments)}"


def _line(text: str, width: int = 100) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"
