"""A process that is killed in the middle of three calls, and the next one that goes on."""

import asyncio
import os
import signal
import subprocess
import sys

import godwit
from godwit.core.messages import ToolResult
from godwit.models.script import call

DOOMED = len(sys.argv) > 1


def say(text: str) -> None:
    print(f"{'first' if DOOMED else 'second'} process: {text}", flush=True)


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    say(f"noting {text}")
    return "noted"


@godwit.tool
async def pay(amount: int) -> str:
    """Pay an amount: must not happen twice."""
    say(f"paying {amount}")
    await asyncio.Event().wait()  # the payment service does not answer
    return "paid"


@godwit.tool(repeatable=True)
async def look(ctx: godwit.ToolContext) -> str:
    """Look at the account: may happen again."""
    say(f"looking, key {ctx.key}")
    if DOOMED:
        os.kill(os.getpid(), signal.SIGKILL)
    return "the account shows 5"


async def main() -> None:
    model = godwit.ScriptedModel(
        [call("note", text="the bill"), call("pay", amount=5) + call("look"), "The account shows it: paid once."]
    )
    agent = godwit.Agent("clerk", model="scripted:test", tools=[note, pay, look])
    async with await godwit.Runtime.open("crash.db", models={"scripted:test": model}) as runtime:
        if DOOMED:
            session = await runtime.start_session(agent, session="ses_crash")
            await session.send("Pay the bill.", key="bill-7")
        session = await runtime.open_session("ses_crash", agent=agent)
        result = await session.send("Pay the bill.", key="bill-7")  # the same key: joins the run it started
        say(result.text)
        for message in await session.history():
            if isinstance(message, ToolResult):
                say(f"{message.name} -> {message.status}: {message.text}")
        say(f"attempt {(await session.runs())[0].attempt} of one run")


if not DOOMED:
    died = subprocess.run([sys.executable, __file__, "doomed"], check=False)
    say(f"the first one ended with {signal.Signals(-died.returncode).name}")
asyncio.run(main())
