"""Calls that block, in threads: those that nobody has to wait for, and those that are waited for whatever happens.

The first do not come from the loop's pool: a few calls that hang would use it up for everybody, and asyncio waits for its
pool at the end of the process. A daemon thread that nobody waits for any more holds nothing up. This module knows nothing of
godwit and stands below all of it, since the engine and the parts call functions of users in the same way.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


async def in_thread(call: Callable[[], R], name: str) -> tuple[R | None, BaseException | None]:
    """What the call returned or raised, in a daemon thread of this name. Starting one costs about 50 microseconds.

    Whoever is cancelled while waiting leaves at once; the thread goes on, and what it comes to is forgotten.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[R | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: R | None, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((result, error))

    def work() -> None:
        result: R | None = None
        failure: BaseException | None = None
        try:
            result = context.run(call)
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:  # the loop was closed while we worked: nobody waits
            pass

    threading.Thread(target=work, name=name, daemon=True).start()
    return await done


async def to_its_end(work: Callable[[], R], stop: Callable[[], None] | None = None) -> R:
    """The work's result, from the loop's pool. Whoever is cancelled waits for its end all the same: nothing is written
    behind their back. `stop` is called then, and may make that end come soon."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise
