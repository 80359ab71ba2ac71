"""The command line: which verbs it has, what holds for all of them, and how it ends.

Starting is fast because nothing is imported before it is needed: a verb's flags are read when it is called, `--help` loads
Typer and all of these alone, `ls` the store, and only a verb that asks a model loads a provider. Exit codes and errors are
`cli_exit`'s; every verb that prints data takes `--json` and then prints one object per line on stdout, and nothing else
there. To add one: a function in `cli_verbs/`, and its place in `VERBS`; what it does beyond a few lines lies in a module
beside this one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from ..stores.opening import is_address
from .cli_exit import DONE, INTERRUPTED, USAGE, CliError, complain, report
from .cli_place import DEFAULT_DATABASE, Place
from .cli_verbs.work import Unread

VERBS = {
    "run": "running",
    "chat": "running",
    "resume": "running",
    "demo": "running",
    "ls": "looking",
    "search": "looking",
    "log": "looking",
    "queue": "looking",
    "tasks": "looking",
    "todos": "planning",
    "goal": "planning",
    "state": "planning",
    "budget": "rules",
    "commands": "rules",
    "agents": "rules",
    "skills": "rules",
    "trust": "rules",
    "config": "rules",
    "models": "rules",
    "permissions": "rules",
    "hooks": "rules",
    "mcp": "servers",
    "verify": "rules",
    "memory": "remembering",
    "artifacts": "looking",
    "pin": "looking",
    "unpin": "looking",
    "doctor": "looking",
    "send": "control",
    "steer": "control",
    "interrupt": "control",
    "approve": "answers",
    "deny": "answers",
    "answer": "answers",
    "tool": "control",
    "mode": "control",
    "pause": "control",
    "archive": "control",
    "delete": "control",
    "prune": "control",
    "rewind": "undo",
    "redo": "undo",
    "compact": "undo",
    "diff": "undo",
    "checkpoints": "undo",
    "tree": "branches",
    "label": "branches",
    "navigate": "branches",
    "fork": "branches",
    "import": "moving",
    "export": "moving",
    "login": "logins",
    "logout": "logins",
    "auth": "logins",
    "serve": "serving",
    "work": "serving",
    "dead-letters": "letters",
    "keys": "serving",
    "webhooks": "telling",
    "secrets": "telling",
    "backup": "serving",
    "restore": "serving",
}
"""The module of each verb in `cli_verbs`, in the order in which the help lists them."""


def _command(verb: str) -> TyperCommand:
    module = import_module(f".cli_verbs.{VERBS[verb]}", __package__)
    name = verb.replace("-", "_")
    one = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    # -1 is a place to go back to.
    settings = {"ignore_unknown_options": True} if verb == "rewind" else None
    # What Python keeps for itself is written with a `_` behind it.
    one.command(verb, context_settings=settings)(getattr(module, f"{name}_" if iskeyword(name) else name))
    return cast(TyperCommand, typer.main.get_command(one))


class Commands(Mapping[str, TyperCommand]):
    """The verbs as Typer knows them. Each is made when it is asked for: to make all takes longer than most of them work."""

    def __init__(self) -> None:
        self._made: dict[str, TyperCommand] = {}

    def __getitem__(self, verb: str) -> TyperCommand:
        if verb not in self._made and verb in VERBS:
            self._made[verb] = _command(verb)
        return self._made[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Verbs(TyperGroup):
    """The command line itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # nothing is added to them


app = typer.Typer(
    name="godwit",
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

HERE = frozenset(
    (
        "demo",
        "commands",
        "agents",
        "skills",
        "trust",
        "config",
        "permissions",
        "hooks",
        "mcp",
        "doctor",
        "serve",
        "keys",
        "login",
        "logout",
        "auth",
        "webhooks",
        "secrets",
        "backup",
        "restore",
        "prune",
    )
)
"""The verbs that need the database itself, or this machine."""


def _typed(context: typer.Context, name: str) -> bool:
    """Whether the option was given on the command line, so that hints must repeat it."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _version(wanted: bool) -> None:
    if wanted:
        from .cli_doctor import version

        print(f"godwit {version()}")
        raise typer.Exit


@app.callback()
def godwit(
    context: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            envvar="GODWIT_DB",
            metavar="PATH",
            help=f"The database: a file, or postgresql://... [default: {DEFAULT_DATABASE}]",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", envvar="GODWIT_SERVER", metavar="URL", help="Work with this server; its key stands in GODWIT_KEY."
        ),
    ] = None,
    hooks: Annotated[
        list[Path] | None,
        typer.Option("--hooks", envvar="GODWIT_HOOKS", metavar="FILE", help="Hooks of all sessions driven here."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting for this command, as in budget.usd=5; can be repeated."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say where things are kept.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,  # noqa: ARG001 - its callback acts
) -> None:
    """Durable agent sessions: they outlive the process, the connection and the machine.

    \b
    Examples:
      godwit demo                                  a real run on a small project: no key, no network
      godwit run "Fix the failing test." -m anthropic:claude-sonnet-4-5
      godwit run --continue "Now add a test for it."
      godwit ls
      godwit log last --follow                     from another terminal
      godwit steer last "Leave the README alone."

    \b
    Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 limited, 4 waits for an answer (parked), 5 not found,
    6 conflict, 130 interrupted.
    """
    if settings:
        from . import cli_settings

        cli_settings.take(settings)
    named = db is not None and _typed(context, "db")
    if server is not None and not named:
        from .cli_server import ServerPlace

        if context.invoked_subcommand in HERE:
            raise CliError(f"{context.invoked_subcommand} works on a database here, not with a server")
        if settings:
            raise CliError("--set sets what is done on this machine; a server has settings of its own")
        context.obj = ServerPlace(server.rstrip("/"), _typed(context, "server"), verbose)
        if verbose:
            print(f"server: {server}", file=sys.stderr)
        return
    if server is not None and _typed(context, "server"):
        raise CliError("--db names a database here and --server another place: give one of them")
    address = db if db is not None and is_address(db) else None
    file = DEFAULT_DATABASE if db is None or address is not None else Path(db).expanduser()
    place = Place(file, named, verbose, tuple(hooks or ()), address=address)
    if verbose:
        print(f"database: {place.shown}", file=sys.stderr)
    context.obj = place


def main() -> None:
    """The entry point `godwit`."""
    arguments = sys.argv[1:] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        # A file name or a model's answer may hold what the terminal's encoding cannot say.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        ended = app(arguments, standalone_mode=False, prog_name="godwit")
        code = ended if isinstance(ended, int) else DONE
        sys.stdout.flush()
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "godwit")
        message, hint = error.format_message(), f"{where} --help"
        if message.startswith("No such option") and where.rpartition(" ")[2] in ("run", "send", "steer", "answer"):
            hint += '; a text that begins with - stands behind -- (... -- "-v is missing")'
        code = complain("usage", message, hint, USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (Unread, BrokenPipeError):
        # Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:
        code = report(error)
    sys.exit(code)
