"""The verb of dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Json
from .work import ends


def dead_letters(
    context: typer.Context,
    letter: Annotated[
        str | None, typer.Argument(metavar="LETTER", help="Show this one and its payload; its beginning is enough.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", "-s", metavar="ID", help="Only those of this session.")] = None,
    requeue: Annotated[bool, typer.Option("--requeue", help="Hand it out again.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove it.")] = False,
    as_json: Json = False,
) -> None:
    """List calls that were to be done outside and failed for good; show one, hand it out again, or remove it.

    \b
    Examples:
      godwit dead-letters
      godwit dead-letters act_01k9zq
      godwit dead-letters act_01k9zq --requeue
      godwit dead-letters act_01k9zq --drop
    """
    from .. import cli_letters

    if requeue and drop:
        raise CliError("--requeue or --drop, not both")
    if letter is None:
        if requeue or drop:
            raise CliError("say which: LETTER is the id of one, as `godwit dead-letters` lists them")
        ends(cli_letters.listed(context.obj, session, as_json=as_json))
    elif requeue:
        ends(cli_letters.put_back(context.obj, letter, session))
    elif drop:
        ends(cli_letters.dropped(context.obj, letter, session))
    else:
        ends(cli_letters.shown(context.obj, letter, session, as_json=as_json))
