"""`godwit config`: what is set for a folder and where it comes from, where the files are, whether they
can be read, and what can be set."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .cli_exit import DONE, CliError
from .cli_view import write_json
from .cli_words import clean


def run(what: str, folder: Path, key: str | None, *, origin: bool, defaults: bool, as_json: bool) -> int:
    """One of the things to do. CliError, ConfigurationError."""
    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    if what == "show":
        return show(folder, key, origin=origin, defaults=defaults, as_json=as_json)
    if what == "path":
        return paths(folder, as_json=as_json)
    if what == "check":
        return check(folder)
    if what == "settings":
        return settings(key, as_json=as_json)
    raise CliError(f"{what!r} is none of show, path, check, settings")


def show(folder: Path, key: str | None, *, origin: bool, defaults: bool, as_json: bool) -> int:
    """What holds; with `origin` where each comes from, and what does not hold and why."""
    from ..host.config_origins import origins
    from .cli_settings import typed

    for one in origins(folder, options=typed(), defaults=defaults):
        if not _within(one.key, key):
            continue
        if as_json:
            write_json({"key": one.key, "value": one.value, "origin": one.origin, "holds": one.why is None, "why": one.why})
        elif one.why is None:
            print(clean(f"{one.key} = {one.value}" + (f"  ({one.origin})" if origin else "")))
        elif origin:
            print(clean(f"{one.key} = {one.value}  ({one.origin}; does not hold: {one.why})"))
    return DONE


def settings(key: str | None, *, as_json: bool) -> int:
    """Every setting there is, with its variable."""
    from ..host.config_settings import settings as every

    for one in every():
        if not _within(one.key, key):
            continue
        if as_json:
            write_json({"key": one.key, "variable": one.variable, "type": one.type, "default": one.default})
        else:
            default = "" if one.default is None else f", {json.dumps(one.default, ensure_ascii=False)}"
            print(f"{one.key}  {one.variable or 'GODWIT_SET'}  ({one.type}{default})")
    return DONE


def _within(name: str, key: str | None) -> bool:
    return key is None or name == key or name.startswith(f"{key}.")


def paths(folder: Path, *, as_json: bool) -> int:
    """Where the files are, or would be."""
    from ..host.config import PROJECT_FILE, user_file
    from ..host.config_servers import FILE
    from ..host.trust import list_file, state_of

    places = {
        "user": user_file(),
        "project": os.path.join(os.path.realpath(folder), PROJECT_FILE),
        "MCP servers": os.path.join(os.path.realpath(folder), FILE),
        "trusted folders": list_file(),
    }
    for name, path in places.items():
        found = path is not None and os.path.exists(path)
        if as_json:
            write_json({"name": name, "path": path, "found": found})
        else:
            print(clean(f"{name:<15}  {path or 'none is looked for'}{'' if found or path is None else ' (none)'}"))
    if not as_json:
        print(clean(f"{'this folder':<15}  {state_of(folder)}"))
    return DONE


def check(folder: Path) -> int:
    """Read everything; what is not used is said. ConfigurationError for what is wrong, with its file and line."""
    from .cli_settings import load

    for notice in load(folder).notices:
        print(clean(f"note: {notice}"), file=sys.stderr)
    return DONE
