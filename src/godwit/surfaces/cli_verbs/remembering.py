"""The verb about what is remembered beyond sessions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ...core.memory import PrunePolicy
from ..cli_exit import CliError
from .options import Json
from .work import ends

_PRUNE = PrunePolicy()


def memory(
    context: typer.Context,
    what: Annotated[Literal["list", "search", "add", "forget", "prune"], typer.Argument(metavar="WHAT")] = "list",
    words: Annotated[list[str] | None, typer.Argument(metavar="TEXT|ID", help="What to look for or to keep; ids.")] = None,
    scope: Annotated[
        Literal["user", "project", "tenant"] | None, typer.Option("--scope", help="Whose: yours, this folder's, all's.")
    ] = None,
    kind: Annotated[
        Literal["episodic", "semantic", "procedural", "working"], typer.Option("--kind", help="With add: what kind it is.")
    ] = "semantic",
    importance: Annotated[float, typer.Option(min=0, max=1, help="With add: how much it matters.")] = 0.5,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="With add and list.")] = None,
    name: Annotated[str | None, typer.Option("--id", metavar="ID", help="With add: in place of this memory.")] = None,
    important: Annotated[bool, typer.Option("--important", help="With list: the most important first.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")] = 20,
    max_age_days: Annotated[
        float, typer.Option(min=0, help="With prune: what was not touched for so long,")
    ] = _PRUNE.max_age_days,
    min_importance: Annotated[float, typer.Option(min=0, max=1, help="and matters less than that.")] = _PRUNE.min_importance,
    max_items: Annotated[int | None, typer.Option(min=0, help="With prune: keep no more than the best so many.")] = None,
    as_json: Json = False,
) -> None:
    """What agents remember beyond their sessions: for you, and for the folder you are in.

    \b
    Examples:
      godwit memory                                     the newest
      godwit memory search which database do we use
      godwit memory add "Tests run with just test" --scope project --tag tests
      godwit memory forget mem_01k9
      godwit memory prune --max-age-days 30 --max-items 500
    """
    from .. import cli_memory

    place: Any = context.obj
    text = " ".join(words or [])
    scopes = None if scope is None else [scope]
    if what == "list" and text:
        raise CliError(f"list takes no words: {text!r}", hint="godwit memory search WORDS")
    if what in ("search", "add") and not text.strip():
        raise CliError(f"{what} needs words", hint=f"godwit memory {what} WORDS")
    if what == "list":
        work = cli_memory.show(place, scopes=scopes, tags=tag or [], limit=limit, important=important, as_json=as_json)
    elif what == "search":
        work = cli_memory.search(place, text, scopes=scopes, limit=limit, as_json=as_json)
    elif what == "add":
        work = cli_memory.add(
            place, text, kind=kind, scope=scope or "user", importance=importance, tags=tag or [], id_=name, as_json=as_json
        )
    elif what == "forget":
        work = cli_memory.forget(place, words or [], as_json=as_json)
    else:
        policy = PrunePolicy(max_age_days=max_age_days, min_importance=min_importance, max_items=max_items)
        work = cli_memory.prune(place, policy, scopes=scopes, as_json=as_json)
    ends(work)
