"""The verbs about a server: running it, its keys, and copies of what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli_exit import CliError
from .options import Folder, Json
from .work import ends


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Where to listen. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one. [default: 8642]")
    ] = None,
    keys: Annotated[
        bool | None, typer.Option("--keys/--no-keys", help="Ask for a key. [default: unless only this machine reaches it]")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME=PROVIDER:MODEL", help="The model behind a name; `*` for all others."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where workspaces of sessions are made.")
    ] = None,
    max_runs: Annotated[
        int | None,
        typer.Option("--max-runs", metavar="N", min=1, help="Drive at most N runs at once; the others wait. [default: all]"),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option("--setup", metavar="MODULE:FUNCTION", help="What it returns is given to Runtime.open: tools, models."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Speak TLS with the certificate in this PEM file.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, if that is not in the same file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log only what goes wrong.")] = False,
    as_json: Json = False,
) -> None:
    """Serve sessions to official SDKs over HTTP.

    Settings stand in [server] of a configuration file, too; flags count before it. It logs JSON lines on standard error.
    SIGTERM or Ctrl-C ends it: open runs yield at their next checkpoint and go on with the next start.

    \b
    Examples:
      godwit serve                                 for this machine, no key
      godwit serve -m "claude-*=anthropic:claude-sonnet-4-5" -m "*=openai:gpt-5"
      godwit serve --setup my_tools:runtime        with tools and models of your own
      godwit keys create --name laptop && godwit serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
    """
    from .. import cli_serve

    flags = cli_serve.ServeFlags(host, port, keys, tuple(model or ()), folder, max_runs, setup, quiet, tls_cert, tls_key)
    ends(cli_serve.serve(context.obj, flags, as_json=as_json))


def work(
    context: typer.Context,
    lane: Annotated[
        list[str] | None, typer.Option("--lane", "-l", metavar="NAME", help="A lane to work in. [default: query, execute]")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="What this worker has, as sessions ask for it.")
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option("--tool", "-t", metavar="NAME", help="A tool or toolset, yours as MODULE:NAME. [default: files, bash]"),
    ] = None,
    workspace: Folder = Path(),
    per_session: Annotated[bool, typer.Option("--per-session", help="Work in a folder in it for each session.")] = False,
    concurrency: Annotated[int, typer.Option("--concurrency", "-n", min=1, metavar="N", help="Tasks at once.")] = 1,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose tasks, of a database.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="As it is shown.")] = None,
    as_json: Json = False,
) -> None:
    """Do calls of sessions that are driven elsewhere.

    It leases tasks of its lanes, runs their tools in a sandbox here, and keeps each lease until the call has ended. At
    SIGTERM or Ctrl-C it takes nothing new and ends what it has; once more, and that is stopped as well.

    \b
    Examples:
      godwit --db /srv/godwit.db work -w ~/checkout          calls of the sessions in this database
      godwit --server https://agents.example work --lane execute --label os=linux -n 4
    """
    from .. import cli_work

    flags = cli_work.WorkFlags(
        tuple(lane or ()), tuple(label or ()), tuple(tool or ()), workspace, per_session, concurrency, tenant, name
    )
    ends(cli_work.work(context.obj, flags, as_json=as_json))


def keys(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="create|list|revoke", help="What to do.")],
    key: Annotated[str | None, typer.Argument(metavar="[KEY_ID]", help="revoke: the id that list shows.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="create: what it is for.")] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="create: whose it is. list: only theirs.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="NAME", help="create: read, answer, operate or admin. [default: operate]"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="create: after 12h, 90d or the like. [default: never]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make, list and take back the API keys of a server.

    A key is shown once, when it is made; only its hash is kept. A running server heeds changes at once. A key without
    --tenant works on what belongs to no tenant, as this command line does.

    \b
    Examples:
      godwit keys create --name laptop
      godwit keys create --name ci --tenant acme --scope operate --expires 90d
      godwit keys list
      godwit keys revoke key_01k9
    """
    from .. import cli_keys

    if what == "create":
        if key is not None:
            raise CliError("create takes no id: name it with --name")
        work = cli_keys.create_key(
            context.obj, name or "", tenant=tenant, scopes=scope or ["operate"], expires=expires, as_json=as_json
        )
    elif what == "list":
        work = cli_keys.list_keys(context.obj, tenant=tenant, as_json=as_json)
    elif what == "revoke":
        if key is None:
            raise CliError("revoke needs the id of a key", hint="godwit keys list shows them")
        work = cli_keys.revoke_key(context.obj, key, as_json=as_json)
    else:
        raise CliError(f"{what!r} is none of create, list and revoke")
    ends(work)


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put it.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file when it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the database and its checkpoints into one file.

    Sessions may go on meanwhile. The copy is checked before it is kept. Workspaces are folders of yours and not in it.

    \b
    Examples:
      godwit backup godwit-monday.tar
      godwit --db /srv/godwit.db backup /backup/godwit.tar --overwrite
    """
    from .. import cli_backup

    ends(cli_backup.back_up(context.obj, file, overwrite=overwrite, as_json=as_json))


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What backup has made.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the database that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup back.

    It is checked first. Nothing may work with the database meanwhile.

    \b
    Examples:
      godwit --db restored.db restore godwit-monday.tar
      godwit restore godwit-monday.tar --overwrite
    """
    from .. import cli_backup

    ends(cli_backup.put_back(context.obj, file, overwrite=overwrite, as_json=as_json))
