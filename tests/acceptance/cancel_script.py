"""A process that ends the work of a tree of sessions which others drive, and can kill itself at any point of it.

    python -m tests.acceptance.cancel_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. How it ends the work stands in the file beside the database. It
knows none of the agents, drives nothing, and goes on with nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import godwit

from .deaths import DyingStore, Point

SESSION = "ses_tree"


async def main(database: Path, point: Point) -> None:
    store = DyingStore.open(database)
    store.point = point
    async with await godwit.Runtime.open(store=store) as runtime:
        match database.with_suffix(".how").read_text():
            case "interrupt":
                await runtime.interrupt(SESSION)
            case "archive":
                await runtime.archive(SESSION)
            case _:
                session = await runtime.open_session(SESSION, drive=False)
                await session.tasks.cancel_all()
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
