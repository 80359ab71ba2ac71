"""Wire: the standard streams of this process, taken for the protocol before anything else can write to them."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple


class Wire(NamedTuple):
    """Descriptors of what the client sends and of what it is sent."""

    reads: int
    writes: int


def taken() -> Wire:
    """The streams as they are now. From now on nobody else here reads what the client sends, and what is printed goes to
    standard error."""
    sys.stdout.flush()
    wire = Wire(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return wire
