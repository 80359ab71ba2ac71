"""Which formats of session files there are, and which of them a file has."""

from __future__ import annotations

from typing import Any

from ...core.errors import InvalidArgument
from .claude_code import ClaudeCode
from .entries import Format
from .godwit_log import NAME as GODWIT, is_export
from .imp import Imp
from .lines import Lines, Source
from .pi import Pi

FORMATS: dict[str, Format] = {one.name: one for one in (Pi(), Imp(), ClaudeCode())}
NAMES = ("auto", GODWIT, *FORMATS)
_LOOKED_AT = 50
"""Lines within which a file must show what it is."""


def format_of(source: Source, wanted: str = "auto") -> str:
    """The name of the format: the wanted one, or what the file looks like. InvalidArgument when it looks like none."""
    if wanted not in NAMES:
        raise InvalidArgument(f"format {wanted!r} is none of {', '.join(NAMES)}", format=wanted)
    if wanted != "auto":
        return wanted
    for number, found in enumerate(Lines(source).objects()):
        named = _named(found)
        if named is not None:
            return named
        if number >= _LOOKED_AT:
            break
    raise InvalidArgument(
        f"{source.name or 'the file'} looks like no session of {', '.join(NAMES[1:])}: those have a JSON object per line",
        source=source.name,
    )


def _named(found: dict[str, Any]) -> str | None:
    if is_export(found):
        return GODWIT
    return next((one.name for one in FORMATS.values() if one.recognises(found)), None)
