"""Slots: a limit of how many documents there are that two who add at once cannot pass.

Each takes a number below the limit as a unique key, and the store gives it to one. Who finds it taken looks for another.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..core.document import Document

SLOT = "slot"
"""The unique key."""


def free_slot(taken: Iterable[Document], most: int, within: str = "") -> str | None:
    """A number that none of these has; None when they are as many as there may be. `within`: what the limit is of, when a
    tenant has several of it."""
    documents = list(taken)
    if len(documents) >= most:
        return None
    used = {one.unique.get(SLOT) for one in documents}
    return next(slot for slot in (f"{within}{number}" for number in range(most)) if slot not in used)
