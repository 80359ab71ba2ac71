"""The command line: its commands, their flags, and nothing else. What a command does beyond a few lines lies beside it.

Starting is fast because nothing is imported before it is needed: `--help` loads Typer alone, `ls` the store, and only a
command that asks a model loads a provider. Exit codes and errors are `cli_exit`'s; every command that prints data takes
`--json` and then prints one object per line on stdout, and nothing else there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_exit import DONE, INTERRUPTED, USAGE, CliError, complain, report
from .cli_place import DEFAULT_DATABASE, Place, find

if TYPE_CHECKING:
    from ..contracts import SessionRow
    from ..engine.session import Session

app = typer.Typer(
    name="godwit",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="Session id, the beginning of one, or `last`.")]
ModelOption = Annotated[
    str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL", envvar="GODWIT_MODEL", help="The model to ask.")
]
Folder = Annotated[Path, typer.Option("--workspace", "-w", metavar="DIR", help="The folder to work in.")]
Tools = Annotated[str | None, typer.Option("--tools", metavar="NAMES", help="Tools and tool sets. [default: files,bash]")]
Instructions = Annotated[
    str | None, typer.Option("--instructions", metavar="TEXT|@FILE", help="What the agent is asked to be.")
]
Ask = Annotated[list[str] | None, typer.Option("--ask", metavar="RULE", help="Ask before this runs; bash is asked anyway.")]
Deny = Annotated[list[str] | None, typer.Option("--deny", metavar="RULE", help="Never run this: `TOOL` or `TOOL(PATTERN)`.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", metavar="RULE", help="Run this without asking.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Approve everything that is asked.")]
MaxTurns = Annotated[int | None, typer.Option("--max-turns", min=1, metavar="N", help="End each run after N turns.")]
MaxUsd = Annotated[
    float | None, typer.Option("--max-usd", min=0, metavar="USD", help="What the session may cost, over its whole life.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, metavar="N", help="Tokens the session may use, over its whole life.")
]
MaxToolCalls = Annotated[
    int | None, typer.Option("--max-tool-calls", min=0, metavar="N", help="Tool calls the session may make.")
]
MaxTime = Annotated[
    float | None, typer.Option("--max-time", min=0, metavar="SECONDS", help="Time it may work, waiting for you left out.")
]
SandboxOption = Annotated[
    str | None,
    typer.Option("--sandbox", metavar="NAME", help="What confines commands: bubblewrap, landlock, none. [default: auto]"),
]
Network = Annotated[bool, typer.Option("--network", help="Let commands reach the network.")]
Continue = Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest session of this folder.")]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", metavar="ID", help="Go on with this session.")]
Thinking = Annotated[str | None, typer.Option("--thinking", metavar="LEVEL", help="off, minimal, low, medium, high, xhigh.")]
Name = Annotated[str | None, typer.Option("--name", help="A name for the session, shown by ls.")]
Record = Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Write what the model answers to this file.")]
Replay = Annotated[
    Path | None, typer.Option("--replay", metavar="FILE", help="Let this recording answer: no key, no network.")
]

RememberOption = Annotated[
    str | None,
    typer.Option("--remember", metavar="session|always", help="The same for every call that the rule matches."),
]
RuleOption = Annotated[
    str | None, typer.Option("--rule", metavar="RULE", help="What to remember. [default: the narrowest rule offered]")
]


def _version(wanted: bool) -> None:
    if wanted:
        from .cli_doctor import version

        print(f"godwit {version()}")
        raise typer.Exit


@app.callback()
def godwit(
    context: typer.Context,
    db: Annotated[
        Path | None,
        typer.Option("--db", envvar="GODWIT_DB", metavar="PATH", help=f"The database. [default: {DEFAULT_DATABASE}]"),
    ] = None,
    hooks: Annotated[
        list[Path] | None,
        typer.Option("--hooks", envvar="GODWIT_HOOKS", metavar="FILE", help="Hooks of all sessions driven here."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say where things are kept.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,  # noqa: ARG001 - its callback acts
) -> None:
    """Durable agent sessions: they outlive the process, the connection and the machine.

    \b
    Examples:
      godwit demo                                  a real run on a small project: no key, no network
      godwit run "Fix the failing test." -m anthropic:claude-sonnet-4-5
      godwit run --continue "Now add a test for it."
      godwit ls
      godwit log last --follow                     from another terminal
      godwit steer last "Leave the README alone."

    \b
    Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 limited, 4 waits for an answer (parked), 5 not found,
    6 conflict, 130 interrupted.
    """
    from_flag = context.get_parameter_source("db")
    named = db is not None and from_flag is not None and from_flag.name == "COMMANDLINE"
    place = Place((db or DEFAULT_DATABASE).expanduser(), named, verbose, tuple(hooks or ()))
    if verbose:
        print(f"database: {place.database}", file=sys.stderr)
    context.obj = place


# --- running ----------------------------------------------------------------------------------------------------------


@app.command()
def run(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What to do; `-` reads it from standard input.")] = None,
    model: ModelOption = None,
    workspace: Folder = Path("."),
    tools: Tools = None,
    instructions: Instructions = None,
    ask: Ask = None,
    deny: Deny = None,
    allow: Allow = None,
    yes: Yes = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Deny what would have to be asked, instead of waiting for an answer.")
    ] = False,
    max_turns: MaxTurns = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    max_tool_calls: MaxToolCalls = None,
    max_time: MaxTime = None,
    sandbox: SandboxOption = None,
    network: Network = False,
    go_on: Continue = False,
    new: Annotated[bool, typer.Option("--new", help="Start over, even when this prompt's run was cut off here.")] = False,
    verified: Annotated[
        bool, typer.Option("--verify", help="Done only once the checks that fit the folder pass; godwit verify --list.")
    ] = False,
    checks: Annotated[
        list[str] | None, typer.Option("--verify-command", metavar="CMD", help="Done only once this command passes.")
    ] = None,
    session: SessionOption = None,
    thinking: Thinking = None,
    name: Name = None,
    record: Record = None,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Send a prompt and watch the run until it ends.

    A run that was cut off goes on from where it was: the newest of the folder (or of --session) when no prompt is given, or
    the prompt it was begun with.

    \b
    Examples:
      godwit run "Fix the failing test." -m anthropic:claude-sonnet-4-5
      godwit run --continue "And now the docs."
      godwit run                                   go on after a crash
      godwit run "Say hello." -m openai:gpt-5 --tools "" --json
      godwit run "Fix the failing test." --verify-command "pytest -q"
      godwit run "Fix the failing test." --max-usd 2 --max-time 600
      godwit run "Tidy up." --allow bash --deny write --record tidy.jsonl
      godwit run "Tidy up." --replay tidy.jsonl    the same again, without the model
      godwit run "/review src/app.py"              a command of your own, from a Markdown file
    """
    from . import cli_run
    from .cli_agent import AgentFlags
    from .cli_budget import from_flags
    from .cli_keyboard import interactive

    asks = interactive() and not yes and not unattended and not as_json
    budget = from_flags(max_usd, max_tokens, max_tool_calls, max_time, asks=asks)
    flags = AgentFlags(
        model,
        tools,
        instructions,
        ask or (),
        deny or (),
        allow or (),
        max_turns,
        thinking,
        name,
        verified,
        checks or (),
        budget,
        sandbox=sandbox,
        network=network,
    )
    if new and (go_on or session is not None):
        raise CliError("--new starts over, and --continue or --session names what goes on")
    if prompt == "-":
        prompt = sys.stdin.read().strip()
        if not prompt:
            raise CliError("standard input held no prompt")
    if prompt is not None and not prompt.strip():
        raise CliError("the prompt is empty", hint='say what to do: godwit run "Fix the failing test."')
    command = cli_run.Run(context.obj, flags, workspace, yes=yes, as_json=as_json, record=record, replay=replay)
    _end(_async(command.run(prompt, session=session, go_on=go_on, new=new, unattended=unattended)))


