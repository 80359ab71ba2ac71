"""A session's artifacts: listed, shown, pinned.

Content goes to stdout as it is when that is a file or a pipe, byte for byte; on a terminal only text is shown, without what
a terminal would act on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from .cli_exit import DONE, CliError
from .cli_view import write_json
from .cli_words import age, clean

if TYPE_CHECKING:
    from ..contracts import SessionHandle


async def listed(session: SessionHandle, *, as_json: bool) -> int:
    """What the session holds, oldest first."""
    held = await session.artifacts.list()
    if as_json:
        for one in held:
            write_json({"session": session.id, "ref": one.ref, "size": one.size, "media_type": one.media_type,
                        "pinned": one.pinned, "stored_ms": one.stored_ms})  # fmt: skip
        return DONE
    if not held:
        print("no artifacts are kept", file=sys.stderr)
    width = max((len(f"{one.size:,}") for one in held), default=0)
    for one in held:
        size, when, pin = f"{one.size:>{width},} bytes", f"{age(one.stored_ms):>6} ago", "pinned" if one.pinned else ""
        print(f"{one.ref}  {size}  {when}  {pin:6}  {clean(one.media_type)}")
    return DONE


async def content(session: SessionHandle, ref: str) -> int:
    """An artifact's bytes."""
    found = await session.artifacts.get(ref)
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(found)
        sys.stdout.buffer.flush()
        return DONE
    try:
        text = found.decode()
    except UnicodeDecodeError:
        raise CliError(f"artifact {ref} is no text but {len(found)} bytes", hint="send it into a file: ... > FILE") from None
    print(clean(text), end="" if text.endswith("\n") else "\n")
    return DONE


async def pinned(session: SessionHandle, ref: str, word: Literal["pin", "unpin"], *, as_json: bool) -> int:
    """Pin it or take the pin out, and say whether that changed anything."""
    whole = await session.artifacts.find(ref)
    changed = await (session.artifacts.pin(whole) if word == "pin" else session.artifacts.unpin(whole))
    if as_json:
        write_json({"session": session.id, "ref": whole, "pinned": word == "pin", "changed": changed})
    elif word == "pin":
        print(f"{whole}: pinned" if changed else f"{whole}: it was pinned already")
    else:
        print(f"{whole}: no longer pinned" if changed else f"{whole}: it was not pinned")
    return DONE
