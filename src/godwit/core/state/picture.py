"""The tables as a picture."""

from __future__ import annotations

from ..events import Data
from ..gate import RUN_TABLE
from .calls import CALL_TABLE


def _tag(event: type) -> str:
    assert issubclass(event, Data)
    return str(event.__struct_config__.tag)


def diagram() -> str:
    """The two tables as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> none"]
    for phase, moves in RUN_TABLE.items():
        for event, after in moves.items():
            lines.append(f"    {phase} --> {after}: {_tag(event)}")
    lines += ["    state call {", "        [*] --> requested"]
    for call_phase, call_moves in CALL_TABLE.items():
        for event, call_after in call_moves.items():
            lines.append(f"        {call_phase} --> {call_after}: {_tag(event)}")
    lines += ["        finished --> [*]", "    }"]
    return "\n".join(lines) + "\n"
