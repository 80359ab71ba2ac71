"""What runs as a process of its own, so that it can be killed, weighed or traced: `python -m bench.child WHAT ...`.

Each prints one line when it has got where it should.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

STEPS = 20


async def victim(path: str, durability: str) -> None:
    """Says `ready` when the model is asked for the answer behind its last step, and waits to be killed."""
    import godwit
    from godwit.host.runtime import Runtime
    from godwit.models.script import ScriptedModel, call, hold

    reached, never = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def add(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    model = ScriptedModel([*(call("add", a=n, b=1) for n in range(STEPS)), hold(never, reached=reached)])
    runtime = await Runtime.open(path, models={model.name: model}, durability=durability)  # type: ignore[arg-type]
    session = await runtime.start_session(godwit.Agent("victim", model=model.name, tools=[add]), session="victim")
    await session.prompt("go")
    await reached.wait()
    print("ready", flush=True)
    await never.wait()


async def loops(folder: str, count: str) -> None:
    """That many tool loops on a durable file, to be traced."""
    from .contenders import GodwitContender

    one = GodwitContender("scripted")
    await one.open("http://127.0.0.1:1/v1", Path(folder))
    conversation = await one.begin(f"tools-{STEPS}")
    for _ in range(int(count)):
        await conversation.turn("go")
    await one.close()
    print("done", flush=True)


async def resident(folder: str, count: str) -> None:
    """Opens that many sessions and prints what each costs: in memory and files, resting, and after one turn each."""
    from .contenders import GodwitContender
    from .history import make_session, messages_of
    from .measure import open_files, resident_kb

    one = GodwitContender("scripted", "process")
    await one.open("http://127.0.0.1:1/v1", Path(folder))
    agent = one.agent("text-3")
    ref = await one.runtime.create(agent)
    names = [f"idle-{n}" for n in range(int(count))]
    warm = [f"warm-{n}" for n in range(min(100, 10 * len(names)))]
    messages = messages_of(8)
    for name in [*names, *warm]:
        await make_session(one.store, name, messages, ref)
    # So many are warmed up that every cache with a fixed size is full before it counts.
    for name in warm:
        conversation = await one.load("text-3", name)
        await conversation.turn("hi")
    one.scripted["scripted:text-3"].requests.clear()
    gc.collect()
    before, files = resident_kb(), open_files()
    handles = [await one.runtime.open_session(name, agent=agent) for name in names]
    for handle in handles:
        await one.runtime.settle(handle.id)
    gc.collect()
    opened, files_opened = resident_kb(), open_files()
    for handle in handles:
        await handle.send("hi")
        await one.runtime.settle(handle.id)
        one.scripted["scripted:text-3"].requests.clear()
    gc.collect()
    used = resident_kb()
    if before is None or opened is None or used is None or files is None or files_opened is None:
        print("null", flush=True)
    else:
        each = {"opened": (opened - before) / len(names), "used": (used - before) / len(names)}
        print(json.dumps({**each, "files": files_opened - files, "whole": opened / 1024}), flush=True)
    await one.close()


async def first_token(url: str, folder: str) -> None:
    """From nothing to the first piece of a live model's answer."""
    import godwit
    from godwit.models.registry import Registry

    registry = Registry()
    registry.register_provider("bench", kind="openai-chat", base_url=url, api_key="none")
    runtime = await godwit.Runtime.open(Path(folder) / "first.db", models=registry)
    session = await runtime.start_session(godwit.Agent("first", model="bench:text-5"))
    async for item in session.stream("hi"):
        if isinstance(item, godwit.Delta):
            print("token", flush=True)
            break
    await runtime.close()


if __name__ == "__main__":
    what = {"victim": victim, "loops": loops, "resident": resident, "first-token": first_token}[sys.argv[1]]
    asyncio.run(what(*sys.argv[2:]))
