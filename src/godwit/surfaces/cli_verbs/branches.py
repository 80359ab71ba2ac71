"""The verbs of a conversation's tree: drawn, labelled, gone about in, forked off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Json, SessionArgument
from .undo import KeepTheirs, Overwrite, on_conflict
from .work import ends

PlaceArgument = Annotated[
    str,
    typer.Argument(metavar="PLACE", help="A seq, as `godwit tree` shows it, or a label; one that is a number as label:42."),
]


def tree(
    context: typer.Context,
    session: SessionArgument,
    every: Annotated[bool, typer.Option("--all", "-a", help="All answers, too.")] = False,
    as_json: Json = False,
) -> None:
    """Draw a conversation with all its branches.

    \b
    Examples:
      godwit tree last
      godwit tree ses_01k9 --all
    """
    from .. import cli_branches

    ends(cli_branches.tree(context.obj, session, every=every, as_json=as_json))


def label(
    context: typer.Context,
    session: SessionArgument,
    seq: Annotated[int, typer.Argument(metavar="SEQ", help="A place, as `godwit tree` shows it.")],
    name: Annotated[str | None, typer.Argument(metavar="LABEL", help="What it is called.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
) -> None:
    """Name a place of a conversation, to find it by that.

    \b
    Examples:
      godwit label last 42 "before the migration"
      godwit label last 42 --remove
    """
    from .. import cli_branches

    if (name is None) != remove:
        raise CliError("give a label, or --remove")
    ends(cli_branches.label(context.obj, session, seq, name))


def navigate(
    context: typer.Context,
    session: SessionArgument,
    to: PlaceArgument,
    files: Annotated[bool, typer.Option("--files", "-f", help="Put the files back, too.")] = False,
    summary: Annotated[
        bool, typer.Option("--summary", "-s", help="Have the model sum up what is left, and tell it so.")
    ] = False,
    focus: Annotated[
        str | None, typer.Option("--focus", metavar="TEXT", help="What the summary is to keep above all.")
    ] = None,
    keep: KeepTheirs = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Go to any place there ever was in a conversation, on whatever branch. Nothing is lost by it.

    At a message of yours it goes to before it, at an answer to behind it.

    \b
    Examples:
      godwit navigate last 42
      godwit navigate last "before the migration" --files
      godwit navigate last 42 --focus "why it failed"
    """
    from .. import cli_branches

    chosen = on_conflict(keep, overwrite)
    ends(
        cli_branches.navigate(
            context.obj, session, to, files=files, on_conflict=chosen, summary=summary, focus=focus, as_json=as_json
        )
    )


def fork(
    context: typer.Context,
    session: SessionArgument,
    at: Annotated[str | None, typer.Argument(metavar="PLACE", help="A seq or a label. [default: now]")] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="An empty folder, which gets the files of then."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the new session is called.")] = None,
    as_json: Json = False,
) -> None:
    """Begin a new session with the past of this one. Each goes its own way from there.

    Without --workspace both work in the same folder.

    \b
    Examples:
      godwit fork last
      godwit fork last 42 --workspace ../other-way
      godwit fork ses_01k9 "before the migration" --name "second try"
    """
    from .. import cli_branches

    ends(cli_branches.fork(context.obj, session, at, folder=workspace, name=name, as_json=as_json))
