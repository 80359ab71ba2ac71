"""Slash commands on the command line: listed for a folder, and given to a session without a chat.

Owns what `godwit commands` shows and how a command's answer is printed. What each command does is the engine's business.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import errors
from .cli_exit import DONE, FAILED, USAGE, CliError, code_of
from .cli_trust import note
from .cli_view import write_json
from .cli_words import clean

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from ..core.facts import CommandResult
    from ..engine.commands import CommandRegistry


def registry(folder: Path | None, *, everything: bool = False) -> CommandRegistry:
    """The commands of a session that works in this folder. `everything`: as if the folder were trusted."""
    from ..host.command_files import FOLDERS, registry_of
    from ..host.skill_commands import SkillCommands
    from ..host.skills import FOLDERS as SKILL_FOLDERS
    from ..host.trust import own_only
    from .cli_settings import trusts

    root = os.fspath((folder or Path(".")).resolve())
    counts = everything or trusts(root)
    places = SKILL_FOLDERS if counts else own_only(SKILL_FOLDERS)
    return registry_of(root, (), FOLDERS if counts else own_only(FOLDERS), [SkillCommands(root, lambda: places)])


def listing(folder: Path, *, as_json: bool) -> int:
    """Every command, and on stderr what is wrong with command files; the code of bad input when one cannot be used."""
    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    found = registry(folder, everything=True)
    commands, problems = found.commands(), found.problems()
    shown = [(f"/{c.name} {c.usage or ''}".rstrip(), c) for c in commands]
    width = min(32, max(len(usage) for usage, _ in shown))
    for usage, command in shown:
        if as_json:
            fields = ("name", "description", "usage", "safe", "source")
            write_json({name: getattr(command, name) for name in fields})
        else:
            source = "" if command.source == "builtin" else f"  ({command.source})"
            print(clean(f"{usage:<{width}}  {command.description}{source}"))
    for problem in problems:
        print(clean(f"{'error' if problem.fatal else 'note'}: {problem}"), file=sys.stderr)
    note(folder)
    return USAGE if any(p.fatal for p in problems) else DONE


async def answered(
    handle: SessionHandle, text: str, *, key: str | None = None, unattended: bool = False, output: Any = None
) -> CommandResult | None:
    """What the session's command answered; None when the text is a prompt. CliError when it could not do it."""
    done = await handle.command(text, key=key, sender="cli", unattended=unattended, output=output)
    if done is not None and done.error is not None:
        raise refused(done.text, done.error)
    return done


def facts(done: CommandResult) -> dict[str, Any]:
    """A command's answer as one JSON object."""
    return {"command": done.id, "name": done.name, "text": done.text, "run": done.run}


def refused(text: str, code: str) -> CliError:
    """The error for a command that could not do what it was asked."""
    first, _, rest = text.partition("\n")
    return CliError(first, hint=" ".join(rest.split()), code=code, exit_code=exit_code(code))


def exit_code(code: str) -> int:
    """The exit code that belongs to the code of a command's error."""
    from ..engine.commands import UNKNOWN

    if code == UNKNOWN:
        return USAGE
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.GodwitError)]
    return next((code_of(kind()) for kind in kinds if kind.code == code), FAILED)
