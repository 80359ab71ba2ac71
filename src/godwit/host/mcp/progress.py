"""What a server says of the progress of a call, as the call tells it: shortened, and not too often."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

    from .within import Within

PROGRESS = 500
"""Characters of what a server says."""
PROGRESS_S = 0.1
"""Between two such."""


def progress_of(within: Within) -> ProgressFnT:
    """What the library calls with how far it is, of how much, and with what it says."""
    told_at = float("-inf")

    async def tell(progress: float, total: float | None = None, message: str | None = None) -> None:
        nonlocal told_at
        now = asyncio.get_running_loop().time()
        if now < told_at + PROGRESS_S:
            return
        told_at = now
        share = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
        within.progress(f"{share}: {message[:PROGRESS]}" if message else share)

    return tell
