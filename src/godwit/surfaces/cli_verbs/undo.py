"""The verbs that move the conversation, back or to a summary, and show what changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...core.facts import KEEP_TOKENS
from ..cli_exit import CliError
from .options import Json, SessionArgument
from .work import ends

KeepTheirs = Annotated[bool, typer.Option("--keep", help="Leave what somebody else has changed since.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Put back also what somebody else has changed since.")]


def on_conflict(keep: bool, overwrite: bool) -> Any:
    """What becomes of others' changes. CliError for both at once."""
    if keep and overwrite:
        raise CliError("--keep and --overwrite say opposite things: choose one")
    return "keep" if keep else "overwrite" if overwrite else "refuse"


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
    from .. import cli_rewind

    chosen = on_conflict(keep, overwrite)
    work = cli_rewind.rewind(
        context.obj, session, where, files=files, preview=preview, on_conflict=chosen, yes=yes, as_json=as_json
    )
    ends(work)


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
    from .. import cli_rewind

    chosen = on_conflict(keep, overwrite)
    ends(cli_rewind.redo(context.obj, session, on_conflict=chosen, yes=yes, as_json=as_json))


def compact(
    context: typer.Context,
    session: SessionArgument,
    focus: Annotated[str | None, typer.Argument(metavar="FOCUS", help="What the summary is to keep above all.")] = None,
    keep_tokens: Annotated[
        int, typer.Option("--keep-tokens", min=0, help="About how much of the newest messages stays word by word.")
    ] = KEEP_TOKENS,
    as_json: Json = False,
) -> None:
    """Make room: have the model write a summary that stands for the older messages.

    The log loses nothing, and `godwit rewind` to before it brings the messages back. What is written costs tokens.

    \b
    Examples:
      godwit compact last
      godwit compact last "the migration of the tests"
      godwit compact ses_01k9 --keep-tokens 0
    """
    from .. import cli_rewind

    ends(cli_rewind.compact(context.obj, session, focus, keep_tokens=keep_tokens, as_json=as_json))


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
    from .. import cli_rewind

    ends(cli_rewind.diff(context.obj, session, start, end, paths=path or [], stat=stat, as_json=as_json))


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
    from .. import cli_rewind

    ends(cli_rewind.checkpoints(context.obj, session, take=take, as_json=as_json))
