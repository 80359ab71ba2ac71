"""A process that drives one session and fires the token of its handle when told to: `cancel_script.py DATABASE SESSION`."""

from __future__ import annotations

import asyncio
import sys

from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call


async def main(path: str, session: str) -> None:
    model = ScriptedModel([call("lookup"), *["hello"] * 100])
    runtime = await Runtime.open(path, models={model.name: model})
    handle = await runtime.open_session(session)
    await runtime.settle(handle.id)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    handle.session_cancel_token.cancel()
    print("fired", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