@app.command()
def chat(
    context: typer.Context,
    model: ModelOption = None,
    workspace: Folder = Path("."),
    tools: Tools = None,
    instructions: Instructions = None,
    ask: Ask = None,
    deny: Deny = None,
    allow: Allow = None,
    yes: Yes = False,
    max_turns: MaxTurns = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    max_tool_calls: MaxToolCalls = None,
    max_time: MaxTime = None,
    sandbox: SandboxOption = None,
    network: Network = False,
    go_on: Continue = False,
    session: SessionOption = None,
    thinking: Thinking = None,
    name: Name = None,
    record: Record = None,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Talk with an agent.

    While it works, what you type steers it; /help lists the commands.

    \b
    Examples:
      godwit chat -m anthropic:claude-sonnet-4-5
      godwit chat --continue
      printf 'List the tests.\\nWhich of them are slow?\\n' | godwit chat -m openai:gpt-5
    """
    from . import cli_chat
    from .cli_agent import AgentFlags
    from .cli_budget import from_flags
    from .cli_keyboard import interactive

    asks = interactive() and not yes and not as_json
    budget = from_flags(max_usd, max_tokens, max_tool_calls, max_time, asks=asks)
    flags = AgentFlags(
        *(model, tools, instructions, ask or (), deny or (), allow or (), max_turns, thinking, name),
        budget=budget,
        sandbox=sandbox,
        network=network,
    )
    command = cli_chat.Chat(context.obj, flags, workspace, yes=yes, as_json=as_json, record=record, replay=replay)
    _end(_async(command.chat(session=session, go_on=go_on)))


@app.command()
def resume(
    context: typer.Context,
    session: SessionArgument,
    yes: Yes = False,
    again: Annotated[
        bool, typer.Option("--again", help="Continue the last run, which was interrupted, failed or limited.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--no-drive", help="Lift the pause and leave the work to another process.")
    ] = False,
    record: Record = None,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Go on with a session.

    Lifts its pause, and drives its open run here unless another process does.

    \b
    Examples:
      godwit resume last
      godwit resume ses_01k9 --yes
      godwit resume last --again                   continue the last run from its last checkpoint
    """
    from . import cli_run
    from .cli_agent import AgentFlags

    command = cli_run.Run(context.obj, AgentFlags(), None, yes=yes, as_json=as_json, record=record, replay=replay)
    _end(_async(command.resume(session, again=again, drive=not detach)))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the demo's project is laid.")] = Path(
        "godwit-demo"
    ),
    live: Annotated[bool, typer.Option("--live", help="Ask a real model instead of the recording.")] = False,
    model: ModelOption = None,
    pace: Annotated[
        float, typer.Option("--pace", min=0.0, metavar="SECONDS", help="Pause before each piece of an answer.")
    ] = 0.3,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, even when a run was cut off.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Watch a real run; no key, no network.

    An agent mends a small project with a failing test. Kill it in the middle and run it again.

    \b
    Examples:
      godwit demo
      godwit demo --pace 1 --dir /tmp/demo
      godwit demo --live -m anthropic:claude-sonnet-4-5
    """
    from . import cli_demo

    _end(
        _async(
            cli_demo.demo(
                folder, model=model if live else None, live=live, pace_s=pace, fresh=fresh, yes=yes, as_json=as_json
            )
        )
    )


# --- looking ----------------------------------------------------------------------------------------------------------


@app.command()
def ls(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="All of them, archived ones too, not only the newest 20.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List sessions, the newest first.

    \b
    Examples:
      godwit ls
      godwit ls --all --json
    """
    from . import cli_list

    _end(_async(cli_list.sessions(context.obj, everything=everything, as_json=as_json)))


