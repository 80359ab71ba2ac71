"""The verbs about what a session has to do, its list of todos and its goal, and about the state it shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ..cli_exit import CliError
from .options import Json, SessionArgument
from .work import ends


def todos(context: typer.Context, session: SessionArgument, as_json: Json = False) -> None:
    """Show what a session has to do, as its model keeps it.

    \b
    Examples:
      godwit todos last
      godwit todos ses_01k9 --json
    """
    from .. import cli_todos

    ends(cli_todos.todos(context.obj, session, as_json=as_json))


def goal(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What it is to come to. [default: show it]")] = None,
    end: Annotated[
        Literal["met", "blocked", "abandoned"] | None, typer.Option("--end", help="It has ended so; TEXT says why.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or set what a session is to come to, or end it.

    Its runs go on until the model says that it is met or blocked, within the agent's nudges. It starts none.

    \b
    Examples:
      godwit goal last
      godwit goal last "The tests pass and the docs say so."
      godwit goal last --end abandoned
    """
    from .. import cli_todos

    if text is not None and not text.strip():
        raise CliError("the goal is empty: say what is to be true in the end")
    place: Any = context.obj
    ends(cli_todos.goal(place, session, text, end, as_json=as_json))


def state(
    context: typer.Context,
    session: Annotated[str, typer.Argument(metavar="ID", help="Session id, the beginning of one, or `last`.")] = "last",
    value: Annotated[str | None, typer.Option("--set", metavar="JSON", help="Put this value in its place.")] = None,
    as_json: Json = False,
) -> None:
    """Show the state that a session shares with the application of its user, or set it.

    It starts no run; an agent with the tool `update_state` is told with what is said to it next.

    \b
    Examples:
      godwit state
      godwit state ses_01k9 --json
      godwit state last --set '{"title": "Letter", "done": false}'
    """
    from .. import cli_state

    ends(cli_state.state(context.obj, session, value, as_json=as_json))
