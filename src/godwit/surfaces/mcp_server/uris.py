"""The addresses of resources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from ...core.errors import NotFound

SESSIONS = "godwit://sessions"
TRANSCRIPT = "godwit://sessions/{session}"
EVENTS = "godwit://sessions/{session}/events"
ARTIFACTS = "godwit://sessions/{session}/artifacts"
ARTIFACT = "godwit://sessions/{session}/artifacts/{artifact}"
Part = Literal["transcript", "events", "artifacts", "artifact"]
_URI = re.compile(
    r"godwit://sessions/([A-Za-z0-9][A-Za-z0-9._:-]{0,127})(?:/(events|artifacts)(?:/([A-Za-z0-9:]{1,128}))?)?"
)


@dataclass(frozen=True)
class Named:
    """What an address names: a part of a session."""

    session: str
    part: Part
    artifact: str = ""


def parsed(uri: str) -> Named:
    """NotFound for one that names nothing that there could be."""
    found = _URI.fullmatch(uri)
    if found is None or (found[2] == "events" and found[3]):
        raise NotFound(f"there is no resource {uri!r}", uri=uri)
    if found[3]:
        return Named(found[1], "artifact", found[3])
    return Named(found[1], cast(Part, found[2] or "transcript"))
