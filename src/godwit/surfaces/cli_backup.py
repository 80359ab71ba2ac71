"""`godwit backup` and `restore`: copies of a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .cli_exit import DONE
from .cli_place import Place
from .cli_view import write_json
from .cli_words import date_of

if TYPE_CHECKING:
    from ..host.backup import Backup


async def back_up(place: Place, file: Path, *, overwrite: bool, as_json: bool) -> int:
    from ..host.backup import back_up

    place.require_database()
    return _say("backed up", file, back_up(place.file, file, overwrite=overwrite), as_json=as_json)


async def put_back(place: Place, file: Path, *, overwrite: bool, as_json: bool) -> int:
    from ..host.backup import restore

    database = place.file
    place.make_folder()
    return _say("restored", database, restore(file, database, overwrite=overwrite), as_json=as_json)


def _say(what: str, where: Path, backup: Backup, *, as_json: bool) -> int:
    if as_json:
        write_json({"done": what, "path": os.fspath(where), **msgspec.to_builtins(backup)})
        return DONE
    print(f"{what}: {where} ({sum(backup.sizes.values()):,} bytes, checked, of {date_of(backup.created_ms)} UTC)")
    return DONE
