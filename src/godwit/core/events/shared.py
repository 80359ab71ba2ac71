"""What becomes of a session's shared state."""

from __future__ import annotations

from typing import Any

from ..ids import CallId
from ..shared_state import PatchOperation
from .data import Data


class StateUpdated(Data, frozen=True, tag="state.updated"):
    """The session's shared state has changed: by a `patch`, or without one to `value`. A patch that does not fit changes
    nothing. `call`: of the tool that changed it; None: it came from outside, by `sender`. `tell`: the model is told what it
    is like now, where it does not know."""

    patch: tuple[PatchOperation, ...] = ()
    value: Any = None
    call: CallId | None = None
    sender: str | None = None
    tell: bool = False
