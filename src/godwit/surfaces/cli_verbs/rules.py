"""The verbs about what a session is held to: budgets, permissions, hooks, checks; and which slash commands and
agents there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from ..cli_place import Place
from .options import Allow, Ask, Deny, Folder, Json, SessionArgument
from .work import done, ends


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
    from .. import cli_budget

    ends(cli_budget.show(context.obj, session, changes or (), tree=tree, as_json=as_json))


def commands(context: typer.Context, workspace: Folder = Path("."), as_json: Json = False) -> None:  # noqa: ARG001
    """List the slash commands of a folder.

    Those built in and those of Markdown files, with what is wrong with such a file and on which line.

    \b
    Examples:
      godwit commands
      godwit commands --workspace ../app --json
    """
    from ..cli_commands import listing

    done(listing(workspace, as_json=as_json))


def config(
    context: typer.Context,  # noqa: ARG001
    what: Annotated[str, typer.Argument(metavar="show|path|check|settings", help="What to do.")] = "show",
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="This section or setting, as in budget.usd.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Where each comes from, and what does not hold and why.")] = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="With those that nobody has set.")] = False,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """Show what is set for a folder, and by whom.

    Defaults, your file, the folder's, variables such as GODWIT_BUDGET__USD, `godwit --set`: the later ones count. `path`
    tells where the files are, `check` reads them and says what is not used, `settings` lists what can be set, and by which
    variable.

    \b
    Examples:
      godwit config show --origin
      godwit config show budget --json
      godwit --set budget.usd=5 config show --origin
      godwit config settings server
      godwit config check --workspace ../app
    """
    from .. import cli_config

    done(cli_config.run(what, workspace, key, origin=origin, defaults=defaults, as_json=as_json))


def trust(
    context: typer.Context,  # noqa: ARG001
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder.")] = Path("."),
    revoke: Annotated[bool, typer.Option("--revoke", help="Trust it no more.")] = False,
    everything: Annotated[bool, typer.Option("--list", help="List the folders that something was said of.")] = False,
    as_json: Json = False,
) -> None:
    """Let what a folder brings count: its commands, agents, skills, hooks and settings.

    Its settings count as they are now: once they have changed, say it again.

    \b
    Examples:
      godwit trust
      godwit trust ../app --revoke
      godwit trust --list
    """
    from .. import cli_trust

    if everything:
        done(cli_trust.listing(as_json=as_json))
    else:
        done(cli_trust.trust(folder, revoke=revoke, as_json=as_json))


def skills(
    context: typer.Context,  # noqa: ARG001
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one, as a model loads it.")] = None,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """List the skills of a folder, or show one.

    Where each comes from, and what is wrong with a file and on which line.

    \b
    Examples:
      godwit skills
      godwit skills pdf
      godwit skills --workspace ../app --json
    """
    from .. import cli_skills

    done(cli_skills.show(workspace, name, as_json=as_json))


def agents(context: typer.Context, workspace: Folder = Path("."), as_json: Json = False) -> None:  # noqa: ARG001
    """List the agents of a folder.

    Those built in and those of files, where each comes from, and what is wrong with such a file and on which line.

    \b
    Examples:
      godwit agents
      godwit agents --workspace ../app --json
    """
    from ..cli_agents import listing

    done(listing(workspace, as_json=as_json))


def models(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one: a name, an alias or a hint.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Only those of this provider.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those without a key here, and those that are given up.")
    ] = False,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """List the models that can be asked, or show what is known of one.

    Windows, prices and abilities are those that come with this installation, and what your configuration says.

    \b
    Examples:
      godwit models
      godwit models sonnet
      godwit models --provider openrouter --all --json
    """
    from ..cli_models import models as told

    ends(told(context.obj, name, provider=provider, everything=everything, folder=workspace, as_json=as_json))


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
    from .. import cli_permissions
    from ..cli_agent import AgentFlags

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
    ends(work)


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
    from .. import cli_hooks

    place: Place = context.obj
    asked = cli_hooks.Asked(point, tool, arguments, command, prompt)
    ends(cli_hooks.show(what, files or place.hooks, asked, workspace, execute=execute, as_json=as_json))


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
    from .. import cli_verify

    wanted = cli_verify.Wanted(tuple(preset or ()), tuple(command or ()), listed)
    if session is None:
        ends(cli_verify.of_folder(workspace or Path("."), wanted, subject, as_json=as_json))
    elif workspace is not None:
        raise CliError("a session has its own folder: leave out --workspace, or the session")
    else:
        ends(cli_verify.of_session(context.obj, session, wanted, subject, as_json=as_json))
