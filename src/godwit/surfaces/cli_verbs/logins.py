"""The verbs about keys of model providers, which are stored on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Json
from .work import ends

Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="As in provider:model, such as anthropic.")]


def login(
    provider: Annotated[
        str | None, typer.Argument(metavar="[PROVIDER]", help="As in provider:model. [default: asks]")
    ] = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input, to its end.")] = False,
    key: Annotated[bool, typer.Option("--key", help="Type a key, although there is a login in a browser.")] = False,
    file: Annotated[bool, typer.Option("--file", help="Keep it in the file, although there is a keyring.")] = False,
    keyring: Annotated[bool, typer.Option("--keyring", help="Keep it in the keyring, or fail.")] = False,
    device: Annotated[bool, typer.Option("--device", help="OAuth: with a code, in a browser elsewhere.")] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open none: show the address, and take what comes back typed.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Ask the provider whether it accepts it.")] = False,
    as_json: Json = False,
) -> None:
    """Store the key of a model provider on this machine.

    The key is asked for and not shown. In its place may stand !COMMAND, which prints it, or $NAME, the variable that holds
    it. A provider with `oauth` in your configuration is logged in to in the browser, and its token is renewed in time;
    OpenRouter gives a key there.

    \b
    Examples:
      godwit login anthropic
      pass show openai | godwit login openai --key-stdin
      echo '!pass show openai' | godwit login openai --key-stdin      asked for anew in each process
      godwit login openrouter
      godwit login openrouter --no-browser      the browser is on another machine
      godwit login ours --device
    """
    from .. import cli_auth

    if file and keyring:
        raise CliError("--file and --keyring: say one of them")
    if device and no_browser:
        raise CliError("--device needs no browser here: leave out --no-browser")
    where = False if file else True if keyring else None
    work = cli_auth.log_in(
        provider,
        key_stdin=key_stdin,
        key=key,
        keyring=where,
        device=device,
        browser=not no_browser,
        check=check,
        as_json=as_json,
    )
    ends(work)


def logout(provider: Provider, as_json: Json = False) -> None:
    """Forget the stored key of a model provider.

    It is removed here. A key that somebody else may have seen has to be taken back where it was made.

    \b
    Examples:
      godwit logout anthropic
    """
    from .. import cli_auth

    ends(cli_auth.log_out(provider, as_json=as_json))


def auth(
    what: Annotated[str, typer.Argument(metavar="status", help="What to do.")],
    provider: Annotated[str | None, typer.Argument(metavar="[PROVIDER]", help="Only this one.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask each provider whether it accepts its key.")] = False,
    as_json: Json = False,
) -> None:
    """Show which model providers have a key, from where, and when it ends.

    Of several the one counts that was given to the program, then the stored one, then that of the environment. Of the key
    itself nothing is shown. With a PROVIDER it fails when that one cannot be asked.

    \b
    Examples:
      godwit auth status
      godwit auth status anthropic --check
      godwit auth status --json
    """
    from .. import cli_auth

    if what != "status":
        raise CliError(f"{what!r} is not there; there is status")
    ends(cli_auth.show(provider, check=check, as_json=as_json))
