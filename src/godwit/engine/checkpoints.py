"""Checkpoints around the turns: the files are kept before calls that may change them."""

from __future__ import annotations

from .driver import Driver


async def before_changes(driver: Driver) -> None:
    """Keep the files as they are, once per turn, before its first call that may change some; stages the event.

    Called with nothing staged, since it takes its time.
    """
