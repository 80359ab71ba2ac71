"""Which answer a request is due, for the models that answer without a network (`script.py`, `replay.py`).

Rule to keep: it follows from what the request holds, never from how often was asked. So a process that takes a session over
after a crash gets the answer that is due.
"""

from __future__ import annotations

from ..contracts import ModelRequest
from ..core.messages import Assistant


def position(request: ModelRequest) -> int:
    """How many answers stand in the request already: 0 asks for the first one."""
    return sum(isinstance(entry.message, Assistant) for entry in request.entries)
