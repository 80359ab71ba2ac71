"""A process that drives a session and two levels of subagents, until somebody kills or stops it.

python -m tests.acceptance.tree_script DATABASE

Three branches hand one task on to a leaf each; each leaf asks before it has its effect, which is noted. In this
process a leaf never answers behind that; `runtime_of` without `stuck` is how another process goes on with them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import godwit
from godwit.contracts import ModelRequest
from godwit.core.messages import User, text_of
from godwit.models.script import Reply, ScriptedModel, call, hold, say
from tests.patience import PATIENCE_S

SESSION = "ses_tree"
LEASE_S = 2.0
NAMES = ("a", "b", "x")


def asked(request: ModelRequest) -> str:
    first = request.entries[0].message
    assert isinstance(first, User)
    return text_of(first.content)


async def runtime_of(database: Path, *, stuck: frozenset[str] = frozenset()) -> tuple[godwit.Runtime, godwit.Agent]:
    """The runtime and the first agent; the leaves of these names never answer."""

    def last_words(request: ModelRequest) -> Reply:
        name = asked(request)
        return (hold(asyncio.Event()) if name in stuck else say("")) + say(f"leaf {name}")

    @godwit.tool(repeatable=True)
    async def bump(name: str, ctx: godwit.ToolContext) -> str:
        """Has an effect."""
        with database.with_suffix(".effects").open("a") as notes:
            notes.write(f"{os.getpid()} {name} {ctx.key}\n")
        return f"bumped {name}"

    begin = call("task", id="all", tasks=[{"agent": "branch", "prompt": name} for name in NAMES])
    scripts: dict[str, list[Any]] = {
        "root": [begin, "All have ended.", "Heard."],
        "branch": [lambda r: call("task", id="on", agent="leaf", prompt=asked(r)), lambda r: say(f"branch {asked(r)}")],
        "leaf": [lambda r: call("bump", id="bump", name=asked(r)), last_words],
    }
    models = {f"scripted:{name}": ScriptedModel(script, f"scripted:{name}") for name, script in scripts.items()}
    leaf = godwit.Agent("leaf", model="scripted:leaf", tools=[bump], permissions={"bump": "ask"})
    branch = godwit.Agent("branch", model="scripted:branch", subagents=[leaf])
    root = godwit.Agent("root", model="scripted:root", subagents=[branch])
    runtime = await godwit.Runtime.open(database, models=models, lease_ttl_s=LEASE_S)
    await runtime.create(root)
    return runtime, root


async def main(database: Path) -> None:
    runtime, root = await runtime_of(database, stuck=frozenset({"b"}))
    async with runtime:
        session = await runtime.start_session(root, session=SESSION)
        await session.prompt("Go.")
        print("going", flush=True)
        await asyncio.wait_for(session.wait(), PATIENCE_S)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
