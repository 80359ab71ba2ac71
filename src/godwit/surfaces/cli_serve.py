"""`godwit serve`: a server on this machine."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..core.errors import AuthenticationFailed, GodwitError, ModelNotFound
from .cli_exit import DONE, CliError
from .cli_place import Place
from .cli_view import write_json

if TYPE_CHECKING:
    from ..host.runtime import Runtime
    from ..host.server_settings import ServerSettings
    from .server.listening import Serving


@dataclass(frozen=True)
class ServeFlags:
    """What was typed; None where nothing was."""

    host: str | None = None
    port: int | None = None
    keys: bool | None = None
    models: tuple[str, ...] = ()
    folder: Path | None = None
    max_runs: int | None = None
    setup: str | None = None
    quiet: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None


async def serve(place: Place, flags: ServeFlags, *, as_json: bool) -> int:
    """Until the process is told to end."""
    from .server.access import log_as_json
    from .server.listening import serve as serve_runtime

    settings = settings_of(flags)
    own = await setup_of(flags.setup)
    log_as_json(level=logging.WARNING if flags.quiet else logging.INFO)

    def started(server: Serving) -> None:
        if as_json:
            write_json({"url": server.url, "pid": os.getpid(), "keys": settings.asks_for_keys})
        else:
            print(told(server.url, settings), flush=True)
        sys.stdout.flush()

    async with place.open(make=True, options={"folder_files": None, "trusts": lambda _: True, **own.options}) as runtime:
        check_models(runtime, settings)
        await own.register(runtime)
        await serve_runtime(runtime, settings, started=started)
    return DONE


def settings_of(flags: ServeFlags) -> ServerSettings:
    """Those of the configuration files, with what was typed in their place; says what of a file is not used.
    ConfigurationError, CliError."""
    from ..host.server_settings import ServerSettings
    from .cli_settings import load

    config = load(Path.cwd())
    for notice in config.notices:
        print(f"note: {notice}", file=sys.stderr)
    settings = config.server or ServerSettings()
    changes: dict[str, Any] = {"host": flags.host, "port": flags.port, "keys": flags.keys, "max_runs": flags.max_runs}
    if flags.folder is not None:
        folder = flags.folder.expanduser().resolve()
        if not folder.is_dir():
            raise CliError(f"--folder {flags.folder} is no folder", hint="make it first")
        changes["folder"] = os.fspath(folder)
    cert, key = (None if one is None else os.fspath(one.expanduser().absolute()) for one in (flags.tls_cert, flags.tls_key))
    models = dict(settings.models)
    for given in flags.models:
        name, equals, model = given.partition("=")
        if not equals or not name or ":" not in model:
            raise CliError(f"--model {given!r} has to be NAME=PROVIDER:MODEL", hint='as in --model "claude-*=openai:gpt-5"')
        models[name] = model
    changes = {name: value for name, value in changes.items() if value is not None}
    if cert is not None or key is not None:  # of a pair
        changes.update(tls_cert=cert or settings.tls_cert, tls_key=key)
    return msgspec.structs.replace(settings, **changes, models=models)


def check_models(runtime: Runtime, settings: ServerSettings) -> None:
    """Whether the models are there that names of clients stand for. CliError for a provider that there is not; a key that is
    missing is said, since the server has other uses."""
    for name, model in settings.models.items():
        try:
            runtime.check_model(model)
        except ModelNotFound as error:
            hint = "correct --model, or models of [server]; godwit doctor lists the providers"
            raise CliError(f"{name}={model}: {error.message}", hint=hint, code=error.code) from None
        except AuthenticationFailed as error:
            print(f"note: {name}={model}: {error.message}", file=sys.stderr)


class Setup(NamedTuple):
    """What a function of the user's returns: arguments of `Runtime.open`, and agents to be registered."""

    options: Mapping[str, Any] = {}
    agents: Sequence[Any] = ()

    async def register(self, runtime: Runtime) -> None:
        """CliError for an agent that cannot be."""
        try:
            await runtime.register_agents([one.spec if hasattr(one, "spec") else one for one in self.agents])
        except GodwitError as error:
            raise CliError(f"an agent of --setup cannot be used: {error.message}", code=error.code) from None


async def setup_of(named: str | None) -> Setup:
    """What the function of the user's returns for `Runtime.open`, and its `agents`. It may be async. CliError."""
    if named is None:
        return Setup()
    module, colon, function = named.partition(":")
    if not colon or not module or not function:
        raise CliError(f"--setup {named!r} has to be MODULE:FUNCTION")
    # As python -m does: a module in the folder one is in is found.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise CliError(f"--setup {named}: {error}", hint="it is looked for in this folder and where Python looks") from None
    except AttributeError:
        raise CliError(f"--setup {named}: {module} has no {function}") from None
    returned = found()
    if inspect.isawaitable(returned):
        returned = await returned
    if not isinstance(returned, Mapping):
        raise CliError(f"--setup {named} returned {type(returned).__name__}, no dict of arguments for Runtime.open")
    options = dict(returned)
    agents = options.pop("agents", ())
    if not isinstance(agents, Sequence) or isinstance(agents, str):
        raise CliError(f"--setup {named}: agents is {type(agents).__name__}, no list of agents")
    from ..host.runtime import Runtime

    known = [name for name in inspect.signature(Runtime.open).parameters if name != "path"]
    unknown = [str(name) for name in options if name not in known]
    if unknown:
        raise CliError(
            f"--setup {named}: Runtime.open has no {', '.join(unknown)}",
            hint=f"it has {', '.join(known)}; agents are registered",
        )
    return Setup(options, agents)


def told(url: str, settings: ServerSettings) -> str:
    """What a person needs to connect."""
    key = "YOUR_KEY" if settings.asks_for_keys else "none-needed"
    asks = "a key is asked for" if settings.asks_for_keys else "no key is asked for, only this machine can reach it"
    return (
        f"godwit serves at {url} ({asks}); Ctrl-C ends it\n"
        f"  Anthropic SDK:  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}\n"
        f"  OpenAI SDK:     export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}"
    )
