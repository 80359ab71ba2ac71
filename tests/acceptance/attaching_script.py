"""A process that sends a message with files, and can kill itself at any append.

    python -m tests.acceptance.attaching_script DATABASE POINT

Points (`deaths.py`) are `before` and `after` an append. The same command again sends it under the same key.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import godwit
from tests.files import pdf, png

from .deaths import DyingStore, Point

SESSION, MODEL = "ses_files", "scripted:m"
FILES = [png(9, 9, size=2_000_000), pdf(3, size=1_000_000), b"a text"]


async def main(database: Path, point: Point) -> None:
    store = DyingStore.open(database)
    store.point = point
    model = godwit.ScriptedModel(["Seen."], MODEL)
    async with await godwit.Runtime.open(store=store, models={MODEL: model}) as runtime:
        try:
            session = await runtime.start_session(godwit.Agent("a", model=MODEL), session=SESSION)
        except godwit.errors.SessionExists:
            session = await runtime.open_session(SESSION)
        await session.wait(await session.prompt("See.", key="files", attachments=FILES))
    point.survived()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2])))
