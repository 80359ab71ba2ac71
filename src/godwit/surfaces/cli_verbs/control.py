"""The verbs that act on a session from outside. All of them work whichever process drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cli_exit import CliError
from .options import Attach, Json, Replay, SessionArgument, Yes
from .work import ends

if TYPE_CHECKING:
    from ...contracts import SessionHandle


def send(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str, typer.Argument(help="The message.")],
    follow_up: Annotated[bool, typer.Option("--follow-up", help="Queue it for when the open run would end.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: sending again under it changes nothing.")
    ] = None,
    drive: Annotated[bool, typer.Option("--drive", help="When nobody drives the session, do it here.")] = False,
    yes: Yes = False,
    replay: Replay = None,
    attach: Attach = None,
    as_json: Json = False,
) -> None:
    """Send a message to a session.

    A prompt or a slash command, or with --follow-up a message for when nothing else is left to do.

    \b
    Examples:
      godwit send last "And run the linter." --follow-up
      godwit send last "Start with the tests." --drive
      godwit send last "/status"
      godwit send last "It looks like this." --attach shot.png
    """
    from .. import cli_control
    from ..cli_attaching import named_files

    files = named_files(attach)

    async def work(handle: SessionHandle) -> dict[str, Any]:
        from ...engine.commands import as_prompt
        from ..cli_commands import answered, facts

        if follow_up:
            return {"input": await handle.follow_up(text, key=key, sender="cli", attachments=files)}
        done = None if files else await answered(handle, text, key=key)
        if done is not None:
            return facts(done)
        return {"run": await handle.prompt(as_prompt(text), key=key, sender="cli", attachments=files)}

    said = "queued" if follow_up else "sent"
    ends(cli_control.control(context.obj, session, work, said, drive=drive, yes=yes, replay=replay, as_json=as_json))


def steer(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str, typer.Argument(help="The message.")],
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="skip|batch", help="Skip the calls not started yet, or run them first.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: sending again under it changes nothing.")
    ] = None,
    attach: Attach = None,
    as_json: Json = False,
) -> None:
    """Put a message into the open run at its next step.

    \b
    Examples:
      godwit steer last "Leave the README alone."
      godwit steer last "Stop after this." --mode batch
    """
    from .. import cli_control
    from ..cli_attaching import named_files

    if mode not in (None, "skip", "batch"):
        raise CliError(f"--mode {mode} is neither skip nor batch")
    files = named_files(attach)

    async def work(handle: SessionHandle) -> dict[str, Any]:
        chosen: Any = mode
        return {"input": await handle.steer(text, mode=chosen, key=key, sender="cli", attachments=files)}

    ends(cli_control.control(context.obj, session, work, "accepted; it is delivered at the next step", as_json=as_json))


def interrupt(
    context: typer.Context,
    session: SessionArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Give running tools no grace; take the session from a stuck process.")
    ] = False,
    as_json: Json = False,
) -> None:
    """End the open run at once.

    What was streamed so far is kept, and the session stays usable.

    \b
    Examples:
      godwit interrupt last
      godwit interrupt ses_01k9 --force
    """
    from .. import cli_control

    ends(cli_control.interrupt(context.obj, session, force=force, as_json=as_json))


def tool(
    context: typer.Context,
    session: SessionArgument,
    name: Annotated[str | None, typer.Argument(help="The tool; without one, those of the agent are listed.")] = None,
    arguments: Annotated[
        str | None, typer.Argument(metavar="JSON", help="Its arguments as a JSON object; `-` reads standard input.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="In place of the tool's own limit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Call a tool on a session, with no model in between.

    The call is recorded in the log and stays out of the transcript. Nobody is asked: who types it is trusted. Hooks,
    budgets and the sandbox apply.

    \b
    Examples:
      godwit tool last                             what the agent has
      godwit tool last bash '{"command": "git status --short"}'
      godwit tool last read '{"file_path": "README.md"}' --json
    """
    from .. import cli_tool

    ends(cli_tool.call(context.obj, session, name, arguments, timeout_s=timeout, as_json=as_json))


def mode(
    context: typer.Context,
    session: SessionArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="MODE", help="build, plan, or one of the agent's. [default: show it]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or set what a session may do: all of it (build), or only look (plan).

    It holds from the next call on, and for all that work for the session.

    \b
    Examples:
      godwit mode last
      godwit mode last plan
      godwit mode ses_01k9 build
    """
    from .. import cli_control

    async def work(handle: SessionHandle) -> dict[str, Any]:
        if name is not None:
            await handle.set_mode(name)
        return {"mode": await handle.mode()}

    said = "its mode is as shown with --json" if name is None else f"in mode {name} from the next call on"
    ends(cli_control.control(context.obj, session, work, said, as_json=as_json or name is None))


def pause(
    context: typer.Context,
    session: SessionArgument,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why; kept in the log.")] = None,
    as_json: Json = False,
) -> None:
    """Stop a session at its next step.

    Inputs are still accepted and wait.

    \b
    Examples:
      godwit pause last
      godwit pause ses_01k9 --reason "lunch"
    """
    from .. import cli_control

    async def work(handle: SessionHandle) -> dict[str, Any]:
        return {"paused": await handle.pause(reason)}

    ends(cli_control.control(context.obj, session, work, "paused; godwit resume lets it go on", as_json=as_json))


def archive(context: typer.Context, session: SessionArgument, as_json: Json = False) -> None:
    """Make a session final.

    An open run is interrupted. The log stays readable; ls shows it with --all.

    \b
    Examples:
      godwit archive last
      godwit archive ses_01k9 --json
    """
    from .. import cli_control

    ends(cli_control.archive(context.obj, session, as_json=as_json))


def prune(
    context: typer.Context,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Those that did nothing for so long: 90d, 6m, 1y.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="The oldest, until the logs have at most this: 500M, 2G."),
    ] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Only archived ones.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which; do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Delete old sessions. What works, waits for somebody or is paused stays.

    \b
    Examples:
      godwit prune --older-than 90d --dry-run
      godwit prune --older-than 6m --archived --yes
      godwit prune --max-size 2G
    """
    from .. import cli_find

    if older_than is None and max_size is None:
        raise CliError("say which: --older-than AGE, or --max-size SIZE")
    work = cli_find.prune(
        context.obj,
        older_than=older_than,
        max_size=max_size,
        archived=archived,
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
    )
    ends(work)


def delete(
    context: typer.Context,
    session: SessionArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a session and its log for good.

    An open run is interrupted. Asks first; without a terminal it needs --yes. Files in its workspace stay.

    \b
    Examples:
      godwit delete ses_01k9
      godwit delete ses_01k9 --yes --json
    """
    from .. import cli_control

    ends(cli_control.delete(context.obj, session, yes=yes, as_json=as_json))