@app.command()
def log(
    context: typer.Context,
    session: SessionArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show what comes, until Ctrl-C.")] = False,
    from_seq: Annotated[int, typer.Option("--from", min=0, metavar="SEQ", help="Only events after this one.")] = 0,
    deltas: Annotated[bool, typer.Option("--deltas", help="With --follow: also the fragments shown live.")] = False,
    as_json: Json = False,
) -> None:
    """Show a session's log.

    \b
    Examples:
      godwit log last
      godwit log last --follow                     while it runs in another terminal
      godwit log ses_01k9 --from 120 --json
    """
    from . import cli_list

    _end(_async(cli_list.log(context.obj, session, follow=follow, from_seq=from_seq, deltas=deltas, as_json=as_json)))


@app.command()
def queue(
    context: typer.Context,
    session: SessionArgument,
    withdraw: Annotated[str | None, typer.Option("--withdraw", metavar="INPUT", help="Take this input back.")] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="A,B,C", help="Put the follow-ups into this order.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Delivered and withdrawn ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Show or change a session's queue.

    \b
    Examples:
      godwit queue last
      godwit queue last --withdraw in_01k9zq
      godwit queue last --order in_b,in_a
    """
    from . import cli_list

    async def work(handle: Session, row: SessionRow) -> int:
        if withdraw is not None:
            await handle.queue.withdraw(await cli_list.input_of(handle, withdraw))
        if order is not None:
            await handle.queue.reorder([await cli_list.input_of(handle, word.strip()) for word in order.split(",")])
        code = await cli_list.queue(handle, everything=everything, as_json=as_json)
        if not as_json:
            cli_list.say_cut_off(context.obj, row)
        return code

    _end(_async(_with(context.obj, session, work)))


@app.command()
def budget(
    context: typer.Context,
    session: SessionArgument,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A limit from the next prompt on; `none` takes it away."),
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Set it for the session and all that work for it.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a session has spent of what it may, or change what it may.

    Limits: tokens, usd, turns, tool_calls, time_s (seconds). Beside them soft (a share that warns), on_limit (stop or ask),
    unpriced (deny or allow a model whose price is not known).

    \b
    Examples:
      godwit budget last
      godwit budget last --set usd=5 --set on_limit=ask
      godwit budget last --set tokens=none
    """
    from . import cli_budget

    _end(_async(cli_budget.show(context.obj, session, changes or (), tree=tree, as_json=as_json)))


@app.command()
def commands(context: typer.Context, workspace: Folder = Path("."), as_json: Json = False) -> None:  # noqa: ARG001
    """List the slash commands of a folder.

    Those built in and those of Markdown files, with what is wrong with such a file and on which line.

    \b
    Examples:
      godwit commands
      godwit commands --workspace ../app --json
    """
    from .cli_commands import listing

    _end(listing(workspace, as_json=as_json))


@app.command()
def permissions(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="check|list|allow|ask|deny|remove", help="Explain a verdict, or work on saved rules.")
    ],
    text: Annotated[str | None, typer.Argument(metavar="[COMMAND|RULE]", help="What to judge, or the rule.")] = None,
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="check: of this tool. [default: bash]")] = None,
    arguments: Annotated[str | None, typer.Option("--args", metavar="JSON", help="check: the call's arguments.")] = None,
    session: Annotated[str | None, typer.Option("--session", "-s", metavar="ID", help="check: in this session.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="check: for this stored agent.")] = None,
    ask: Ask = None,
    deny: Deny = None,
    allow: Allow = None,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """Explain what the rules say of a call, part by part; list, save and remove rules of a folder.

    check ends with 0 for allow, 1 for deny, 3 for ask, and runs nothing.

    \b
    Examples:
      godwit permissions check "git log && rm -rf build" --allow "bash(git log:*)"
      godwit permissions check --tool write --args '{"file_path": "docs/a.md", "content": ""}'
      godwit permissions check "git push" --session last
      godwit permissions deny "bash(git push:*)"
      godwit permissions list
    """
    from . import cli_permissions
    from .cli_agent import AgentFlags

    flags = AgentFlags(ask=ask or (), deny=deny or (), allow=allow or ())
    work = cli_permissions.permissions(
        context.obj,
        what,
        text,
        flags,
        workspace,
        tool=tool,
        arguments=arguments,
        session=session,
        agent=agent,
        as_json=as_json,
    )
    _end(_async(work))


@app.command()
def hooks(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="list|test", help="Show them, or which of them are called.")] = "list",
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Instead of --hooks.")] = None,
    point: Annotated[str, typer.Option("--point", metavar="POINT", help="test: at this point.")] = "before_tool",
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="test: a call of this tool.")] = None,
    arguments: Annotated[str | None, typer.Option("--args", metavar="JSON", help="test: the call's arguments.")] = None,
    command: Annotated[str | None, typer.Option("--command", metavar="CMD", help="test: this shell command.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="test: this prompt.")] = None,
    execute: Annotated[bool, typer.Option("--run", help="test: call them and show what they come to.")] = False,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """Show hooks, or which of them a call would meet.

    The files are those of --hooks (or GODWIT_HOOKS), or named here: settings of Claude Code (.json) or [[hooks]] tables.
    Nothing is run without --run.

    \b
    Examples:
      godwit --hooks hooks.toml run "Fix the failing test."
      godwit hooks list .claude/settings.json
      godwit hooks test hooks.toml --command "git push --force"
      godwit hooks test hooks.toml --tool write --args '{"file_path": ".env"}' --run
    """
    from . import cli_hooks

    place: Place = context.obj
    asked = cli_hooks.Asked(point, tool, arguments, command, prompt)
    _end(_async(cli_hooks.show(what, files or place.hooks, asked, workspace, execute=execute, as_json=as_json)))


@app.command()
def verify(
    context: typer.Context,
    session: Annotated[
        str | None, typer.Argument(metavar="ID", help="The session to record it in: its id, the beginning of it, or `last`.")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="Without a session: the folder. [default: this one]"),
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option("--preset", metavar="NAME", help="All commands of this preset; --list names them.")
    ] = None,
    command: Annotated[list[str] | None, typer.Option("--command", metavar="CMD", help="This command.")] = None,
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="What it is about.")] = "workspace",
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what fits the folder, and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run the checks of a session and record what came of them.

    By default those its agent is held to, else those required by what is found in its folder. Without a session they are
    only run. Ends with code 0 when all passed, else with 1.

    \b
    Examples:
      godwit verify last
      godwit verify last --command "pytest -q" --command "ruff check ."
      godwit verify -w . --list
      godwit verify --preset python --json
    """
    from . import cli_verify

    wanted = cli_verify.Wanted(tuple(preset or ()), tuple(command or ()), listed)
    if session is None:
        _end(_async(cli_verify.of_folder(workspace or Path("."), wanted, subject, as_json=as_json)))
    elif workspace is not None:
        raise CliError("a session has its own folder: leave out --workspace, or the session")
    else:
        _end(_async(cli_verify.of_session(context.obj, session, wanted, subject, as_json=as_json)))


@app.command()
def artifacts(
    context: typer.Context,
    session: SessionArgument,
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Show this one; its beginning is enough.")] = None,
    as_json: Json = False,
) -> None:
    """List the large outputs a session keeps, or show one.

    \b
    Examples:
      godwit artifacts last
      godwit artifacts last 9f86d08 > output.txt
    """
    from . import cli_artifacts

    async def work(handle: Session, _: SessionRow) -> int:
        if ref is not None:
            return await cli_artifacts.content(handle, ref)
        return await cli_artifacts.listed(handle, as_json=as_json)

    _end(_async(_with(context.obj, session, work)))


RefArgument = Annotated[str, typer.Argument(metavar="REF", help="The artifact, or the beginning of its ref.")]


@app.command()
def pin(context: typer.Context, session: SessionArgument, ref: RefArgument, as_json: Json = False) -> None:
    """Keep an artifact whatever the limits are.

    \b
    Examples:
      godwit pin last 9f86d08
    """
    from . import cli_artifacts

    async def work(handle: Session, _: SessionRow) -> int:
        return await cli_artifacts.pinned(handle, ref, "pin", as_json=as_json)

    _end(_async(_with(context.obj, session, work)))


@app.command()
def unpin(context: typer.Context, session: SessionArgument, ref: RefArgument, as_json: Json = False) -> None:
    """Let an artifact go when its time comes.

    \b
    Examples:
      godwit unpin last 9f86d08
    """
    from . import cli_artifacts

    async def work(handle: Session, _: SessionRow) -> int:
        return await cli_artifacts.pinned(handle, ref, "unpin", as_json=as_json)

    _end(_async(_with(context.obj, session, work)))


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Show what this installation finds.

    Versions, the database, programs, providers with a key (never a key itself).

    \b
    Examples:
      godwit doctor
      godwit doctor --json
    """
    from .cli_doctor import show

    _end(show(context.obj, as_json=as_json))


