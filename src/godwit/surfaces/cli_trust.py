"""`godwit trust`, and what is asked or said of a folder that is not trusted.

Leaves out what trust means and where it is kept (`host.trust`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_exit import DONE, CliError
from .cli_keyboard import Keyboard, interactive
from .cli_view import write_json
from .cli_words import clean

if TYPE_CHECKING:
    from collections.abc import Callable


def trust(folder: Path, *, revoke: bool, as_json: bool) -> int:
    """Trust a folder as it is now, or no more."""
    from ..host import trust as kept
    from ..host.brought import brings

    if not folder.is_dir():
        raise CliError(f"{os.fspath(folder)!r} is not a folder")
    root, path = kept.say(folder, None if revoke else True)
    brought = brings(root)
    if as_json:
        write_json({"folder": root, "trusted": not revoke, "brings": brought, "list": path})
        return DONE
    print(clean(f"{root} is {'not trusted any more' if revoke else 'trusted'}"))
    for line in brought:
        print(clean(f"  {line}"))
    return DONE


def listing(*, as_json: bool) -> int:
    """The folders that something was said of."""
    from ..host import trust as kept

    for folder in kept.folders():
        state = kept.state_of(folder)
        if as_json:
            write_json({"folder": folder, "state": state})
        else:
            print(clean(f"{state:<8}  {folder}"))
    return DONE


async def settle(folder: Path, say: Callable[[str, str], None], *, given: bool, asks: bool) -> None:
    """Before a folder is worked in: trust it if that is `given`, else ask once on a terminal, else say what is not used."""
    from ..host import trust as kept
    from ..host.brought import brings
    from .cli_settings import trusts, typed

    if given:
        kept.say(folder, True)
        return
    state = kept.state_of(folder)
    if state == "trusted":
        return
    brought = brings(folder, options=typed())
    if state == "changed" or (state == "unknown" and trusts(folder)):
        brought = [line for line in brought if line.startswith("settings")]
    if not brought:
        return
    changed = " have changed since it was trusted" if state == "changed" else ""
    if asks and state != "refused" and interactive() and kept.list_file() is not None:
        print(clean(f"The folder {folder.resolve()} brings, which may run commands or steer the agent:{changed}"))
        for line in brought:
            print(clean(f"  {line}"))
        answer = await Keyboard().line("Trust it as it is now? [y/N] ")
        trusted = answer is not None and answer.strip().lower() in ("y", "yes")
        if answer is not None:
            kept.say(folder, trusted)
        if trusted:
            return
    what = "; ".join(brought)
    if changed:
        say(f"not used: {what}, which{changed}; godwit trust lets them count", "yellow")
    else:
        say(f"not used, since this folder is not trusted: {what}; godwit trust lets them count", "yellow")


def note(folder: Path) -> None:
    """Say on stderr that what is listed of this folder does not count."""
    from ..host.brought import brings
    from .cli_settings import trusts, typed

    if not trusts(folder) and brings(folder, options=typed()):
        print(
            "note: this folder is not trusted: what it brings itself is not used; godwit trust lets it count",
            file=sys.stderr,
        )
