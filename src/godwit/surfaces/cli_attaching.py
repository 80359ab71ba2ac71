"""Attachments on the command line: files named by a flag, and files that are mentioned in a line of a chat.

A mention is an `@` at the beginning of a word with the path of a file behind it, in quotes where that has blanks. Rules:
only ordinary files within the chat's own folder are taken, links followed; whatever else stands behind an `@` stays the text
it is; the text of the line is sent as it was typed, whatever comes with it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.attachments import Link
from ..core.errors import AttachmentRefused, GodwitError
from ..core.ids import RunId
from ..core.messages import Document, Image
from ..engine.attaching import file

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from .cli_place import Host

MAX_MENTIONS = 50
"""Files of one line."""
_MENTION = re.compile(r"""(?:(?<=[\s(\[{"'])|^)@(?:"([^"]+)"|'([^']+)'|([^\s"']+))""")
_AFTER = ".,;:!?)]}…"
"""What may stand behind a path and be no part of it."""


@dataclass
class Mentioned:
    """What a line brings. `notes`: for the person, of files that are not sent."""

    files: list[Image | Document | Link] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def named_files(given: Sequence[str] | None) -> list[Image | Document | Link]:
    """The files and addresses that `--attach` names, read at once. AttachmentRefused names the first that cannot be sent."""
    return [file(one) for one in given or ()]


async def begun(runtime: Host, handle: SessionHandle, sending: Awaitable[RunId], *, new: bool) -> RunId:
    """The run that a prompt begins. A session that was made for it does not stay behind when its files are refused."""
    try:
        return await sending
    except AttachmentRefused:
        if new:
            with contextlib.suppress(GodwitError):  # a server's key may not be one that deletes
                await runtime.delete_session(handle.id)
        raise


def mentioned(line: str, folder: Path) -> Mentioned:
    """The files of this folder that the line mentions, each once, in its order."""
    found = Mentioned()
    seen: set[Path] = set()
    root = folder.resolve()
    for match in _MENTION.finditer(line):
        typed = match[1] or match[2] or match[3]
        path = _file(root, typed, quoted=match[3] is None)
        if path is None or path in seen:
            continue
        seen.add(path)
        if not path.is_relative_to(root):
            found.notes.append(f"@{typed} is not sent: it lies outside of {root}")
        elif len(seen) > MAX_MENTIONS:
            found.notes.append(f"@{typed} is not sent: a line brings at most {MAX_MENTIONS} files")
        else:
            try:
                found.files.append(file(path, name=path.relative_to(root).as_posix()))
            except AttachmentRefused as error:
                found.notes.append(f"@{typed} is not sent: {error.message.partition(': ')[2]}")
    return found


def _file(root: Path, typed: str, *, quoted: bool) -> Path | None:
    """The file that is meant, links followed; None when there is none."""
    tried = [typed] if quoted else [typed, *_without_ends(typed)]
    for one in tried:
        try:
            path = (root / one).resolve()
            if path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _without_ends(typed: str) -> list[str]:
    """The word without what ends a sentence, one by one."""
    found = []
    while typed and typed[-1] in _AFTER:
        typed = typed[:-1]
        found.append(typed)
    return [one for one in found if one]
