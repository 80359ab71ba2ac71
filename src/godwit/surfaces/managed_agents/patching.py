"""Patching: a change of what is there, done over when somebody else was quicker, so that of two patches both hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...core.errors import RevisionConflict

T = TypeVar("T")
_TRIES = 20


async def patch(change: Callable[[], Awaitable[T]]) -> T:
    """What `change` gives, which looks at what is there and stores something in its place. RevisionConflict when others
    change it all the time."""
    for _ in range(_TRIES - 1):
        try:
            return await change()
        except RevisionConflict:
            continue
    return await change()