# --- controlling from outside -----------------------------------------------------------------------------------------


@app.command()
def send(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str, typer.Argument(help="The message.")],
    follow_up: Annotated[bool, typer.Option("--follow-up", help="Queue it for when the open run would end.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: sending again under it changes nothing.")
    ] = None,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, do it here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Send a message to a session.

    A prompt or a slash command, or with --follow-up a message for when nothing else is left to do.

    \b
    Examples:
      godwit send last "And run the linter." --follow-up
      godwit send last "Start with the tests." --drive
      godwit send last "/status"
    """

    async def work(handle: Session) -> dict[str, Any]:
        from ..engine.commands import as_prompt
        from .cli_commands import answered, facts

        if follow_up:
            return {"input": await handle.follow_up(text, key=key, sender="cli")}
        done = await answered(handle, text, key=key)
        if done is not None:
            return facts(done)
        return {"run": await handle.prompt(as_prompt(text), key=key, sender="cli")}

    said = "queued" if follow_up else "sent"
    _end(_control(context.obj, session, work, said, drive=drive, yes=yes, replay=replay, as_json=as_json))


@app.command()
def steer(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str, typer.Argument(help="The message.")],
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="skip|batch", help="Skip the calls not started yet, or run them first.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: sending again under it changes nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a message into the open run at its next step.

    \b
    Examples:
      godwit steer last "Leave the README alone."
      godwit steer last "Stop after this." --mode batch
    """
    if mode not in (None, "skip", "batch"):
        raise CliError(f"--mode {mode} is neither skip nor batch")

    async def work(handle: Session) -> dict[str, Any]:
        chosen: Any = mode
        return {"input": await handle.steer(text, mode=chosen, key=key, sender="cli")}

    _end(_control(context.obj, session, work, "accepted; it is delivered at the next step", as_json=as_json))


