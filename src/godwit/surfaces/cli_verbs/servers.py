"""The verb about MCP: which servers there are, how it is with each, and being one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Allow, Ask, Deny, Folder, Json
from .work import done, ends

_VERBS = ("list", "add", "remove", "status", "login", "logout", "resources", "read", "prompts", "serve")


def mcp(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(metavar="list|add|remove|status|login|logout|resources|read|prompts|serve", help="What to do."),
    ] = "list",
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The server.")] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL|COMMAND|URI]...", help="add: its address, or its command behind --. read: the resource."
        ),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="add: a variable for the command.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="add: a header of each request.")
    ] = None,
    transport: Annotated[
        str | None, typer.Option("--transport", metavar="http|sse|stdio", help="add: how it is reached.")
    ] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", metavar="DIR", help="add: where the command is started.")] = None,
    tools: Annotated[list[str] | None, typer.Option("--tool", metavar="NAME", help="add: only these of its tools.")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="NAME", help="add: its tools but for these.")
    ] = None,
    always: Annotated[
        list[str] | None, typer.Option("--always", metavar="NAME", help="add: a tool that models are told of at once.")
    ] = None,
    no_defer: Annotated[
        bool, typer.Option("--no-defer", help="add: models are told of all its tools at once, however many.")
    ] = False,
    sampling: Annotated[
        str | None, typer.Option("--sampling", metavar="ask|allow|deny", help="add: whether it may ask the model something.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="add: for one call, 300 by default.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="add: what it is asked to log, and what is graver.")
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="add, remove: in the folder's .mcp.json, not your own file.")
    ] = False,
    scope: Annotated[list[str] | None, typer.Option("--scope", metavar="NAME", help="login: ask for this as well.")] = None,
    no_browser: Annotated[
        bool,
        typer.Option("--no-browser", help="login: paste where a browser elsewhere was sent."),
    ] = False,
    agent: Annotated[
        list[str] | None, typer.Option("--agent", metavar="NAME", help="serve: only this agent; repeatable.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="PROVIDER:MODEL", envvar="GODWIT_MODEL", help="serve: the model to ask."),
    ] = None,
    ask: Ask = None,
    deny: Deny = None,
    allow: Allow = None,
    setup: Annotated[
        str | None,
        typer.Option("--setup", metavar="MODULE:FUNCTION", help="serve: what it returns is given to Runtime.open."),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="status: what each has logged as well.")] = False,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """Show, add and remove the MCP servers of your sessions, connect or log in to them, or be one.

    They stand in your configuration file, for all folders, and in a folder's .mcp.json or .godwit/config.toml, which count
    once the folder is trusted. `list` says which would be used here and why others would not; `status` connects to them,
    and `resources`, `read` and `prompts` show what they have beside tools; `login` opens a browser, and keeps the login for
    all sessions of this machine. A secret is written as ${NAME} and looked up when the server is connected.

    `serve` makes your agents tools of another program, such as Claude Code, which starts it and speaks to it over standard
    input and output. What is kept of the sessions lies in the folder.

    \b
    Examples:
      godwit mcp add git -- uvx mcp-server-git --repository .
      godwit mcp add wiki --env 'WIKI_TOKEN=${WIKI}' -- npx wiki-mcp
      godwit mcp add docs https://docs.example/mcp --header 'X-Api-Key: ${DOCS_KEY}'
      godwit mcp list
      godwit mcp status --json
      godwit mcp resources docs
      godwit mcp read docs docs://guide
      godwit mcp remove git
      claude mcp add godwit -- godwit mcp serve -w ~/project -m anthropic:claude-sonnet-4-5
      godwit mcp login docs
    """
    from .. import cli_mcp

    if what not in _VERBS:
        raise CliError(f"{what!r} is none of {', '.join(_VERBS)}")
    if what in ("add", "remove", "read", "login", "logout") and name is None:
        raise CliError(f"{what} needs the server's name", hint=f"godwit mcp {what} NAME")
    if what == "read" and (not words or len(words) > 1):
        raise CliError("read needs the URI of one resource", hint=f"godwit mcp resources {name} lists them")
    if words and what not in ("add", "read"):
        raise CliError(f"{words[0]!r} means nothing to {what}")
    if what == "serve":
        from .. import cli_mcp_serve
        from ..cli_agent import AgentFlags

        if name is not None:
            raise CliError(f"{name!r} means nothing to serve", hint="name an agent with --agent")
        flags = AgentFlags(model, ask=ask or (), deny=deny or (), allow=allow or ())
        served = cli_mcp_serve.ServedAgents(flags, tuple(agent or ()))
        ends(cli_mcp_serve.serve(context.obj, served, workspace.expanduser(), setup=setup))
    elif what == "list":
        done(cli_mcp.listing(workspace, as_json=as_json))
    elif what == "status":
        ends(cli_mcp.status(name, workspace, log=log, as_json=as_json))
    elif what in ("resources", "read", "prompts"):
        from .. import cli_mcp_contents

        if what == "resources":
            ends(cli_mcp_contents.resources(name, workspace, as_json=as_json))
        elif what == "prompts":
            ends(cli_mcp_contents.prompts(name, workspace, as_json=as_json))
        else:
            ends(cli_mcp_contents.read(name or "", (words or [""])[0], workspace, as_json=as_json))
    elif what == "login":
        ends(cli_mcp.log_in(name or "", workspace, scopes=scope or (), browser=not no_browser, as_json=as_json))
    elif what == "logout":
        ends(cli_mcp.log_out(name or "", workspace, as_json=as_json))
    elif what == "remove":
        done(cli_mcp.remove(name or "", workspace, project=project, as_json=as_json))
    else:
        wanted = cli_mcp.Wanted(
            name or "",
            words or (),
            transport,
            env or (),
            header or (),
            cwd,
            tools or (),
            without or (),
            always or (),
            not no_defer,
            sampling,
            timeout_s,
            log_level,
        )
        done(cli_mcp.add(wanted, workspace, project=project, as_json=as_json))
