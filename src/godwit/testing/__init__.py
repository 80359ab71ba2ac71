"""Conformance suites: what a part must do to be a part of godwit. Our own parts run them, and so can yours.

    from godwit.testing import StoreConformance

    class TestMyStore(StoreConformance):
        async def make_store(self) -> MyStore:
            return MyStore(...)          # a new, empty one for each test; the suite closes it

The tests are coroutines: run them with pytest-asyncio in auto mode, or put its mark on your class. Each is a promise of the
contract; the number in its name is the promise's. Nothing here needs pytest to be imported.

A module for each contract, `words` for what they are written in. Leaves out what is promised only by a part of ours.
"""

from __future__ import annotations

from .checkpoints import CheckpointsConformance
from .memory import MemoryConformance
from .sandbox import SandboxConformance
from .stores import Store, StoreConformance
from .words import (
    ACTION,
    AGENT,
    CALL,
    RUN,
    T0,
    S,
    drafts,
    drive,
    eventually,
    folded,
    message,
    new_child,
    new_session,
    park,
    prompt,
    refused,
    seqs,
    spend,
    tree,
    within,
)

__all__ = [
    "CheckpointsConformance", "MemoryConformance", "SandboxConformance", "Store", "StoreConformance",
    "ACTION", "AGENT", "CALL", "RUN", "S", "T0",
    "drafts", "drive", "eventually", "folded", "message", "new_child", "new_session", "park", "prompt", "refused", "seqs",
    "spend", "tree", "within",
]  # fmt: skip
