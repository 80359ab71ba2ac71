"""The verbs about what leaves a server: webhooks, and the keys that seal what is secret."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Json
from .work import ends

_ON_ONE = ("test", "log", "enable", "disable", "rotate", "remove")


def webhooks(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="add|list|test|log|enable|disable|rotate|remove", help="What to do.")],
    which: Annotated[str | None, typer.Argument(metavar="[URL|ID]", help="add: the address. Others: the id.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="NAME", help="add: of what it is told. [default: everything]")
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="add: what it is for.")] = "",
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose it is. [default: nobody's]")] = None,
    as_json: Json = False,
) -> None:
    """Tell an address what happens: sessions that begin, wait for an answer, end.

    A running server sends, signed as Standard Webhooks says, until it is answered with success. The secret that signs is
    shown once, when it is made. An address that is not public must be named in `reach` of [server].

    \b
    Examples:
      godwit webhooks add https://example.org/hook --type session.requires_action --type session.idled
      godwit webhooks list
      godwit webhooks test wh_01k9                 send something now
      godwit webhooks log wh_01k9                  what was sent, and what came of it
      godwit webhooks remove wh_01k9
    """
    from .. import cli_webhooks

    if what not in ("add", "list", *_ON_ONE):
        raise CliError(f"{what!r} is none of add, list, {', '.join(_ON_ONE[:-1])} and {_ON_ONE[-1]}")
    if what == "list":
        ends(cli_webhooks.show(context.obj, tenant=tenant, as_json=as_json))
        return
    if which is None:
        needs = "an address" if what == "add" else "the id of a webhook"
        raise CliError(f"{what} needs {needs}", hint="godwit webhooks list shows them" if what != "add" else "")
    place = context.obj
    match what:
        case "add":
            work = cli_webhooks.add(place, which, types=types or (), tenant=tenant, description=description, as_json=as_json)
        case "test":
            work = cli_webhooks.test(place, which, tenant=tenant, as_json=as_json)
        case "log":
            work = cli_webhooks.log(place, which, tenant=tenant, as_json=as_json)
        case "rotate":
            work = cli_webhooks.rotate(place, which, tenant=tenant, as_json=as_json)
        case "remove":
            work = cli_webhooks.remove(place, which, tenant=tenant, as_json=as_json)
        case _:
            work = cli_webhooks.change(place, which, enabled=what == "enable", tenant=tenant, as_json=as_json)
    ends(work)


def secrets(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="rotate", help="What to do.")],
    as_json: Json = False,
) -> None:
    """Seal what is secret in the database with a new key.

    Tokens of vaults and what signs webhooks are sealed with the key in the file beside the database, or in
    GODWIT_SECRET_KEYS: there put the new one first. Servers may go on meanwhile.

    \b
    Examples:
      godwit secrets rotate
    """
    from .. import cli_webhooks

    if what != "rotate":
        raise CliError(f"{what!r} is not there; there is rotate")
    ends(cli_webhooks.rotate_secrets(context.obj, as_json=as_json))
