"""`godwit skills`: the skills of a folder, and one of them as a model loads it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .cli_exit import DONE, NOT_FOUND, USAGE, CliError
from .cli_trust import note
from .cli_view import write_json
from .cli_words import clean


def show(folder: Path, name: str | None, *, as_json: bool) -> int:
    """All of them and on stderr what is wrong with files, or one; the code of bad input when one cannot be used."""
    from ..host.skills import load

    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    found = load(os.fspath(folder.resolve()))
    if name is not None and name not in found.skills:
        hint = f"there are: {', '.join(found.skills)}" if found.skills else "godwit skills lists those there are"
        raise CliError(f"there is no skill {name!r}", hint=hint, code="skill_not_found", exit_code=NOT_FOUND)
    chosen = list(found.skills.values()) if name is None else [found.skills[name]]
    width = min(24, max((len(skill.name) for skill in chosen), default=0))
    for skill in chosen:
        if as_json:
            shown = {"name": skill.name, "description": skill.description, "source": skill.shown, "folder": skill.folder}
            more = {} if name is None else {"body": skill.body, "files": skill.files()}
            write_json({**shown, "allowed_tools": skill.limits, "model": skill.listed, "command": skill.typed, **more})
        elif name is None:
            print(clean(f"{skill.name:<{width}}  {skill.description}  ({skill.shown})"))
        else:
            print(clean(f"{skill.name}  {skill.description}\n{skill.folder}\n\n{skill.body}"))
            if files := skill.files():
                print(clean("\nFiles:\n" + "\n".join(files)))
    if name is not None:
        return DONE
    for problem in found.problems:
        print(clean(f"{'error' if problem.fatal else 'note'}: {problem}"), file=sys.stderr)
    note(folder)
    return USAGE if any(problem.fatal for problem in found.problems) else DONE