@app.command()
def interrupt(
    context: typer.Context,
    session: SessionArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Give running tools no grace; take the session from a stuck process.")
    ] = False,
    as_json: Json = False,
) -> None:
    """End the open run at once.

    What was streamed so far is kept, and the session stays usable.

    \b
    Examples:
      godwit interrupt last
      godwit interrupt ses_01k9 --force
    """
    from . import cli_control

    _end(_async(cli_control.interrupt(context.obj, session, force=force, as_json=as_json)))


@app.command()
def approve(
    context: typer.Context,
    session: SessionArgument,
    action: Annotated[
        str | None, typer.Argument(help="Id of the action or its call; not needed when only one waits.")
    ] = None,
    arguments: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="Run the call with these arguments instead.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Everything that waits.")] = False,
    remember: RememberOption = None,
    rule: RuleOption = None,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what waits, whole, and change nothing.")] = False,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Allow a call that waits for approval.

    \b
    Examples:
      godwit approve last --list                   see first what would be allowed
      godwit approve last
      godwit approve last act_01k9 --args '{"command": "pytest -q"}'
      godwit approve last --remember session       and all calls like it from now on
      godwit approve last --all --drive
      godwit approve last --args '{"usd": 5}'      a budget asks: allow so much more
    """
    from . import cli_budget, cli_control

    if listed:
        return _end(_async(cli_control.waiting(context.obj, session, action, as_json=as_json)))
    changed = cli_control.json_object(arguments) if arguments is not None else None

    async def work(handle: Session) -> dict[str, Any]:
        chosen = await cli_control.chosen(handle, action, everything=everything)
        kept = cli_control.remembered(remember)
        more = await cli_budget.raises(handle, chosen, changed)
        fresh = [
            await handle.approvals.approve(one, arguments=changed, remember=kept, rule=rule, sender="cli") for one in chosen
        ]
        return {"actions": chosen, "answered": fresh, **({"allowed": more} if more else {})}

    return _end(_control(context.obj, session, work, "approved", drive=drive, yes=yes, replay=replay, as_json=as_json))


@app.command()
def deny(
    context: typer.Context,
    session: SessionArgument,
    action: Annotated[
        str | None, typer.Argument(help="Id of the action or its call; not needed when only one waits.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why; the model is told.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Everything that waits.")] = False,
    remember: RememberOption = None,
    rule: RuleOption = None,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Refuse a call that waits for approval.

    \b
    Examples:
      godwit deny last --reason "Use the staging host."
      godwit deny last act_01k9 --drive
    """
    from . import cli_control

    async def work(handle: Session) -> dict[str, Any]:
        chosen = await cli_control.chosen(handle, action, everything=everything)
        kept = cli_control.remembered(remember)
        fresh = [await handle.approvals.deny(one, reason, remember=kept, rule=rule, sender="cli") for one in chosen]
        return {"actions": chosen, "answered": fresh}

    _end(_control(context.obj, session, work, "denied", drive=drive, yes=yes, replay=replay, as_json=as_json))


