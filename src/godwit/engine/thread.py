"""Calling a function of a user's in a thread, so that one that hangs blocks neither the event loop nor the end of the
process.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable


async def in_thread(call: Callable[[], object]) -> tuple[object, BaseException | None]:
    """What the call returned or raised. A daemon thread, since nobody waits at the end for one that hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: object, failure: BaseException | None) -> None:
        if not done.done():
            done.set_result((result, failure))

    def work() -> None:
        result: object = None
        failure: BaseException | None = None
        try:
            result = context.run(call)
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:  # the loop was closed while we worked: nobody waits
            pass

    threading.Thread(target=work, name="godwit-hook", daemon=True).start()
    return await done


__all__ = ["in_thread"]
