"""The verbs that answer what a session waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, Replay, SessionArgument, Yes
from .work import ends

if TYPE_CHECKING:
    from ...contracts import SessionHandle

RememberOption = Annotated[
    str | None,
    typer.Option("--remember", metavar="session|always", help="The same for every call that the rule matches."),
]
RuleOption = Annotated[
    str | None, typer.Option("--rule", metavar="RULE", help="What to remember. [default: the narrowest rule offered]")
]


def approve(
    context: typer.Context,
    session: SessionArgument,
    action: Annotated[
        str | None, typer.Argument(help="Id of the action or its call; not needed when only one waits.")
    ] = None,
    arguments: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="Run the call with these arguments instead.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Everything that waits.")] = False,
    remember: RememberOption = None,
    rule: RuleOption = None,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what waits, whole, and change nothing.")] = False,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Allow a call that waits for approval.

    \b
    Examples:
      godwit approve last --list                   see first what would be allowed
      godwit approve last
      godwit approve last act_01k9 --args '{"command": "pytest -q"}'
      godwit approve last --remember session       and all calls like it from now on
      godwit approve last --all --drive
      godwit approve last --args '{"usd": 5}'      a budget asks: allow so much more
    """
    from .. import cli_budget, cli_control

    if listed:
        return ends(cli_control.waiting(context.obj, session, action, as_json=as_json))
    changed = cli_control.json_object(arguments) if arguments is not None else None

    async def work(handle: SessionHandle) -> dict[str, Any]:
        chosen = await cli_control.chosen(handle, action, everything=everything)
        kept = cli_control.remembered(remember)
        more = await cli_budget.raises(handle, chosen, changed)
        fresh = [
            await handle.approvals.approve(one, arguments=changed, remember=kept, rule=rule, sender="cli") for one in chosen
        ]
        return {"actions": chosen, "answered": fresh, **({"allowed": more} if more else {})}

    return ends(
        cli_control.control(context.obj, session, work, "approved", drive=drive, yes=yes, replay=replay, as_json=as_json)
    )


def deny(
    context: typer.Context,
    session: SessionArgument,
    action: Annotated[
        str | None, typer.Argument(help="Id of the action or its call; not needed when only one waits.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why; the model is told.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Everything that waits.")] = False,
    remember: RememberOption = None,
    rule: RuleOption = None,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Refuse a call that waits for approval, or decline to answer a question.

    \b
    Examples:
      godwit deny last --reason "Use the staging host."
      godwit deny last act_01k9 --drive
    """
    from .. import cli_control

    async def work(handle: SessionHandle) -> dict[str, Any]:
        chosen = await cli_control.chosen(handle, action, everything=everything, kinds=cli_control.REFUSABLE)
        kept = cli_control.remembered(remember)
        fresh = [await handle.approvals.deny(one, reason, remember=kept, rule=rule, sender="cli") for one in chosen]
        return {"actions": chosen, "answered": fresh}

    ends(cli_control.control(context.obj, session, work, "denied", drive=drive, yes=yes, replay=replay, as_json=as_json))


def answer(
    context: typer.Context,
    session: SessionArgument,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ACTION] [TEXT|NAME=VALUE ...]",
            help="Id of the action or its call, not needed when only one waits; and the text, `-` reads standard input, or"
            " the fields of a form. Without them you are asked.",
        ),
    ] = None,
    error: Annotated[bool, typer.Option("--error", help="The text says what went wrong.")] = False,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Show what waits, whole, and change nothing.")] = False,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, go on here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    as_json: Json = False,
) -> None:
    """Answer a question, or give the result of a call made outside.

    \b
    Examples:
      godwit answer last                           be asked, field by field
      godwit answer last "Ada"
      godwit answer last act_01k9 name=Ada size=3
      godwit answer last act_01k9 '{"name": "Ada"}'
      godwit answer last act_01k9 "no such customer" --error
      psql -c "select 1" | godwit answer last - --drive
    """
    from .. import cli_control

    if listed:
        return ends(cli_control.waiting(context.obj, session, words[0] if words else None, as_json=as_json))
    action, given = cli_control.action_and_words(words or ())

    async def work(handle: SessionHandle) -> dict[str, Any] | None:
        return await cli_control.answer(handle, action, given, error=error)

    return ends(
        cli_control.control(context.obj, session, work, "answered", drive=drive, yes=yes, replay=replay, as_json=as_json)
    )