@app.command()
def answer(
    context: typer.Context,
    session: SessionArgument,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ACTION] TEXT",
            help="Id of the action or its call, not needed when only one waits; and the text, `-` reads standard input.",
        ),
    ],
    error: Annotated[bool, typer.Option("--error", help="The text says what went wrong.")] = False,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Give the result of a call made outside, or answer a question.

    \b
    Examples:
      godwit answer last "Ada"
      godwit answer last act_01k9 "no such customer" --error
      psql -c "select 1" | godwit answer last - --drive
    """
    from . import cli_control

    action, text = cli_control.action_and_text(words)

    async def work(handle: Session) -> dict[str, Any]:
        chosen = await cli_control.chosen(handle, action, kinds=cli_control.RESULTS)
        fresh = [await handle.approvals.answer(one, text, is_error=error, sender="cli") for one in chosen]
        return {"actions": chosen, "answered": fresh}

    _end(_control(context.obj, session, work, "answered", drive=drive, yes=yes, replay=replay, as_json=as_json))


@app.command()
def tool(
    context: typer.Context,
    session: SessionArgument,
    name: Annotated[str | None, typer.Argument(help="The tool; without one, those of the agent are listed.")] = None,
    arguments: Annotated[
        str | None, typer.Argument(metavar="JSON", help="Its arguments as a JSON object; `-` reads standard input.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="In place of the tool's own limit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Call a tool on a session, with no model in between.

    The call is recorded in the log and stays out of the transcript. Nobody is asked: who types it is trusted. Hooks,
    budgets and the sandbox apply.

    \b
    Examples:
      godwit tool last                             what the agent has
      godwit tool last bash '{"command": "git status --short"}'
      godwit tool last read '{"file_path": "README.md"}' --json
    """
    from . import cli_tool

    _end(_async(cli_tool.call(context.obj, session, name, arguments, timeout_s=timeout, as_json=as_json)))


