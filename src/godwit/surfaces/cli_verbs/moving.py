"""The verbs that move sessions: in from elsewhere, and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.facts import EXPORT_FORMATS
from ..cli_exit import CliError
from .options import Json, SessionArgument
from .work import ends


def import_(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Session files, or folders of them.")],
    format: Annotated[  # noqa: A002 - what a person calls it
        str, typer.Option("--format", metavar="NAME", help="auto, pi, imp, claude-code or godwit.")
    ] = "auto",
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL", help="Asked from now on. [default: as before]")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="Where it works. [default: where it did, if that is here]"),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="On a server: the agent whose session it becomes.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="A name for the session, shown by ls.")] = None,
    as_json: Json = False,
) -> None:
    """Bring in sessions of pi, imp and Claude Code, or what export has written.

    A file that was imported before is the session from then.

    \b
    Examples:
      godwit import ~/.pi/agent/sessions
      godwit import ~/.claude/projects/-src-app/0a6afc57.jsonl -w ~/src/app
      godwit import session.jsonl --json
    """
    from .. import cli_transfers

    ends(
        cli_transfers.brought(
            context.obj,
            files,
            format=format,
            agent=agent,
            model=model,
            name=name,
            workspace=workspace,
            as_json=as_json,
        )
    )


def export(
    context: typer.Context,
    session: SessionArgument,
    format: Annotated[  # noqa: A002 - what a person calls it
        str, typer.Option("--format", metavar="NAME", help="html, md, jsonl or pi. [default: as FILE ends, else md]")
    ] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to put it.")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Without the sessions of its subagents.")] = False,
) -> None:
    """Write a session as a page, as Markdown, as data, or for pi.

    It holds what the session's log holds, secrets too.

    \b
    Examples:
      godwit export last -o session.html
      godwit export last --format md | less
      godwit export ses_01k9 -o session.jsonl      to import it elsewhere
    """
    from .. import cli_transfers

    ending = "" if output is None else output.suffix.removeprefix(".")
    chosen = format or (ending if ending in EXPORT_FORMATS else "md")
    if chosen not in EXPORT_FORMATS:
        raise CliError(f"format {chosen!r} is none of {', '.join(EXPORT_FORMATS)}")
    ends(cli_transfers.taken(context.obj, session, format=chosen, output=output, children=not alone))
