"""The verb about MCP servers: which there are, and how it is with each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Folder, Json
from .work import done, ends


def mcp(
    context: typer.Context,  # noqa: ARG001
    what: Annotated[str, typer.Argument(metavar="list|add|remove|status", help="What to do.")] = "list",
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The server.")] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[URL|COMMAND]...", help="add: its address, or its command behind --."),
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
    project: Annotated[
        bool, typer.Option("--project", help="add, remove: in the folder's .mcp.json, not your own file.")
    ] = False,
    workspace: Folder = Path("."),
    as_json: Json = False,
) -> None:
    """Show, add and remove the MCP servers of your sessions, or connect to them.

    They stand in your configuration file, for all folders, and in a folder's .mcp.json or .godwit/config.toml, which count
    once the folder is trusted. `list` says which would be used here and why others would not; `status` connects to them. A
    secret is written as ${NAME} and looked up when the server is connected.

    \b
    Examples:
      godwit mcp add git -- uvx mcp-server-git --repository .
      godwit mcp add wiki --env 'WIKI_TOKEN=${WIKI}' -- npx wiki-mcp
      godwit mcp add docs https://docs.example/mcp --header 'X-Api-Key: ${DOCS_KEY}'
      godwit mcp list
      godwit mcp status --json
      godwit mcp remove git
    """
    from .. import cli_mcp

    if what not in ("list", "add", "remove", "status"):
        raise CliError(f"{what!r} is none of list, add, remove, status")
    if what in ("add", "remove") and name is None:
        raise CliError(f"{what} needs the server's name", hint=f"godwit mcp {what} NAME")
    if words and what != "add":
        raise CliError(f"{words[0]!r} means nothing to {what}")
    if what == "list":
        done(cli_mcp.listing(workspace, as_json=as_json))
    elif what == "status":
        ends(cli_mcp.status(name, workspace, as_json=as_json))
    elif what == "remove":
        done(cli_mcp.remove(name or "", workspace, project=project, as_json=as_json))
    else:
        wanted = cli_mcp.Wanted(name or "", words or (), transport, env or (), header or (), cwd, tools or (), without or ())
        done(cli_mcp.add(wanted, workspace, project=project, as_json=as_json))
