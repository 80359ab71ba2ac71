"""What the tests of seed rows are written in: tools that note and wait."""

from __future__ import annotations

import asyncio
from typing import Any

import godwit
from godwit.core.messages import Text, User


class Gate:
    """A tool that waits until the test lets it go, and knows its call's token."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.context: godwit.ToolContext | None = None

        @godwit.tool
        async def gate(ctx: godwit.ToolContext) -> str:
            """Wait."""
            self.context = ctx
            self.entered.set()
            waits = [asyncio.ensure_future(self.release.wait()), asyncio.ensure_future(ctx.cancel.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            return "went through"

        self.tool = gate


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


def users(history: tuple[Any, ...]) -> list[str]:
    return ["".join(b.text for b in m.content if isinstance(b, Text)) for m in history if isinstance(m, User)]
