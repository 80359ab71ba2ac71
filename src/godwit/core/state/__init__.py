"""What decides a session's status, folded from its whole log: the only such place. Names are taken from here.

Two small machines: the gate (`core/gate.py`), which outsiders touch as well, and `State`, the whole: the gate, and what only
the driver moves: the open turn, its model step and its calls. Both are frozen; `fold(state, event)` returns the next one or
raises a `Conflict` and changes nothing. Rules a change must keep: the tables are the only way a phase moves; a type that is
unknown changes nothing but the seq; `SNAPSHOT_VERSION` grows with the shape.
"""

from .calls import CALL_TABLE
from .fold import fold
from .picture import diagram
from .shape import Call, CallPhase, OwnCall, Question, Restoring, Run, State, Turn
from .stored import SNAPSHOT_VERSION, decode_state, encode_state

__all__ = [
    "CALL_TABLE",
    "SNAPSHOT_VERSION",
    "Call",
    "CallPhase",
    "OwnCall",
    "Question",
    "Restoring",
    "Run",
    "State",
    "Turn",
    "decode_state",
    "diagram",
    "encode_state",
    "fold",
]
