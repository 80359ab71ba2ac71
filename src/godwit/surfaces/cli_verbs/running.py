"""The verbs that run: `run`, `chat`, `resume`, `demo`. What they do is `cli_run`'s, `cli_chat`'s and `cli_demo`'s."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Allow, Ask, Attach, Deny, Folder, Json, Replay, SessionArgument, Yes
from .work import ends

ModelOption = Annotated[
    str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL", envvar="GODWIT_MODEL", help="The model to ask.")
]
AgentOption = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Work as this agent; godwit agents lists them.")
]
Tools = Annotated[
    str | None,
    typer.Option("--tools", metavar="NAMES", help="Tools and tool sets. [default: files,bash,todo,goal]"),
]
Instructions = Annotated[
    str | None, typer.Option("--instructions", metavar="TEXT|@FILE", help="What the agent is asked to be.")
]
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
TrustOption = Annotated[bool, typer.Option("--trust", help="Trust the folder as it is now, see godwit trust.")]
Network = Annotated[bool, typer.Option("--network", help="Let commands reach the network.")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="HOST", help="Let commands reach this host and no others.")
]
Continue = Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest session of this folder.")]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", metavar="ID", help="Go on with this session.")]
ModeOption = Annotated[
    str | None, typer.Option("--mode", metavar="MODE", help="What it may do: build (all), plan (look only).")
]
Thinking = Annotated[str | None, typer.Option("--thinking", metavar="LEVEL", help="off, minimal, low, medium, high, xhigh.")]
Name = Annotated[str | None, typer.Option("--name", help="A name for the session, shown by ls.")]
GoalOption = Annotated[
    str | None,
    typer.Option("--goal", metavar="TEXT", help="What it is to come to; runs go on until that is met or blocked."),
]
MaxNudges = Annotated[
    int | None,
    typer.Option(
        "--max-nudges",
        metavar="N",
        min=0,
        max=100,
        help="How often in a row a model that stops is told to go on. [default: 3]",
    ),
]
Record = Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Write what the model answers to this file.")]


def run(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What to do; `-` reads it from standard input.")] = None,
    model: ModelOption = None,
    workspace: Folder = Path("."),
    agent: AgentOption = None,
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
    allow_host: AllowHost = None,
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
    mode: ModeOption = None,
    goal: GoalOption = None,
    max_nudges: MaxNudges = None,
    name: Name = None,
    record: Record = None,
    replay: Replay = None,
    trust: TrustOption = False,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="The answer is JSON that fits the schema in this file.")
    ] = None,
    attach: Attach = None,
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
      godwit run "List the TODOs." --schema todos.json
      godwit run "What is wrong here?" --attach shot.png --attach log.txt
      godwit run "Look for races." --agent review  as an agent of a file, or a built-in one
      godwit run "/review src/app.py"              a command of your own, from a Markdown file
    """
    from ..cli_agent import AgentFlags
    from ..cli_attaching import named_files
    from ..cli_budget import from_flags
    from ..cli_keyboard import interactive
    from ..cli_prompt import read_schema
    from ..cli_server_run import runner
    from ..cli_settings import also

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
        mode=mode,
        goal=goal,
        max_nudges=max_nudges,
        sandbox=sandbox,
        network=network,
        allowed_hosts=allow_host or (),
        agent_name=agent,
    )
    if max_nudges is not None:
        also("nudges.max_nudges", max_nudges)  # before what files say, in this process; in the agent for those to come
    if new and (go_on or session is not None):
        raise CliError("--new starts over, and --continue or --session names what goes on")
    if prompt == "-":
        prompt = sys.stdin.read().strip()
        if not prompt:
            raise CliError("standard input held no prompt")
    if prompt is not None and not prompt.strip():
        raise CliError("the prompt is empty", hint='say what to do: godwit run "Fix the failing test."')
    if attach and prompt is None:
        raise CliError("--attach goes with a prompt", hint='say what to do: godwit run "What is this?" --attach shot.png')
    files, output = named_files(attach), read_schema(schema)
    command = runner(context.obj)(context.obj, flags, workspace, yes=yes, as_json=as_json, record=record, replay=replay)
    command.trust = trust
    ends(command.run(prompt, session=session, go_on=go_on, new=new, unattended=unattended, output=output, attachments=files))


def chat(
    context: typer.Context,
    model: ModelOption = None,
    workspace: Folder = Path("."),
    agent: AgentOption = None,
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
    allow_host: AllowHost = None,
    go_on: Continue = False,
    session: SessionOption = None,
    thinking: Thinking = None,
    mode: ModeOption = None,
    goal: GoalOption = None,
    max_nudges: MaxNudges = None,
    name: Name = None,
    record: Record = None,
    replay: Replay = None,
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Talk with an agent.

    While it works, what you type steers it; /help lists the commands. @PATH sends a file of the folder along, @"A PATH" one
    with blanks in its name.

    \b
    Examples:
      godwit chat -m anthropic:claude-sonnet-4-5
      godwit chat --continue
      printf 'List the tests.\\nWhich of them are slow?\\n' | godwit chat -m openai:gpt-5
    """
    from ..cli_agent import AgentFlags
    from ..cli_budget import from_flags
    from ..cli_keyboard import interactive
    from ..cli_server_run import chatter
    from ..cli_settings import also

    asks = interactive() and not yes and not as_json
    budget = from_flags(max_usd, max_tokens, max_tool_calls, max_time, asks=asks)
    flags = AgentFlags(
        *(model, tools, instructions, ask or (), deny or (), allow or (), max_turns, thinking, name),
        budget=budget,
        mode=mode,
        goal=goal,
        max_nudges=max_nudges,
        sandbox=sandbox,
        network=network,
        allowed_hosts=allow_host or (),
        agent_name=agent,
    )
    if max_nudges is not None:
        also("nudges.max_nudges", max_nudges)  # before what files say, in this process; in the agent for those to come
    command = chatter(context.obj)(context.obj, flags, workspace, yes=yes, as_json=as_json, record=record, replay=replay)
    command.trust = trust
    ends(command.chat(session=session, go_on=go_on))


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
    from ..cli_agent import AgentFlags
    from ..cli_server_run import runner

    command = runner(context.obj)(context.obj, AgentFlags(), None, yes=yes, as_json=as_json, record=record, replay=replay)
    ends(command.resume(session, again=again, drive=not detach))


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
    from .. import cli_demo

    ends(cli_demo.demo(folder, model=model if live else None, live=live, pace_s=pace, fresh=fresh, yes=yes, as_json=as_json))
