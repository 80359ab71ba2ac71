"""`godwit serve`, `keys`, `backup` and `restore`: a server on this machine, who may use it, and copies of what it keeps."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import DocumentNotFound, SessionNotFound
from ..core.ids import RandomIds, SystemClock
from .cli_exit import DONE, NOT_FOUND, CliError
from .cli_place import Place
from .cli_view import write_json
from .cli_words import clean

if TYPE_CHECKING:
    from ..host.api_keys import ApiKey, ApiKeys
    from ..host.backup import Backup
    from ..host.server_settings import ServerSettings
    from .server.listening import Serving

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


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
    options = await setup_of(flags.setup)
    log_as_json(level=logging.WARNING if flags.quiet else logging.INFO)

    def started(server: Serving) -> None:
        if as_json:
            write_json({"url": server.url, "pid": os.getpid(), "keys": settings.asks_for_keys})
        else:
            print(told(server.url, settings), flush=True)
        sys.stdout.flush()

    async with place.open(make=True, options=options) as runtime:
        await serve_runtime(runtime, settings, started=started)
    return DONE


def settings_of(flags: ServeFlags) -> ServerSettings:
    """Those of the configuration files, with what was typed in their place; says what of a file is not used.
    ConfigurationError, CliError."""
    from ..host.config import load
    from ..host.server_settings import ServerSettings

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


async def setup_of(named: str | None) -> Mapping[str, Any]:
    """What the function of the user's returns for `Runtime.open`. It may be async. CliError."""
    if named is None:
        return {}
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
    from ..host.runtime import Runtime

    known = [name for name in inspect.signature(Runtime.open).parameters if name != "path"]
    unknown = [str(name) for name in returned if name not in known]
    if unknown:
        raise CliError(f"--setup {named}: Runtime.open has no {', '.join(unknown)}", hint=f"it has {', '.join(known)}")
    return returned


def told(url: str, settings: ServerSettings) -> str:
    """What a person needs to connect."""
    key = "YOUR_KEY" if settings.asks_for_keys else "none-needed"
    asks = "a key is asked for" if settings.asks_for_keys else "no key is asked for, only this machine can reach it"
    return (
        f"godwit serves at {url} ({asks}); Ctrl-C ends it\n"
        f"  Anthropic SDK:  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}\n"
        f"  OpenAI SDK:     export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}"
    )


# --- keys -----------------------------------------------------------------------------------------------------------


async def create_key(
    place: Place, name: str, *, tenant: str | None, scopes: Sequence[str], expires: str | None, as_json: bool
) -> int:
    """Show the new key, this once, alone on standard output."""
    clock = SystemClock()
    expires_ms = None if expires is None else clock.now_ms() + int(seconds(expires) * 1000)
    if not name.strip():
        raise CliError("a key needs a name, to tell it from others later", hint="--name laptop")
    async with _keys(place, make=True) as keys:
        key, made = await keys.create(name, tenant=tenant, scopes=scopes, expires_ms=expires_ms)
    if as_json:
        write_json({**_shown(made, clock.now_ms()), "key": key})
        return DONE
    print(key)
    print(f"{made.id}: this is the only time it is shown; only its hash is kept", file=sys.stderr)
    return DONE


async def list_keys(place: Place, *, tenant: str | None, as_json: bool) -> int:
    now = SystemClock().now_ms()
    async with _keys(place) as keys:
        found = await keys.list(tenants=None if tenant is None else [tenant])
    if as_json:
        for key in found:
            write_json(_shown(key, now))
        return DONE
    if not found:
        print("no keys; godwit keys create makes one", file=sys.stderr)
        return DONE
    rows = [("id", "state", "tenant", "scopes", "last used", "expires", "name")]
    for key in found:
        whose, used, ends = clean(key.tenant or "-"), _date(key.last_used_ms), _date(key.expires_ms)
        rows.append((key.id, key.state(now), whose, ",".join(key.scopes), used, ends, clean(key.name)))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return DONE


async def revoke_key(place: Place, typed: str, *, as_json: bool) -> int:
    """The id may be cut off where it is not ambiguous."""
    async with _keys(place) as keys:
        found = [key for key in await keys.list() if key.id.startswith(typed)]
        if not found:
            raise DocumentNotFound(f"there is no key whose id begins with {typed!r}", id=typed)
        if len(found) > 1:
            raise CliError(f"{typed!r} begins the ids of {len(found)} keys", hint="type more of it", code="ambiguous")
        revoked = await keys.revoke(found[0].id)
    if as_json:
        write_json(_shown(revoked, SystemClock().now_ms()))
    else:
        print(f"{revoked.id}: revoked")
    return DONE


@asynccontextmanager
async def _keys(place: Place, *, make: bool = False) -> AsyncIterator[ApiKeys]:
    from ..host.api_keys import ApiKeys
    from ..stores.sqlite import SqliteStore

    if not place.database.exists():
        if not make:
            raise _no_database(place)
        place.make_folder()
    async with SqliteStore.open(place.database) as store:
        yield ApiKeys(store, SystemClock(), RandomIds())


def seconds(given: str) -> float:
    """A time as it is typed: `12h`, `90d`. CliError."""
    found = re.fullmatch(r"(\d{1,9})([smhdw])", given.strip())
    if found is None or int(found[1]) == 0:
        raise CliError(f"{given!r} is no time", hint="a number and s, m, h, d or w: 12h, 90d")
    return int(found[1]) * _UNITS_S[found[2]]


def _shown(key: ApiKey, now_ms: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(key), "state": key.state(now_ms)}


def _date(ms: int | None) -> str:
    return "-" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


# --- copies ---------------------------------------------------------------------------------------------------------


async def back_up(place: Place, file: Path, *, overwrite: bool, as_json: bool) -> int:
    from ..host.backup import back_up

    if not place.database.exists():
        raise _no_database(place)
    return _say("backed up", file, back_up(place.database, file, overwrite=overwrite), as_json=as_json)


async def put_back(place: Place, file: Path, *, overwrite: bool, as_json: bool) -> int:
    from ..host.backup import restore

    place.make_folder()
    return _say("restored", place.database, restore(file, place.database, overwrite=overwrite), as_json=as_json)


def _say(what: str, where: Path, backup: Backup, *, as_json: bool) -> int:
    if as_json:
        write_json({"done": what, "path": os.fspath(where), **msgspec.to_builtins(backup)})
        return DONE
    print(f"{what}: {where} ({sum(backup.sizes.values()):,} bytes, checked, of {_date(backup.created_ms)} UTC)")
    return DONE


def _no_database(place: Place) -> CliError:
    return CliError(
        f"there is no database at {place.database}",
        hint="--db or GODWIT_DB chooses another database",
        code=SessionNotFound.code,
        exit_code=NOT_FOUND,
    )