@app.command()
def pause(
    context: typer.Context,
    session: SessionArgument,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why; kept in the log.")] = None,
    as_json: Json = False,
) -> None:
    """Stop a session at its next step.

    Inputs are still accepted and wait.

    \b
    Examples:
      godwit pause last
      godwit pause ses_01k9 --reason "lunch"
    """

    async def work(handle: Session) -> dict[str, Any]:
        return {"paused": await handle.pause(reason)}

    _end(_control(context.obj, session, work, "paused; godwit resume lets it go on", as_json=as_json))


@app.command()
def archive(context: typer.Context, session: SessionArgument, as_json: Json = False) -> None:
    """Make a session final.

    An open run is interrupted. The log stays readable; ls shows it with --all.

    \b
    Examples:
      godwit archive last
      godwit archive ses_01k9 --json
    """
    from . import cli_control

    _end(_async(cli_control.archive(context.obj, session, as_json=as_json)))


@app.command()
def delete(
    context: typer.Context,
    session: SessionArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a session and its log for good.

    An open run is interrupted. Asks first; without a terminal it needs --yes. Files in its workspace stay.

    \b
    Examples:
      godwit delete ses_01k9
      godwit delete ses_01k9 --yes --json
    """
    from . import cli_control

    _end(_async(cli_control.delete(context.obj, session, yes=yes, as_json=as_json)))


# --- going back -------------------------------------------------------------------------------------------------------

KeepTheirs = Annotated[bool, typer.Option("--keep", help="Leave what somebody else has changed since.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Put back also what somebody else has changed since.")]


def _on_conflict(keep: bool, overwrite: bool) -> Any:
    if keep and overwrite:
        raise CliError("--keep and --overwrite say opposite things: choose one")
    return "keep" if keep else "overwrite" if overwrite else "refuse"


@app.command(context_settings={"ignore_unknown_options": True})
def rewind(
    context: typer.Context,
    session: SessionArgument,
    where: Annotated[
        str | None, typer.Argument(metavar="SEQ|-N", help="An event's number, or -1 for one message back.")
    ] = None,
    files: Annotated[bool, typer.Option("--files", "-f", help="Put the files back, too.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", "-p", help="Show what would become of the files; do nothing.")
    ] = False,
    keep: KeepTheirs = False,
    overwrite: Overwrite = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Go back to an earlier place of a conversation.

    With --files also what the agent has changed in the workspace since is undone, shell commands included; what others have
    changed stays. Shows it first and asks; without a terminal it needs --yes. Without a place, lists where to go back to.

    \b
    Examples:
      godwit rewind last
      godwit rewind last -1 --files
      godwit rewind last -1 --preview
      godwit rewind ses_01k9 42 --files --keep --yes
    """
    from . import cli_rewind

    chosen = _on_conflict(keep, overwrite)
    work = cli_rewind.rewind(
        context.obj, session, where, files=files, preview=preview, on_conflict=chosen, yes=yes, as_json=as_json
    )
    _end(_async(work))


@app.command()
def redo(
    context: typer.Context,
    session: SessionArgument,
    keep: KeepTheirs = False,
    overwrite: Overwrite = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Take the last rewind back, its files too.

    \b
    Examples:
      godwit redo last
      godwit redo ses_01k9 --yes
    """
    from . import cli_rewind

    chosen = _on_conflict(keep, overwrite)
    _end(_async(cli_rewind.redo(context.obj, session, on_conflict=chosen, yes=yes, as_json=as_json)))


@app.command()
def diff(
    context: typer.Context,
    session: SessionArgument,
    start: Annotated[
        str | None, typer.Argument(metavar="FROM", help="A seq or a checkpoint. [default: the first one]")
    ] = None,
    end: Annotated[str | None, typer.Argument(metavar="TO", help="A seq or a checkpoint. [default: now]")] = None,
    path: Annotated[list[str] | None, typer.Option("--path", metavar="PATH", help="Only this file.")] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only which files, and how many lines.")] = False,
    as_json: Json = False,
) -> None:
    """Show what changed in a session's files.

    \b
    Examples:
      godwit diff last
      godwit diff last 42
      godwit diff last 42 77 --stat
      godwit diff last --path src/app.py
    """
    from . import cli_rewind

    _end(_async(cli_rewind.diff(context.obj, session, start, end, paths=path or [], stat=stat, as_json=as_json)))


@app.command()
def checkpoints(
    context: typer.Context,
    session: SessionArgument,
    take: Annotated[bool, typer.Option("--take", help="Keep the files as they are now.")] = False,
    as_json: Json = False,
) -> None:
    """List the checkpoints of a session's files.

    \b
    Examples:
      godwit checkpoints last
      godwit checkpoints last --take
    """
    from . import cli_rewind

    _end(_async(cli_rewind.checkpoints(context.obj, session, take=take, as_json=as_json)))


# --- inside -----------------------------------------------------------------------------------------------------------


class _Unread(Exception):
    """Who read our output has seen enough. Typer would take the BrokenPipeError itself for a failure."""


def _async(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        raise _Unread from None


def _end(code: int) -> None:
    if code != DONE:
        raise typer.Exit(code)


async def _with(place: Place, typed: str, work: Any) -> int:
    """Do `work` on a handle that only watches and controls."""
    async with place.open() as runtime:
        row = await find(runtime, typed)
        code: int = await work(await runtime.open_session(row.id, drive=False), row)
        return code


def _control(place: Place, typed: str, work: Any, said: str, **options: Any) -> int:
    from . import cli_control

    return _async(cli_control.control(place, typed, work, said, **options))


def main() -> None:
    """The entry point `godwit`."""
    arguments = sys.argv[1:] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        # A file name or a model's answer may hold what the terminal's encoding cannot say.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        ended = app(arguments, standalone_mode=False, prog_name="godwit")
        code = ended if isinstance(ended, int) else DONE
        sys.stdout.flush()
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "godwit")
        message, hint = error.format_message(), f"{where} --help"
        if message.startswith("No such option") and where.rpartition(" ")[2] in ("run", "send", "steer", "answer"):
            hint += '; a text that begins with - stands behind -- (... -- "-v is missing")'
        code = complain("usage", message, hint, USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (_Unread, BrokenPipeError):
        # Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:
        code = report(error)
    sys.exit(code)
